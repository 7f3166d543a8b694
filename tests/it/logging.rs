//! How a client says which log messages it wants to hear.

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::in_process::{InProcess, Peer, first_request};
use crate::support::{Client, TestServer, modern_meta, text, write_script};

const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

const LEGACY: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

fn set_level(peer: &Peer, params: &Value) -> crate::in_process::Request {
    peer.request("logging/setLevel", params)
}

#[tokio::test]
async fn a_session_takes_every_level_and_no_other() {
    let server = InProcess::new();
    for version in LEGACY {
        let opened = server.send(version, &first_request(version)).await.json();
        let offered = &opened["result"]["capabilities"]["logging"];
        assert_eq!(*offered, json!({}), "{version}");
        let peer = server.peer_of(version).await;
        for level in LEVELS {
            let name = format!("{version} {level}");
            let answer = server
                .send(&name, &set_level(&peer, &json!({"level": level})))
                .await;
            assert_eq!(answer.json()["result"], json!({}), "{name}");
        }
        for params in [json!({}), json!({"level": "loud"}), json!({"level": 3})] {
            let name = format!("{version} {params}");
            let answer = server.send(&name, &set_level(&peer, &params)).await;
            assert_eq!(answer.status, 200, "{name}");
            assert_eq!(answer.error_code(), Some(-32602), "{name}");
        }
    }
}

#[tokio::test]
async fn without_a_session_a_level_is_taken_without_effect() {
    let server = InProcess::with(|app| app.sessions = None);
    let peer = server.peer(Era::Legacy).await;
    for (level, code) in [("debug", None), ("loud", Some(-32602))] {
        let answer = server
            .send(level, &set_level(&peer, &json!({"level": level})))
            .await;
        assert_eq!(answer.error_code(), code, "{answer:?}");
    }
}

#[tokio::test]
async fn a_modern_request_says_its_level_itself() {
    let server = InProcess::new();
    let peer = server.peer(Era::Modern).await;
    let refused = server
        .send("setLevel", &set_level(&peer, &json!({"level": "info"})))
        .await;
    assert_eq!((refused.status, refused.error_code()), (404, Some(-32601)));
    let cases = [
        (json!("debug"), 200, None),
        (json!("emergency"), 200, None),
        (json!("loud"), 400, Some(-32602)),
        (json!(null), 400, Some(-32602)),
        (json!(7), 400, Some(-32602)),
    ];
    for (level, status, code) in cases {
        let name = level.to_string();
        let mut meta = modern_meta();
        meta["io.modelcontextprotocol/logLevel"] = level;
        for method in ["tools/list", "tools/call"] {
            let params = json!({"_meta": meta, "name": "echo", "arguments": {"text": "x"}});
            let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
            let mut request = peer.post(&message);
            if method == "tools/list" {
                request = request.without("Mcp-Name");
            }
            let answer = server.send(&name, &request).await;
            assert_eq!(answer.status, status, "{method} {name}: {answer:?}");
            assert_eq!(answer.error_code(), code, "{method} {name}");
        }
    }
    let discovered = server
        .send("discover", &peer.request("server/discover", &json!({})))
        .await
        .json();
    assert_eq!(
        discovered["result"]["capabilities"]["logging"],
        json!({}),
        "{discovered}"
    );
}

/// A tool that says something on every level.
const TALKATIVE: &str = "
name: logging-test
tools:
  talk: {description: Says something on every level., exec: ./talk.sh, messages: true}
";

/// The levels of what a call says, as its client hears it.
fn heard(client: &Client, level: Option<&str>) -> Vec<String> {
    let params = json!({"name": "talk", "arguments": {}});
    let mut message = client.message(1, "tools/call", &params);
    if let Some(level) = level {
        message["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = json!(level);
    }
    let response = client.post_message(&message);
    let result = &response.json()["result"];
    assert_eq!(result["isError"], false, "{response:?}");
    let data = response.text().lines();
    let messages = data.filter_map(|line| line.strip_prefix("data: "));
    let messages = messages.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    messages
        .filter(|message| message["method"] == "notifications/message")
        .map(|message| text(&message["params"]["level"]))
        .collect()
}

#[test]
fn a_client_hears_its_level_and_above() {
    let server = TestServer::start_with(TALKATIVE, &[], |prepare| {
        let script = format!(
            "for level in {}; do
             printf '{{\"mcp\":\"log\",\"level\":\"%s\",\"data\":\"x\"}}\\n' $level; done",
            LEVELS.join(" ")
        );
        write_script(prepare.folder, "talk.sh", &script);
    });
    let session = server.client(Era::Legacy);
    let other = server.client(Era::Legacy);
    assert_eq!(
        heard(&session, None),
        LEVELS[1..],
        "until it says otherwise"
    );
    for (number, level) in LEVELS.iter().enumerate() {
        let answer = session.request("logging/setLevel", &json!({"level": level}));
        assert_eq!(answer.json()["result"], json!({}), "{answer:?}");
        assert_eq!(heard(&session, None), LEVELS[number..], "{level}");
        // What a session says is its own, and no modern request's.
        assert_eq!(heard(&other, None), LEVELS[1..], "{level}");
        let modern = server.client(Era::Modern);
        assert_eq!(heard(&modern, Some(level)), LEVELS[number..], "{level}");
        assert!(heard(&modern, None).is_empty(), "{level}");
    }
}
