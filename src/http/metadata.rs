//! Where clients get a token for an endpoint: OAuth 2.0 Protected Resource Metadata (RFC 9728).
//!
//! There is a document if the server knows its own URL and an authorization server whose tokens it
//! takes. It is the same for everybody, and for every toolset that there could be: nobody learns from
//! it which there are.

use std::collections::BTreeSet;

use axum::extract::Request;
use axum::response::Response;
use serde::Serialize;

use super::{endpoint, reply};
use crate::app::App;
use crate::catalog::{Catalog, Endpoint};
use crate::host::{PublicUrl, WELL_KNOWN};

/// What a client must not be told to ask for: how long its access lasts is between it and the
/// authorization server (MCP 2026-07-28, Authorization).
const OFFLINE_ACCESS: &str = "offline_access";

/// The members that are of use to a client of MCP.
#[derive(Debug, Serialize)]
struct Document<'a> {
    resource: String,
    authorization_servers: Vec<&'a str>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    scopes_supported: BTreeSet<&'a str>,
    bearer_methods_supported: [&'static str; 1],
}

impl<'a> Document<'a> {
    fn new(
        public: &PublicUrl,
        endpoint: &Endpoint,
        authorization_servers: Vec<&'a str>,
        scopes_supported: BTreeSet<&'a str>,
    ) -> Self {
        Self {
            resource: public.resource(endpoint.as_deref()),
            authorization_servers,
            scopes_supported,
            bearer_methods_supported: ["header"],
        }
    }
}

/// Where the document about an endpoint is, if there is one.
pub(super) fn url(app: &App, endpoint: &Endpoint) -> Option<String> {
    let public = app.options.public_url.as_ref()?;
    app.authenticator.load().authorization_servers().first()?;
    let toolset = endpoint.as_deref().filter(|name| is_plain(name));
    Some(public.metadata(toolset))
}

/// Answers a request for the document at its path, if there is one.
pub(super) fn serve(app: &App, request: &Request) -> Response {
    let authenticator = app.authenticator.whole();
    let servers = authenticator.authorization_servers();
    let below = request.uri().path().strip_prefix(WELL_KNOWN);
    let found = app.options.public_url.as_ref().zip(below);
    let found = found.and_then(|(public, below)| Some((public, endpoint_at(public, below)?)));
    match found {
        Some((public, endpoint)) if !servers.is_empty() => reply::read_only(request, || {
            let catalog = app.catalog.whole();
            let scopes = first_scopes(&catalog);
            reply::document(&Document::new(public, &endpoint, servers, scopes))
        }),
        _ => reply::not_found(),
    }
}

/// What a client should ask for, as a challenge names it: the scopes of the document, with spaces between.
pub(super) fn scope(app: &App) -> String {
    let catalog = app.catalog.whole();
    let scopes: Vec<_> = first_scopes(&catalog).into_iter().collect();
    scopes.join(" ")
}

fn first_scopes(catalog: &Catalog) -> BTreeSet<&str> {
    let mut scopes = catalog.first_scopes();
    scopes.remove(OFFLINE_ACCESS);
    scopes
}

/// What the document at this path is about.
fn endpoint_at(public: &PublicUrl, below: &str) -> Option<Endpoint> {
    if below.is_empty() {
        return Some(None);
    }
    let endpoint = endpoint::at(public.path(), below)?;
    endpoint.as_deref().is_none_or(is_plain).then_some(endpoint)
}

/// Whether a name means the same in a URL, a header and a document.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn public(url: &str) -> PublicUrl {
        url.parse().unwrap()
    }

    #[test]
    fn a_document_says_where_tokens_come_from() {
        let url = public("https://mcp.example.com/mcp");
        let issuers = vec!["https://auth.example.com", "https://other.example.com/a"];
        let scopes = BTreeSet::from(["issues:write", "issues:read"]);
        let whole = Document::new(&url, &None, issuers.clone(), scopes);
        let expected = json!({
            "resource": "https://mcp.example.com/mcp",
            "authorization_servers": issuers,
            "scopes_supported": ["issues:read", "issues:write"],
            "bearer_methods_supported": ["header"],
        });
        assert_eq!(serde_json::to_value(&whole).unwrap(), expected);

        let toolset = Some(Arc::from("ops"));
        let part = Document::new(&url, &toolset, issuers, BTreeSet::new());
        let document = serde_json::to_value(&part).unwrap();
        assert_eq!(document["resource"], "https://mcp.example.com/mcp/ops");
        assert_eq!(document.get("scopes_supported"), None);
    }

    #[test]
    fn documents_are_at_the_paths_of_endpoints() {
        let toolset = |name: &str| Some(Some(Arc::from(name)));
        let cases = [
            ("https://h/mcp", "", Some(None)),
            ("https://h/mcp", "/mcp", Some(None)),
            ("https://h/mcp", "/mcp/", Some(None)),
            ("https://h/mcp", "/mcp/ops", toolset("ops")),
            ("https://h/mcp", "/mcp/a/b", None),
            ("https://h/mcp", "/mcp/%2e%2e", None),
            ("https://h/mcp", "/mcp/a\"b", None),
            ("https://h/mcp", "/other", None),
            ("https://h/mcp", "/", None),
            ("https://h", "", Some(None)),
            ("https://h", "/", Some(None)),
            ("https://h", "/ops", toolset("ops")),
        ];
        for (url, below, expected) in cases {
            assert_eq!(endpoint_at(&public(url), below), expected, "{url} {below}");
        }
    }
}
