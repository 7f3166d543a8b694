//! What is answered to which message, in both eras: the router in process.

use std::time::Duration;

use mcp_serve::auth::Authenticator;
use mcp_serve::protocol::version::Era;
use mcp_serve::secret::Secret;
use serde_json::{Value, json};

use crate::in_process::{InProcess, LOCAL, Peer, Request, base64, first_request, sessions};
use crate::support::{ERAS, Response, TOKEN, initialize, modern_meta, text};

/// Status and JSON-RPC error code of a response; no code for a result or no body.
type Outcome = (u16, Option<i64>);

fn outcome(response: &Response) -> Outcome {
    let code = match response.header("content-type") {
        Some("application/json") => response.error_code(),
        _ => None,
    };
    (response.status, code)
}

/// Bodies that are no message: what is wrong, the code, and the id that could be read.
const NO_MESSAGES: &[(&str, &[u8], i64, Option<i64>)] = &[
    ("nothing", b"", -32700, None),
    ("white space", b" \n", -32700, None),
    ("an open brace", b"{", -32700, None),
    ("no JSON", b"initialize", -32700, None),
    ("single quotes", b"{'jsonrpc':'2.0'}", -32700, None),
    (
        "a comma too many",
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/list",}"#,
        -32700,
        None,
    ),
    (
        "two documents",
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}{}"#,
        -32700,
        None,
    ),
    (
        "a byte-order mark",
        b"\xef\xbb\xbf{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}",
        -32700,
        None,
    ),
    (
        "invalid UTF-8",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\",\"params\":{\"x\":\"\xff\"}}",
        -32700,
        None,
    ),
    (
        "a lone surrogate",
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":"\ud800"}}"#,
        -32700,
        None,
    ),
    (
        "a number beyond all bounds",
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":1e999}}"#,
        -32700,
        None,
    ),
    ("a number", b"1", -32600, None),
    ("a string", br#""tools/list""#, -32600, None),
    ("null", b"null", -32600, None),
    ("true", b"true", -32600, None),
    ("an empty object", b"{}", -32600, None),
    ("an empty batch", b"[]", -32600, None),
    (
        "a batch of one",
        br#"[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]"#,
        -32600,
        None,
    ),
    (
        "a batch of initialize",
        br#"[{"jsonrpc":"2.0","id":1,"method":"initialize"}]"#,
        -32600,
        None,
    ),
    (
        "no version",
        br#"{"id":1,"method":"tools/list"}"#,
        -32600,
        Some(1),
    ),
    (
        "another version",
        br#"{"jsonrpc":"1.0","id":1,"method":"tools/list"}"#,
        -32600,
        Some(1),
    ),
    (
        "the version is a number",
        br#"{"jsonrpc":2.0,"id":1,"method":"tools/list"}"#,
        -32600,
        Some(1),
    ),
    ("no method", br#"{"jsonrpc":"2.0","id":1}"#, -32600, Some(1)),
    (
        "the method is a number",
        br#"{"jsonrpc":"2.0","id":1,"method":7}"#,
        -32600,
        Some(1),
    ),
    (
        "a notification with an id",
        br#"{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}"#,
        -32600,
        Some(1),
    ),
    (
        "params are an array",
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[]}"#,
        -32602,
        Some(1),
    ),
    (
        "params are a string",
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":"x"}"#,
        -32602,
        Some(1),
    ),
    (
        "a key twice",
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}"#,
        -32600,
        None,
    ),
    (
        "an id twice",
        br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}"#,
        -32600,
        None,
    ),
    (
        "a key twice, once escaped",
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/list","\u006dethod":"tools/call"}"#,
        -32600,
        None,
    ),
    (
        "a key twice in params",
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"leave_trace"}}"#,
        -32600,
        None,
    ),
    (
        "a key twice, deep down",
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":[{"y":{"z":1,"z":2}}]}}"#,
        -32600,
        None,
    ),
    (
        "Method",
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call"}"#,
        -32600,
        Some(1),
    ),
    (
        "PARAMS",
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/list","PARAMS":{}}"#,
        -32600,
        Some(1),
    ),
    (
        "params with a long s",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\",\"param\u{17f}\":{}}".as_bytes(),
        -32600,
        Some(1),
    ),
    (
        "Id",
        br#"{"jsonrpc":"2.0","Id":1,"method":"tools/list"}"#,
        -32600,
        None,
    ),
];

#[tokio::test]
async fn a_body_that_is_no_message_is_refused_alike_in_both_eras() {
    let server = InProcess::new();
    for era in ERAS {
        let peer = server.peer(era).await;
        for (name, body, code, id) in NO_MESSAGES {
            let name = format!("{era:?}: {name}");
            let request = peer.raw(*body).set("Mcp-Method", "tools/list");
            let response = server.send(&name, &request).await;
            assert_eq!(outcome(&response), (400, Some(*code)), "{name}");
            let expected = id.map(Value::from);
            assert_eq!(response.json().get("id"), expected.as_ref(), "{name}");
            server.still_serves(&name, &peer).await;
        }
    }
    assert_eq!(server.sessions_created(), 1);
}

#[tokio::test]
async fn an_id_is_echoed_byte_for_byte_or_refused() {
    let long = format!("\"{}\"", "x".repeat(256));
    let too_long = format!("\"{}\"", "x".repeat(257));
    let huge = format!("\"{}\"", "x".repeat(10_240));
    let cases = [
        ("0", true),
        ("-1", true),
        ("9223372036854775807", true),
        ("-9223372036854775808", true),
        ("\"\"", true),
        ("\"1\"", true),
        (r#""\u0041""#, true),
        (r#""\"\\\n""#, true),
        ("\"größe\"", true),
        (long.as_str(), true),
        (too_long.as_str(), false),
        (huge.as_str(), false),
        ("null", false),
        ("true", false),
        ("1.5", false),
        ("1.0", false),
        ("1e2", false),
        ("1e400", false),
        ("9223372036854775808", false),
        ("-9223372036854775809", false),
        ("{}", false),
        ("[1]", false),
    ];
    let server = InProcess::new();
    for era in ERAS {
        let peer = server.peer(era).await;
        for (id, accepted) in cases {
            let name = format!("{era:?}: id {id:.40}");
            let params = match era {
                Era::Legacy => json!({}),
                Era::Modern => json!({"_meta": modern_meta()}),
            };
            let body =
                format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{params}}}"#);
            let request = peer.raw(body).set("Mcp-Method", "tools/list");
            let response = server.send(&name, &request).await;
            if accepted {
                assert_eq!(outcome(&response), (200, None), "{name}");
                let start = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#);
                assert!(response.text().starts_with(&start), "{name}: {response:?}");
            } else {
                assert_eq!(outcome(&response), (400, Some(-32600)), "{name}");
                assert_eq!(response.json().get("id"), None, "{name}");
                assert!(response.body.len() < 500, "{name}: {response:?}");
            }
            server.still_serves(&name, &peer).await;
        }
    }
}

