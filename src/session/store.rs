//! Every session of this process: create, enter, end, sweep.
//!
//! A request costs one probe of a map and one compare-and-swap in and out. The order in which
//! sessions end is kept in the registry, which requests do not touch.

mod claim;
mod ends;
mod reports;

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::activity::{Acquired, Activity, Deleted, MAX_MILLIS, Millis, Terms, Timeouts, Use};
use super::registry::{Ending, Registry};
use super::shards::Shards;
use super::statistics::{Counters, Histograms, LookupFailure, Rejection};
use super::tombstones::Tombstones;
use super::{Bucket, EndReason, Entrant, Owner, Session, SessionGuard, SessionId, SessionInfo};
use crate::protocol::version::ProtocolVersion;

/// What bounds the sessions. Timeouts are at least a millisecond; `None` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a session may be idle.
    pub idle_timeout: Option<Duration>,
    /// How long a session may live without a call; one in use lives on until it is not.
    pub unused_timeout: Option<Duration>,
    /// How long a session may live without a message after `initialize`; one in use lives on until
    /// it is not.
    pub init_timeout: Option<Duration>,
    /// How long a session may live. What was begun before is finished, and an open stream is ended.
    pub max_age: Option<Duration>,
    /// The most sessions at once.
    pub max_sessions: usize,
    /// The most sessions at once with the same [`Bucket`].
    pub max_sessions_per_principal: Option<NonZeroUsize>,
    /// What a limit on the number of sessions does.
    pub when_full: WhenFull,
}

impl Limits {
    /// Everybody may have as many sessions as they like, for ever.
    pub const NONE: Self = Self {
        idle_timeout: None,
        unused_timeout: None,
        init_timeout: None,
        max_age: None,
        max_sessions: usize::MAX,
        max_sessions_per_principal: None,
        when_full: WhenFull::Reject,
    };
}

/// What happens to an `initialize` at a limit on the number of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It takes the place of the longest-idle session; without one it is refused.
    Evict {
        /// Sessions that have been idle for less than this make no room for strangers, nor for
        /// other anonymous callers from one address. A principal at its own limit loses its
        /// longest-idle session, however short it was idle.
        min_idle: Duration,
    },
    /// It is refused.
    Reject,
}

/// Why no session was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// The server holds as many sessions as it may.
    Full,
    /// The principal holds as many sessions as one may.
    PrincipalFull,
}

/// Why there is no session for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The id is unknown, expired, ended, or belongs to another principal. Nobody outside can
    /// tell which.
    NotFound,
    /// The session is used as often at once as it can be. It lives.
    Crowded,
    /// The principal would claim the session, and holds as many as one may. It lives, unclaimed.
    PrincipalFull,
}

/// What a sweep did.
#[derive(Debug)]
pub struct Swept {
    /// How many sessions it ended.
    pub ended: usize,
    /// When the next session can expire at the earliest; `None` if there is none.
    pub next: Option<Instant>,
}

/// All sessions of the process.
///
/// Locks are taken in this order, where two are held at once: registry, session. None is held
/// while sessions are told of their end or the log is written.
#[derive(Debug)]
pub struct SessionStore {
    limits: Limits,
    timeouts: Timeouts,
    epoch: Instant,
    hasher: RandomState,
    shards: Shards,
    registry: Mutex<Registry>,
    deadline_added: Notify,
    tombstones: Mutex<Tombstones>,
    counters: Counters,
    histograms: Histograms,
}

/// A duration in milliseconds, rounded up, so that no session ends too early.
fn millis(duration: Duration) -> Millis {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    Millis::try_from(millis).unwrap_or(Millis::MAX)
}

fn seconds(millis: Millis) -> f64 {
    Duration::from_millis(millis).as_secs_f64()
}

