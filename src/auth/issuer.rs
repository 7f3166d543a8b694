//! An authorization server whose tokens are read here.

use std::sync::Arc;
use std::time::SystemTime;

use super::authenticator::Presented;
use super::fetch::Fetcher;
use super::jwt::{KeySet, Refused, Unverified};
use super::keys::Keys;
use super::recent::Recent;
use super::revocation::Revocation;
use super::settings::IssuerSettings;
use super::{AuthError, Caller};
use crate::secret::SecretDigest;

/// An issuer of JWTs, with its keys and what was checked by them.
#[derive(Debug)]
pub(super) struct TrustedIssuer {
    settings: IssuerSettings,
    keys: Keys,
    verified: Recent<Verified>,
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
            keys: Keys::new(issuer, settings.source.clone(), fetcher),
            settings,
            verified: Recent::default(),
            revocation: Revocation::default(),
        }
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

    /// Keeps its keys fresh until it is trusted no more.
    pub(super) async fn keep_keys(&self) {
        tokio::select! {
            () = self.keys.keep() => {}
            () = self.revocation.revoked() => {}
        }
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

    /// Says in the log why a token is refused, and how much of that its client learns.
    fn refuse(&self, refused: &Refused) -> AuthError {
        let issuer = &**self.issuer();
        tracing::debug!(issuer, reason = %refused, "a token is refused");
        match refused {
            Refused::Expired => AuthError::Expired,
            Refused::UnknownKey if self.keys.may_be_old() => AuthError::UnknownKey,
            _ => AuthError::Invalid,
        }
    }
}
