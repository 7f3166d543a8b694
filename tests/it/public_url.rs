//! The URL that clients know the server by, and where they are told to get a token.

use std::time::SystemTime;

use mcp_serve::protocol::version::Era;
use serde_json::json;

use crate::issuer::{AUDIENCE, Issuer, Key, unix};
use crate::support::{Client, ERAS, Http, Response, TOKEN, TestServer};

const TOOLS: &str = "tools: {echo: {description: Says hello., exec: /bin/echo hello}}";

/// What some scope opens at once, and what asks for another one when it is used.
const GUARDED: &str = r#"
defaults: {tags: [all]}
tools:
  read: {description: Reads., exec: /bin/echo hello, allow: ["scope:read", "scope:list"]}
  stay: {description: Stays., exec: /bin/echo hello, allow: ["scope:offline_access"]}
  write:
    description: Writes.
    exec: /bin/echo hello
    allow: [["scope:read", "scope:write"]]
    step_up: true
toolsets:
  ops: {match: tag:all}
"#;

const PUBLIC_URL: &str = "--public-url=https://mcp.example.com/mcp";

/// Where the documents are for clients.
const DOCUMENTS: &str = "https://mcp.example.com/.well-known/oauth-protected-resource";

fn ask(
    server: &TestServer,
    (method, host): (&str, &str),
    path: &str,
    headers: &[(&str, &str)],
) -> Response {
    let stream = std::net::TcpStream::connect(server.address()).unwrap();
    Http::over(stream, host).request(method, path, headers, "")
}

fn status(server: &TestServer, path: &str, headers: &[(&str, &str)]) -> u16 {
    ask(server, ("GET", "mcp.example.com"), path, headers).status
}

/// Serves those for whom an authorization server vouches.
fn trusting(issuer: &Issuer) -> TestServer {
    let auth = format!("jwt:\n{}", issuer.entry(""));
    let options = [PUBLIC_URL, "--allowed-host=other.example.com"];
    TestServer::with_auth(GUARDED, &auth, &options)
}

#[test]
fn a_public_url_is_the_servers_own() {
    let known = TestServer::with_token(TOOLS, &[PUBLIC_URL]);
    let unknown = TestServer::with_token(TOOLS, &[]);
    let bearer = format!("Bearer {TOKEN}");
    let cases: [(&str, &str, u16); 4] = [
        ("https://mcp.example.com", "/other", 404),
        ("https://mcp.example.com:8443", "/other", 403),
        ("http://mcp.example.com", "/other", 403),
        ("https://evil.example", "/other", 403),
    ];
    for (origin, path, expected) in cases {
        let headers = [("Origin", origin), ("Authorization", bearer.as_str())];
        assert_eq!(status(&known, path, &headers), expected, "{origin}");
        assert_eq!(status(&unknown, path, &headers), 421, "{origin}");
    }
}

#[test]
fn without_an_authorization_server_there_is_nothing_to_tell() {
    let server = TestServer::with_token(TOOLS, &[PUBLIC_URL]);
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
    ] {
        assert_eq!(status(&server, path, &[]), 404, "{path}");
    }
    let mut http = Http::connect(server.address());
    let refused = http.request("GET", "/mcp", &[], "");
    let challenge = refused.header("www-authenticate").unwrap();
    assert_eq!(challenge, "Bearer realm=\"mcp-serve\"");
}

#[test]
fn everybody_can_read_where_to_get_a_token() {
    let issuer = Issuer::with_keys(&[]);
    let server = trusting(&issuer);
    let known = |below: &str| format!("/.well-known/oauth-protected-resource{below}");
    for host in ["mcp.example.com", "other.example.com", "localhost"] {
        for (below, resource) in [
            ("", AUDIENCE.to_owned()),
            ("/mcp", AUDIENCE.to_owned()),
            ("/mcp/ops", format!("{AUDIENCE}/ops")),
            ("/mcp/absent", format!("{AUDIENCE}/absent")),
        ] {
            let found = ask(&server, ("GET", host), &known(below), &[]);
            assert_eq!(found.status, 200, "{host} {below}: {found:?}");
            assert_eq!(found.header("content-type"), Some("application/json"));
            let expected = json!({
                "resource": resource,
                "authorization_servers": [issuer.url()],
                "scopes_supported": ["list", "read"],
                "bearer_methods_supported": ["header"],
            });
            assert_eq!(found.json(), expected, "{host} {below}");
        }
    }
    for (request, below, expected) in [
        (("GET", "mcp.example.com"), "/other", 404),
        (("GET", "mcp.example.com"), "/mcp/a/b", 404),
        (("POST", "mcp.example.com"), "/mcp", 405),
        (("DELETE", "mcp.example.com"), "", 405),
        (("GET", "evil.example"), "/mcp", 421),
    ] {
        let refused = ask(&server, request, &known(below), &[]);
        assert_eq!(refused.status, expected, "{request:?} {below}");
    }
}

#[test]
fn who_is_not_let_in_is_told_where_to_get_a_token_and_for_what() {
    let key = Key::new("one");
    let issuer = Issuer::with_keys(&[&key]);
    let server = trusting(&issuer);
    let mut claims = issuer.claims("alice");
    claims["exp"] = json!(unix(SystemTime::now()) - 3600);
    let expired = format!("Bearer {}", key.token(&claims));
    let invalid = ", error=\"invalid_token\"";
    let has_expired = format!("{invalid}, error_description=\"The access token expired\"");
    let scope = ", scope=\"list read\"";
    let cases = [
        (None, 401, scope.to_owned()),
        (Some("Bearer nobody"), 401, format!("{invalid}{scope}")),
        (Some(expired.as_str()), 401, format!("{has_expired}{scope}")),
    ];
    for path in ["/mcp", "/mcp/ops"] {
        for (credential, status, parameters) in &cases {
            let header = credential.map(|credential| ("Authorization", credential));
            let refused = ask(
                &server,
                ("GET", "other.example.com"),
                path,
                header.as_slice(),
            );
            assert_eq!(refused.status, *status, "{path} {credential:?}");
            let expected = format!(
                "Bearer realm=\"mcp-serve\"{parameters}, resource_metadata=\"{DOCUMENTS}{path}\""
            );
            let challenge = refused.header("www-authenticate").unwrap();
            assert_eq!(challenge, expected, "{path} {credential:?}");
        }
    }
}

#[test]
fn who_lacks_a_scope_is_told_where_to_get_it() {
    let key = Key::new("one");
    let issuer = Issuer::with_keys(&[&key]);
    let server = trusting(&issuer);
    let mut claims = issuer.claims("alice");
    claims["scope"] = json!("read");
    let token = key.token(&claims);
    for path in ["/mcp", "/mcp/ops"] {
        for era in ERAS {
            let alice = Client::at(&server, path, era, Some(&token));
            let refused = alice.request("tools/call", &json!({"name": "write"}));
            assert_eq!(refused.status, 403, "{era:?} {path}: {refused:?}");
            let expected = format!(
                "Bearer realm=\"mcp-serve\", error=\"insufficient_scope\", scope=\"read write\", \
                 resource_metadata=\"{DOCUMENTS}{path}\""
            );
            let challenge = refused.header("www-authenticate").unwrap();
            assert_eq!(challenge, expected, "{era:?} {path}");
        }
    }
    assert_eq!(
        Client::new(&server, Era::Modern, Some(&token)).call_text("read", &json!({})),
        "hello\n"
    );
}
