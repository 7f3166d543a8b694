//! What a web page of an allowed origin may read and send (the CORS protocol of the Fetch standard).
//!
//! A response says so to the one origin that asked, and never that credentials of the browser may be
//! sent: a page presents a token, which is no such credential. A page of another origin was refused
//! before, and its browser is told nothing.

use axum::extract::Request;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, ORIGIN,
    VARY,
};
use http::{HeaderMap, Method, StatusCode};

use super::routes::{Guarded, Public};
use super::{Connection, admission, endpoint, headers, reply};
use crate::app::App;

/// What a page may read of a response, beside what every page may.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("Mcp-Session-Id, WWW-Authenticate, Retry-After");

/// How long a browser may remember what a page may send, in seconds: what the most cautious of them do.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// What a page may send, beside what every page may.
const SENT: [HeaderName; 8] = [
    AUTHORIZATION,
    CONTENT_TYPE,
    headers::MCP_SESSION_ID,
    headers::MCP_PROTOCOL_VERSION,
    headers::MCP_METHOD,
    headers::MCP_NAME,
    headers::LAST_EVENT_ID,
    headers::TRACEPARENT,
];

/// How headers begin that repeat an argument (MCP 2026-07-28, Streamable HTTP).
const MCP_PARAM: &str = "mcp-param-";

/// The origin of a page that may read the answer to a request; `None` where no page asks.
pub(super) fn page(app: &App, connection: &Connection, request: &Request) -> Option<HeaderValue> {
    let origin = request.headers().get(ORIGIN)?;
    let is_allowed = admission::is_allowed(app, connection, request);
    is_allowed.then(|| origin.clone())
}

/// Lets the page read a response.
pub(super) fn share(mut response: Response, page: HeaderValue) -> Response {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, page);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(VARY, HeaderValue::from_static("Origin"));
    response
}

/// Answers the question of a browser whether its page may send a request. There is no credential in it.
pub(super) fn preflight(app: &App, request: &Request) -> Option<Response> {
    let headers = request.headers();
    if *request.method() != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    {
        return None;
    }
    let methods = methods(app, request.uri().path())?;
    let mut response = reply::empty(StatusCode::NO_CONTENT);
    let answer = response.headers_mut();
    answer.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(methods),
    );
    answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if let Some(sent) = sent(headers, &app.options.credential_headers) {
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, sent);
    }
    Some(response)
}

/// The methods of what a page may use at a path.
fn methods(app: &App, path: &str) -> Option<&'static str> {
    match Public::at(path) {
        Some(Public::Metadata) => Some("GET"),
        Some(Public::Healthz | Public::Readyz) => None,
        None => match Guarded::at(&app.options.path, path)? {
            Guarded::Endpoint => Some(endpoint::allowed(app)),
        },
    }
}

/// Those of the headers that a page wants to send which it may. A wildcard would not do: it does not
/// include `Authorization`.
fn sent(headers: &HeaderMap, credentials: &[HeaderName]) -> Option<HeaderValue> {
    let wanted = headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let wanted = wanted.filter_map(|value| value.to_str().ok());
    let names = wanted.flat_map(|names| names.split(','));
    let names = names.filter_map(|name| HeaderName::try_from(name.trim()).ok());
    let names = names.filter(|name| {
        SENT.contains(name) || credentials.contains(name) || name.as_str().starts_with(MCP_PARAM)
    });
    let names: Vec<_> = names.map(|name| name.as_str().to_owned()).collect();
    (!names.is_empty())
        .then(|| HeaderValue::try_from(names.join(", ")).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_may_send_what_mcp_needs() {
        let credentials = [HeaderName::from_static("x-api-key")];
        let cases = [
            (
                "authorization,content-type",
                Some("authorization, content-type"),
            ),
            ("Mcp-Session-Id, X-Evil", Some("mcp-session-id")),
            (
                "last-event-id,mcp-method,mcp-name,mcp-param-region,mcp-protocol-version",
                Some("last-event-id, mcp-method, mcp-name, mcp-param-region, mcp-protocol-version"),
            ),
            ("x-api-key,x-api-keys", Some("x-api-key")),
            ("mcp-params,cookie,host", None),
            ("mcp-param-a b,*", None),
            ("", None),
        ];
        for (wanted, expected) in cases {
            let value = wanted.parse().unwrap();
            let headers = HeaderMap::from_iter([(ACCESS_CONTROL_REQUEST_HEADERS, value)]);
            let sent = sent(&headers, &credentials);
            let sent = sent.as_ref().map(|sent| sent.to_str().unwrap());
            assert_eq!(sent, expected, "{wanted}");
        }
        assert_eq!(sent(&HeaderMap::new(), &credentials), None);
    }
}
