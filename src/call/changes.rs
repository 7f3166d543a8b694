//! Who is told what changes: a client in its session, and whoever listens without one.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::app::App;
use crate::changes::{self, Change, Listener, Lists, TooMany};
use crate::dispatch::{self, Wish};
use crate::metrics::MessageKind;
use crate::protocol::jsonrpc::{ErrorObject, INVALID_REQUEST, RequestId};
use crate::protocol::subscriptions::{Filter, Notification};
use crate::session::{Session, SessionGuard};

/// Why one more `subscriptions/listen` is refused.
pub(crate) const TOO_MANY_LISTENERS: &str =
    "Too many streams listen already; end some, or try again later";

/// Notes what a client asks its session to remember.
///
/// # Errors
///
/// `-32601` for a subscription without a session, `-32600` for one too many.
pub(crate) fn remember(
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
            "Too many subscriptions: a session has at most {}, with {} bytes of URIs; unsubscribe \
             from some",
            changes::MAX_SUBSCRIPTIONS,
            changes::MAX_SUBSCRIBED_BYTES
        ),
    )
}

/// What the client of a session hears of.
pub(crate) fn listener(app: &App, session: &Session) -> Arc<Listener> {
    let lists = Lists {
        tools: true,
        prompts: true,
        resources: true,
    };
    session.changes(|| app.changes.listen(lists))
}

/// Hears of what a filter names.
pub(crate) fn filtered(app: &App, filter: &Filter) -> Listener {
    let listener = app.changes.listen(Lists {
        tools: filter.tools_list_changed,
        prompts: filter.prompts_list_changed,
        resources: filter.resources_list_changed,
    });
    for uri in &filter.resource_subscriptions {
        // There is room: a filter names no more than a listener may be subscribed to.
        listener.subscribe(uri).ok();
    }
    listener
}

/// What the metrics call the message that tells of a change.
pub(crate) fn kind(change: &Change) -> MessageKind {
    match change {
        Change::Tools | Change::Prompts | Change::Resources => MessageKind::ListChanged,
        Change::Resource(_) => MessageKind::ResourceUpdated,
    }
}

/// Encodes a change for the stream of a session, or for that of a request.
pub(crate) fn notification(change: &Change, subscription: Option<&RequestId>) -> Vec<u8> {
    let notification = match change {
        Change::Tools => Notification::ToolsListChanged,
        Change::Prompts => Notification::PromptsListChanged,
        Change::Resources => Notification::ResourcesListChanged,
        Change::Resource(uri) => Notification::ResourceUpdated(uri),
    };
    notification.encode(subscription)
}
