//! Who is calling.
//!
//! The credential of a request is checked once, at the edge. What comes out is a [`Caller`], which
//! travels with the message; the token itself goes no further. An empty set of tokens lets nobody
//! in.

mod audience;
mod authenticator;
mod bearer;
mod claims;
mod current;
mod fetch;
mod file;
mod guessable;
mod introspection;
mod issuer;
mod jwt;
mod keys;
mod names;
mod permission;
mod principal;
mod recent;
mod revocation;
mod settings;
mod tokens;

use std::time::SystemTime;

use serde_json::{Map, Value};

pub use audience::Reach;
pub use authenticator::{Authenticator, Known, MIN_TOKEN_CHARS, Presented, WayIn};
pub use bearer::Credential;
pub use current::Current;
pub use fetch::key_fetches;
pub use file::Surroundings;
pub(crate) use names::check_scope;
pub use permission::Permission;
pub use principal::{Identity, Issuer, Principal};
pub use revocation::Revocation;

/// The caller of one request: who it is, and what this request's credential says besides. Two
/// credentials of one principal need not say the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who it is.
    pub principal: Principal,
    /// What the credential was issued for, in the order of its issuer.
    pub scopes: Vec<String>,
    /// What the principal is to the operator.
    pub roles: Vec<String>,
    /// What of the server the credential is good for.
    pub reach: Reach,
    /// When the credential ends; `None` if it does not.
    pub expires: Option<SystemTime>,
    /// What the credential says of its owner, by the names of RFC 7519 and RFC 9068.
    pub claims: Map<String, Value>,
    /// Whether the credential is taken back before it ends.
    pub revocation: Revocation,
}

impl Caller {
    /// A caller without scopes and roles, whose credential does not expire.
    pub fn new(principal: Principal) -> Self {
        Self {
            claims: claims(&principal, &[]),
            principal,
            scopes: Vec::new(),
            roles: Vec::new(),
            reach: Reach::default(),
            expires: None,
            revocation: Revocation::default(),
        }
    }

    /// The same caller with these scopes.
    #[must_use]
    pub fn with_scopes(self, scopes: Vec<String>) -> Self {
        Self {
            claims: claims(&self.principal, &scopes),
            scopes,
            ..self
        }
    }

    /// Whether it was let in without a credential where others need one. The auth file gives such a
    /// caller roles; where nobody needs a credential, nobody has any.
    pub fn is_guest(&self) -> bool {
        self.principal == Principal::Anonymous && !self.roles.is_empty()
    }

    /// Who vouches for it; empty for an anonymous caller.
    pub fn issuer(&self) -> &str {
        let identity = self.principal.identity();
        identity.map_or("", |identity| identity.issuer.as_str())
    }

    /// Its subject; empty for an anonymous caller.
    pub fn subject(&self) -> &str {
        let identity = self.principal.identity();
        identity.map_or("", |identity| &identity.subject)
    }

    /// Its tenant; empty for a caller without one.
    pub fn tenant(&self) -> &str {
        let tenant = (self.principal.identity()).and_then(|identity| identity.tenant.as_deref());
        tenant.unwrap_or_default()
    }

    /// Its scopes, with one space between two (RFC 6749, section 3.3).
    pub fn scopes_text(&self) -> String {
        self.scopes.join(" ")
    }

    /// Checks that its credential has not ended since it was let in.
    ///
    /// # Errors
    ///
    /// [`AuthError`], as for somebody who comes with that credential now.
    pub fn check(&self, now: SystemTime) -> Result<(), AuthError> {
        if self.is_expired(now) {
            return Err(AuthError::Expired);
        }
        if !self.revocation.is_revoked() {
            return Ok(());
        }
        Err(match self.principal {
            Principal::Anonymous => AuthError::Missing,
            Principal::User(_) => AuthError::Invalid,
        })
    }

    /// Whether its credential has ended at this time.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// The claims of a token that has none of its own: what the operator says of it.
fn claims(principal: &Principal, scopes: &[String]) -> Map<String, Value> {
    let identity = principal.identity();
    let subject = identity.map(|identity| ("sub", identity.subject.clone()));
    let tenant = identity.and_then(|identity| Some(("tenant", identity.tenant.clone()?)));
    let scope = (!scopes.is_empty()).then(|| ("scope", scopes.join(" ")));
    let claims = [subject, tenant, scope].into_iter().flatten();
    claims
        .map(|(name, value)| (name.to_owned(), Value::String(value)))
        .collect()
}

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// No bearer token was presented.
    Missing,
    /// The header is not a bearer token (RFC 6750, section 2.1).
    Malformed,
    /// The token is unknown.
    Invalid,
    /// The token was good once.
    Expired,
    /// The token is for another server.
    Audience,
    /// The token is good, but not at the endpoint that is asked.
    Reach,
    /// Nobody can say now whether the token is good.
    Unavailable,
    /// Nor whether there is the key that the token names: anybody can make one up.
    UnknownKey,
}

impl AuthError {
    /// The name in logs and statistics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::Audience | Self::Reach => "audience",
            Self::Unavailable => "unavailable",
            Self::UnknownKey => "unknown_key",
        }
    }
}

/// A token that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Too easy to guess.
    #[error(
        "the token has {0} characters, but needs at least {MIN_TOKEN_CHARS}; make one with: openssl rand -base64 32"
    )]
    TooShort(usize),
    /// Cannot stand in an Authorization header.
    #[error("the token may hold only A-Z a-z 0-9 - . _ ~ + / and = at its end, on one line")]
    NotAToken,
}

#[cfg(test)]
mod tests;
