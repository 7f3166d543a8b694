//! Calls that become tasks: what they say goes to their task, and clients come back for it.

use std::sync::Arc;

use axum::response::Response;
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde_json::value::RawValue;

use super::endpoint::{Exchange, Waiting};
use super::reply::{self, RetryAfter};
use super::{answer, modern};
use crate::app::App;
use crate::call;
use crate::call::audit::Trail;
use crate::dispatch::{self, Call, TaskAction, TaskRequest};
use crate::execute::{self, Admission, Answer, Input, Listener, Outcome, Said, Stop, Stopped};
use crate::metrics::ErrorType;
use crate::protocol::input::{InputRequest, NOT_ANSWERED};
use crate::protocol::jsonrpc::{ErrorObject, RequestId};
use crate::protocol::mcp::Method;
use crate::protocol::progress::Progress;
use crate::protocol::tasks::{Task, unknown_task};
use crate::protocol::version::ProtocolVersion;
use crate::task::{Ending, NoRoom, Owner, Refused, Running};

/// The only version that has tasks.
const VERSION: ProtocolVersion = ProtocolVersion::V2026_07_28;

/// Answers a request about a task.
pub(super) fn serve(
    exchange: &Exchange,
    method: Method,
    request: TaskRequest,
) -> Result<Box<RawValue>, ErrorObject> {
    let is_served = request.is_served;
    let outcome = carry_out(exchange, request).map_err(|error| {
        if is_served {
            error
        } else {
            ErrorObject::method_not_found(method.as_str())
        }
    });
    let error = outcome.as_ref().err();
    let error_type = error.map(|error| ErrorType::JsonRpc(error.code));
    call::count_answer(
        (&exchange.app, exchange.started),
        method,
        VERSION,
        (None, error_type),
    );
    outcome
}

fn carry_out(exchange: &Exchange, request: TaskRequest) -> Result<Box<RawValue>, ErrorObject> {
    let Exchange { app, caller, .. } = exchange;
    let (tasks, id) = (&app.tasks, &request.id);
    match request.action {
        TaskAction::Get => {
            let task = tasks.get(id, caller).ok_or_else(unknown_task)?;
            return dispatch::seen(&task, &exchange.catalog);
        }
        TaskAction::Update(responses) => tasks.update(id, caller, responses),
        TaskAction::Cancel => tasks.cancel(id, caller),
    }
    .map_err(refused)?;
    dispatch::acknowledged(&exchange.catalog)
}

fn refused(refused: Refused) -> ErrorObject {
    match refused {
        Refused::Unknown => unknown_task(),
        Refused::Malformed { key, reason } => ErrorObject::invalid_params(format!(
            "Invalid params: the answer under \"{key}\" is not valid: {reason}"
        )),
    }
}

/// Starts a call as a task, and answers with the task when the work of the call begins. What the
/// definition asks comes before that, and its answer is as plain as any.
pub(super) async fn create(
    exchange: &Exchange,
    id: RequestId,
    (mut call, trail): (Call, Trail),
    waiting: Waiting,
) -> Response {
    let app = &exchange.app;
    let stop = Stop::default();
    let owner = Owner {
        permission: call::permission(&call),
        bucket: exchange.bucket(),
    };
    let time_limit = app.executor.time_limit(&call.tool);
    let created = app.tasks.create(owner, time_limit, stop.client.clone());
    let (running, task) = match created {
        Ok((running, task)) => (Arc::new(running), task),
        Err(no_room) => {
            return match trail.refused("refused: too many tasks").await {
                Ok(()) => refuse(&id, no_room),
                Err(refusal) => {
                    let asked = (Method::CallTool, Some(call.tool.name.as_str()));
                    modern::refuse(exchange, asked, (&id, refusal))
                }
            };
        }
    };
    let (outbox, reader) = call::outbox(app, 1);
    let from = modern::origin(trail.number(app), id, &call, outbox);
    let asking = Box::new(Asking(Arc::clone(&running)));
    let answers = call::take_answers(&mut call).unwrap_or_default();
    let input = Input::RetryThenLive(answers, asking);
    let (request, plain) = call::prepare(app, from, (call, input, trail), ());
    let listener = Box::new(Answering {
        app: Arc::clone(app),
        number: request.number,
        running,
        plain,
        created: Some(task),
    });
    app.executor.start(request, stop, listener);
    answer::answer(modern::exchanged(exchange), reader, waiting).await
}

