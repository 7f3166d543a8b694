//! Which sessions there are and in which order they end, under one lock.
//!
//! Sessions are ordered by a lower bound of their last use. Requests do not touch the order: an
//! entry is compared with its session only when it comes to the front, and is queued again if the
//! session was used since. The idle timeout and eviction read the same order. The totals change
//! under the same lock, so that they never disagree with the entries.

mod buckets;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::activity::{Expiry, Millis, Timeouts, View};
use super::{Bucket, EndReason, Owner, Session};
use crate::protocol::version::ProtocolVersion;
use buckets::Buckets;

/// The most entries that one search for the longest-idle session looks at, so that a search never
/// takes more than a few milliseconds. Up to here the answer is exact; beyond, it is the best of
/// those that were looked at; if none of them is idle, there is none for now. What a search looked at,
/// the next need not look at again.
pub(super) const MAX_EXAMINED: usize = 4096;

/// The most entries that one sweep looks at, so that a mass expiry delays no request by much.
pub(super) const MAX_SWEEP: usize = 256;

/// Stands for no deadline.
const NEVER: Millis = Millis::MAX;

/// Seconds in which creations are counted one by one.
const RECENT: usize = 60;

/// A session that was closed and taken out, and whose end must be made known.
pub(super) type Ending = (Arc<Session>, EndReason);

/// Where a session stands in the orders. Changed under the lock of the registry only.
#[derive(Debug)]
pub(super) struct Place {
    /// Counts up with every session.
    number: u64,
    /// The number of the bucket; 0 for none.
    bucket: AtomicU64,
    /// The lower bound of the last use.
    used: AtomicU64,
    /// The deadline that does not move with use.
    deadline: AtomicU64,
}

impl Place {
    fn bucket(&self) -> u64 {
        self.bucket.load(Ordering::Relaxed)
    }

    fn used(&self) -> Millis {
        self.used.load(Ordering::Relaxed)
    }

