//! Who may ask for which route (H29, H30, O03): with every method, without a credential, and from places
//! that may not call.
//!
//! The routes come from the code, and a `match` here says of each where it is and whom it answers: a new
//! one does not compile until it has its rule.

use std::net::TcpStream;

use mcp_serve::http::{Guarded, Page, Public};

use crate::issuer::Issuer;
use crate::metrics::{MONITOR, monitor_of};
use crate::support::{Http, Response, TOKEN, TestServer, initialize, sha256};

const TOOLS: &str = "
tools: {echo: {description: Says hello., exec: /bin/echo hello, tags: [part]}}
toolsets: {part: {match: tag:part}}
";

const METHODS: [&str; 10] = [
    "GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "PROPFIND", "get",
];

/// Where a route is that needs no credential.
fn public(route: Public) -> &'static [&'static str] {
    match route {
        Public::Healthz => &["/healthz", "/healthz?x=y"],
        Public::Readyz => &["/readyz", "/readyz?/mcp"],
        Public::Metadata => &[
            "/.well-known/oauth-protected-resource",
            "/.well-known/oauth-protected-resource/mcp",
            "/.well-known/oauth-protected-resource/mcp/part",
            "/.well-known/oauth-protected-resource/mcp/absent",
        ],
    }
}

/// Where a route is that needs one.
fn guarded(route: Guarded) -> &'static [&'static str] {
    match route {
        Guarded::Endpoint => &[
            "/mcp",
            "/mcp/",
            "/mcp?",
            "/mcp/part",
            "/mcp/part/",
            "/mcp/absent",
        ],
    }
}

/// Whether a route is for probes, which know an address at most.
fn is_for_probes(route: Public) -> bool {
    match route {
        Public::Healthz | Public::Readyz => true,
        Public::Metadata => false,
    }
}

/// The same of what operators look at.
fn page_is_for_probes(page: Page) -> bool {
    match page {
        Page::Healthz | Page::Readyz => true,
        Page::Metrics | Page::Sessions => false,
    }
}

/// Paths that lead nowhere, also those that look like some that do.
const NOWHERE: [&str; 26] = [
    "/",
    "/debug",
    "/debug/sessions",
    "/metrics",
    "//mcp",
    "/MCP",
    "/mcp//",
    "/mcp/a/b",
    "/mcp;x",
    "/%6dcp",
    "/mcp%2f",
    "/./mcp",
    "/x/../mcp",
    "/healthz/",
    "/healthz/../mcp",
    "/healthz%2f..%2fmcp",
    "//healthz",
    "/HEALTHZ",
    "/healthz;/mcp",
    "/readyz/x",
    "/readyzz",
    "/.well-known/",
    "/.well-known/oauth-protected-resources",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/favicon.ico",
];

/// A server that knows one token and an authorization server.
fn serve(issuer: &Issuer) -> TestServer {
    let digest = sha256(TOKEN);
    let jwt = issuer.entry("");
    let auth = format!("tokens:\n  - {{sha256: {digest}, subject: alice}}\njwt:\n{jwt}");
    let url = "--public-url=https://mcp.example.com/mcp";
    TestServer::with_auth(TOOLS, &auth, &[&MONITOR[..], &[url]].concat())
}

/// Sends an `initialize` by whatever method. The answer to `HEAD` has no body to read.
fn ask(address: &str, host: &str, (method, path): (&str, &str), more: &[(&str, &str)]) -> Response {
    let mut http = Http::over(TcpStream::connect(address).unwrap(), host);
    let mut headers = vec![
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
    ];
    headers.extend(more);
    let body = initialize("2025-11-25").to_string();
    http.send(method, path, &headers, &body);
    if method == "HEAD" {
        http.read_head()
    } else {
        http.read()
    }
}

/// The status of a route that can only be read.
fn read_only(method: &str) -> u16 {
    if ["GET", "HEAD"].contains(&method) {
        200
    } else {
        405
    }
}