impl SessionStore {
    /// An empty store whose clock starts now.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            timeouts: Timeouts {
                idle: limits.idle_timeout.map(millis),
                unused: limits.unused_timeout.map(millis),
                init: limits.init_timeout.map(millis),
                max_age: limits.max_age.map(millis),
            },
            epoch: Instant::now(),
            hasher: RandomState::new(),
            shards: Shards::default(),
            registry: Mutex::default(),
            deadline_added: Notify::new(),
            tombstones: Mutex::default(),
            counters: Counters::default(),
            histograms: Histograms::default(),
        })
    }

    /// What bounds the sessions.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The distributions, which go on being observed in what is returned.
    pub fn histograms(&self) -> &Histograms {
        &self.histograms
    }

    /// Milliseconds since the store was made.
    pub fn now(&self) -> Millis {
        Millis::try_from(self.epoch.elapsed().as_millis())
            .map_or(MAX_MILLIS, |now| now.min(MAX_MILLIS))
    }

    fn terms(&self, session: &Session) -> Terms<'_> {
        Terms {
            created: session.created,
            timeouts: &self.timeouts,
            classes: self.shards.classes(session.id),
        }
    }

    /// Creates a session and enters it, for the exchange of its `initialize`.
    ///
    /// At a limit the longest-idle session makes room, if [`WhenFull`] says so: a principal at its
    /// own limit loses one of its own, never somebody else's.
    ///
    /// # Errors
    ///
    /// [`NoRoom::PrincipalFull`] or [`NoRoom::Full`] at a limit. A principal that is refused has
    /// cost nobody a session.
    pub fn create(self: &Arc<Self>, info: SessionInfo) -> Result<SessionGuard, NoRoom> {
        self.create_at(info, self.now())
    }

    pub(super) fn create_at(
        self: &Arc<Self>,
        mut info: SessionInfo,
        now: Millis,
    ) -> Result<SessionGuard, NoRoom> {
        info.opener = self.counted(info.opener);
        let id = SessionId::random();
        let version = info.version;
        let bucket = info.opener.bucket.clone();
        let mut registry = self.registry.lock();
        let evicted = match self.make_room(&mut registry, &info.opener, now) {
            Ok(evicted) => evicted,
            Err((refused, rejection)) => {
                drop(registry);
                self.note_rejected(rejection);
                return Err(refused);
            }
        };
        let due_before = registry.next_due(&self.timeouts);
        let deadline = self.timeouts.first_fixed(now);
        let session = registry.insert(now, version, bucket.as_ref(), deadline, |place| {
            let activity = Activity::new(now, self.shards.classes(id));
            Session::new(id, info, now, activity, place)
        });
        let due = registry.next_due(&self.timeouts);
        drop(registry);
        // Until here nobody knows the id, and the creator's hold keeps the session from expiring.
        self.shards.insert(&session);
        if due.is_some_and(|due| due_before.is_none_or(|before| due < before)) {
            self.deadline_added.notify_one();
        }
        if let Some(evicted) = evicted {
            self.make_known(&evicted, now);
        }
        Ok(SessionGuard {
            session,
            store: Arc::clone(self),
            what: Use::Work,
        })
    }

    /// An owner whose sessions are counted only if there is a limit.
    fn counted(&self, owner: Owner) -> Owner {
        let is_limited = self.limits.max_sessions_per_principal.is_some();
        Owner {
            bucket: owner.bucket.filter(|_| is_limited),
            ..owner
        }
    }

    /// Makes sure that one more session is within the limits, if need be by closing another.
    fn make_room(
        &self,
        registry: &mut Registry,
        owner: &Owner,
        now: Millis,
    ) -> Result<Option<Ending>, (NoRoom, Rejection)> {
        // The limit of the principal comes first: what ends for it makes room for everybody.
        let evicted = self.make_room_in_bucket(registry, owner, now)?;
        if evicted.is_some() || registry.len() < self.limits.max_sessions {
            return Ok(evicted);
        }
        let evicted = match self.limits.when_full {
            WhenFull::Evict { min_idle } => now
                .checked_sub(millis(min_idle))
                .and_then(|latest| registry.evict(None, now, latest, self.closing())),
            WhenFull::Reject => None,
        };
        match evicted {
            Some(evicted) => Ok(Some(evicted)),
            None => Err((NoRoom::Full, Rejection::MaxSessions)),
        }
    }

    /// Makes sure that one more session of an owner is within its limit, if need be by closing another.
    fn make_room_in_bucket(
        &self,
        registry: &mut Registry,
        owner: &Owner,
        now: Millis,
    ) -> Result<Option<Ending>, (NoRoom, Rejection)> {
        let (Some(bucket), Some(max)) = (&owner.bucket, self.limits.max_sessions_per_principal)
        else {
            return Ok(None);
        };
        if registry.len_of(bucket) < max.get() {
            return Ok(None);
        }
        let evicted = match (self.limits.when_full, bucket) {
            (WhenFull::Evict { .. }, Bucket::Principal(_)) => {
                registry.evict(Some(bucket), now, now, self.closing())
            }
            // Behind one address there may be strangers.
            (WhenFull::Evict { min_idle }, Bucket::Address(_)) => now
                .checked_sub(millis(min_idle))
                .and_then(|latest| registry.evict(Some(bucket), now, latest, self.closing())),
            (WhenFull::Reject, _) => None,
        };
        match evicted {
            Some(evicted) => Ok(Some(evicted)),
            None => Err((NoRoom::PrincipalFull, Rejection::PrincipalLimit)),
        }
    }

    /// Closes a session unless it was used since a time.
    fn closing(&self) -> impl Fn(&Session, Millis) -> bool {
        |session: &Session, last_use| {
            let classes = self.shards.classes(session.id);
            session.activity.close_if_idle_since(last_use, classes)
        }
    }

    /// Enters a session of this principal to serve a message in it. One that was opened without a
    /// credential belongs from then on to the first principal that comes with one.
    ///
    /// # Errors
    ///
    /// [`Refused::NotFound`] for an id that is unknown, has expired, or belongs to somebody else or to
    /// another endpoint,
    /// [`Refused::Crowded`] for a session that is used too often at once,
    /// [`Refused::PrincipalFull`] for one that would be the principal's own, and one too many.
    pub fn enter<'a>(
        self: &Arc<Self>,
        id: SessionId,
        entrant: impl Into<Entrant<'a>>,
    ) -> Result<SessionGuard, Refused> {
        self.enter_at(id, entrant, Use::Work, self.now())
    }

    /// Enters a session of this principal to open an event stream. A stream is no message: it
    /// holds the session, but a session that is only listened to never said anything.
    ///
    /// # Errors
    ///
    /// Those of [`SessionStore::enter`].
    pub fn enter_stream<'a>(
        self: &Arc<Self>,
        id: SessionId,
        entrant: impl Into<Entrant<'a>>,
    ) -> Result<SessionGuard, Refused> {
        self.enter_at(id, entrant, Use::Stream, self.now())
    }

    pub(super) fn enter_at<'a>(
        self: &Arc<Self>,
        id: SessionId,
        entrant: impl Into<Entrant<'a>>,
        what: Use,
        now: Millis,
    ) -> Result<SessionGuard, Refused> {
        let entrant = entrant.into();
        let session = self.find(id, entrant, now)?;
        match session.activity.acquire(what, now, self.terms(&session)) {
            Acquired::Granted { idle } => {
                if let Some(idle) = idle {
                    self.histograms.reuse_gap.observe(seconds(idle));
                }
                let guard = SessionGuard {
                    session,
                    store: Arc::clone(self),
                    what,
                };
                self.claim(&guard.session, entrant.principal, now)?;
                Ok(guard)
            }
            Acquired::Expired(expiry) => {
                self.finish(&session, expiry.into(), now);
                Err(self.not_found(LookupFailure::Expired))
            }
            Acquired::Overdue => Err(self.not_found(LookupFailure::Expired)),
            Acquired::Crowded => Err(Refused::Crowded),
            Acquired::Closed => Err(self.just_ended(id, now)),
        }
    }

    /// The version of a session, if it is one of this principal or nobody has claimed it. This is no use of
    /// it and claims nothing, and it is no look-up that is counted.
    pub fn version<'a>(
        &self,
        id: SessionId,
        entrant: impl Into<Entrant<'a>>,
    ) -> Option<ProtocolVersion> {
        let session = self.shards.get(id)?;
        let is_let_in = entrant.into().is_let_in(&session);
        is_let_in.then_some(session.info.version)
    }

    /// Ends a session for its client, which is of this principal or which nobody has claimed. This is no use
    /// of it, and claims nothing.
    ///
    /// # Errors
    ///
    /// [`Refused::NotFound`], as for a message: also when something else ended it first.
    pub fn delete<'a>(
        &self,
        id: SessionId,
        entrant: impl Into<Entrant<'a>>,
    ) -> Result<(), Refused> {
        let now = self.now();
        let session = self.find(id, entrant.into(), now)?;
        match session.activity.delete(now, self.terms(&session)) {
            Deleted::Done => {
                self.finish(&session, EndReason::ClientDelete, now);
                Ok(())
            }
            Deleted::Expired(expiry) => {
                self.finish(&session, expiry.into(), now);
                Err(self.not_found(LookupFailure::Expired))
            }
            Deleted::Refused => Err(self.just_ended(id, now)),
        }
    }

    fn find(
        &self,
        id: SessionId,
        entrant: Entrant<'_>,
        now: Millis,
    ) -> Result<Arc<Session>, Refused> {
        let Some(session) = self.shards.get(id) else {
            let why = self.tombstones.lock().get(self.hash(id), now);
            return Err(self.not_found(why.unwrap_or(LookupFailure::Unknown)));
        };
        if entrant.is_let_in(&session) {
            Ok(session)
        } else if session.owner().principal == *entrant.principal {
            Err(self.not_found(LookupFailure::Unknown))
        } else {
            Err(self.not_found(LookupFailure::PrincipalMismatch))
        }
    }

    /// The session was still there, but somebody is ending it at this moment. Why may not be known
    /// yet; mostly it has expired.
    fn just_ended(&self, id: SessionId, now: Millis) -> Refused {
        let why = self.tombstones.lock().get(self.hash(id), now);
        self.not_found(why.unwrap_or(LookupFailure::Expired))
    }

    fn not_found(&self, why: LookupFailure) -> Refused {
        self.note_lookup_failed(why);
        Refused::NotFound
    }

    fn hash(&self, id: SessionId) -> u64 {
        self.hasher.hash_one(id)
    }

    /// Counts an `initialize` that was refused before it came here.
    pub fn note_rejected(&self, why: Rejection) {
        self.counters.rejected(why);
    }

    /// Counts a session id that was refused before it came here, such as one that is not a UUID.
    pub fn note_lookup_failed(&self, why: LookupFailure) {
        self.counters.lookup_failed(why);
    }

    /// One more hold on a session that the caller holds.
    pub(super) fn retain(&self, session: &Session) -> bool {
        let classes = self.shards.classes(session.id);
        session.activity.retain(classes)
    }

    /// Gives a hold back.
    pub(super) fn leave(&self, session: &Session, what: Use) {
        let terms = self.terms(session);
        let expiry = session.activity.leave(what, || self.now(), terms);
        if let Some(expiry) = expiry {
            self.finish(session, expiry.into(), self.now());
        }
    }
}
