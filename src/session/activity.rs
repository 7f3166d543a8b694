//! Whether a session is in use, in one atomic word.
//!
//! The word holds everything that decides about the end of a session: a closing flag, what the
//! session was used for, who uses it now, and the time of the last use. Because all of it changes
//! together, a decision taken on an old stamp fails its compare-and-swap: a request that arrives
//! while the session expires either keeps it alive or finds it closed, and nothing in between.
//!
//! This file depends on nothing but the atomics of its parent, because `tests/loom.rs` includes it
//! with loom's atomics in their place and tries every interleaving.

use super::atomic::{AtomicI64, AtomicU64, Ordering};

/// Milliseconds on the store's monotonic clock.
pub type Millis = u64;

/// The latest time that a word can hold: 8.7 years of milliseconds. The clock stops there.
pub(super) const MAX_MILLIS: Millis = STAMP;

/// The most exchanges and calls that can use a session at once; one more is refused.
pub(super) const MAX_WORK: u64 = (ONE_STREAM / ONE_WORK) - 1;

/// The most event streams that can use a session at once; one more is refused. Only the newest is
/// ever served, the others are about to end.
pub(super) const MAX_STREAMS: u64 = (CALLED / ONE_STREAM) - 1;

const CLOSING: u64 = 1 << 63;
const SPOKEN: u64 = 1 << 62;
const CALLED: u64 = 1 << 61;
const ONE_STREAM: u64 = 1 << 55;
const ONE_WORK: u64 = 1 << 38;
const STAMP: u64 = ONE_WORK - 1;

/// What a session is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// A message is being served, or a call runs.
    Work,
    /// An event stream is open.
    Stream,
}

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Nothing came since `initialize`.
    Initializing,
    /// Nobody uses it.
    Idle,
    /// A message is being served, or a call runs; a stream may be open too.
    Busy,
    /// A stream is open and nothing else happens.
    Streaming,
}

impl Class {
    /// Every class, in the order in which they are reported.
    pub(super) const ALL: [Self; 4] = [Self::Initializing, Self::Idle, Self::Busy, Self::Streaming];

    /// The name in statistics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Streaming => "streaming",
        }
    }
}

/// Which of its deadlines ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// Nobody used it for the idle timeout.
    Idle,
    /// It called nothing within the unused timeout.
    Unused,
    /// It sent nothing at all within the init timeout.
    Init,
    /// It reached the age that no session may outlive.
    MaxAge,
}

/// How long sessions may live, in milliseconds; `None` is for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Timeouts {
    /// From the last use, while nobody uses the session.
    pub(super) idle: Option<Millis>,
    /// From the creation, unless something was called; a session in use lives on until it is not.
    pub(super) unused: Option<Millis>,
    /// From the creation, unless a message came; a session in use lives on until it is not.
    pub(super) init: Option<Millis>,
    /// From the creation. Messages and calls finish first; a stream does not hold the session.
    pub(super) max_age: Option<Millis>,
}

impl Timeouts {
    /// Whether there are deadlines that do not move with use.
    pub(super) fn has_fixed(&self) -> bool {
        self.unused.is_some() || self.init.is_some() || self.max_age.is_some()
    }

    /// The first deadline that does not move with use, of a session that was just created.
    pub(super) fn first_fixed(&self, created: Millis) -> Option<Millis> {
        let timeouts = [self.unused, self.init, self.max_age];
        let first = timeouts.into_iter().flatten().min()?;
        Some(created.saturating_add(first))
    }
}

/// What decides about a session besides its word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    /// When it was created.
    pub(super) created: Millis,
    /// How long it may live.
    pub(super) timeouts: &'a Timeouts,
    /// Where it is counted by class.
    pub(super) classes: &'a Classes,
}

impl Terms<'_> {
    fn is_overdue(self, now: Millis) -> bool {
        let max_age = self.timeouts.max_age;
        max_age.is_some_and(|age| now >= self.created.saturating_add(age))
    }
}

