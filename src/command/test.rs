//! `test`: the tests of a definitions file, each a call as the server would run it.

use std::sync::Arc;

use anyhow::anyhow;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::Setup;
use super::runner::{self, Runner};
use crate::catalog::{Case, Grants, Guarded as _, Tool};
use crate::cli::Test;
use crate::console;
use crate::execute::{Answer, Client, Outcome};
use crate::failure::Failure;
use crate::protocol::input::{InputRequest, NOT_ANSWERED, missing_capabilities};
use crate::protocol::jsonrpc::ErrorObject;
use crate::protocol::mcp::CallToolResult;

/// Runs the tests, and prints a line for each and what differs.
pub(super) fn run(options: &Test, setup: &Setup) -> Result<u8, Failure> {
    let catalog = setup.catalog(Grants::Any)?;
    let cases: Vec<_> = (catalog.cases().iter())
        .filter(|case| is_chosen(case, options.filter.as_deref()))
        .collect();
    if let (Some(filter), []) = (&options.filter, cases.as_slice()) {
        return Err(Failure::usage([anyhow!("no test holds `{filter}`")]));
    }
    let mut runner = Runner::new(&setup.parsed, setup.environment.variables().allows_color())?;
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for case in cases {
        let verdict = verdict(case, &mut runner)?;
        let word = match &verdict {
            Verdict::Passed => "ok",
            Verdict::Failed(_) => "FAILED",
            Verdict::Skipped => "skipped",
        };
        console::print(format!("{word} {}\n", case.name))?;
        match verdict {
            Verdict::Passed => passed += 1,
            Verdict::Skipped => skipped += 1,
            Verdict::Failed(differences) => {
                failed += 1;
                for difference in differences {
                    let lines = difference.replace('\n', "\n    ");
                    console::print(format!("  {lines}\n"))?;
                }
            }
        }
    }
    let counts = [
        (passed, "passed"),
        (failed, "failed"),
        (
            skipped,
            "skipped, since their tools are left out on this machine",
        ),
    ];
    let counts: Vec<_> = (counts.into_iter().enumerate())
        .filter(|(at, (count, _))| *at == 0 || *count > 0)
        .map(|(_, (count, word))| format!("{count} {word}"))
        .collect();
    console::print(counts.join(", ") + "\n")?;
    Ok(if failed == 0 {
        crate::EXIT_CLEAN
    } else {
        crate::EXIT_FAILURE
    })
}

fn is_chosen(case: &Case, filter: Option<&str>) -> bool {
    filter.is_none_or(|filter| case.name.contains(filter) || case.call.contains(filter))
}

/// What became of a test.
enum Verdict {
    Passed,
    Failed(Vec<String>),
    Skipped,
}

fn verdict(case: &Case, runner: &mut Runner) -> Result<Verdict, Failure> {
    let Some(tool) = &case.tool else {
        return Ok(Verdict::Skipped);
    };
    let may = case
        .caller
        .as_ref()
        .is_none_or(|caller| tool.allow().permits(caller));
    let differences = match (may, case.expect.allowed) {
        (false, false) => Vec::new(),
        (false, true) => vec!["the caller may not call it".to_owned()],
        (true, false) => vec!["the caller may call it".to_owned()],
        (true, true) => match result(case, tool, runner)? {
            Ok(result) => case.expect.differences(&result),
            Err(reason) => vec![reason],
        },
    };
    Ok(if differences.is_empty() {
        Verdict::Passed
    } else {
        Verdict::Failed(differences)
    })
}

/// The result of a call, or why there is none.
fn result(
    case: &Case,
    tool: &Arc<Tool>,
    runner: &mut Runner,
) -> Result<Result<CallToolResult, String>, Failure> {
    let missing = runner::missing(tool, true);
    if !missing.is_empty() {
        return Ok(Err(missing_capabilities(&missing).message.into_owned()));
    }
    let caller = case.caller();
    let arguments = match tool.arguments(Some(case.arguments.clone()), &caller) {
        Ok(arguments) => arguments,
        Err(error) => return Ok(Ok(CallToolResult::error(error.to_string()))),
    };
    let outcome = runner.run(runner::Call {
        tool: Arc::clone(tool),
        arguments,
        caller,
        client: Some(Box::new(Consenting)),
        listens: false,
    })?;
    Ok(match outcome {
        Outcome::Result { result, .. } => Ok(result),
        Outcome::Bytes(bytes) => Ok(CallToolResult::text(String::from_utf8_lossy(&bytes))),
        Outcome::Error(error) => Err(format!("the tool ended the call: {}", error.message)),
        Outcome::Refused(refusal) => Err(refusal.message.into_owned()),
        Outcome::Stopped(_) => Err("the call was stopped".to_owned()),
        Outcome::InputRequired(_)
        | Outcome::MissingCapabilities(_)
        | Outcome::Messages(_)
        | Outcome::Lost => Err("the call was lost".to_owned()),
    })
}

/// Whoever wrote a test of a tool that asks for consent gives it. Nobody is there to answer more.
#[derive(Debug)]
struct Consenting;

impl Client for Consenting {
    fn ask(&self, request: &InputRequest) -> BoxFuture<'static, Answer> {
        let fields = request.schema().and_then(|schema| schema.get("properties"));
        let fields = fields.and_then(serde_json::Value::as_object);
        let answer = if fields.is_some_and(serde_json::Map::is_empty) {
            Ok(json!({"action": "accept", "content": {}}))
        } else {
            Err(ErrorObject::new(
                NOT_ANSWERED,
                "a test answers no questions",
            ))
        };
        Box::pin(async move { answer })
    }
}
