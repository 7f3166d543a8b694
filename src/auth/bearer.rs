//! Bearer tokens in a header (RFC 6750, section 2.1).

use super::AuthError;

/// Takes the token out of `Bearer TOKEN`; the scheme compares without case.
pub(super) fn token(authorization: &[u8]) -> Result<&str, AuthError> {
    let Ok(text) = std::str::from_utf8(authorization) else {
        return Err(AuthError::Malformed);
    };
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::Missing);
    }
    if is_token(token) {
        Ok(token)
    } else {
        Err(AuthError::Malformed)
    }
}

/// The `b64token` of RFC 6750.
pub(super) fn is_token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty()
        && body
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}
