//! Who gets in: Host, Origin, credential, in this order.
//!
//! The Host and Origin rules stop a web page from reaching a server on its visitor's machine (DNS
//! rebinding and cross-site requests). They hold on every route but the health checks, with and
//! without a credential.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN};
use http::{HeaderMap, StatusCode, Uri};
use tokio::time::Instant;

use super::public::Public;
use super::{Connection, challenge, endpoint, headers, reply};
use crate::app::{App, Options};
use crate::auth::{AuthError, Caller, Known, Presented, Reach};
use crate::host::{HostName, Origin};
use crate::metrics::AuthFailure;
use crate::protocol::jsonrpc::excerpt;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What is asked by a request that was let through.
#[derive(Debug)]
pub(super) enum Admitted<'r> {
    /// Something that everybody may ask.
    Public(Public<'r>),
    /// Anything else, by this caller.
    Caller(Arc<Caller>),
    /// Anything else, by somebody of whom nothing is known yet.
    Stranger(Presented<'r>),
}

/// Lets a request through, and says who sends it where not everybody may.
///
/// # Errors
///
/// The answer to one that is refused, whose body nobody has read.
#[expect(clippy::result_large_err, reason = "the error is the response itself")]
pub(super) fn admit<'r>(
    app: &App,
    connection: &Connection,
    request: &'r Request,
) -> Result<Admitted<'r>, Response> {
    let public = Public::at(request.uri().path());
    if !public.is_some_and(Public::is_health) {
        check(request, connection, &app.options)
            .map_err(|refusal| refuse(refusal, request.headers()))?;
    }
    if let Some(public) = public {
        return Ok(Admitted::Public(public));
    }
    match look_up(app, request) {
        Ok(Known::Caller(caller)) => Ok(Admitted::Caller(caller)),
        // To find out more costs a signature or a question to another server.
        Ok(Known::Nothing(presented)) => {
            if app.throttle.may_fail(connection.network(), Instant::now()) {
                Ok(Admitted::Stranger(presented))
            } else {
                Err(throttled(app, connection))
            }
        }
        Err(error) => Err(unknown(app, connection, request, error)),
    }
}

/// Finds out whom a token stands for that nobody knows yet, who asks for what is at a path.
///
/// # Errors
///
/// Why that is nobody.
pub(super) async fn verify(
    app: &App,
    path: &str,
    presented: Presented<'_>,
) -> Result<Arc<Caller>, AuthError> {
    let authenticator = app.authenticator.whole();
    let caller = authenticator.verify(presented, SystemTime::now()).await?;
    check_reach(app, path, &caller)?;
    Ok(caller)
}

/// Answers a request whose sender nobody knows.
pub(super) fn unknown(
    app: &App,
    connection: &Connection,
    request: &Request,
    error: AuthError,
) -> Response {
    if is_guess(error) && !app.throttle.fails(connection.network(), Instant::now()) {
        return throttled(app, connection);
    }
    note(app, error.as_str(), connection);
    app.metrics.auth_failure(match error {
        AuthError::Missing => AuthFailure::Missing,
        AuthError::Malformed | AuthError::Invalid | AuthError::Audience => AuthFailure::Invalid,
        AuthError::Expired => AuthFailure::Expired,
        AuthError::UnknownKey | AuthError::Unavailable => AuthFailure::Unavailable,
    });
    challenge::unauthorized(app, request, error)
}

/// Answers a client that was wrong about its credential too often.
fn throttled(app: &App, connection: &Connection) -> Response {
    note(app, AuthFailure::Throttled.as_str(), connection);
    app.metrics.auth_failure(AuthFailure::Throttled);
    challenge::throttled()
}

/// Whether a client may have made up its credential, or has one that never was good here. One that has
/// expired was good once: its digest or its signature says so.
fn is_guess(error: AuthError) -> bool {
    match error {
        AuthError::Malformed | AuthError::Invalid | AuthError::Audience | AuthError::UnknownKey => {
            true
        }
        AuthError::Missing | AuthError::Expired | AuthError::Unavailable => false,
    }
}

/// Says in the log who has no good credential, and nothing of what it is.
fn note(app: &App, reason: &str, connection: &Connection) {
    let Some(held_back) = app.strangers.pass(Instant::now()) else {
        return;
    };
    let client = connection.client();
    let client = client.map_or_else(|| "local".to_owned(), |client| client.to_string());
    tracing::info!(client, reason, held_back, "credential refused");
}

