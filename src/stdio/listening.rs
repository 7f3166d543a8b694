//! Telling the client what changes: in its session, and for each `subscriptions/listen`.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::MAX_WAITING;
use crate::app::App;
use crate::call::changes::notification;
use crate::changes::Listener;
use crate::dispatch::Listening;
use crate::metrics::{StreamEnd, StreamKind};
use crate::protocol::jsonrpc::RequestId;
use crate::protocol::subscriptions::torn_down;
use crate::stream::{Outbox, Reply};

/// Where changes are told.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) app: Arc<App>,
    pub(super) outbox: Arc<Outbox>,
}

impl Feed {
    /// Tells the client of a session what changes, until the server stops.
    pub(super) async fn tell_session(self, listener: Arc<Listener>) {
        let never = CancellationToken::new();
        self.tell(&listener, None, &never).await;
    }

    /// Tells what changes to who listens without a session, until the client gives that up or the
    /// server stops. `keep` is dropped at the end.
    pub(super) async fn tell_listener<K>(
        self,
        listener: Listener,
        listening: Listening,
        given_up: CancellationToken,
        keep: K,
    ) {
        let stream = self.app.metrics.stream_opened(StreamKind::Listen);
        self.outbox.demand(listening.first.into());
        let end = self.tell(&listener, Some(&listening.id), &given_up).await;
        stream.end(end);
        if end == StreamEnd::Shutdown {
            self.outbox
                .reply(Reply::new(http::StatusCode::OK, listening.last));
            self.outbox.demand(torn_down(&listening.id).into());
        }
        drop(keep);
    }

    /// The listener is asked when there is room, so nothing of it waits for a client that is slow.
    async fn tell(
        &self,
        listener: &Listener,
        subscription: Option<&RequestId>,
        given_up: &CancellationToken,
    ) -> StreamEnd {
        let next = async || {
            self.outbox.room(MAX_WAITING).await;
            listener.next().await
        };
        loop {
            tokio::select! {
                biased;
                () = given_up.cancelled() => return StreamEnd::Client,
                change = next() => {
                    let message = notification(&change, subscription);
                    self.outbox.demand(message.into());
                }
                () = self.app.draining.cancelled() => return StreamEnd::Shutdown,
            }
        }
    }
}
