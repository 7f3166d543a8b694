//! Sessions of the legacy era: who owns one, what runs in it, and when it ends.
//!
//! A session is *idle* when no request is being served, no call runs and no stream is open. All of
//! these hold a [`SessionGuard`]; the countdown to the idle timeout starts when the last guard
//! goes. Everything that ends a session goes through [`SessionStore`], which records the reason
//! once.
//!
//! **Invariant:** identity is never read back from a session. A session knows its owner only to
//! refuse everybody else.

pub mod activity;
pub mod reaper;
pub mod store;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::Principal;
use crate::protocol::jsonrpc::RequestKey;
use crate::protocol::version::ProtocolVersion;
use activity::{Activity, Millis};

pub use store::{Ended, Refused, SessionStore};

/// A session id: 122 random bits as a UUID, the only form that is ever handed out or accepted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Uuid);

impl SessionId {
    fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads an id as it was handed out; `None` for every other text.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == uuid::fmt::Hyphenated::LENGTH)
            .then(|| Uuid::try_parse(text).ok())
            .flatten()
            .map(Self)
    }

    /// The text for the `Mcp-Session-Id` header. Not for logs: the id is a credential.
    pub fn expose(self) -> String {
        self.0.to_string()
    }
}

/// The first eight digits: enough to follow a session through a log, too few to use it.
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0.as_fields().0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is known of a session from its `initialize`.
#[derive(Debug, Clone)]
pub struct SessionInfo {
    /// Who opened it; every request in it must come from the same principal.
    pub owner: Principal,
    /// The negotiated version.
    pub version: ProtocolVersion,
    /// The client's own name and version, for logs only.
    pub client: String,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The client sent DELETE.
    ClientDelete,
    /// Nobody used it for the idle timeout.
    Idle,
    /// The server stopped.
    Shutdown,
}

impl EndReason {
    /// Every reason, in the order in which they are reported.
    pub const ALL: [Self; 3] = [Self::ClientDelete, Self::Idle, Self::Shutdown];

    /// The name in logs and statistics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientDelete => "client_delete",
            Self::Idle => "idle",
            Self::Shutdown => "shutdown",
        }
    }
}

/// One session. Reached only through a [`SessionGuard`].
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    info: SessionInfo,
    created: Millis,
    activity: Activity,
    ended: CancellationToken,
    calls: Mutex<Vec<RunningCall>>,
    stream: Mutex<Option<CancellationToken>>,
}

#[derive(Debug)]
struct RunningCall {
    number: u64,
    key: RequestKey,
    cancel: CancellationToken,
}

impl Session {
    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// What its `initialize` said.
    pub fn info(&self) -> &SessionInfo {
        &self.info
    }

    /// Cancelled when the session ends, for whatever reason.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Notes a running call under the client's id, so that `notifications/cancelled` finds it.
    /// `number` is the server's own and unique; the client's id need not be.
    pub fn register_call(&self, number: u64, key: RequestKey, cancel: CancellationToken) {
        self.calls.lock().push(RunningCall {
            number,
            key,
            cancel,
        });
    }

    /// Forgets a call that is over.
    pub fn forget_call(&self, number: u64) {
        self.calls.lock().retain(|call| call.number != number);
    }

    /// Cancels every running call with this id, and returns how many there were. A client may
    /// reuse an id; nobody can tell which call it means then.
    pub fn cancel_calls(&self, key: &RequestKey) -> usize {
        let calls = self.calls.lock();
        let matching = calls.iter().filter(|call| call.key == *key);
        matching.map(|call| call.cancel.cancel()).count()
    }

    /// Makes the caller's stream the session's one event stream. The newest wins: the stream
    /// before it is told to end. Returns the token that tells the new one.
    pub fn replace_stream(&self) -> CancellationToken {
        let token = self.ended.child_token();
        if let Some(previous) = self.stream.lock().replace(token.clone()) {
            previous.cancel();
        }
        token
    }
}

/// Use of a session: as long as one is held, the session is not idle.
#[derive(Debug)]
pub struct SessionGuard {
    session: Arc<Session>,
    store: Arc<SessionStore>,
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

    /// A second guard for work that outlives this one; `None` when the session has ended.
    pub fn another(&self) -> Option<Self> {
        self.session.activity.retain().then(|| Self {
            session: Arc::clone(&self.session),
            store: Arc::clone(&self.store),
        })
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.session.activity.release(self.store.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_handed_out_form_of_an_id_is_accepted() {
        let id = SessionId::random();
        assert_eq!(SessionId::parse(&id.expose()), Some(id));
        let upper = id.expose().to_uppercase();
        let simple = id.expose().replace('-', "");
        let braced = format!("{{{}}}", id.expose());
        for text in ["", "x", "0", simple.as_str(), braced.as_str()] {
            assert_eq!(SessionId::parse(text), None, "{text}");
        }
        assert_eq!(
            SessionId::parse(&upper),
            Some(id),
            "hex digits compare without case"
        );
        assert!(
            id.expose()
                .bytes()
                .all(|byte| (0x21..=0x7e).contains(&byte))
        );
    }

    #[test]
    fn an_id_is_never_shown_whole() {
        let id = SessionId::random();
        assert_eq!(id.to_string().len(), 8);
        assert!(!format!("{id:?}").contains(&id.expose()));
    }
}
