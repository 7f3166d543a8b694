//! Access tokens that are JWTs (RFC 9068), checked as RFC 8725 asks.
//!
//! `jsonwebtoken` takes a token apart and checks its signature. What its claims must say is checked
//! here: that library lets a token pass which has no audience, no issuer or two of them, or which
//! lasts for ever.

mod key_set;
mod provider;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use serde_json::{Map, Value};

pub(super) use self::key_set::{KeySet, KeySetError};
use super::Caller;
use super::audience::Audiences;
use super::claims::{BadClaim, ClaimNames};

/// The longest token, in bytes.
pub(super) const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// What the tokens of an issuer must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    /// What `iss` says, byte by byte.
    pub(super) issuer: Arc<str>,
    pub(super) audiences: Audiences,
    /// None of them with a shared key.
    pub(super) algorithms: Vec<Algorithm>,
    /// What `typ` says, if that matters.
    pub(super) typ: Option<String>,
    /// Claims with the one value that they must have.
    pub(super) required: Map<String, Value>,
    /// By how much clocks may differ.
    pub(super) leeway: Duration,
    /// The longest that a token may last.
    pub(super) max_lifetime: Duration,
    pub(super) names: ClaimNames,
}

/// Why a token is not good.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("it is no JWT")]
    Malformed,
    #[error("its header has `crit`, which nothing here understands")]
    Critical,
    #[error("its algorithm is not one of its issuer")]
    Algorithm,
    #[error("its `typ` is not `{0}`")]
    Type(String),
    #[error("its key is not known")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("its claim `{0}` is missing or not of the kind that it must be")]
    Claim(&'static str),
    #[error("its claim `{0}` does not have the value that it must have")]
    Value(String),
    #[error("it is for somebody else: its `aud` names none of the audiences")]
    Audience,
    #[error("it has expired")]
    Expired,
    #[error("it is not good yet")]
    Early,
    #[error("it lasts for longer than tokens may")]
    Lifetime,
    #[error(transparent)]
    Identity(#[from] BadClaim),
}

impl Refused {
    /// Whether the issuer has signed the token, so that it will make more of the kind. One that is over
    /// was good.
    pub(super) fn is_signed(&self) -> bool {
        match self {
            Self::Type(_)
            | Self::Claim(_)
            | Self::Value(_)
            | Self::Audience
            | Self::Early
            | Self::Lifetime
            | Self::Identity(_) => true,
            Self::Malformed
            | Self::Critical
            | Self::Algorithm
            | Self::UnknownKey
            | Self::Signature
            | Self::Expired => false,
        }
    }
}

/// A token that was taken apart. Nothing that it says is known to be true.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    token: &'a str,
    algorithm: Algorithm,
    typ: Option<String>,
    key_id: Option<String>,
}

/// Who a token says made it, as far as it says so: also one that is not good for anything else.
pub(super) fn issuer_of(token: &str) -> Option<String> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Map<String, Value> = serde_json::from_slice(&payload).ok()?;
    Some(text(&claims, "iss").ok()?.to_owned())
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    pub(super) fn read(token: &'a str) -> Result<Self, Refused> {
        if token.len() > MAX_TOKEN_BYTES || token.split('.').count() != 3 {
            return Err(Refused::Malformed);
        }
        // Whatever else a header says, such as where a key is, is not asked for.
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::Malformed)?;
        if header.crit.is_some() {
            return Err(Refused::Critical);
        }
        Ok(Self {
            token,
            algorithm: header.alg,
            typ: header.typ,
            key_id: header.kid,
        })
    }

    /// Checks it by the rules and keys of its issuer, at this time of the wall clock.
    pub(super) fn verify(
        &self,
        rules: &Rules,
        keys: &KeySet,
        now: SystemTime,
    ) -> Result<Caller, Refused> {
        if !rules.algorithms.contains(&self.algorithm) {
            return Err(Refused::Algorithm);
        }
        let claims = self.signed_claims(keys)?;
        if let Some(typ) = &rules.typ
            && !self.typ.as_deref().is_some_and(|said| is_type(said, typ))
        {
            return Err(Refused::Type(typ.clone()));
        }
        rules.caller(claims, now)
    }

    /// The claims, if a key has signed them.
    fn signed_claims(&self, keys: &KeySet) -> Result<Map<String, Value>, Refused> {
        provider::install();
        let validation = signature_only(self.algorithm);
        let mut refused = Refused::UnknownKey;
        for key in keys.candidates(self.key_id.as_deref(), self.algorithm) {
            match jsonwebtoken::decode(self.token, key, &validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) => {
                    refused = match error.kind() {
                        ErrorKind::InvalidSignature => Refused::Signature,
                        _ => Refused::Malformed,
                    };
                }
            }
        }
        Err(refused)
    }
}