    fn deadline(&self) -> Millis {
        self.deadline.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(super) struct Registry {
    by_use: BTreeMap<(Millis, u64), Arc<Session>>,
    /// When each session was created, by number, which is the same order.
    by_age: BTreeMap<u64, Millis>,
    /// Sessions with a deadline that does not move with use.
    by_deadline: BTreeMap<(Millis, u64), Arc<Session>>,
    buckets: Buckets,
    last_number: u64,
    created: [u64; ProtocolVersion::ALL.len()],
    ended: [u64; EndReason::ALL.len()],
    recent: Recent,
    #[cfg(test)]
    pub(super) examined: usize,
}

impl Registry {
    /// How many sessions live.
    pub(super) fn len(&self) -> usize {
        self.by_use.len()
    }

    /// How many sessions of a bucket live.
    pub(super) fn len_of(&self, bucket: &Bucket) -> usize {
        self.buckets.len_of(bucket)
    }

    /// Adds the session that `make` builds for its place.
    pub(super) fn insert(
        &mut self,
        now: Millis,
        version: ProtocolVersion,
        bucket: Option<&Bucket>,
        deadline: Option<Millis>,
        make: impl FnOnce(Place) -> Session,
    ) -> Arc<Session> {
        self.last_number += 1;
        let number = self.last_number;
        let deadline = deadline.unwrap_or(NEVER);
        let session = Arc::new(make(Place {
            number,
            bucket: AtomicU64::new(self.buckets.join(bucket)),
            used: AtomicU64::new(now),
            deadline: AtomicU64::new(deadline),
        }));
        self.by_use.insert((now, number), Arc::clone(&session));
        self.by_age.insert(number, now);
        self.buckets.insert(&session);
        if deadline != NEVER {
            let key = (deadline, number);
            self.by_deadline.insert(key, Arc::clone(&session));
        }
        let version = ProtocolVersion::ALL.iter().position(|v| *v == version);
        if let Some(created) = version.and_then(|index| self.created.get_mut(index)) {
            *created += 1;
        }
        self.recent.count(now);
        session
    }

    /// Whether a session lives.
    pub(super) fn has(&self, session: &Session) -> bool {
        let place = &session.place;
        self.by_use.contains_key(&(place.used(), place.number))
    }

    /// Hands a session that lives over to another owner, for whose bucket it counts from then on.
    pub(super) fn hand_over(&mut self, session: &Arc<Session>, owner: Owner) {
        self.buckets.leave(session);
        let bucket = self.buckets.join(owner.bucket.as_ref());
        session.place.bucket.store(bucket, Ordering::Relaxed);
        self.buckets.insert(session);
        session.hand_over(owner);
    }

    /// Takes out a session that the caller has closed.
    pub(super) fn remove(&mut self, session: &Session, reason: EndReason) {
        let place = &session.place;
        if self.by_use.remove(&(place.used(), place.number)).is_none() {
            return;
        }
        self.by_age.remove(&place.number);
        self.by_deadline.remove(&(place.deadline(), place.number));
        self.buckets.leave(session);
        if let Some(ended) = self.ended.get_mut(reason as usize) {
            *ended += 1;
        }
    }

    /// Closes and takes out the session that has been idle the longest, of one bucket or of all.
    /// Spares those that were used after `latest`. `close` closes a session unless it was used
    /// since the time it is given.
    pub(super) fn evict(
        &mut self,
        bucket: Option<&Bucket>,
        now: Millis,
        latest: Millis,
        close: impl Fn(&Session, Millis) -> bool,
    ) -> Option<Ending> {
        let reason = match bucket {
            None => EndReason::EvictedLru,
            Some(_) => EndReason::EvictedPrincipal,
        };
        let bucket = match bucket {
            None => None,
            Some(bucket) => Some(self.buckets.number_of(bucket)?),
        };
        let mut budget = MAX_EXAMINED;
        loop {
            let (session, last_use) = self.find_idle(bucket, now, latest, &mut budget)?;
            if close(&session, last_use) {
                self.remove(&session, reason);
                return Some((session, reason));
            }
        }
    }

    /// Since when the longest-idle session has been idle; `None` if none is idle.
    pub(super) fn idle_since(&mut self, now: Millis) -> Option<Millis> {
        let found = self.find_idle(None, now, now, &mut MAX_EXAMINED.clone());
        found.map(|(_, last_use)| last_use)
    }

    /// When the oldest session was created.
    pub(super) fn oldest(&self) -> Option<Millis> {
        self.by_age.first_key_value().map(|(_, created)| *created)
    }

    fn find_idle(
        &mut self,
        bucket: Option<u64>,
        now: Millis,
        latest: Millis,
        budget: &mut usize,
    ) -> Option<(Arc<Session>, Millis)> {
        let before = *budget;
        let found = match bucket {
            None => {
                let entries = self.by_use.range(..=(latest, u64::MAX));
                let entries = entries.map(|((used, _), session)| (*used, session));
                Found::search(entries, now, latest, budget)
            }
            Some(bucket) => {
                let entries = self.buckets.entries(bucket, latest);
                Found::search(entries, now, latest, budget)
            }
        };
        self.note_examined(before - *budget);
        for (session, used) in found.stale {
            self.requeue(&session, used);
        }
        found.longest_idle
    }

    /// Moves a session to where it belongs in the order of use, if it is still there.
    fn requeue(&mut self, session: &Session, used: Millis) {
        let place = &session.place;
        let before = place.used.swap(used, Ordering::Relaxed);
        if before == used {
            return;
        }
        if let Some(session) = self.by_use.remove(&(before, place.number)) {
            self.by_use.insert((used, place.number), session);
        }
        self.buckets.requeue(session, before);
    }

    /// Moves a session in the order of deadlines, or takes it out of it.
    fn set_deadline(&mut self, session: &Session, deadline: Option<Millis>) {
        let place = &session.place;
        let deadline = deadline.unwrap_or(NEVER);
        let before = place.deadline.swap(deadline, Ordering::Relaxed);
        if let Some(session) = self.by_deadline.remove(&(before, place.number))
            && deadline != NEVER
        {
            self.by_deadline.insert((deadline, place.number), session);
        }
    }

    /// Closes and takes out what is due, after a look at not more than [`MAX_SWEEP`] sessions.
    /// `close` closes a session if it is due; `next_deadline` tells its next deadline that does not
    /// move with use.
    ///
    /// A session in use whose deadlines have all passed is not looked at again for them: whoever
    /// uses it ends it in giving it back.
    pub(super) fn sweep(
        &mut self,
        now: Millis,
        timeouts: &Timeouts,
        close: impl Fn(&Session) -> Option<Expiry>,
        next_deadline: impl Fn(&Session) -> Option<Millis>,
    ) -> Vec<Ending> {
        let latest = timeouts.idle.and_then(|idle| now.checked_sub(idle));
        let by_use = latest.map(|latest| self.by_use.range(..=(latest, u64::MAX)));
        let by_deadline = self.by_deadline.range(..=(now, u64::MAX));
        let due: Vec<_> = by_use
            .into_iter()
            .flatten()
            .chain(by_deadline)
            .take(MAX_SWEEP)
            .map(|(_, session)| Arc::clone(session))
            .collect();
        self.note_examined(due.len());
        let mut ended = Vec::new();
        for session in due {
            if let Some(expiry) = close(&session) {
                let reason = expiry.into();
                self.remove(&session, reason);
                ended.push((session, reason));
                continue;
            }
            self.requeue(&session, session.activity.view().idle_since(now));
            if session.place.deadline() <= now {
                self.set_deadline(&session, next_deadline(&session));
            }
        }
        ended
    }

    /// When the first session may be due.
    pub(super) fn next_due(&self, timeouts: &Timeouts) -> Option<Millis> {
        let first = |order: &BTreeMap<(Millis, u64), Arc<Session>>| {
            order.first_key_value().map(|((at, _), _)| *at)
        };
        let idle = timeouts
            .idle
            .and_then(|idle| Some(first(&self.by_use)?.saturating_add(idle)));
        idle.into_iter().chain(first(&self.by_deadline)).min()
    }

    /// Sessions created, in the order of [`ProtocolVersion::ALL`].
    pub(super) fn created(&self) -> &[u64] {
        &self.created
    }

    /// Sessions ended, in the order of [`EndReason::ALL`].
    pub(super) fn ended(&self) -> &[u64] {
        &self.ended
    }

    /// Sessions created in the last minute.
    pub(super) fn recently_created(&mut self, now: Millis) -> u64 {
        self.recent.total(now)
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "counts in tests"))]
    fn note_examined(&mut self, examined: usize) {
        #[cfg(test)]
        {
            self.examined += examined;
        }
        #[cfg(not(test))]
        let _ = examined;
    }

