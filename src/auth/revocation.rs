//! The end of a credential before its time.

use tokio_util::sync::CancellationToken;

/// Says when a credential is taken back. What it opened and what goes on for long, such as a stream,
/// ends then.
///
/// Two of them are equal whatever they belong to, so that callers are compared by what is said of
/// them.
#[derive(Debug, Clone, Default)]
pub struct Revocation(CancellationToken);

impl Revocation {
    /// Takes back every credential that this belongs to.
    pub(super) fn revoke(&self) {
        self.0.cancel();
    }

    /// Takes back every credential that this belongs to, and begins another one for those which come
    /// after them.
    pub(super) fn replace(&self) -> Self {
        self.revoke();
        Self::default()
    }

    /// Completes when the credential is taken back; at once if it was.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if this is dropped before it completes.
    pub async fn revoked(&self) {
        self.0.cancelled().await;
    }
}

impl PartialEq for Revocation {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Revocation {}
