//! What browsers let a web page read and send (O05, O07).

use mcp_serve::protocol::version::Era;
use serde_json::json;

use crate::support::{Client, Http, Response, TOKEN, TestServer, initialize};

const TOOLS: &str = "tools: {slow: {description: Takes a while., exec: /bin/sleep 1}}";

const PAGE: &str = "https://app.example.com";

fn serve() -> TestServer {
    let options = ["--allowed-origin", PAGE, "--heartbeat=100ms"];
    TestServer::with_token(TOOLS, &options)
}

/// Everything that a response says to a browser about its page.
fn said(response: &Response) -> Vec<(&str, &str)> {
    let headers = response.headers.iter();
    headers
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| name.starts_with("access-control-") || *name == "vary")
        .collect()
}

const SHARED: [(&str, &str); 3] = [
    ("access-control-allow-origin", PAGE),
    (
        "access-control-expose-headers",
        "Mcp-Session-Id, WWW-Authenticate, Retry-After",
    ),
    ("vary", "Origin"),
];

fn ask(server: &TestServer, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut http = Http::connect(server.address());
    http.request(method, path, headers, "")
}

#[test]
fn only_an_allowed_page_is_told_what_it_may_send() {
    let server = serve();
    let wanted = "authorization,content-type,mcp-param-region,mcp-session-id,x-other";
    let preflight = |origin, path| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", wanted),
        ];
        ask(&server, "OPTIONS", path, &headers)
    };
    for path in ["/mcp", "/mcp/", "/mcp/any"] {
        let response = preflight(PAGE, path);
        assert_eq!(response.status, 204, "{path}");
        let mut expected = vec![
            ("access-control-allow-methods", "GET, POST, DELETE"),
            ("access-control-max-age", "7200"),
            (
                "access-control-allow-headers",
                "authorization, content-type, mcp-param-region, mcp-session-id",
            ),
        ];
        expected.extend(SHARED);
        assert_eq!(said(&response), expected, "{path}");
    }
    for path in ["/", "/metrics", "/mcp/a/b"] {
        let response = preflight(PAGE, path);
        assert_eq!(response.status, 401, "{path}");
        assert_eq!(said(&response), SHARED, "{path}");
    }
    for origin in [
        "https://evil.example",
        "null",
        "https://app.example.com.evil.example",
    ] {
        let response = preflight(origin, "/mcp");
        assert_eq!(response.status, 403, "{origin}");
        assert_eq!(said(&response), [], "{origin}");
    }
    // Not the question of a browser.
    assert_eq!(
        ask(&server, "OPTIONS", "/mcp", &[("Origin", PAGE)]).status,
        401
    );
    let asked = [("Access-Control-Request-Method", "POST")];
    assert_eq!(ask(&server, "OPTIONS", "/mcp", &asked).status, 401);
}

#[test]
fn an_allowed_page_reads_every_answer() {
    let server = serve();
    let origin = ("Origin", PAGE);
    for (path, status) in [("/mcp", 401), ("/healthz", 200), ("/other", 401)] {
        for method in ["GET", "HEAD"] {
            let mut http = Http::connect(server.address());
            http.send(method, path, &[origin], "");
            let response = http.read_head();
            assert_eq!(response.status, status, "{method} {path}");
            assert_eq!(said(&response), SHARED, "{method} {path}");
        }
        assert_eq!(said(&ask(&server, "GET", path, &[])), [], "{path}");
    }
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        origin,
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    let mut http = Http::connect(server.address());
    let body = initialize("2025-11-25").to_string();
    let opened = http.request("POST", "/mcp", &headers, &body);
    assert_eq!((opened.status, said(&opened)), (200, SHARED.to_vec()));

    // The server's own page, and an answer that becomes a stream.
    let client = Client::new(&server, Era::Modern, Some(TOKEN));
    let call = client.message(1, "tools/call", &json!({"name": "slow", "arguments": {}}));
    let own = format!("http://{}", server.address());
    let mut headers = client.headers(&call);
    headers.push(("Origin", own.clone()));
    let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let streamed = http.request("POST", "/mcp", &headers, &call.to_string());
    assert_eq!(streamed.header("content-type"), Some("text/event-stream"));
    let mut expected = SHARED;
    expected[0].1 = &own;
    assert_eq!(said(&streamed), expected);
}

#[test]
fn a_page_that_may_not_call_is_told_nothing() {
    let server = serve();
    let bearer = format!("Bearer {TOKEN}");
    for headers in [
        vec![("Origin", "https://evil.example")],
        vec![
            ("Origin", "https://evil.example"),
            ("Authorization", &bearer),
        ],
        vec![("Origin", PAGE), ("Origin", "https://evil.example")],
    ] {
        let response = ask(&server, "GET", "/mcp", &headers);
        assert_eq!(response.status, 403, "{headers:?}");
        assert_eq!(said(&response), [], "{headers:?}");
    }
}
