//! The map from ids to sessions, in parts with a lock each.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::activity::Classes;
use super::{Session, SessionId};

/// Number of parts; a power of two.
const SHARDS: usize = 32;

/// Room for so many sessions is not given back: it is less than it costs to make it again.
const SPARE: usize = 16;

/// Starts on a cache line of its own, so that parts do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    sessions: Mutex<HashMap<SessionId, Arc<Session>>>,
    classes: Classes,
}

/// Gives memory back that more sessions once needed. The cost of moving those that are left is spread
/// over the many that went since the last time.
fn give_back(sessions: &mut HashMap<SessionId, Arc<Session>>) {
    if sessions.capacity() > SPARE && sessions.len() < sessions.capacity() / 8 {
        sessions.shrink_to(sessions.len() * 2);
    }
}

#[derive(Debug, Default)]
pub(super) struct Shards([Shard; SHARDS]);

impl Shards {
    /// Ids are random. Clients can only ask for the same part again and again, which is no more
    /// than they can do to one session.
    fn of(&self, id: SessionId) -> &Shard {
        #[expect(
            clippy::indexing_slicing,
            reason = "the index is reduced modulo the length"
        )]
        &self.0[usize::from(id.byte()) % SHARDS]
    }

    pub(super) fn get(&self, id: SessionId) -> Option<Arc<Session>> {
        self.of(id).sessions.lock().get(&id).map(Arc::clone)
    }

    pub(super) fn insert(&self, session: &Arc<Session>) {
        let sessions = &self.of(session.id).sessions;
        sessions.lock().insert(session.id, Arc::clone(session));
    }

    pub(super) fn remove(&self, id: SessionId) {
        let mut sessions = self.of(id).sessions.lock();
        let removed = sessions.remove(&id);
        give_back(&mut sessions);
        drop(sessions);
        // Dropped here, outside of the lock.
        drop(removed);
    }

    /// Where sessions with such an id are counted by class.
    pub(super) fn classes(&self, id: SessionId) -> &Classes {
        &self.of(id).classes
    }

    /// The counts of initializing, busy and streaming sessions.
    pub(super) fn read_classes(&self) -> [usize; 3] {
        let mut sums = [0; 3];
        for shard in &self.0 {
            for (sum, count) in sums.iter_mut().zip(shard.classes.read()) {
                *sum += count;
            }
        }
        sums.map(|sum| usize::try_from(sum).unwrap_or(0))
    }

    /// Visits the sessions, under one lock at a time. `visit` must not use the shards.
    pub(super) fn for_each(&self, mut visit: impl FnMut(&Arc<Session>)) {
        for shard in &self.0 {
            shard.sessions.lock().values().for_each(&mut visit);
        }
    }

    /// For how many sessions there is room already.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        let capacity = |shard: &Shard| shard.sessions.lock().capacity();
        self.0.iter().map(capacity).sum()
    }

    /// How many sessions can be found by their ids.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.sessions.lock().len()).sum()
    }
}
