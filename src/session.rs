//! Sessions of the legacy era: who owns one, what runs in it, and when it ends.
//!
//! A session is *idle* when no request is being served, no call runs and no stream is open. All of
//! these hold a [`SessionGuard`]; the countdown to the idle timeout starts when the last guard
//! goes. Whether a session lives is decided by one atomic word, in `activity`. Everything that
//! ends a session goes through [`SessionStore`], which records the reason once.
//!
//! **Invariant:** identity is never read back from a session. A session knows its owner only to
//! refuse everybody else.

pub mod list;
pub mod reaper;
pub mod statistics;
pub mod store;

mod activity;
mod asked;
mod id;
mod owner;
mod registry;
mod shards;
mod tombstones;

/// The atomics of [`activity`], which the model checker replaces.
mod atomic {
    pub(super) use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
}

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::auth::Principal;
use crate::changes::{Listener, Mark};
use crate::protocol::capabilities::ClientCapabilities;
use crate::protocol::jsonrpc::RequestKey;
use crate::protocol::logging::Level;
use crate::protocol::mcp::Method;
use crate::protocol::version::ProtocolVersion;
use crate::stream::{History, Outbox};
use activity::{Activity, Class, Expiry, Use};
use asked::Asked;
use registry::Place;
use statistics::LookupFailure;

pub use activity::Millis;
pub use asked::Outcome;
pub use id::SessionId;
pub use owner::{Bucket, Entrant, Owner};
pub use store::{NoRoom, Refused, SessionStore};

/// What is known of a session from its `initialize`.
#[derive(Debug, Clone)]
pub struct SessionInfo {
    /// Who opened it. Whose it is by now, [`Session::owner`] says.
    pub opener: Owner,
    /// The toolset whose endpoint it was opened at; `None` for that of all tools. Every request in
    /// it must come there.
    pub toolset: Option<Arc<str>>,
    /// The negotiated version.
    pub version: ProtocolVersion,
    /// The client's own name and version, for logs only; at most 64 characters.
    pub client: Box<str>,
    /// What the client can be asked.
    pub capabilities: ClientCapabilities,
    /// What changes from then on it is told, as soon as it listens.
    pub since: Mark,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The client sent DELETE.
    ClientDelete,
    /// Nobody used it for the idle timeout.
    Idle,
    /// It called nothing within the unused timeout.
    Unused,
    /// The server was full, and nobody had used any other session for longer.
    EvictedLru,
    /// Its principal was at its limit, and had not used any other of its sessions for longer.
    EvictedPrincipal,
    /// It sent nothing after `initialize` within the init timeout.
    InitTimeout,
    /// The answer to its `initialize` could not be sent.
    InitFailed,
    /// It reached the age that no session may outlive.
    MaxAge,
    /// Its principal has no credential left.
    Revoked,
    /// It was lost to a fault of the server.
    Crash,
    /// The server stopped.
    Shutdown,
}

impl EndReason {
    /// Every reason, in the order in which they are reported.
    pub const ALL: [Self; 11] = [
        Self::ClientDelete,
        Self::Idle,
        Self::Unused,
        Self::EvictedLru,
        Self::EvictedPrincipal,
        Self::InitTimeout,
        Self::InitFailed,
        Self::MaxAge,
        Self::Revoked,
        Self::Crash,
        Self::Shutdown,
    ];

    /// The name in logs and statistics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientDelete => "client_delete",
            Self::Idle => "idle",
            Self::Unused => "unused",
            Self::EvictedLru => "evicted_lru",
            Self::EvictedPrincipal => "evicted_principal",
            Self::InitTimeout => "init_timeout",
            Self::InitFailed => "init_failed",
            Self::MaxAge => "max_age",
            Self::Revoked => "revoked",
            Self::Crash => "crash",
            Self::Shutdown => "shutdown",
        }
    }

    /// How a later look-up of the session is counted. After a crash or a stop it is unknown, as it
    /// is to a server that was started again.
    fn lookup_failure(self) -> LookupFailure {
        match self {
            Self::Idle | Self::Unused | Self::InitTimeout | Self::MaxAge => LookupFailure::Expired,
            Self::ClientDelete | Self::InitFailed | Self::Revoked => LookupFailure::Deleted,
            Self::EvictedLru | Self::EvictedPrincipal => LookupFailure::Evicted,
            Self::Crash | Self::Shutdown => LookupFailure::Unknown,
        }
    }
}

impl From<Expiry> for EndReason {
    fn from(expiry: Expiry) -> Self {
        match expiry {
            Expiry::Idle => Self::Idle,
            Expiry::Unused => Self::Unused,
            Expiry::Init => Self::InitTimeout,
            Expiry::MaxAge => Self::MaxAge,
        }
    }
}

