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
mod tests {
    use super::*;
    use crate::auth::Principal;
    use crate::metrics::{MessageKind, Metrics};
    use crate::stream::{Next, Reply};

    const LIMITS: Limits = Limits {
        bytes: 100,
        events: 5,
        age: Duration::from_mins(1),
    };

    fn nobody() -> Caller {
        Caller::new(Principal::Anonymous)
    }

    struct Stage {
        outbox: Arc<Outbox>,
        reader: Reader,
        beginning: EventId,
    }

    fn stage(history: &Arc<History>) -> Stage {
        let outbox = Outbox::for_replies(1, 1000, Arc::new(Metrics::new()));
        let reader = outbox.read();
        let beginning = reader.keep_in(history, None);
        Stage {
            outbox,
            reader,
            beginning,
        }
    }

    impl Stage {
        fn say(&self, text: &'static str) -> EventId {
            let data = Bytes::from_static(text.as_bytes());
            self.outbox.say(MessageKind::Progress, data);
            self.reader.position().unwrap()
        }

        fn reply(&self, text: &'static str) {
            self.outbox.reply(Reply::new(
                http::StatusCode::OK,
                Bytes::from_static(text.as_bytes()),
            ));
        }
    }

    async fn rest(resumed: Option<Resumed>) -> Option<Vec<Bytes>> {
        match resumed? {
            Resumed::Past(events) => Some(events.into_iter().map(|event| event.data).collect()),
            Resumed::Live(mut reader) => {
                let mut texts = Vec::new();
                while let Next::Event(event) = reader.next().await {
                    texts.push(event.data);
                }
                Some(texts)
            }
        }
    }

    #[tokio::test]
    async fn a_client_gets_what_it_missed_of_its_stream_only() {
        let history = History::new(LIMITS);
        let one = stage(&history);
        let other = stage(&history);
        let first = one.say("one");
        other.say("of another");
        one.say("two");
        drop(one.reader);
        one.outbox.reply(Reply::new(http::StatusCode::OK, "end"));
        let after_first = rest(history.resume(&first.to_string(), &nobody())).await;
        assert_eq!(after_first.unwrap(), ["two", "end"]);
        let all = rest(history.resume(&one.beginning.to_string(), &nobody())).await;
        assert_eq!(all.unwrap(), ["one", "two", "end"]);
        drop(one.outbox);
        let over = rest(history.resume(&first.to_string(), &nobody())).await;
        assert_eq!(over.unwrap(), ["two", "end"], "the call is over");
    }

    #[tokio::test]
    async fn a_resumed_stream_goes_on() {
        let history = History::new(LIMITS);
        let stage = stage(&history);
        let first = stage.say("one");
        let Some(Resumed::Live(mut reader)) = history.resume(&first.to_string(), &nobody()) else {
            panic!("the stream is live");
        };
        stage.say("two");
        stage.reply("end");
        for expected in ["two", "end"] {
            let Next::Event(event) = reader.next().await else {
                panic!("{expected} is missing");
            };
            assert_eq!(event.data, expected);
        }
        assert_eq!(reader.next().await, Next::End);
        let mut replaced = stage.reader;
        assert_eq!(replaced.next().await, Next::Replaced);
    }

    #[tokio::test]
    async fn words_may_be_gone_but_no_result() {
        let history = History::new(LIMITS);
        let one = stage(&history);
        let first = one.say("1");
        for text in ["2", "3", "4", "5", "6", "7"] {
            one.say(text);
        }
        one.reply("end");
        drop((one.reader, one.outbox));
        for id in [one.beginning, first] {
            let rest = rest(history.resume(&id.to_string(), &nobody())).await;
            assert_eq!(rest.unwrap(), ["4", "5", "6", "7", "end"]);
        }
        // The words of others do not take its place.
        let other = stage(&history);
        let mut last = other.beginning;
        for _ in 0..LIMITS.events {
            last = other.say("a text of more than fifty bytes, so that two are too many");
        }
        assert!(history.state.lock().bytes <= LIMITS.bytes);
        let missed = rest(history.resume(&first.to_string(), &nobody())).await;
        assert_eq!(missed.unwrap(), ["end"]);
        // Their results do in the end, and then the stream is unknown.
        for _ in 0..LIMITS.events {
            other.reply("end");
        }
        assert!(history.resume(&first.to_string(), &nobody()).is_none());
        assert_eq!(history.state.lock().events.len(), LIMITS.events);
        let after = rest(history.resume(&last.to_string(), &nobody())).await;
        assert_eq!(after.map(|texts| texts.len()), Some(LIMITS.events));
    }