/// What an attempt to use a session came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acquired {
    /// The session is held; it must be given back by [`Activity::release`].
    Granted {
        /// For how long nobody had used it; `None` if somebody did.
        idle: Option<Millis>,
    },
    /// The session had expired and this attempt closed it: the caller must end it.
    Expired(Expiry),
    /// The session is too old for more, but not closed: it finishes what it does.
    Overdue,
    /// The session is used as often as it can be.
    Crowded,
    /// The session is closed already.
    Closed,
}

/// What an attempt to close a session for its client came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deleted {
    /// This attempt closed it: the caller must end it.
    Done,
    /// It had expired, and this attempt closed it for that: the caller must end it.
    Expired(Expiry),
    /// It is closed already, or too old for more.
    Refused,
}

/// A look at a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    /// What it is doing; `None` once it is ending.
    pub(super) class: Option<Class>,
    /// Exchanges and calls that use it.
    pub(super) work: u64,
    /// Event streams that use it.
    pub(super) streams: u64,
    /// When somebody used it last; of no meaning while somebody does.
    pub(super) last_use: Millis,
}

impl View {
    /// Something has begun to end it.
    pub(super) fn is_ending(self) -> bool {
        self.class.is_none()
    }

    /// Nobody uses it, and it is not ending.
    pub(super) fn is_idle(self) -> bool {
        !self.is_ending() && !self.is_held()
    }

    /// Somebody uses it.
    pub(super) fn is_held(self) -> bool {
        self.work > 0 || self.streams > 0
    }

    /// Since when it can be idle at the earliest, as seen `now`.
    pub(super) fn idle_since(self, now: Millis) -> Millis {
        if self.is_idle() { self.last_use } else { now }
    }
}

/// The state of one session: a pure value whose transitions return the next value.
///
/// Bit 63 is the closing flag, bit 62 says that a message came since `initialize`, bit 61 that
/// something was called. Bits 55 to 60 count streams, bits 38 to 54 exchanges and calls; bits 0 to
/// 37 hold the time of the last use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word(u64);

impl Word {
    fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    fn work(self) -> u64 {
        (self.0 & (ONE_STREAM - 1)) / ONE_WORK
    }

    fn streams(self) -> u64 {
        (self.0 & (CALLED - 1)) / ONE_STREAM
    }

    fn is_held(self) -> bool {
        self.work() + self.streams() > 0
    }

    fn last_use(self) -> Millis {
        self.0 & STAMP
    }

    fn view(self) -> View {
        View {
            class: self.class(),
            work: self.work(),
            streams: self.streams(),
            last_use: self.last_use(),
        }
    }

    fn class(self) -> Option<Class> {
        if self.has(CLOSING) {
            None
        } else if self.work() > 0 && self.has(SPOKEN) {
            Some(Class::Busy)
        } else if self.streams() > 0 {
            Some(Class::Streaming)
        } else if self.has(SPOKEN) {
            Some(Class::Idle)
        } else {
            Some(Class::Initializing)
        }
    }

    /// The deadlines that do not move with use, without those that this session has met.
    fn fixed_deadlines(self, terms: Terms<'_>) -> [Option<(Millis, Expiry)>; 3] {
        let deadline = |timeout: Option<Millis>, applies: bool, expiry| {
            let timeout = timeout.filter(|_| applies)?;
            Some((terms.created.saturating_add(timeout), expiry))
        };
        let timeouts = terms.timeouts;
        [
            deadline(timeouts.init, !self.has(SPOKEN), Expiry::Init),
            deadline(timeouts.unused, !self.has(CALLED), Expiry::Unused),
            deadline(timeouts.max_age, true, Expiry::MaxAge),
        ]
    }

    /// The earliest deadline that has passed and that nothing holds up.
    fn due(self, now: Millis, terms: Terms<'_>) -> Option<Expiry> {
        if self.work() > 0 {
            return None;
        }
        let idle = terms.timeouts.idle.map(|timeout| {
            let at = self.last_use().saturating_add(timeout);
            (at, Expiry::Idle)
        });
        let [init, unused, max_age] = self.fixed_deadlines(terms);
        [init, unused, idle, max_age]
            .into_iter()
            .flatten()
            .filter(|(at, expiry)| *at <= now && (*expiry == Expiry::MaxAge || !self.is_held()))
            .min_by_key(|(at, _)| *at)
            .map(|(_, expiry)| expiry)
    }

