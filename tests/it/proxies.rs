//! Whom a proxy speaks for (H33): `--trusted-proxy`.

use crate::support::{Http, TestServer, initialize};

const TOOLS: &str = "tools: {echo: {description: Says hello., exec: /bin/echo hello}}";

/// Opens a session for somebody behind a proxy, and returns the status.
fn open(server: &TestServer, header: &str, value: &str) -> u16 {
    let headers = [("Content-Type", "application/json"), (header, value)];
    let body = initialize("2025-11-25").to_string();
    let mut http = Http::connect(server.address());
    http.request("POST", "/mcp", &headers, &body).status
}

#[test]
fn clients_behind_a_trusted_proxy_are_told_apart() {
    let limit = [
        "--max-sessions-per-principal=1",
        "--on-session-limit=reject",
    ];
    let of_proxy = ["--trusted-proxy=192.0.2.0/24,127.0.0.1"];
    let of_other = ["--trusted-proxy=192.0.2.0/24"];
    let cases: [(&str, &[&str], u16); 3] = [
        ("trusted", &of_proxy, 200),
        ("another one is trusted", &of_other, 429),
        ("nobody is trusted", &[], 429),
    ];
    for (name, options, expected) in cases {
        let server = TestServer::start(TOOLS, &[&limit[..], options].concat());
        let first = open(&server, "X-Forwarded-For", "203.0.113.1");
        assert_eq!(first, 200, "{name}");
        let invented = "203.0.113.2, 203.0.113.1, 192.0.2.9";
        assert_eq!(open(&server, "X-Forwarded-For", invented), 429, "{name}");
        let other = open(&server, "X-Forwarded-For", "203.0.113.1, 203.0.113.2");
        assert_eq!(other, expected, "{name}");
        let standard = open(&server, "Forwarded", "for=\"[2001:db8::1]:4711\"");
        assert_eq!(standard, expected, "{name}");
        assert_eq!(open(&server, "Forwarded", "for=203.0.113.2"), 429, "{name}");
    }
}

#[test]
fn the_log_names_the_client_behind_a_trusted_proxy() {
    let cases: [(&[&str], &str, &str); 3] = [
        (
            &["--trusted-proxy=127.0.0.0/8"],
            "203.0.113.9",
            "203.0.113.9",
        ),
        (
            &["--trusted-proxy=127.0.0.0/8"],
            "203.0.113.9, unknown",
            "127.0.0.1",
        ),
        (&[], "203.0.113.9", "127.0.0.1"),
    ];
    for (options, forwarded, expected) in cases {
        let server = TestServer::with_token(TOOLS, options);
        assert_eq!(open(&server, "X-Forwarded-For", forwarded), 401);
        let line = server.wait_for_log("credential refused");
        let client = format!("\"client\":\"{expected}\"");
        assert!(line.contains(&client), "{options:?} {forwarded}: {line}");
    }
}
