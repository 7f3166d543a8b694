//! Revisions up to 2025-11-25: `initialize`, sessions, GET and DELETE.
//!
//! A JSON-RPC error of a valid message is HTTP 200. A lost connection cancels nothing: a call
//! lives in its own task and ends by itself, by `notifications/cancelled`, by the end of its
//! session, at its deadline or at shutdown.

use std::sync::Arc;

use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::call::{self, PendingReply};
use super::endpoint::Exchange;
use super::reply::{self, RetryAfter};
use super::{App, Delivery, Link, events, headers};
use crate::dispatch::{self, Call, Plan};
use crate::execute::{Busy, Stop};
use crate::protocol::jsonrpc::{
    ErrorObject, INTERNAL_ERROR, INVALID_REQUEST, Malformed, Message, Notification, Request,
    RequestId, RequestKey, SESSION_NOT_FOUND, UnreadableId, encode_error,
};
use crate::protocol::version::{Era, ProtocolVersion};
use crate::session::statistics::{LookupFailure, Rejection};
use crate::session::{EndReason, Refused, SessionGuard, SessionId, SessionInfo, SessionStore};

/// Serves a message.
pub(super) async fn post(exchange: Exchange, message: Message) -> Response {
    // Before the look at `draining`: a server that stops waits for what was taken before it.
    let waiting = exchange.app.unanswered.token();
    if let Message::Request(request) = &message {
        if exchange.app.draining.is_cancelled() {
            if request.method == "initialize"
                && let Some(sessions) = &exchange.app.sessions
            {
                sessions.note_rejected(Rejection::Draining);
            }
            return reply::stopping(Some(&request.id));
        }
        if request.method == "initialize" {
            return initialize(&exchange, request);
        }
    }
    let session = match &exchange.app.sessions {
        None => None,
        Some(sessions) => match enter(&exchange, sessions) {
            Ok(guard) => Some(guard),
            Err(missing) => return missing.into_response(&exchange, &message),
        },
    };
    match message {
        Message::Request(request) => serve_request(&exchange, session, waiting, request).await,
        Message::Notification(notification) => {
            if let Some(session) = session {
                notified(&session, &notification);
            }
            reply::empty(StatusCode::ACCEPTED)
        }
        Message::Response(_) => reply::empty(StatusCode::ACCEPTED),
    }
}

/// Opens a session. It exists only after there is a result to answer with. A session id on the
/// request is ignored: it is a fresh start.
fn initialize(exchange: &Exchange, request: &Request) -> Response {
    let app = &exchange.app;
    let (params, result) = match dispatch::initialize(&app.catalog, &request.params) {
        Ok(opened) => opened,
        Err(error) => return reply::error(StatusCode::OK, &request.id, &error),
    };
    let Some(sessions) = &app.sessions else {
        return reply::reply(&request.id, &Ok(result), StatusCode::OK, ());
    };
    let info = SessionInfo {
        owner: exchange.caller.principal.clone(),
        bucket: None,
        version: params.version,
        client: params.client.into(),
    };
    match sessions.create(info) {
        Ok(guard) => {
            let session = guard.session();
            tracing::info!(
                session = %session.id(),
                version = %session.info().version,
                client = &*session.info().client,
                principal = %session.info().owner,
                "session started"
            );
            let id = HeaderValue::from_str(&session.id().expose());
            app.refusals.opened();
            end_if_undelivered(&exchange.connection.link, &guard);
            let mut response = reply::reply(&request.id, &Ok(result), StatusCode::OK, guard);
            if let Ok(id) = id {
                response.headers_mut().insert(headers::MCP_SESSION_ID, id);
            }
            response
        }
        Err(refused) => {
            if refused == Refused::Full {
                app.refusals.refused(Instant::now());
            }
            reply::unavailable(
                Some(&request.id),
                "The server has no room for another session; try again later",
                RetryAfter::Full,
            )
        }
    }
}

/// Ends a new session if nobody learns its id: the client was gone before the answer was written.
fn end_if_undelivered(link: &Link, guard: &SessionGuard) {
    let Some(guard) = guard.another() else {
        return;
    };
    link.on_delivery(move |delivery| {
        if delivery == Delivery::Failed && guard.session().requests() == 0 {
            guard.end(EndReason::InitFailed);
        }
    });
}

/// Why a request is in no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoSession {
    /// It names none.
    Missing,
    /// It names one that does not exist, any more or for this caller.
    Unknown,
    /// It names one that is used as often at once as it can be.
    Crowded,
}