    /// Panics unless the orders hold the same sessions.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.by_age.len(), self.len());
        assert!(self.by_deadline.len() <= self.len());
        for ((used, number), session) in &self.by_use {
            assert_eq!(
                (*used, *number),
                (session.place.used(), session.place.number)
            );
        }
        for (at, number) in self.by_deadline.keys() {
            assert!(self.by_age.contains_key(number) && *at != NEVER);
        }
        self.buckets.check();
        let created: u64 = self.created.iter().sum();
        let ended: u64 = self.ended.iter().sum();
        assert_eq!(created - ended, self.len() as u64);
    }

    /// How many buckets have sessions.
    #[cfg(test)]
    pub(super) fn bucket_count(&self) -> usize {
        self.buckets.len()
    }
}

/// What a search for the longest-idle session found.
struct Found {
    longest_idle: Option<(Arc<Session>, Millis)>,
    /// The sessions that are not where they belong, and where that is.
    stale: Vec<(Arc<Session>, Millis)>,
}

impl Found {
    /// Searches entries in the order of the lower bound of the last use. It is over when no further
    /// entry can be idle longer than what was found.
    fn search<'a>(
        entries: impl Iterator<Item = (Millis, &'a Arc<Session>)>,
        now: Millis,
        latest: Millis,
        budget: &mut usize,
    ) -> Self {
        let mut found = Self {
            longest_idle: None,
            stale: Vec::new(),
        };
        for (used, session) in entries {
            let best = found.longest_idle.as_ref().map_or(latest, |(_, at)| *at);
            if *budget == 0 || (found.longest_idle.is_some() && best <= used) {
                break;
            }
            *budget -= 1;
            let view: View = session.activity.view();
            let idle_since = view.idle_since(now);
            if idle_since != used {
                found.stale.push((Arc::clone(session), idle_since));
            }
            let better = found.longest_idle.is_none() || idle_since < best;
            if view.is_idle() && idle_since <= latest && better {
                found.longest_idle = Some((Arc::clone(session), idle_since));
            }
        }
        found
    }
}

/// Creations in each of the last [`RECENT`] seconds.
#[derive(Debug)]
struct Recent {
    counts: [u64; RECENT],
    second: u64,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            counts: [0; RECENT],
            second: 0,
        }
    }
}

impl Recent {
    fn count(&mut self, now: Millis) {
        self.advance(now);
        if let Some(count) = self.counts.first_mut() {
            *count += 1;
        }
    }

    fn total(&mut self, now: Millis) -> u64 {
        self.advance(now);
        self.counts.iter().sum()
    }

    /// Makes the first count that of the second of `now`.
    fn advance(&mut self, now: Millis) {
        let passed = (now / 1000).saturating_sub(self.second);
        let shift = usize::try_from(passed).unwrap_or(RECENT).min(RECENT);
        self.counts.rotate_right(shift);
        self.counts
            .iter_mut()
            .take(shift)
            .for_each(|count| *count = 0);
        self.second += passed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creations_are_counted_for_a_minute() {
        let mut recent = Recent::default();
        for now in [0, 500, 999, 1000, 30_000, 59_999] {
            recent.count(now);
        }
        let cases = [
            (59_999, 6),
            (60_000, 3),
            (61_000, 2),
            (60_000, 2),
            (89_999, 2),
            (90_000, 1),
            (119_000, 0),
            (1_000_000, 0),
        ];
        for (now, total) in cases {
            assert_eq!(recent.total(now), total, "{now}");
        }
    }
}
