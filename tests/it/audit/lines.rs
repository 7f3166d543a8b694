//! What a line of the audit log says, and what no line shows.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use super::{CLERK, OPS, auth, check, of_event, serve, tools, wait_for_ends};
use crate::support::{Client, ERAS, TestServer, sha256};

#[test]
fn a_line_says_who_called_what_from_where() {
    for era in ERAS {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.log");
        let server = serve(&log, &[]);
        let client = Client::at(&server, "/mcp/desk", era, Some(OPS));
        let result = client.call("echo", &json!({"text": "from ann"}));
        assert_eq!(result["isError"], false, "{result}");
        let records = wait_for_ends(&log, 1);
        let mut start = of_event(&records, "start")[0].clone();
        // printf %s '{"text":"from ann"}' | sha256sum
        let digest = sha256(r#"{"text":"from ann"}"#);
        for (name, expected) in [
            ("method", "tools/call"),
            ("name", "echo"),
            ("toolset", "desk"),
            ("issuer", "auth_file"),
            ("subject", "olga"),
            ("tenant", "acme"),
            ("client", "127.0.0.1"),
            ("arguments_sha256", &digest),
        ] {
            assert_eq!(start[name].take(), expected, "{name}");
        }
        let number = start["call"].take().to_string();
        let session = start["session"].take();
        match era {
            Era::Legacy => {
                let session = session.as_str().unwrap();
                assert!(client.session().starts_with(session) && session.len() == 8);
                assert_eq!(start["protocol"], "2025-11-25");
            }
            Era::Modern => assert_eq!(
                (session, &start["protocol"]),
                (Value::Null, &json!("2026-07-28"))
            ),
        }
        let logged = server.wait_for_log("\"message\":\"call\"");
        assert!(logged.contains(&format!("\"call\":{number},")), "{logged}");
        let mode = fs::metadata(&log).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_request_that_contradicts_itself_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let server = serve(&log, &[]);
    let client = Client::new(&server, Era::Modern, Some(CLERK));
    let good = client.message(1, "tools/call", &json!({"name": "echo"}));
    let bad = client.message(1, "tools/call", &json!({"name": "secret_door"}));
    let headers = client.headers(&good);
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let response = client
        .connect()
        .request("POST", "/mcp", &headers, &bad.to_string());
    assert_eq!(
        (response.status, response.error_code()),
        (400, Some(-32020))
    );
    let records = wait_for_ends(&log, 1);
    let end = of_event(&records, "end")[0];
    assert_eq!(
        (&end["name"], &end["outcome"]),
        (&json!("secret_door"), &json!("invalid"))
    );
    assert_eq!(end["reason"], "JSON-RPC error -32020");
}

#[test]
fn what_a_client_writes_breaks_no_line_and_shows_no_secret() {
    const SECRET: &str = "planted-secret-0815";
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let tools = "tools:\n  env: {description: d, exec: env, env: {A: '${env:PLANTED}'}}\n  \
                 echo: {description: d, exec: 'printf %s {text}', params: {text: string}}\n";
    let server = TestServer::start_with(tools, &["--audit-arguments", "redacted"], |prepare| {
        prepare.serve_with_auth(&auth());
        prepare
            .command
            .env("PLANTED", SECRET)
            .arg("--audit")
            .arg(&log);
    });
    let client = Client::new(&server, Era::Legacy, Some(OPS));
    let hostile = "a\nb\r\u{1b}[31m\u{2028}\u{202e}\u{9b}\"}";
    let endless = "x".repeat(1 << 20);
    let calls = [
        json!({"name": hostile}),
        json!({"name": endless}),
        json!({"name": SECRET}),
        json!({"name": "echo", "arguments": {"text": hostile}}),
        json!({"name": "echo", "arguments": {"text": "x".repeat(100_000)}}),
        json!({"name": "echo", "arguments": {"text": format!("it is {SECRET} and {OPS}")}}),
        json!({"name": "env"}),
    ];
    for params in &calls {
        client.request("tools/call", params);
    }
    let records = wait_for_ends(&log, calls.len());
    check(&records);
    let text = fs::read_to_string(&log).unwrap();
    let is_odd = |c: char| c != '\n' && (c.is_control() || matches!(c, '\u{2028}' | '\u{202e}'));
    assert!(!text.contains(is_odd), "{text}");
    assert!(
        !text.contains(SECRET) && !text.contains(client.session()),
        "{text}"
    );
    assert!(
        text.lines().all(|line| line.len() < 16 << 10),
        "lines are bounded"
    );
    let starts = of_event(&records, "start");
    assert_eq!(starts[0]["name"], hostile);
    assert_eq!(starts[1]["name"], format!("{}…", "x".repeat(256)));
    assert_eq!(starts[2]["name"], "***");
    assert_eq!(starts[3]["arguments"], json!({"text": hostile}).to_string());
    assert!(starts[4]["arguments"].as_str().unwrap().ends_with('…'));
    assert!(
        starts[5]["arguments"]
            .as_str()
            .unwrap()
            .contains("it is ***")
    );
    assert_eq!(starts[6]["arguments"], "{}");
}

#[test]
fn standard_error_takes_it_among_the_lines_of_the_log() {
    let server = TestServer::start(&tools(), &["--audit", "stderr", "--audit-mode", "required"]);
    server.client(Era::Modern).call("fixed", &json!({}));
    let end = server.wait_for_log("\"event\":\"end\"");
    let end: Value = serde_json::from_str(&end).unwrap();
    assert_eq!((&end["seq"], &end["outcome"]), (&json!(3), &json!("ok")));
}
