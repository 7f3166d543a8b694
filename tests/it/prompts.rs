//! Prompts: listed, filled in, and made by programs.

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{Client, ERAS, TestServer, write_script};

const DEFINITIONS: &str = "
prompts:
  review:
    title: Review
    description: Reviews a change.
    icons: [{src: 'https://example.com/review.png'}]
    text: Review {change} as {role}.
    params:
      change: {type: string, title: Change, description: What to review., maxLength: 20}
      role: {type: string, enum: [editor, tester], default: editor}
  talk:
    description: Several messages.
    messages:
      - {role: user, text: 'Look at {uri}.'}
      - {role: assistant, content: {type: image, data: 'iVBORw0KGgo=', mimeType: image/png}}
      - {role: user, content: {type: resource, resource: {uri: '{uri}', text: held}}}
    params: {uri: string}
  printed:
    description: A program writes it.
    exec: ./say.sh -- {text}
    params: {text: string}
    workdir: .
  spoken:
    description: A program talks.
    exec: ./say.sh -- {text}
    params: {text: string}
    messages: true
    workdir: .
  broken:
    description: A program fails.
    exec: [sh, -c, 'echo no such thing >&2; exit 3']
";

fn start() -> TestServer {
    TestServer::start_with(DEFINITIONS, &[], |prepare| {
        write_script(prepare.folder, "say.sh", r#"printf %s "$2""#);
    })
}

fn get(client: &Client, name: &str, arguments: &Value) -> Value {
    let params = json!({"name": name, "arguments": arguments});
    client.request("prompts/get", &params).json()
}

fn said(role: &str, text: &str) -> Value {
    json!({"role": role, "content": {"type": "text", "text": text}})
}

#[test]
fn prompts_are_listed_with_their_arguments() {
    let server = start();
    for era in ERAS {
        let list = server
            .client(era)
            .request("prompts/list", &json!({}))
            .json();
        let prompts = list["result"]["prompts"].as_array().unwrap();
        assert_eq!(prompts.len(), 5, "{era:?}");
        assert_eq!(
            prompts[0],
            json!({
                "name": "review",
                "title": "Review",
                "description": "Reviews a change.",
                "icons": [{"src": "https://example.com/review.png"}],
                "arguments": [
                    {"name": "change", "title": "Change", "description": "What to review.", "required": true},
                    {"name": "role", "required": false}
                ]
            })
        );
        assert_eq!(prompts[4].get("arguments"), None);
        let is_modern = era == Era::Modern;
        assert_eq!(list["result"]["resultType"] == "complete", is_modern);
        assert_eq!(list["result"]["cacheScope"] == "public", is_modern);
    }
}

#[test]
fn a_prompt_is_filled_with_its_arguments() {
    let server = start();
    for era in ERAS {
        let client = server.client(era);
        let reply = get(&client, "review", &json!({"change": "$(id) {role}"}));
        let result = &reply["result"];
        assert_eq!(
            result["description"], "Reviews a change.",
            "{era:?} {reply}"
        );
        let text = "Review $(id) {role} as editor.";
        assert_eq!(result["messages"], json!([said("user", text)]));
        assert_eq!(result.get("ttlMs"), None);

        let reply = get(&client, "talk", &json!({"uri": "docs://a"}));
        let messages = &reply["result"]["messages"];
        assert_eq!(messages[0], said("user", "Look at docs://a."));
        assert_eq!(messages[1]["role"], "assistant");
        assert_eq!(messages[1]["content"]["mimeType"], "image/png");
        let resource = json!({"uri": "docs://a", "text": "held"});
        assert_eq!(messages[2]["content"]["resource"], resource);
    }
}

#[test]
fn a_program_makes_the_messages() {
    let server = start();
    let image = json!({"type": "image", "data": "AA==", "mimeType": "image/png"});
    let content = json!({"mcp": "result", "content": [image]}).to_string();
    let messages = json!([said("assistant", "one"), {"role": "user", "content": image}]);
    let line = json!({"mcp": "result", "messages": messages}).to_string();
    let cases = [
        ("printed", "two\nlines", json!([said("user", "two\nlines")])),
        ("spoken", "plain", json!([said("user", "plain")])),
        (
            "spoken",
            &content,
            json!([{"role": "user", "content": image}]),
        ),
        ("spoken", &line, messages.clone()),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (name, text, expected) in &cases {
            let reply = get(&client, name, &json!({"text": text}));
            assert_eq!(
                reply["result"]["messages"], *expected,
                "{era:?} {text}: {reply}"
            );
        }
    }
}

#[test]
fn what_cannot_be_had_is_an_error() {
    let server = start();
    let long = "x".repeat(21);
    let cases = [
        ("unknown", json!({}), -32602, "Unknown prompt: unknown"),
        (
            "review",
            json!({}),
            -32602,
            "/change: is required and missing",
        ),
        ("review", json!({"change": long}), -32602, "/change"),
        ("review", json!({"change": 7}), -32602, "/change"),
        (
            "review",
            json!({"change": "a", "role": "other"}),
            -32602,
            "/role",
        ),
        (
            "review",
            json!({"change": "a", "more": "b"}),
            -32602,
            "/more",
        ),
        ("talk", json!({"uri": "no uri"}), -32602, "/uri"),
        ("printed", json!({"text": "a\0b"}), -32602, "NUL"),
        ("broken", json!({}), -32603, "no such thing"),
        (
            "spoken",
            json!({"text": "{\"mcp\":\"result\",\"messages\":7}"}),
            -32603,
            "must be an array",
        ),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (name, arguments, code, text) in &cases {
            let params = json!({"name": name, "arguments": arguments});
            let response = client.request("prompts/get", &params);
            let error = response.json()["error"].clone();
            assert_eq!(error["code"], *code, "{era:?} {name} {arguments}: {error}");
            let message = error["message"].as_str().unwrap();
            assert!(
                message.contains(text),
                "{era:?} {name} {arguments}: {message}"
            );
            let status = match (era, code) {
                (Era::Legacy, _) => 200,
                (Era::Modern, -32602) => 400,
                (Era::Modern, _) => 500,
            };
            assert_eq!(response.status, status, "{era:?} {name} {arguments}");
        }
    }
}
