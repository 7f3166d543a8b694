//! Event streams: a call's answer that speaks or takes its time, and the stream a legacy client
//! keeps open.
//!
//! A silent stream gets a comment every heartbeat. That keeps proxies from cutting it, and it is
//! how a lost client is noticed. A stream that the server ends tells its client when to come back.

mod changes;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Connection;
use super::connection::{Cut, Link};
use crate::app::App;
use crate::auth::{Caller, Revocation};
use crate::metrics::{OpenStream, StreamEnd, StreamKind};
use crate::stream::{Event, EventId, Next, Reader};

pub(super) use changes::{Feed, of_changes};

/// A comment, which carries nothing and is ignored by clients.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// One message as an event. JSON on one line cannot break the framing.
fn event(Event { id, data }: &Event) -> Bytes {
    let mut event = Vec::with_capacity(data.len() + 64);
    if let Some(id) = id {
        event.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    event.extend_from_slice(b"event: message\ndata: ");
    event.extend_from_slice(data);
    event.extend_from_slice(b"\n\n");
    event.into()
}

/// The first bytes of a stream, which go out at once, with the status line: an empty event that
/// the client can come back to, or a comment.
fn first(beginning: Option<EventId>) -> Bytes {
    match beginning {
        Some(id) => format!("id: {id}\ndata: \n\n").into(),
        None => COMMENT,
    }
}

/// How long a client waits before it opens a stream again that the server ended.
fn retry(after: Duration) -> Bytes {
    format!("retry: {}\n\n", after.as_millis()).into()
}

fn heartbeats(every: Duration) -> Interval {
    let mut heartbeats = interval_at(Instant::now() + every, every);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeats
}

/// Counts a stream while it is open, and says why it ended.
#[derive(Debug)]
pub(super) struct Opened {
    stream: Option<OpenStream>,
    link: Arc<Link>,
}

impl Opened {
    pub(super) fn new(app: &App, kind: StreamKind, connection: &Connection) -> Self {
        Self {
            stream: Some(app.metrics.stream_opened(kind)),
            link: Arc::clone(&connection.link),
        }
    }

    fn end(&mut self, reason: StreamEnd) {
        if let Some(stream) = self.stream.take() {
            stream.end(reason);
        }
    }
}

/// A stream that is dropped before its end was cut.
impl Drop for Opened {
    fn drop(&mut self) {
        self.end(match self.link.cut() {
            Some(Cut::Stalled) => StreamEnd::Slow,
            Some(Cut::WriteError) => StreamEnd::WriteError,
            None => StreamEnd::Client,
        });
    }
}

/// Streams the messages of an exchange as they come, with comments between them, then ends. `keep`
/// is dropped with the stream. A call whose credential ends is answered all the same; a stream that
/// was opened to go on with one has a `lease`.
pub(super) fn of_replies<K: Send + 'static>(
    opened: Opened,
    reader: Reader,
    beginning: Option<EventId>,
    timing: Timing,
    lease: Option<Lease>,
    keep: K,
) -> Body {
    struct Answering<K> {
        opened: Opened,
        reader: Reader,
        heartbeats: Interval,
        lease: Option<Lease>,
        keep: K,
    }
    enum State<K> {
        Beginning(Option<EventId>, Answering<K>),
        Going(Answering<K>),
        Over,
    }
    let answering = Answering {
        opened,
        reader,
        heartbeats: heartbeats(timing.heartbeat),
        lease,
        keep,
    };
    let state = State::Beginning(beginning, answering);
    Body::from_stream(stream::unfold(state, move |state| async move {
        let mut answering = match state {
            State::Beginning(beginning, answering) => {
                return Some((
                    Ok::<_, Infallible>(first(beginning)),
                    State::Going(answering),
                ));
            }
            State::Going(answering) => answering,
            State::Over => return None,
        };
        let chunk = tokio::select! {
            next = answering.reader.next() => match next {
                Next::Event(next) => event(&next),
                // The stream is asked for more only when little of the last reply is unsent.
                Next::End => {
                    answering.opened.end(StreamEnd::Complete);
                    drop(answering.keep);
                    return None;
                }
                Next::Closed => {
                    answering.opened.end(StreamEnd::Closed);
                    return Some((Ok(retry(timing.retry)), State::Over));
                }
                Next::Replaced => {
                    answering.opened.end(StreamEnd::Takeover);
                    return None;
                }
            },
            _ = answering.heartbeats.tick() => COMMENT,
            () = over(answering.lease.as_ref()) => {
                answering.opened.end(StreamEnd::Revoked);
                return None;
            }
        };
        Some((Ok(chunk), State::Going(answering)))
    }))
}

/// The times of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// How often a silent stream gets a comment.
    heartbeat: Duration,
    /// How long the client is told to wait before it comes back.
    retry: Duration,
}

impl Timing {
    pub(super) fn of(app: &App) -> Self {
        Self {
            heartbeat: app.options.heartbeat,
            retry: app.options.stream_retry,
        }
    }
}

/// What a client missed of a stream that is over.
pub(super) fn of_past<K: Send + 'static>(opened: Opened, events: &[Event], keep: K) -> Body {
    let chunks: Vec<Bytes> = std::iter::once(COMMENT)
        .chain(events.iter().map(event))
        .collect();
    let state = (Some(chunks.concat()), opened, keep);
    Body::from_stream(stream::unfold(state, |state| async move {
        match state {
            (Some(chunk), opened, keep) => Some((Ok::<_, Infallible>(chunk), (None, opened, keep))),
            (None, mut opened, _keep) => {
                opened.end(StreamEnd::Complete);
                None
            }
        }
    }))
}

