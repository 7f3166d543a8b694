//! Why sessions that are gone have ended, so that failed look-ups can be told apart in statistics.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::activity::Millis;
use super::statistics::LookupFailure;

/// How long the end of a session is remembered.
const LIFETIME: Duration = Duration::from_hours(1);

/// The most ends that are remembered; older ones are forgotten first.
const MAX: usize = 10_000;

/// The ends of sessions by the keyed hash of their id. The ids are nowhere kept.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    by_hash: HashMap<u64, (Millis, LookupFailure)>,
    order: VecDeque<u64>,
}

impl Tombstones {
    /// Remembers an end.
    pub(super) fn insert(&mut self, hash: u64, now: Millis, why: LookupFailure) {
        while self.order.len() >= MAX
            || self
                .order
                .front()
                .is_some_and(|hash| self.is_old(*hash, now))
        {
            if let Some(oldest) = self.order.pop_front() {
                self.by_hash.remove(&oldest);
            }
        }
        if self.by_hash.insert(hash, (now, why)).is_none() {
            self.order.push_back(hash);
        }
    }

    /// Why a session ended; `None` if that is not known, or not any more.
    pub(super) fn get(&self, hash: u64, now: Millis) -> Option<LookupFailure> {
        let (_, why) = self.by_hash.get(&hash)?;
        (!self.is_old(hash, now)).then_some(*why)
    }

    fn is_old(&self, hash: u64, now: Millis) -> bool {
        let at = self.by_hash.get(&hash).map_or(0, |(at, _)| *at);
        u128::from(now.saturating_sub(at)) >= LIFETIME.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_remembered_for_an_hour() {
        let mut tombstones = Tombstones::default();
        tombstones.insert(1, 0, LookupFailure::Expired);
        tombstones.insert(2, 1000, LookupFailure::Evicted);
        assert_eq!(tombstones.get(1, 3_599_999), Some(LookupFailure::Expired));
        assert_eq!(tombstones.get(1, 3_600_000), None);
        assert_eq!(tombstones.get(2, 3_600_000), Some(LookupFailure::Evicted));
        assert_eq!(tombstones.get(3, 0), None);
        tombstones.insert(3, 3_600_000, LookupFailure::Deleted);
        assert_eq!(tombstones.order, [2, 3], "old ones are dropped");
        assert_eq!(tombstones.by_hash.len(), 2);
    }

    #[test]
    fn there_are_at_most_ten_thousand() {
        let mut tombstones = Tombstones::default();
        for hash in 0..30_000 {
            tombstones.insert(hash, hash, LookupFailure::Expired);
        }
        assert_eq!(tombstones.order.len(), 10_000);
        assert_eq!(tombstones.by_hash.len(), 10_000);
        assert_eq!(tombstones.get(19_999, 30_000), None);
        assert!(tombstones.get(20_000, 30_000).is_some());
    }
}
