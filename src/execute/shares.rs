//! How many of something are there for each principal, and in all.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::auth::Principal;

/// Counts what each principal has. A principal that stands for many people has no bound of its own: it
/// would be one for all of them. Where there is no bound, nothing is counted.
#[derive(Debug, Clone)]
pub(super) struct Shares {
    counts: Arc<Mutex<Counts>>,
    most: Option<usize>,
    most_each: Option<NonZeroUsize>,
}

/// Whose bound leaves no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The bound of all.
    All,
    /// The principal's own.
    Own,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    each: HashMap<Principal, usize>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    #[expect(dead_code, reason = "kept for its destructor")]
    counted: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    counts: Arc<Mutex<Counts>>,
    principal: Principal,
}

impl Shares {
    /// There are at most so many in all, and for each principal.
    pub(super) fn new(most: Option<usize>, most_each: Option<NonZeroUsize>) -> Self {
        Self {
            counts: Arc::default(),
            most,
            most_each,
        }
    }

    /// Takes one for a principal.
    ///
    /// # Errors
    ///
    /// Whose bound leaves none. A principal's own comes first.
    pub(super) fn take(&self, principal: &Principal) -> Result<Share, Full> {
        let is_one = principal.identity().is_some() && !principal.is_shared();
        let most_each = self.most_each.filter(|_| is_one);
        if self.most.is_none() && most_each.is_none() {
            return Ok(Share { counted: None });
        }
        let mut counts = self.counts.lock();
        let own = counts.each.get(principal).copied().unwrap_or(0);
        if most_each.is_some_and(|most| own >= most.get()) {
            return Err(Full::Own);
        }
        if self.most.is_some_and(|most| counts.all >= most) {
            return Err(Full::All);
        }
        counts.all += 1;
        counts.each.insert(principal.clone(), own + 1);
        let counted = Counted {
            counts: Arc::clone(&self.counts),
            principal: principal.clone(),
        };
        Ok(Share {
            counted: Some(counted),
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        counts.all = counts.all.saturating_sub(1);
        let Some(own) = counts.each.get_mut(&self.principal) else {
            return;
        };
        *own = own.saturating_sub(1);
        if *own == 0 {
            counts.each.remove(&self.principal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Issuer;

    #[test]
    fn each_has_a_bound_of_its_own_and_all_have_one_together() {
        let shares = Shares::new(Some(5), NonZeroUsize::new(2));
        let user = |issuer, name| Principal::user(issuer, name, None);
        let alice = user(Issuer::AuthFile, "alice");
        let bob = user(Issuer::AuthFile, "bob");
        let of_alice = [shares.take(&alice).unwrap(), shares.take(&alice).unwrap()];
        assert_eq!(shares.take(&alice).unwrap_err(), Full::Own);
        let of_bob = shares.take(&bob).unwrap();
        // Who is many has what is left.
        let others = [Principal::Anonymous, user(Issuer::TokenFile, "x")];
        let of_others = others.each_ref().map(|one| shares.take(one).unwrap());
        assert_eq!(shares.take(&bob).unwrap_err(), Full::All);
        assert_eq!(shares.take(&Principal::Anonymous).unwrap_err(), Full::All);
        // One's own limit comes first.
        assert_eq!(shares.take(&alice).unwrap_err(), Full::Own);
        drop(of_alice);
        let again = shares.take(&alice).unwrap();
        drop((again, of_bob, of_others));
        let counts = shares.counts.lock();
        assert_eq!((counts.all, counts.each.len()), (0, 0));
    }

    #[test]
    fn many_share_what_is_bounded_for_one() {
        let shares = Shares::new(Some(100), NonZeroUsize::new(1));
        let taken: Result<Vec<_>, _> = (0..100)
            .map(|_| shares.take(&Principal::Anonymous))
            .collect();
        assert_eq!(taken.unwrap().len(), 100);
    }

    #[test]
    fn without_a_bound_nothing_is_counted() {
        let alice = Principal::user(Issuer::AuthFile, "alice", None);
        let cases = [
            (None, None, &alice, 0),
            (None, NonZeroUsize::new(1), &Principal::Anonymous, 0),
            (None, NonZeroUsize::new(1), &alice, 1),
            (Some(1), None, &alice, 1),
        ];
        for (most, most_each, principal, counted) in cases {
            let shares = Shares::new(most, most_each);
            let share = shares.take(principal).unwrap();
            assert_eq!(shares.counts.lock().all, counted, "{most:?} {most_each:?}");
            drop(share);
            assert_eq!(shares.counts.lock().all, 0, "{most:?} {most_each:?}");
        }
    }
}
