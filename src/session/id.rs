//! The ids of sessions.

use std::fmt;

use uuid::Uuid;

use crate::auth::Principal;
use crate::secret::SecretDigest;

/// A session id: 128 random bits, written as a UUID in lower case, the only form that is ever
/// handed out or accepted. No bits are given up for the version of the UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Uuid);

impl SessionId {
    #[expect(
        clippy::expect_used,
        reason = "without random bits there can be no sessions"
    )]
    pub(super) fn random() -> Self {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).expect("the system has random bits");
        Self(Uuid::from_bytes(bits))
    }

    /// Reads an id as it was handed out; `None` for every other text.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == uuid::fmt::Hyphenated::LENGTH)
            .then(|| Uuid::try_parse(text).ok())
            .flatten()
            .map(Self)
            .filter(|id| id.expose() == text)
    }

    /// One of its bytes, which are all random.
    pub(super) fn byte(self) -> u8 {
        let [.., byte] = *self.0.as_bytes();
        byte
    }

    /// What tells it from all others for this principal and is of no use as an id: a SHA-256 digest, in
    /// hexadecimal digits. It is another one for who comes without a credential: what a stranger has kept
    /// under it does not go over to whoever claims the session.
    pub fn digest(self, principal: &Principal) -> String {
        let caller = match principal {
            Principal::Anonymous => " anonymous",
            Principal::User(_) => "",
        };
        SecretDigest::of(format!("{}{caller}", self.expose()).as_bytes()).to_hex()
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
