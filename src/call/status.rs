//! What HTTP says of a call without a result.

use http::StatusCode;

use crate::execute::{Limit, Outcome, Refusal};
use crate::protocol::version::Era;

/// What HTTP says of a reply without a result, should it be the whole response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorStatus {
    pub(super) status: StatusCode,
    /// When the request may be sent again, in seconds.
    pub(super) retry_after: Option<u64>,
}

impl From<StatusCode> for ErrorStatus {
    fn from(status: StatusCode) -> Self {
        Self {
            status,
            retry_after: None,
        }
    }
}

impl From<&Refusal> for ErrorStatus {
    fn from(refusal: &Refusal) -> Self {
        Self {
            status: match refusal.limit {
                Limit::Server | Limit::Tool | Limit::Audit => StatusCode::SERVICE_UNAVAILABLE,
                Limit::Principal | Limit::Rate => StatusCode::TOO_MANY_REQUESTS,
            },
            retry_after: Some(refusal.retry_after),
        }
    }
}

impl ErrorStatus {
    /// A legacy client sees every reply to a valid request as 200, and so does every client the error
    /// of a tool: the request was good, and the server works. What was not run is neither.
    pub(super) fn of(era: Era, outcome: &Outcome) -> Self {
        match (era, outcome) {
            (_, Outcome::Refused(refusal)) => refusal.into(),
            (Era::Legacy, _) | (Era::Modern, Outcome::Error(_)) => StatusCode::OK.into(),
            (Era::Modern, Outcome::MissingCapabilities(_)) => StatusCode::BAD_REQUEST.into(),
            (Era::Modern, Outcome::Stopped(_)) => StatusCode::SERVICE_UNAVAILABLE.into(),
            (Era::Modern, _) => StatusCode::INTERNAL_SERVER_ERROR.into(),
        }
    }
}
