//! How the server asks for a credential, or for a better one: the words of RFC 6750, section 3.

use axum::response::Response;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};

use super::reply;
use crate::auth::AuthError;
use crate::dispatch::InsufficientScope;
use crate::protocol::jsonrpc::RequestId;

/// A challenge without parameters of its own: what a client needs is a token.
const CHALLENGE: &str = "Bearer realm=\"mcp-serve\"";

/// Answers a request that was not let in.
pub(super) fn unauthorized(error: AuthError, headers: &HeaderMap) -> Response {
    let (status, message, parameters) = match error {
        // Who presents no credential is told of no error (section 3.1).
        AuthError::Missing => (
            StatusCode::UNAUTHORIZED,
            "Unauthorized: a bearer token is needed",
            "",
        ),
        AuthError::Malformed => (
            StatusCode::BAD_REQUEST,
            "Invalid request: the Authorization header must be \"Bearer TOKEN\"",
            ", error=\"invalid_request\"",
        ),
        AuthError::Invalid => (
            StatusCode::UNAUTHORIZED,
            "Unauthorized: the bearer token is not valid",
            ", error=\"invalid_token\"",
        ),
        AuthError::Expired => (
            StatusCode::UNAUTHORIZED,
            "Unauthorized: the bearer token has expired",
            ", error=\"invalid_token\", error_description=\"The access token expired\"",
        ),
    };
    challenged(reply::refusal(status, headers, message), parameters)
}

/// Answers a request whose token lacks scopes that it needs. All of them are named, so that a client
/// asks its user once.
pub(super) fn insufficient_scope(id: &RequestId, needed: &InsufficientScope) -> Response {
    let scope = needed.scope();
    challenged(
        reply::error(StatusCode::FORBIDDEN, id, &needed.error()),
        &format!(", error=\"insufficient_scope\", scope=\"{scope}\""),
    )
}

/// Adds a challenge with these parameters.
fn challenged(mut response: Response, parameters: &str) -> Response {
    // A scope that cannot stand in a header could not be granted either.
    let challenge = HeaderValue::try_from(format!("{CHALLENGE}{parameters}"))
        .unwrap_or(HeaderValue::from_static(CHALLENGE));
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(response: &Response) -> &str {
        response.headers()[WWW_AUTHENTICATE].to_str().unwrap()
    }

    #[test]
    fn a_challenge_says_what_is_wrong_with_a_credential() {
        let cases = [
            (AuthError::Missing, 401, ""),
            (AuthError::Malformed, 400, ", error=\"invalid_request\""),
            (AuthError::Invalid, 401, ", error=\"invalid_token\""),
            (
                AuthError::Expired,
                401,
                ", error=\"invalid_token\", error_description=\"The access token expired\"",
            ),
        ];
        for (error, status, parameters) in cases {
            let response = unauthorized(error, &HeaderMap::new());
            assert_eq!(response.status(), status, "{error:?}");
            let expected = format!("Bearer realm=\"mcp-serve\"{parameters}");
            assert_eq!(challenge(&response), expected, "{error:?}");
        }
    }
}
