//! Whose a session is.
//!
//! One that was opened without a credential is for whoever knows its id, until somebody comes with a
//! credential: then it belongs to that principal alone. So a client that gets a token on the way goes
//! on with its session.

use std::net::IpAddr;

use super::Session;
use crate::auth::Principal;

/// Whose a session is, and what it counts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Every request in the session must come from this principal. One that is anonymous is anybody, and
    /// whoever comes with a credential may become the owner.
    pub principal: Principal,
    /// With which other sessions it shares a limit; `None` counts for the limit of all only.
    pub bucket: Option<Bucket>,
}

impl Owner {
    /// A principal that comes from this network.
    pub fn new(principal: Principal, network: Option<IpAddr>) -> Self {
        Self {
            bucket: Bucket::of(&principal, network),
            principal,
        }
    }

    /// Whether a request of a principal is let in, which may make the session that principal's.
    fn lets_in(&self, principal: &Principal) -> bool {
        self.principal == *principal || self.principal == Principal::Anonymous
    }
}

/// What the limit of sessions per principal counts by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// The principal of a verified credential.
    Principal(Principal),
    /// The address of a caller without a credential; `None` if it has none, as on a Unix socket.
    Address(Option<IpAddr>),
}

impl Bucket {
    /// What limits count by for a principal that comes from this network. Users of one shared token
    /// are not limited by each other.
    pub fn of(principal: &Principal, network: Option<IpAddr>) -> Option<Self> {
        match principal {
            Principal::Anonymous => Some(Self::Address(network)),
            Principal::User(_) if principal.is_shared() => None,
            Principal::User(_) => Some(Self::Principal(principal.clone())),
        }
    }
}

/// Who comes with the id of a session, and where. A session is there only for its own.
#[derive(Debug, Clone, Copy)]
pub struct Entrant<'a> {
    /// Whom the credential stands for.
    pub principal: &'a Principal,
    /// The toolset whose endpoint is asked.
    pub toolset: Option<&'a str>,
}

/// At the endpoint of all tools.
impl<'a> From<&'a Principal> for Entrant<'a> {
    fn from(principal: &'a Principal) -> Self {
        Self {
            principal,
            toolset: None,
        }
    }
}

impl Entrant<'_> {
    pub(super) fn is_let_in(self, session: &Session) -> bool {
        session.owner().lets_in(self.principal) && session.info.toolset.as_deref() == self.toolset
    }
}
