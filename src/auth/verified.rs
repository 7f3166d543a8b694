//! Tokens that were checked before, so that a client which calls often does not pay for the check
//! each time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;

use super::Caller;
use crate::secret::SecretDigest;

/// The most tokens that are remembered.
const MAX_TOKENS: usize = 10_000;

/// What was found out about tokens, by their digests. Of what a finding rests on (`T`), such as a
/// set of keys, the caller judges whether it still holds.
#[derive(Debug)]
pub(super) struct Verified<T>(RwLock<HashMap<SecretDigest, Finding<T>>>);

#[derive(Debug, Clone)]
struct Finding<T> {
    caller: Arc<Caller>,
    rests_on: T,
}

impl<T> Default for Verified<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T> Verified<T> {
    /// Whom a token stands for, if that was found out, it has not expired, and what the finding
    /// rests on still holds.
    pub(super) fn get(
        &self,
        token: &SecretDigest,
        now: SystemTime,
        holds: impl FnOnce(&T) -> bool,
    ) -> Option<Arc<Caller>> {
        let findings = self.0.read();
        let finding = findings.get(token)?;
        let is_good = !finding.caller.is_expired(now) && holds(&finding.rests_on);
        is_good.then(|| Arc::clone(&finding.caller))
    }

    /// Remembers whom a token stands for. One that has expired makes room, or else any one: a token
    /// that is forgotten is checked again.
    pub(super) fn put(
        &self,
        token: SecretDigest,
        caller: &Arc<Caller>,
        rests_on: T,
        now: SystemTime,
    ) {
        let mut findings = self.0.write();
        if findings.len() >= MAX_TOKENS && !findings.contains_key(&token) {
            findings.retain(|_, finding| !finding.caller.is_expired(now));
            if findings.len() >= MAX_TOKENS {
                // The order of a map with a random key is nobody's choice.
                let any = findings.keys().next().cloned();
                any.and_then(|any| findings.remove(&any));
            }
        }
        let caller = Arc::clone(caller);
        findings.insert(token, Finding { caller, rests_on });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::{Issuer, Principal};

    fn caller(subject: &str, expires: u64) -> Arc<Caller> {
        let principal = Principal::user(Issuer::AuthFile, subject, None);
        Arc::new(Caller {
            expires: Some(at(expires)),
            ..Caller::new(principal)
        })
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn token(number: usize) -> SecretDigest {
        SecretDigest::of(&number.to_ne_bytes())
    }

    #[test]
    fn a_finding_holds_until_the_token_or_its_reason_ends() {
        let verified = Verified::default();
        verified.put(token(1), &caller("alice", 10), "key", at(1));
        let get = |number, second, key| verified.get(&token(number), at(second), |on| *on == key);
        assert_eq!(get(1, 9, "key").unwrap().subject(), "alice");
        assert!(get(1, 10, "key").is_none());
        assert!(get(1, 9, "other key").is_none());
        assert!(get(2, 9, "key").is_none());
    }

    #[test]
    fn only_so_many_tokens_are_remembered_and_those_that_ended_make_room() {
        let verified = Verified::default();
        for number in 0..MAX_TOKENS {
            let expires = if number < 10 { 5 } else { 100 };
            verified.put(token(number), &caller("alice", expires), (), at(1));
        }
        verified.put(token(MAX_TOKENS), &caller("alice", 100), (), at(6));
        assert_eq!(verified.0.read().len(), MAX_TOKENS - 9);
        for number in MAX_TOKENS..MAX_TOKENS + 20 {
            verified.put(token(number), &caller("alice", 100), (), at(6));
        }
        assert_eq!(verified.0.read().len(), MAX_TOKENS);
        let newest = verified.get(&token(MAX_TOKENS + 19), at(6), |()| true);
        assert!(newest.is_some());
    }
}
