//! Batches, which sessions of 2025-03-26 have.

use std::sync::Arc;

use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::{entrant, era_of, id_of, not_found, peer, session_of};
use crate::call;
use crate::call::legacy::{Planned, answered, notified};
use crate::http::answer::{self, Exchanged};
use crate::http::endpoint::{Exchange, Waiting};
use crate::http::reply;
use crate::protocol::jsonrpc::{
    ErrorObject, INVALID_REQUEST, Malformed, Message, Request, UnreadableId, encode_error,
};
use crate::protocol::version::ProtocolVersion;
use crate::session::SessionGuard;
use crate::stream::{Outbox, Reply};

/// Serves a batch: each message as if it had been posted alone. Only sessions of 2025-03-26 have
/// batches, and must (MCP 2025-03-26, Transports, Sending Messages).
pub(in crate::http) async fn post_batch(
    exchange: Exchange,
    messages: Vec<Result<Message, Malformed>>,
) -> Response {
    let app = &exchange.app;
    let waiting = exchange.waiting(era_of(&exchange));
    let has_request = messages
        .iter()
        .any(|message| matches!(message, Ok(Message::Request(_))));
    if has_request && app.draining.is_cancelled() {
        return reply::stopping(None);
    }
    // Before the session is entered, since a refused request is no use of it.
    if has_batches(&exchange) == Some(false) {
        return no_batch(&exchange.headers);
    }
    let session = match session_of(&exchange) {
        Ok(Some(session)) => session,
        Ok(None) => return no_batch(&exchange.headers),
        Err(missing) => return missing.response(None, &exchange.headers),
    };
    let has_reply =
        |message: &&Result<Message, Malformed>| matches!(message, Ok(Message::Request(_)) | Err(_));
    let replies = messages.iter().filter(has_reply).count();
    let (outbox, reader) = call::outbox(app, replies);
    for message in messages {
        match message {
            Ok(Message::Request(request)) => {
                in_batch(&exchange, &session, &waiting, request, &outbox).await;
            }
            Ok(Message::Notification(notification)) => notified(&session, &notification),
            Ok(Message::Response(response)) => answered(&session, response),
            Err(Malformed { id, error }) => {
                let data = encode_error(id.as_ref(), UnreadableId::Null, &error);
                outbox.reply(Reply::new(StatusCode::OK, data));
            }
        }
    }
    if replies == 0 {
        return reply::empty(StatusCode::ACCEPTED);
    }
    let exchanged = Exchanged {
        app,
        connection: &exchange.connection,
        session: Some(session),
        // Clients of batches do not come back.
        permission: None,
        is_batch: true,
    };
    answer::answer(exchanged, reader, waiting).await
}

/// Whether the session of a request has batches; `None` if there is no such session.
fn has_batches(exchange: &Exchange) -> Option<bool> {
    let sessions = exchange.app.sessions.as_ref()?;
    let id = id_of(exchange).ok()?;
    let version = sessions.version(id, entrant(exchange))?;
    Some(version == ProtocolVersion::V2025_03_26)
}

/// Refuses a batch outside the sessions that have them.
pub(in crate::http) fn no_batch(headers: &HeaderMap) -> Response {
    let error = call::no_batch();
    reply::error_without_id(StatusCode::BAD_REQUEST, headers, &error)
}

async fn in_batch(
    exchange: &Exchange,
    session: &SessionGuard,
    waiting: &Waiting,
    request: Request,
    outbox: &Arc<Outbox>,
) {
    let id = request.id.clone();
    let outcome = if request.method == "initialize" {
        let text = "Invalid request: initialize cannot be part of a batch";
        Err(ErrorObject::new(INVALID_REQUEST, text))
    } else {
        let peer = peer(exchange, Some(session));
        match peer.plan(request).await {
            Planned::Answer(outcome) => outcome,
            // The response of a batch has no status that would be that of one request.
            Planned::StepUp(needed) => Err(needed.error()),
            Planned::Refused(refused) => return outbox.reply(refused),
            Planned::Call(call, trail) => {
                let outbox = Arc::clone(outbox);
                let in_flight = Arc::clone(&waiting.in_flight);
                let run = peer.run(id.clone(), (*call, trail), outbox, in_flight);
                match Box::pin(run).await {
                    Ok(()) => return,
                    Err(refused) => Err(call::legacy::refused(refused, not_found)),
                }
            }
        }
    };
    outbox.reply(call::reply(&id, &outcome, StatusCode::OK));
}
