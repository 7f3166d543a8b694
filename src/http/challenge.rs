//! How the server asks for a credential, or for a better one: the words of RFC 6750, section 3.

use axum::response::Response;
use http::StatusCode;
use http::header::{HeaderValue, WWW_AUTHENTICATE};

use super::reply;
use crate::dispatch::InsufficientScope;
use crate::protocol::jsonrpc::RequestId;

/// Answers a request whose token lacks scopes that it needs. All of them are named, so that a client
/// asks its user once.
pub(super) fn insufficient_scope(id: &RequestId, needed: &InsufficientScope) -> Response {
    let mut response = reply::error(StatusCode::FORBIDDEN, id, &needed.error());
    let scope = needed.scope();
    let challenge =
        format!("Bearer realm=\"mcp-serve\", error=\"insufficient_scope\", scope=\"{scope}\"");
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}
