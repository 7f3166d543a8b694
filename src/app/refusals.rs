//! Whether the server takes new work, for `/readyz`.
//!
//! A load balancer that is told "no" sends its clients elsewhere. A single refusal of a new session
//! is no reason for that; refusals that go on are.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long new sessions may be refused before the server says that it is not ready; and after how
/// long without a refusal it tries again.
const PATIENCE: Duration = Duration::from_secs(10);

/// New sessions that were refused because the server is full, without one that was opened between.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Option<Streak>>);

#[derive(Debug, Clone, Copy)]
struct Streak {
    first: Instant,
    last: Instant,
}

impl Refusals {
    /// Notes that a new session was refused.
    pub fn refused(&self, now: Instant) {
        let mut streak = self.0.lock();
        let first = streak
            .filter(|streak| now.duration_since(streak.last) <= PATIENCE)
            .map_or(now, |streak| streak.first);
        *streak = Some(Streak { first, last: now });
    }

    /// Notes that a session was opened.
    pub fn opened(&self) {
        *self.0.lock() = None;
    }

    /// True if sessions have been refused for more than ten seconds, and lately. After a time without
    /// anybody asking nobody knows, and the server is ready to be asked again.
    pub fn go_on(&self, now: Instant) -> bool {
        self.0.lock().is_some_and(|streak| {
            now.duration_since(streak.first) > PATIENCE
                && now.duration_since(streak.last) <= PATIENCE
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_that_go_on_make_a_server_unready() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let refusals = Refusals::default();
        assert!(!refusals.go_on(at(0)));
        refusals.refused(at(0));
        assert!(!refusals.go_on(at(10)), "ten seconds are not more than ten");
        assert!(!refusals.go_on(at(11)), "one refusal says nothing for long");
        refusals.refused(at(9));
        assert!(!refusals.go_on(at(10)));
        assert!(refusals.go_on(at(11)));
        assert!(refusals.go_on(at(19)));
        assert!(!refusals.go_on(at(20)), "ready to be asked again");
        refusals.refused(at(21));
        assert!(!refusals.go_on(at(21)), "the refusals before are forgotten");
        refusals.refused(at(31));
        refusals.refused(at(32));
        assert!(refusals.go_on(at(32)));
        refusals.opened();
        assert!(!refusals.go_on(at(32)));
        refusals.refused(at(33));
        assert!(!refusals.go_on(at(42)));
    }
}
