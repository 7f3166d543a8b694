//! What a session sent lately, for a client that lost its connection (MCP 2025-11-25, Transports,
//! Resumability and Redelivery).
//!
//! A history belongs to one session. It is bounded in bytes, in events and in age, over all
//! streams of the session. What can be done without goes first: a client that comes back may miss
//! progress, as a slow one may. An id is known as long as every reply that was sent after it is
//! still there: a client either gets the result that it missed, or starts afresh.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{Event, Outbox, Reader};
use crate::auth::{Caller, Permission};

/// How often it is looked for what is too old.
const FORGET_INTERVAL: Duration = Duration::from_secs(15);

/// What bounds a history.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes that are kept.
    pub bytes: usize,
    /// The most events that are kept.
    pub events: usize,
    /// How long an event is kept.
    pub age: Duration,
}

impl Limits {
    /// The limits for so many bytes: 100 events, 5 minutes.
    pub const fn of_bytes(bytes: usize) -> Self {
        Self {
            bytes,
            events: 100,
            age: Duration::from_mins(5),
        }
    }
}

/// The name of an event in its session: the history's own number, the stream, the position in it.
/// Position 0 is the beginning, before the first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId {
    history: u64,
    stream: u64,
    position: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            history,
            stream,
            position,
        } = self;
        write!(f, "{history:016x}-{stream:x}-{position:x}")
    }
}

impl EventId {
    /// Reads an id as it was handed out.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let id = Self {
            history: number()?,
            stream: number()?,
            position: number()?,
        };
        // Only one spelling of each id is ever handed out.
        (id.to_string() == text).then_some(id)
    }
}

/// What one session sent lately.
#[derive(Debug)]
pub struct History {
    number: u64,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Past>,
    bytes: usize,
    streams: HashMap<u64, Stream>,
    last_stream: u64,
}

#[derive(Debug)]
struct Past {
    stream: u64,
    position: u64,
    sent: Instant,
    importance: Importance,
    data: Bytes,
}

/// Whether a client can do without an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Importance {
    /// It can: something was said.
    Word,
    /// It cannot: a request was answered.
    Reply,
}

#[derive(Debug)]
struct Stream {
    /// The position of the last event.
    last: u64,
    /// The position of the last reply that is gone.
    forgotten: u64,
    /// How many of its events are there.
    kept: usize,
    /// What still speaks on it.
    outbox: Weak<Outbox>,
    /// Who may come back for it; `None` for everybody whose session it is.
    permission: Option<Permission>,
}

impl Stream {
    /// True if nothing can be asked of it any more.
    fn is_over(&self) -> bool {
        self.kept == 0 && self.outbox.strong_count() == 0
    }
}