/// Has the library check the signature and nothing else.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

impl Rules {
    /// Whether tokens have to say the same by other rules. How they are signed, and by how much clocks
    /// differ, is nothing that a token says.
    pub(super) fn ask_the_same(&self, other: &Self) -> bool {
        let Self {
            algorithms, leeway, ..
        } = self.clone();
        let other = Self {
            algorithms,
            leeway,
            ..other.clone()
        };
        *self == other
    }

    /// Whom claims that the issuer has signed are about.
    fn caller(&self, claims: Map<String, Value>, now: SystemTime) -> Result<Caller, Refused> {
        if text(&claims, "iss")? != &*self.issuer {
            return Err(Refused::Value("iss".to_owned()));
        }
        let audience = claims.get("aud");
        let is_stated =
            audience.is_some_and(|audience| audience.is_string() || audience.is_array());
        if !is_stated {
            return Err(Refused::Claim("aud"));
        }
        let reach = self.audiences.reach(&claims).ok_or(Refused::Audience)?;
        let expires = self.check_times(&claims, now)?;
        for (name, value) in &self.required {
            if claims.get(name) != Some(value) {
                return Err(Refused::Value(name.clone()));
            }
        }
        let caller = (self.names).caller(&self.issuer, claims, Some(expires))?;
        Ok(Caller { reach, ..caller })
    }

    /// Returns when the token is over here, where the clock may be behind.
    fn check_times(
        &self,
        claims: &Map<String, Value>,
        now: SystemTime,
    ) -> Result<SystemTime, Refused> {
        let expires = time(claims, "exp")?.ok_or(Refused::Claim("exp"))?;
        let over = expires.checked_add(self.leeway).ok_or(Refused::Lifetime)?;
        if over <= now {
            return Err(Refused::Expired);
        }
        let latest = now + self.leeway;
        let begins = time(claims, "nbf")?;
        let issued = time(claims, "iat")?;
        if [begins, issued]
            .into_iter()
            .flatten()
            .any(|time| time > latest)
        {
            return Err(Refused::Early);
        }
        // Without `iat` it has what is left of it at least.
        let from = issued.unwrap_or(now);
        let longest = from.checked_add(self.max_lifetime);
        if longest.is_some_and(|longest| expires > longest) {
            return Err(Refused::Lifetime);
        }
        Ok(over)
    }
}

/// Media types compare without case, and `application/` may be left out (RFC 7515, section 4.1.9).
fn is_type(said: &str, wanted: &str) -> bool {
    let said = match said.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => said,
    };
    said.eq_ignore_ascii_case(wanted)
}

fn text<'a>(claims: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, Refused> {
    let text = claims.get(name).and_then(Value::as_str);
    text.ok_or(Refused::Claim(name))
}

fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<SystemTime>, Refused> {
    let value = claims.get(name);
    let time = value.map(|value| numeric_date(value).ok_or(Refused::Claim(name)));
    time.transpose()
}

/// A `NumericDate` (RFC 7519, section 2): seconds, perhaps with a fraction, which is dropped.
pub(super) fn numeric_date(value: &Value) -> Option<SystemTime> {
    let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0)?;
    let since = Duration::try_from_secs_f64(seconds.trunc()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(since)
}