#[test]
fn a_public_route_can_be_read_and_nothing_else() {
    let issuer = Issuer::with_keys(&[]);
    let server = serve(&issuer);
    for route in Public::ALL {
        for path in public(route) {
            for method in METHODS {
                let answer = ask(server.address(), "localhost", (method, path), &[]);
                assert_eq!(answer.status, read_only(method), "{method} {path}");
                assert_eq!(answer.header("www-authenticate"), None, "{method} {path}");
                if answer.status == 405 {
                    assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method} {path}");
                    assert_eq!(answer.error_code(), Some(-32600), "{method} {path}");
                }
            }
        }
    }
    for method in METHODS {
        for path in [
            "/.well-known/oauth-protected-resource/other",
            "/.well-known/oauth-protected-resource/../../mcp",
            "/.well-known/oauth-protected-resource/%2e%2e/%2e%2e/mcp",
        ] {
            let answer = ask(server.address(), "localhost", (method, path), &[]);
            assert_eq!(answer.status, 404, "{method} {path}");
        }
    }
}

#[test]
fn every_other_route_is_behind_the_token() {
    let issuer = Issuer::with_keys(&[]);
    let server = serve(&issuer);
    let in_query = format!("/mcp?access_token={TOKEN}");
    let absolute = format!("http://{}/mcp", server.address());
    let of_routes = Guarded::ALL.into_iter().flat_map(guarded).copied();
    let paths: Vec<_> = of_routes
        .chain(NOWHERE)
        .map(str::to_owned)
        .chain([in_query, absolute])
        .collect();
    for method in METHODS {
        for path in &paths {
            let answer = ask(server.address(), server.address(), (method, path), &[]);
            assert_eq!(answer.status, 401, "{method} {path}");
            let challenge = answer.header("www-authenticate");
            let challenge = challenge.unwrap_or_else(|| panic!("{method} {path}: no challenge"));
            assert!(
                challenge.starts_with("Bearer "),
                "{method} {path}: {challenge}"
            );
            // RFC 6750, section 3.1: no error code without a credential.
            assert!(!challenge.contains("error"), "{method} {path}: {challenge}");
        }
    }
    let bearer = format!("Bearer {TOKEN}");
    for path in NOWHERE {
        let headers = [("Authorization", bearer.as_str())];
        let answer = ask(server.address(), "localhost", ("POST", path), &headers);
        assert_eq!(answer.status, 404, "{path}");
    }
    assert_eq!(server.statistics()["total_sessions_created"], 0);
}

/// Checks that nobody asks for a path under a foreign name or from a foreign page, with and without a
/// token; or that everybody does.
fn check_foreign(address: &str, path: &str, is_for_probes: bool) {
    let bearer = format!("Bearer {TOKEN}");
    let evil_page = ("Origin", "https://evil.example");
    let token = ("Authorization", bearer.as_str());
    for method in METHODS {
        for more in [&[][..], &[token]] {
            let from_page = [more, &[evil_page]].concat();
            let cases = [("evil.example", more, 421), ("localhost", &from_page, 403)];
            for (host, headers, refused) in cases {
                let answer = ask(address, host, (method, path), headers);
                let expected = if is_for_probes {
                    read_only(method)
                } else {
                    refused
                };
                assert_eq!(
                    answer.status, expected,
                    "{method} {path} {host} {headers:?}"
                );
                let shared = answer.header("access-control-allow-origin");
                assert_eq!(shared, None, "{method} {path}");
            }
        }
    }
}

#[test]
fn no_route_is_for_foreign_pages_and_names() {
    let issuer = Issuer::with_keys(&[]);
    let server = serve(&issuer);
    for route in Public::ALL {
        check_foreign(server.address(), public(route)[0], is_for_probes(route));
    }
    for route in Guarded::ALL {
        for path in guarded(route) {
            check_foreign(server.address(), path, false);
        }
    }
    check_foreign(server.address(), "/absent", false);
    let monitor = monitor_of(&server);
    for page in Page::ALL {
        check_foreign(&monitor, page.path(), page_is_for_probes(page));
    }
    check_foreign(&monitor, "/absent", false);
    assert_eq!(server.statistics()["total_sessions_created"], 0);
}

#[test]
fn what_operators_look_at_can_only_be_read() {
    let issuer = Issuer::with_keys(&[]);
    let server = serve(&issuer);
    let monitor = monitor_of(&server);
    for method in METHODS {
        for page in Page::ALL {
            let answer = ask(&monitor, "localhost", (method, page.path()), &[]);
            assert_eq!(answer.status, read_only(method), "{method} {page:?}");
        }
        for path in ["/", "/mcp", "/debug", "/metrics/"] {
            let answer = ask(&monitor, "localhost", (method, path), &[]);
            assert_eq!(answer.status, 404, "{method} {path}");
        }
    }
}
