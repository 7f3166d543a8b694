//! Decides who a request comes from.

mod ways;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::fetch::Fetcher;
use super::file::{self, AuthFile, Surroundings};
use super::introspection::Introspection;
use super::issuer::TrustedIssuer;
use super::jwt::{self, MAX_TOKEN_BYTES};
use super::tokens::Tokens;
use super::{AuthError, Caller, Credential, Issuer, Principal, TokenError, bearer};
use crate::document::{Diagnostic, LoadError};
use crate::redact::Redactor;
use crate::secret::{Secret, SecretDigest};
use crate::snapshot::Snapshot;
pub use ways::WayIn;

/// The shortest token, in characters: 128 bits need 22 characters of Base64.
pub const MIN_TOKEN_CHARS: usize = 22;

/// The subject that the one token of a token file stands for.
const TOKEN_FILE_SUBJECT: &str = "default";

/// Decides who a request comes from.
#[derive(Debug)]
pub struct Authenticator(Rule);

#[derive(Debug)]
enum Rule {
    /// Everybody is this anonymous caller, whatever it presents.
    Open(Arc<Caller>),
    /// A credential must be good.
    Credentials(Box<Credentials>),
}

/// Which credentials are good.
#[derive(Debug, Default)]
struct Credentials {
    /// Who comes without one, if anybody may.
    anonymous: Option<Arc<Caller>>,
    tokens: Tokens,
    issuers: Vec<Arc<TrustedIssuer>>,
    introspection: Vec<Arc<Introspection>>,
    secrets: Arc<Redactor>,
    inputs: Snapshot,
}

/// What is known of a credential at once.
#[derive(Debug)]
pub enum Known<'a> {
    /// Whom it stands for.
    Caller(Arc<Caller>),
    /// Nothing: its issuer has to be asked, or the keys of it.
    Nothing(Presented<'a>),
}

/// A bearer token as it was presented. Only what it may look like was checked.
pub struct Presented<'a> {
    pub(super) token: &'a str,
    pub(super) digest: SecretDigest,
}

/// Does not show the token.
impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented(…)")
    }
}

impl Authenticator {
    /// Lets everybody in, as anonymous.
    pub fn open() -> Self {
        Self(Rule::Open(Arc::new(Caller::new(Principal::Anonymous))))
    }

    /// Lets in these tokens, and nobody without one.
    pub fn tokens(tokens: impl IntoIterator<Item = (SecretDigest, Caller)>) -> Self {
        Self::of(Credentials {
            tokens: Tokens::new(tokens),
            ..Credentials::default()
        })
    }

    fn of(credentials: Credentials) -> Self {
        Self(Rule::Credentials(Box::new(credentials)))
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
        if !bearer::is_token(token) {
            return Err(TokenError::NotAToken);
        }
        let principal = Principal::user(Issuer::TokenFile, TOKEN_FILE_SUBJECT, None);
        let digest = Secret::new(token).digest();
        Ok(Self::tokens([(digest, Caller::new(principal))]))
    }

