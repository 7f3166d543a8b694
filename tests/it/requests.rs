//! Requests as peculiar clients send them, and the eras that a server serves: the real binary over
//! raw sockets.

use std::thread;
use std::time::Duration;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::lifecycle::{at_once, is_event_stream, on_session, ping, reply};
use crate::metrics::{check_invariant, monitor_of, scrape, value};
use crate::support::{
    Client, ERAS, GATE, Gate, Http, Response, TOKEN, TestServer, initialize, sha256, text,
};

/// Both forms of an answer that takes long: the options, and whether it is an event stream.
const MODES: [(&[&str], bool); 2] = [
    (&["--json-response"], false),
    (&["--heartbeat", "100ms"], true),
];

fn tools() -> String {
    format!(
        "
name: requests-test
tools:
  echo:
    description: Prints its argument.
    effect: read
    exec: printf %s {{text}}
    params: {{text: string}}
  subject:
    description: Prints who calls.
    effect: read
    exec: [sh, -c, 'printf %s \"$MCP_CALLER_SUBJECT\"']
{GATE}"
    )
}

const METRICS: [&str; 2] = ["--metrics-listen", "127.0.0.1:0"];

fn serve(options: &[&str]) -> TestServer {
    TestServer::start(&tools(), &[&METRICS, options].concat())
}

fn is_close(value: f64, expected: f64) -> bool {
    (value - expected).abs() < 0.5
}

const POST: [(&str, &str); 2] = [
    ("Content-Type", "application/json"),
    ("Accept", "application/json, text/event-stream"),
];

/// Sends a message with these headers and no others of a client.
fn post(server: &TestServer, path: &str, extra: &[(&str, &str)], message: &Value) -> Response {
    let headers = [&POST, extra].concat();
    Http::connect(server.address()).request("POST", path, &headers, &message.to_string())
}

fn ping_message() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})
}

fn echo_message() -> Value {
    let params = json!({"name": "echo", "arguments": {"text": "x"}});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
}

/// Session rule F1.
#[test]
fn two_calls_in_flight_may_have_one_id() {
    let body = |(options, streamed): (&[&str], bool)| {
        let server = serve(options);
        let address = monitor_of(&server);
        for era in ERAS {
            let client = server.client(era);
            let other = server.client(era);
            let gates = ["slow", "other"].map(|name| {
                let gate = Gate::new(&server, &format!("{era:?}-{name}"));
                let client = if name == "slow" { &client } else { &other };
                let mut call = client.start_call(777, "gate", &gate.arguments());
                gate.wait();
                let head = streamed.then(|| call.read_head());
                (gate, call, head)
            });
            let quick = client.start_call(777, "echo", &json!({"text": "quick"}));
            let quick = { quick }.read().json();
            assert_eq!(quick["id"], 777, "{era:?} {options:?}");
            assert_eq!(quick["result"]["content"][0]["text"], "quick", "{era:?}");
            for (gate, mut call, head) in gates {
                gate.open();
                let response = reply(&mut call, head);
                assert_eq!(is_event_stream(&response), streamed, "{era:?} {options:?}");
                let slow = response.json();
                assert_eq!(slow["id"], 777, "{era:?} {options:?}");
                assert_eq!(slow["result"]["content"][0]["text"], "through", "{era:?}");
            }
            // The same id in another session is no duplicate, nor is it without sessions.
            let samples = scrape(&address);
            let counted = value(&samples, "duplicate_request_ids_total");
            assert!(is_close(counted, 1.0), "{era:?}: {samples:#?}");
            // One after the other may have one id.
            assert_eq!(client.call_text("echo", &json!({"text": "x"})), "x");
            let samples = scrape(&address);
            let counted = value(&samples, "duplicate_request_ids_total");
            assert!(is_close(counted, 1.0), "{era:?}: {samples:#?}");
        }
    };
    at_once(&[&|| body(MODES[0]), &|| body(MODES[1])]);
}

