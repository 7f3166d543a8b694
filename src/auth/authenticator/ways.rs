//! The ways in, for those who run the server.

use std::sync::Arc;

use super::{Authenticator, Credentials};
use crate::auth::Caller;
use crate::auth::introspection::Introspection;
use crate::auth::issuer::TrustedIssuer;

/// A way to be let in. Nothing of it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayIn {
    /// What it is: `token`, `issuer`, `introspection` or `anonymous`.
    pub kind: &'static str,
    /// Whom it is for, or who vouches.
    pub name: String,
    /// What else there is to know.
    pub about: Vec<String>,
}

impl Authenticator {
    /// Every way in, in the order of the file; none where everybody is let in.
    pub fn ways_in(&self) -> Vec<WayIn> {
        self.credentials()
            .map_or_else(Vec::new, Credentials::ways_in)
    }
}

impl Credentials {
    fn ways_in(&self) -> Vec<WayIn> {
        let tokens = self.tokens.callers().map(token);
        let issuers = self.issuers.iter().map(issuer);
        let servers = self.introspection.iter().map(introspection);
        let anonymous = self.anonymous.iter().map(|caller| WayIn {
            kind: "anonymous",
            name: "everybody".to_owned(),
            about: granted(caller),
        });
        tokens
            .chain(issuers)
            .chain(servers)
            .chain(anonymous)
            .collect()
    }
}

fn token(caller: &Arc<Caller>) -> WayIn {
    let mut about = granted(caller);
    if let Some(expires) = caller.expires {
        about.push(format!(
            "until {}",
            humantime::format_rfc3339_seconds(expires)
        ));
    }
    WayIn {
        kind: "token",
        name: caller.principal.to_string(),
        about,
    }
}

fn issuer(issuer: &Arc<TrustedIssuer>) -> WayIn {
    let settings = issuer.settings();
    WayIn {
        kind: "issuer",
        name: settings.rules.issuer.to_string(),
        about: vec![
            format!("for {}", settings.rules.audiences),
            format!("keys from {}", settings.source),
        ],
    }
}

fn introspection(server: &Arc<Introspection>) -> WayIn {
    let settings = server.settings();
    WayIn {
        kind: "introspection",
        name: settings.url.to_string(),
        about: vec![format!("for {}", settings.audiences)],
    }
}

fn granted(caller: &Caller) -> Vec<String> {
    let scopes = Some(caller.scopes_text()).filter(|scopes| !scopes.is_empty());
    let roles = Some(caller.roles.join(", ")).filter(|roles| !roles.is_empty());
    let scopes = scopes.map(|scopes| format!("scopes {scopes}"));
    let roles = roles.map(|roles| format!("roles {roles}"));
    scopes.into_iter().chain(roles).collect()
}
