//! Revisions up to 2025-11-25: `initialize`, sessions, GET and DELETE.
//!
//! A JSON-RPC error of a valid message is HTTP 200. A lost connection cancels nothing: a call
//! lives in its own task and ends by itself, by `notifications/cancelled`, by the end of its
//! session, at its deadline or at shutdown.

mod batch;

use std::sync::Arc;

use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::answer::{self, Exchanged};
use super::endpoint::{Exchange, Waiting};
use super::events::{self, Feed, Opened};
use super::reply::{self, RetryAfter};
use super::{Delivery, challenge, headers, subscriptions};
use crate::call::legacy::{CROWDED, Peer, Planned, TOO_MANY_SESSIONS, answered, notified};
use crate::call::{self, changes};
use crate::dispatch;
use crate::metrics::{ErrorType, RequestEra, StreamKind};
use crate::protocol::jsonrpc::{
    ErrorObject, INVALID_REQUEST, Message, Request, RequestId, SESSION_NOT_FOUND,
};
use crate::protocol::mcp::Method;
use crate::protocol::version::ProtocolVersion;
use crate::session::statistics::{LookupFailure, Rejection};
use crate::session::{
    Entrant, NoRoom, Owner, Refused, SessionGuard, SessionId, SessionInfo, SessionStore,
};
use crate::stream::{Event, EventId, Reader, Resumed};

pub(super) use batch::{no_batch, post_batch};

/// Serves a message.
pub(super) async fn post(exchange: Exchange, message: Message) -> Response {
    // Before the look at `draining`: a server that stops waits for what was taken before it.
    let waiting = exchange.waiting(era_of(&exchange));
    if let Message::Request(request) = &message {
        let is_initialize = request.method == "initialize";
        if exchange.app.draining.is_cancelled() {
            if let Some(sessions) = exchange.app.sessions.as_ref().filter(|_| is_initialize) {
                sessions.note_rejected(Rejection::Draining);
            }
            return reply::stopping(Some(&request.id));
        }
        if is_initialize {
            return initialize(&exchange, request);
        }
    }
    let session = match session_of(&exchange) {
        Ok(session) => session,
        Err(missing) => {
            let id = match &message {
                Message::Request(request) => Some(&request.id),
                Message::Notification(_) | Message::Response(_) => None,
            };
            return missing.response(id, &exchange.headers);
        }
    };
    match message {
        Message::Request(request) => serve_request(&exchange, session, waiting, request).await,
        Message::Notification(notification) => {
            if let Some(session) = session {
                notified(&session, &notification);
            }
            reply::empty(StatusCode::ACCEPTED)
        }
        Message::Response(response) => {
            if let Some(session) = session {
                answered(&session, response);
            }
            reply::empty(StatusCode::ACCEPTED)
        }
    }
}

/// What the metrics call the era of a request.
fn era_of(exchange: &Exchange) -> RequestEra {
    match exchange.app.sessions {
        Some(_) => RequestEra::Session,
        None => RequestEra::Stateless,
    }
}

/// Opens a session. It exists only after there is a result to answer with. A session id on the
/// request is ignored: it is a fresh start.
fn initialize(exchange: &Exchange, request: &Request) -> Response {
    let app = &exchange.app;
    // Before the answer says what is served.
    let since = changes::mark(app, &exchange.endpoint, &exchange.caller);
    let opened = dispatch::initialize(
        &exchange.context(ProtocolVersion::UNSTATED, None),
        &request.params,
    );
    let version = match &opened {
        Ok((params, _)) => params.version,
        Err(_) => version_without_session(exchange),
    };
    let error = opened.as_ref().err();
    exchange.app.metrics.operation(
        Method::Initialize.as_str(),
        None,
        error.map(|error| ErrorType::JsonRpc(error.code)),
        version.as_str(),
        exchange.started.elapsed(),
    );
    let (params, result) = match opened {
        Ok(opened) => opened,
        Err(error) => return reply::error(StatusCode::OK, &request.id, &error),
    };
    let Some(sessions) = &app.sessions else {
        return reply::reply(&request.id, &Ok(result), StatusCode::OK, ());
    };
    let info = SessionInfo {
        opener: Owner::new(
            exchange.caller.principal.clone(),
            exchange.connection.network(),
        ),
        toolset: exchange.endpoint.clone(),
        version: params.version,
        client: params.client.into(),
        capabilities: params.capabilities,
        since,
    };
    match sessions.create(info) {
        Ok(guard) => {
            app.refusals.opened();
            opened_session(exchange, request, &result, guard)
        }
        Err(refused) => {
            if refused == NoRoom::Full {
                app.refusals.refused(Instant::now());
            }
            no_room(request, refused)
        }
    }
}

