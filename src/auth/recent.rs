//! What was found out about tokens of late, so that a client which calls often does not cost the
//! same question each time.

use std::collections::{HashMap, VecDeque};

use parking_lot::RwLock;

use crate::secret::SecretDigest;

/// The most tokens that one of these remembers.
pub(super) const MAX_TOKENS: usize = 10_000;

/// Findings about tokens, by the digests of these. Whether one still holds is for those to say who
/// ask. Beyond [`MAX_TOKENS`] the oldest one goes: a token that is forgotten is looked into again.
#[derive(Debug)]
pub(super) struct Recent<T>(RwLock<Findings<T>>);

#[derive(Debug)]
struct Findings<T> {
    by_token: HashMap<SecretDigest, T>,
    /// The tokens, each once, in the order in which they came in.
    order: VecDeque<SecretDigest>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(RwLock::new(Findings {
            by_token: HashMap::new(),
            order: VecDeque::new(),
        }))
    }
}

impl<T> Recent<T> {
    /// What is known of a token, as far as `look` makes something of it.
    pub(super) fn get<R>(
        &self,
        token: &SecretDigest,
        look: impl FnOnce(&T) -> Option<R>,
    ) -> Option<R> {
        self.0.read().by_token.get(token).and_then(look)
    }

    /// Remembers a finding, in place of what was known of the token. The oldest ones go as far as they
    /// are over.
    pub(super) fn put(&self, token: SecretDigest, finding: T, is_over: impl Fn(&T) -> bool) {
        let mut findings = self.0.write();
        let Findings { by_token, order } = &mut *findings;
        while let Some(oldest) =
            order.pop_front_if(|oldest| by_token.get(oldest).is_none_or(&is_over))
        {
            by_token.remove(&oldest);
        }
        if by_token.insert(token.clone(), finding).is_some() {
            return;
        }
        order.push_back(token);
        if order.len() > MAX_TOKENS
            && let Some(oldest) = order.pop_front()
        {
            by_token.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(number: usize) -> SecretDigest {
        SecretDigest::of(&number.to_ne_bytes())
    }

    #[test]
    fn a_finding_is_there_as_long_as_it_holds() {
        let recent = Recent::default();
        recent.put(token(1), "alice", |_| false);
        let get = |number, expected| {
            let holds = |finding: &&'static str| (*finding == expected).then_some(());
            recent.get(&token(number), holds).is_some()
        };
        assert!(get(1, "alice"));
        assert!(!get(1, "bob"));
        assert!(!get(2, "alice"));
        recent.put(token(1), "bob", |_| false);
        assert!(get(1, "bob"));
    }

    #[test]
    fn the_oldest_findings_make_room() {
        let recent = Recent::default();
        for number in 0..MAX_TOKENS + 20 {
            recent.put(token(number), number, |_| false);
            // Known already, so that nobody has to go.
            recent.put(token(number), number, |_| false);
        }
        let findings = recent.0.read();
        assert_eq!(findings.by_token.len(), MAX_TOKENS);
        assert_eq!(findings.order.len(), MAX_TOKENS);
        drop(findings);
        let is_known = |number| recent.get(&token(number), |_| Some(())).is_some();
        assert!(!is_known(19));
        assert!(is_known(20));
        assert!(is_known(MAX_TOKENS + 19));
    }

    #[test]
    fn what_is_over_takes_no_room() {
        let recent = Recent::default();
        for end in [1, 2, 9, 3] {
            recent.put(token(end), end, |_| false);
        }
        recent.put(token(10), 10, |end| *end <= 3);
        let findings = recent.0.read();
        // One behind another that lasts waits for its turn.
        assert_eq!(findings.order, [9, 3, 10].map(token));
        assert_eq!(findings.by_token.len(), 3);
    }
}
