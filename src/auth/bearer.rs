//! Bearer tokens in headers (RFC 6750, section 2.1).

use std::fmt;

use super::AuthError;

/// What a request presents: at most one token, in whichever headers.
pub struct Credential<'a>(Result<Option<&'a str>, AuthError>);

/// Does not show the token.
impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

impl<'a> Credential<'a> {
    /// What the `Authorization` headers of a request say.
    pub fn of_authorization(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self(only(values).and_then(|value| value.map(in_scheme).transpose()))
    }

    /// The same with the headers of another name, whose value is the token alone. If both present one, it
    /// must be the same: which of two counts would be a question to which others have another answer.
    #[must_use]
    pub fn and(self, values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self(self.0.and_then(|known| {
            let more = only(values)?.map(alone).transpose()?;
            match (known, more) {
                (Some(one), Some(other)) if one != other => Err(AuthError::Invalid),
                (known, more) => Ok(known.or(more)),
            }
        }))
    }

    pub(super) fn token(self) -> Result<Option<&'a str>, AuthError> {
        self.0
    }
}

/// The value of a header that may stand once.
fn only<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<&'a [u8]>, AuthError> {
    let mut values = values.into_iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(AuthError::Malformed),
    }
}

/// Takes the token out of `Bearer TOKEN`; the scheme compares without case.
fn in_scheme(authorization: &[u8]) -> Result<&str, AuthError> {
    let Ok(text) = std::str::from_utf8(authorization) else {
        return Err(AuthError::Malformed);
    };
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::Missing);
    }
    checked(token)
}

fn alone(value: &[u8]) -> Result<&str, AuthError> {
    checked(std::str::from_utf8(value).map_err(|_| AuthError::Malformed)?)
}

fn checked(token: &str) -> Result<&str, AuthError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    type Values = &'static [&'static [u8]];

    #[test]
    fn all_that_is_presented_is_the_same() {
        const A: &[u8] = b"token-a";
        const BEARER: &[u8] = b"Bearer token-a";
        let malformed = Err(AuthError::Malformed);
        let cases: [(Values, [Values; 2], _); 14] = [
            (&[], [&[], &[]], Ok(None)),
            (&[BEARER], [&[], &[]], Ok(Some("token-a"))),
            (&[], [&[A], &[]], Ok(Some("token-a"))),
            (&[], [&[], &[A]], Ok(Some("token-a"))),
            (&[BEARER], [&[A], &[A]], Ok(Some("token-a"))),
            (&[BEARER], [&[b"token-b"], &[]], Err(AuthError::Invalid)),
            (&[], [&[A], &[b"token-b"]], Err(AuthError::Invalid)),
            (&[BEARER], [&[b"Token-a"], &[]], Err(AuthError::Invalid)),
            (&[b"Basic dTpw"], [&[A], &[]], Err(AuthError::Missing)),
            (&[], [&[BEARER], &[]], malformed),
            (&[], [&[b""], &[]], malformed),
            (&[BEARER], [&[b"\xff"], &[]], malformed),
            (&[BEARER, BEARER], [&[], &[]], malformed),
            (&[BEARER], [&[A, A], &[]], malformed),
        ];
        for (authorization, others, expected) in cases {
            let credential = Credential::of_authorization(authorization.iter().copied());
            let both = (others.into_iter()).fold(credential, |known, values| {
                known.and(values.iter().copied())
            });
            assert_eq!(both.token(), expected, "{authorization:?} {others:?}");
        }
    }
}
