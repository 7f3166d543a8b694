//! Messages on their way to one client: a bounded queue between what speaks and what is read.
//!
//! An [`Outbox`] collects what calls say and answer; a [`Reader`] takes it out in order. Whoever
//! speaks never waits: what was said before a result may be dropped when the reader is slow, a
//! result never is. Of several readers the newest wins.
//!
//! With a [`History`] an outbox also remembers what it sent, for a client that lost its
//! connection.

mod history;
mod reader;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::metrics::{MessageKind, Metrics};
use history::Importance;

pub use history::{EventId, Histories, History, Limits as HistoryLimits, Resumed};
pub use reader::Reader;

/// The most messages that wait for a reader, whatever their size. Results do not count.
pub const MAX_MESSAGES: usize = 1024;

/// A message for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What the client may name it by, if it is kept in a [`History`].
    pub id: Option<EventId>,
    /// The JSON text, without line breaks.
    pub data: Bytes,
}

/// The reply to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status, should the reply be the whole response.
    pub status: StatusCode,
    /// When the request may be sent again, in seconds, should the reply be the whole response.
    pub retry_after: Option<u64>,
    /// The JSON text, without line breaks.
    pub data: Bytes,
}

impl Reply {
    /// A reply under this status.
    pub fn new(status: StatusCode, data: impl Into<Bytes>) -> Self {
        Self {
            status,
            retry_after: None,
            data: data.into(),
        }
    }
}

/// What a reader gets next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A message.
    Event(Event),
    /// Nothing more: every reply was read.
    End,
    /// Nothing more for this reader: another one came.
    Replaced,
    /// Nothing more for this reader: its client shall come back for the rest.
    Closed,
}

/// How an exchange is answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// With the replies alone.
    Replies(Vec<Reply>),
    /// With a stream: something was said before.
    Stream,
}

/// What is on its way to one client.
#[derive(Debug)]
pub struct Outbox {
    limit: usize,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Queued>,
    /// Messages and their bytes in the queue, without replies.
    messages: usize,
    bytes: usize,
    /// Bytes in the queue, replies among them.
    waiting: usize,
    /// Replies still to come; `None` when there is no end of messages.
    awaited: Option<usize>,
    /// The number of the reader, if there is one.
    reader: Option<u64>,
    last_reader: u64,
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Queued {
    id: Option<EventId>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Message(Bytes),
    Demand(Bytes),
    Reply(Reply),
    /// The end of what this reader gets.
    Close,
}

impl Content {
    /// What is sent, and whether the client can do without.
    fn data(&self) -> Option<(&Bytes, Importance)> {
        match self {
            Self::Message(data) => Some((data, Importance::Word)),
            Self::Demand(data) => Some((data, Importance::Reply)),
            Self::Reply(reply) => Some((&reply.data, Importance::Reply)),
            Self::Close => None,
        }
    }
}

#[derive(Debug)]
struct Kept {
    history: Arc<History>,
    stream: u64,
}

impl Outbox {
    /// An outbox for the replies to so many requests. At most `limit` bytes and
    /// [`MAX_MESSAGES`] messages wait in it, replies aside.
    pub fn for_replies(replies: usize, limit: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Self::new(Some(replies), limit, metrics)
    }

    /// An outbox without an end.
    pub fn endless(limit: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Self::new(None, limit, metrics)
    }