/// Refuses a task without telling the limit.
fn refuse(id: &RequestId, no_room: NoRoom) -> Response {
    const FULL: &str = "The server has no room for another task; try again later";
    const TOO_MANY: &str = "Too many tasks of yours are running; cancel some, or try again later";
    match no_room {
        NoRoom::PrincipalFull => reply::too_many(Some(id), TOO_MANY, RetryAfter::Full),
        NoRoom::Full => reply::unavailable(Some(id), FULL, RetryAfter::Full),
    }
}

/// A call on its way to its task.
struct Answering {
    app: Arc<App>,
    number: u64,
    running: Arc<Running>,
    /// The answer to the exchange, which is the task unless there is an outcome before.
    plain: call::Answering<()>,
    /// The task as it was created, until the work begins.
    created: Option<Task>,
}

impl Listener for Answering {
    fn admission(&self) -> Option<Admission> {
        self.plain.admission()
    }

    fn begins(&mut self) {
        let Some(task) = self.created.take() else {
            return;
        };
        tracing::info!(call = self.number, task = %self.running.id(), "task");
        let created = dispatch::created(&task, self.plain.catalog());
        self.plain
            .reply(&created, StatusCode::INTERNAL_SERVER_ERROR.into(), None);
    }

    fn said(&mut self, said: Said) {
        match said {
            Said::Progress(progress) => self.running.note(in_words(progress)),
            Said::ListChanged(list) => self.plain.list_changed(list),
            // A task has no log (SEP-2663, Task Status Notifications), no stream to close, and nobody who
            // waits for it.
            Said::Log(_) | Said::CloseStream | Said::Alive(_) => {}
        }
    }

    fn done(mut self: Box<Self>, outcome: Outcome) {
        if self.created.is_some() {
            self.app.tasks.forget(self.running.id());
            return Box::new(self.plain).done(outcome);
        }
        let is_cancelled = matches!(outcome, Outcome::Stopped(Stopped::ByClient));
        let ending = match self.plain.encoded(outcome) {
            Ok(result) => Ending::Completed(result.into()),
            Err(_) if is_cancelled => Ending::Cancelled,
            Err(error) => Ending::Failed(error),
        };
        self.running.end(ending);
    }
}

/// How far a call has come, for the status of its task.
fn in_words(progress: Progress) -> String {
    match (progress.message, progress.total) {
        (Some(message), _) => message,
        (None, Some(total)) => format!("{} of {total}", progress.progress),
        (None, None) => progress.progress.to_string(),
    }
}

/// A client that sees what it is asked in its task.
#[derive(Debug)]
struct Asking(Arc<Running>);

impl execute::Client for Asking {
    fn ask(&self, request: &InputRequest) -> BoxFuture<'static, Answer> {
        let answer = self.0.ask(request);
        Box::pin(async move {
            let answer = answer.await;
            answer.ok_or_else(|| ErrorObject::new(NOT_ANSWERED, "the client was asked too often"))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn progress_is_said_in_words() {
        let number = |text: &str| serde_json::from_str(text).unwrap();
        let cases = [
            (json!({"progress": 3}), "3"),
            (json!({"progress": 3, "total": 10}), "3 of 10"),
            (
                json!({"progress": 3, "total": 10, "message": "copying"}),
                "copying",
            ),
        ];
        for (progress, expected) in cases {
            let words = in_words(Progress {
                progress: number(&progress["progress"].to_string()),
                total: progress
                    .get("total")
                    .map(|total| number(&total.to_string())),
                message: progress["message"].as_str().map(str::to_owned),
            });
            assert_eq!(words, expected);
        }
    }
}
