//! Revision 2026-07-28: every request stands alone.
//!
//! A session id is ignored. The headers must say what the body says. A JSON-RPC error is HTTP 400,
//! or 404 for an unknown method. A closed response is the client's way to cancel: the call ends
//! with the exchange.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::call;
use super::endpoint::Exchange;
use super::{App, headers, reply};
use crate::dispatch::{self, Call, Plan};
use crate::execute::{Busy, Stop};
use crate::protocol::jsonrpc::{
    ErrorObject, HEADER_MISMATCH, INVALID_REQUEST, METHOD_NOT_FOUND, Message, Request, RequestId,
};
use crate::protocol::modern::{check_headers, check_meta};
use crate::protocol::version::Era;

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

async fn serve_request(exchange: &Exchange, mut request: Request) -> Response {
    let app = &exchange.app;
    // Before the look at `draining`: a server that stops waits for what was taken before it.
    let waiting = app.unanswered.token();
    if app.draining.is_cancelled() {
        return reply::stopping(Some(&request.id));
    }
    if let Err(error) = check(exchange, &request) {
        return reply::error(status_of(&error), &request.id, &error);
    }
    match dispatch::plan(Era::Modern, &mut request, &app.catalog, &exchange.caller) {
        Plan::Reply(outcome) => {
            let status = outcome.as_ref().err().map_or(StatusCode::OK, status_of);
            reply::reply(&request.id, &outcome, status, waiting)
        }
        Plan::Call(call) => run(app, request.id, call, waiting).await,
    }
}

fn check(exchange: &Exchange, request: &Request) -> Result<(), ErrorObject> {
    check_meta(&request.params)?;
    let header = |name| {
        headers::single(&exchange.headers, name).map_err(|headers::Unusable| {
            ErrorObject::new(
                HEADER_MISMATCH,
                "Header mismatch: an MCP header stands twice or is not visible ASCII",
            )
        })
    };
    check_headers(
        request,
        header(&headers::MCP_METHOD)?,
        header(&headers::MCP_NAME)?,
    )
}

/// The HTTP status of an error that answers before a stream began.
fn status_of(error: &ErrorObject) -> StatusCode {
    if error.code == METHOD_NOT_FOUND {
        StatusCode::NOT_FOUND
    } else {
        StatusCode::BAD_REQUEST
    }
}

async fn run(app: &Arc<App>, id: RequestId, call: Call, waiting: TaskTrackerToken) -> Response {
    let stop = Stop {
        client: CancellationToken::new(),
        session: CancellationToken::new(),
    };
    // Dropped with the exchange, that is with this future or with the body of the response.
    let cancel: DropGuard = stop.client.clone().drop_guard();
    let request = call::request(app, call);
    match call::start(app, Era::Modern, id.clone(), request, stop, ()) {
        Ok(pending) => call::answer(app, pending, (cancel, waiting)).await,
        Err(Busy) => call::busy(&id),
    }
}