#[tokio::test]
async fn the_id_of_an_error_without_one_fits_the_revision() {
    let cases = [
        (None, Some(Value::Null)),
        (Some("2025-03-26"), Some(Value::Null)),
        (Some("2025-06-18"), Some(Value::Null)),
        (Some("2025-11-25"), None),
        (Some("2026-07-28"), None),
    ];
    let server = InProcess::new();
    let peer = server.peer(Era::Legacy).await;
    let unreadable = "[";
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    for (version, expected) in cases {
        let name = format!("{version:?}");
        let mut requests = vec![("unreadable", peer.raw(unreadable))];
        // A modern notification is in no session.
        if version != Some("2026-07-28") {
            let unknown = "6a6b7f1c-3d1e-4a53-9d58-0f8f7c1d2e3f";
            let stray = peer.raw(notification).set("Mcp-Session-Id", unknown);
            requests.push(("notification", stray));
        }
        for (what, request) in requests {
            let request = match version {
                Some(version) => request.set("MCP-Protocol-Version", version),
                None => request.without("MCP-Protocol-Version"),
            };
            let response = server.send(&name, &request).await;
            assert!(response.error_code().is_some(), "{name} {what}");
            assert_eq!(
                response.json().get("id"),
                expected.as_ref(),
                "{name} {what}"
            );
        }
    }
}

/// Methods, with what each era answers.
const METHODS: &[(&str, Outcome, Outcome)] = &[
    ("tools/list", (200, None), (200, None)),
    ("ping", (200, None), (404, Some(-32601))),
    ("server/discover", (200, Some(-32601)), (200, None)),
    ("unknown/method", (200, Some(-32601)), (404, Some(-32601))),
    ("", (200, Some(-32601)), (404, Some(-32601))),
    ("Tools/List", (200, Some(-32601)), (404, Some(-32601))),
    ("tools/list/", (200, Some(-32601)), (404, Some(-32601))),
    ("prompts/list", (200, None), (200, None)),
    ("resources/list", (200, None), (200, None)),
    ("prompts/get", (200, Some(-32602)), (400, Some(-32602))),
    (
        "completion/complete",
        (200, Some(-32602)),
        (400, Some(-32602)),
    ),
    ("logging/setLevel", (200, Some(-32602)), (404, Some(-32601))),
    (
        "resources/subscribe",
        (200, Some(-32602)),
        (404, Some(-32601)),
    ),
    (
        "resources/unsubscribe",
        (200, Some(-32602)),
        (404, Some(-32601)),
    ),
    (
        "subscriptions/listen",
        (200, Some(-32601)),
        (400, Some(-32602)),
    ),
];

/// Session rule G1: unknown methods.
#[tokio::test]
async fn each_era_has_its_methods() {
    let server = InProcess::new();
    for era in ERAS {
        let peer = server.peer(era).await;
        for (method, legacy, modern) in METHODS {
            let name = format!("{era:?}: {method:?}");
            let response = server.send(&name, &peer.request(method, &json!({}))).await;
            let expected = match era {
                Era::Legacy => legacy,
                Era::Modern => modern,
            };
            assert_eq!(outcome(&response), *expected, "{name}: {response:?}");
            assert_eq!(response.json()["id"], 1, "{name}");
            server.still_serves(&name, &peer).await;
        }
    }
    let peer = server.peer(Era::Modern).await;
    let initialize = peer.request("initialize", &initialize("2025-11-25")["params"]);
    let response = server.send("initialize", &initialize).await;
    assert_eq!(
        outcome(&response),
        (404, Some(-32601)),
        "initialize in a modern envelope"
    );
    assert_eq!(response.header("mcp-session-id"), None);
    assert_eq!(server.sessions_created(), 1);
}

#[tokio::test]
async fn a_malformed_call_is_an_error() {
    let cases = [
        ("an unknown tool", json!({"name": "unknown"})),
        ("another case", json!({"name": "Echo"})),
        ("a homoglyph", json!({"name": "\u{435}cho"})),
        ("an empty name", json!({"name": ""})),
        ("no name", json!({})),
        ("the name is a number", json!({"name": 7})),
        ("the name is null", json!({"name": null})),
        (
            "arguments are a string",
            json!({"name": "echo", "arguments": "{\"text\":\"x\"}"}),
        ),
        (
            "arguments are an array",
            json!({"name": "echo", "arguments": ["x"]}),
        ),
        (
            "arguments are a number",
            json!({"name": "echo", "arguments": 1}),
        ),
        (
            "arguments are null",
            json!({"name": "echo", "arguments": null}),
        ),
        (
            "arguments are true",
            json!({"name": "echo", "arguments": true}),
        ),
    ];
    let server = InProcess::new();
    for era in ERAS {
        let peer = server.peer(era).await;
        let status = match era {
            Era::Legacy => 200,
            Era::Modern => 400,
        };
        for (name, params) in &cases {
            let name = format!("{era:?}: {name}");
            let response = server
                .send(&name, &peer.request("tools/call", params))
                .await;
            assert_eq!(outcome(&response), (status, Some(-32602)), "{name}");
            assert_eq!(response.json()["id"], 1, "{name}");
            server.still_serves(&name, &peer).await;
        }
    }
}