    /// The next deadline after `now` that does not move with use.
    fn next_fixed(self, now: Millis, terms: Terms<'_>) -> Option<Millis> {
        let deadlines = self.fixed_deadlines(terms).into_iter().flatten();
        deadlines.map(|(at, _)| at).filter(|at| *at > now).min()
    }

    fn acquire(self, what: Use, now: Millis, terms: Terms<'_>) -> (Option<Self>, Acquired) {
        if self.has(CLOSING) {
            return (None, Acquired::Closed);
        }
        if let Some(expiry) = self.due(now, terms) {
            return (Some(self.closed()), Acquired::Expired(expiry));
        }
        if terms.is_overdue(now) {
            return (None, Acquired::Overdue);
        }
        let Some(Self(next)) = self.more(what) else {
            return (None, Acquired::Crowded);
        };
        let next = match what {
            Use::Work => Self(next | SPOKEN),
            Use::Stream => Self(next),
        };
        let idle = (!self.is_held()).then(|| now.saturating_sub(self.last_use()));
        (Some(next), Acquired::Granted { idle })
    }

    /// One more use; `None` at the most there can be.
    fn more(self, what: Use) -> Option<Self> {
        match what {
            Use::Work => (self.work() < MAX_WORK).then_some(Self(self.0 + ONE_WORK)),
            Use::Stream => (self.streams() < MAX_STREAMS).then_some(Self(self.0 + ONE_STREAM)),
        }
    }

    /// One use less, and the session closed if a deadline waited for that.
    fn release(self, what: Use, now: Millis, terms: Terms<'_>) -> (Self, Option<Expiry>) {
        let one = match what {
            Use::Work => ONE_WORK,
            Use::Stream => ONE_STREAM,
        };
        let stamp = self.last_use().max(now.min(MAX_MILLIS));
        let next = Self(((self.0 & !STAMP) - one) | stamp);
        if next.has(CLOSING) {
            return (next, None);
        }
        match next.due(now, terms) {
            Some(expiry) => (next.closed(), Some(expiry)),
            None => (next, None),
        }
    }

    fn closed(self) -> Self {
        Self(self.0 | CLOSING)
    }
}

/// The word, shared.
#[derive(Debug)]
pub(super) struct Activity(AtomicU64);

impl Activity {
    /// A session that was created `now`, held by the exchange that creates it.
    pub(super) fn new(now: Millis, classes: &Classes) -> Self {
        let word = Word(ONE_WORK | now.min(MAX_MILLIS));
        classes.moved(None, word.class());
        Self(AtomicU64::new(word.0))
    }

    /// Takes the session into use, unless it is closed or one of its deadlines has passed.
    pub(super) fn acquire(&self, what: Use, now: Millis, terms: Terms<'_>) -> Acquired {
        self.update(terms.classes, |word| word.acquire(what, now, terms))
    }

    /// One more exchange or call, for somebody who already uses the session, so that it cannot have
    /// expired. Returns false when the session is closed, or can take no more.
    pub(super) fn retain(&self, classes: &Classes) -> bool {
        self.update(classes, |word| {
            let next = word.more(Use::Work).filter(|_| !word.has(CLOSING));
            (next, next.is_some())
        })
    }

    /// Gives a use back and stamps the last use, in one step. When a deadline waited for this, the
    /// same step closes the session: the caller must end it.
    pub(super) fn release(&self, what: Use, now: Millis, terms: Terms<'_>) -> Option<Expiry> {
        self.update(terms.classes, |word| {
            let (next, expiry) = word.release(what, now, terms);
            (Some(next), expiry)
        })
    }

    /// Gives a use back at the time that `clock` shows, like [`Activity::release`].
    ///
    /// A sweep leaves the deadlines of a session in use to whoever gives it back, for good. Such a
    /// sweep may have come between the reading of the clock and the release, and have been later.
    /// So the clock is read again where that matters: it shows at least the time of that sweep.
    pub(super) fn leave(
        &self,
        what: Use,
        clock: impl Fn() -> Millis,
        terms: Terms<'_>,
    ) -> Option<Expiry> {
        let expiry = self.release(what, clock(), terms);
        if expiry.is_none() && terms.timeouts.has_fixed() {
            return self.close_if_due(clock(), terms);
        }
        expiry
    }

