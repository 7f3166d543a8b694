//! The end of a credential before its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// Says when a credential is taken back. What it opened and what goes on for long, such as a stream,
/// ends then.
///
/// Two of them are equal whatever they belong to, so that callers are compared by what is said of
/// them.
#[derive(Debug, Clone, Default)]
pub struct Revocation(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Requests look at it, which have no time for a lock.
    is_revoked: AtomicBool,
    revoked: CancellationToken,
}

impl Revocation {
    /// Takes back every credential that this belongs to.
    pub(super) fn revoke(&self) {
        self.0.is_revoked.store(true, Ordering::Release);
        self.0.revoked.cancel();
    }

    /// Takes back every credential that this belongs to, and begins another one for those which come
    /// after them.
    pub(super) fn replace(&self) -> Self {
        self.revoke();
        Self::default()
    }

    /// Whether the credential was taken back.
    pub fn is_revoked(&self) -> bool {
        self.0.is_revoked.load(Ordering::Acquire)
    }

    /// Completes when the credential is taken back; at once if it was.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if this is dropped before it completes.
    pub async fn revoked(&self) {
        self.0.revoked.cancelled().await;
    }
}

impl PartialEq for Revocation {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Revocation {}
