//! Streams of changes over HTTP: that of a session, and those of who listens without one.

use std::sync::Arc;

use axum::response::Response;

use super::endpoint::Exchange;
use super::events::{self, Feed, Opened};
use super::reply::{self, RetryAfter};
use crate::call::changes::{self, Eyes};
use crate::dispatch::Listening;
use crate::metrics::StreamKind;
use crate::session::Session;
use crate::stream::Outbox;

/// What the stream of a session tells of changes, and where.
pub(super) fn feed(exchange: &Exchange, session: &Session) -> Feed {
    let Exchange { app, caller, .. } = exchange;
    let listener = changes::listener(app, session, caller);
    // The token may grant something else than that of an earlier request.
    listener.look_with(Eyes::new(app, &session.info().toolset, caller));
    Feed {
        listener,
        outbox: session
            .listening(|| Outbox::endless(app.options.stream_buffer, Arc::clone(&app.metrics))),
    }
}

/// Opens a stream of changes for a client without a session.
pub(super) async fn listen(exchange: &Exchange, listening: Listening) -> Response {
    let app = &exchange.app;
    let Some(place) = app.listeners.enter(exchange.bucket()) else {
        let id = Some(&listening.id);
        return reply::too_many(id, changes::TOO_MANY_LISTENERS, RetryAfter::Full);
    };
    let eyes = Eyes::new(app, &exchange.endpoint, &exchange.caller);
    let listener = changes::filtered(app, &listening.filter, eyes).await;
    let opened = Opened::new(app, StreamKind::Listen, &exchange.connection);
    reply::event_stream(events::of_changes(
        exchange, opened, listener, listening, place,
    ))
}