    /// Notes that something was called.
    pub(super) fn note_call(&self) {
        if !Word(self.0.load(Ordering::Relaxed)).has(CALLED) {
            self.0.fetch_or(CALLED, Ordering::AcqRel);
        }
    }

    /// Closes the session if a deadline has passed and nothing holds it up: the caller must end it.
    pub(super) fn close_if_due(&self, now: Millis, terms: Terms<'_>) -> Option<Expiry> {
        self.update(terms.classes, |word| {
            let expiry = word.due(now, terms).filter(|_| !word.has(CLOSING));
            (expiry.map(|_| word.closed()), expiry)
        })
    }

    /// Closes the session if nobody used it since `last_use`. True if this did it: the caller must
    /// end it.
    pub(super) fn close_if_idle_since(&self, last_use: Millis, classes: &Classes) -> bool {
        self.update(classes, |word| {
            let close = word.view().is_idle() && word.last_use() == last_use;
            (close.then(|| word.closed()), close)
        })
    }

    /// Closes the session for its client. This is no use of it.
    pub(super) fn delete(&self, now: Millis, terms: Terms<'_>) -> Deleted {
        self.update(terms.classes, |word| {
            if word.has(CLOSING) {
                return (None, Deleted::Refused);
            }
            match word.due(now, terms) {
                Some(expiry) => (Some(word.closed()), Deleted::Expired(expiry)),
                None if terms.is_overdue(now) => (None, Deleted::Refused),
                None => (Some(word.closed()), Deleted::Done),
            }
        })
    }

    /// Closes the session. Returns true for the one caller that did it, who must end it.
    pub(super) fn close(&self, classes: &Classes) -> bool {
        self.update(classes, |word| {
            let close = !word.has(CLOSING);
            (close.then(|| word.closed()), close)
        })
    }

    /// A look, out of date as soon as it is taken.
    pub(super) fn view(&self) -> View {
        Word(self.0.load(Ordering::Acquire)).view()
    }

    /// The next deadline after `now` that does not move with use.
    pub(super) fn next_fixed(&self, now: Millis, terms: Terms<'_>) -> Option<Millis> {
        Word(self.0.load(Ordering::Acquire)).next_fixed(now, terms)
    }

    /// Applies a pure transition by compare-and-swap; `None` leaves the word as it is.
    fn update<R>(&self, classes: &Classes, transition: impl Fn(Word) -> (Option<Word>, R)) -> R {
        let mut current = self.0.load(Ordering::Acquire);
        loop {
            let word = Word(current);
            let (next, result) = transition(word);
            let Some(next) = next else {
                return result;
            };
            match self
                .0
                .compare_exchange_weak(current, next.0, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => {
                    classes.moved(word.class(), next.class());
                    return result;
                }
                Err(seen) => current = seen,
            }
        }
    }
}

/// How many sessions are in each class, apart from the idle ones, which are the rest.
///
/// A count follows its word a moment later, so that between the two it can be one off in either
/// direction, and even negative. It is exact as soon as nothing changes.
#[derive(Debug, Default)]
pub(super) struct Classes {
    initializing: AtomicI64,
    busy: AtomicI64,
    streaming: AtomicI64,
}

impl Classes {
    /// The counts of initializing, busy and streaming sessions.
    pub(super) fn read(&self) -> [i64; 3] {
        [&self.initializing, &self.busy, &self.streaming].map(|count| count.load(Ordering::Relaxed))
    }

    /// Moves one session from one class to another; `None` is outside of all.
    fn moved(&self, from: Option<Class>, to: Option<Class>) {
        if from == to {
            return;
        }
        if let Some(count) = self.of(from) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(count) = self.of(to) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn of(&self, class: Option<Class>) -> Option<&AtomicI64> {
        match class? {
            Class::Initializing => Some(&self.initializing),
            Class::Busy => Some(&self.busy),
            Class::Streaming => Some(&self.streaming),
            Class::Idle => None,
        }
    }
}
