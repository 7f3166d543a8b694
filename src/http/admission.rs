//! Who gets in: framing, Host, Origin, credential, in this order.
//!
//! The framing comes first, so that what is refused, or answered without a credential, is one request
//! for everybody in front.
//!
//! The Host and Origin rules stop a web page from reaching a server on its visitor's machine (DNS
//! rebinding and cross-site requests). They hold on every route but the health checks, with and
//! without a credential.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::Request;
use axum::response::Response;
use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode, Uri};
use tokio::time::Instant;

use super::endpoint::Exchange;
use super::routes::{Guarded, Page, Public};
use super::{Connection, challenge, endpoint, headers, reply};
use crate::app::{App, Options};
use crate::auth::{AuthError, Caller, Credential, Known, Presented, Reach};
use crate::catalog::Endpoint;
use crate::host::{HostName, Origin};
use crate::metrics::AuthFailure;
use crate::protocol::jsonrpc::excerpt;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What is asked by a request that was let through.
#[derive(Debug)]
pub(super) enum Admitted<'r> {
    /// Something that everybody may ask.
    Public(Public),
    /// Anything else, by this caller.
    Caller(Arc<Caller>),
    /// Anything else, by somebody of whom nothing is known yet.
    Stranger(Presented<'r>),
}

/// Checks that everybody in front reads the same body: hyper takes `chunked` also behind other codings.
///
/// # Errors
///
/// The answer to a request that is refused, whose body nobody has read.
#[expect(clippy::result_large_err, reason = "the error is the response itself")]
pub(super) fn check_framing(app: &App, request: &Request) -> Result<(), Response> {
    let headers = request.headers();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(refuse(app, Refusal::BadFraming, headers)),
    }
}

/// Lets a request through whose framing is good, and says who sends it where not everybody may.
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
    let is_health = public.is_some_and(Public::is_health);
    check_place(app, connection, request, is_health)?;
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

/// Lets a request through that comes from a place which may call, and one for the health of the server
/// from anywhere.
#[expect(clippy::result_large_err, reason = "the error is the response itself")]
fn check_place(
    app: &App,
    connection: &Connection,
    request: &Request,
    is_health: bool,
) -> Result<(), Response> {
    if is_health {
        return Ok(());
    }
    check(request, connection, &app.options)
        .map_err(|refusal| refuse(app, refusal, request.headers()))
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
    let endpoint = endpoint::at(&app.options.path, request.uri().path()).flatten();
    refuse_credential(app, connection, (&endpoint, request.headers()), error)
}

/// Checks that the credential of a request is still good whose body has taken its time.
///
/// # Errors
///
/// The answer where it is not.
#[expect(clippy::result_large_err, reason = "the error is the response itself")]
pub(super) fn check_still(exchange: &Exchange) -> Result<(), Response> {
    let Exchange {
        app,
        connection,
        endpoint,
        headers,
        ..
    } = exchange;
    let checked = exchange.caller.check(SystemTime::now());
    // It was good, and so no guess.
    checked.map_err(|error| refuse_credential(app, connection, (endpoint, headers), error))
}

fn refuse_credential(
    app: &App,
    connection: &Connection,
    (endpoint, headers): (&Endpoint, &HeaderMap),
    error: AuthError,
) -> Response {
    note(app, error.as_str(), connection);
    app.metrics.auth_failure(match error {
        AuthError::Missing => AuthFailure::Missing,
        AuthError::Malformed | AuthError::Invalid | AuthError::Audience | AuthError::Reach => {
            AuthFailure::Invalid
        }
        AuthError::Expired => AuthFailure::Expired,
        AuthError::UnknownKey | AuthError::Unavailable => AuthFailure::Unavailable,
    });
    challenge::unauthorized(app, endpoint, headers, error)
}

/// Answers a client that was wrong about its credential too often.
fn throttled(app: &App, connection: &Connection) -> Response {
    note(app, AuthFailure::Throttled.as_str(), connection);
    app.metrics.auth_failure(AuthFailure::Throttled);
    challenge::throttled()
}

