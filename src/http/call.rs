//! Answering a tool call, in either era: with JSON, or with an event stream when it takes long.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use serde_json::value::RawValue;

use super::reply::{self, RetryAfter};
use super::{App, stream};
use crate::dispatch::{self, Call};
use crate::execute::{CallRequest, Outcome, Stop, Stopped};
use crate::protocol::jsonrpc::{ErrorObject, INTERNAL_ERROR, RequestId};
use crate::protocol::version::Era;

/// What a call and its exchange hold until they are over, independently of each other.
#[derive(Debug)]
pub(super) struct Keep<C, E> {
    /// Dropped when the call has its outcome.
    pub(super) call: C,
    /// Dropped when the response was sent, or the connection was lost.
    pub(super) exchange: E,
}

/// Gives a planned call its number.
pub(super) fn request(app: &App, call: Call) -> CallRequest {
    CallRequest {
        number: app.executor.number(),
        tool: call.tool,
        arguments: call.arguments,
        caller: call.caller,
    }
}

/// Runs a call and answers with its outcome: plain JSON, or an event stream if the call is still
/// running after one heartbeat, which keeps proxies from cutting it.
pub(super) async fn answer<C, E>(
    app: &Arc<App>,
    era: Era,
    id: RequestId,
    request: CallRequest,
    stop: Stop,
    keep: Keep<C, E>,
) -> Response
where
    C: Send + 'static,
    E: Send + Unpin + 'static,
{
    let Ok(mut running) = app.executor.start(request, stop, keep.call) else {
        return reply::unavailable(
            Some(&id),
            "The server is running as many calls as it may; try again later",
            RetryAfter::Busy,
        );
    };
    let exchange = (keep.exchange, app.unanswered.token());
    let options = &app.options;
    tokio::select! {
        outcome = running.outcome() => {
            let status = error_status(era, &outcome);
            let outcome = encoded(app, era, outcome);
            reply::reply(&id, &outcome, status, exchange)
        }
        () = tokio::time::sleep(options.heartbeat), if !options.json_response => {
            let app = Arc::clone(app);
            let heartbeat = options.heartbeat;
            let encode = move |outcome| reply::encode(&id, &encoded(&app, era, outcome));
            reply::event_stream(stream::of_call(running, heartbeat, encode, exchange))
        }
    }
}

fn encoded(app: &App, era: Era, outcome: Outcome) -> Result<Box<RawValue>, ErrorObject> {
    let message = match outcome {
        Outcome::Result(result) => return dispatch::call_result(era, result, &app.catalog),
        Outcome::Stopped(Stopped::ByClient) => "The call was cancelled",
        Outcome::Stopped(Stopped::BySession) => "The call was cancelled: its session ended",
        Outcome::Stopped(Stopped::ByShutdown) => {
            "The call was cancelled: the server is shutting down"
        }
        Outcome::Lost => "Internal error: the call was lost",
    };
    Err(ErrorObject::new(INTERNAL_ERROR, message))
}

/// The status of a reply without a result. A legacy client sees every reply to a valid request as
/// 200.
fn error_status(era: Era, outcome: &Outcome) -> StatusCode {
    match (era, outcome) {
        (Era::Legacy, _) => StatusCode::OK,
        (Era::Modern, Outcome::Stopped(_)) => StatusCode::SERVICE_UNAVAILABLE,
        (Era::Modern, _) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
