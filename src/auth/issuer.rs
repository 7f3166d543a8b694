//! An authorization server whose tokens are read here.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::authenticator::Presented;
use super::fetch::Fetcher;
use super::jwt::{KeySet, Refused, Unverified};
use super::keys::Keys;
use super::recent::Recent;
use super::revocation::Revocation;
use super::settings::IssuerSettings;
use super::{AuthError, Caller};
use crate::pace::Pace;
use crate::secret::SecretDigest;

/// An issuer of JWTs, with its keys and what was checked by them.
#[derive(Debug)]
pub(super) struct TrustedIssuer {
    settings: IssuerSettings,
    keys: Arc<Keys>,
    verified: Recent<Verified>,
    /// What the log says of tokens which it has signed, and which are not good here.
    unfit: Pace,
    /// Of all its tokens.
    pub(super) revocation: Revocation,
}

/// A token that was good when it was checked.
#[derive(Debug)]
struct Verified {
    caller: Arc<Caller>,
    /// By which it was checked.
    keys: Arc<KeySet>,
}

impl TrustedIssuer {
    pub(super) fn new(settings: IssuerSettings, fetcher: Fetcher) -> Self {
        let issuer = Arc::clone(&settings.rules.issuer);
        Self {
            keys: Arc::new(Keys::new(issuer, settings.source.clone(), fetcher)),
            settings,
            verified: Recent::default(),
            unfit: Pace::default(),
            revocation: Revocation::default(),
        }
    }

    /// What takes the place of an earlier one of this name. Keys from the same place go on. What was opened
    /// with its tokens is taken back only if they have to say something else now: other keys are no reason,
    /// as they are none when the issuer itself shows others.
    pub(super) fn after(&self, earlier: &Arc<Self>) -> Arc<Self> {
        let (settings, before) = (&self.settings, &earlier.settings);
        if settings == before {
            return Arc::clone(earlier);
        }
        let keeps_keys = settings.source == before.source;
        let keys = if keeps_keys {
            &earlier.keys
        } else {
            &self.keys
        };
        Arc::new(Self {
            settings: settings.clone(),
            keys: Arc::clone(keys),
            verified: Recent::default(),
            unfit: Pace::default(),
            revocation: if settings.rules.ask_the_same(&before.rules) {
                earlier.revocation.clone()
            } else {
                earlier.revocation.replace()
            },
        })
    }

    pub(super) fn settings(&self) -> &IssuerSettings {
        &self.settings
    }

    /// Its identifier.
    pub(super) fn issuer(&self) -> &Arc<str> {
        &self.settings.rules.issuer
    }

    /// Whether tokens can be checked.
    pub(super) fn has_keys(&self) -> bool {
        self.keys.current().is_some()
    }

    /// Its keys, which somebody has to keep.
    pub(super) fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// Whom a token stands for that was checked before, by the keys which still count.
    pub(super) fn known(&self, token: &SecretDigest, now: SystemTime) -> Option<Arc<Caller>> {
        self.verified.get(token, |verified| {
            let holds = !verified.caller.is_expired(now) && self.keys.are(&verified.keys);
            holds.then(|| Arc::clone(&verified.caller))
        })
    }

    /// Checks a token that says it is from here.
    pub(super) async fn verify(
        &self,
        Presented { token, digest }: Presented<'_>,
        now: SystemTime,
    ) -> Result<Arc<Caller>, AuthError> {
        let token = Unverified::read(token).map_err(|refused| self.refuse(&refused))?;
        let rules = &self.settings.rules;
        let none = AuthError::Unavailable;
        let mut keys = self.keys.newer_than(None).await.ok_or(none)?;
        let mut checked = token.verify(rules, &keys, now);
        if let Err(Refused::UnknownKey) = checked {
            keys = self.keys.newer_than(Some(&keys)).await.ok_or(none)?;
            checked = token.verify(rules, &keys, now);
        }
        let caller = checked.map_err(|refused| self.refuse(&refused))?;
        let caller = Arc::new(Caller {
            revocation: self.revocation.clone(),
            ..caller
        });
        let verified = Verified {
            caller: Arc::clone(&caller),
            keys,
        };
        let is_over = |verified: &Verified| verified.caller.is_expired(now);
        self.verified.put(digest, verified, is_over);
        Ok(caller)
    }

    /// Says in the log why a token is refused, and how much of that its client learns. Of one that the
    /// issuer has signed somebody should know: it will do so again.
    fn refuse(&self, refused: &Refused) -> AuthError {
        let issuer = &**self.issuer();
        if refused.is_signed()
            && let Some(held_back) = self.unfit.pass(Instant::now())
        {
            tracing::warn!(issuer, reason = %refused, held_back, "a signed token is not good here");
        } else {
            tracing::debug!(issuer, reason = %refused, "a token is refused");
        }
        match refused {
            Refused::Expired => AuthError::Expired,
            Refused::Audience => AuthError::Audience,
            Refused::UnknownKey if self.keys.may_be_old() => AuthError::UnknownKey,
            _ => AuthError::Invalid,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::Algorithm;
    use serde_json::{Map, json};

    use super::*;
    use crate::auth::audience::Audiences;
    use crate::auth::claims::ClaimNames;
    use crate::auth::jwt::Rules;
    use crate::auth::keys::{self, Source};

    fn trusted(keys: Keys) -> TrustedIssuer {
        let rules = Rules {
            issuer: "https://id.example".into(),
            audiences: Audiences::default(),
            algorithms: vec![Algorithm::EdDSA],
            typ: None,
            required: Map::new(),
            leeway: Duration::ZERO,
            max_lifetime: Duration::from_hours(24),
            names: ClaimNames::default(),
        };
        let source = Source::Discovery;
        TrustedIssuer {
            keys: Arc::new(keys),
            ..TrustedIssuer::new(IssuerSettings { rules, source }, Fetcher::default())
        }
    }

    #[tokio::test]
    async fn a_key_that_is_not_known_is_no_key_unless_the_issuer_could_not_be_asked() {
        let header = json!({"alg": "EdDSA", "kid": "two"}).to_string();
        let token = format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(header));
        for (has_failed, expected) in [(false, AuthError::Invalid), (true, AuthError::UnknownKey)] {
            let issuer = trusted(keys::tests::fetched("one", has_failed));
            let presented = Presented {
                token: &token,
                digest: SecretDigest::of(token.as_bytes()),
            };
            let refused = issuer.verify(presented, SystemTime::now()).await;
            assert_eq!(refused.unwrap_err(), expected);
        }
    }
}