#[tokio::test]
async fn wrong_arguments_are_a_result_that_names_them() {
    let long = "x".repeat(101);
    let cases = [
        ("missing", json!({}), "text"),
        ("a number", json!({"text": 7}), "text"),
        ("null", json!({"text": null}), "text"),
        ("an object", json!({"text": {}}), "text"),
        ("too long", json!({"text": long}), "text"),
        ("unknown", json!({"text": "x", "txet": "y"}), "txet"),
        ("another case", json!({"text": "x", "Text": "y"}), "Text"),
    ];
    let server = InProcess::new();
    for era in ERAS {
        let peer = server.peer(era).await;
        for (name, arguments, place) in &cases {
            let name = format!("{era:?}: {name}");
            let response = server.send(&name, &peer.call("echo", arguments)).await;
            assert_eq!(outcome(&response), (200, None), "{name}");
            let result = &response.json()["result"];
            assert_eq!(result["isError"], true, "{name}");
            let said = text(&result["content"][0]["text"]);
            assert!(said.contains(place), "{name}: {said}");
            server.still_serves(&name, &peer).await;
        }
        let good = peer.call("echo", &json!({"text": "a b\n'$(id)"}));
        let result = server.send("good", &good).await.json()["result"].clone();
        assert_eq!(result["isError"], false, "{era:?}: {result}");
        assert_eq!(result["content"][0]["text"], "a b\n'$(id)", "{era:?}");
        let typed = (era == Era::Modern).then_some("complete");
        assert_eq!(result["resultType"].as_str(), typed, "{era:?}: {result}");
    }
}

type Change = fn(Request) -> Request;

/// Changes to the headers of a modern call of `echo` after which they do not say what it says.
const MISMATCHES: &[(&str, Change)] = &[
    ("no Mcp-Method", |r| r.without("Mcp-Method")),
    ("an empty Mcp-Method", |r| r.set("Mcp-Method", "")),
    ("another Mcp-Method", |r| r.set("Mcp-Method", "tools/list")),
    ("Mcp-Method in another case", |r| {
        r.set("Mcp-Method", "Tools/Call")
    }),
    ("Mcp-Method twice", |r| r.add("Mcp-Method", "tools/call")),
    ("Mcp-Method in Base64", |r| {
        r.set("Mcp-Method", base64("tools/call"))
    }),
    ("Mcp-Method in bytes", |r| r.set("Mcp-Method", b"\xff")),
    ("no Mcp-Name", |r| r.without("Mcp-Name")),
    ("an empty Mcp-Name", |r| r.set("Mcp-Name", "")),
    ("another Mcp-Name", |r| r.set("Mcp-Name", "echo")),
    ("Mcp-Name twice", |r| r.add("Mcp-Name", "leave_trace")),
    ("another Mcp-Name second", |r| r.add("Mcp-Name", "echo")),
    ("another Mcp-Name in Base64", |r| {
        r.set("Mcp-Name", base64("echo"))
    }),
    ("Mcp-Name in bad Base64", |r| {
        r.set("Mcp-Name", "=?base64?bGVhdmVfdHJhY2U?=")
    }),
    ("Mcp-Name in Base64 that is no text", |r| {
        r.set("Mcp-Name", "=?base64?/w==?=")
    }),
    ("Mcp-Name in bytes", |r| {
        r.set("Mcp-Name", b"leave_trace\xff")
    }),
    ("no MCP-Protocol-Version", |r| {
        r.without("MCP-Protocol-Version")
    }),
    ("another MCP-Protocol-Version", |r| {
        r.set("MCP-Protocol-Version", "2025-11-25")
    }),
    ("MCP-Protocol-Version twice", |r| {
        r.add("MCP-Protocol-Version", "2026-07-28")
    }),
];

/// Session rule G1: what headers and body say.
#[tokio::test]
async fn a_modern_call_whose_headers_do_not_say_what_it_says_does_not_run() {
    let server = InProcess::new();
    let peer = server.peer(Era::Modern).await;
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let call = peer.call("leave_trace", &json!({"path": trace}));
    for (name, change) in MISMATCHES {
        let response = server.send(name, &change(call.clone())).await;
        assert_eq!(outcome(&response), (400, Some(-32020)), "{name}");
        assert!(!trace.exists(), "{name}: the tool ran");
        server.still_serves(name, &peer).await;
    }
    let good: [(&str, Change); 4] = [
        ("Mcp-Name in Base64", |r| {
            r.set("Mcp-Name", base64("leave_trace"))
        }),
        ("white space around Mcp-Name", |r| {
            r.set("Mcp-Name", " leave_trace ")
        }),
        ("a session id", |r| r.set("Mcp-Session-Id", "stale")),
        ("a Last-Event-ID", |r| r.set("Last-Event-ID", "stale")),
    ];
    for (name, change) in good {
        let response = server.send(name, &change(call.clone())).await;
        assert_eq!(outcome(&response), (200, None), "{name}");
        std::fs::remove_file(&trace).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[tokio::test]
async fn a_refused_body_runs_nothing() {
    let server = InProcess::new();
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    for era in ERAS {
        let peer = server.peer(era).await;
        let call = peer.call("leave_trace", &json!({"path": trace}));
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": "leave_trace", "arguments": {"path": trace}, "_meta": modern_meta()
        }})
        .to_string();
        let path = json!(trace).to_string();
        let twice = message.replace(&path, &format!("{path},\"path\":{path}"));
        let cases = [
            ("a batch", format!("[{message}]")),
            ("an argument twice", twice),
            ("something behind it", format!("{message} x")),
            (
                "a call as its own param",
                message.replace("\"id\":1", "\"ID\":1,\"id\":1"),
            ),
        ];
        for (name, body) in cases {
            let name = format!("{era:?}: {name}");
            let response = server.send(&name, &call.clone().body(body)).await;
            assert_eq!(response.status, 400, "{name}");
            assert!(!trace.exists(), "{name}: the tool ran");
        }
        assert_eq!(server.send("good", &call).await.status, 200, "{era:?}");
        std::fs::remove_file(&trace).unwrap();
    }
}

