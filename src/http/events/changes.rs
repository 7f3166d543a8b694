//! Changes on an event stream: on that of a session among other messages, and on one of their own.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use futures_util::stream;
use tokio::time::{Instant, Interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{COMMENT, Lease, Opened, event, heartbeats, jittered};
use crate::call::changes::{kind, notification};
use crate::changes::Listener;
use crate::dispatch::Listening;
use crate::http::endpoint::Exchange;
use crate::metrics::StreamEnd;
use crate::stream::{Event, Next, Outbox, Reader};

/// What the stream of a session tells of changes.
#[derive(Debug)]
pub(in crate::http) struct Feed {
    pub(in crate::http) listener: Arc<Listener>,
    pub(in crate::http) outbox: Arc<Outbox>,
}

impl Feed {
    /// The next message of the session. A change is put into the outbox only when nothing waits there
    /// any more, so it is never too much for it.
    ///
    /// # Cancel safety
    ///
    /// No message is lost if this is dropped before it completes.
    pub(super) async fn next(&self, reader: &mut Reader) -> Next {
        loop {
            tokio::select! {
                biased;
                next = reader.next() => return next,
                change = self.listener.next() => {
                    let message = notification(&change, None);
                    self.outbox.say(kind(&change), message.into());
                }
            }
        }
    }
}

/// The stream that a `subscriptions/listen` opened: what is told on it, then what changes, with
/// comments between, until something ends it. `keep` is dropped with the stream.
///
/// Nothing waits for a client that is slow: the listener is asked when there is room for a message.
pub(in crate::http) fn of_changes<K: Send + 'static>(
    exchange: &Exchange,
    opened: Opened,
    listener: Listener,
    listening: Listening,
    keep: K,
) -> Body {
    struct Telling<K> {
        opened: Opened,
        listener: Listener,
        listening: Listening,
        heartbeats: Interval,
        until: Instant,
        lease: Lease,
        draining: CancellationToken,
        #[expect(dead_code, reason = "kept for its destructor")]
        keep: K,
    }
    enum State<K> {
        Beginning(Telling<K>),
        Going(Telling<K>),
        Over,
    }
    let options = &exchange.app.options;
    let state = State::Beginning(Telling {
        opened,
        listener,
        listening,
        heartbeats: heartbeats(options.heartbeat),
        until: Instant::now() + jittered(options.stream_max_age),
        lease: Lease::of(&exchange.caller),
        draining: exchange.app.draining.clone(),
        keep,
    });
    Body::from_stream(stream::unfold(state, |state| async move {
        let mut telling = match state {
            State::Beginning(mut telling) => {
                let first = message(std::mem::take(&mut telling.listening.first));
                return Some((Ok::<_, Infallible>(first), State::Going(telling)));
            }
            State::Going(telling) => telling,
            State::Over => return None,
        };
        let end = tokio::select! {
            biased;
            () = telling.lease.is_over() => StreamEnd::Revoked,
            change = telling.listener.next() => {
                let chunk = message(notification(&change, Some(&telling.listening.id)));
                return Some((Ok(chunk), State::Going(telling)));
            }
            () = telling.draining.cancelled() => StreamEnd::Shutdown,
            () = sleep_until(telling.until) => StreamEnd::MaxAge,
            _ = telling.heartbeats.tick() => {
                return Some((Ok(COMMENT), State::Going(telling)));
            }
        };
        telling.opened.end(end);
        Some((Ok(message(telling.listening.last)), State::Over))
    }))
}

fn message(data: Vec<u8>) -> bytes::Bytes {
    event(&Event {
        id: None,
        data: data.into(),
    })
}