    fn new(awaited: Option<usize>, limit: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            limit,
            metrics,
            state: Mutex::new(State {
                queue: VecDeque::new(),
                messages: 0,
                bytes: 0,
                waiting: 0,
                awaited,
                reader: None,
                last_reader: 0,
                kept: None,
            }),
            changed: Notify::new(),
        })
    }

    /// Says something that the client can do without: it is dropped when nobody reads or when too
    /// much waits already.
    pub fn say(&self, kind: MessageKind, data: Bytes) {
        let mut state = self.state.lock();
        let id = state.keep(Importance::Word, &data);
        if state.reader.is_none() {
            return;
        }
        if state.messages >= MAX_MESSAGES || state.bytes + data.len() > self.limit {
            drop(state);
            self.metrics.message_dropped(kind);
            return;
        }
        let content = Content::Message(data);
        self.push(&mut state, Queued { id, content });
        drop(state);
        self.changed.notify_waiters();
    }

    /// Says something that the client cannot do without: it is never dropped. Returns false if it is
    /// lost all the same, since nobody reads and no history keeps it.
    pub fn demand(&self, data: Bytes) -> bool {
        let mut state = self.state.lock();
        let id = state.keep(Importance::Reply, &data);
        let is_read = state.reader.is_some();
        if is_read {
            let content = Content::Demand(data);
            self.push(&mut state, Queued { id, content });
        }
        drop(state);
        self.changed.notify_waiters();
        is_read || id.is_some()
    }

    /// Ends what the reader gets, after what waits already. To be called only where a history keeps
    /// the rest.
    pub fn close(&self) {
        let mut state = self.state.lock();
        let mut waiting = state.queue.iter();
        let is_closing = waiting.any(|queued| matches!(queued.content, Content::Close));
        if state.reader.is_none() || is_closing {
            return;
        }
        let (id, content) = (None, Content::Close);
        self.push(&mut state, Queued { id, content });
        drop(state);
        self.changed.notify_waiters();
    }

    /// Replies to one of the requests. It is lost only if nobody reads and no history keeps it.
    pub fn reply(&self, reply: Reply) {
        let mut state = self.state.lock();
        let id = state.keep(Importance::Reply, &reply.data);
        state.awaited = state.awaited.map(|awaited| awaited.saturating_sub(1));
        if state.reader.is_some() {
            let content = Content::Reply(reply);
            self.push(&mut state, Queued { id, content });
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits until less than so many bytes wait, replies among them, or nobody reads.
    pub async fn room(&self, bytes: usize) {
        self.wait_for(|state| (state.waiting < bytes || state.reader.is_none()).then_some(()))
            .await;
    }

    /// Makes the caller the one reader. The reader before it, if there is one, is told; what waited
    /// for it waits for the caller now.
    pub fn read(self: &Arc<Self>) -> Reader {
        self.start_reader(self.state.lock())
    }

    /// Makes the caller the reader of what was sent after an event, and of all that follows.
    /// Returns nothing when a reply of it is gone.
    fn read_after(self: &Arc<Self>, event: EventId, history: &History) -> Option<Reader> {
        let mut state = self.state.lock();
        let missed = history.after(event)?;
        self.clear(&mut state);
        for event in missed {
            let content = Content::Message(event.data);
            self.push(
                &mut state,
                Queued {
                    id: event.id,
                    content,
                },
            );
        }
        Some(self.start_reader(state))
    }

    fn start_reader(self: &Arc<Self>, mut state: parking_lot::MutexGuard<'_, State>) -> Reader {
        state.last_reader += 1;
        state.reader = Some(state.last_reader);
        let number = state.last_reader;
        drop(state);
        self.changed.notify_waiters();
        Reader {
            outbox: Arc::clone(self),
            number,
        }
    }

    fn push(&self, state: &mut State, queued: Queued) {
        if let Content::Message(data) = &queued.content {
            state.messages += 1;
            state.bytes += data.len();
        }
        state.waiting += bytes_of(&queued);
        self.metrics.buffered_bytes(signed(bytes_of(&queued)));
        state.queue.push_back(queued);
    }

    fn pop(&self, state: &mut State) -> Option<Queued> {
        let queued = state.queue.pop_front()?;
        if let Content::Message(data) = &queued.content {
            state.messages -= 1;
            state.bytes -= data.len();
        }
        state.waiting -= bytes_of(&queued);
        self.metrics.buffered_bytes(-signed(bytes_of(&queued)));
        Some(queued)
    }

    fn clear(&self, state: &mut State) {
        while self.pop(state).is_some() {}
    }

    /// Waits until the state has what is looked for.
    async fn wait_for<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before the look, so that no change after it is missed.
            changed.as_mut().enable();
            if let Some(found) = look(&mut self.state.lock()) {
                return found;
            }
            changed.await;
        }
    }
}