/// One session. Reached only through a [`SessionGuard`].
///
/// There may be a hundred thousand of them: what most sessions do not need most of the time is
/// allocated when it is needed.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    info: SessionInfo,
    /// Who came with a credential first, if it was opened without one.
    claimant: OnceLock<Box<Owner>>,
    created: Millis,
    activity: Activity,
    place: Place,
    requests: AtomicU64,
    /// 0, or one more than the number of a [`Method`].
    last_method: AtomicU8,
    /// The number of a [`Level`].
    log_level: AtomicU8,
    running: Mutex<Running>,
    history: OnceLock<Arc<History>>,
    listening: OnceLock<Arc<Outbox>>,
    changes: OnceLock<Arc<Listener>>,
}

/// What runs in a session, and how it is told of the end.
#[derive(Debug, Default)]
struct Running {
    /// Set when the session has ended.
    is_over: bool,
    /// Set when the client can answer nothing any more.
    is_deaf: bool,
    ended: Option<CancellationToken>,
    claimed: Option<CancellationToken>,
    calls: Vec<RunningCall>,
    /// What the client was asked; `None` if that was nothing.
    asked: Option<Box<Asked>>,
}

#[derive(Debug)]
struct RunningCall {
    number: u64,
    key: RequestKey,
    cancel: CancellationToken,
}