/// Whether a client may have made up its credential, or has one that never was good here. One that has
/// expired was good once, and one for another endpoint is good there: its digest or its signature says so.
fn is_guess(error: AuthError) -> bool {
    match error {
        AuthError::Malformed | AuthError::Invalid | AuthError::Audience | AuthError::UnknownKey => {
            true
        }
        AuthError::Missing | AuthError::Expired | AuthError::Reach | AuthError::Unavailable => {
            false
        }
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

/// Lets an operator look at a page, and no page of the web.
///
/// # Errors
///
/// The answer to a request that is refused, whose body nobody has read.
#[expect(clippy::result_large_err, reason = "the error is the response itself")]
pub(super) fn admit_operator(
    app: &App,
    connection: &Connection,
    request: &Request,
    page: Option<Page>,
) -> Result<(), Response> {
    check_framing(app, request)?;
    let is_health = page.is_some_and(Page::is_health);
    check_place(app, connection, request, is_health)
}

/// Whether a request may come from the page that sends it, and under the name of this server.
pub(super) fn is_allowed(app: &App, connection: &Connection, request: &Request) -> bool {
    check(request, connection, &app.options).is_ok()
}

/// Checks Host and Origin.
fn check(request: &Request, connection: &Connection, options: &Options) -> Result<(), Refusal> {
    let local = connection.local.map(|address| address.ip());
    let host = check_host(request.headers(), request.uri(), local, options)?;
    check_origin(request.headers(), host, connection.is_encrypted, options)
}

/// Answers a request whose body nobody read.
pub(super) async fn unread(response: Response, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    reply::without_reading(response, &parts.headers, body).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    BadFraming,
    BadHost,
    ForeignHost,
    ForeignOrigin,
}

fn refuse(app: &App, refusal: Refusal, headers: &HeaderMap) -> Response {
    let (status, message) = match refusal {
        Refusal::BadFraming => (
            StatusCode::BAD_REQUEST,
            "Invalid request: a Transfer-Encoding is chunked and nothing else",
        ),
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
    if matches!(refusal, Refusal::ForeignHost | Refusal::ForeignOrigin)
        && let Some(held_back) = app.foreign.pass(Instant::now())
    {
        let shown = |name: &HeaderName| {
            let value = headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()));
            value.map(|value| excerpt(&value).into_owned())
        };
        let (host, origin) = (shown(&HOST), shown(&ORIGIN));
        tracing::warn!(host, origin, held_back, "refused by Host or Origin");
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

/// How pages of this server are fetched, as far as it is known: a proxy in front may encrypt, and says
/// so nowhere that could be trusted. So what counts is what the operator says.
fn scheme<'o>(host: &str, is_encrypted: bool, options: &'o Options) -> Option<&'o str> {
    if is_encrypted {
        return Some("https");
    }
    let public = options.public_url.as_ref()?.origin();
    public.is_of(host).then(|| public.scheme())
}

/// Checks that a browser sends the request for a page that may call.
fn check_origin(
    headers: &HeaderMap,
    host: &str,
    is_encrypted: bool,
    options: &Options,
) -> Result<(), Refusal> {
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
    // Whoever is on the way can make up a page of `http`.
    let is_own = origin.is_of(host)
        && scheme(host, is_encrypted, options).is_none_or(|scheme| scheme == origin.scheme());
    if is_own || options.allowed_origins.contains(&origin) {
        Ok(())
    } else {
        Err(Refusal::ForeignOrigin)
    }
}

fn look_up<'r>(app: &App, request: &'r Request) -> Result<Known<'r>, AuthError> {
    let headers = request.headers();
    let values = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let authorization = Credential::of_authorization(values(&AUTHORIZATION));
    let others = app.options.credential_headers.iter();
    let credential = others.fold(authorization, |known, name| known.and(values(name)));
    let authenticator = app.authenticator.load();
    let known = authenticator.look_up(credential, SystemTime::now())?;
    if let Known::Caller(caller) = &known {
        check_reach(app, request.uri().path(), caller)?;
    }
    Ok(known)
}

/// Refuses a caller whose credential is not for the endpoint at a path.
fn check_reach(app: &App, path: &str, caller: &Caller) -> Result<(), AuthError> {
    let Reach::Toolsets(toolsets) = &caller.reach else {
        return Ok(());
    };
    let root = &app.options.path;
    let is_reached = match Guarded::at(root, path) {
        Some(Guarded::Endpoint) => {
            let toolset = endpoint::name_at(root, path).filter(|name| !name.is_empty());
            caller.reach.includes(toolset)
        }
        None => true,
    };
    if is_reached {
        return Ok(());
    }
    if let Some(held_back) = app.misdirected.pass(Instant::now()) {
        let (issuer, toolsets) = (caller.issuer(), toolsets.join(" "));
        let toolsets = &*excerpt(&toolsets);
        tracing::warn!(
            issuer,
            toolsets,
            held_back,
            "a token for a toolset is not good elsewhere"
        );
    }
    Err(AuthError::Reach)
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
            let checked = check_origin(&headers, "localhost:8080", false, &options());
            assert_eq!(checked.is_ok(), allowed, "{origin:?} {site:?}");
        }
    }

    #[test]
    fn a_page_of_this_server_was_fetched_as_it_is_asked() {
        let (plain, secure) = ("http://mcp.example.com", "https://mcp.example.com");
        let known = Some("https://mcp.example.com/mcp");
        let elsewhere = Some("https://other.example.com/mcp");
        let cases = [
            (false, None, plain, true),
            (false, None, secure, true),
            (true, None, plain, false),
            (true, None, secure, true),
            (false, known, plain, false),
            (false, known, secure, true),
            (true, known, plain, false),
            (false, elsewhere, plain, true),
            (false, elsewhere, secure, true),
        ];
        for (is_encrypted, public_url, origin, allowed) in cases {
            let options = Options {
                public_url: public_url.map(|url| url.parse().unwrap()),
                ..Options::default()
            };
            let host = "mcp.example.com";
            let headers = HeaderMap::from_iter([(ORIGIN, origin.parse().unwrap())]);
            let checked = check_origin(&headers, host, is_encrypted, &options);
            assert_eq!(
                checked.is_ok(),
                allowed,
                "{is_encrypted} {public_url:?} {origin}"
            );
        }
    }
}
