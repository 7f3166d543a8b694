//! Streams of changes over HTTP: that of a session, and those of who listens without one.

use std::sync::Arc;

use axum::response::Response;

use super::endpoint::Exchange;
use super::events::{self, Feed, Opened};
use super::reply;
use crate::app::App;
use crate::call::changes;
use crate::dispatch::Listening;
use crate::metrics::StreamKind;
use crate::session::Session;
use crate::stream::Outbox;

/// What the stream of a session tells of changes, and where.
pub(super) fn feed(app: &App, session: &Session) -> Feed {
    Feed {
        listener: changes::listener(app, session),
        outbox: session
            .listening(|| Outbox::endless(app.options.stream_buffer, Arc::clone(&app.metrics))),
    }
}

/// Opens a stream of changes for a client without a session.
pub(super) fn listen(exchange: &Exchange, listening: Listening) -> Response {
    let app = &exchange.app;
    let Some(place) = app.listeners.enter(exchange.bucket()) else {
        return reply::too_many(&listening.id, changes::TOO_MANY_LISTENERS);
    };
    let listener = changes::filtered(app, &listening.filter);
    let opened = Opened::new(app, StreamKind::Listen, &exchange.connection);
    reply::event_stream(events::of_changes(
        exchange, opened, listener, listening, place,
    ))
}
