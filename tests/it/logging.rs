//! How a client says which log messages it wants to hear.

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::in_process::{InProcess, Peer, first_request};

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
        let mut meta = crate::support::modern_meta();
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
