//! How often a client may be wrong about its credential.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The time in which a client may fail once, in the long run: ten times a second.
const INTERVAL: Duration = Duration::from_millis(100);

/// How often a client may fail at once.
const BURST: u32 = 50;

/// How many clients are told apart. More of them share: what a stranger can take is nothing but that
/// another one who fails is told to wait.
const SLOTS: usize = 4096;

/// How often each client has failed to show who it is.
///
/// A slot is the time at which all that its clients did is made up for (the generic cell rate
/// algorithm). Its number comes from a hash with a random key, so that nobody can choose to share one.
#[derive(Debug)]
pub struct Throttle {
    hasher: RandomState,
    slots: Mutex<Vec<Option<Instant>>>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            slots: Mutex::new(vec![None; SLOTS]),
        }
    }
}

impl Throttle {
    /// Notes that the client at an address failed; false if it has done so too often. A client of a Unix
    /// socket has no address.
    pub fn fails(&self, client: Option<IpAddr>, now: Instant) -> bool {
        let number = self.slot(client);
        let mut slots = self.slots.lock();
        let Some(slot) = slots.get_mut(number) else {
            return true;
        };
        let made_up = made_up_after_failure(*slot, now);
        if made_up.is_some() {
            *slot = made_up;
        }
        made_up.is_some()
    }

    /// Whether the client at an address may fail once more. Nothing is counted.
    pub fn may_fail(&self, client: Option<IpAddr>, now: Instant) -> bool {
        let slot = self.slots.lock().get(self.slot(client)).copied();
        slot.is_none_or(|slot| made_up_after_failure(slot, now).is_some())
    }

    fn slot(&self, client: Option<IpAddr>) -> usize {
        let hash = self.hasher.hash_one(client);
        usize::try_from(hash % SLOTS as u64).unwrap_or_default()
    }
}

/// When one more failure is made up for; `None` if it is one too many.
fn made_up_after_failure(slot: Option<Instant>, now: Instant) -> Option<Instant> {
    let made_up = slot.map_or(now, |made_up| made_up.max(now)) + INTERVAL;
    (made_up <= now + INTERVAL * BURST).then_some(made_up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifty_at_once_and_ten_a_second() {
        let throttle = Throttle::default();
        let client = Some("192.0.2.1".parse().unwrap());
        let start = Instant::now();
        let failing = |millis: u64, times: usize| {
            let now = start + Duration::from_millis(millis);
            let fails = |_: &usize| {
                let may = throttle.may_fail(client, now);
                assert_eq!(throttle.fails(client, now), may);
                may
            };
            (0..times).filter(fails).count()
        };
        assert_eq!(failing(0, 1000), 50);
        assert_eq!(failing(99, 10), 0);
        assert_eq!(failing(100, 10), 1);
        assert_eq!(failing(1100, 100), 10);
        assert_eq!(failing(60_000, 1000), 50, "it is forgotten in time");
    }

    #[test]
    fn others_may_fail_as_well() {
        let throttle = Throttle::default();
        let now = Instant::now();
        let address = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        while throttle.fails(address(0), now) {}
        // Of two hundred a few may share its slot.
        let others = (1..=200).filter(|last| throttle.fails(address(*last), now));
        assert!(others.count() > 190);
    }
}
