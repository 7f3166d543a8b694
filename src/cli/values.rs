//! The values that options take, and how they are read.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use clap::builder::{NonEmptyStringValueParser, TypedValueParser};
use http::HeaderName;

use crate::units;

/// A heartbeat that does not keep the server busy.
pub(super) fn heartbeat(text: &str) -> Result<Duration, String> {
    match units::parse_duration(text)? {
        short if short < Duration::from_millis(100) => {
            Err("a heartbeat must be at least 100ms, try 15s".to_owned())
        }
        heartbeat => Ok(heartbeat),
    }
}

/// A path that is not empty: an empty variable is a mistake, not a wish for the default.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    NonEmptyStringValueParser::new().map(PathBuf::from)
}

/// Headers with a meaning of their own: those of HTTP and MCP, what a browser adds for any page, which
/// says nothing of who wants it, and what a proxy tells.
const NO_CREDENTIALS: [&str; 23] = [
    "authorization",
    "cache-control",
    "connection",
    "cookie",
    "date",
    "dnt",
    "expect",
    "forwarded",
    "from",
    "host",
    "keep-alive",
    "last-event-id",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "te",
    "upgrade",
    "user-agent",
    "via",
    "x-real-ip",
];

/// How the names of further ones begin.
const NO_CREDENTIAL_PREFIXES: [&str; 12] = [
    "accept",
    "access-control-",
    "content-",
    "if-",
    "mcp-",
    "proxy-",
    "sec-",
    "trace",
    "trailer",
    "transfer-",
    "upgrade-",
    "x-forwarded-",
];

/// A header that may hold a credential.
pub(super) fn credential_header(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::try_from(text)
        .map_err(|_| format!("\"{text}\" is not the name of a header, try X-Api-Key"))?;
    let mut prefixes = NO_CREDENTIAL_PREFIXES.into_iter();
    if NO_CREDENTIALS.contains(&name.as_str())
        || prefixes.any(|prefix| name.as_str().starts_with(prefix))
    {
        return Err(format!(
            "\"{text}\" is a header with a meaning of its own, try X-Api-Key"
        ));
    }
    Ok(name)
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket, made with mode 0600.
    Unix(PathBuf),
}

impl ListenAddress {
    /// True if only this machine can connect.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            format!("\"{text}\" is not an address, try 127.0.0.1:8080, [::1]:8080 or unix:/run/mcp-serve.sock")
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The path of the MCP endpoint: absolute, of plain characters, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPath(String);

impl EndpointPath {
    /// The path, such as `/mcp`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EndpointPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let segments = text.strip_prefix('/').map(|rest| rest.split('/'));
        let valid = segments.is_some_and(|mut segments| {
            segments.all(|segment| {
                !segment.is_empty()
                    && segment != "."
                    && segment != ".."
                    && segment.chars().all(plain)
            })
        });
        let reserved = ["/healthz", "/readyz"].contains(&text) || text.starts_with("/.well-known");
        match (valid, reserved) {
            (true, false) => Ok(Self(text.to_owned())),
            (true, true) => Err(format!(
                "\"{text}\" is taken by the server itself, try /mcp"
            )),
            (false, _) => Err(format!("\"{text}\" is not a plain absolute path, try /mcp")),
        }
    }
}

/// Protocol revisions to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Eras {
    /// All of them.
    Both,
    /// Those up to 2025-11-25.
    Legacy,
    /// 2026-07-28.
    Modern,
}

/// What a new client gets at a limit of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnSessionLimit {
    /// The place of the session that was idle for longest.
    Evict,
    /// A refusal.
    Reject,
}

/// A duration that may be off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// After this long.
    After(Duration),
    /// Never.
    Never,
}

impl Timeout {
    /// The duration, if there is one.
    pub fn duration(self) -> Option<Duration> {
        match self {
            Self::After(duration) => Some(duration),
            Self::Never => None,
        }
    }
}

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::Never);
        }
        units::parse_duration(text)
            .map(Self::After)
            .map_err(|message| format!("{message}, or none"))
    }
}

/// When a token ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// At this time.
    At(SystemTime),
    /// After this long.
    After(Duration),
}

impl Expiry {
    /// The date of a token that begins now, as an auth file has it.
    pub fn date(self, now: SystemTime) -> String {
        let end = match self {
            Self::At(date) => date,
            Self::After(duration) => now + duration,
        };
        humantime::format_rfc3339_seconds(end).to_string()
    }
}

impl FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let date = humantime::parse_rfc3339(text)
            .or_else(|_| humantime::parse_rfc3339(&format!("{text}T00:00:00Z")));
        if let Ok(date) = date {
            return Ok(Self::At(date));
        }
        let has_unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
        let duration = units::parse_duration(text).ok().filter(|_| has_unit);
        duration.map(Self::After).ok_or_else(|| {
            format!(
                "\"{text}\" is no date and no duration, try 2027-01-01, 2027-01-01T12:00:00Z or 90d"
            )
        })
    }
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Importance of a log message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// What may become an error.
    Warn,
    /// Starts, stops, sessions and calls.
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

/// Where the audit log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditTarget {
    /// Into this file.
    File(PathBuf),
    /// To standard error.
    Stderr,
    /// To the journal of systemd.
    Journald,
}

impl FromStr for AuditTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => {
                Err("it is empty, try /var/log/mcp-serve/audit.log, stderr or journald".to_owned())
            }
            "stderr" => Ok(Self::Stderr),
            "journald" => Ok(Self::Journald),
            path => Ok(Self::File(path.into())),
        }
    }
}

/// The name in `--audit` and in messages.
impl fmt::Display for AuditTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Stderr => f.write_str("stderr"),
            Self::Journald => f.write_str("journald"),
        }
    }
}

/// What happens when the audit log cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuditMode {
    /// Calls go on.
    #[value(name = "best_effort")]
    BestEffort,
    /// No call begins.
    Required,
}

/// What the audit log says of arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuditArguments {
    /// Their digest.
    Digest,
    /// The arguments without secrets.
    Redacted,
    /// Nothing.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_a_meaning_of_its_own_holds_no_credential() {
        let credentials = [
            "X-Api-Key",
            "api-key",
            "x-auth-token",
            "private-token",
            "x-forward",
            "date-of-birth",
            "hosts",
        ];
        let others = [
            "Accept",
            "accept-encoding",
            "accept-language",
            "Access-Control-Request-Method",
            "Authorization",
            "cache-control",
            "content-length",
            "content-type",
            "Cookie",
            "DNT",
            "forwarded",
            "host",
            "if-none-match",
            "Mcp-Session-Id",
            "mcp-param-region",
            "origin",
            "pragma",
            "priority",
            "proxy-authorization",
            "referer",
            "sec-fetch-site",
            "traceparent",
            "tracestate",
            "transfer-encoding",
            "upgrade",
            "upgrade-insecure-requests",
            "user-agent",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-real-ip",
        ];
        for name in credentials {
            assert_eq!(credential_header(name), Ok(name.parse().unwrap()), "{name}");
        }
        for name in others {
            let refused =
                format!("\"{name}\" is a header with a meaning of its own, try X-Api-Key");
            assert_eq!(credential_header(name), Err(refused), "{name}");
        }
        for name in ["", "X Api Key", "x-api-key:"] {
            let refused = format!("\"{name}\" is not the name of a header, try X-Api-Key");
            assert_eq!(credential_header(name), Err(refused), "{name}");
        }
    }
}
