//! `completion/complete`.

use super::{
    Client, Context, Plan, Purpose, Refusal, encode, input, invalid_arguments, perform, prompts,
};
use crate::catalog::Candidates;
use crate::protocol::completion::{CompleteParams, CompleteResult, Reference};
use crate::protocol::jsonrpc::{ErrorObject, Request, excerpt};

pub(super) fn complete(context: &Context<'_>, request: &Request) -> Result<Plan, Refusal> {
    let params = CompleteParams::read(&request.params)?;
    let completions = match params.reference {
        Reference::Prompt(name) => {
            let prompt = context.prompts().get(name)?;
            &prompt.ok_or_else(|| prompts::unknown(name))?.completions
        }
        Reference::Resource(uri) => {
            let template = context.templates().get(uri)?;
            &template
                .ok_or_else(|| unknown("resource template", uri))?
                .completions
        }
    };
    let found = completions.of(params.argument);
    let found = found.ok_or_else(|| unknown("argument", params.argument))?;
    let listed = |values: &[String]| {
        let result = candidates(values.iter().map(String::as_str), Some(params.value));
        Plan::Reply(encode(context.era(), &result, None, context.catalog))
    };
    match found {
        Candidates::None => Ok(listed(&[])),
        Candidates::Listed(values) => Ok(listed(values)),
        Candidates::Printed(program) => {
            let arguments = program.arguments(params.value, params.chosen, context.caller);
            let arguments = arguments.map_err(|error| invalid_arguments(&error))?;
            let typed = program.ignores_typed.then(|| params.value.to_owned());
            let purpose = Purpose::Completion { typed };
            // There is no second round of a completion.
            let client = Client {
                retry: None,
                ..input::client(context, request, ("", &program.tool), None)?
            };
            let plan = perform(
                context,
                request,
                &program.tool,
                arguments,
                (purpose, client),
            )?;
            Ok(plan)
        }
    }
}

fn unknown(kind: &str, name: &str) -> ErrorObject {
    ErrorObject::invalid_params(format!("Unknown {kind}: {}", excerpt(name)))
}

/// Those candidates that begin with what was typed, or all of them.
pub(super) fn candidates<'a>(
    all: impl Iterator<Item = &'a str>,
    typed: Option<&str>,
) -> CompleteResult {
    let fitting = all.filter(|candidate| typed.is_none_or(|typed| begins_with(candidate, typed)));
    CompleteResult::of(fitting.map(str::to_owned))
}

/// Whether a text begins with another, in any case.
fn begins_with(candidate: &str, typed: &str) -> bool {
    let mut candidate = candidate.chars().flat_map(char::to_lowercase);
    let mut typed = typed.chars().flat_map(char::to_lowercase);
    typed.all(|typed| candidate.next() == Some(typed))
}

#[cfg(test)]
mod tests {
    use super::begins_with;

    #[test]
    fn candidates_begin_with_what_was_typed_in_any_case() {
        let cases = [
            ("main", "", true),
            ("main", "ma", true),
            ("Main", "mA", true),
            ("main", "main", true),
            ("main", "mains", false),
            ("main", "ain", false),
            ("", "a", false),
            ("Ärger", "är", true),
        ];
        for (candidate, typed, expected) in cases {
            assert_eq!(
                begins_with(candidate, typed),
                expected,
                "{candidate} {typed}"
            );
        }
    }
}
