//! Tokens that the operator hands out, known by their digests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::{Caller, Principal};
use crate::secret::SecretDigest;

/// Tokens by their digests.
///
/// A look-up takes the same time whatever a token has in common with a real one: the bucket comes
/// from a hash with a random key over the SHA-256 digest of what was presented, so that bytes
/// which were guessed right lead nowhere near the right digest, and two digests compare in
/// constant time.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    callers: HashMap<SecretDigest, Arc<Caller>>,
    /// The digests in the order in which they were given.
    order: Vec<SecretDigest>,
    /// Until when each principal has a token; `None` for ever.
    latest: HashMap<Principal, Option<SystemTime>>,
}

impl Tokens {
    pub(super) fn new(tokens: impl IntoIterator<Item = (SecretDigest, Caller)>) -> Self {
        let mut all = Self::default();
        for (digest, caller) in tokens {
            let principal = caller.principal.clone();
            all.latest
                .entry(principal)
                .and_modify(|latest| {
                    *latest = latest
                        .zip(caller.expires)
                        .map(|(one, other)| one.max(other));
                })
                .or_insert(caller.expires);
            all.order.push(digest.clone());
            all.callers.insert(digest, Arc::new(caller));
        }
        all
    }

    /// Whom a token stands for, whether it has expired or not.
    pub(super) fn get(&self, token: &SecretDigest) -> Option<&Arc<Caller>> {
        self.callers.get(token)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }

    /// Whom the tokens stand for, once for each token and in the order in which they were given.
    pub(super) fn callers(&self) -> impl Iterator<Item = &Arc<Caller>> {
        self.order.iter().filter_map(|token| self.get(token))
    }

    /// When the next principal loses its last token; `None` if none will.
    pub(super) fn next_loss(&self, now: SystemTime) -> Option<SystemTime> {
        let losses = self.latest.values().copied().flatten();
        losses.filter(|loss| *loss > now).min()
    }

    /// Whether a principal has a token that is good at this time.
    pub(super) fn has_one_of(&self, principal: &Principal, now: SystemTime) -> bool {
        let latest = self.latest.get(principal);
        latest.is_some_and(|latest| latest.is_none_or(|latest| now < latest))
    }

    /// Goes on with the tokens of an earlier set that say the same, and takes back all others of it.
    pub(super) fn succeed(&mut self, earlier: &Self) {
        for (digest, before) in &earlier.callers {
            match self.callers.get_mut(digest) {
                Some(caller) if caller == before => *caller = Arc::clone(before),
                _ => before.revocation.revoke(),
            }
        }
    }
}
