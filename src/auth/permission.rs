//! Who may come back for what a call has left.

use std::fmt;
use std::sync::Arc;

use super::{Caller, Principal, Reach};

/// Which callers may see something: those of one principal whose credential still allows it, and is
/// good for as much as the one that it comes from. Two credentials of one principal need not allow the
/// same.
#[derive(Clone)]
pub struct Permission {
    principal: Principal,
    reach: Reach,
    allows: Arc<dyn Fn(&Caller) -> bool + Send + Sync>,
}

impl Permission {
    /// What comes of this caller, for all credentials of its principal.
    pub fn of(caller: &Caller) -> Self {
        Self::of_some(caller, |_| true)
    }

    /// What comes of this caller, for those of the credentials that are allowed to see it.
    pub fn of_some(
        caller: &Caller,
        allows: impl Fn(&Caller) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            principal: caller.principal.clone(),
            reach: caller.reach.clone(),
            allows: Arc::new(allows),
        }
    }

    /// Whether a caller may see it.
    pub fn permits(&self, caller: &Caller) -> bool {
        caller.principal == self.principal
            && caller.reach.covers(&self.reach)
            && (self.allows)(caller)
    }
}

impl fmt::Debug for Permission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Permission")
            .field("principal", &self.principal)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Issuer;

    #[test]
    fn a_principal_is_not_enough_where_its_credential_counts() {
        let caller = |subject: &str, roles: &[&str]| Caller {
            roles: roles.iter().map(ToString::to_string).collect(),
            ..Caller::new(Principal::user(Issuer::AuthFile, subject, None))
        };
        let alice = caller("alice", &[]);
        let any = Permission::of(&alice);
        let dba = Permission::of_some(&alice, |caller| caller.roles.contains(&"dba".to_owned()));
        let cases = [
            (caller("alice", &["dba"]), true, true),
            (caller("alice", &["clerk"]), true, false),
            (caller("bob", &["dba"]), false, false),
            (
                Caller {
                    reach: Reach::Toolsets(vec!["ops".to_owned()]),
                    ..caller("alice", &["dba"])
                },
                false,
                false,
            ),
        ];
        for (caller, by_principal, by_role) in cases {
            assert_eq!(any.permits(&caller), by_principal, "{caller:?}");
            assert_eq!(dba.permits(&caller), by_role, "{caller:?}");
        }
    }
}