    /// Lets in whom an auth file says, whose text was read from `path`, and nobody else. Nobody is
    /// asked for keys yet.
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
    /// use mcp_serve::auth::{AuthError, Authenticator, Credential, Surroundings};
    /// use mcp_serve::secret::Secret;
    ///
    /// let file = Secret::new("
    /// tokens:
    ///   - sha256: 7c61d3fbfae1a1bbb6f22ec8ccb5fb3ffd6bb6bcd3be4ff85c1c4d0e0aa1d4d4
    ///     subject: alice
    /// ");
    /// let now = SystemTime::now();
    /// let around = Surroundings::default();
    /// let (authenticator, warnings) =
    ///     Authenticator::auth_file(&file, Path::new("auth.yaml"), &around, now)?;
    /// assert!(warnings.is_empty());
    ///
    /// let guessed = Credential::of_authorization([b"Bearer guessed".as_slice()]);
    /// let refused = authenticator.look_up(guessed, now);
    /// assert_eq!(refused.unwrap_err(), AuthError::Invalid);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn auth_file(
        text: &Secret,
        path: &Path,
        around: &Surroundings,
        now: SystemTime,
    ) -> Result<(Self, Vec<Diagnostic>), LoadError> {
        let AuthFile {
            tokens,
            issuers,
            introspection,
            anonymous,
            secrets,
            warnings,
            inputs,
        } = file::parse(text.expose(), path, around, now)?;
        let fetcher = Fetcher::default();
        let issuers = issuers.into_iter();
        let servers = introspection.into_iter();
        let authenticator = Self::of(Credentials {
            anonymous: anonymous.map(Arc::new),
            tokens: Tokens::new(tokens),
            issuers: issuers
                .map(|settings| Arc::new(TrustedIssuer::new(settings, fetcher.clone())))
                .collect(),
            introspection: servers
                .map(|settings| Arc::new(Introspection::new(settings, fetcher.clone())))
                .collect(),
            secrets: Arc::new(secrets),
            inputs,
        });
        Ok((authenticator, warnings))
    }

    fn credentials(&self) -> Option<&Credentials> {
        match &self.0 {
            Rule::Open(_) => None,
            Rule::Credentials(credentials) => Some(credentials),
        }
    }

    /// Everybody who is known by name: whom a token stands for, once for each token and in the order
    /// of the file, and who comes without a credential. `None` where everybody is let in.
    pub fn callers(&self) -> Option<impl Iterator<Item = &Arc<Caller>>> {
        let credentials = self.credentials()?;
        let anonymous = credentials.anonymous.iter();
        Some(credentials.tokens.callers().chain(anonymous))
    }

    /// Whether others vouch for callers of whom nothing is known here.
    pub fn trusts_others(&self) -> bool {
        self.credentials().is_some_and(Credentials::trusts_others)
    }

    /// The authorization servers whose tokens are let in, by their issuer identifiers (RFC 8414), each
    /// once and in the order of the file.
    pub fn authorization_servers(&self) -> Vec<&str> {
        let credentials = self.credentials().into_iter();
        let named = credentials.flat_map(Credentials::authorization_servers);
        let mut servers = Vec::new();
        for server in named {
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
        servers
    }

    /// Whether somebody could be let in: false where tokens are good only by keys that are not there.
    pub fn is_ready(&self) -> bool {
        self.credentials().is_none_or(|credentials| {
            let has_keys = |issuer: &Arc<TrustedIssuer>| issuer.has_keys();
            let mut issuers = credentials.issuers.iter();
            credentials.anonymous.is_some()
                || !credentials.tokens.is_empty()
                || !credentials.introspection.is_empty()
                || issuers.any(has_keys)
        })
    }

    /// What the file holds that nobody may see.
    pub fn secrets(&self) -> Option<&Arc<Redactor>> {
        Some(&self.credentials()?.secrets)
    }

    /// The files that were read beside the auth file.
    pub fn inputs(&self) -> Option<&Snapshot> {
        Some(&self.credentials()?.inputs)
    }

    /// Looks up what a request presents, at this time of the wall clock, which is the one that issuers
    /// go by.
    ///
    /// # Errors
    ///
    /// [`AuthError`], of which the client learns no more than RFC 6750 says.
    pub fn look_up<'a>(
        &self,
        credential: Credential<'a>,
        now: SystemTime,
    ) -> Result<Known<'a>, AuthError> {
        match &self.0 {
            Rule::Open(anonymous) => Ok(Known::Caller(Arc::clone(anonymous))),
            Rule::Credentials(credentials) => credentials.look_up(credential, now),
        }
    }

    /// Finds out whom a token stands for of which nothing is known.
    ///
    /// # Errors
    ///
    /// [`AuthError`]; [`AuthError::Unavailable`] if nobody can say it now.
    pub async fn verify(
        &self,
        presented: Presented<'_>,
        now: SystemTime,
    ) -> Result<Arc<Caller>, AuthError> {
        match &self.0 {
            Rule::Open(anonymous) => Ok(Arc::clone(anonymous)),
            Rule::Credentials(credentials) => credentials.verify(presented, now).await,
        }
    }

    /// When the next principal loses its last credential; `None` if none will, as far as is known.
    pub fn next_loss(&self, now: SystemTime) -> Option<SystemTime> {
        self.credentials()?.tokens.next_loss(now)
    }

    /// Whether a principal may still come in with some credential: an open session of it is not over
    /// when it loses one. Of those for whom others vouch nobody can tell, as long as these are trusted.
    pub fn may_return(&self, principal: &Principal, now: SystemTime) -> bool {
        let Some(credentials) = self.credentials() else {
            return *principal == Principal::Anonymous;
        };
        match principal.identity().map(|identity| &identity.issuer) {
            None => credentials.anonymous.is_some(),
            Some(Issuer::TokenFile | Issuer::AuthFile) => {
                credentials.tokens.has_one_of(principal, now)
            }
            Some(Issuer::Server(issuer)) => credentials.trusts(issuer),
        }
    }

    /// Takes the place of an earlier one: what is the same goes on, with its keys and with what was
    /// found out by them, and what is gone is taken back.
    pub(super) fn succeed(&mut self, earlier: &Self) {
        if let (Rule::Credentials(credentials), Some(earlier)) =
            (&mut self.0, earlier.credentials())
        {
            credentials.succeed(earlier);
        }
    }

    /// The issuers whose keys are to be kept.
    pub(super) fn issuers(&self) -> &[Arc<TrustedIssuer>] {
        (self.credentials()).map_or(&[], |credentials| credentials.issuers.as_slice())
    }
}

