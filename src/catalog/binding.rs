//! Values that come from the caller's credential: `from: claims.sub`. The model neither sees nor
//! sets them.

use serde_json::{Map, Value};

use super::argument_error::{ArgumentError, Violation};
use super::grants::Grants;
use super::params::{Parameter, Parameters};
use super::schema;
use super::template::CallerFact;
use crate::auth::Caller;
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::suggest::did_you_mean;
use crate::document::yaml::Entry;

/// What the name of a claim stands after.
const CLAIMS: &str = "claims.";

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// A claim by its name, dots and all.
    Claim(String),
    Fact(CallerFact),
}

impl Binding {
    /// Reads the value of `from`.
    pub(crate) fn read(entry: &Entry, report: &mut Report) -> Option<Self> {
        let text = reader::text(entry, report)?;
        let claim = text.strip_prefix(CLAIMS).filter(|name| !name.is_empty());
        let fact = CallerFact::parse(&text).map(Self::Fact);
        let binding = fact.or_else(|| claim.map(|name| Self::Claim(name.to_owned())));
        if binding.is_none() {
            let known = CallerFact::NAMES.iter().map(|(name, _)| *name);
            let help = did_you_mean(&text, known).unwrap_or_else(|| {
                "write `claims.` and the name of a claim, `caller.subject`, `caller.tenant` or \
                 `caller.scopes`"
                    .to_owned()
            });
            let message = format!("`{text}` is nothing that is known of a caller");
            report.add(Problem::error(Code::Value, entry.place(), message).help(help));
        }
        binding
    }

    /// What it is for a caller; `None` if there is nothing. Scopes are a text, or a list where the
    /// parameter is one.
    fn value(&self, parameter: &Parameter, caller: &Caller) -> Option<Value> {
        match self {
            Self::Claim(name) => caller.claims.get(name).cloned(),
            Self::Fact(CallerFact::Scopes) if parameter.kind.is_array() => {
                Some(Value::from(caller.scopes.clone()))
            }
            Self::Fact(fact) => Some(fact.of(caller))
                .filter(|text| !text.is_empty())
                .map(Value::String),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Claim(name) => format!("{CLAIMS}{name}"),
            Self::Fact(fact) => {
                let mut names = CallerFact::NAMES.iter();
                let name = names.find(|(_, known)| known == fact);
                name.map_or_else(String::new, |(name, _)| (*name).to_owned())
            }
        }
    }
}

/// The parameters of a definition that are bound.
#[derive(Debug, Default)]
pub(crate) struct Bindings(Vec<Bound>);

#[derive(Debug)]
struct Bound {
    parameter: Parameter,
    binding: Binding,
    validator: jsonschema::Validator,
}

impl Bindings {
    /// Prepares the bound parameters of a definition.
    pub(crate) fn compile(
        tool: &str,
        parameters: &Parameters,
        grants: &Grants,
        report: &mut Report,
    ) -> Self {
        let bound = parameters.iter().filter_map(|parameter| {
            let binding = parameter.binding.clone()?;
            if parameter.required {
                check_grants(tool, parameter, &binding, grants, report);
            }
            let validator = schema::compile_one(parameter, report)?;
            Some(Bound {
                parameter: parameter.clone(),
                binding,
                validator,
            })
        });
        Self(bound.collect())
    }

    /// Adds the values to arguments that are checked already.
    pub(crate) fn bind(
        &self,
        arguments: &mut Map<String, Value>,
        caller: &Caller,
    ) -> Result<(), ArgumentError> {
        let mut violations = Vec::new();
        for bound in &self.0 {
            let name = &bound.parameter.name;
            let default = bound.parameter.default();
            let value = bound.binding.value(&bound.parameter, caller);
            let rule = match value.or_else(|| default.cloned()) {
                Some(value) if bound.validator.is_valid(&value) => {
                    arguments.insert(name.clone(), value);
                    continue;
                }
                None if !bound.parameter.required => continue,
                Some(_) => "is not allowed to be what it is for this caller",
                None => "does not exist for this caller",
            };
            let source = bound.binding.name();
            let rule = format!("comes from `{source}`, which {rule}; other arguments do not help");
            violations.push(Violation::at(name, None, &rule));
        }
        ArgumentError::unless_empty(violations)
    }
}

/// Warns of a value that nobody who can call has.
fn check_grants(
    tool: &str,
    parameter: &Parameter,
    binding: &Binding,
    grants: &Grants,
    report: &mut Report,
) {
    if grants.may_include(|caller| binding.value(parameter, caller).is_some()) {
        return;
    }
    let name = &parameter.name;
    let message = format!(
        "nobody could ever call `{tool}`: no caller has `{}`",
        binding.name()
    );
    let problem = Problem::warning(Code::Unreachable, parameter.span, message);
    report.add(problem.help(format!(
        "serve with `--auth` and a credential that has it, or make `{name}` optional"
    )));
}