impl Session {
    fn new(
        id: SessionId,
        info: SessionInfo,
        created: Millis,
        activity: Activity,
        place: Place,
    ) -> Self {
        Self {
            id,
            info,
            claimant: OnceLock::new(),
            created,
            activity,
            place,
            requests: AtomicU64::new(0),
            last_method: AtomicU8::new(0),
            log_level: AtomicU8::new(Level::DEFAULT as u8),
            running: Mutex::default(),
            history: OnceLock::new(),
            listening: OnceLock::new(),
            changes: OnceLock::new(),
        }
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// What its `initialize` said.
    pub fn info(&self) -> &SessionInfo {
        &self.info
    }

    /// Whose it is: who opened it, or who claimed it since.
    pub fn owner(&self) -> &Owner {
        self.claimant.get().map_or(&self.info.opener, Box::as_ref)
    }

    /// A token that is cancelled when the first principal with a credential claims the session; at once
    /// if one has.
    pub fn claimed(&self) -> CancellationToken {
        let mut running = self.running.lock();
        let token = running.claimed.get_or_insert_default().clone();
        if self.claimant.get().is_some() {
            token.cancel();
        }
        token
    }

    /// A token that is cancelled when the session ends, for whatever reason; at once if it has.
    pub fn ended(&self) -> CancellationToken {
        let mut running = self.running.lock();
        let token = running.ended.get_or_insert_default().clone();
        if running.is_over {
            token.cancel();
        }
        token
    }

    /// Counts a request, and remembers its method.
    pub fn note_request(&self, method: Method) {
        self.last_method.store(method as u8 + 1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that something was called: the session is not unused any more.
    pub fn note_call(&self) {
        self.activity.note_call();
    }

    /// The requests that were noted.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The method of the last request that was noted.
    pub fn last_method(&self) -> Option<Method> {
        let number = usize::from(self.last_method.load(Ordering::Relaxed));
        number
            .checked_sub(1)
            .and_then(|index| Method::ALL.get(index))
            .copied()
    }

    /// From which level on its client wants to hear log messages.
    pub fn log_level(&self) -> Level {
        Level::from_number(self.log_level.load(Ordering::Relaxed)).unwrap_or(Level::DEFAULT)
    }

    /// From now on its client wants to hear log messages of this level and above.
    pub fn set_log_level(&self, level: Level) {
        self.log_level.store(level as u8, Ordering::Relaxed);
    }

    /// Since when nobody has used it, in milliseconds before `now`; 0 while somebody does.
    fn idle(&self, now: Millis) -> Millis {
        let view = self.activity.view();
        if view.is_held() {
            0
        } else {
            now.saturating_sub(view.last_use)
        }
    }

    /// Notes a running call under the client's id, so that `notifications/cancelled` finds it.
    /// `number` is the server's own and unique; the client's id need not be. Returns true if it is
    /// not: another running call has the same id.
    pub fn register_call(&self, number: u64, key: RequestKey, cancel: CancellationToken) -> bool {
        let calls = &mut self.running.lock().calls;
        let is_duplicate = calls.iter().any(|call| call.key == key);
        calls.push(RunningCall {
            number,
            key,
            cancel,
        });
        is_duplicate
    }

    /// Forgets a call that is over.
    pub fn forget_call(&self, number: u64) {
        let calls = &mut self.running.lock().calls;
        calls.retain(|call| call.number != number);
        if calls.is_empty() {
            *calls = Vec::new();
        }
    }

    /// Notes a request to the client: its id, and where its answer arrives. Whoever waits for it is
    /// told at once if no answer can come any more.
    pub fn open_request(&self) -> (u64, oneshot::Receiver<Outcome>) {
        let running = &mut *self.running.lock();
        let asked = running.asked.get_or_insert_default();
        let opened = asked.open();
        if running.is_deaf {
            asked.take(opened.0);
        }
        opened
    }

    /// No answer can come any more: whoever waits for one is told.
    pub fn hang_up(&self) {
        let mut running = self.running.lock();
        running.is_deaf = true;
        // Not the numbers: an id is never used again.
        if let Some(asked) = &mut running.asked {
            asked.clear();
        }
    }

    /// Forgets a request to the client; false if it was answered.
    pub fn close_request(&self, id: u64) -> bool {
        let asked = &mut self.running.lock().asked;
        asked.as_mut().is_some_and(|asked| asked.take(id).is_some())
    }

    /// Hands over the answer to a request; false if there is no such request, any more or in this
    /// session.
    pub fn answer_request(&self, key: &RequestKey, outcome: Outcome) -> bool {
        let RequestKey::Number(number) = *key else {
            return false;
        };
        let id = u64::try_from(number).ok();
        let open = id.and_then(|id| self.running.lock().asked.as_mut()?.take(id));
        // Whoever asked may have left in this moment.
        open.is_some_and(|open| open.send(outcome).is_ok())
    }

    /// What the session sent lately; made when it is asked for first.
    pub fn history(&self, create: impl FnOnce() -> Arc<History>) -> Arc<History> {
        Arc::clone(self.history.get_or_init(create))
    }

    /// Where messages wait that belong to no request; made when it is asked for first. Its newest
    /// reader is the session's one event stream.
    pub fn listening(&self, create: impl FnOnce() -> Arc<Outbox>) -> Arc<Outbox> {
        Arc::clone(self.listening.get_or_init(create))
    }

    /// What its client hears of; made when it is asked for first. It holds what the client has not
    /// been told, and the resources that it is subscribed to.
    pub fn changes(&self, create: impl FnOnce() -> Listener) -> Arc<Listener> {
        Arc::clone(self.changes.get_or_init(|| Arc::new(create())))
    }

    /// Cancels every running call with this id, and returns how many there were. A client may
    /// reuse an id; nobody can tell which call it means then.
    pub fn cancel_calls(&self, key: &RequestKey) -> usize {
        let running = self.running.lock();
        let matching = running.calls.iter().filter(|call| call.key == *key);
        matching.map(|call| call.cancel.cancel()).count()
    }

    /// Does something for a principal while the session is its own; `None` if it is somebody else's by
    /// now. Nobody can claim it meanwhile: nothing here may ask the session what runs in it.
    pub fn while_of<T>(&self, principal: &Principal, act: impl FnOnce() -> T) -> Option<T> {
        let _running = self.running.lock();
        (self.owner().principal == *principal).then(act)
    }

    /// From now on it is this owner's, if it was opened without a credential. Those who listen without one
    /// are told before anybody can find it changed.
    fn hand_over(&self, owner: Owner) {
        let mut running = self.running.lock();
        if let Some(claimed) = running.claimed.take() {
            claimed.cancel();
        }
        self.claimant.get_or_init(|| Box::new(owner));
    }

    /// Tells everything that runs in the session of its end.
    fn tell_end(&self) {
        let mut running = self.running.lock();
        running.is_over = true;
        let token = running.ended.take();
        drop(running);
        if let Some(token) = token {
            token.cancel();
        }
    }
}

/// Use of a session: as long as one is held, the session is not idle.
#[derive(Debug)]
pub struct SessionGuard {
    session: Arc<Session>,
    store: Arc<SessionStore>,
    what: Use,
}

impl SessionGuard {
    /// The session in use.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Ends the session. Returns false when something else ended it first.
    pub fn end(&self, reason: EndReason) -> bool {
        self.store.end(&self.session, reason)
    }

    /// Ends a session whose client never got its id. One that was used since must be known to
    /// somebody.
    pub fn end_undelivered(&self) {
        if self.session.activity.view().class == Some(Class::Initializing) {
            self.end(EndReason::InitFailed);
        }
    }

    /// A second guard for work that outlives this one; `None` when the session has ended, or is
    /// used as often at once as it can be.
    pub fn another(&self) -> Option<Self> {
        self.store.retain(&self.session).then(|| Self {
            session: Arc::clone(&self.session),
            store: Arc::clone(&self.store),
            what: Use::Work,
        })
    }
}

/// Gives the use back. This ends the session if one of its deadlines passed meanwhile.
impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.store.leave(&self.session, self.what);
    }
}

#[cfg(test)]
mod tests;