/// Session rule F2: what is refused says which header is missing.
#[test]
fn a_client_that_never_names_its_session_is_told_how() {
    let server = serve(&[]);
    let _opened = server.client(Era::Legacy);
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let mut refused = Vec::new();
    for extra in [&[][..], &[("Mcp-Session-Id", "")]] {
        for message in [ping_message(), echo_message(), initialized.clone()] {
            refused.push(post(&server, "/mcp", extra, &message));
        }
        for method in ["GET", "DELETE"] {
            let headers = [&POST, extra].concat();
            let mut http = Http::connect(server.address());
            refused.push(http.request(method, "/mcp", &headers, ""));
        }
    }
    for response in &refused {
        assert_eq!(response.status, 400, "{response:?}");
        assert_eq!(response.error_code(), Some(-32600), "{response:?}");
        let said = text(&response.json()["error"]["message"]);
        assert!(said.contains("Mcp-Session-Id"), "{said}");
    }
    let samples = scrape(&monitor_of(&server));
    let missing = value(&samples, "missing_session_id_total");
    assert!(is_close(missing, 10.0), "{samples:#?}");
}

/// Session rule F2, with `--lenient-sessions`.
#[test]
fn a_client_that_never_names_its_session_may_be_served() {
    const BOB: &str = "bob-1-mfZ3b1mXk0Qy7h2Vn5cR8w";
    let auth = [(TOKEN, "alice"), (BOB, "bob")]
        .map(|(token, subject)| format!("  - {{sha256: {}, subject: {subject}}}\n", sha256(token)));
    let auth = format!("tokens:\n{}", auth.concat());
    let body = |(options, streamed): (&[&str], bool)| {
        let options = [&METRICS[..], options, &["--lenient-sessions"]].concat();
        let server = TestServer::with_auth(&tools(), &auth, &options);
        let address = monitor_of(&server);
        let client = Client::new(&server, Era::Legacy, Some(TOKEN));
        for (token, subject) in [(TOKEN, "alice"), (BOB, "bob")] {
            let bearer = format!("Bearer {token}");
            let bearer = [("Authorization", bearer.as_str())];
            let who = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                "params": {"name": "subject"}});
            let response = post(&server, "/mcp", &bearer, &who);
            assert_eq!(response.status, 200, "{response:?}");
            assert_eq!(response.header("mcp-session-id"), None);
            assert_eq!(response.json()["result"]["content"][0]["text"], subject);
            assert_eq!(post(&server, "/mcp", &bearer, &ping_message()).status, 200);
            let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
            assert_eq!(post(&server, "/mcp", &bearer, &initialized).status, 202);

            let gate = Gate::new(&server, subject);
            let params = json!({"name": "gate", "arguments": gate.arguments()});
            let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
            let mut http = Http::connect(server.address());
            let headers = [&POST[..], &bearer].concat();
            http.send("POST", "/mcp", &headers, &call.to_string());
            gate.wait();
            let head = streamed.then(|| http.read_head());
            gate.open();
            let response = reply(&mut http, head);
            assert_eq!(is_event_stream(&response), streamed, "{options:?}");
            let message = response.json();
            assert_eq!(message["result"]["content"][0]["text"], "through");
        }
        // Who names a session has to name one of its own, and the rest is as ever.
        let bob = client.with_token(BOB);
        let unknown = client.with_session("6a6b7f1c-3d1e-4a53-9d58-0f8f7c1d2e3f");
        for client in [&bob, &unknown] {
            assert_eq!(ping(client).status, 404);
        }
        let nobody = post(&server, "/mcp", &[], &ping_message());
        assert_eq!(nobody.status, 401, "{nobody:?}");
        let bearer = format!("Bearer {TOKEN}");
        let headers = [&POST[..], &[("Authorization", bearer.as_str())]].concat();
        for method in ["GET", "DELETE"] {
            let mut http = Http::connect(server.address());
            let refused = http.request(method, "/mcp", &headers, "");
            assert_eq!(refused.status, 400, "{method}: {refused:?}");
            let said = text(&refused.json()["error"]["message"]);
            assert!(said.contains("Mcp-Session-Id"), "{method}: {said}");
        }
        assert_eq!(ping(&client).status, 200);
        let samples = scrape(&address);
        assert!(is_close(check_invariant(&samples), 1.0), "{samples:#?}");
    };
    at_once(&[&|| body(MODES[0]), &|| body(MODES[1])]);
}