impl Credentials {
    fn trusts_others(&self) -> bool {
        !self.issuers.is_empty() || !self.introspection.is_empty()
    }

    fn authorization_servers(&self) -> impl Iterator<Item = &str> {
        let issuers = self.issuers.iter().map(|issuer| &**issuer.issuer());
        let servers = self.introspection.iter();
        issuers.chain(servers.filter_map(|server| server.authorization_server()))
    }

    fn trusts(&self, issuer: &Arc<str>) -> bool {
        let issuers = self.issuers.iter().map(|trusted| trusted.issuer());
        let servers = self.introspection.iter().map(|server| server.issuer());
        issuers.chain(servers).any(|trusted| trusted == issuer)
    }

    fn look_up<'a>(
        &self,
        credential: Credential<'a>,
        now: SystemTime,
    ) -> Result<Known<'a>, AuthError> {
        let Some(token) = credential.token()? else {
            let anonymous = self.anonymous.clone();
            return anonymous.map(Known::Caller).ok_or(AuthError::Missing);
        };
        let digest = SecretDigest::of(token.as_bytes());
        if let Some(caller) = self.tokens.get(&digest) {
            return if caller.is_expired(now) {
                Err(AuthError::Expired)
            } else {
                Ok(Known::Caller(Arc::clone(caller)))
            };
        }
        if !self.trusts_others() || token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::Invalid);
        }
        let mut issuers = self.issuers.iter();
        let mut servers = self.introspection.iter();
        let known = issuers
            .find_map(|issuer| issuer.known(&digest, now))
            .or_else(|| servers.find_map(|server| server.known(&digest, now)));
        Ok(match known {
            Some(caller) => Known::Caller(caller),
            None => Known::Nothing(Presented { token, digest }),
        })
    }

    /// A token that names an issuer which is trusted is for that alone, good or not. All who can read
    /// other tokens are asked at once, so that none waits for one that does not answer.
    async fn verify(
        &self,
        presented: Presented<'_>,
        now: SystemTime,
    ) -> Result<Arc<Caller>, AuthError> {
        let named = jwt::issuer_of(presented.token);
        let mut issuers = self.issuers.iter();
        if let Some(issuer) = issuers.find(|issuer| named.as_deref() == Some(&**issuer.issuer())) {
            return issuer.verify(presented, now).await;
        }
        let servers = self.introspection.iter();
        let mut answers: FuturesUnordered<_> =
            servers.map(|server| server.ask(&presented, now)).collect();
        let mut refused = AuthError::Invalid;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(Some(caller)) => return Ok(caller),
                Ok(None) => {}
                // Another one may know it.
                Err(_) => refused = AuthError::Unavailable,
            }
        }
        Err(refused)
    }

    fn succeed(&mut self, earlier: &Self) {
        self.tokens.succeed(&earlier.tokens);
        if let Some(before) = &earlier.anonymous {
            match &mut self.anonymous {
                Some(anonymous) if anonymous == before => *anonymous = Arc::clone(before),
                _ => before.revocation.revoke(),
            }
        }
        for before in &earlier.issuers {
            let mut issuers = self.issuers.iter_mut();
            match issuers.find(|issuer| issuer.issuer() == before.issuer()) {
                Some(issuer) => *issuer = issuer.after(before),
                None => before.revocation.revoke(),
            }
        }
        for before in &earlier.introspection {
            let mut servers = self.introspection.iter_mut();
            match servers.find(|server| server.issuer() == before.issuer()) {
                Some(server) => *server = server.after(before),
                None => before.revocation.revoke(),
            }
        }
    }
}
