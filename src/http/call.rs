//! Answering a tool call, in either era: with JSON, or with an event stream when it takes long.

use std::pin::Pin;
use std::sync::Arc;

use axum::response::Response;
use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};
use http::StatusCode;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::reply::{self, RetryAfter};
use super::{App, events};
use crate::dispatch::{self, Call};
use crate::execute::{Busy, CallRequest, Listener, Outcome, Said, Stop, Stopped};
use crate::protocol::jsonrpc::{ErrorObject, INTERNAL_ERROR, RequestId};
use crate::protocol::version::Era;

/// Gives a planned call its number.
pub(super) fn request(app: &App, call: Call) -> CallRequest {
    CallRequest {
        number: app.executor.number(),
        tool: call.tool,
        arguments: call.arguments,
        caller: call.caller,
    }
}

/// The reply to a call: its status, should it be the whole response, and its message.
pub(super) type Reply = (StatusCode, Vec<u8>);

/// A reply that is not there yet.
pub(super) type PendingReply = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// Starts a call. `keep` is dropped when it has its outcome.
///
/// # Errors
///
/// [`Busy`] at the limit of calls.
pub(super) fn start<K: Send + 'static>(
    app: &Arc<App>,
    era: Era,
    id: RequestId,
    request: CallRequest,
    stop: Stop,
    keep: K,
) -> Result<PendingReply, Busy> {
    let (outcome, receiver) = oneshot::channel();
    let listener = Box::new(Waiting { outcome, keep });
    app.executor.start(request, stop, listener)?;
    let app = Arc::clone(app);
    Ok(Box::pin(async move {
        let outcome = receiver.await.unwrap_or(Outcome::Lost);
        let status = error_status(era, &outcome);
        reply::encode(&id, &encoded(&app, era, outcome), status)
    }))
}

/// An exchange that waits for the outcome of its call.
struct Waiting<K> {
    outcome: oneshot::Sender<Outcome>,
    keep: K,
}

impl<K: Send + 'static> Listener for Waiting<K> {
    fn said(&mut self, _: Said) {}

    fn done(self: Box<Self>, outcome: Outcome) {
        drop(self.keep);
        // The receiver is gone when the connection was lost; the outcome has no use then.
        drop(self.outcome.send(outcome));
    }
}

/// Answers with the reply to a call: plain JSON, or an event stream if the call is still running
/// after one heartbeat, which keeps proxies from cutting it. `keep` is dropped when the response
/// was sent, or the connection was lost.
pub(super) async fn answer<K: Send + Unpin + 'static>(
    app: &App,
    mut pending: PendingReply,
    keep: K,
) -> Response {
    tokio::select! {
        (status, message) = &mut pending => reply::json(status, message, keep),
        () = becomes_stream(app) => {
            let replies = stream::once(pending).map(|(_, message)| message);
            reply::event_stream(events::of_replies(replies, app.options.heartbeat, keep))
        }
    }
}

/// Answers with the replies to a batch: one JSON array, or one event for each reply.
pub(super) async fn answer_batch<K: Send + Unpin + 'static>(
    app: &App,
    pending: Vec<PendingReply>,
    keep: K,
) -> Response {
    let mut pending: FuturesUnordered<_> = pending.into_iter().collect();
    let mut ready: Vec<Vec<u8>> = Vec::new();
    let all = async {
        while let Some((_, message)) = pending.next().await {
            ready.push(message);
        }
    };
    tokio::select! {
        () = all => {
            let array = [b"[", ready.join(&b',').as_slice(), b"]"].concat();
            return reply::json(StatusCode::OK, array, keep);
        }
        () = becomes_stream(app) => {}
    }
    let replies = stream::iter(ready).chain(pending.map(|(_, message)| message));
    reply::event_stream(events::of_replies(replies, app.options.heartbeat, keep))
}

/// Completes when an answer must not stay silent any longer.
async fn becomes_stream(app: &App) {
    if app.options.json_response {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(app.options.heartbeat).await;
}

/// 503 for a call beyond the limit.
pub(super) fn busy(id: &RequestId) -> Response {
    reply::unavailable(Some(id), BUSY, RetryAfter::Busy)
}

/// The error of a call beyond the limit, in a batch.
pub(super) fn busy_error() -> ErrorObject {
    ErrorObject::new(INTERNAL_ERROR, BUSY)
}

const BUSY: &str = "The server is running as many calls as it may; try again later";

fn encoded(app: &App, era: Era, outcome: Outcome) -> Result<Box<RawValue>, ErrorObject> {
    let message = match outcome {
        Outcome::Result { result, .. } => return dispatch::call_result(era, result, &app.catalog),
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