#[tokio::test]
async fn a_modern_request_says_everything_in_its_meta() {
    let version = "io.modelcontextprotocol/protocolVersion";
    let capabilities = "io.modelcontextprotocol/clientCapabilities";
    let cases = [
        ("no params", None),
        ("no _meta", Some(json!({}))),
        ("_meta is null", Some(json!({"_meta": null}))),
        ("_meta is a string", Some(json!({"_meta": "2026-07-28"}))),
        ("_meta is empty", Some(json!({"_meta": {}}))),
        ("no version", Some(json!({"_meta": {capabilities: {}}}))),
        (
            "the version is a number",
            Some(json!({"_meta": {version: 2026, capabilities: {}}})),
        ),
        (
            "no capabilities",
            Some(json!({"_meta": {version: "2026-07-28"}})),
        ),
        (
            "capabilities are an array",
            Some(json!({"_meta": {version: "2026-07-28", capabilities: []}})),
        ),
        (
            "capabilities are null",
            Some(json!({"_meta": {version: "2026-07-28", capabilities: null}})),
        ),
    ];
    let server = InProcess::new();
    let peer = server.peer(Era::Modern).await;
    for (name, params) in cases {
        for method in ["tools/list", "server/discover", "unknown/method"] {
            let mut message = json!({"jsonrpc": "2.0", "id": 1, "method": method});
            if let Some(params) = &params {
                message["params"] = params.clone();
            }
            let response = server.send(name, &peer.post(&message)).await;
            assert_eq!(outcome(&response), (400, Some(-32602)), "{name}: {method}");
        }
        server.still_serves(name, &peer).await;
    }
}

/// Session rule F4.
/// Session rule G1: unknown versions.
#[tokio::test]
async fn a_version_that_is_not_served_is_answered_with_those_that_are() {
    let supported = json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]);
    let server = InProcess::new();
    let legacy = server.peer(Era::Legacy).await;
    let modern = server.peer(Era::Modern).await;
    let ping = legacy.request("ping", &json!({}));
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    // A version is short; what is longer is not repeated.
    let long = "9".repeat(1 << 20);
    for version in ["1999-01-01", "2024-11-05", "2099-01-01", "x", "", &long] {
        let mut list = modern.request("tools/list", &json!({}));
        if !version.is_empty() {
            let mut params = json!({"_meta": modern_meta()});
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = version.into();
            list = modern.post(
                &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params}),
            );
        }
        let requests = [
            ("a legacy request", ping.clone()),
            ("a legacy notification", legacy.post(&initialized)),
            ("GET", legacy.on_session("GET")),
            ("DELETE", legacy.on_session("DELETE")),
            ("a modern request", list),
        ];
        for (what, request) in requests {
            if version.is_empty() && what == "a modern request" {
                continue;
            }
            let name = format!("{what} of version {version:.20}");
            let request = request.set("MCP-Protocol-Version", version);
            let response = server.send(&name, &request).await;
            assert_eq!(outcome(&response), (400, Some(-32022)), "{name}");
            let data = &response.json()["error"]["data"];
            assert_eq!(data["supported"], supported, "{name}");
            if version.len() < 20 {
                assert_eq!(data["requested"], version, "{name}");
            } else {
                assert!(response.body.len() < 1000, "{name}");
            }
        }
        server.still_serves(version, &legacy).await;
        server.still_serves(version, &modern).await;
    }
    // A session is served by its own rules, whichever served version the header names.
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let request = ping.clone().set("MCP-Protocol-Version", version);
        assert_eq!(outcome(&server.send(version, &request).await), (200, None));
    }
    let request = ping.without("MCP-Protocol-Version");
    assert_eq!(
        outcome(&server.send("no version", &request).await),
        (200, None)
    );
}

#[tokio::test]
async fn initialize_negotiates_the_version() {
    let cases = [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("2024-11-05", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
        ("2099-01-01", "2025-11-25"),
        ("", "2025-11-25"),
    ];
    for stateless in [false, true] {
        let server = InProcess::with(|app| {
            if stateless {
                app.sessions = None;
            }
        });
        for (asked, expected) in cases {
            let name = format!("{asked:?}, stateless {stateless}");
            let response = server.send(&name, &first_request(asked)).await;
            assert_eq!(response.status, 200, "{name}");
            let message = response.json();
            assert_eq!(message["id"], 0, "{name}");
            assert_eq!(message["result"]["protocolVersion"], expected, "{name}");
            assert_eq!(
                message["result"]["serverInfo"]["name"], "in-process-test",
                "{name}"
            );
            let id = response.header("mcp-session-id");
            assert_eq!(id.is_none(), stateless, "{name}");
            if let Some(id) = id {
                assert!(
                    id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_graphic()),
                    "{name}: {id}"
                );
            }
        }
    }
}

/// Session rule B10.
#[tokio::test]
async fn initialize_with_a_session_id_is_a_fresh_start() {
    let server = InProcess::new();
    let first = server.peer(Era::Legacy).await;
    let live = first.session.clone().unwrap();
    let stale = "6a6b7f1c-3d1e-4a53-9d58-0f8f7c1d2e3f";
    for (name, id) in [
        ("live", live.as_str()),
        ("stale", stale),
        ("malformed", "x"),
    ] {
        let request = first_request("2025-06-18").set("Mcp-Session-Id", id);
        let response = server.send(name, &request).await;
        assert_eq!(response.status, 200, "{name}");
        let new = response.header("mcp-session-id").expect("a session");
        assert!(new != id, "{name}");
        server.still_serves(name, &first).await;
    }
    assert_eq!(server.live_sessions(), 4);
}

