//! Who is calling.
//!
//! The credential of a request is checked once, at the edge. What comes out is a [`Caller`], which
//! travels with the message; the token itself goes no further. An empty set of tokens lets nobody
//! in.

use std::fmt;
use std::sync::Arc;

use crate::secret::{Secret, SecretDigest};

/// The shortest token, in characters: 128 bits need 22 characters of Base64.
pub const MIN_TOKEN_CHARS: usize = 22;

/// The subject that the one token of a token file stands for.
const TOKEN_FILE_SUBJECT: &str = "default";

/// The stable identity behind a credential. Two tokens of one subject are one principal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// Nobody presented a credential, and none is needed.
    Anonymous,
    /// The subject of a verified credential.
    Subject(Arc<str>),
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Subject(subject) => f.write_str(subject),
        }
    }
}

/// The caller of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who it is.
    pub principal: Principal,
}

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// No bearer token was presented.
    Missing,
    /// The header is not a bearer token (RFC 6750, section 2.1).
    Malformed,
    /// The token is unknown.
    Invalid,
}

/// A token that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Too easy to guess.
    #[error(
        "the token has {0} characters, but needs at least {MIN_TOKEN_CHARS}; make one with: openssl rand -base64 32"
    )]
    TooShort(usize),
    /// Cannot stand in an Authorization header.
    #[error("the token may hold only A-Z a-z 0-9 - . _ ~ + / and = at its end, on one line")]
    NotAToken,
}

/// Decides who a request comes from.
#[derive(Debug)]
pub enum Authenticator {
    /// Everybody is anonymous.
    Open,
    /// Only these tokens are let in.
    Tokens(Vec<(SecretDigest, Arc<Caller>)>),
}

impl Authenticator {
    /// Lets in the one token of a token file. White space around it is ignored.
    ///
    /// # Errors
    ///
    /// [`TokenError`] for a token that is too short or could not be sent.
    pub fn single_token(secret: &Secret) -> Result<Self, TokenError> {
        let token = secret.expose().trim();
        let chars = token.chars().count();
        if chars < MIN_TOKEN_CHARS {
            return Err(TokenError::TooShort(chars));
        }
        if !is_b64token(token) {
            return Err(TokenError::NotAToken);
        }
        let caller = Caller {
            principal: Principal::Subject(TOKEN_FILE_SUBJECT.into()),
        };
        let digest = Secret::new(token).digest();
        Ok(Self::Tokens(vec![(digest, Arc::new(caller))]))
    }

    /// Checks the value of an `Authorization` header.
    ///
    /// # Errors
    ///
    /// [`AuthError`], of which the client learns no more than RFC 6750 says.
    pub fn authenticate(&self, authorization: Option<&[u8]>) -> Result<Arc<Caller>, AuthError> {
        let tokens = match self {
            Self::Open => {
                return Ok(Arc::new(Caller {
                    principal: Principal::Anonymous,
                }));
            }
            Self::Tokens(tokens) => tokens,
        };
        let token = bearer_token(authorization.ok_or(AuthError::Missing)?)?;
        let presented = SecretDigest::of(token.as_bytes());
        // Every digest is compared, so that the position of a match does not show either.
        let mut found = None;
        for (digest, caller) in tokens {
            if *digest == presented {
                found = Some(caller);
            }
        }
        found.map(Arc::clone).ok_or(AuthError::Invalid)
    }
}

/// Takes the token out of `Bearer TOKEN`; the scheme compares without case.
fn bearer_token(authorization: &[u8]) -> Result<&str, AuthError> {
    let Ok(text) = std::str::from_utf8(authorization) else {
        return Err(AuthError::Malformed);
    };
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::Missing);
    }
    if is_b64token(token) {
        Ok(token)
    } else {
        Err(AuthError::Malformed)
    }
}

/// The `b64token` of RFC 6750.
fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty()
        && body
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "mfZ3b1mXk0Qy7h2Vn5cR8w";

    type Case = (&'static str, Option<&'static [u8]>, Option<AuthError>);

    #[test]
    fn only_the_token_is_let_in() {
        let authenticator =
            Authenticator::single_token(&Secret::new(format!("{TOKEN}\n"))).unwrap();
        let cases: [Case; 14] = [
            ("right", Some(b"Bearer mfZ3b1mXk0Qy7h2Vn5cR8w"), None),
            (
                "lower-case scheme",
                Some(b"bearer mfZ3b1mXk0Qy7h2Vn5cR8w"),
                None,
            ),
            ("none", None, Some(AuthError::Missing)),
            (
                "other scheme",
                Some(b"Basic dXNlcjpwYXNz"),
                Some(AuthError::Missing),
            ),
            ("empty", Some(b""), Some(AuthError::Missing)),
            ("scheme alone", Some(b"Bearer"), Some(AuthError::Malformed)),
            (
                "scheme and space",
                Some(b"Bearer "),
                Some(AuthError::Malformed),
            ),
            (
                "two spaces",
                Some(b"Bearer  mfZ3b1mXk0Qy7h2Vn5cR8w"),
                Some(AuthError::Malformed),
            ),
            (
                "space after",
                Some(b"Bearer mfZ3b1mXk0Qy7h2Vn5cR8w "),
                Some(AuthError::Malformed),
            ),
            (
                "two tokens",
                Some(b"Bearer a, Bearer b"),
                Some(AuthError::Malformed),
            ),
            (
                "not UTF-8",
                Some(b"Bearer \xff\xfe"),
                Some(AuthError::Malformed),
            ),
            ("wrong", Some(b"Bearer wrong"), Some(AuthError::Invalid)),
            (
                "prefix",
                Some(b"Bearer mfZ3b1mXk0Qy7h2Vn5cR8"),
                Some(AuthError::Invalid),
            ),
            (
                "longer",
                Some(b"Bearer mfZ3b1mXk0Qy7h2Vn5cR8w="),
                Some(AuthError::Invalid),
            ),
        ];
        for (name, header, expected) in cases {
            assert_eq!(authenticator.authenticate(header).err(), expected, "{name}");
        }
        let caller = authenticator
            .authenticate(Some(b"Bearer mfZ3b1mXk0Qy7h2Vn5cR8w"))
            .unwrap();
        assert_eq!(caller.principal.to_string(), "default");
    }

    #[test]
    fn no_tokens_let_nobody_in() {
        let authenticator = Authenticator::Tokens(Vec::new());
        assert_eq!(
            authenticator.authenticate(Some(b"Bearer x")),
            Err(AuthError::Invalid)
        );
        assert_eq!(authenticator.authenticate(None), Err(AuthError::Missing));
    }

    #[test]
    fn weak_tokens_are_refused() {
        let cases = [
            ("", TokenError::TooShort(0)),
            ("changeme", TokenError::TooShort(8)),
            ("mfZ3b1mXk0Qy7h2Vn5cR8", TokenError::TooShort(21)),
            ("two words of many characters", TokenError::NotAToken),
            (
                "mfZ3b1mXk0Qy7h2Vn5cR8w\nmfZ3b1mXk0Qy7h2Vn5cR8w",
                TokenError::NotAToken,
            ),
        ];
        for (token, expected) in cases {
            let error = Authenticator::single_token(&Secret::new(token)).unwrap_err();
            assert_eq!(error, expected, "{token}");
        }
    }
}
