//! What a definition asks before anything runs.

use serde_json::Value;

use super::Outcome;
use super::ask::{Answer, Ask};
use super::conversation::Conversation;
use super::report;
use crate::auth::Caller;
use crate::catalog::{Arguments, Fallback, Question, Tool};
use crate::protocol::input::InputRequest;

/// What the definition of a tool wants to know before a call runs; `None` if that is nothing, or if it
/// may be skipped. The error is the outcome of a call that must not run.
pub(super) fn to_ask(
    tool: &Tool,
    arguments: &Arguments,
    caller: &Caller,
    conversation: &Conversation,
) -> Result<Option<Ask>, Box<Outcome>> {
    let questions = tool.questions(arguments, caller);
    let questions = questions.map_err(|error| Box::new(report::refused(&error)))?;
    if questions.is_empty() {
        return Ok(None);
    }
    let requests = questions.iter().map(request).collect::<Result<_, _>>();
    let unasked = |reason: String| Box::new(report::not_confirmed(not_asked(&reason)));
    let ask = Ask::of(requests.map_err(unasked)?);
    let may_skip = tool.confirm_fallback == Fallback::Allow && !tool.asks_for_values();
    let is_skipped = may_skip && conversation.cannot_ask(&ask);
    Ok((!is_skipped).then_some(ask))
}

/// Asks, and returns what the forms were filled in with, in the order of the questions. The error is the
/// outcome of a call that must not run.
pub(super) async fn ask(ask: &Ask, conversation: &mut Conversation) -> Result<Vec<Value>, Outcome> {
    let answers = conversation.ask_first(ask).await?;
    let forms: Result<_, _> = answers.into_iter().map(form).collect();
    forms.map_err(report::not_confirmed)
}

fn request(question: &Question) -> Result<(String, InputRequest), String> {
    let request = InputRequest::form(&question.message, Some(question.form()))?;
    Ok((question.name.clone(), request))
}

/// What a form was filled in with, if it was accepted; else what the model is told.
fn form(answer: Answer) -> Result<Value, String> {
    let mut answer = answer.map_err(|error| not_asked(&error.message))?;
    let what = match answer.get("action").and_then(Value::as_str) {
        Some("accept") => {
            let content = answer.get_mut("content").map(Value::take);
            return Ok(content.unwrap_or_default());
        }
        Some("decline") => "declined",
        _ => "gave no answer",
    };
    Err(format!(
        "the user was asked first and {what}; nothing was run"
    ))
}

fn not_asked(reason: &str) -> String {
    format!("the user must be asked first and was not: {reason}; nothing was run")
}
