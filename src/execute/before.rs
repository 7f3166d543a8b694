//! What a definition asks before anything runs.

use std::borrow::Cow;

use serde_json::Value;

use super::Outcome;
use super::ask::{Answer, Ask};
use super::conversation::Conversation;
use super::report;
use crate::catalog::{Arguments, Fallback, Question, Tool};
use crate::protocol::input::InputRequest;

/// Asks what the definition of a tool wants to know, and returns the arguments with the answers. The
/// error is the outcome of a call that must not run.
pub(super) async fn ask<'a>(
    tool: &Tool,
    arguments: &'a Arguments,
    conversation: &mut Conversation,
) -> Result<Cow<'a, Arguments>, Outcome> {
    let questions = tool.questions(arguments);
    let questions = questions.map_err(|error| report::refused(&error))?;
    if questions.is_empty() {
        return Ok(Cow::Borrowed(arguments));
    }
    if !tool.asks_for_values() {
        // A call that cannot run anyway is not worth a question.
        tool.work(arguments)
            .map_err(|error| report::refused(&error))?;
    }
    let requests = questions.iter().map(request).collect::<Result<_, _>>();
    let ask = Ask::of(requests.map_err(|reason| report::not_asked(&reason))?);
    let may_skip = tool.confirm_fallback == Fallback::Allow && !tool.asks_for_values();
    if may_skip && conversation.cannot_ask(&ask) {
        return Ok(Cow::Borrowed(arguments));
    }
    let answers = conversation.ask_first(&ask).await?;
    let forms = answers
        .into_iter()
        .map(form)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Cow::Owned(tool.filled(arguments, &forms)))
}

fn request(question: &Question) -> Result<(String, InputRequest), String> {
    let request = InputRequest::form(&question.message, Some(question.form()))?;
    Ok((question.name.clone(), request))
}

/// What a form was filled in with, if it was accepted.
fn form(answer: Answer) -> Result<Value, Outcome> {
    let mut answer = answer.map_err(|error| report::not_asked(&error.message))?;
    match answer.get("action").and_then(Value::as_str) {
        Some("accept") => Ok(answer
            .get_mut("content")
            .map(Value::take)
            .unwrap_or_default()),
        Some("decline") => Err(report::not_confirmed("declined")),
        _ => Err(report::not_confirmed("gave no answer")),
    }
}
