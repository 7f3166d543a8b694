//! Host names and origins, as they stand in headers and options: read by one grammar, so that what
//! is allowed and what is asked for compare.

mod cidr;
mod public_url;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

pub use cidr::Cidr;
pub use public_url::{PublicUrl, WELL_KNOWN};

/// A host without its port: a name in lower case, or an IP address in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostName {
    /// A name. Names compare without case.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl HostName {
    /// Reads the value of a Host header: a host, and a port that is not kept.
    pub fn from_header(text: &str) -> Option<Self> {
        let (host, port) = match text.rfind(']') {
            Some(end) => text.split_at_checked(end + 1)?,
            None => text.split_at_checked(text.find(':').unwrap_or(text.len()))?,
        };
        let valid_port = match port.strip_prefix(':') {
            None => port.is_empty(),
            Some("") => true,
            Some(digits) => {
                digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
            }
        };
        valid_port.then(|| Self::without_port(host)).flatten()
    }

    /// Whether it can only be this machine.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost",
            Self::Address(address) => address.is_loopback(),
        }
    }

    fn without_port(text: &str) -> Option<Self> {
        if let Some(inner) = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            let address: Ipv6Addr = inner.parse().ok()?;
            return Some(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Self::Address(IpAddr::V4(address)));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        (!text.is_empty() && text.bytes().all(plain)).then(|| Self::Name(text.to_ascii_lowercase()))
    }
}

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::without_port(text).ok_or_else(|| {
            format!("\"{text}\" is not a host name without a port, try mcp.example.com")
        })
    }
}

/// The origin of a web page, in lower case and without the port that its scheme implies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    authority: String,
}

impl Origin {
    /// How its page was fetched, such as `https`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// True for an origin of the server that is asked as `host`, the value of a Host header, whether or
    /// not it is asked over TLS.
    pub fn is_of(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.authority == without_implied_port(&self.scheme, &host)
            && ["http", "https"].contains(&self.scheme.as_str())
    }
}

fn without_implied_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let implied = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return authority,
    };
    authority.strip_suffix(implied).unwrap_or(authority)
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("\"{text}\" is not an origin, try https://app.example.com");
        let (scheme, authority) = text.split_once("://").ok_or_else(refused)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if scheme.is_empty()
            || !scheme.bytes().all(plain)
            || HostName::from_header(authority).is_none()
            || authority.ends_with(':')
        {
            return Err(refused());
        }
        let scheme = scheme.to_ascii_lowercase();
        let authority = authority.to_ascii_lowercase();
        Ok(Self {
            authority: without_implied_port(&scheme, &authority).to_owned(),
            scheme,
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let cases = [
            ("LOCALHOST:8080", Some("localhost")),
            ("localhost.", Some("localhost.")),
            ("mcp.example.com:", Some("mcp.example.com")),
            ("127.0.0.1:80", Some("127.0.0.1")),
            ("[2001:DB8:0::1]:80", Some("2001:db8::1")),
            ("[::ffff:127.0.0.1]", Some("127.0.0.1")),
            ("2130706433", Some("2130706433")),
            ("", None),
            (":80", None),
            ("localhost:http", None),
            ("localhost:99999", None),
            ("localhost:+80", None),
            ("localhost/x", None),
            ("localhost?x", None),
            ("localhost#x", None),
            ("user@localhost", None),
            ("[::1", None),
            ("[::1]x", None),
            ("::1", None),
        ];
        for (text, expected) in cases {
            let host = HostName::from_header(text).map(|host| match host {
                HostName::Name(name) => name,
                HostName::Address(address) => address.to_string(),
            });
            assert_eq!(host.as_deref(), expected, "{text}");
        }
        assert!(
            "example.com:80".parse::<HostName>().is_err(),
            "an option has no port"
        );
        let option: HostName = "[2001:DB8:0::1]".parse().unwrap();
        assert_eq!(Some(option), HostName::from_header("[2001:db8::1]:8080"));
    }

    #[test]
    fn origins() {
        let cases = [
            (
                "https://App.example.com:443",
                Some("https://app.example.com"),
            ),
            ("http://app.example.com:80", Some("http://app.example.com")),
            (
                "http://app.example.com:443",
                Some("http://app.example.com:443"),
            ),
            ("http://[::1]:3000", Some("http://[::1]:3000")),
            ("vscode-webview://abc", Some("vscode-webview://abc")),
            ("example.com", None),
            ("https://example.com/", None),
            ("https://example.com/x", None),
            ("https://user@example.com", None),
            ("https://", None),
            ("://example.com", None),
            ("null", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let origin = text.parse::<Origin>().ok().map(|origin| origin.to_string());
            assert_eq!(origin.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_own_origin_is_recognized() {
        let cases = [
            ("http://localhost:8080", "localhost:8080", true),
            ("https://LOCALHOST:8080", "localhost:8080", true),
            ("https://mcp.example.com", "mcp.example.com", true),
            ("https://mcp.example.com", "mcp.example.com:443", true),
            ("http://localhost", "localhost:8080", false),
            ("http://localhost:8081", "localhost:8080", false),
            ("ftp://localhost:8080", "localhost:8080", false),
        ];
        for (origin, host, expected) in cases {
            let parsed: Origin = origin.parse().unwrap();
            assert_eq!(parsed.is_of(host), expected, "{origin} at {host}");
        }
    }
}