    #[tokio::test]
    async fn what_is_too_large_is_not_kept_and_takes_no_place() {
        const LARGE: &str = "a text of more than fifty bytes, so that two are too many, and that \
                             is longer still than all that is kept";
        let history = History::new(LIMITS);
        let (large, other) = (stage(&history), stage(&history));
        let said = other.say("1");
        let beginning = large.beginning.to_string();
        let word = large.say(LARGE);
        assert!(
            history.resume(&beginning, &nobody()).is_some(),
            "a word is no loss"
        );
        large.reply(LARGE);
        for id in [beginning, word.to_string()] {
            assert!(history.resume(&id, &nobody()).is_none(), "a result is");
        }
        other.reply("2");
        let all = rest(history.resume(&other.beginning.to_string(), &nobody())).await;
        assert_eq!(all.unwrap(), ["1", "2"]);
        assert_eq!(said.position, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn age_ends_what_is_kept() {
        let histories = Histories::default();
        let history = histories.create(LIMITS);
        let stage = stage(&history);
        let beginning = stage.beginning.to_string();
        stage.say("x");
        tokio::time::advance(LIMITS.age).await;
        histories.forget_old();
        assert_eq!(history.state.lock().bytes, 1);
        tokio::time::advance(Duration::from_millis(1)).await;
        histories.forget_old();
        assert_eq!(history.state.lock().bytes, 0);
        assert!(
            history.resume(&beginning, &nobody()).is_some(),
            "the call still runs"
        );
        stage.reply("end");
        drop((stage.reader, stage.outbox));
        tokio::time::advance(LIMITS.age).await;
        assert!(history.resume(&beginning, &nobody()).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(history.resume(&beginning, &nobody()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_old_goes_although_nobody_asks() {
        let histories = Histories::default();
        let history = histories.create(LIMITS);
        let gone: Vec<_> = (0..10).map(|_| histories.create(LIMITS)).collect();
        let stage = stage(&history);
        stage.say("x");
        let closing = CancellationToken::new();
        drop(gone);
        let look = async {
            tokio::time::sleep(LIMITS.age).await;
            assert_eq!(history.state.lock().bytes, 1);
            assert_eq!(histories.0.lock().len(), 1, "of sessions that live");
            tokio::time::sleep(FORGET_INTERVAL * 2).await;
            assert_eq!(history.state.lock().bytes, 0);
            closing.cancel();
        };
        tokio::join!(histories.keep_young(closing.clone()), look);
    }

    #[tokio::test]
    async fn foreign_and_garbled_ids_are_unknown() {
        let history = History::new(LIMITS);
        let here = stage(&history);
        let there = stage(&History::new(LIMITS));
        let id = here.say("x");
        there.say("x");
        let foreign = there.beginning.to_string();
        let (upper, padded) = (id.to_string().to_uppercase(), format!("{id} "));
        let future = history.id(1, 9).to_string();
        let stream = history.id(9, 0).to_string();
        for text in ["", "x", "0-0-0", "--", &foreign, &padded, &future, &stream] {
            assert!(history.resume(text, &nobody()).is_none(), "{text:?}");
        }
        if upper != id.to_string() {
            assert!(history.resume(&upper, &nobody()).is_none());
        }
    }

    #[tokio::test]
    async fn a_stream_that_was_opened_anew_is_forgotten() {
        let history = History::new(LIMITS);
        let outbox = Outbox::endless(1000, Arc::new(Metrics::new()));
        let mut reader = outbox.read();
        let old = reader.keep_in(&history, None);
        for _ in 0..1000 {
            outbox.say(MessageKind::ListChanged, "x".into());
            assert!(matches!(reader.next().await, Next::Event(_)));
            reader = outbox.read();
            reader.keep_in(&history, None);
        }
        assert_eq!(history.state.lock().streams.len(), 1);
        assert!(history.resume(&old.to_string(), &nobody()).is_none());
        assert_eq!(reader.position().map(|id| id.stream), Some(1001));
        assert_eq!(history.state.lock().bytes, 0);
    }

    #[tokio::test]
    async fn nothing_holds_itself() {
        let history = History::new(LIMITS);
        let stage = stage(&history);
        let first = stage.say("one");
        let resumed = history.resume(&first.to_string(), &nobody());
        let weak = (Arc::downgrade(&history), Arc::downgrade(&stage.outbox));
        drop((history, stage, resumed));
        assert_eq!((weak.0.strong_count(), weak.1.strong_count()), (0, 0));
    }

    #[tokio::test]
    async fn streams_that_are_over_are_forgotten() {
        let history = History::new(LIMITS);
        for _ in 0..1000 {
            let stage = stage(&history);
            stage.reply("end");
        }
        let streams = history.state.lock().streams.len();
        assert!(streams <= LIMITS.events + 1, "{streams}");
    }
}