#[tokio::test]
async fn only_json_is_read() {
    let cases = [
        (Some("application/json"), 200),
        (Some("Application/JSON; Charset=UTF-8"), 200),
        (Some("application/json;charset=\"utf-8\""), 200),
        (Some("application/json; charset=utf-7"), 415),
        (Some("application/json; charset=utf-16"), 415),
        (Some("application/json, text/plain"), 415),
        (Some("application/jsonx"), 415),
        (Some("application/json-rpc"), 415),
        (Some("text/plain"), 415),
        (Some("text/plain;application/json"), 415),
        (Some("multipart/form-data; boundary=x"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (Some(""), 415),
        (None, 415),
    ];
    let server = InProcess::new();
    for era in ERAS {
        let peer = server.peer(era).await;
        for (content_type, status) in cases {
            let name = format!("{era:?}: {content_type:?}");
            let request = peer.request("tools/list", &json!({}));
            let request = match content_type {
                Some(value) => request.set("Content-Type", value),
                None => request.without("Content-Type"),
            };
            assert_eq!(server.send(&name, &request).await.status, status, "{name}");
            server.still_serves(&name, &peer).await;
        }
        let twice = peer
            .request("tools/list", &json!({}))
            .add("Content-Type", "text/plain");
        assert_eq!(server.send("twice", &twice).await.status, 415, "{era:?}");
    }
}

#[tokio::test]
async fn a_client_takes_both_forms_of_an_answer() {
    let cases = [
        (Some("application/json, text/event-stream"), 200, 200),
        (Some("text/event-stream,application/json;q=0.1"), 200, 200),
        (Some("*/*"), 200, 200),
        (Some("application/*, text/*"), 200, 200),
        (None, 200, 200),
        (Some("application/json"), 406, 406),
        (Some("text/event-stream"), 406, 200),
        (Some("text/plain"), 406, 406),
        (Some("text/html,application/xml;q=0.9"), 406, 406),
        (Some("application/json, text/event-stream;q=0"), 406, 406),
        (Some("application/json;q=0.0, text/event-stream"), 406, 200),
        (Some(""), 406, 406),
    ];
    let server = InProcess::new();
    for era in ERAS {
        let peer = server.peer(era).await;
        for (accept, post, get) in cases {
            let with = |request: Request| match accept {
                Some(value) => request.set("Accept", value),
                None => request.without("Accept"),
            };
            let name = format!("{era:?}: POST, {accept:?}");
            let request = with(peer.request("tools/list", &json!({})));
            assert_eq!(server.send(&name, &request).await.status, post, "{name}");
            server.still_serves(&name, &peer).await;
            if era == Era::Legacy {
                let name = format!("GET, {accept:?}");
                let opened = server.open(&name, &with(peer.on_session("GET"))).await;
                assert_eq!(opened.status().as_u16(), get, "{name}");
            }
        }
        let two_lines = peer
            .request("tools/list", &json!({}))
            .set("Accept", "application/json")
            .add("Accept", "text/event-stream");
        assert_eq!(
            server.send("two lines", &two_lines).await.status,
            200,
            "{era:?}"
        );
    }
}

/// Host headers, and the status of a request that has them.
const HOSTS: &[(&[&str], u16)] = &[
    (&["localhost"], 200),
    (&["LOCALHOST:8080"], 200),
    (&["127.0.0.1:8080"], 200),
    (&["127.1.2.3"], 200),
    (&["[::1]:8080"], 200),
    (&[LOCAL], 200),
    (&["mcp.example.com"], 200),
    (&["MCP.Example.com:443"], 200),
    (&["evil.example"], 421),
    (&["evil.example:8080"], 421),
    (&["localhost."], 421),
    (&["localhost.evil.example"], 421),
    (&["127.0.0.1.evil.example"], 421),
    (&["0.0.0.0"], 421),
    (&["192.0.2.8:8080"], 421),
    (&["[::2]"], 421),
    (&["2130706433"], 421),
    (&["0x7f.1"], 421),
    (&[""], 400),
    (&[], 400),
    (&["localhost", "localhost"], 400),
    (&["localhost", "evil.example"], 400),
    (&["localhost, evil.example"], 400),
    (&["localhost/mcp"], 400),
    (&["localhost?x"], 400),
    (&["localhost#x"], 400),
    (&["evil@localhost"], 400),
    (&["localhost:http"], 400),
    (&["localhost:65536"], 400),
    (&["[::1"], 400),
];

#[tokio::test]
async fn only_hosts_that_are_served_here_are_served() {
    let server = InProcess::new();
    for era in ERAS {
        let peer = server.peer(era).await;
        for (hosts, status) in HOSTS {
            let name = format!("{era:?}: {hosts:?}");
            let mut request = peer.request("tools/list", &json!({})).without("Host");
            for host in *hosts {
                request = request.add("Host", *host);
            }
            let response = server.send(&name, &request).await;
            assert_eq!(response.status, *status, "{name}");
            if *status != 200 {
                assert_eq!(response.error_code(), Some(-32600), "{name}");
                assert!(!response.text().contains("evil"), "{name}: {response:?}");
            }
            server.still_serves(&name, &peer).await;
        }
        let request = peer.request("tools/list", &json!({}));
        for (target, status) in [
            ("http://localhost:8080/mcp", 200),
            ("http://evil.example/mcp", 400),
        ] {
            let response = server.send(target, &request.clone().to(target)).await;
            assert_eq!(response.status, status, "{era:?}: {target}");
        }
    }
}

/// What a browser says of where a request comes from, and the status.
const ORIGINS: &[(&[(&str, &str)], u16)] = &[
    (&[], 200),
    (&[("Sec-Fetch-Site", "same-origin")], 200),
    (&[("Sec-Fetch-Site", "none")], 200),
    (&[("Sec-Fetch-Site", "cross-site")], 403),
    (&[("Origin", "http://localhost:8080")], 200),
    (&[("Origin", "https://app.example.com")], 200),
    (
        &[
            ("Origin", "https://app.example.com"),
            ("Sec-Fetch-Site", "cross-site"),
        ],
        200,
    ),
    (&[("Origin", "https://evil.example")], 403),
    (&[("Origin", "http://localhost:8081")], 403),
    (&[("Origin", "http://127.0.0.1:8080")], 403),
    (&[("Origin", "http://app.example.com")], 403),
    (&[("Origin", "https://app.example.com:444")], 403),
    (&[("Origin", "https://app.example.com.evil.example")], 403),
    (&[("Origin", "https://evil.example/app.example.com")], 403),
    (&[("Origin", "file://")], 403),
    (&[("Origin", "null")], 403),
    (&[("Origin", "")], 403),
    (
        &[
            ("Origin", "http://localhost:8080"),
            ("Origin", "http://localhost:8080"),
        ],
        403,
    ),
];

#[tokio::test]
async fn only_pages_that_may_call_are_served() {
    let server = InProcess::new();
    for era in ERAS {
        let peer = server.peer(era).await;
        for (headers, status) in ORIGINS {
            let name = format!("{era:?}: {headers:?}");
            let mut request = peer.request("tools/list", &json!({}));
            for (header, value) in *headers {
                request = request.add(header, *value);
            }
            let response = server.send(&name, &request).await;
            assert_eq!(response.status, *status, "{name}");
            server.still_serves(&name, &peer).await;
        }
    }
}

/// Session rule C5.
#[tokio::test]
async fn other_methods_are_refused_with_those_that_are_served() {
    let methods = ["PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW"];
    for stateless in [false, true] {
        let server = InProcess::with(|app| {
            if stateless {
                app.sessions = None;
            }
        });
        let legacy = server.peer(Era::Legacy).await;
        let modern = server.peer(Era::Modern).await;
        let methods_served = if stateless {
            "POST"
        } else {
            "GET, POST, DELETE"
        };
        let mut cases: Vec<(&str, &Peer, &str)> = Vec::new();
        for method in methods {
            cases.push((method, &legacy, methods_served));
            cases.push((method, &modern, methods_served));
        }
        for method in ["GET", "DELETE"] {
            cases.push((method, &modern, "POST"));
            if stateless {
                cases.push((method, &legacy, "POST"));
            }
        }
        for path in ["/mcp", "/mcp/"] {
            for (method, peer, allow) in &cases {
                let name = format!("{method} {path} {:?}, stateless {stateless}", peer.era);
                let response = server.send(&name, &peer.on_session(method).to(path)).await;
                assert_eq!(response.status, 405, "{name}");
                assert_eq!(response.header("allow"), Some(*allow), "{name}");
                server.still_serves(&name, &legacy).await;
            }
        }
    }
}

/// Session rule F7.
#[tokio::test]
async fn the_endpoint_has_one_alias() {
    let server = InProcess::new();
    for era in ERAS {
        let peer = server.peer(era).await;
        let request = peer.request("tools/list", &json!({}));
        for target in ["/mcp", "/mcp/", "/mcp?access_token=x"] {
            let response = server.send(target, &request.clone().to(target)).await;
            assert_eq!(outcome(&response), (200, None), "{era:?}: {target}");
        }
        let unknown = [
            "/",
            "/MCP",
            "//mcp",
            "/mcp//",
            "/./mcp",
            "/x/../mcp",
            "/%6dcp",
            "/mcp%00",
            "/mcp%2f",
            "/mcp;x",
            "/mcp/x",
            "/mcp.json",
            "/sse",
            "/metrics",
            "/debug/sessions",
            "/healthz/",
        ];
        for target in unknown {
            let response = server.send(target, &request.clone().to(target)).await;
            assert_eq!(response.status, 404, "{era:?}: {target}");
        }
    }
}

/// Session ids that name no session.
fn strange_ids(live: &str) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("unknown", b"6a6b7f1c-3d1e-4a53-9d58-0f8f7c1d2e3f".to_vec()),
        ("nil", b"00000000-0000-0000-0000-000000000000".to_vec()),
        ("short", b"x".to_vec()),
        ("a path", b"../../etc/passwd".to_vec()),
        ("long", vec![b'a'; 10_240]),
        ("no ASCII", "größe".as_bytes().to_vec()),
        ("bytes", b"\xff\xfe".to_vec()),
        ("without hyphens", live.replace('-', "").into_bytes()),
        ("in braces", format!("{{{live}}}").into_bytes()),
        ("one too long", format!("{live}0").into_bytes()),
        ("a list", format!("{live}, {live}").into_bytes()),
    ]
}

