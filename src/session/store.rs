//! Every session of this process: create, enter, end, sweep.
//!
//! A request costs one probe of a sharded map and one compare-and-swap. A sweep costs what
//! expires, not what lives: deadlines are kept in order, and an entry whose session was used since
//! is queued again, not trusted.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Due, Entered, Millis};
use super::{EndReason, Session, SessionGuard, SessionId, SessionInfo};
use crate::auth::Principal;

/// Number of independent locks over the id map; a power of two.
const SHARDS: usize = 32;

/// The most sessions that one sweep ends, so that a mass expiry delays no request by much.
const MAX_SWEEP: usize = 1000;

/// What bounds the sessions.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a session may be idle; `None` keeps idle sessions until the server stops.
    pub idle_timeout: Option<Duration>,
    /// The most sessions at once.
    pub max_sessions: usize,
}

/// Why there is no session for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The id is unknown, expired, ended, or belongs to another principal. Nobody outside can
    /// tell which.
    NotFound,
    /// The server holds as many sessions as it may.
    Full,
}

/// A session that ended, for the log.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The session.
    pub id: SessionId,
    /// Why it ended.
    pub reason: EndReason,
    /// From its creation to its end.
    pub age: Duration,
}

/// What a sweep did.
#[derive(Debug)]
pub struct Swept {
    /// How many sessions it ended.
    pub ended: usize,
    /// When the next session can expire at the earliest; `None` if there is none.
    pub next: Option<Instant>,
}

/// Counts since the start of the process.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Statistics {
    /// Sessions that live now.
    pub active_sessions: usize,
    /// The most sessions that may live at once.
    pub max_active_sessions: usize,
    /// Sessions that a request, call or stream holds now.
    pub busy_sessions: usize,
    /// Sessions created since the start.
    pub total_sessions_created: u64,
    /// Sessions ended since the start, by reason.
    pub sessions_ended: serde_json::Map<String, serde_json::Value>,
    /// `initialize` requests that were refused because the server was full.
    pub sessions_rejected: u64,
    /// The idle timeout in seconds; none when sessions do not expire.
    pub session_idle_timeout: Option<f64>,
    /// Sweeps of the reaper.
    pub reaper_runs: u64,
    /// Sessions that the reaper ended, as opposed to a request that found them expired.
    pub sessions_reaped: u64,
}

/// All sessions of the process.
#[derive(Debug)]
pub struct SessionStore {
    limits: Limits,
    epoch: Instant,
    hasher: RandomState,
    shards: [Mutex<HashMap<SessionId, Arc<Session>>>; SHARDS],
    deadlines: Mutex<Deadlines>,
    deadline_added: Notify,
    live: AtomicUsize,
    created: AtomicU64,
    ended: [AtomicU64; EndReason::ALL.len()],
    rejected: AtomicU64,
    sweeps: AtomicU64,
    reaped: AtomicU64,
}

/// When to look at which session. Holds each live session once, so its size is bounded by the
/// number of sessions, however fast they come and go.
#[derive(Debug, Default)]
struct Deadlines {
    queue: BTreeSet<(Millis, SessionId)>,
    by_session: HashMap<SessionId, Millis>,
}

impl Deadlines {
    /// Returns true if this is now the first deadline.
    fn insert(&mut self, at: Millis, id: SessionId) -> bool {
        self.remove(id);
        self.by_session.insert(id, at);
        self.queue.insert((at, id));
        self.first().is_some_and(|first| first == at)
    }

    fn remove(&mut self, id: SessionId) {
        if let Some(at) = self.by_session.remove(&id) {
            self.queue.remove(&(at, id));
        }
    }

    fn first(&self) -> Option<Millis> {
        self.queue.first().map(|(at, _)| *at)
    }

    fn take_due(&mut self, now: Millis) -> Vec<SessionId> {
        let mut due = Vec::new();
        while let Some(&(at, id)) = self.queue.first() {
            if at > now || due.len() == MAX_SWEEP {
                break;
            }
            self.queue.remove(&(at, id));
            self.by_session.remove(&id);
            due.push(id);
        }
        due
    }
}

