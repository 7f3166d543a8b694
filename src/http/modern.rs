//! Revision 2026-07-28: every request stands alone.
//!
//! A session id is ignored. The headers must say what the body says. A JSON-RPC error is HTTP 400,
//! or 404 for an unknown method. A closed response is the client's way to cancel: the call ends
//! with the exchange.

use axum::response::Response;
use http::StatusCode;
use http::header::AsHeaderName;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::answer::{self, Exchanged};
use super::endpoint::{Exchange, Waiting};
use super::{headers, reply, subscriptions};
use crate::call;
use crate::dispatch::{self, Call, Plan};
use crate::execute::{Busy, Stop};
use crate::metrics::RequestEra;
use crate::protocol::jsonrpc::{
    ErrorObject, HEADER_MISMATCH, INVALID_REQUEST, METHOD_NOT_FOUND, Message, Request, RequestId,
};
use crate::protocol::mcp::Method;
use crate::protocol::modern::{check_argument, check_headers, check_meta};
use crate::protocol::version::{Era, ProtocolVersion};

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
    let waiting = exchange.waiting(RequestEra::Stateless);
    if app.draining.is_cancelled() {
        return reply::stopping(Some(&request.id));
    }
    if let Err(error) = check(exchange, &request) {
        return reply::error(status_of(&error), &request.id, &error);
    }
    let plan = dispatch::plan(&exchange.context(Era::Modern, None), &mut request);
    call::count(
        (app, exchange.started),
        Method::named(&request.method),
        ProtocolVersion::V2026_07_28,
        &plan,
    );
    match plan {
        Plan::Reply(outcome) | Plan::Refused(_, outcome) => {
            let status = outcome.as_ref().err().map_or(StatusCode::OK, status_of);
            reply::reply(&request.id, &outcome, status, waiting)
        }
        Plan::Call(call) => run(exchange, request.id, *call, waiting).await,
        Plan::Listen(listening) => subscriptions::listen(exchange, listening),
        Plan::Remember(_) => {
            let error = ErrorObject::method_not_found(&request.method);
            reply::error(StatusCode::NOT_FOUND, &request.id, &error)
        }
    }
}

fn check(exchange: &Exchange, request: &Request) -> Result<(), ErrorObject> {
    check_meta(&request.params)?;
    let method = header(exchange, headers::MCP_METHOD)?;
    check_headers(request, method, header(exchange, headers::MCP_NAME)?)?;
    let context = exchange.context(Era::Modern, None);
    for (name, argument) in dispatch::mirrored(&context, request) {
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

async fn run(exchange: &Exchange, id: RequestId, mut call: Call, waiting: Waiting) -> Response {
    let app = &exchange.app;
    let stop = Stop {
        client: CancellationToken::new(),
        session: CancellationToken::new(),
    };
    // Dropped with the exchange, that is with this future or with the body of the response.
    let cancel: DropGuard = stop.client.clone().drop_guard();
    let (outbox, reader) = call::outbox(app, 1);
    let from = call::From {
        number: app.executor.number(),
        id: id.clone(),
        version: ProtocolVersion::V2026_07_28,
        outbox,
        log_level: call.client.log_level,
        resumes: false,
        given_up: None,
    };
    let input = call::input_of_retry(&mut call);
    if let Err(Busy) = call::start(app, from, (call, input), stop, ()) {
        return answer::busy(&id);
    }
    let exchanged = Exchanged {
        app,
        connection: &exchange.connection,
        session: None,
        is_batch: false,
    };
    answer::answer(exchanged, reader, (cancel, waiting)).await
}