fn opened_session(
    exchange: &Exchange,
    request: &Request,
    result: &RawValue,
    guard: SessionGuard,
) -> Response {
    let session = guard.session();
    tracing::info!(
        session = %session.id(),
        version = %session.info().version,
        client = session.info().client,
        principal = %session.owner().principal,
        "session started"
    );
    let id = HeaderValue::from_str(&session.id().expose());
    let mut response = reply::reply(&request.id, &Ok(result.to_owned()), StatusCode::OK, ());
    if let Ok(id) = id {
        response.headers_mut().insert(headers::MCP_SESSION_ID, id);
    }
    // The session is held until its client has its id, and ends if it never gets it.
    exchange.connection.link.on_delivery(move |delivery| {
        if delivery == Delivery::Failed {
            guard.end_undelivered();
        }
    });
    response
}

/// Refuses a session without telling the limit.
fn no_room(request: &Request, refused: NoRoom) -> Response {
    const FULL: &str = "The server has no room for another session; try again later";
    match refused {
        NoRoom::PrincipalFull => {
            reply::too_many(Some(&request.id), TOO_MANY_SESSIONS, RetryAfter::Full)
        }
        NoRoom::Full => reply::unavailable(Some(&request.id), FULL, RetryAfter::Full),
    }
}

/// The version of a request in no session: what its header says, and else the oldest.
fn version_without_session(exchange: &Exchange) -> ProtocolVersion {
    headers::single(&exchange.headers, &headers::MCP_PROTOCOL_VERSION)
        .unwrap_or_default()
        .and_then(ProtocolVersion::parse)
        .unwrap_or(ProtocolVersion::UNSTATED)
}

/// Why a request is in no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoSession {
    /// It names none.
    Missing,
    /// It names one that does not exist, any more or for this caller.
    Unknown,
    /// Its session is used as often at once as it can be.
    Crowded,
    /// Its session would be one too many for its principal.
    PrincipalFull,
}

/// The error of a request in a session that does not exist, any more or for this caller.
fn not_found() -> ErrorObject {
    ErrorObject::new(SESSION_NOT_FOUND, "Session not found")
}

impl From<Refused> for NoSession {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Crowded => Self::Crowded,
            Refused::NotFound => Self::Unknown,
            Refused::PrincipalFull => Self::PrincipalFull,
        }
    }
}

impl NoSession {
    fn response(self, id: Option<&RequestId>, headers: &HeaderMap) -> Response {
        let (status, error) = match self {
            Self::Missing => (
                StatusCode::BAD_REQUEST,
                ErrorObject::new(
                    INVALID_REQUEST,
                    "Invalid request: the Mcp-Session-Id header is missing; call initialize first, or \
                     name a version without sessions in MCP-Protocol-Version",
                ),
            ),
            Self::Unknown => (StatusCode::NOT_FOUND, not_found()),
            Self::Crowded => return reply::unavailable(id, CROWDED, RetryAfter::Busy),
            Self::PrincipalFull => {
                return reply::too_many(id, TOO_MANY_SESSIONS, RetryAfter::Full);
            }
        };
        match id {
            Some(id) => reply::error(status, id, &error),
            None => reply::error_without_id(status, headers, &error),
        }
    }
}

