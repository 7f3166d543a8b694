//! The URL of the server, as its clients know it.

use std::fmt;
use std::str::FromStr;

use url::Url;

use super::{HostName, Origin};

/// Where documents about the servers of a host are (RFC 9728, section 3).
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The URL of the endpoint, as its clients know it: what tokens are issued for (RFC 8707).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// Scheme, host and port.
    root: String,
    /// Without a slash at its end.
    path: String,
    host: HostName,
    origin: Origin,
}

impl PublicUrl {
    /// Its host.
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// Its origin.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Its path, without a slash at its end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The URL of a toolset, or of the whole.
    pub fn resource(&self, toolset: Option<&str>) -> String {
        let Self { root, path, .. } = self;
        format!("{root}{path}{}", below(toolset))
    }

    /// The toolset that has this URL, as [`resource`](Self::resource) writes it, if one can have it.
    pub fn toolset<'a>(&self, resource: &'a str) -> Option<&'a str> {
        let below = resource.strip_prefix(&self.resource(None))?;
        let name = below.strip_prefix('/')?;
        (!name.is_empty() && !name.contains('/')).then_some(name)
    }

    /// The URL of the document about a toolset, or about the whole.
    pub fn metadata(&self, toolset: Option<&str>) -> String {
        let Self { root, path, .. } = self;
        format!("{root}{WELL_KNOWN}{path}{}", below(toolset))
    }
}

fn below(toolset: Option<&str>) -> String {
    toolset.map_or_else(String::new, |name| format!("/{name}"))
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |why: &str| format!("\"{text}\" {why}, try https://mcp.example.com/mcp");
        let url = Url::parse(text).map_err(|_| refused("is not a URL"))?;
        let plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !plain {
            return Err(refused("must have no user, query or fragment"));
        }
        let origin = url.origin().ascii_serialization();
        let host: Option<HostName> = url.host_str().and_then(|host| host.parse().ok());
        let (Ok(parsed), Some(host)) = (origin.parse(), host) else {
            return Err(refused("names no host"));
        };
        if url.scheme() != "https" && !(url.scheme() == "http" && host.is_loopback()) {
            return Err(refused(
                "must begin with https://, since tokens are sent there",
            ));
        }
        Ok(Self {
            root: origin,
            path: url.path().trim_end_matches('/').to_owned(),
            host,
            origin: parsed,
        })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_canonical() {
        let cases = [
            ("https://mcp.example.com/mcp", "https://mcp.example.com/mcp"),
            (
                "HTTPS://MCP.example.com:443/mcp/",
                "https://mcp.example.com/mcp",
            ),
            ("https://mcp.example.com", "https://mcp.example.com"),
            ("https://mcp.example.com/", "https://mcp.example.com"),
            (
                "https://mcp.example.com:8443/a/b",
                "https://mcp.example.com:8443/a/b",
            ),
            ("http://localhost:8080/mcp", "http://localhost:8080/mcp"),
            ("http://[::1]:8080/mcp", "http://[::1]:8080/mcp"),
            ("https://h/a\"b", "https://h/a%22b"),
        ];
        for (text, expected) in cases {
            let url: PublicUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_tokens_cannot_be_for_is_no_public_url() {
        let cases = [
            ("", "is not a URL"),
            ("mcp.example.com", "is not a URL"),
            ("/mcp", "is not a URL"),
            ("http://mcp.example.com/mcp", "must begin with https://"),
            (
                "http://localhost.example.com/mcp",
                "must begin with https://",
            ),
            ("unix:/run/mcp.sock", "names no host"),
            (
                "https://user@mcp.example.com/mcp",
                "no user, query or fragment",
            ),
            (
                "https://mcp.example.com/mcp?x=y",
                "no user, query or fragment",
            ),
            (
                "https://mcp.example.com/mcp#x",
                "no user, query or fragment",
            ),
        ];
        for (text, expected) in cases {
            let refused = text.parse::<PublicUrl>().unwrap_err();
            assert!(refused.contains(expected), "{text}: {refused}");
            assert!(refused.ends_with("try https://mcp.example.com/mcp"));
        }
    }

    #[test]
    fn the_documents_are_beside_the_endpoint() {
        let url: PublicUrl = "https://mcp.example.com/mcp".parse().unwrap();
        let whole = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
        assert_eq!(url.metadata(None), whole);
        assert_eq!(url.metadata(Some("ops")), format!("{whole}/ops"));
        assert_eq!(url.resource(Some("ops")), "https://mcp.example.com/mcp/ops");
        assert_eq!(url.toolset("https://mcp.example.com/mcp/ops"), Some("ops"));
        assert_eq!(url.toolset("https://mcp.example.com/mcp"), None);
        let bare: PublicUrl = "https://mcp.example.com".parse().unwrap();
        assert_eq!(bare.metadata(None), whole.trim_end_matches("/mcp"));
    }
}
