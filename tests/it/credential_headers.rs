//! Tokens in headers of other names: `--credential-header`.

use crate::support::{Http, TOKEN, TestServer, initialize};

const TOOLS: &str = "tools: {echo: {description: Says hello., exec: /bin/echo hello}}";

const OPTIONS: [&str; 2] = [
    "--credential-header=X-Api-Key,Api-Token",
    "--allowed-origin=https://app.example.com",
];

#[test]
fn all_credentials_of_a_request_are_the_same() {
    let server = TestServer::with_token(TOOLS, &OPTIONS);
    let bearer = format!("Bearer {TOKEN}");
    let bearer = ("Authorization", bearer.as_str());
    let key = ("X-Api-Key", TOKEN);
    let wrong = "wrong-token-wrong-token-wrong";
    let body = initialize("2025-11-25").to_string();
    let cases: [(&[(&str, &str)], u16); 18] = [
        (&[], 401),
        (&[key], 200),
        (&[("x-api-KEY", TOKEN)], 200),
        (&[("Api-Token", TOKEN)], 200),
        (&[("X-Api-Token", TOKEN)], 401),
        (&[("X-Api-Key", wrong)], 401),
        (&[bearer, key], 200),
        (&[bearer, key, ("Api-Token", TOKEN)], 200),
        (&[bearer, ("X-Api-Key", wrong)], 401),
        (&[("Authorization", "Bearer wrong"), key], 401),
        (&[("Authorization", "Basic dXNlcjpwYXNz"), key], 401),
        (&[key, ("Api-Token", wrong)], 401),
        (&[("X-Api-Key", wrong), ("Api-Token", wrong)], 401),
        (&[key, key], 400),
        (&[bearer, key, key], 400),
        (&[("X-Api-Key", bearer.1)], 400),
        (&[("X-Api-Key", "")], 400),
        (&[bearer, ("X-Api-Key", "")], 400),
    ];
    for (headers, status) in cases {
        let headers = [&[("Content-Type", "application/json")], headers].concat();
        let mut http = Http::connect(server.address());
        let answer = http.request("POST", "/mcp", &headers, &body);
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge.is_some(), status != 200, "{headers:?}");
    }
}

#[test]
fn a_page_may_send_what_is_named() {
    let server = TestServer::with_token(TOOLS, &OPTIONS);
    let headers = [
        ("Origin", "https://app.example.com"),
        ("Access-Control-Request-Method", "POST"),
        (
            "Access-Control-Request-Headers",
            "api-token,x-api-key,x-other",
        ),
    ];
    let answer = Http::connect(server.address()).request("OPTIONS", "/mcp", &headers, "");
    let allowed = answer.header("access-control-allow-headers");
    assert_eq!(allowed, Some("api-token, x-api-key"));
}