/// Enters the session of a message; `None` where it is served without one.
fn session_of(exchange: &Exchange) -> Result<Option<SessionGuard>, NoSession> {
    let Some(sessions) = &exchange.app.sessions else {
        return Ok(None);
    };
    match id_of(exchange) {
        Err(missing) => {
            count_refused(exchange, sessions, missing);
            let is_lenient = exchange.app.options.lenient_sessions;
            if missing == NoSession::Missing && is_lenient {
                Ok(None)
            } else {
                Err(missing)
            }
        }
        Ok(id) => sessions
            .enter(id, entrant(exchange))
            .map(Some)
            .map_err(NoSession::from),
    }
}

/// Who comes with a session id, and where.
fn entrant(exchange: &Exchange) -> Entrant<'_> {
    Entrant {
        principal: &exchange.caller.principal,
        toolset: exchange.endpoint.as_deref(),
    }
}

/// The session id of a request, if it can be one.
fn id_of(exchange: &Exchange) -> Result<SessionId, NoSession> {
    let id = headers::single(&exchange.headers, &headers::MCP_SESSION_ID)
        .map_err(|_| NoSession::Unknown)?
        .filter(|id| !id.is_empty())
        .ok_or(NoSession::Missing)?;
    SessionId::parse(id).ok_or(NoSession::Unknown)
}

/// Counts a request without a usable session id.
fn count_refused(exchange: &Exchange, sessions: &SessionStore, missing: NoSession) {
    if missing == NoSession::Missing {
        exchange.app.metrics.missing_session_id();
    } else {
        sessions.note_lookup_failed(LookupFailure::Unknown);
    }
}

async fn serve_request(
    exchange: &Exchange,
    session: Option<SessionGuard>,
    waiting: Waiting,
    request: Request,
) -> Response {
    let id = request.id.clone();
    let peer = peer(exchange, session.as_ref());
    let (call, trail) = match peer.plan(request).await {
        Planned::Answer(outcome) => {
            return reply::reply(&id, &outcome, StatusCode::OK, (session, waiting));
        }
        Planned::StepUp(needed) => {
            // A client of these revisions may ask for what it is told and nothing else, and lose what
            // it has (2025-11-25, Server Scope Management). What it does not see stays unsaid.
            let Exchange {
                caller, catalog, ..
            } = exchange;
            let granted = caller.scopes.iter().map(String::as_str);
            let needed = needed.beside(granted.filter(|scope| catalog.shows_scope(caller, scope)));
            return challenge::insufficient_scope(exchange, &id, &needed);
        }
        Planned::Refused(refused) => return reply::whole(refused, (session, waiting)),
        Planned::Call(call, trail) => (call, trail),
    };
    let permission = call::permission(&call);
    let (outbox, reader) = call::outbox(&exchange.app, 1);
    let in_flight = Arc::clone(&waiting.in_flight);
    let run = peer.run(id.clone(), (*call, trail), outbox, in_flight);
    if let Err(refused) = Box::pin(run).await {
        return NoSession::from(refused).response(Some(&id), &exchange.headers);
    }
    let exchanged = Exchanged {
        app: &exchange.app,
        connection: &exchange.connection,
        session,
        permission: Some(permission),
        is_batch: false,
    };
    Box::pin(answer::answer(exchanged, reader, waiting)).await
}

/// The client of a request.
fn peer<'a>(exchange: &'a Exchange, session: Option<&'a SessionGuard>) -> Peer<'a> {
    let capabilities = session.map(|session| &session.session().info().capabilities);
    Peer {
        app: &exchange.app,
        session,
        context: exchange.context(version_of(exchange, session), capabilities),
        way: exchange.way(session),
        started: exchange.started,
        resumes: session.is_some_and(|session| answer::resumes(&exchange.app, session)),
        awaits_cancelled: true,
    }
}

fn version_of(exchange: &Exchange, session: Option<&SessionGuard>) -> ProtocolVersion {
    match session {
        Some(session) => session.session().info().version,
        None => version_without_session(exchange),
    }
}

