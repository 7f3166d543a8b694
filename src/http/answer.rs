//! Answering calls over HTTP, in either era: with JSON, or with an event stream when a call speaks
//! before its result or takes long.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;

use super::Connection;
use super::events::{self, Opened};
use super::reply;
use crate::app::App;
use crate::auth::Permission;
use crate::call;
use crate::metrics::StreamKind;
use crate::protocol::version::ProtocolVersion;
use crate::session::SessionGuard;
use crate::stream::{Answer, History, HistoryLimits, Reader, Reply};

/// How an exchange may be answered.
#[derive(Debug)]
pub(super) struct Exchanged<'a> {
    pub(super) app: &'a App,
    pub(super) connection: &'a Connection,
    /// The session, which keeps what is streamed if the client can come back for it.
    pub(super) session: Option<SessionGuard>,
    /// Who may come back for what is streamed; `None` for everybody whose session it is.
    pub(super) permission: Option<Permission>,
    /// True if the replies go into one JSON array.
    pub(super) is_batch: bool,
}

/// Answers with what comes out of the outbox: plain JSON when nothing is said before the replies
/// and they are there within one heartbeat, else an event stream, which keeps proxies from cutting
/// it. `keep` is dropped when the response was sent, or the connection was lost.
pub(super) async fn answer<K: Send + Unpin + 'static>(
    exchanged: Exchanged<'_>,
    mut reader: Reader,
    keep: K,
) -> Response {
    let app = exchanged.app;
    let keep = (exchanged.session, keep);
    tokio::select! {
        answer = reader.answer() => if let Answer::Replies(replies) = answer {
            return whole(replies, exchanged.is_batch, keep);
        },
        () = becomes_stream(app) => {}
    }
    let history = keep.0.as_ref().and_then(|session| history(app, session));
    let beginning = history.map(|history| reader.keep_in(&history, exchanged.permission));
    let opened = Opened::new(app, StreamKind::Post, exchanged.connection);
    let timing = events::Timing::of(app);
    reply::event_stream(events::of_replies(
        opened, reader, beginning, timing, None, keep,
    ))
}

/// What keeps the messages of a session for a client that comes back; `None` in sessions where
/// that cannot be.
pub(super) fn history(app: &App, session: &SessionGuard) -> Option<Arc<History>> {
    let create = || {
        let limits = HistoryLimits::of_bytes(app.options.resume_buffer);
        app.histories.create(limits)
    };
    resumes(app, session).then(|| session.session().history(create))
}

/// True if the client of a session can come back for what it missed.
pub(super) fn resumes(app: &App, session: &SessionGuard) -> bool {
    let options = &app.options;
    let version = session.session().info().version;
    options.resume_buffer > 0 && version == ProtocolVersion::V2025_11_25
}

/// The replies as one JSON body.
fn whole<K: Send + Unpin + 'static>(replies: Vec<Reply>, is_batch: bool, keep: K) -> Response {
    if is_batch {
        return reply::json(StatusCode::OK, call::array(replies), keep);
    }
    match replies.into_iter().next() {
        Some(reply) => reply::whole(reply, keep),
        // An exchange has at least one request.
        None => reply::empty(StatusCode::ACCEPTED),
    }
}

/// Completes when an answer must not stay silent any longer.
async fn becomes_stream(app: &App) {
    if app.options.json_response {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(app.options.heartbeat).await;
}
