//! The sessions that share a limit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::session::activity::Millis;
use crate::session::{Bucket, Session};

/// The buckets that have sessions, and the order of use in each.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    members: HashMap<Bucket, Members>,
    /// By the number of the bucket, the lower bound of the last use and the number of the session.
    order: BTreeMap<(u64, Millis, u64), Arc<Session>>,
    last_number: u64,
}

#[derive(Debug)]
struct Members {
    /// The number of the bucket in the order.
    number: u64,
    count: usize,
}

impl Buckets {
    /// How many sessions of a bucket live.
    pub(super) fn len_of(&self, bucket: &Bucket) -> usize {
        self.members.get(bucket).map_or(0, |members| members.count)
    }

    /// The number of a bucket, if it has sessions.
    pub(super) fn number_of(&self, bucket: &Bucket) -> Option<u64> {
        self.members.get(bucket).map(|members| members.number)
    }

    /// Counts a member of a bucket, and returns the number of the bucket; 0 for none.
    pub(super) fn join(&mut self, bucket: Option<&Bucket>) -> u64 {
        let Some(bucket) = bucket else { return 0 };
        if let Some(members) = self.members.get_mut(bucket) {
            members.count += 1;
            return members.number;
        }
        self.last_number += 1;
        let number = self.last_number;
        let members = Members { number, count: 1 };
        self.members.insert(bucket.clone(), members);
        number
    }

    /// Puts a session, which has joined its bucket, where it belongs in the order.
    pub(super) fn insert(&mut self, session: &Arc<Session>) {
        let place = &session.place;
        if place.bucket() != 0 {
            let key = (place.bucket(), place.used(), place.number);
            self.order.insert(key, Arc::clone(session));
        }
    }

    /// Takes a session out of its bucket.
    pub(super) fn leave(&mut self, session: &Session) {
        let place = &session.place;
        let key = (place.bucket(), place.used(), place.number);
        self.order.remove(&key);
        if let Some(bucket) = &session.owner().bucket
            && let Some(members) = self.members.get_mut(bucket)
        {
            members.count -= 1;
            if members.count == 0 {
                self.members.remove(bucket);
            }
        }
    }

    /// Moves a session that was there `before` to where it belongs by now.
    pub(super) fn requeue(&mut self, session: &Session, before: Millis) {
        let place = &session.place;
        let key = (place.bucket(), before, place.number);
        if let Some(session) = self.order.remove(&key) {
            self.insert(&session);
        }
    }

    /// The sessions of a bucket that may not have been used after `latest`, each with the lower bound
    /// of its last use, which is their order.
    pub(super) fn entries(
        &self,
        bucket: u64,
        latest: Millis,
    ) -> impl Iterator<Item = (Millis, &Arc<Session>)> {
        let entries = self
            .order
            .range((bucket, 0, 0)..=(bucket, latest, u64::MAX));
        entries.map(|((_, used, _), session)| (*used, session))
    }

    /// How many buckets have sessions.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Panics unless each bucket has the sessions that count for it.
    #[cfg(test)]
    pub(super) fn check(&self) {
        for (bucket, Members { number, count }) in &self.members {
            let sessions: Vec<_> = self.entries(*number, Millis::MAX).collect();
            assert_eq!(sessions.len(), *count, "{bucket:?}");
            for (used, session) in sessions {
                assert_eq!(session.owner().bucket.as_ref(), Some(bucket));
                let place = (session.place.bucket(), session.place.used());
                assert_eq!(place, (*number, used), "{bucket:?}");
            }
        }
        let members: usize = self.members.values().map(|members| members.count).sum();
        assert_eq!(members, self.order.len());
    }
}
