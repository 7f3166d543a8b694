//! What people get wrong on the command line and in the environment, said so that it can be mended.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::document::suggest::nearest;

/// What the variables of all options start with.
const PREFIX: &str = "MCP_SERVE_";

/// Adds to an error of clap what it cannot know.
pub(super) fn explain(
    error: clap::Error,
    command: &clap::Command,
    arguments: &[OsString],
) -> clap::Error {
    match error.kind() {
        ErrorKind::InvalidSubcommand => name_file(error),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            name_source(error, command, arguments)
        }
        _ => error,
    }
}

/// A file in the place of a command is most likely meant as the definitions.
fn name_file(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    if word.contains(['/', '.']) {
        let tip = format!("did you mean `--tools {word}`?");
        error.remove(ContextKind::SuggestedSubcommand);
        suggest(&mut error, tip);
    }
    error
}

/// Adds to a value error the variable the value came from, unless it came from the command line.
fn name_source(
    mut error: clap::Error,
    command: &clap::Command,
    arguments: &[OsString],
) -> clap::Error {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let flag = shown
        .split(['=', ' ', '['])
        .next()
        .unwrap_or_default()
        .to_owned();
    let on_command_line = arguments.iter().any(|argument| {
        let argument = argument.to_string_lossy();
        argument.split('=').next() == Some(flag.as_str())
    });
    let variable = command
        .get_arguments()
        .find(|argument| {
            argument.get_long().map(|long| format!("--{long}")).as_ref() == Some(&flag)
        })
        .and_then(clap::Arg::get_env);
    if let (false, Some(variable)) = (on_command_line, variable) {
        let variable = variable.display();
        let tip = format!("the value comes from the environment variable {variable}");
        suggest(&mut error, tip);
    }
    error
}

fn suggest(error: &mut clap::Error, tip: String) {
    let tips = ContextValue::StyledStrs(vec![tip.into()]);
    error.insert(ContextKind::Suggested, tips);
}

/// Warns of variables that look like ours and are none: a setting that nobody reads.
pub fn unknown_variables<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let command = super::command();
    let known: Vec<_> = (command.get_arguments())
        .filter_map(|argument| argument.get_env()?.to_str())
        .collect();
    let mut unknown: Vec<_> = (names.into_iter())
        .filter(|name| name.starts_with(PREFIX) && !known.contains(name))
        .filter(|name| !is_of_kubernetes(name))
        .collect();
    unknown.sort_unstable();
    unknown
        .into_iter()
        .map(|name| {
            // What all of them have in common would make any two look alike.
            let meant = nearest(own_part(name), known.iter().map(|known| own_part(known)));
            let advice = match meant {
                Some(meant) => format!("did you mean `{PREFIX}{meant}`?"),
                None => "`mcp-serve --help` lists them".to_owned(),
            };
            format!("`{name}` is not a variable of mcp-serve, and sets nothing; {advice}")
        })
        .collect()
}

/// A name without what all have in common.
fn own_part(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// Whether Kubernetes sets a variable in every container beside a service named mcp-serve.
fn is_of_kubernetes(name: &str) -> bool {
    let rest = own_part(name);
    ["SERVICE_HOST", "SERVICE_PORT", "PORT"].iter().any(|own| {
        rest.strip_prefix(own)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    })
}

/// Whether a command line, which cannot be read, asks `check` for JSON.
pub fn wants_json(arguments: &[OsString]) -> bool {
    let is_json = |pair: &[OsString]| matches!(pair, [option, json] if option == "--format" && json == "json");
    arguments.iter().any(|argument| argument == "check")
        && (arguments.iter().any(|argument| argument == "--format=json")
            || arguments.windows(2).any(is_json))
}

#[cfg(test)]
mod tests {
    use super::unknown_variables;

    #[test]
    fn a_misspelt_variable_is_no_secret() {
        let cases = [
            ("MCP_SERVE_TOOLS", None),
            ("MCP_SERVER_TOOLS", None),
            ("PATH", None),
            ("MCP_SERVE_SERVICE_PORT_HTTP", None),
            ("MCP_SERVE_PORT_80_TCP", None),
            ("MCP_SERVE_TOOL", Some("did you mean `MCP_SERVE_TOOLS`?")),
            (
                "MCP_SERVE_LOGLEVEL",
                Some("did you mean `MCP_SERVE_LOG_LEVEL`?"),
            ),
            ("MCP_SERVE_COLOR", Some("`mcp-serve --help` lists them")),
        ];
        for (name, expected) in cases {
            let warnings = unknown_variables([name]);
            assert_eq!(
                warnings.len(),
                usize::from(expected.is_some()),
                "{warnings:?}"
            );
            for warning in warnings {
                assert!(warning.contains(expected.unwrap()), "{warning}");
            }
        }
    }
}