/// Lets a request for metrics through, or answers it: no web page may read them.
pub(super) async fn admit_reader(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let connection = request.extensions().get::<Connection>();
    if !Public::at(request.uri().path()).is_some_and(Public::is_health)
        && let Err(refusal) = check(
            &request,
            connection.unwrap_or(&Connection::default()),
            &app.options,
        )
    {
        let response = refuse(refusal, request.headers());
        return unread(response, request).await;
    }
    next.run(request).await
}

/// Whether a request may come from the page that sends it, and under the name of this server.
pub(super) fn is_allowed(app: &App, connection: &Connection, request: &Request) -> bool {
    check(request, connection, &app.options).is_ok()
}

/// Checks Host and Origin.
fn check(request: &Request, connection: &Connection, options: &Options) -> Result<(), Refusal> {
    let local = connection.local.map(|address| address.ip());
    let host = check_host(request.headers(), request.uri(), local, options)?;
    check_origin(request.headers(), host, options)
}

/// Answers a request whose body nobody read.
pub(super) async fn unread(response: Response, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    reply::without_reading(response, &parts.headers, body).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    BadHost,
    ForeignHost,
    ForeignOrigin,
}

fn refuse(refusal: Refusal, headers: &HeaderMap) -> Response {
    let (status, message) = match refusal {
        Refusal::BadHost => (
            StatusCode::BAD_REQUEST,
            "Invalid request: exactly one valid Host header is needed",
        ),
        Refusal::ForeignHost => (
            StatusCode::MISDIRECTED_REQUEST,
            "Invalid request: this Host is not served here; the server's --allowed-host names those that are",
        ),
        Refusal::ForeignOrigin => (
            StatusCode::FORBIDDEN,
            "Invalid request: this Origin may not call; the server's --allowed-origin names those that may",
        ),
    };
    if refusal != Refusal::BadHost {
        let shown = |name: &HeaderName| {
            let value = headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()));
            value.map(|value| excerpt(&value).into_owned())
        };
        tracing::warn!(host = ?shown(&HOST), origin = ?shown(&ORIGIN), "refused by Host or Origin");
    }
    reply::refusal(status, headers, message)
}

/// Checks that the request names a host that is served here, and returns it.
fn check_host<'h>(
    headers: &'h HeaderMap,
    target: &Uri,
    local: Option<IpAddr>,
    options: &Options,
) -> Result<&'h str, Refusal> {
    let host = headers::single(headers, &HOST)
        .ok()
        .flatten()
        .ok_or(Refusal::BadHost)?;
    // A target in absolute form names a host too; the two must not disagree.
    if target
        .authority()
        .is_some_and(|authority| !authority.as_str().eq_ignore_ascii_case(host))
    {
        return Err(Refusal::BadHost);
    }
    let name = HostName::from_header(host).ok_or(Refusal::BadHost)?;
    if is_served(&name, local, options) {
        Ok(host)
    } else {
        Err(Refusal::ForeignHost)
    }
}

fn is_served(host: &HostName, local: Option<IpAddr>, options: &Options) -> bool {
    let is_here = match host {
        HostName::Name(_) => false,
        HostName::Address(address) => Some(*address) == local.map(|local| local.to_canonical()),
    };
    is_here || host.is_loopback() || options.allowed_hosts.contains(host)
}

/// Checks that a browser sends the request for a page that may call.
fn check_origin(headers: &HeaderMap, host: &str, options: &Options) -> Result<(), Refusal> {
    let origin = headers::single(headers, &ORIGIN).map_err(|_| Refusal::ForeignOrigin)?;
    let Some(origin) = origin else {
        let cross_site = headers
            .get(SEC_FETCH_SITE)
            .is_some_and(|site| site.as_bytes().eq_ignore_ascii_case(b"cross-site"));
        return if cross_site {
            Err(Refusal::ForeignOrigin)
        } else {
            Ok(())
        };
    };
    let origin: Origin = origin.parse().map_err(|_| Refusal::ForeignOrigin)?;
    if origin.is_of(host) || options.allowed_origins.contains(&origin) {
        Ok(())
    } else {
        Err(Refusal::ForeignOrigin)
    }
}

