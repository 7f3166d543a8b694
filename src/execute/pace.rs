//! How fast progress is told: a tool may report each of a million steps, and nobody can read that.

use std::time::Duration;

use tokio::time::Instant;

/// The shortest time between two reports, in the long run: ten a second is as smooth as a progress
/// bar can look.
pub(super) const INTERVAL: Duration = Duration::from_millis(100);
/// How many reports may come at once, so that a short tool is heard in full.
pub(super) const BURST: u32 = 10;

/// Paces reports: [`BURST`] at once, then one each [`INTERVAL`]. A pause lets the burst grow again.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When all reports so far would have been told at an even pace.
    even: Option<Instant>,
}

impl Pace {
    /// When the next report may be told.
    pub(super) fn next(&self, now: Instant) -> Instant {
        let even = self.even.unwrap_or(now);
        even.checked_sub(INTERVAL * (BURST - 1)).unwrap_or(now)
    }

    /// Takes note of a report that is told now.
    pub(super) fn tell(&mut self, now: Instant) {
        self.even = Some(self.even.unwrap_or(now).max(now) + INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_comes_at_once_and_the_rest_evenly() {
        let start = Instant::now() + Duration::from_secs(100);
        let at = |tenths: u32| start + INTERVAL * tenths;
        let mut pace = Pace::default();
        let mut told = |now: Instant| {
            let may = pace.next(now) <= now;
            if may {
                pace.tell(now);
            }
            may
        };
        let mut count = |now| (0..1000).filter(|_| told(now)).count();
        assert_eq!(count(at(0)), 10);
        assert_eq!(count(at(0) + INTERVAL / 2), 0);
        assert_eq!(count(at(1)), 1);
        assert_eq!(count(at(2)), 1);
        assert_eq!(count(at(5)), 3);
        assert_eq!(count(at(1000)), 10);
        assert_eq!(count(at(1001)), 1);
    }
}