/// Session rule E7.
#[tokio::test]
async fn a_request_needs_a_session_that_lives() {
    let server = InProcess::new();
    let peer = server.peer(Era::Legacy).await;
    let live = peer.session.clone().unwrap();
    let requests = [
        (
            "a request",
            peer.request("ping", &json!({})),
            Some(json!(1)),
        ),
        (
            "a call",
            peer.call("echo", &json!({"text": "x"})),
            Some(json!(1)),
        ),
        (
            "a notification",
            peer.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})),
            None,
        ),
        (
            "a response",
            peer.post(&json!({"jsonrpc": "2.0", "id": 1, "result": {}})),
            None,
        ),
        ("GET", peer.on_session("GET"), None),
        ("DELETE", peer.on_session("DELETE"), None),
    ];
    for (what, request, id) in requests {
        let missing = [
            ("none", request.clone().without("Mcp-Session-Id")),
            ("empty", request.clone().set("Mcp-Session-Id", "")),
            ("blank", request.clone().set("Mcp-Session-Id", "  ")),
        ];
        for (name, request) in missing {
            let name = format!("{what}: {name}");
            let response = server.send(&name, &request).await;
            assert_eq!(outcome(&response), (400, Some(-32600)), "{name}");
            assert_eq!(response.json().get("id"), id.as_ref(), "{name}");
            let message = text(&response.json()["error"]["message"]);
            assert!(message.contains("Mcp-Session-Id"), "{name}: {message}");
        }
        let mut unknown: Vec<_> = strange_ids(&live)
            .into_iter()
            .map(|(name, value)| (name, request.clone().set("Mcp-Session-Id", value)))
            .collect();
        unknown.push(("twice", request.clone().add("Mcp-Session-Id", live.clone())));
        let mut bodies = Vec::new();
        for (name, request) in unknown {
            let name = format!("{what}: {name}");
            let response = server.send(&name, &request).await;
            assert_eq!(outcome(&response), (404, Some(-32001)), "{name}");
            assert_eq!(response.json().get("id"), id.as_ref(), "{name}");
            bodies.push(response.body);
            server.still_serves(&name, &peer).await;
        }
        bodies.dedup();
        assert_eq!(bodies.len(), 1, "{what}: the answers differ");
    }
    assert_eq!(server.sessions_created(), 1);
}

