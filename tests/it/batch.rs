//! Batches: 2025-03-26 demands them, no other revision has them.

use std::collections::BTreeMap;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{Http, Response, TestServer, initialize, text};

const TOOLS: &str = "
tools:
  echo:
    description: Says what it is told.
    exec: echo {word}
    params: {word: string}
  slow:
    description: Takes a while.
    exec: sleep 0.5
  mark:
    description: Leaves a mark.
    exec: touch marked
    workdir: .
";

/// A connection and the id of a session of this version on it.
fn session(server: &TestServer, version: &str) -> (Http, String) {
    let mut http = Http::connect(server.address());
    let response = post(&mut http, &[], &initialize(version));
    let id = response.header("mcp-session-id").unwrap().to_owned();
    (http, id)
}

fn post(http: &mut Http, headers: &[(&str, &str)], body: &Value) -> Response {
    let mut all = vec![
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
    ];
    all.extend(headers);
    http.request("POST", "/mcp", &all, &body.to_string())
}

fn request(id: impl Into<Value>, method: &str, params: &Value) -> Value {
    let id: Value = id.into();
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn echo(id: impl Into<Value>, word: &str) -> Value {
    let params = json!({"name": "echo", "arguments": {"word": word}});
    request(id, "tools/call", &params)
}

/// The replies of a batch, by their id.
fn replies(response: &Response) -> BTreeMap<String, Value> {
    let array = match response.header("content-type") {
        Some("text/event-stream") => {
            let data = response
                .text()
                .lines()
                .filter_map(|line| line.strip_prefix("data: "));
            data.map(|data| serde_json::from_str(data).unwrap())
                .collect()
        }
        _ => response.json().as_array().unwrap().clone(),
    };
    array
        .into_iter()
        .map(|reply: Value| (reply["id"].to_string(), reply))
        .collect()
}

#[test]
fn each_message_is_answered_as_if_posted_alone() {
    let server = TestServer::start(TOOLS, &[]);
    let (mut http, id) = session(&server, "2025-03-26");
    let batch = json!([
        request(1, "ping", &json!({})),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        echo("two", "hello"),
        request(3, "unknown/method", &json!({})),
        initialize("2025-03-26"),
        7,
        {"jsonrpc": "2.0", "id": 9, "result": {}},
        {"jsonrpc": "1.0", "id": 8, "method": "ping"},
    ]);
    let response = post(&mut http, &[("Mcp-Session-Id", &id)], &batch);
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("mcp-session-id"), None);
    let replies = replies(&response);
    assert_eq!(replies.len(), 6, "{replies:?}");
    assert_eq!(replies["1"]["result"], json!({}));
    assert_eq!(
        replies["\"two\""]["result"]["content"][0]["text"],
        "hello\n"
    );
    assert_eq!(replies["3"]["error"]["code"], -32601);
    assert_eq!(
        replies["0"]["error"]["code"], -32600,
        "initialize cannot be part of a batch"
    );
    assert_eq!(replies["null"]["error"]["code"], -32600);
    assert_eq!(replies["8"]["error"]["code"], -32600);
}

#[test]
fn a_batch_without_requests_is_only_taken() {
    let server = TestServer::start(TOOLS, &[]);
    let (mut http, id) = session(&server, "2025-03-26");
    let batch = json!([
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 9, "result": {}},
    ]);
    let response = post(&mut http, &[("Mcp-Session-Id", &id)], &batch);
    assert_eq!(
        (response.status, response.body.len()),
        (202, 0),
        "{response:?}"
    );
}

#[test]
fn a_slow_call_holds_up_no_other_reply() {
    let server = TestServer::start(TOOLS, &["--heartbeat", "100ms"]);
    let (mut http, id) = session(&server, "2025-03-26");
    let slow = request("slow", "tools/call", &json!({"name": "slow"}));
    let batch = json!([slow, echo("fast", "x")]);
    let response = post(&mut http, &[("Mcp-Session-Id", &id)], &batch);
    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    let order: Vec<&str> = response
        .text()
        .lines()
        .filter(|line| line.starts_with("data: "))
        .collect();
    assert!(
        order[0].contains("fast") && order[1].contains("slow"),
        "{order:?}"
    );
    let replies = replies(&response);
    assert_eq!(
        text(&replies["\"fast\""]["result"]["content"][0]["text"]),
        "x\n"
    );
    assert_eq!(replies["\"slow\""]["result"]["isError"], false);
}

#[test]
fn batches_are_refused_elsewhere_and_run_nothing() {
    let server = TestServer::start(TOOLS, &[]);
    let mark = request(1, "tools/call", &json!({"name": "mark"}));
    let batch = json!([mark]);
    for version in ["2025-06-18", "2025-11-25"] {
        let (mut http, id) = session(&server, version);
        let response = post(&mut http, &[("Mcp-Session-Id", &id)], &batch);
        assert_eq!(
            (response.status, response.error_code()),
            (400, Some(-32600)),
            "{version}"
        );
    }
    let (mut http, id) = session(&server, "2025-03-26");
    let lengths = [
        ("empty", json!([])),
        ("too long", Value::Array(vec![mark; 101])),
    ];
    for (name, batch) in lengths {
        let response = post(&mut http, &[("Mcp-Session-Id", &id)], &batch);
        assert_eq!(
            (response.status, response.error_code()),
            (400, Some(-32600)),
            "{name}"
        );
    }
    let modern = [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Session-Id", id.as_str()),
    ];
    let response = post(&mut http, &modern, &batch);
    assert_eq!(
        (response.status, response.error_code()),
        (400, Some(-32600)),
        "modern"
    );
    let response = post(&mut http, &[], &batch);
    assert_eq!(
        (response.status, response.error_code()),
        (400, Some(-32600)),
        "no session"
    );
    let stateless = TestServer::start(TOOLS, &["--stateless"]);
    let mut http = Http::connect(stateless.address());
    let response = post(&mut http, &[], &batch);
    assert_eq!(
        (response.status, response.error_code()),
        (400, Some(-32600)),
        "stateless"
    );
    for server in [&server, &stateless] {
        server
            .client(Era::Legacy)
            .call_text("echo", &json!({"word": "still here"}));
        assert!(!server.folder().join("marked").exists());
    }
}