fn bytes_of(queued: &Queued) -> usize {
    queued.content.data().map_or(0, |(data, _)| data.len())
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl State {
    /// Notes a message in the history, if there is one, and returns its id.
    fn keep(&self, importance: Importance, data: &Bytes) -> Option<EventId> {
        let kept = self.kept.as_ref()?;
        Some(kept.history.record(kept.stream, importance, data))
    }

    /// True if something waits that is no reply.
    fn speaks(&self) -> bool {
        let is_reply = |queued: &Queued| matches!(queued.content, Content::Reply(_));
        !self.queue.iter().all(is_reply)
    }

    /// True if every reply is in the queue or was read.
    fn is_complete(&self) -> bool {
        self.awaited == Some(0)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let waiting = self.state.get_mut().waiting;
        self.metrics.buffered_bytes(-signed(waiting));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn outbox(replies: usize, limit: usize) -> Arc<Outbox> {
        Outbox::for_replies(replies, limit, Arc::new(Metrics::new()))
    }

    fn reply(text: &'static str) -> Reply {
        Reply::new(StatusCode::OK, text)
    }

    fn say(outbox: &Outbox, text: &'static str) {
        outbox.say(MessageKind::Progress, Bytes::from_static(text.as_bytes()));
    }

    async fn texts(reader: &mut Reader) -> Vec<String> {
        let mut texts = Vec::new();
        while let Next::Event(event) = reader.next().await {
            texts.push(String::from_utf8(event.data.to_vec()).unwrap());
        }
        texts
    }

    #[tokio::test]
    async fn replies_alone_make_no_stream() {
        let outbox = outbox(2, 100);
        let mut reader = outbox.read();
        outbox.reply(reply("a"));
        let early = tokio::time::timeout(Duration::ZERO, reader.answer()).await;
        assert!(early.is_err(), "one reply is still to come");
        outbox.reply(reply("b"));
        let expected = Answer::Replies(vec![reply("a"), reply("b")]);
        assert_eq!(reader.answer().await, expected);
        assert_eq!(reader.next().await, Next::End);
    }

    #[tokio::test]
    async fn there_is_room_when_enough_was_read_or_nobody_reads() {
        let outbox = outbox(3, 100);
        let mut reader = outbox.read();
        outbox.room(1).await;
        for text in ["abc", "de", "f"] {
            outbox.reply(reply(text));
        }
        let full = tokio::time::timeout(Duration::ZERO, outbox.room(3)).await;
        assert!(full.is_err(), "three bytes are left after one message");
        let ((), next) = tokio::join!(outbox.room(4), reader.next());
        assert!(matches!(next, Next::Event(_)));
        let full = tokio::time::timeout(Duration::ZERO, outbox.room(3)).await;
        assert!(full.is_err(), "three bytes are not less than three");
        tokio::join!(outbox.room(1), async { drop(reader) });
    }

    #[tokio::test]
    async fn what_is_said_first_comes_first() {
        let outbox = outbox(1, 100);
        let mut reader = outbox.read();
        say(&outbox, "one");
        say(&outbox, "two");
        outbox.reply(reply("end"));
        assert_eq!(reader.answer().await, Answer::Stream);
        assert_eq!(texts(&mut reader).await, ["one", "two", "end"]);
    }

    #[tokio::test]
    async fn a_slow_reader_loses_words_but_no_reply() {
        let outbox = outbox(1, 10);
        let mut reader = outbox.read();
        for text in ["12345", "67890", "lost", "lost"] {
            say(&outbox, text);
        }
        outbox.reply(reply("a reply longer than the limit"));
        let expected = ["12345", "67890", "a reply longer than the limit"];
        assert_eq!(texts(&mut reader).await, expected);

        let outbox = self::outbox(1, usize::MAX);
        let mut reader = outbox.read();
        for _ in 0..2 * MAX_MESSAGES {
            say(&outbox, "");
        }
        outbox.reply(reply("end"));
        assert_eq!(texts(&mut reader).await.len(), MAX_MESSAGES + 1);
    }

    #[tokio::test]
    async fn what_a_client_must_answer_is_never_dropped() {
        let outbox = outbox(1, 0);
        assert!(!outbox.demand(Bytes::from_static(b"lost")));
        let mut reader = outbox.read();
        say(&outbox, "lost");
        for _ in 0..=MAX_MESSAGES {
            assert!(outbox.demand(Bytes::from_static(b"asked")));
        }
        assert_eq!(reader.answer().await, Answer::Stream);
        outbox.reply(reply("end"));
        assert_eq!(texts(&mut reader).await.len(), MAX_MESSAGES + 2);
        drop(reader);
        assert!(!outbox.demand(Bytes::from_static(b"lost")));
    }

    #[tokio::test]
    async fn a_reader_can_be_let_go() {
        let outbox = outbox(1, 100);
        outbox.close();
        let mut reader = outbox.read();
        say(&outbox, "before");
        outbox.close();
        assert_eq!(reader.answer().await, Answer::Stream);
        assert!(matches!(reader.next().await, Next::Event(event) if event.data == "before"));
        assert_eq!(reader.next().await, Next::Closed);
        drop(reader);
        let mut reader = outbox.read();
        outbox.reply(reply("end"));
        assert_eq!(texts(&mut reader).await, ["end"]);
    }

    #[tokio::test]
    async fn a_reader_is_let_go_once() {
        let outbox = outbox(1, 100);
        let mut reader = outbox.read();
        for _ in 0..10 {
            outbox.close();
        }
        say(&outbox, "after");
        assert_eq!(reader.next().await, Next::Closed);
        assert!(matches!(reader.next().await, Next::Event(event) if event.data == "after"));
    }

    #[tokio::test]
    async fn nothing_waits_for_nobody() {
        let outbox = outbox(2, 100);
        say(&outbox, "lost");
        let reader = outbox.read();
        say(&outbox, "lost too");
        outbox.reply(reply("lost too"));
        drop(reader);
        assert!(outbox.state.lock().queue.is_empty());
        let mut reader = outbox.read();
        outbox.reply(reply("b"));
        assert_eq!(texts(&mut reader).await, ["b"]);
    }

    #[tokio::test]
    async fn the_newest_reader_wins() {
        let outbox = Outbox::endless(100, Arc::new(Metrics::new()));
        let mut first = outbox.read();
        let (replaced, mut second) = tokio::join!(first.next(), async { outbox.read() });
        assert_eq!(replaced, Next::Replaced);
        say(&outbox, "x");
        say(&outbox, "y");
        assert!(matches!(second.next().await, Next::Event(event) if event.data == "x"));
        // What the second one did not take is the third one's, and nobody else's.
        let mut third = outbox.read();
        assert_eq!(second.next().await, Next::Replaced);
        drop(second);
        assert!(matches!(third.next().await, Next::Event(event) if event.data == "y"));
        say(&outbox, "z");
        drop(third);
        assert!(outbox.state.lock().queue.is_empty());
    }
}