impl SessionStore {
    /// An empty store whose clock starts now.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            epoch: Instant::now(),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
            deadlines: Mutex::default(),
            deadline_added: Notify::new(),
            live: AtomicUsize::new(0),
            created: AtomicU64::new(0),
            ended: std::array::from_fn(|_| AtomicU64::new(0)),
            rejected: AtomicU64::new(0),
            sweeps: AtomicU64::new(0),
            reaped: AtomicU64::new(0),
        })
    }

    /// Milliseconds since the store was made.
    pub fn now(&self) -> Millis {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }

    fn idle_timeout(&self) -> Option<Millis> {
        self.limits
            .idle_timeout
            .map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(Millis::MAX))
    }

    fn shard(&self, id: SessionId) -> &Mutex<HashMap<SessionId, Arc<Session>>> {
        let index = usize::try_from(self.hasher.hash_one(id) % SHARDS as u64).unwrap_or(0);
        #[expect(
            clippy::indexing_slicing,
            reason = "the index is reduced modulo the length"
        )]
        &self.shards[index]
    }

    /// Creates a session and enters it.
    ///
    /// # Errors
    ///
    /// [`Refused::Full`] at the limit.
    pub fn create(self: &Arc<Self>, info: SessionInfo) -> Result<SessionGuard, Refused> {
        let reserved = self
            .live
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |live| {
                (live < self.limits.max_sessions).then_some(live + 1)
            });
        if reserved.is_err() {
            self.rejected.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::Full);
        }
        let now = self.now();
        let session = Arc::new(Session {
            id: SessionId::random(),
            info,
            created: now,
            activity: Activity::new(now),
            ended: CancellationToken::new(),
            calls: Mutex::default(),
            stream: Mutex::default(),
        });
        let id = session.id;
        self.shard(id).lock().insert(id, Arc::clone(&session));
        self.created.fetch_add(1, Ordering::Relaxed);
        if let Some(timeout) = self.idle_timeout()
            && self.queue(now.saturating_add(timeout), id)
        {
            self.deadline_added.notify_one();
        }
        Ok(SessionGuard {
            session,
            store: Arc::clone(self),
        })
    }

    /// Enters a session of this principal.
    ///
    /// # Errors
    ///
    /// [`Refused::NotFound`] for an id that is unknown, has expired or belongs to somebody else.
    pub fn enter(
        self: &Arc<Self>,
        id: SessionId,
        principal: &Principal,
    ) -> Result<SessionGuard, Refused> {
        let session = self
            .shard(id)
            .lock()
            .get(&id)
            .map(Arc::clone)
            .filter(|session| session.info.owner == *principal)
            .ok_or(Refused::NotFound)?;
        match session.activity.acquire(self.now(), self.idle_timeout()) {
            Entered::Granted => Ok(SessionGuard {
                session,
                store: Arc::clone(self),
            }),
            Entered::Expired => {
                self.finish(&session, EndReason::Idle);
                Err(Refused::NotFound)
            }
            Entered::Refused => Err(Refused::NotFound),
        }
    }

    /// Ends a session, unless something else did. Running calls and streams are told.
    pub(super) fn end(&self, session: &Session, reason: EndReason) -> bool {
        let won = session.activity.close();
        if won {
            self.finish(session, reason);
        }
        won
    }

    /// Does what follows a close. Only the caller that closed the session may call this.
    fn finish(&self, session: &Session, reason: EndReason) {
        self.shard(session.id).lock().remove(&session.id);
        self.deadlines.lock().remove(session.id);
        self.live.fetch_sub(1, Ordering::AcqRel);
        if let Some(ended) = self.ended.get(reason as usize) {
            ended.fetch_add(1, Ordering::Relaxed);
        }
        session.ended.cancel();
        let age = self.now().saturating_sub(session.created);
        tracing::info!(
            session = %session.id,
            reason = reason.as_str(),
            age_seconds = Duration::from_millis(age).as_secs_f64(),
            client = session.info.client,
            "session ended"
        );
    }

    /// Ends what is due `now`, at most a thousand sessions, and says when to look again.
    pub fn sweep(&self, now: Millis) -> Swept {
        self.sweeps.fetch_add(1, Ordering::Relaxed);
        let mut ended = 0;
        if let Some(timeout) = self.idle_timeout() {
            let due = self.deadlines.lock().take_due(now);
            for id in due {
                let Some(session) = self.shard(id).lock().get(&id).map(Arc::clone) else {
                    continue;
                };
                match session.activity.sweep(now, timeout) {
                    Due::Expired(_) => {
                        self.finish(&session, EndReason::Idle);
                        ended += 1;
                    }
                    Due::At(at) => {
                        self.queue(at, id);
                    }
                    Due::Closed => {}
                }
            }
        }
        self.reaped.fetch_add(ended, Ordering::Relaxed);
        let next = self.deadlines.lock().first();
        Swept {
            ended: usize::try_from(ended).unwrap_or(usize::MAX),
            next: next.and_then(|at| self.epoch.checked_add(Duration::from_millis(at))),
        }
    }

    /// Returns true if this is now the first deadline.
    fn queue(&self, at: Millis, id: SessionId) -> bool {
        let is_first = self.deadlines.lock().insert(at, id);
        // A session that ended meanwhile must not leave its deadline behind.
        if !self.shard(id).lock().contains_key(&id) {
            self.deadlines.lock().remove(id);
        }
        is_first
    }

    /// Completes when a deadline came in before all others.
    ///
    /// # Cancel safety
    ///
    /// A notification that nobody waited for is kept for the next call.
    pub async fn earlier_deadline(&self) {
        self.deadline_added.notified().await;
    }

    /// Ends every session, for shutdown.
    pub fn end_all(&self, reason: EndReason) {
        for shard in &self.shards {
            let sessions: Vec<_> = shard.lock().values().map(Arc::clone).collect();
            for session in sessions {
                self.end(&session, reason);
            }
        }
    }

    /// Counts for the log.
    pub fn statistics(&self) -> Statistics {
        let busy = |shard: &Mutex<HashMap<SessionId, Arc<Session>>>| {
            let sessions = shard.lock();
            sessions.values().filter(|s| s.activity.is_busy()).count()
        };
        let ended = EndReason::ALL
            .iter()
            .zip(&self.ended)
            .map(|(reason, count)| {
                (
                    reason.as_str().to_owned(),
                    count.load(Ordering::Relaxed).into(),
                )
            });
        Statistics {
            active_sessions: self.live.load(Ordering::Acquire),
            max_active_sessions: self.limits.max_sessions,
            busy_sessions: self.shards.iter().map(busy).sum(),
            total_sessions_created: self.created.load(Ordering::Relaxed),
            sessions_ended: ended.collect(),
            sessions_rejected: self.rejected.load(Ordering::Relaxed),
            session_idle_timeout: self
                .limits
                .idle_timeout
                .map(|timeout| timeout.as_secs_f64()),
            reaper_runs: self.sweeps.load(Ordering::Relaxed),
            sessions_reaped: self.reaped.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Issuer;
    use crate::protocol::version::ProtocolVersion;

    fn store(idle_timeout: Option<u64>, max_sessions: usize) -> Arc<SessionStore> {
        SessionStore::new(Limits {
            idle_timeout: idle_timeout.map(Duration::from_secs),
            max_sessions,
        })
    }

    fn info(subject: &str) -> SessionInfo {
        SessionInfo {
            owner: Principal::user(Issuer::AuthFile, subject, None),
            version: ProtocolVersion::V2025_11_25,
            client: "test/1".to_owned(),
        }
    }

    fn ended(store: &SessionStore, reason: EndReason) -> u64 {
        store.statistics().sessions_ended[reason.as_str()]
            .as_u64()
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_session_ends_at_its_timeout() {
        let store = store(Some(10), 5);
        let guard = store.create(info("a")).unwrap();
        let id = guard.session().id();
        drop(guard);
        assert_eq!(store.sweep(9_999).ended, 0);
        assert_eq!(store.sweep(10_000).ended, 1);
        assert_eq!(
            store.enter(id, &info("a").owner).unwrap_err(),
            Refused::NotFound
        );
        assert_eq!(ended(&store, EndReason::Idle), 1);
        assert_eq!(store.statistics().active_sessions, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn use_puts_the_end_off_and_the_sweep_says_when() {
        let store = store(Some(10), 5);
        let guard = store.create(info("a")).unwrap();
        let id = guard.session().id();
        let start = Instant::now();
        drop(guard);
        tokio::time::advance(Duration::from_secs(6)).await;
        drop(store.enter(id, &info("a").owner).unwrap());
        let swept = store.sweep(10_000);
        assert_eq!(swept.ended, 0);
        assert_eq!(swept.next, Some(start + Duration::from_secs(16)));
        assert_eq!(store.sweep(16_000).ended, 1);
        assert_eq!(store.sweep(16_000).next, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_session_outlives_every_sweep() {
        let store = store(Some(10), 5);
        let guard = store.create(info("a")).unwrap();
        assert_eq!(store.sweep(10_000_000).ended, 0);
        let call = guard.another().unwrap();
        drop(guard);
        assert_eq!(store.sweep(20_000_000).ended, 0);
        drop(call);
        assert_eq!(store.sweep(30_000_000).ended, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_sweep_lengthens_no_life() {
        let store = store(Some(10), 5);
        let guard = store.create(info("a")).unwrap();
        let id = guard.session().id();
        drop(guard);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(
            store.enter(id, &info("a").owner).unwrap_err(),
            Refused::NotFound
        );
        assert_eq!(ended(&store, EndReason::Idle), 1);
        assert_eq!(store.sweep(10_000).next, None, "no deadline is left behind");
    }

    #[tokio::test]
    async fn another_principal_finds_nothing() {
        let store = store(None, 5);
        let guard = store.create(info("a")).unwrap();
        let id = guard.session().id();
        assert_eq!(
            store.enter(id, &info("b").owner).unwrap_err(),
            Refused::NotFound
        );
        assert_eq!(
            store.enter(id, &Principal::Anonymous).unwrap_err(),
            Refused::NotFound
        );
        assert!(store.enter(id, &info("a").owner).is_ok());
    }

    #[tokio::test]
    async fn the_limit_holds_and_gives_back() {
        let store = store(None, 2);
        let first = store.create(info("a")).unwrap();
        let _second = store.create(info("a")).unwrap();
        assert_eq!(store.create(info("a")).unwrap_err(), Refused::Full);
        assert_eq!(store.statistics().sessions_rejected, 1);
        assert!(first.end(EndReason::ClientDelete));
        assert!(store.create(info("a")).is_ok());
    }

    #[tokio::test]
    async fn an_end_happens_once_and_tells_calls_and_streams() {
        let store = store(Some(10), 5);
        let guard = store.create(info("a")).unwrap();
        let first = guard.session().replace_stream();
        let second = guard.session().replace_stream();
        assert!(first.is_cancelled(), "the newest stream wins");
        assert!(!second.is_cancelled());
        assert!(guard.end(EndReason::ClientDelete));
        assert!(!guard.end(EndReason::Shutdown));
        assert!(guard.session().ended().is_cancelled());
        assert!(second.is_cancelled());
        assert!(guard.another().is_none());
        store.end_all(EndReason::Shutdown);
        assert_eq!(ended(&store, EndReason::ClientDelete), 1);
        assert_eq!(ended(&store, EndReason::Shutdown), 0);
    }

    #[tokio::test]
    async fn created_less_ended_is_what_lives() {
        let store = store(Some(10), 100);
        let guards: Vec<_> = (0..50).map(|_| store.create(info("a")).unwrap()).collect();
        for guard in guards.iter().take(20) {
            guard.end(EndReason::ClientDelete);
        }
        let statistics = store.statistics();
        assert_eq!(statistics.active_sessions, 30);
        assert_eq!(statistics.busy_sessions, 30);
        drop(guards);
        assert_eq!(store.statistics().busy_sessions, 0);
        store.end_all(EndReason::Shutdown);
        assert_eq!(ended(&store, EndReason::Shutdown), 30);
        assert_eq!(store.statistics().active_sessions, 0);
        assert_eq!(store.deadlines.lock().queue.len(), 0);
    }

    #[test]
    fn endings_race_and_one_wins() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let _context = runtime.enter();
        let store = store(Some(10), 5);
        for round in 1..=200 {
            let guard = store.create(info("a")).unwrap();
            let winners: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|_| scope.spawn(|| usize::from(guard.end(EndReason::ClientDelete))))
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .sum()
            });
            assert_eq!(winners, 1);
            assert_eq!(ended(&store, EndReason::ClientDelete), round);
        }
    }
}