impl NoSession {
    fn error(self) -> (StatusCode, ErrorObject) {
        match self {
            Self::Missing => (
                StatusCode::BAD_REQUEST,
                ErrorObject::new(
                    INVALID_REQUEST,
                    "Invalid request: the Mcp-Session-Id header is missing; call initialize first",
                ),
            ),
            Self::Unknown => (
                StatusCode::NOT_FOUND,
                ErrorObject::new(SESSION_NOT_FOUND, "Session not found"),
            ),
            Self::Crowded => (
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorObject::new(
                    INTERNAL_ERROR,
                    "The session serves as many requests as it may; try again later",
                ),
            ),
        }
    }

    fn into_response(self, exchange: &Exchange, message: &Message) -> Response {
        let (status, error) = self.error();
        match message {
            Message::Request(request) => reply::error(status, &request.id, &error),
            _ => reply::error_without_id(status, &exchange.headers, &error),
        }
    }
}

impl From<Refused> for NoSession {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Crowded => Self::Crowded,
            Refused::NotFound | Refused::Full | Refused::PrincipalFull => Self::Unknown,
        }
    }
}

/// Enters the session that a request names, to serve a message in it.
fn enter(exchange: &Exchange, sessions: &Arc<SessionStore>) -> Result<SessionGuard, NoSession> {
    let id = named_session(exchange, sessions)?;
    Ok(sessions.enter(id, &exchange.caller.principal)?)
}

fn named_session(exchange: &Exchange, sessions: &SessionStore) -> Result<SessionId, NoSession> {
    let unknown = || {
        sessions.note_lookup_failed(LookupFailure::Unknown);
        NoSession::Unknown
    };
    let id = headers::single(&exchange.headers, &headers::MCP_SESSION_ID)
        .map_err(|_| unknown())?
        .filter(|id| !id.is_empty())
        .ok_or(NoSession::Missing)?;
    SessionId::parse(id).ok_or_else(unknown)
}

/// Takes note of a notification. Those that mean nothing here are ignored.
fn notified(session: &SessionGuard, notification: &Notification) {
    if notification.method != "notifications/cancelled" {
        return;
    }
    let key = notification
        .params
        .get("requestId")
        .and_then(RequestKey::from_value);
    let cancelled = key.map_or(0, |key| session.session().cancel_calls(&key));
    tracing::debug!(session = %session.session().id(), cancelled, "cancelled by the client");
}

async fn serve_request(
    exchange: &Exchange,
    session: Option<SessionGuard>,
    waiting: TaskTrackerToken,
    request: Request,
) -> Response {
    let id = request.id.clone();
    let begun = begin(exchange, session.as_ref(), request);
    let keep = (session, waiting);
    match begun {
        Begun::Ready(outcome) => reply::reply(&id, &outcome, StatusCode::OK, keep),
        Begun::Pending(pending) => call::answer(&exchange.app, pending, keep).await,
        Begun::Busy => call::busy(&id),
        Begun::Ended => {
            let (status, error) = NoSession::Unknown.error();
            reply::error(status, &id, &error)
        }
    }
}

/// Serves a batch: each message as if it had been posted alone. Only sessions of 2025-03-26 have
/// batches, and must (MCP 2025-03-26, Transports, Sending Messages).
pub(super) async fn post_batch(
    exchange: Exchange,
    messages: Vec<Result<Message, Malformed>>,
) -> Response {
    let app = &exchange.app;
    let waiting = app.unanswered.token();
    let has_request = messages
        .iter()
        .any(|message| matches!(message, Ok(Message::Request(_))));
    if has_request && app.draining.is_cancelled() {
        return reply::stopping(None);
    }
    let session = match app
        .sessions
        .as_ref()
        .map(|sessions| enter(&exchange, sessions))
    {
        Some(Ok(session)) if session.session().info().version == ProtocolVersion::V2025_03_26 => {
            session
        }
        Some(Err(missing)) => return no_session(&exchange, missing),
        None | Some(Ok(_)) => return no_batch(&exchange.headers),
    };
    let mut pending = Vec::new();
    for message in messages {
        match message {
            Ok(Message::Request(request)) => pending.push(in_batch(&exchange, &session, request)),
            Ok(Message::Notification(notification)) => notified(&session, &notification),
            Ok(Message::Response(_)) => {}
            Err(Malformed { id, error }) => {
                let message = encode_error(id.as_ref(), UnreadableId::Null, &error);
                pending.push(ready(message));
            }
        }
    }
    if pending.is_empty() {
        return reply::empty(StatusCode::ACCEPTED);
    }
    call::answer_batch(app, pending, (session, waiting)).await
}

