//! How the server asks for a credential, or for a better one: the words of RFC 6750, section 3.

use axum::response::Response;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};

use super::endpoint::Exchange;
use super::metadata;
use super::reply::{self, RetryAfter};
use crate::app::App;
use crate::auth::AuthError;
use crate::catalog::Endpoint;
use crate::dispatch::InsufficientScope;
use crate::protocol::jsonrpc::RequestId;

/// A challenge without parameters of its own: what a client needs is a token.
const CHALLENGE: &str = "Bearer realm=\"mcp-serve\"";

/// The longest list of scopes that a challenge names, in bytes: clients and proxies bound their headers,
/// and all the scopes are in the metadata too.
const MAX_SCOPE: usize = 1024;

/// Answers a request that was not let in.
pub(super) fn unauthorized(
    app: &App,
    endpoint: &Endpoint,
    headers: &HeaderMap,
    error: AuthError,
) -> Response {
    let metadata = metadata::url(app, endpoint);
    // Who is told of nobody who grants scopes cannot ask for any.
    let scope = metadata.as_ref().map(|_| metadata::scope(app));
    refused(
        error,
        headers,
        &scope.unwrap_or_default(),
        metadata.as_deref(),
    )
}

/// Answers a client that was wrong about its credential too often.
pub(super) fn throttled() -> Response {
    let message = "Too many requests without a valid credential; try again later";
    let mut response = reply::unavailable(None, message, RetryAfter::Busy);
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    response
}

fn refused(error: AuthError, headers: &HeaderMap, scope: &str, metadata: Option<&str>) -> Response {
    let (status, message, parameters) = match error {
        AuthError::Unavailable | AuthError::UnknownKey => {
            let message = "The bearer token cannot be checked at the moment; try again later";
            return reply::unavailable(None, message, RetryAfter::Full);
        }
        // Who presents no credential is told of no error (section 3.1).
        AuthError::Missing => (
            StatusCode::UNAUTHORIZED,
            "Unauthorized: a bearer token is needed",
            "",
        ),
        AuthError::Malformed => (
            StatusCode::BAD_REQUEST,
            "Invalid request: the credential must be one token, as in \"Authorization: Bearer TOKEN\"",
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
        AuthError::Audience | AuthError::Reach => (
            StatusCode::UNAUTHORIZED,
            "Unauthorized: the bearer token is for another resource",
            ", error=\"invalid_token\", error_description=\"The access token is for another resource\"",
        ),
    };
    // Whose header is malformed needs no other token.
    let has_scope = status == StatusCode::UNAUTHORIZED && (1..=MAX_SCOPE).contains(&scope.len());
    let scope = if has_scope {
        format!(", scope=\"{scope}\"")
    } else {
        String::new()
    };
    challenged(
        reply::refusal(status, headers, message),
        &format!("{parameters}{scope}"),
        metadata,
    )
}

/// Answers a request whose token lacks scopes that it needs. All of them are named, so that a client
/// asks its user once.
pub(super) fn insufficient_scope(
    exchange: &Exchange,
    id: &RequestId,
    needed: &InsufficientScope,
) -> Response {
    let metadata = metadata::url(&exchange.app, &exchange.endpoint);
    let scope = needed.scope();
    challenged(
        reply::error(StatusCode::FORBIDDEN, id, &needed.error()),
        &format!(", error=\"insufficient_scope\", scope=\"{scope}\""),
        metadata.as_deref(),
    )
}

/// Adds a challenge with these parameters, which says where a client gets a better token (RFC 9728,
/// section 5.1).
fn challenged(mut response: Response, parameters: &str, metadata: Option<&str>) -> Response {
    let metadata =
        metadata.map_or_else(String::new, |url| format!(", resource_metadata=\"{url}\""));
    // A scope that cannot stand in a header could not be granted either.
    let challenge = HeaderValue::try_from(format!("{CHALLENGE}{parameters}{metadata}"))
        .unwrap_or(HeaderValue::from_static(CHALLENGE));
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;

    use super::*;

    fn challenge(response: &Response) -> &str {
        response.headers()[WWW_AUTHENTICATE].to_str().unwrap()
    }

    #[test]
    fn a_challenge_says_what_is_wrong_with_a_credential() {
        let elsewhere = ", error=\"invalid_token\", error_description=\"The access token is for \
                         another resource\"";
        let cases = [
            (AuthError::Missing, 401, ""),
            (AuthError::Malformed, 400, ", error=\"invalid_request\""),
            (AuthError::Invalid, 401, ", error=\"invalid_token\""),
            (
                AuthError::Expired,
                401,
                ", error=\"invalid_token\", error_description=\"The access token expired\"",
            ),
            (AuthError::Audience, 401, elsewhere),
            (AuthError::Reach, 401, elsewhere),
        ];
        for (error, status, parameters) in cases {
            let response = refused(error, &HeaderMap::new(), "", None);
            assert_eq!(response.status(), status, "{error:?}");
            let expected = format!("Bearer realm=\"mcp-serve\"{parameters}");
            assert_eq!(challenge(&response), expected, "{error:?}");
        }
    }

    #[test]
    fn who_may_have_a_good_token_is_told_to_come_back_and_to_get_no_other() {
        for error in [AuthError::Unavailable, AuthError::UnknownKey] {
            let response = refused(error, &HeaderMap::new(), "list", Some("https://h/metadata"));
            assert_eq!(response.status(), 503, "{error:?}");
            assert!(response.headers().contains_key(RETRY_AFTER), "{error:?}");
            assert!(
                !response.headers().contains_key(WWW_AUTHENTICATE),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_challenge_says_where_to_get_a_token() {
        let url = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
        let response = refused(AuthError::Missing, &HeaderMap::new(), "", Some(url));
        let expected = format!("Bearer realm=\"mcp-serve\", resource_metadata=\"{url}\"");
        assert_eq!(challenge(&response), expected);
    }

    #[test]
    fn a_challenge_names_what_to_ask_for_unless_that_is_too_much() {
        let longest = "s".repeat(MAX_SCOPE);
        let too_long = "s".repeat(MAX_SCOPE + 1);
        let cases = [
            (AuthError::Missing, "list read", true),
            (AuthError::Expired, "list", true),
            (AuthError::Malformed, "list", false),
            (AuthError::Missing, "", false),
            (AuthError::Invalid, &longest, true),
            (AuthError::Invalid, &too_long, false),
        ];
        for (error, scope, expected) in cases {
            let response = refused(error, &HeaderMap::new(), scope, None);
            let named = challenge(&response).ends_with(&format!(", scope=\"{scope}\""));
            assert_eq!(named, expected, "{error:?} {scope}");
        }
    }
}
