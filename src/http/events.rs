//! Event streams: a call's answer that takes its time, and the stream a legacy client keeps open.
//!
//! A silent stream gets a comment every heartbeat. That keeps proxies from cutting it, and it is
//! how a lost client is noticed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::App;

/// A comment, which carries nothing and is ignored by clients.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// How long a client waits before it opens a stream again that the server ended, in milliseconds.
const RETRY: Bytes = Bytes::from_static(b"retry: 3000\n\n");

/// One message as an event. JSON on one line cannot break the framing.
fn event(message: &[u8]) -> Bytes {
    let mut event = Vec::with_capacity(message.len() + 24);
    event.extend_from_slice(b"event: message\ndata: ");
    event.extend_from_slice(message);
    event.extend_from_slice(b"\n\n");
    event.into()
}

fn heartbeats(every: Duration) -> Interval {
    let mut heartbeats = interval_at(Instant::now() + every, every);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeats
}

/// Streams the replies as they come, with comments between them, then ends. `keep` is dropped with
/// the stream.
pub(super) fn of_replies<K: Send + 'static>(
    replies: impl Stream<Item = Vec<u8>> + Send + 'static,
    heartbeat: Duration,
    keep: K,
) -> Body {
    struct Answer<K> {
        replies: BoxStream<'static, Vec<u8>>,
        heartbeats: Interval,
        keep: K,
    }
    let answer = Answer {
        replies: replies.boxed(),
        heartbeats: heartbeats(heartbeat),
        keep,
    };
    // The first comment goes out at once, with the status line.
    Body::from_stream(stream::unfold(
        (answer, true),
        |(mut answer, first)| async move {
            if first {
                return Some((Ok::<_, Infallible>(COMMENT), (answer, false)));
            }
            let chunk = tokio::select! {
                reply = answer.replies.next() => {
                    let Some(reply) = reply else {
                        // The stream is asked for more only when little of the last reply is
                        // unsent.
                        drop(answer.keep);
                        return None;
                    };
                    event(&reply)
                }
                _ = answer.heartbeats.tick() => COMMENT,
            };
            Some((Ok(chunk), (answer, false)))
        },
    ))
}

/// The stream of a GET: comments until the session ends, a newer stream replaces it, or the server
/// stops.
pub(super) fn of_session<K: Send + 'static>(
    app: &Arc<App>,
    replaced: CancellationToken,
    keep: K,
) -> Body {
    struct Listening<K> {
        heartbeats: Interval,
        replaced: CancellationToken,
        draining: CancellationToken,
        keep: K,
    }
    let listening = Listening {
        heartbeats: heartbeats(app.options.heartbeat),
        replaced,
        draining: app.draining.clone(),
        keep,
    };
    let state = Some((listening, true));
    Body::from_stream(stream::unfold(state, |state| async move {
        let (mut listening, first) = state?;
        if first {
            return Some((Ok::<_, Infallible>(COMMENT), Some((listening, false))));
        }
        tokio::select! {
            () = listening.replaced.cancelled() => None,
            () = listening.draining.cancelled() => {
                drop(listening.keep);
                Some((Ok(RETRY), None))
            }
            _ = listening.heartbeats.tick() => Some((Ok(COMMENT), Some((listening, false)))),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_framed() {
        assert_eq!(event(b"{}"), "event: message\ndata: {}\n\n");
    }
}
