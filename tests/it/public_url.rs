//! The URL that clients know the server by, and where they are told to get a token.

use crate::support::{Http, TOKEN, TestServer};

const TOOLS: &str = "tools: {echo: {description: Says hello., exec: /bin/echo hello}}";

const PUBLIC_URL: &str = "--public-url=https://mcp.example.com/mcp";

fn status(server: &TestServer, path: &str, headers: &[(&str, &str)]) -> u16 {
    let stream = std::net::TcpStream::connect(server.address()).unwrap();
    let mut http = Http::over(stream, "mcp.example.com");
    http.request("GET", path, headers, "").status
}

#[test]
fn a_public_url_is_the_servers_own() {
    let known = TestServer::with_token(TOOLS, &[PUBLIC_URL]);
    let unknown = TestServer::with_token(TOOLS, &[]);
    let bearer = format!("Bearer {TOKEN}");
    let cases: [(&str, &str, u16); 3] = [
        ("https://mcp.example.com", "/other", 404),
        ("https://mcp.example.com:8443", "/other", 403),
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