/// Opens the session's event stream, or goes on with a stream that the client lost. The newest
/// stream wins, so that a client which lost its connection is never locked out.
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
    with_session(
        exchange,
        |sessions, id, entrant| sessions.enter_stream(id, entrant),
        |session| listen(exchange, session),
    )
}

/// What a stream goes on with.
enum Source {
    /// What was sent, and is over.
    Past(Vec<Event>),
    /// What is left of the answers to requests.
    Replies(Reader),
    /// What belongs to no request, and the event that the stream begins with.
    Session(Feed, Reader, Option<EventId>),
}

fn listen(exchange: &Exchange, session: SessionGuard) -> Response {
    let app = &exchange.app;
    let connection = &exchange.connection;
    let caller = &exchange.caller;
    // Somebody may have claimed it since this request came in, and listens already.
    let source = (session.session()).while_of(&caller.principal, || source(exchange, &session));
    let Some(source) = source else {
        return NoSession::Unknown.response(None, &exchange.headers);
    };
    let opened = Opened::new(app, StreamKind::Get, connection);
    let (feed, reader, beginning) = match source {
        Source::Past(events) => {
            return reply::event_stream(events::of_past(opened, &events, session));
        }
        Source::Replies(reader) => {
            let timing = events::Timing::of(app);
            let lease = Some(events::Lease::of(caller));
            let body = events::of_replies(opened, reader, None, timing, lease, session);
            return reply::event_stream(body);
        }
        Source::Session(feed, reader, beginning) => (feed, reader, beginning),
    };
    let limits = events::Limits {
        heartbeat: app.options.heartbeat,
        retry: app.options.stream_retry,
        max_age: app.options.stream_max_age,
        lease: events::Lease::of(caller),
        claimed: caller.is_guest().then(|| session.session().claimed()),
        ended: session.session().ended(),
        draining: app.draining.clone(),
    };
    reply::event_stream(events::of_session(
        opened, reader, beginning, feed, limits, session,
    ))
}

fn source(exchange: &Exchange, session: &SessionGuard) -> Source {
    let history = answer::history(&exchange.app, session);
    let last_event_id = headers::single(&exchange.headers, &headers::LAST_EVENT_ID)
        .unwrap_or_default()
        .filter(|id| !id.is_empty());
    let resumed = match (&history, last_event_id) {
        (Some(history), Some(id)) => history.resume(id, &exchange.caller),
        _ => None,
    };
    let feed = || subscriptions::feed(exchange, session.session());
    match resumed {
        Some(Resumed::Past(events)) => Source::Past(events),
        Some(Resumed::Live(reader)) if reader.ends() => Source::Replies(reader),
        Some(Resumed::Live(reader)) => Source::Session(feed(), reader, None),
        None => {
            let feed = feed();
            let reader = feed.outbox.read();
            let beginning = history.map(|history| reader.keep_in(&history, None));
            Source::Session(feed, reader, beginning)
        }
    }
}

/// Ends the session, its calls and its stream.
pub(super) fn delete(exchange: &Exchange) -> Response {
    with_session(
        exchange,
        |sessions, id, entrant| sessions.delete(id, entrant),
        |()| reply::empty(StatusCode::NO_CONTENT),
    )
}

fn with_session<S>(
    exchange: &Exchange,
    enter: impl FnOnce(&Arc<SessionStore>, SessionId, Entrant<'_>) -> Result<S, Refused>,
    serve: impl FnOnce(S) -> Response,
) -> Response {
    let Some(sessions) = &exchange.app.sessions else {
        return reply::method_not_allowed(&exchange.headers, "POST");
    };
    let entered = id_of(exchange)
        .inspect_err(|missing| count_refused(exchange, sessions, *missing))
        .and_then(|id| enter(sessions, id, entrant(exchange)).map_err(NoSession::from));
    match entered {
        Ok(session) => serve(session),
        Err(missing) => missing.response(None, &exchange.headers),
    }
}
