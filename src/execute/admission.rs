//! What comes before a call.

use std::fmt;

use futures_util::future::BoxFuture;

use super::Refusal;

/// What has to happen before anything of a call runs or its client is answered, or why nothing may.
pub struct Admission(pub(super) BoxFuture<'static, Result<(), Refusal>>);

impl Admission {
    /// Waits for this.
    pub fn new(admitted: impl Future<Output = Result<(), Refusal>> + Send + 'static) -> Self {
        Self(Box::pin(admitted))
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admission(…)")
    }
}