/// For how long the credential is good that opened a stream.
#[derive(Debug)]
pub(super) struct Lease {
    expires: Instant,
    revocation: Revocation,
}

impl Lease {
    pub(super) fn of(caller: &Caller) -> Self {
        let left = caller.expires.map_or(FAR, |expires| {
            let left = expires.duration_since(SystemTime::now());
            left.unwrap_or_default().min(FAR)
        });
        Self {
            expires: Instant::now() + left,
            revocation: caller.revocation.clone(),
        }
    }

    /// Completes when the credential has expired or is taken back.
    async fn is_over(&self) {
        tokio::select! {
            () = sleep_until(self.expires) => {}
            () = self.revocation.revoked() => {}
        }
    }
}

/// Completes when a lease is over, if there is one.
async fn over(lease: Option<&Lease>) {
    match lease {
        Some(lease) => lease.is_over().await,
        None => std::future::pending().await,
    }
}

/// Completes when a token is cancelled, if there is one.
async fn cancelled(token: Option<&CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}

/// What ends the stream of a session.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) heartbeat: Duration,
    /// How long the client is told to wait before it comes back.
    pub(super) retry: Duration,
    pub(super) max_age: Duration,
    /// That of the credential which opened it.
    pub(super) lease: Lease,
    /// Cancelled when the session is not for who opened the stream any more.
    pub(super) claimed: Option<CancellationToken>,
    /// Cancelled when the session ends.
    pub(super) ended: CancellationToken,
    /// Cancelled when the server stops.
    pub(super) draining: CancellationToken,
}

/// The stream of a session: its messages, with comments between them, until something ends it.
/// `keep` is dropped with the stream.
pub(super) fn of_session<K: Send + 'static>(
    opened: Opened,
    reader: Reader,
    beginning: Option<EventId>,
    feed: Feed,
    limits: Limits,
    keep: K,
) -> Body {
    struct Listening<K> {
        opened: Opened,
        reader: Reader,
        feed: Feed,
        heartbeats: Interval,
        until: Instant,
        limits: Limits,
        #[expect(dead_code, reason = "kept for its destructor")]
        keep: K,
    }
    enum State<K> {
        Beginning(Option<EventId>, Listening<K>),
        Going(Listening<K>),
        Over,
    }
    let now = Instant::now();
    let state = State::Beginning(
        beginning,
        Listening {
            opened,
            reader,
            feed,
            heartbeats: heartbeats(limits.heartbeat),
            until: now + jittered(limits.max_age),
            limits,
            keep,
        },
    );
    Body::from_stream(stream::unfold(state, |state| async move {
        let mut listening = match state {
            State::Beginning(beginning, listening) => {
                return Some((
                    Ok::<_, Infallible>(first(beginning)),
                    State::Going(listening),
                ));
            }
            State::Going(listening) => listening,
            State::Over => return None,
        };
        let end = tokio::select! {
            // What waits is sent before the server ends the stream.
            biased;
            () = listening.limits.ended.cancelled() => StreamEnd::SessionEnd,
            () = cancelled(listening.limits.claimed.as_ref()) => StreamEnd::Claimed,
            () = listening.limits.lease.is_over() => StreamEnd::Revoked,
            next = listening.feed.next(&mut listening.reader) => match next {
                Next::Event(next) => {
                    return Some((Ok(event(&next)), State::Going(listening)));
                }
                Next::End | Next::Closed | Next::Replaced => StreamEnd::Takeover,
            },
            () = listening.limits.draining.cancelled() => StreamEnd::Shutdown,
            () = sleep_until(listening.until) => StreamEnd::MaxAge,
            _ = listening.heartbeats.tick() => {
                return Some((Ok(COMMENT), State::Going(listening)));
            }
        };
        listening.opened.end(end);
        match end {
            StreamEnd::Shutdown | StreamEnd::MaxAge => {
                Some((Ok(retry(listening.limits.retry)), State::Over))
            }
            _ => None,
        }
    }))
}

/// Longer than any stream.
const FAR: Duration = Duration::from_hours(366 * 24);

/// A duration give or take a tenth, so that streams which began together do not end together.
fn jittered(duration: Duration) -> Duration {
    use std::hash::{BuildHasher as _, RandomState};
    let random = RandomState::new().hash_one(duration) % 2001;
    let permille = u32::try_from(random).unwrap_or(1000);
    duration.saturating_mul(9000 + permille) / 10_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_framed() {
        let data = Bytes::from_static(b"{}");
        let plain = Event { id: None, data };
        assert_eq!(event(&plain), "event: message\ndata: {}\n\n");
        assert_eq!(first(None), ":\n\n");
        assert_eq!(retry(Duration::from_millis(2500)), "retry: 2500\n\n");
    }

    #[test]
    fn ages_differ_by_a_tenth_at_most() {
        let hour = Duration::from_hours(1);
        let ages: Vec<_> = (0..100).map(|_| jittered(hour)).collect();
        assert!(ages.iter().all(|age| *age >= hour * 9 / 10));
        assert!(ages.iter().all(|age| *age <= hour * 11 / 10));
        assert!(ages.iter().any(|age| age != &ages[0]));
    }
}
