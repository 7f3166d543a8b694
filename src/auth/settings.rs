//! What the auth file says of the servers that vouch for callers: plain data, of which their clients
//! are made.

use http::HeaderValue;
use url::Url;

use super::claims::ClaimNames;
use super::jwt::Rules;
use super::keys::Source;

/// An authorization server whose tokens are read here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IssuerSettings {
    pub(super) rules: Rules,
    pub(super) source: Source,
}

/// An authorization server that is asked about each token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IntrospectionSettings {
    pub(super) url: Url,
    /// How this server says who it is; `Debug` does not show it.
    pub(super) authorization: HeaderValue,
    /// Of these `aud` must name one; there is one at least.
    pub(super) audiences: Vec<String>,
    pub(super) names: ClaimNames,
}
