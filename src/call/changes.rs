//! Who is told what changes: a client in its session, and whoever listens without one.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::app::App;
use crate::auth::Caller;
use crate::catalog::{Current, Endpoint};
use crate::changes::{self, Change, Listener, Lists, Mark, TooMany, View};
use crate::dispatch::{self, Sight, Wish};
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
pub(crate) async fn remember(
    (app, caller): (&App, &Arc<Caller>),
    session: Option<&SessionGuard>,
    wish: Wish,
) -> Result<Box<RawValue>, ErrorObject> {
    let session = session.map(SessionGuard::session);
    match (wish, session) {
        (Wish::LogLevel(level), Some(session)) => session.set_log_level(level),
        // There is nothing that could remember it, and nothing is lost: each call says info.
        (Wish::LogLevel(_), None) => {}
        (Wish::Subscribe(uri), Some(session)) => {
            let subscribed = listener(app, session, caller).subscribe(&uri);
            subscribed.map_err(|TooMany| too_many())?;
            app.changes.settled().await;
        }
        (Wish::Unsubscribe(uri), Some(session)) => listener(app, session, caller).unsubscribe(&uri),
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

/// How a caller sees what an endpoint serves, whatever that is by then.
#[derive(Debug)]
pub(crate) struct Eyes {
    current: Current,
    endpoint: Endpoint,
    caller: Arc<Caller>,
}

impl Eyes {
    pub(crate) fn new(app: &App, endpoint: &Endpoint, caller: &Arc<Caller>) -> Self {
        Self {
            current: app.catalog.clone(),
            endpoint: endpoint.clone(),
            caller: Arc::clone(caller),
        }
    }
}

impl View for Eyes {
    fn lists(&self) -> Lists<u64> {
        let caller = self.caller.as_ref();
        let Some(catalog) = self.current.at(&self.endpoint, caller) else {
            return Lists::default();
        };
        let catalog = catalog.as_ref();
        let digests = Sight { catalog, caller }.digests();
        Lists {
            tools: digests.tools,
            prompts: digests.prompts,
            resources: digests.resources,
        }
    }

    fn has(&self, uri: &str) -> bool {
        let caller = self.caller.as_ref();
        let catalog = self.current.at(&self.endpoint, caller);
        catalog.is_some_and(|catalog| {
            let catalog = catalog.as_ref();
            Sight { catalog, caller }.has_resource(uri)
        })
    }

    fn sees(&self, tool: &str) -> bool {
        // Who saw a tool that is served no more is not known any more.
        let whole = self.current.whole();
        if !whole.all_tools().any(|served| served.identity() == tool) {
            return true;
        }
        let caller = self.caller.as_ref();
        let catalog = self.current.at(&self.endpoint, caller);
        catalog.is_some_and(|catalog| {
            let catalog = catalog.as_ref();
            Sight { catalog, caller }.has_tool(tool)
        })
    }
}

/// The moment from which on a session that opens now hears of changes.
pub(crate) fn mark(app: &App, endpoint: &Endpoint, caller: &Arc<Caller>) -> Mark {
    app.changes.mark(&Eyes::new(app, endpoint, caller))
}

/// What the client of a session hears of since it is open, as the caller of a request in it sees it.
pub(crate) fn listener(app: &App, session: &Session, caller: &Arc<Caller>) -> Arc<Listener> {
    let eyes = || Eyes::new(app, &session.info().toolset, caller);
    let lists = Lists {
        tools: true,
        prompts: true,
        resources: true,
    };
    let since = session.info().since;
    session.changes(|| app.changes.listen_since(since, lists, eyes()))
}

/// Hears of what a filter names.
pub(crate) async fn filtered(app: &App, filter: &Filter, eyes: Eyes) -> Listener {
    let lists = Lists {
        tools: filter.tools_list_changed,
        prompts: filter.prompts_list_changed,
        resources: filter.resources_list_changed,
    };
    let listener = app.changes.listen(lists, eyes);
    for uri in &filter.resource_subscriptions {
        // There is room: a filter names no more than a listener may be subscribed to.
        listener.subscribe(uri).ok();
    }
    app.changes.settled().await;
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