/// Session rule D2.
#[tokio::test]
async fn a_deleted_session_is_an_unknown_one() {
    let server = InProcess::new();
    let peer = server.peer(Era::Legacy).await;
    let other = server.peer(Era::Legacy).await;
    let deleted = server.send("DELETE", &peer.on_session("DELETE")).await;
    assert_eq!(outcome(&deleted), (204, None));
    let requests = [
        ("a second DELETE", peer.on_session("DELETE")),
        ("GET", peer.on_session("GET")),
        ("ping", peer.request("ping", &json!({}))),
    ];
    for (name, request) in requests {
        let response = server.send(name, &request).await;
        assert_eq!(outcome(&response), (404, Some(-32001)), "{name}");
    }
    server
        .still_serves("DELETE of another session", &other)
        .await;
    assert_eq!(server.live_sessions(), 1);
}

/// Session rule B8.
#[tokio::test]
async fn unknown_ids_cost_nothing() {
    let server = InProcess::new();
    for number in 0..2000 {
        let mut peer = server.peer(Era::Modern).await;
        peer.era = Era::Legacy;
        peer.version = "2025-11-25";
        peer.session = Some(format!("6a6b7f1c-3d1e-4a53-9d58-{number:012}"));
        let response = server
            .send("unknown", &peer.request("ping", &json!({})))
            .await;
        assert_eq!(outcome(&response), (404, Some(-32001)), "{number}");
    }
    assert_eq!(server.sessions_created(), 0);
    server.peer(Era::Legacy).await;
}

#[tokio::test]
async fn what_wants_no_reply_gets_none() {
    let server = InProcess::new();
    for era in ERAS {
        let peer = server.peer(era).await;
        for method in [
            "notifications/initialized",
            "notifications/cancelled",
            "notifications/roots/list_changed",
            "notifications/unknown",
            "unknown",
        ] {
            for params in [json!({}), json!({"requestId": 1}), json!({"requestId": {}})] {
                let name = format!("{era:?}: {method} {params}");
                let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
                let response = server.send(&name, &peer.post(&message)).await;
                assert_eq!(response.status, 202, "{name}");
                assert!(response.body.is_empty(), "{name}");
            }
        }
        let expected = match era {
            Era::Legacy => (202, None),
            Era::Modern => (400, Some(-32600)),
        };
        for response in [
            json!({"jsonrpc": "2.0", "id": 1, "result": {}}),
            json!({"jsonrpc": "2.0", "id": "x", "error": {"code": -1, "message": "no"}}),
        ] {
            let name = format!("{era:?}: {response}");
            let answer = server.send(&name, &peer.post(&response)).await;
            assert_eq!(outcome(&answer), expected, "{name}");
            server.still_serves(&name, &peer).await;
        }
    }
}

const LONG: Duration = Duration::from_mins(1);

/// Makes a request of a legacy or a modern peer.
type Ask = fn(&Peer, &Peer) -> Request;

/// Session rule A8.
/// Session rule G2.
#[tokio::test(start_paused = true)]
async fn only_a_request_that_is_let_in_is_use_of_a_session() {
    let cases: [(&str, Ask, bool); 8] = [
        ("ping", |peer, _| peer.request("ping", &json!({})), true),
        (
            "a notification",
            |peer, _| peer.post(&json!({"jsonrpc": "2.0", "method": "notifications/x"})),
            true,
        ),
        (
            "an unknown method",
            |peer, _| peer.request("x", &json!({})),
            true,
        ),
        (
            "a modern request with the session's id",
            |peer, modern| {
                let id = peer.session.clone().unwrap();
                modern
                    .request("tools/list", &json!({}))
                    .set("Mcp-Session-Id", id)
            },
            false,
        ),
        (
            "a foreign page",
            |peer, _| {
                peer.request("ping", &json!({}))
                    .set("Origin", "https://evil.example")
            },
            false,
        ),
        (
            "a foreign host",
            |peer, _| peer.request("ping", &json!({})).set("Host", "evil.example"),
            false,
        ),
        (
            "a wrong content type",
            |peer, _| peer.request("ping", &json!({})).set("Content-Type", "x/y"),
            false,
        ),
        ("no message", |peer, _| peer.raw("["), false),
    ];
    for (name, request, is_use) in cases {
        let server = InProcess::with(|app| app.sessions = Some(sessions(Some(LONG), 10)));
        let peer = server.peer(Era::Legacy).await;
        let modern = server.peer(Era::Modern).await;
        tokio::time::advance(LONG * 6 / 10).await;
        server.send(name, &request(&peer, &modern)).await;
        tokio::time::advance(LONG * 6 / 10).await;
        let ping = server.send(name, &peer.request("ping", &json!({}))).await;
        let expected = if is_use { 200 } else { 404 };
        assert_eq!(ping.status, expected, "{name}");
    }
}

/// Session rule G1.
#[tokio::test]
async fn a_modern_request_neither_has_nor_makes_a_session() {
    let server = InProcess::new();
    let modern = server.peer(Era::Modern).await;
    let legacy = server.peer(Era::Legacy).await;
    let live = legacy.session.clone().unwrap();
    for (name, id) in strange_ids(&live)
        .into_iter()
        .chain([("live", live.clone().into_bytes()), ("empty", Vec::new())])
    {
        for request in [
            modern.request("tools/list", &json!({})),
            modern.call("echo", &json!({"text": "x"})),
        ] {
            let request = request
                .set("Mcp-Session-Id", id.clone())
                .set("Last-Event-ID", "stale");
            let response = server.send(name, &request).await;
            assert_eq!(outcome(&response), (200, None), "{name}");
            assert_eq!(response.header("mcp-session-id"), None, "{name}");
        }
    }
    assert_eq!(server.sessions_created(), 1);
    server.still_serves("modern requests", &legacy).await;
}

