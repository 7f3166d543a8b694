//! Who is calling.
//!
//! The credential of a request is checked once, at the edge. What comes out is a [`Caller`], which
//! travels with the message; the token itself goes no further. An empty set of tokens lets nobody
//! in.

mod file;
mod guessable;
mod permission;
mod principal;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

pub use permission::Permission;
pub use principal::{Identity, Issuer, Principal};
use serde_json::{Map, Value};

use crate::document::{Diagnostic, LoadError};
use crate::secret::{Secret, SecretDigest};

/// The shortest token, in characters: 128 bits need 22 characters of Base64.
pub const MIN_TOKEN_CHARS: usize = 22;

/// The subject that the one token of a token file stands for.
const TOKEN_FILE_SUBJECT: &str = "default";

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
    /// When the credential ends; `None` if it does not.
    pub expires: Option<SystemTime>,
    /// What the credential says of its owner, by the names of RFC 7519 and RFC 9068.
    pub claims: Map<String, Value>,
}

impl Caller {
    /// A caller without scopes and roles, whose credential does not expire.
    pub fn new(principal: Principal) -> Self {
        Self {
            claims: claims(&principal, &[]),
            principal,
            scopes: Vec::new(),
            roles: Vec::new(),
            expires: None,
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
}

impl AuthError {
    /// The name in logs and statistics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Invalid => "invalid",
            Self::Expired => "expired",
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

/// Decides who a request comes from.
#[derive(Debug)]
pub struct Authenticator(Rule);

#[derive(Debug)]
enum Rule {
    /// Everybody is this anonymous caller.
    Open(Arc<Caller>),
    /// Only these tokens are let in.
    Tokens(Tokens),
}

/// Tokens by their digests.
///
/// A look-up takes the same time whatever a token has in common with a real one: the bucket comes
/// from a hash with a random key over the SHA-256 digest of what was presented, so that bytes
/// which were guessed right lead nowhere near the right digest, and two digests compare in
/// constant time.
#[derive(Debug)]
struct Tokens {
    callers: HashMap<SecretDigest, Arc<Caller>>,
    /// The same callers, in the order in which they were given.
    list: Vec<Arc<Caller>>,
    /// Until when each principal has a token; `None` for ever.
    latest: HashMap<Principal, Option<SystemTime>>,
}

impl Authenticator {
    /// Lets everybody in, as anonymous.
    pub fn open() -> Self {
        Self(Rule::Open(Arc::new(Caller::new(Principal::Anonymous))))
    }

    /// Lets in these tokens, and nobody without one.
    pub fn tokens(tokens: impl IntoIterator<Item = (SecretDigest, Caller)>) -> Self {
        let mut callers = HashMap::new();
        let mut list = Vec::new();
        let mut latest: HashMap<Principal, Option<SystemTime>> = HashMap::new();
        for (digest, caller) in tokens {
            let principal = caller.principal.clone();
            latest
                .entry(principal)
                .and_modify(|latest| {
                    *latest = latest
                        .zip(caller.expires)
                        .map(|(one, other)| one.max(other));
                })
                .or_insert(caller.expires);
            let caller = Arc::new(caller);
            list.push(Arc::clone(&caller));
            callers.insert(digest, caller);
        }
        Self(Rule::Tokens(Tokens {
            callers,
            list,
            latest,
        }))
    }

    /// Lets in the one token of a token file. White space around it is ignored.
    ///
    /// # Errors
    ///
    /// [`TokenError`] for a token that is too short or could not be sent.
    pub fn single_token(secret: &Secret) -> Result<Self, TokenError> {
        let token = secret.expose().trim();
        let chars = token.chars().count();
        if chars < MIN_TOKEN_CHARS {
            return Err(TokenError::TooShort(chars));
        }
        if !is_b64token(token) {
            return Err(TokenError::NotAToken);
        }
        let principal = Principal::user(Issuer::TokenFile, TOKEN_FILE_SUBJECT, None);
        let digest = Secret::new(token).digest();
        Ok(Self::tokens([(digest, Caller::new(principal))]))
    }

    /// Lets in the tokens of an auth file, whose text was read from `path`, and nobody without
    /// one. `now` tells which tokens have expired, which is worth a warning.
    ///
    /// # Errors
    ///
    /// [`LoadError`] with everything that is wrong with the file.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::path::Path;
    /// use std::time::SystemTime;
    /// use mcp_serve::auth::{AuthError, Authenticator};
    /// use mcp_serve::secret::Secret;
    ///
    /// let file = Secret::new("
    /// tokens:
    ///   - sha256: 7c61d3fbfae1a1bbb6f22ec8ccb5fb3ffd6bb6bcd3be4ff85c1c4d0e0aa1d4d4
    ///     subject: alice
    /// ");
    /// let now = SystemTime::now();
    /// let (authenticator, warnings) =
    ///     Authenticator::auth_file(&file, Path::new("auth.yaml"), now)?;
    /// assert!(warnings.is_empty());
    ///
    /// let refused = authenticator.authenticate(Some(b"Bearer guessed"), now);
    /// assert_eq!(refused.unwrap_err(), AuthError::Invalid);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn auth_file(
        text: &Secret,
        path: &Path,
        now: SystemTime,
    ) -> Result<(Self, Vec<Diagnostic>), LoadError> {
        let file = file::parse(text.expose(), path, now)?;
        Ok((Self::tokens(file.tokens), file.warnings))
    }

    /// Everybody whom a token stands for, once for each token and in the order of the file; `None`
    /// where everybody is let in.
    pub fn callers(&self) -> Option<impl Iterator<Item = &Arc<Caller>>> {
        match &self.0 {
            Rule::Open(_) => None,
            Rule::Tokens(tokens) => Some(tokens.list.iter()),
        }
    }

    /// Whether everybody is let in.
    pub fn is_open(&self) -> bool {
        matches!(self.0, Rule::Open(_))
    }

    /// The authorization servers whose tokens are let in, by their issuer identifiers (RFC 8414).
    pub fn authorization_servers(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }

    /// Checks the value of an `Authorization` header at this time of the wall clock, which is the
    /// one that issuers go by.
    ///
    /// # Errors
    ///
    /// [`AuthError`], of which the client learns no more than RFC 6750 says.
    pub fn authenticate(
        &self,
        authorization: Option<&[u8]>,
        now: SystemTime,
    ) -> Result<Arc<Caller>, AuthError> {
        let tokens = match &self.0 {
            Rule::Open(anonymous) => return Ok(Arc::clone(anonymous)),
            Rule::Tokens(tokens) => tokens,
        };
        let token = bearer_token(authorization.ok_or(AuthError::Missing)?)?;
        let presented = SecretDigest::of(token.as_bytes());
        let caller = tokens.callers.get(&presented).ok_or(AuthError::Invalid)?;
        if caller.is_expired(now) {
            return Err(AuthError::Expired);
        }
        Ok(Arc::clone(caller))
    }

    /// When the next principal loses its last credential; `None` if none will.
    pub fn next_loss(&self, now: SystemTime) -> Option<SystemTime> {
        match &self.0 {
            Rule::Open(_) => None,
            Rule::Tokens(tokens) => {
                let losses = tokens.latest.values().copied().flatten();
                losses.filter(|loss| *loss > now).min()
            }
        }
    }

    /// Whether a principal that lost one credential could still come in with another: an open
    /// session of it is then not over.
    pub fn has_other_credential(&self, principal: &Principal, now: SystemTime) -> bool {
        match &self.0 {
            Rule::Open(_) => *principal == Principal::Anonymous,
            Rule::Tokens(tokens) => tokens
                .latest
                .get(principal)
                .is_some_and(|latest| latest.is_none_or(|latest| now < latest)),
        }
    }
}

/// Takes the token out of `Bearer TOKEN`; the scheme compares without case.
fn bearer_token(authorization: &[u8]) -> Result<&str, AuthError> {
    let Ok(text) = std::str::from_utf8(authorization) else {
        return Err(AuthError::Malformed);
    };
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::Missing);
    }
    if is_b64token(token) {
        Ok(token)
    } else {
        Err(AuthError::Malformed)
    }
}

