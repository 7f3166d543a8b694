//! `toolsets`: parts of what is served, each at an endpoint of its own.

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{Client, ERAS, Http, Response, TestServer, sha256, text};

const OPERATOR: &str = "token-of-an-operator-mfZ3b1mXk0Qy";
const CLERK: &str = "token-of-a-clerk-Qy7h2VmfZ3b1mXk0";

const TOOLS: &str = "
title: Everything
instructions: Of all.
tools:
  git_log:
    description: For everybody.
    exec: /bin/echo log
    tags: [ops]
  git_push:
    description: For operators.
    exec: /bin/echo push
    tags: [ops]
    allow: [role:ops]
  df:
    description: In no toolset.
    exec: /bin/echo df
prompts:
  judge:
    description: In one of them.
    text: Judge.
    tags: [ops]
resources:
  readme:
    uri: docs://readme
    description: In no toolset.
    text: Read me.
toolsets:
  ops:
    match: tag:ops
    title: Operations
    instructions: Of operations.
  git: {match: 'git_*'}
  guarded: {match: df, allow: [role:ops]}
";

fn serve() -> TestServer {
    let auth = format!(
        "tokens:\n  - {{sha256: {}, subject: olga, roles: [ops]}}\n  \
         - {{sha256: {}, subject: cleo, roles: [clerk]}}\n",
        sha256(OPERATOR),
        sha256(CLERK)
    );
    TestServer::with_auth(TOOLS, &auth, &[])
}

fn names(client: &Client, method: &str, list: &str) -> String {
    let result = client.request(method, &json!({})).json()["result"].take();
    let items = result[list].as_array().expect("a list");
    let names: Vec<_> = items.iter().map(|item| text(&item["name"])).collect();
    names.join(" ")
}

#[test]
fn an_endpoint_serves_its_part() {
    let server = serve();
    for era in ERAS {
        let cases = [
            ("/mcp", OPERATOR, "git_log git_push df", "judge", "readme"),
            ("/mcp", CLERK, "git_log df", "judge", "readme"),
            ("/mcp/ops", OPERATOR, "git_log git_push", "judge", ""),
            ("/mcp/ops", CLERK, "git_log", "judge", ""),
            ("/mcp/ops/", CLERK, "git_log", "judge", ""),
            ("/mcp/git", OPERATOR, "git_log git_push", "", ""),
            ("/mcp/guarded", OPERATOR, "df", "", ""),
        ];
        for (path, token, tools, prompts, resources) in cases {
            let client = Client::at(&server, path, era, Some(token));
            assert_eq!(
                names(&client, "tools/list", "tools"),
                tools,
                "{era:?} {path}"
            );
            assert_eq!(
                names(&client, "prompts/list", "prompts"),
                prompts,
                "{era:?} {path}"
            );
            assert_eq!(
                names(&client, "resources/list", "resources"),
                resources,
                "{era:?} {path}"
            );
        }
        let client = Client::at(&server, "/mcp/ops", era, Some(OPERATOR));
        assert_eq!(client.call_text("git_push", &json!({})), "push\n");
        let unknown = client.request("tools/call", &json!({"name": "df"}));
        assert_eq!(unknown.error_code(), Some(-32602), "{era:?}");
        let unknown = client.request("resources/read", &json!({"uri": "docs://readme"}));
        assert!(unknown.json()["error"].is_object(), "{era:?}");
    }
}

#[test]
fn a_toolset_says_what_it_is() {
    let server = serve();
    let cases = [
        ("/mcp", "Everything", "Of all.", true),
        ("/mcp/ops", "Operations", "Of operations.", false),
        ("/mcp/git", "Everything", "Of all.", false),
    ];
    for (path, title, instructions, has_resources) in cases {
        let client = Client::at(&server, path, Era::Modern, Some(CLERK));
        let result = client.request("server/discover", &json!({})).json()["result"].take();
        let server_info = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert_eq!(server_info["title"], title, "{path}");
        assert_eq!(result["instructions"], instructions, "{path}");
        let resources = &result["capabilities"]["resources"];
        assert_eq!(resources.is_object(), has_resources, "{path}");
    }
}

/// Everything of a response but the time.
fn shape(response: &Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let headers = response.headers.iter().cloned();
    let headers = headers.filter(|(header, _)| header != "date").collect();
    (response.status, headers, response.body.clone())
}

#[test]
fn a_toolset_that_is_not_allowed_is_answered_as_a_path_that_does_not_exist() {
    let server = serve();
    let ask = |method: &str, path: &str, token: &str| {
        let authorization = format!("Bearer {token}");
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
        ];
        let body = if method == "POST" { "{}" } else { "" };
        Http::connect(server.address()).request(method, path, &headers, body)
    };
    for method in ["POST", "GET", "DELETE", "PUT"] {
        let nowhere = shape(&ask(method, "/elsewhere", CLERK));
        assert_eq!(nowhere.0, 404);
        for path in ["/mcp/guarded", "/mcp/absent", "/mcp/%6fps", "/mcp/ops/x"] {
            assert_eq!(shape(&ask(method, path, CLERK)), nowhere, "{method} {path}");
        }
        let allowed = ask(method, "/mcp/guarded", OPERATOR);
        assert_ne!(allowed.status, 404, "{method}");
    }
}

#[test]
fn a_session_is_there_only_where_it_was_opened() {
    let server = serve();
    let session = Client::at(&server, "/mcp/ops", Era::Legacy, Some(OPERATOR));
    let unknown = session.with_session("00000000-0000-0000-0000-000000000000");
    let list = |client: &Client| client.request("tools/list", &json!({}));
    let expected = shape(&list(&unknown));
    assert_eq!(expected.0, 404);
    for path in ["/mcp", "/mcp/git"] {
        assert_eq!(shape(&list(&session.with_path(path))), expected, "{path}");
        let headers = session.headers(&Value::Null);
        let headers: Vec<_> = (headers.iter())
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let mut http = session.connect();
        let deleted = http.request("DELETE", path, &headers, "");
        assert_eq!(deleted.status, 404, "{path}");
    }
    assert_eq!(list(&session).status, 200);
}

#[test]
fn a_state_counts_only_for_what_an_endpoint_serves() {
    let tools = "
tools:
  wipe:
    description: Asks first.
    exec: /bin/echo wiped
    confirm: Wipe?
  other: {description: d, exec: /bin/true}
toolsets:
  most: {match: wipe}
  rest: {match: other}
";
    let server = TestServer::start(tools, &[]);
    let ask = |path: &str, state: Option<&Value>| {
        let client = Client::at(&server, path, Era::Modern, None);
        let mut params = json!({"name": "wipe", "arguments": {}});
        if let Some(state) = state {
            params["requestState"] = state.clone();
            params["inputResponses"] = json!({"confirm": {"action": "accept", "content": {}}});
        }
        let mut message = client.message(1, "tools/call", &params);
        message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
            json!({"elicitation": {"form": {}}});
        client.post_message(&message).json()
    };
    let state = ask("/mcp/most", None)["result"]["requestState"].take();
    assert!(state.is_string());
    assert_eq!(ask("/mcp/rest", Some(&state))["error"]["code"], -32602);
}