/// Requests to open a session that must not: what is wrong, and the outcome.
fn failing_messages() -> Vec<(&'static str, Request, Outcome)> {
    let good = || first_request("2025-11-25");
    let message = |params: &Value| {
        let message = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        good().body(message.to_string())
    };
    let stray = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let mut no_id = initialize("2025-11-25");
    no_id.as_object_mut().unwrap().remove("id");
    vec![
        ("bad JSON", good().body("{"), (400, Some(-32700))),
        (
            "a batch",
            good().body(format!("[{}]", initialize("2025-03-26"))),
            (400, Some(-32600)),
        ),
        (
            "not initialize",
            good().body(stray.to_string()),
            (400, Some(-32600)),
        ),
        (
            "without an id",
            good().body(no_id.to_string()),
            (400, Some(-32600)),
        ),
        ("empty params", message(&json!({})), (200, Some(-32602))),
        (
            "params are an array",
            message(&json!([])),
            (400, Some(-32602)),
        ),
        (
            "the version is a number",
            message(
                &json!({"protocolVersion": 1, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}),
            ),
            (200, Some(-32602)),
        ),
        (
            "no client",
            message(&json!({"protocolVersion": "2025-11-25", "capabilities": {}})),
            (200, Some(-32602)),
        ),
    ]
}

/// Requests to open a session that are refused before the message is read.
fn failing_headers() -> Vec<(&'static str, Request, Outcome)> {
    let good = || first_request("2025-11-25");
    vec![
        (
            "takes text only",
            good().set("Accept", "text/plain"),
            (406, Some(-32600)),
        ),
        (
            "takes JSON only",
            good().set("Accept", "application/json"),
            (406, Some(-32600)),
        ),
        (
            "a form",
            good().set("Content-Type", "application/x-www-form-urlencoded"),
            (415, Some(-32600)),
        ),
        (
            "a foreign host",
            good().set("Host", "evil.example"),
            (421, Some(-32600)),
        ),
        ("no host", good().without("Host"), (400, Some(-32600))),
        (
            "a foreign page",
            good().set("Origin", "https://evil.example"),
            (403, Some(-32600)),
        ),
        (
            "no token",
            good().without("Authorization"),
            (401, Some(-32600)),
        ),
        (
            "a wrong token",
            good().set("Authorization", "Bearer wrong-token-wrong-token-wrong"),
            (401, Some(-32600)),
        ),
        (
            "another scheme",
            good().set("Authorization", "Basic eDp5"),
            (401, Some(-32600)),
        ),
        (
            "two tokens",
            good().add("Authorization", "Bearer x"),
            (400, Some(-32600)),
        ),
        (
            "two versions",
            good()
                .set("MCP-Protocol-Version", "2025-11-25")
                .add("MCP-Protocol-Version", "2025-11-25"),
            (400, Some(-32020)),
        ),
        (
            "too large",
            good().body(vec![b' '; (4 << 20) + 1]),
            (413, Some(-32600)),
        ),
        ("elsewhere", good().to("/other"), (404, None)),
    ]
}

/// Session rule B1.
#[tokio::test]
async fn a_failed_initialize_leaves_nothing() {
    let server = InProcess::with(|app| {
        app.authenticator
            .replace(Authenticator::single_token(&Secret::new(TOKEN)).unwrap());
    });
    let bearer = format!("Bearer {TOKEN}");
    let failing = failing_messages().into_iter().chain(failing_headers());
    for (name, request, expected) in failing {
        let request = match name {
            "no token" | "a wrong token" | "another scheme" => request,
            _ => request.add("Authorization", bearer.as_str()),
        };
        for _ in 0..5 {
            let response = server.send(name, &request).await;
            assert_eq!(outcome(&response), expected, "{name}: {response:?}");
            assert_eq!(response.header("mcp-session-id"), None, "{name}");
        }
        assert_eq!(server.sessions_created(), 0, "{name}");
    }
    let good = first_request("2025-11-25").set("Authorization", bearer.as_str());
    assert_eq!(server.send("good", &good).await.status, 200);
    assert_eq!(server.live_sessions(), 1);
}

#[tokio::test]
async fn a_full_server_says_so_without_numbers_and_recovers() {
    let server = InProcess::with(|app| app.sessions = Some(sessions(None, 2)));
    let first = server.peer(Era::Legacy).await;
    let second = server.peer(Era::Legacy).await;
    for _ in 0..5 {
        let refused = server.send("full", &first_request("2025-11-25")).await;
        assert_eq!(outcome(&refused), (503, Some(-32603)));
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        assert_eq!(refused.header("mcp-session-id"), None);
        let message = text(&refused.json()["error"]["message"]);
        assert!(!message.contains(|c: char| c.is_ascii_digit()), "{message}");
        assert_eq!(refused.json()["id"], 0);
    }
    assert_eq!(server.live_sessions(), 2);
    let modern = server.peer(Era::Modern).await;
    for peer in [&first, &second, &modern] {
        server.still_serves("full", peer).await;
    }
    let deleted = server.send("DELETE", &first.on_session("DELETE")).await;
    assert_eq!(deleted.status, 204);
    server.peer(Era::Legacy).await;
}

/// Session rule G3.
#[tokio::test]
async fn a_stopping_server_takes_no_new_work() {
    let server = InProcess::new();
    let legacy = server.peer(Era::Legacy).await;
    let modern = server.peer(Era::Modern).await;
    assert_eq!(
        server
            .send("ready", &Request::new("GET", "/readyz"))
            .await
            .status,
        200
    );
    server.app.draining.cancel();
    let refused = [
        ("initialize", first_request("2025-11-25")),
        ("a legacy request", legacy.request("ping", &json!({}))),
        ("a legacy call", legacy.call("echo", &json!({"text": "x"}))),
        ("GET", legacy.on_session("GET")),
        ("a modern request", modern.request("tools/list", &json!({}))),
        ("a modern call", modern.call("echo", &json!({"text": "x"}))),
    ];
    for (name, request) in refused {
        let response = server.send(name, &request).await;
        assert_eq!(outcome(&response), (503, Some(-32603)), "{name}");
        assert!(response.header("retry-after").is_some(), "{name}");
        assert_eq!(response.header("connection"), Some("close"), "{name}");
        assert_eq!(response.header("mcp-session-id"), None, "{name}");
    }
    let cancelled =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    let cases = [
        ("a cancellation", legacy.post(&cancelled), 202),
        ("DELETE", legacy.on_session("DELETE"), 204),
        ("readyz", Request::new("GET", "/readyz"), 503),
        ("healthz", Request::new("GET", "/healthz"), 200),
    ];
    for (name, request, status) in cases {
        assert_eq!(server.send(name, &request).await.status, status, "{name}");
    }
    assert_eq!(server.sessions_created(), 1);
}