/// The `b64token` of RFC 6750.
fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty()
        && body
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    const TOKEN: &str = "mfZ3b1mXk0Qy7h2Vn5cR8w";

    type Case = (&'static str, Option<&'static [u8]>, Option<AuthError>);

    #[test]
    fn only_the_token_is_let_in() {
        let authenticator =
            Authenticator::single_token(&Secret::new(format!("{TOKEN}\n"))).unwrap();
        let cases: [Case; 14] = [
            ("right", Some(b"Bearer mfZ3b1mXk0Qy7h2Vn5cR8w"), None),
            (
                "lower-case scheme",
                Some(b"bearer mfZ3b1mXk0Qy7h2Vn5cR8w"),
                None,
            ),
            ("none", None, Some(AuthError::Missing)),
            (
                "other scheme",
                Some(b"Basic dXNlcjpwYXNz"),
                Some(AuthError::Missing),
            ),
            ("empty", Some(b""), Some(AuthError::Missing)),
            ("scheme alone", Some(b"Bearer"), Some(AuthError::Malformed)),
            (
                "scheme and space",
                Some(b"Bearer "),
                Some(AuthError::Malformed),
            ),
            (
                "two spaces",
                Some(b"Bearer  mfZ3b1mXk0Qy7h2Vn5cR8w"),
                Some(AuthError::Malformed),
            ),
            (
                "space after",
                Some(b"Bearer mfZ3b1mXk0Qy7h2Vn5cR8w "),
                Some(AuthError::Malformed),
            ),
            (
                "two tokens",
                Some(b"Bearer a, Bearer b"),
                Some(AuthError::Malformed),
            ),
            (
                "not UTF-8",
                Some(b"Bearer \xff\xfe"),
                Some(AuthError::Malformed),
            ),
            ("wrong", Some(b"Bearer wrong"), Some(AuthError::Invalid)),
            (
                "prefix",
                Some(b"Bearer mfZ3b1mXk0Qy7h2Vn5cR8"),
                Some(AuthError::Invalid),
            ),
            (
                "longer",
                Some(b"Bearer mfZ3b1mXk0Qy7h2Vn5cR8w="),
                Some(AuthError::Invalid),
            ),
        ];
        for (name, header, expected) in cases {
            let outcome = authenticator.authenticate(header, SystemTime::UNIX_EPOCH);
            assert_eq!(outcome.err(), expected, "{name}");
        }
        let caller = authenticator
            .authenticate(
                Some(b"Bearer mfZ3b1mXk0Qy7h2Vn5cR8w"),
                SystemTime::UNIX_EPOCH,
            )
            .unwrap();
        assert_eq!(caller.principal.to_string(), "default");
        assert!(caller.principal.is_shared());
    }

    #[test]
    fn an_open_server_knows_one_anonymous_caller() {
        let authenticator = Authenticator::open();
        let now = SystemTime::UNIX_EPOCH;
        let first = authenticator.authenticate(None, now).unwrap();
        let second = authenticator.authenticate(Some(b"Bearer x"), now).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert!(authenticator.is_open());
        assert!(authenticator.has_other_credential(&Principal::Anonymous, now));
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_token_without_claims_has_those_of_its_entry() {
        let cases = [
            (Principal::Anonymous, vec![], json!({})),
            (
                Principal::user(Issuer::AuthFile, "alice", None),
                vec![],
                json!({"sub": "alice"}),
            ),
            (
                Principal::user(Issuer::AuthFile, "bob", Some("acme".to_owned())),
                vec!["read".to_owned(), "write".to_owned()],
                json!({"sub": "bob", "tenant": "acme", "scope": "read write"}),
            ),
        ];
        for (principal, scopes, expected) in cases {
            let caller = Caller::new(principal).with_scopes(scopes);
            assert_eq!(Value::Object(caller.claims), expected);
        }
    }

    fn token(token: &str, subject: &str, expires: Option<u64>) -> (SecretDigest, Caller) {
        let caller = Caller {
            expires: expires.map(at),
            ..Caller::new(Principal::user(Issuer::AuthFile, subject, None))
        };
        (SecretDigest::of(token.as_bytes()), caller)
    }

    #[test]
    fn tokens_are_told_apart_and_end() {
        let authenticator = Authenticator::tokens([
            token("a1", "alice", Some(10)),
            token("a2", "alice", Some(20)),
            token("b1", "bob", Some(10)),
            token("b2", "bob", None),
        ]);
        let cases: [(&[u8], u64, Result<&str, AuthError>); 7] = [
            (b"Bearer a1", 9, Ok("alice")),
            (b"Bearer a1", 10, Err(AuthError::Expired)),
            (b"Bearer a2", 10, Ok("alice")),
            (b"Bearer a2", 20, Err(AuthError::Expired)),
            (b"Bearer b1", 11, Err(AuthError::Expired)),
            (b"Bearer b2", u64::from(u32::MAX), Ok("bob")),
            (b"Bearer b3", 0, Err(AuthError::Invalid)),
        ];
        for (header, now, expected) in cases {
            let outcome = authenticator.authenticate(Some(header), at(now));
            let subject = outcome.map(|caller| caller.principal.to_string());
            assert_eq!(subject, expected.map(str::to_owned), "{header:?} at {now}");
        }
        let lasting = [
            ("alice", 9, true),
            ("alice", 19, true),
            ("alice", 20, false),
            ("bob", u64::from(u32::MAX), true),
            ("carol", 0, false),
        ];
        for (subject, now, expected) in lasting {
            let principal = Principal::user(Issuer::AuthFile, subject, None);
            let has_other = authenticator.has_other_credential(&principal, at(now));
            assert_eq!(has_other, expected, "{subject} at {now}");
        }
    }

    #[test]
    fn no_tokens_let_nobody_in() {
        let authenticator = Authenticator::tokens([]);
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(
            authenticator.authenticate(Some(b"Bearer x"), now),
            Err(AuthError::Invalid)
        );
        assert_eq!(
            authenticator.authenticate(None, now),
            Err(AuthError::Missing)
        );
    }

    #[test]
    fn weak_tokens_are_refused() {
        let cases = [
            ("", TokenError::TooShort(0)),
            ("changeme", TokenError::TooShort(8)),
            ("mfZ3b1mXk0Qy7h2Vn5cR8", TokenError::TooShort(21)),
            ("two words of many characters", TokenError::NotAToken),
            (
                "mfZ3b1mXk0Qy7h2Vn5cR8w\nmfZ3b1mXk0Qy7h2Vn5cR8w",
                TokenError::NotAToken,
            ),
        ];
        for (token, expected) in cases {
            let error = Authenticator::single_token(&Secret::new(token)).unwrap_err();
            assert_eq!(error, expected, "{token}");
        }
    }
}