fn look_up<'r>(app: &App, request: &'r Request) -> Result<Known<'r>, AuthError> {
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    let value = values.next().map(HeaderValue::as_bytes);
    if values.next().is_some() {
        return Err(AuthError::Malformed);
    }
    let known = app.authenticator.load().look_up(value, SystemTime::now())?;
    if let Known::Caller(caller) = &known {
        check_reach(app, request.uri().path(), caller)?;
    }
    Ok(known)
}

/// Refuses a caller whose credential is not for the endpoint at a path.
fn check_reach(app: &App, path: &str, caller: &Caller) -> Result<(), AuthError> {
    if caller.reach == Reach::Server {
        return Ok(());
    }
    match endpoint::at(&app.options.path, path) {
        Some(endpoint) if !caller.reach.includes(endpoint.as_deref()) => Err(AuthError::Audience),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            allowed_hosts: vec!["mcp.example.com".parse().unwrap()],
            allowed_origins: vec!["https://app.example.com".parse().unwrap()],
            ..Options::default()
        }
    }

    #[test]
    fn hosts() {
        let local = Some("192.0.2.7".parse().unwrap());
        let cases = [
            ("localhost", Ok(())),
            ("LOCALHOST:8080", Ok(())),
            ("127.0.0.1:8080", Ok(())),
            ("127.9.9.9", Ok(())),
            ("[::1]:8080", Ok(())),
            ("192.0.2.7:80", Ok(())),
            ("mcp.example.com", Ok(())),
            ("MCP.example.com:443", Ok(())),
            ("localhost.", Err(Refusal::ForeignHost)),
            ("evil.example", Err(Refusal::ForeignHost)),
            ("evil.example:8080", Err(Refusal::ForeignHost)),
            ("192.0.2.8", Err(Refusal::ForeignHost)),
            ("127.0.0.1.evil.example", Err(Refusal::ForeignHost)),
            ("0.0.0.0", Err(Refusal::ForeignHost)),
            ("2130706433", Err(Refusal::ForeignHost)),
            ("", Err(Refusal::BadHost)),
            ("localhost:http", Err(Refusal::BadHost)),
            ("localhost:99999", Err(Refusal::BadHost)),
            ("localhost/x", Err(Refusal::BadHost)),
            ("localhost?x", Err(Refusal::BadHost)),
            ("localhost#x", Err(Refusal::BadHost)),
            ("user@localhost", Err(Refusal::BadHost)),
            ("[::1", Err(Refusal::BadHost)),
            ("[::1]x", Err(Refusal::BadHost)),
        ];
        for (host, expected) in cases {
            let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
            let checked = check_host(&headers, &Uri::from_static("/mcp"), local, &options());
            assert_eq!(checked.map(|_| ()), expected, "{host}");
        }
    }

    #[test]
    fn a_host_is_named_once_and_consistently() {
        let mut headers = HeaderMap::from_iter([(HOST, "localhost".parse().unwrap())]);
        let absolute = Uri::from_static("http://evil.example/mcp");
        let refused = check_host(&headers, &absolute, None, &options());
        assert_eq!(refused, Err(Refusal::BadHost));
        let same = Uri::from_static("http://localhost/mcp");
        assert!(check_host(&headers, &same, None, &options()).is_ok());
        headers.append(HOST, "localhost".parse().unwrap());
        let twice = check_host(&headers, &Uri::from_static("/mcp"), None, &options());
        assert_eq!(twice, Err(Refusal::BadHost));
        let empty = HeaderMap::new();
        let none = check_host(&empty, &Uri::from_static("/mcp"), None, &options());
        assert_eq!(none, Err(Refusal::BadHost));
    }

    #[test]
    fn origins() {
        let cases = [
            (None, None, true),
            (None, Some("cross-site"), false),
            (None, Some("same-origin"), true),
            (Some("http://localhost:8080"), None, true),
            (Some("https://localhost:8080"), None, true),
            (Some("https://app.example.com"), Some("cross-site"), true),
            (Some("http://localhost"), None, false),
            (Some("http://localhost:8081"), None, false),
            (Some("http://app.example.com"), None, false),
            (Some("https://app.example.com:444"), None, false),
            (Some("https://app.example.com.evil.example"), None, false),
            (Some("null"), None, false),
            (Some(""), None, false),
        ];
        for (origin, site, allowed) in cases {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            if let Some(site) = site {
                headers.insert(SEC_FETCH_SITE, site.parse().unwrap());
            }
            let checked = check_origin(&headers, "localhost:8080", &options());
            assert_eq!(checked.is_ok(), allowed, "{origin:?} {site:?}");
        }
    }
}