/// Session rule F4.
#[test]
fn the_version_header_must_name_a_version_that_is_served() {
    let server = serve(&[]);
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let opened = post(&server, "/mcp", &[], &initialize(version));
        let id = opened.header("mcp-session-id").unwrap();
        let id = ("Mcp-Session-Id", id);
        let with = |named: &'static str| [id, ("MCP-Protocol-Version", named)];
        assert_eq!(post(&server, "/mcp", &[id], &ping_message()).status, 200);
        for named in ["2025-03-26", "2025-06-18", "2025-11-25"] {
            let case = format!("{named} in a session of {version}");
            let response = post(&server, "/mcp", &with(named), &echo_message());
            assert_eq!(response.status, 200, "{case}");
            let said = &response.json()["result"]["content"][0]["text"];
            assert_eq!(said, "x", "{case}");
            // Batches are a matter of what was negotiated, not of the header.
            let batch = json!([ping_message()]);
            let status = post(&server, "/mcp", &with(named), &batch).status;
            let expected = if version == "2025-03-26" { 200 } else { 400 };
            assert_eq!(status, expected, "{case}");
        }
        for method in ["POST", "GET", "DELETE"] {
            let headers = [&POST[..], &with("1999-01-01")].concat();
            let body = if method == "POST" {
                echo_message().to_string()
            } else {
                String::new()
            };
            let mut http = Http::connect(server.address());
            let refused = http.request(method, "/mcp", &headers, &body);
            assert_eq!(refused.status, 400, "{method}: {refused:?}");
            assert_eq!(refused.error_code(), Some(-32022), "{method}");
            let supported = json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]);
            assert_eq!(refused.json()["error"]["data"]["supported"], supported);
        }
        assert_eq!(post(&server, "/mcp", &[id], &ping_message()).status, 200);
    }
}

/// Session rule F7.
#[test]
fn the_endpoint_may_end_in_a_slash() {
    let server = TestServer::with_token(&tools(), &[]);
    let bearer = format!("Bearer {TOKEN}");
    let bearer = ("Authorization", bearer.as_str());
    for path in ["/mcp", "/mcp/"] {
        let opened = post(&server, path, &[bearer], &initialize("2025-11-25"));
        assert_eq!(opened.status, 200, "{path}: {opened:?}");
        let id = opened.header("mcp-session-id").expect("a session");
        let session = [bearer, ("Mcp-Session-Id", id)];
        for path in ["/mcp", "/mcp/"] {
            let called = post(&server, path, &session, &echo_message());
            assert_eq!(called.json()["result"]["content"][0]["text"], "x", "{path}");
        }
        let modern = Client::new(&server, Era::Modern, Some(TOKEN));
        let message = modern.message(1, "tools/list", &json!({}));
        let headers = modern.headers(&message);
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let mut http = Http::connect(server.address());
        let listed = http.request("POST", path, &headers, &message.to_string());
        assert_eq!(listed.status, 200, "{path}: {listed:?}");
        // Behind the same guards.
        let ping = ping_message();
        assert_eq!(post(&server, path, &session[1..], &ping).status, 401);
        let evil = [session[0], session[1], ("Origin", "null")];
        assert_eq!(post(&server, path, &evil, &ping).status, 403, "{path}");
        let mut http = Http::connect(server.address());
        let head = format!("POST {path} HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n");
        http.write(format!("{head}\r\n").as_bytes());
        assert_eq!(http.read().status, 421, "{path}");
        let mut http = Http::connect(server.address());
        let deleted = http.request("DELETE", path, &session, "");
        assert_eq!(deleted.status, 204, "{path}: {deleted:?}");
    }
}

/// Session rule F8: longer than other servers keep a connection.
#[test]
fn a_connection_is_kept_between_calls() {
    let body = |(options, streamed): (&[&str], bool), era: Era| {
        let server = serve(options);
        let client = server.client(era);
        let mut http = Http::connect(server.address());
        for pause in [Duration::from_millis(6500), Duration::ZERO] {
            let gate = Gate::new(&server, &format!("{pause:?}"));
            let params = json!({"name": "gate", "arguments": gate.arguments()});
            client.send_on(&mut http, &client.message(1, "tools/call", &params));
            gate.wait();
            let head = streamed.then(|| http.read_head());
            gate.open();
            let response = reply(&mut http, head);
            assert_eq!(is_event_stream(&response), streamed, "{era:?} {options:?}");
            let said = text(&response.json()["result"]["content"][0]["text"]);
            assert_eq!(said, "through", "{era:?} {options:?}");
            assert_eq!(response.header("connection"), None, "{era:?}");
            thread::sleep(pause);
        }
    };
    at_once(&[
        &|| body(MODES[0], Era::Legacy),
        &|| body(MODES[1], Era::Legacy),
        &|| body(MODES[0], Era::Modern),
        &|| body(MODES[1], Era::Modern),
    ]);
}

