//! Revision 2026-07-28: every request stands alone.
//!
//! A session id is ignored. The headers must say what the body says. A JSON-RPC error is HTTP 400,
//! or 404 for an unknown method. A closed response is the client's way to cancel: the call ends
//! with the exchange.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use http::header::AsHeaderName;
use tokio_util::sync::DropGuard;

use super::answer::{self, Exchanged};
use super::endpoint::{Exchange, Waiting};
use super::{challenge, headers, reply, subscriptions, task};
use crate::call;
use crate::call::audit::Trail;
use crate::dispatch::{self, Call, Context, Plan};
use crate::execute::{Refusal, Stop};
use crate::metrics::RequestEra;
use crate::protocol::jsonrpc::{
    ErrorObject, HEADER_MISMATCH, INVALID_REQUEST, METHOD_NOT_FOUND, Message, Request, RequestId,
};
use crate::protocol::mcp::Method;
use crate::protocol::modern::{check_argument, check_headers, check_meta};
use crate::protocol::version::ProtocolVersion;
use crate::stream::Outbox;

/// Serves a message.
pub(super) async fn post(exchange: Exchange, message: Message) -> Response {
    match message {
        Message::Request(request) => serve_request(&exchange, request).await,
        // The revision defines none, and leaves their headers open.
        Message::Notification(_) => reply::empty(StatusCode::ACCEPTED),
        Message::Response(_) => reply::error_without_id(
            StatusCode::BAD_REQUEST,
            &exchange.headers,
            &ErrorObject::new(
                INVALID_REQUEST,
                "Invalid request: clients send no responses",
            ),
        ),
    }
}

// What has to wait is boxed: the future of every request has room for it otherwise, and is moved with it.
async fn serve_request(exchange: &Exchange, mut request: Request) -> Response {
    let app = &exchange.app;
    // Before the look at `draining`: a server that stops waits for what was taken before it.
    let waiting = exchange.waiting(RequestEra::Stateless);
    let method = Method::named(&request.method);
    if app.draining.is_cancelled() && !is_about_task(method) {
        return reply::stopping(Some(&request.id));
    }
    let context = exchange.context(ProtocolVersion::V2026_07_28, None);
    let mut trail = Trail::begin(app, &context, exchange.way(None), &request);
    if let Err(error) = check(exchange, &context, &request) {
        return match trail.malformed(&error).await {
            Ok(()) => reply::error(status_of(&error), &request.id, &error),
            Err(refusal) => refuse(exchange, (method, None), (&request.id, refusal)),
        };
    }
    let plan = dispatch::plan(&context, &mut request);
    if let Err(refusal) = trail.planned(&context, &request, &plan).await {
        return refuse(exchange, call::asked(method, &plan), (&request.id, refusal));
    }
    call::note((app, exchange.started), method, &context, (&plan, &trail));
    let outcome = match plan {
        Plan::Call(call) if call.is_task() => {
            return Box::pin(task::create(exchange, request.id, (*call, trail), waiting)).await;
        }
        Plan::Call(call) => {
            return Box::pin(run(exchange, request.id, (*call, trail), waiting)).await;
        }
        Plan::Listen(listening) => {
            return Box::pin(subscriptions::listen(exchange, listening)).await;
        }
        Plan::StepUp(needed) => {
            return challenge::insufficient_scope(exchange, &request.id, &needed);
        }
        Plan::Task(wanted) => task::serve(exchange, method, wanted),
        Plan::Reply(outcome) | Plan::Answered { outcome, .. } => outcome,
        Plan::Remember(_) => Err(ErrorObject::method_not_found(&request.method)),
    };
    let status = outcome.as_ref().err().map_or(StatusCode::OK, status_of);
    reply::reply(&request.id, &outcome, status, waiting)
}

/// True for a method that a server which stops still serves: with an answer a task can end well.
fn is_about_task(method: Method) -> bool {
    use Method::{CancelTask, GetTask, UpdateTask};
    matches!(method, GetTask | UpdateTask | CancelTask)
}

fn check(exchange: &Exchange, context: &Context<'_>, request: &Request) -> Result<(), ErrorObject> {
    check_meta(&request.params)?;
    let method = header(exchange, headers::MCP_METHOD)?;
    check_headers(request, method, header(exchange, headers::MCP_NAME)?)?;
    for (name, argument) in dispatch::mirrored(context, request) {
        check_argument(name, header(exchange, name)?, argument)?;
    }
    Ok(())
}

/// A header that must say what the body says.
fn header(exchange: &Exchange, name: impl AsHeaderName) -> Result<Option<&str>, ErrorObject> {
    headers::single(&exchange.headers, name).map_err(|headers::Unusable| {
        ErrorObject::new(
            HEADER_MISMATCH,
            "Header mismatch: an MCP header stands twice or is not visible ASCII",
        )
    })
}

/// The HTTP status of an error that answers before a stream began.
fn status_of(error: &ErrorObject) -> StatusCode {
    if error.code == METHOD_NOT_FOUND {
        StatusCode::NOT_FOUND
    } else {
        StatusCode::BAD_REQUEST
    }
}

/// Answers a request that is not served now.
pub(super) fn refuse(
    exchange: &Exchange,
    asked: call::Asked<'_>,
    refused: (&RequestId, Refusal),
) -> Response {
    let counted = (exchange.app.as_ref(), exchange.started);
    let version = ProtocolVersion::V2026_07_28;
    reply::whole(call::refuse(counted, asked, version, refused), ())
}

async fn run(
    exchange: &Exchange,
    id: RequestId,
    (mut call, trail): (Call, Trail),
    waiting: Waiting,
) -> Response {
    let app = &exchange.app;
    let stop = Stop::default();
    // Dropped with the exchange, that is with this future or with the body of the response.
    let cancel: DropGuard = stop.connection.clone().drop_guard();
    let (outbox, reader) = call::outbox(app, 1);
    let from = origin(trail.number(app), id, &call, outbox);
    let input = call::input_of_retry(&mut call);
    call::start(app, from, (call, input, trail), stop, ());
    answer::answer(exchanged(exchange), reader, (cancel, waiting)).await
}

/// Where a call comes from.
pub(super) fn origin(number: u64, id: RequestId, call: &Call, outbox: Arc<Outbox>) -> call::From {
    call::From {
        number,
        id,
        version: ProtocolVersion::V2026_07_28,
        session: None,
        outbox,
        log_level: call.client.log_level,
        resumes: false,
        given_up: None,
    }
}

/// How an exchange without a session is answered.
pub(super) fn exchanged(exchange: &Exchange) -> Exchanged<'_> {
    Exchanged {
        app: &exchange.app,
        connection: &exchange.connection,
        session: None,
        permission: None,
        is_batch: false,
    }
}
