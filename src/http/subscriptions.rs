//! Who is told what changes: a session, on its event stream, and whoever listens without one.

use std::collections::HashMap;
use std::sync::Arc;

use axum::response::Response;
use parking_lot::Mutex;
use serde_json::value::RawValue;

use super::App;
use super::endpoint::Exchange;
use super::events::{self, Feed, Opened};
use super::reply;
use crate::changes::{self, Lists, TooMany};
use crate::dispatch::{self, Listening, Wish};
use crate::metrics::StreamKind;
use crate::protocol::jsonrpc::{ErrorObject, INVALID_REQUEST};
use crate::session::{Bucket, Session, SessionGuard};
use crate::stream::Outbox;

/// The most streams of `subscriptions/listen` at once of one user.
const MAX_LISTENERS_PER_USER: usize = 16;

/// The most streams of `subscriptions/listen` at once from one address without a credential: many
/// clients may stand behind it.
const MAX_LISTENERS_PER_ADDRESS: usize = 100;

/// Notes what a client asks its session to remember.
///
/// # Errors
///
/// `-32601` for a subscription without a session, `-32600` for one too many.
pub(super) fn remember(
    app: &App,
    session: Option<&SessionGuard>,
    wish: Wish,
) -> Result<Box<RawValue>, ErrorObject> {
    let session = session.map(SessionGuard::session);
    match (wish, session) {
        (Wish::LogLevel(level), Some(session)) => session.set_log_level(level),
        // There is nothing that could remember it, and nothing is lost: each call says info.
        (Wish::LogLevel(_), None) => {}
        (Wish::Subscribe(uri), Some(session)) => {
            let subscribed = listener(app, session).subscribe(&uri);
            subscribed.map_err(|TooMany| too_many())?;
        }
        (Wish::Unsubscribe(uri), Some(session)) => listener(app, session).unsubscribe(&uri),
        (Wish::Subscribe(_), None) => {
            return Err(ErrorObject::method_not_found("resources/subscribe"));
        }
        (Wish::Unsubscribe(_), None) => {
            return Err(ErrorObject::method_not_found("resources/unsubscribe"));
        }
    }
    dispatch::empty()
}

fn too_many() -> ErrorObject {
    ErrorObject::new(
        INVALID_REQUEST,
        format!(
            "Too many subscriptions: a session has at most {}; unsubscribe from some",
            changes::MAX_SUBSCRIPTIONS
        ),
    )
}

fn listener(app: &App, session: &Session) -> Arc<changes::Listener> {
    let lists = Lists {
        tools: true,
        prompts: true,
        resources: true,
    };
    session.changes(|| app.changes.listen(lists))
}

/// What the stream of a session tells of changes, and where.
pub(super) fn feed(app: &App, session: &Session) -> Feed {
    Feed {
        listener: listener(app, session),
        outbox: session
            .listening(|| Outbox::endless(app.options.stream_buffer, Arc::clone(&app.metrics))),
    }
}

/// Opens a stream of changes for a client without a session.
pub(super) fn listen(exchange: &Exchange, listening: Listening) -> Response {
    const TOO_MANY: &str = "Too many streams listen already; end some, or try again later";
    let app = &exchange.app;
    let Some(place) = app.listeners.enter(exchange.bucket()) else {
        return reply::too_many(&listening.id, TOO_MANY);
    };
    let filter = &listening.filter;
    let listener = app.changes.listen(Lists {
        tools: filter.tools_list_changed,
        prompts: filter.prompts_list_changed,
        resources: filter.resources_list_changed,
    });
    for uri in &filter.resource_subscriptions {
        // There is room: a filter names no more than a listener may be subscribed to.
        listener.subscribe(uri).ok();
    }
    let opened = Opened::new(app, StreamKind::Listen, &exchange.connection);
    reply::event_stream(events::of_changes(
        exchange, opened, listener, listening, place,
    ))
}

/// How many streams of `subscriptions/listen` each user has.
#[derive(Debug, Default)]
pub struct Listeners(Arc<Mutex<HashMap<Bucket, usize>>>);

impl Listeners {
    /// A place for one more stream, if there is one.
    fn enter(&self, bucket: Option<Bucket>) -> Option<Place> {
        if let Some(bucket) = &bucket {
            let most = match bucket {
                Bucket::Principal(_) => MAX_LISTENERS_PER_USER,
                Bucket::Address(_) => MAX_LISTENERS_PER_ADDRESS,
            };
            let mut listeners = self.0.lock();
            let count = listeners.get(bucket).copied().unwrap_or_default();
            if count >= most {
                return None;
            }
            listeners.insert(bucket.clone(), count + 1);
        }
        Some(Place {
            listeners: Arc::clone(&self.0),
            bucket,
        })
    }
}

/// The place of a stream among those of its user. Dropped, it is free again.
#[derive(Debug)]
struct Place {
    listeners: Arc<Mutex<HashMap<Bucket, usize>>>,
    bucket: Option<Bucket>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(bucket) = &self.bucket else { return };
        let mut listeners = self.listeners.lock();
        match listeners.get_mut(bucket) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(listeners.remove(bucket)),
        }
    }
}
