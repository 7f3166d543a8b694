//! `call`: one call of a tool, as the server would run it.

mod arguments;
mod dry_run;
mod terminal;

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use anyhow::anyhow;

use super::runner::{self, Runner};
use super::{Setup, caller, result};
use crate::auth::{Caller, Principal};
use crate::catalog::{Arguments, Catalog, Guarded as _, Tool};
use crate::cli;
use crate::console;
use crate::document::suggest::did_you_mean;
use crate::execute::{Client, Outcome};
use crate::failure::Failure;
use crate::outputs;
use crate::protocol::content::Content;
use crate::protocol::input::missing_capabilities;
use terminal::Terminal;

/// Calls a tool, or says what the call would do.
pub(super) fn run(options: &cli::Call, setup: &Setup) -> Result<u8, Failure> {
    let (caller, grants) = caller::find(options.subject.as_deref(), setup)?;
    let catalog = setup.catalog(grants)?;
    let tool = find(&options.tool, &catalog)?;
    let caller = match caller {
        Some(caller) if tool.allow().permits(&caller) => caller,
        Some(caller) => return Err(not_allowed(&caller, tool)),
        None => Arc::new(Caller::new(Principal::Anonymous)),
    };
    let arguments = arguments::read(options, tool.input_schema())?;
    let arguments = tool
        .arguments(Some(arguments), &caller)
        .map_err(|error| bad_arguments(tool, &error))?;
    if options.dry_run {
        return dry_run::run(tool, &arguments, &caller, options.json);
    }
    if !tool.asks_for_values() {
        tool.work(&arguments, &caller)
            .map_err(|error| bad_arguments(tool, &error))?;
    }
    call(options, setup, (tool, arguments, caller))
}

fn find<'a>(name: &str, catalog: &'a Catalog) -> Result<&'a Arc<Tool>, Failure> {
    catalog.tool(name).ok_or_else(|| {
        let names = catalog.tools().iter().map(|tool| tool.name.as_str());
        let hint = did_you_mean(name, names);
        let hint = hint.unwrap_or_else(|| "`mcp-serve list` shows them".to_owned());
        Failure::usage([anyhow!("there is no tool `{name}`; {hint}")])
    })
}

/// Clients are told that there is no such tool. Whoever has the file may know better.
fn not_allowed(caller: &Caller, tool: &Tool) -> Failure {
    let (subject, name) = (caller.subject(), &tool.name);
    Failure::usage([anyhow!(
        "`{subject}` may not use `{name}`: the `allow` of it asks for something else"
    )])
}

fn bad_arguments(tool: &Tool, error: &impl ToString) -> Failure {
    let error = error.to_string();
    Failure::usage([anyhow!("{} cannot be called with this\n{error}", tool.name)])
}

fn call(
    options: &cli::Call,
    setup: &Setup,
    (tool, arguments, caller): (&Arc<Tool>, Arguments, Arc<Caller>),
) -> Result<u8, Failure> {
    let reads_arguments = options.arguments.as_deref() == Some(arguments::STDIN);
    let has_user = io::stdin().is_terminal() && !reads_arguments;
    let missing = runner::missing(tool, has_user);
    if !missing.is_empty() {
        let error = missing_capabilities(&missing).message;
        return Err(anyhow!("{}: {error}", tool.name).into());
    }
    let mut runner = Runner::new(&setup.parsed, setup.environment.variables().allows_color())?;
    let outcome = runner.run(runner::Call {
        tool: Arc::clone(tool),
        arguments,
        caller,
        client: has_user.then(|| Box::new(Terminal) as Box<dyn Client>),
        listens: true,
    });
    runner.end();
    tell(outcome?, options.json)
}

/// Whether a piece leads to an output that was too large for the result.
fn is_kept(piece: &Content) -> bool {
    matches!(piece, Content::ResourceLink { uri, .. } if uri.as_str().starts_with(outputs::ADDRESS))
}

/// Prints what came of a call, and returns the exit code.
fn tell(outcome: Outcome, json: bool) -> Result<u8, Failure> {
    let failed = |text: &str| Err(anyhow!("{text}").into());
    match outcome {
        Outcome::Result { result, .. } => {
            console::print(if json {
                result::json(&result)
            } else {
                result::text(&result)
            })?;
            if result.content.iter().any(is_kept) {
                console::tell(
                    "what the link leads to is kept by a server, and is gone with this command",
                );
            }
            Ok(if result.is_error {
                crate::EXIT_FAILURE
            } else {
                crate::EXIT_CLEAN
            })
        }
        Outcome::Bytes(bytes) => {
            console::print(bytes)?;
            Ok(crate::EXIT_CLEAN)
        }
        Outcome::Error(error) => failed(&format!(
            "the tool ended the call: {} ({})",
            error.message, error.code
        )),
        Outcome::MissingCapabilities(missing) => failed(&missing_capabilities(&missing).message),
        Outcome::Refused(refusal) => failed(&refusal.message),
        Outcome::Stopped(_) => failed("the call was stopped"),
        Outcome::InputRequired(_) | Outcome::Messages(_) | Outcome::Lost => {
            failed("the call was lost")
        }
    }
}
