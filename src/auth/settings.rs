//! What the auth file says of the servers that vouch for callers: plain data, of which their clients
//! are made.

use http::HeaderValue;
use url::Url;

use super::audience::Audiences;
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
    /// Where clients get such tokens, if they are told.
    pub(super) issuer: Option<String>,
    pub(super) audiences: Audiences,
    pub(super) names: ClaimNames,
}
