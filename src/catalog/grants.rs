//! Who can call, as far as that is known when a file is loaded.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::allow::ClaimKind;
use crate::auth::{Authenticator, Caller};

/// Who can call, as far as that is known when a file is loaded: what a definition asks of a caller
/// is checked against it.
#[derive(Clone, Debug, Default)]
pub enum Grants {
    /// Everybody, and nobody is anything but anonymous.
    Open,
    /// These callers: their tokens are all known.
    Static(Vec<Arc<Caller>>),
    /// Anybody whom an issuer vouches for, or nothing is known of who can call.
    #[default]
    Any,
    /// The same, and this caller without a credential.
    AnyAnd(Arc<Caller>),
}

impl Grants {
    /// Those of a server with this authenticator.
    pub fn of(authenticator: &Authenticator) -> Self {
        match authenticator.callers() {
            None => Self::Open,
            Some(mut callers) if authenticator.trusts_others() => {
                let guest = callers.find(|caller| caller.is_guest());
                guest.map_or(Self::Any, |guest| Self::AnyAnd(Arc::clone(guest)))
            }
            Some(callers) => Self::Static(callers.map(Arc::clone).collect()),
        }
    }

    /// Whether one of those who can call may be like this.
    pub(crate) fn may_include(&self, is_like_this: impl Fn(&Caller) -> bool) -> bool {
        match self {
            // An anonymous caller has nothing that could be asked for.
            Self::Open => false,
            Self::Static(callers) => callers.iter().any(|caller| is_like_this(caller)),
            Self::Any | Self::AnyAnd(_) => true,
        }
    }

    /// Whom everybody without a credential is, where others need one.
    pub(crate) fn guest(&self) -> Option<&Caller> {
        match self {
            Self::Open | Self::Any => None,
            Self::Static(callers) => callers.iter().find(|caller| caller.is_guest()),
            Self::AnyAnd(caller) => Some(caller),
        }
        .map(|caller| &**caller)
    }

    /// Everything of this kind that somebody has; `None` if there may be more, or the users of one
    /// shared token have nothing but that.
    pub(crate) fn known(&self, kind: ClaimKind) -> Option<BTreeSet<&str>> {
        let Self::Static(callers) = self else {
            return None;
        };
        if callers.iter().all(|caller| caller.principal.is_shared()) {
            return None;
        }
        let values = callers.iter().flat_map(|caller| kind.values(caller));
        Some(values.collect())
    }
}