/// Checks that a request was refused for its era, and which versions it was told of.
fn check_unsupported(response: &Response, supported: &Value) {
    assert_eq!(response.status, 400, "{response:?}");
    assert_eq!(response.error_code(), Some(-32022), "{response:?}");
    let data = &response.json()["error"]["data"];
    assert_eq!(&data["supported"], supported, "{response:?}");
    assert_eq!(response.header("mcp-session-id"), None, "{response:?}");
}

fn check_legacy_only((options, streamed): (&[&str], bool)) {
    let supported = json!(["2025-11-25", "2025-06-18", "2025-03-26"]);
    let server = serve(&[options, &["--eras=legacy"]].concat());
    let modern = server.client(Era::Modern);
    for method in ["tools/list", "server/discover", "tools/call"] {
        let params = json!({"name": "echo", "arguments": {"text": "x"}});
        check_unsupported(&modern.request(method, &params), &supported);
    }
    let legacy = server.client(Era::Legacy);
    let named = [
        ("Mcp-Session-Id", legacy.session()),
        ("MCP-Protocol-Version", "2026-07-28"),
    ];
    check_unsupported(&post(&server, "/mcp", &named, &ping_message()), &supported);
    for method in ["GET", "DELETE"] {
        let headers = [&POST[..], &named].concat();
        let refused = Http::connect(server.address()).request(method, "/mcp", &headers, "");
        check_unsupported(&refused, &supported);
    }
    let gate = Gate::new(&server, "gate");
    let mut call = legacy.start_call(1, "gate", &gate.arguments());
    gate.wait();
    let head = streamed.then(|| call.read_head());
    gate.open();
    let response = reply(&mut call, head);
    assert_eq!(is_event_stream(&response), streamed, "{options:?}");
    let message = response.json();
    assert_eq!(message["result"]["content"][0]["text"], "through");
    assert_eq!(on_session(&server, &legacy, "DELETE").read().status, 204);
}

fn check_modern_only((options, streamed): (&[&str], bool)) {
    let supported = json!(["2026-07-28"]);
    let server = serve(&[options, &["--eras=modern"]].concat());
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let refused = post(&server, "/mcp", &[], &initialize(version));
        check_unsupported(&refused, &supported);
        let named = [("MCP-Protocol-Version", version)];
        for message in [ping_message(), echo_message()] {
            check_unsupported(&post(&server, "/mcp", &named, &message), &supported);
            check_unsupported(&post(&server, "/mcp", &[], &message), &supported);
        }
        for method in ["GET", "DELETE"] {
            for extra in [&[][..], &named, &[("Mcp-Session-Id", "x")]] {
                let headers = [&POST, extra].concat();
                let mut http = Http::connect(server.address());
                let refused = http.request(method, "/mcp", &headers, "");
                assert_eq!(refused.status, 405, "{method} {extra:?}: {refused:?}");
                assert_eq!(refused.header("allow"), Some("POST"), "{method}");
            }
        }
    }
    let modern = server.client(Era::Modern);
    let discovered = modern.request("server/discover", &json!({})).json();
    let versions = &discovered["result"]["supportedVersions"];
    assert_eq!(versions, &supported, "{discovered}");
    let gate = Gate::new(&server, "gate");
    let mut call = modern.start_call(1, "gate", &gate.arguments());
    gate.wait();
    let head = streamed.then(|| call.read_head());
    gate.open();
    let response = reply(&mut call, head);
    assert_eq!(is_event_stream(&response), streamed, "{options:?}");
    let message = response.json();
    assert_eq!(message["result"]["content"][0]["text"], "through");
    assert!(check_invariant(&scrape(&monitor_of(&server))) < 0.5);
}

/// The setting of `--eras`.
#[test]
fn a_server_may_serve_one_era_only() {
    for mode in MODES {
        check_legacy_only(mode);
        check_modern_only(mode);
        let both = serve(&[mode.0, &["--eras=both"]].concat());
        for era in ERAS {
            let client = both.client(era);
            assert_eq!(client.call_text("echo", &json!({"text": "x"})), "x");
        }
        let modern = both.client(Era::Modern);
        let discovered = modern.request("server/discover", &json!({})).json();
        let versions = &discovered["result"]["supportedVersions"];
        let all = json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]);
        assert_eq!(versions, &all, "{discovered}");
    }
}
