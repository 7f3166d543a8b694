//! The stable identity behind a credential.

use std::fmt::{self, Write as _};
use std::sync::Arc;

/// How much of a subject or tenant a log shows, in characters.
const MAX_SHOWN: usize = 64;

/// Who somebody is: issuer, subject and tenant, and never the bytes of a token. Two tokens of one
/// subject are one principal; the same subject in another tenant is another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// Nobody presented a credential, and none is needed.
    Anonymous,
    /// Whom a verified credential stands for.
    User(Arc<Identity>),
}

/// What the issuer of a credential says about whom it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Who vouches for it.
    pub issuer: Issuer,
    /// The subject, unique in its tenant.
    pub subject: String,
    /// The tenant, if there are tenants.
    pub tenant: Option<String>,
}

/// Who vouches for an identity. A subject means nothing without it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Issuer {
    /// The token file, whose one token all its users share.
    TokenFile,
    /// The auth file.
    AuthFile,
    /// An authorization server, by its issuer identifier (RFC 8414, section 2).
    Server(Arc<str>),
}

impl Issuer {
    /// The name in the audit log, and for tools.
    pub fn as_str(&self) -> &str {
        match self {
            Self::TokenFile => "token_file",
            Self::AuthFile => "auth_file",
            Self::Server(issuer) => issuer,
        }
    }
}

impl Principal {
    /// The principal of an identity.
    pub fn user(issuer: Issuer, subject: impl Into<String>, tenant: Option<String>) -> Self {
        Self::User(Arc::new(Identity {
            issuer,
            subject: subject.into(),
            tenant,
        }))
    }

    /// Returns the identity; `None` for anonymous callers.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Anonymous => None,
            Self::User(identity) => Some(identity),
        }
    }

    /// Whether it stands for any number of people who share one token, so that a limit for each
    /// principal would be a limit for all of them.
    pub fn is_shared(&self) -> bool {
        self.identity()
            .is_some_and(|identity| identity.issuer == Issuer::TokenFile)
    }
}

/// Subject and tenant for a log: bounded, on one line and without control characters.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(identity) = self.identity() else {
            return f.write_str("anonymous");
        };
        write_shown(f, &identity.subject)?;
        if let Some(tenant) = &identity.tenant {
            f.write_str(" (")?;
            write_shown(f, tenant)?;
            f.write_char(')')?;
        }
        Ok(())
    }
}

fn write_shown(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mut characters = text.chars();
    for character in characters.by_ref().take(MAX_SHOWN) {
        write!(f, "{}", character.escape_debug())?;
    }
    if characters.next().is_some() {
        f.write_char('…')?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice(tenant: Option<&str>) -> Principal {
        Principal::user(Issuer::AuthFile, "alice", tenant.map(str::to_owned))
    }

    #[test]
    fn issuer_subject_and_tenant_make_a_principal() {
        assert_eq!(alice(Some("acme")), alice(Some("acme")));
        let others = [
            alice(None),
            alice(Some("globex")),
            Principal::user(Issuer::AuthFile, "bob", Some("acme".to_owned())),
            Principal::user(Issuer::TokenFile, "alice", Some("acme".to_owned())),
            Principal::Anonymous,
        ];
        for other in others {
            assert_ne!(alice(Some("acme")), other);
        }
    }

    #[test]
    fn only_the_principal_of_a_token_file_is_shared() {
        assert!(Principal::user(Issuer::TokenFile, "default", None).is_shared());
        assert!(!alice(None).is_shared());
        assert!(!Principal::Anonymous.is_shared());
    }

    #[test]
    fn a_log_shows_subject_and_tenant_on_one_line() {
        let long = "x".repeat(MAX_SHOWN + 1);
        let cases = [
            ("alice", None, "alice".to_owned()),
            ("alice", Some("acme"), "alice (acme)".to_owned()),
            ("Ünal Öz", None, "Ünal Öz".to_owned()),
            ("a\nb\u{1b}[31m", None, "a\\nb\\u{1b}[31m".to_owned()),
            ("a\u{202e}b", None, "a\\u{202e}b".to_owned()),
            (long.as_str(), None, format!("{}…", "x".repeat(MAX_SHOWN))),
        ];
        for (subject, tenant, expected) in cases {
            let tenant = tenant.map(str::to_owned);
            let principal = Principal::user(Issuer::AuthFile, subject, tenant);
            assert_eq!(principal.to_string(), expected);
        }
        assert_eq!(Principal::Anonymous.to_string(), "anonymous");
    }
}