impl History {
    /// An empty history.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            // Random, so that an id of one session means nothing in another.
            number: RandomState::new().hash_one(limits.bytes),
            limits,
            state: Mutex::default(),
        })
    }

    /// Goes on with what a client saw last: a reader of all that was sent after it on the same
    /// stream, and of what is still to come there. Nothing for an id that is unknown here or not for
    /// this caller, or of which something that followed is gone.
    pub fn resume(&self, last_event_id: &str, caller: &Caller) -> Option<Resumed> {
        let id = EventId::parse(last_event_id).filter(|id| id.history == self.number)?;
        let outbox = {
            let mut state = self.state.lock();
            self.forget_old(&mut state);
            let stream = state.streams.get(&id.stream)?;
            let permission = stream.permission.as_ref();
            if permission.is_some_and(|permission| !permission.permits(caller)) {
                return None;
            }
            stream.outbox.upgrade()
        };
        match outbox {
            Some(outbox) => outbox.read_after(id, self).map(Resumed::Live),
            None => self.after(id).map(Resumed::Past),
        }
    }

    /// Begins a stream.
    pub(super) fn open(&self, outbox: &Arc<Outbox>, permission: Option<Permission>) -> u64 {
        let mut state = self.state.lock();
        state.streams.retain(|_, stream| !stream.is_over());
        state.last_stream += 1;
        let number = state.last_stream;
        let stream = Stream {
            last: 0,
            forgotten: 0,
            kept: 0,
            outbox: Arc::downgrade(outbox),
            permission,
        };
        state.streams.insert(number, stream);
        number
    }

    /// Forgets a stream on which nothing more will be sent, and which nobody comes back for.
    pub(super) fn close(&self, stream: u64) {
        let mut state = self.state.lock();
        let State {
            events,
            bytes,
            streams,
            ..
        } = &mut *state;
        streams.remove(&stream);
        events.retain(|past| {
            let stays = past.stream != stream;
            *bytes -= if stays { 0 } else { past.data.len() };
            stays
        });
    }

    /// The id of the beginning of a stream.
    pub(super) fn beginning(&self, stream: u64) -> EventId {
        self.id(stream, 0)
    }

    /// The id of the last event of a stream.
    pub(super) fn position(&self, stream: u64) -> EventId {
        let state = self.state.lock();
        let position = state.streams.get(&stream).map_or(0, |stream| stream.last);
        self.id(stream, position)
    }

    fn id(&self, stream: u64, position: u64) -> EventId {
        EventId {
            history: self.number,
            stream,
            position,
        }
    }

    /// Keeps an event, at the expense of older ones that can be done without, or else of the oldest.
    /// One that is larger than the whole history is not kept.
    pub(super) fn record(&self, stream: u64, importance: Importance, data: &Bytes) -> EventId {
        let mut state = self.state.lock();
        let position = state.streams.get_mut(&stream).map_or(0, |stream| {
            stream.last += 1;
            stream.kept += 1;
            stream.last
        });
        let past = Past {
            stream,
            position,
            sent: Instant::now(),
            importance,
            data: data.clone(),
        };
        if data.len() > self.limits.bytes {
            state.note_gone(&past);
            return self.id(stream, position);
        }
        state.bytes += data.len();
        state.events.push_back(past);
        self.forget_old(&mut state);
        while state.bytes > self.limits.bytes || state.events.len() > self.limits.events {
            let is_word = |past: &Past| past.importance == Importance::Word;
            let first = state.events.iter().position(is_word);
            state.forget(first.unwrap_or(0));
        }
        self.id(stream, position)
    }

    /// What was sent on the stream of an event after it, if no reply of it is gone.
    pub(super) fn after(&self, id: EventId) -> Option<Vec<Event>> {
        let state = self.state.lock();
        let stream = state.streams.get(&id.stream)?;
        if !(stream.forgotten..=stream.last).contains(&id.position) {
            return None;
        }
        let missed = |past: &&Past| past.stream == id.stream && past.position > id.position;
        let events = state.events.iter().filter(missed).map(|past| Event {
            id: Some(self.id(past.stream, past.position)),
            data: past.data.clone(),
        });
        Some(events.collect())
    }

    /// Forgets what is too old.
    fn forget_old(&self, state: &mut State) {
        let is_old = |past: &Past| past.sent.elapsed() > self.limits.age;
        while state.events.front().is_some_and(is_old) {
            state.forget(0);
        }
    }
}

impl State {
    fn forget(&mut self, index: usize) {
        if let Some(past) = self.events.remove(index) {
            self.bytes -= past.data.len();
            self.note_gone(&past);
        }
    }

    fn note_gone(&mut self, past: &Past) {
        if let Some(stream) = self.streams.get_mut(&past.stream) {
            stream.kept -= 1;
            if past.importance == Importance::Reply {
                stream.forgotten = stream.forgotten.max(past.position);
            }
        }
    }
}

/// What a client gets that lost its connection.
#[derive(Debug)]
pub enum Resumed {
    /// The stream goes on.
    Live(Reader),
    /// The stream is over; these events were missed.
    Past(Vec<Event>),
}

/// Every history of the process, so that old events go although nobody asks.
#[derive(Debug, Default)]
pub struct Histories(Mutex<Vec<Weak<History>>>);

impl Histories {
    /// A new history among them.
    pub fn create(&self, limits: Limits) -> Arc<History> {
        let history = History::new(limits);
        self.0.lock().push(Arc::downgrade(&history));
        history
    }

    /// Forgets what is too old, again and again, until `closing`.
    pub async fn keep_young(&self, closing: CancellationToken) {
        while timeout(FORGET_INTERVAL, closing.cancelled()).await.is_err() {
            self.forget_old();
        }
    }

    /// Forgets what is too old everywhere, and histories that are gone.
    fn forget_old(&self) {
        let histories: Vec<_> = {
            let mut histories = self.0.lock();
            histories.retain(|history| history.strong_count() > 0);
            histories.iter().filter_map(Weak::upgrade).collect()
        };
        for history in histories {
            history.forget_old(&mut history.state.lock());
        }
    }
}

#[cfg(test)]
mod tests;
