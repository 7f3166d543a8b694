//! Whether a session is in use, in one atomic word.
//!
//! The word holds a closing flag, the number of references and the time of the last use. Because
//! all three change together, a decision taken on an old stamp fails its compare-and-swap: a
//! request that arrives while the session expires either keeps it alive or finds it closed, and
//! nothing in between.

use std::sync::atomic::{AtomicU64, Ordering};

/// Milliseconds on the store's monotonic clock.
pub type Millis = u64;

/// The state of one session: a pure value whose transitions return the next value.
///
/// Bit 63 is the closing flag, bits 44 to 62 count references, bits 0 to 43 hold the last use
/// (557 years of milliseconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word(u64);

const CLOSING: u64 = 1 << 63;
const ONE_REFERENCE: u64 = 1 << 44;
const STAMP: u64 = ONE_REFERENCE - 1;

/// The most references a session can have; beyond it, an acquire is refused.
const MAX_REFERENCES: u64 = (CLOSING >> 44) - 1;

impl Word {
    fn is_closing(self) -> bool {
        self.0 & CLOSING != 0
    }

    fn references(self) -> u64 {
        (self.0 & !CLOSING) >> 44
    }

    fn last_use(self) -> Millis {
        self.0 & STAMP
    }

    fn expires_at(self, idle_timeout: Millis) -> Millis {
        self.last_use().saturating_add(idle_timeout)
    }

    fn acquire(self, now: Millis, idle_timeout: Option<Millis>) -> Acquire {
        if self.is_closing() || self.references() >= MAX_REFERENCES {
            return Acquire::Refused;
        }
        let expired = idle_timeout.is_some_and(|timeout| now >= self.expires_at(timeout));
        if expired && self.references() == 0 {
            return Acquire::Expired(self.closed());
        }
        Acquire::Granted(Self(self.0 + ONE_REFERENCE))
    }

    fn release(self, now: Millis) -> Self {
        let stamp = self.last_use().max(now & STAMP);
        Self(((self.0 & !STAMP) - ONE_REFERENCE) | stamp)
    }

    fn closed(self) -> Self {
        Self(self.0 | CLOSING)
    }
}

enum Acquire {
    Granted(Word),
    Expired(Word),
    Refused,
}

/// What an attempt to use a session came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// One more reference is held; it must be given back by [`Activity::release`].
    Granted,
    /// The session had expired and this attempt closed it: the caller must end it.
    Expired,
    /// The session is closed already.
    Refused,
}

/// What a sweep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The session had expired and this sweep closed it: the caller must end it. Holds the time
    /// of its last use.
    Expired(Millis),
    /// Look again at this time.
    At(Millis),
    /// The session is closed already.
    Closed,
}

/// The word, shared.
#[derive(Debug)]
pub struct Activity(AtomicU64);

impl Activity {
    /// A session that was created `now`, held by one reference.
    pub fn new(now: Millis) -> Self {
        Self(AtomicU64::new(ONE_REFERENCE | (now & STAMP)))
    }

    /// Takes a reference, unless the session is closed or has been idle for `idle_timeout`.
    pub fn acquire(&self, now: Millis, idle_timeout: Option<Millis>) -> Entered {
        self.update(|word| match word.acquire(now, idle_timeout) {
            Acquire::Granted(next) => (Some(next), Entered::Granted),
            Acquire::Expired(next) => (Some(next), Entered::Expired),
            Acquire::Refused => (None, Entered::Refused),
        })
    }

    /// Adds a reference for somebody who already holds one, so that it cannot have expired.
    /// Returns false when the session is closed, or can take no more references.
    pub fn retain(&self) -> bool {
        self.acquire(0, None) == Entered::Granted
    }

    /// Gives a reference back and stamps the last use, in one step.
    pub fn release(&self, now: Millis) {
        self.update(|word| (Some(word.release(now)), ()));
    }

    /// Closes the session if nobody uses it and `idle_timeout` has passed since the last use.
    pub fn sweep(&self, now: Millis, idle_timeout: Millis) -> Due {
        self.update(|word| {
            if word.is_closing() {
                (None, Due::Closed)
            } else if word.references() > 0 {
                // The countdown starts when the last reference goes, so this is the earliest end.
                (None, Due::At(now.saturating_add(idle_timeout)))
            } else if now >= word.expires_at(idle_timeout) {
                (Some(word.closed()), Due::Expired(word.last_use()))
            } else {
                (None, Due::At(word.expires_at(idle_timeout)))
            }
        })
    }

    /// Closes the session. Returns true for the one caller that did it.
    pub fn close(&self) -> bool {
        self.update(|word| {
            if word.is_closing() {
                (None, false)
            } else {
                (Some(word.closed()), true)
            }
        })
    }

    /// True while somebody holds a reference.
    pub fn is_busy(&self) -> bool {
        Word(self.0.load(Ordering::Acquire)).references() > 0
    }

    /// Applies a pure transition by compare-and-swap; `None` leaves the word as it is.
    fn update<R>(&self, transition: impl Fn(Word) -> (Option<Word>, R)) -> R {
        let mut current = self.0.load(Ordering::Acquire);
        loop {
            let (next, result) = transition(Word(current));
            let Some(next) = next else {
                return result;
            };
            match self
                .0
                .compare_exchange_weak(current, next.0, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return result,
                Err(seen) => current = seen,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Option<Millis> = Some(1000);

    #[test]
    fn idle_counts_from_the_last_release() {
        let activity = Activity::new(0);
        assert_eq!(activity.sweep(5000, 1000), Due::At(6000), "busy");
        activity.release(5000);
        assert_eq!(activity.sweep(5999, 1000), Due::At(6000));
        assert_eq!(activity.acquire(5999, T), Entered::Granted);
        activity.release(5999);
        assert_eq!(activity.sweep(6998, 1000), Due::At(6999));
        assert_eq!(activity.sweep(6999, 1000), Due::Expired(5999));
        assert_eq!(activity.sweep(6999, 1000), Due::Closed);
        assert_eq!(activity.acquire(6999, T), Entered::Refused);
    }

    #[test]
    fn expiry_is_checked_at_use() {
        let activity = Activity::new(0);
        activity.release(0);
        assert_eq!(activity.acquire(1000, T), Entered::Expired);
        assert_eq!(activity.acquire(1000, T), Entered::Refused);
    }

    #[test]
    fn a_held_session_never_expires() {
        let activity = Activity::new(0);
        assert_eq!(activity.acquire(1_000_000, T), Entered::Granted);
        activity.release(1_000_000);
        assert_eq!(activity.acquire(2_000_000, T), Entered::Granted);
    }

    #[test]
    fn without_a_timeout_nothing_expires() {
        let activity = Activity::new(0);
        activity.release(0);
        assert_eq!(activity.acquire(STAMP, None), Entered::Granted);
    }

    #[test]
    fn the_stamp_never_goes_back() {
        let activity = Activity::new(500);
        assert!(activity.retain());
        activity.release(900);
        activity.release(700);
        assert_eq!(activity.sweep(1899, 1000), Due::At(1900));
    }

    #[test]
    fn closing_is_won_once_and_refuses_new_references() {
        let activity = Activity::new(0);
        assert!(activity.close());
        assert!(!activity.close());
        assert!(!activity.retain());
        activity.release(0);
        assert!(!activity.is_busy());
    }

    #[test]
    fn references_are_bounded() {
        let full = Word(MAX_REFERENCES * ONE_REFERENCE);
        assert!(matches!(full.acquire(0, None), Acquire::Refused));
        assert_eq!(full.release(0).references(), MAX_REFERENCES - 1);
    }
}