/// Refuses a batch outside the sessions that have them.
pub(super) fn no_batch(headers: &HeaderMap) -> Response {
    let error = ErrorObject::new(
        INVALID_REQUEST,
        "Invalid request: batches are served in sessions of 2025-03-26 only",
    );
    reply::error_without_id(StatusCode::BAD_REQUEST, headers, &error)
}

fn in_batch(exchange: &Exchange, session: &SessionGuard, request: Request) -> PendingReply {
    let id = request.id.clone();
    let begun = if request.method == "initialize" {
        let text = "Invalid request: initialize cannot be part of a batch";
        Begun::Ready(Err(ErrorObject::new(INVALID_REQUEST, text)))
    } else {
        begin(exchange, Some(session), request)
    };
    let outcome = match begun {
        Begun::Pending(pending) => return pending,
        Begun::Ready(outcome) => outcome,
        Begun::Busy => Err(call::busy_error()),
        Begun::Ended => Err(NoSession::Unknown.error().1),
    };
    ready(reply::encode(&id, &outcome, StatusCode::OK).1)
}

fn ready(message: Vec<u8>) -> PendingReply {
    Box::pin(std::future::ready((StatusCode::OK, message)))
}

/// A request that has been taken on.
enum Begun {
    Ready(Result<Box<RawValue>, ErrorObject>),
    Pending(PendingReply),
    /// The server runs as many calls as it may.
    Busy,
    /// The session ended meanwhile.
    Ended,
}

fn begin(exchange: &Exchange, session: Option<&SessionGuard>, mut request: Request) -> Begun {
    let app = &exchange.app;
    if let Some(session) = session {
        session.session().note_request(&request.method);
    }
    match dispatch::plan(Era::Legacy, &mut request, &app.catalog, &exchange.caller) {
        Plan::Reply(outcome) => Begun::Ready(outcome),
        Plan::Call(call) => run(app, session, request.id, call),
    }
}

/// A call that a session knows of, until it is over.
struct Registered {
    number: u64,
    session: SessionGuard,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.session.session().forget_call(self.number);
    }
}

fn run(app: &Arc<App>, session: Option<&SessionGuard>, id: RequestId, call: Call) -> Begun {
    let ended = session.map(|guard| guard.session().ended());
    let stop = Stop {
        client: CancellationToken::new(),
        session: ended.unwrap_or_default(),
    };
    let request = call::request(app, call);
    let registered = match session {
        None => None,
        Some(guard) => {
            let Some(another) = guard.another() else {
                return Begun::Ended;
            };
            let session = guard.session();
            session.note_call();
            session.register_call(request.number, id.key(), stop.client.clone());
            Some(Registered {
                number: request.number,
                session: another,
            })
        }
    };
    match call::start(app, Era::Legacy, id, request, stop, registered) {
        Ok(pending) => Begun::Pending(pending),
        Err(Busy) => Begun::Busy,
    }
}

/// Opens the session's event stream. The newest stream wins, so that a client which lost its
/// connection is never locked out.
pub(super) fn get(exchange: &Exchange) -> Response {
    if !headers::accepts(&exchange.headers, "text/event-stream") {
        return reply::refusal(
            StatusCode::NOT_ACCEPTABLE,
            &exchange.headers,
            "Invalid request: the Accept header must name text/event-stream",
        );
    }
    if exchange.app.draining.is_cancelled() {
        return reply::stopping(None);
    }
    with_session(exchange, |sessions, id| {
        let session = sessions.enter_stream(id, &exchange.caller.principal)?;
        let replaced = session.session().replace_stream();
        let stream = events::of_session(&exchange.app, replaced, session);
        Ok(reply::event_stream(stream))
    })
}

/// Ends the session, its calls and its stream.
pub(super) fn delete(exchange: &Exchange) -> Response {
    with_session(exchange, |sessions, id| {
        sessions.delete(id, &exchange.caller.principal)?;
        Ok(reply::empty(StatusCode::NO_CONTENT))
    })
}

fn with_session(
    exchange: &Exchange,
    serve: impl FnOnce(&Arc<SessionStore>, SessionId) -> Result<Response, NoSession>,
) -> Response {
    let Some(sessions) = &exchange.app.sessions else {
        return reply::method_not_allowed(&exchange.headers, "POST");
    };
    named_session(exchange, sessions)
        .and_then(|id| serve(sessions, id))
        .unwrap_or_else(|missing| no_session(exchange, missing))
}

fn no_session(exchange: &Exchange, missing: NoSession) -> Response {
    let (status, error) = missing.error();
    reply::error_without_id(status, &exchange.headers, &error)
}
