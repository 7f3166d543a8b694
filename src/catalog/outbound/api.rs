//! An HTTP API: where it is, and how requests to it are authenticated.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use url::Url;

use super::address::{self, Reach};
use super::header::Header;
use crate::catalog::ToolDigest;
use crate::redact::Redactor;

/// How long an API may take until its response begins, when its definition says nothing.
pub const DEFAULT_API_TIMEOUT: Duration = Duration::from_secs(30);

/// An HTTP API that tools send requests to.
///
/// Debug shows no credentials.
#[derive(Debug)]
pub struct Api {
    /// What messages call it: its name in `apis`; one that has none is only "the API", since who calls
    /// a tool need not know where it is.
    pub name: String,
    /// Scheme, host, port, and a path that all requests begin with and that does not end with `/`.
    pub(crate) base: String,
    /// How long it may take until its response begins; default [`DEFAULT_API_TIMEOUT`].
    pub timeout: Duration,
    /// How requests are authenticated.
    pub auth: Auth,
    /// What the connection is encrypted with.
    pub tls: Tls,
    /// Whether redirects are followed.
    pub redirects: Redirects,
    /// Where its names may lead.
    pub reach: AllowedReach,
    /// What every request has.
    pub(super) headers: Vec<Header>,
    /// That of its entry under `apis`.
    pub(crate) digest: ToolDigest,
}

/// Where the names of an API may lead.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowedReach {
    /// Also to addresses that not everybody can reach; default false.
    pub allow_private: bool,
}

/// How requests are authenticated.
#[derive(Clone, Default)]
pub enum Auth {
    /// They are not.
    #[default]
    None,
    /// By a header that never changes.
    Header(HeaderName, Credential),
    /// By a token that is asked for first.
    ClientCredentials(ClientCredentials),
}

/// How a token is asked for (RFC 6749, 4.4).
#[derive(Clone)]
pub struct ClientCredentials {
    /// Where it is asked for.
    pub token_url: Url,
    /// Who asks.
    pub authorization: Credential,
    /// What is asked, as a form.
    pub form: String,
}

/// A header that shows who asks. Whoever it is sent to can say it again, so it knows what to take out
/// of the answer.
#[derive(Clone)]
pub struct Credential {
    header: HeaderValue,
    redactor: Redactor,
}

/// Whether redirects are followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Redirects {
    /// They are not, the default.
    #[default]
    Never,
    /// Those that stay at scheme, host and port.
    SameOrigin,
}

/// What a connection is encrypted with, in PEM; all of it can be read.
#[derive(Clone, Default)]
pub struct Tls {
    /// The only certificates that are trusted; `None` trusts those of the system.
    pub ca: Option<Vec<u8>>,
    /// The client's own certificates, and their key.
    pub identity: Option<Vec<u8>>,
}

impl Credential {
    /// The header `text`, which is made of a secret; `None` if it cannot be sent.
    pub fn new(text: &str, secret: &str) -> Option<Self> {
        let mut header = HeaderValue::from_str(text)
            .ok()
            .filter(|_| text.is_ascii())?;
        header.set_sensitive(true);
        let behind_scheme = text.split_once(' ').map_or(text, |(_, rest)| rest);
        let redactor = Redactor::new([text, behind_scheme, secret]).ok()?;
        Some(Self { header, redactor })
    }

    /// What is sent.
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// What takes it out of texts.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }
}

impl AllowedReach {
    /// Whether a connection to this host may be made to an address.
    pub fn includes(self, host: &str, address: IpAddr) -> bool {
        match address::reach(address) {
            Reach::Public => true,
            Reach::Loopback => self.allow_private || address::is_localhost(host),
            Reach::Private => self.allow_private,
            Reach::Never => false,
        }
    }
}

impl Api {
    /// Whether some connection for it is encrypted: to itself, or to the server of its tokens.
    pub fn is_encrypted(&self) -> bool {
        let has_token_over = |scheme| match &self.auth {
            Auth::ClientCredentials(credentials) => credentials.token_url.scheme() == scheme,
            Auth::None | Auth::Header(..) => false,
        };
        self.base.starts_with("https:") || has_token_over("https")
    }

    /// The name of the header that its authentication sets, if any.
    pub fn auth_header_name(&self) -> Option<String> {
        self.auth_header().map(|name| name.as_str().to_owned())
    }

    /// The header that its authentication sets.
    pub(super) fn auth_header(&self) -> Option<HeaderName> {
        match &self.auth {
            Auth::None => None,
            Auth::Header(name, _) => Some(name.clone()),
            Auth::ClientCredentials(_) => Some(http::header::AUTHORIZATION),
        }
    }
}

/// Shows no credentials.
impl fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("None"),
            Self::Header(name, _) => write!(formatter, "Header({name})"),
            Self::ClientCredentials(credentials) => credentials.fmt(formatter),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credential(…)")
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClientCredentials")
            .field("token_url", &self.token_url.as_str())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("ca", &self.ca.is_some())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}
