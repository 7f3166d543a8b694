//! `allow`: what a caller may not use is as if it were not there.

use std::fs;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::streams::Sse;
use crate::support::{Client, ERAS, Response, TestServer, sha256};

const DBA: &str = "token-of-a-dba-mfZ3b1mXk0Qy7h2V";
const CLERK: &str = "token-of-a-clerk-Qy7h2VmfZ3b1mXk0";

/// What a name that ends in `_hidden` stands for is for a dba. One in `_absent` does not exist.
const TOOLS: &str = "
tools:
  tool_shown:
    description: For everybody.
    exec: /bin/echo shown
  tool_hidden:
    description: For a dba.
    exec: /bin/echo hidden {region}
    params: {region: {type: string, x-mcp-header: Region}}
    allow: [role:dba]
    task: optional
prompts:
  prompt_hidden:
    description: For a dba.
    text: Hello {who}.
    params: {who: {enum: [ann, bob]}}
    allow: [[role:dba, scope:read]]
resources:
  resource_hidden:
    uri: x://resource/hidden
    description: For a dba.
    text: Hidden.
    allow: [role:dba]
resource_templates:
  template_hidden:
    uri: x://template/hidden/{at}
    description: For a dba.
    text: Hidden {at}.
    params: {at: {enum: [here, there]}}
    allow: [role:dba]
";

fn auth() -> String {
    let (dba, clerk) = (sha256(DBA), sha256(CLERK));
    format!(
        "tokens:\n  - {{sha256: {dba}, subject: dan, roles: [dba], scopes: [read]}}\n  \
         - {{sha256: {clerk}, subject: cleo, roles: [clerk]}}\n"
    )
}

fn serve() -> TestServer {
    TestServer::with_auth(TOOLS, &auth(), &[])
}

/// What a request names, in each of the ways that a client can name something.
fn requests(name: &str) -> Vec<(&'static str, Value)> {
    let reference = |kind: &str, key: &str, name: String| {
        let argument = json!({"name": "who", "value": ""});
        json!({"ref": {"type": kind, key: name}, "argument": argument})
    };
    vec![
        ("tools/call", json!({"name": format!("tool_{name}")})),
        (
            "tools/call",
            json!({"name": format!("tool_{name}"), "arguments": {"region": "eu"}}),
        ),
        ("prompts/get", json!({"name": format!("prompt_{name}")})),
        (
            "resources/read",
            json!({"uri": format!("x://resource/{name}")}),
        ),
        (
            "resources/read",
            json!({"uri": format!("x://template/{name}/here")}),
        ),
        (
            "resources/subscribe",
            json!({"uri": format!("x://resource/{name}")}),
        ),
        (
            "completion/complete",
            reference("ref/prompt", "name", format!("prompt_{name}")),
        ),
        (
            "completion/complete",
            reference("ref/resource", "uri", format!("x://template/{name}/{{at}}")),
        ),
    ]
}

/// Everything of a response but the time, with one name for all.
pub(crate) fn shape(response: &Response, name: &str) -> (u16, Vec<(String, String)>, String) {
    let headers = response.headers.iter().cloned();
    let headers = headers.filter(|(header, _)| header != "date").collect();
    (
        response.status,
        headers,
        response.text().replace(name, "NAME"),
    )
}

#[test]
fn what_is_not_allowed_is_answered_as_what_does_not_exist() {
    let server = serve();
    for era in ERAS {
        let clerk = Client::new(&server, era, Some(CLERK));
        for ((method, hidden), (_, absent)) in
            requests("hidden").into_iter().zip(requests("absent"))
        {
            let hidden = clerk.request(method, &hidden);
            let absent = clerk.request(method, &absent);
            let is_error = hidden.json()["error"].is_object();
            assert!(is_error, "{era:?} {method}: {hidden:?}");
            assert_eq!(
                shape(&hidden, "hidden"),
                shape(&absent, "absent"),
                "{era:?} {method}"
            );
        }
    }
}

#[test]
fn lists_and_capabilities_hold_what_the_caller_may_use() {
    let server = serve();
    let lists = [
        ("tools/list", "tools", "name"),
        ("prompts/list", "prompts", "name"),
        ("resources/list", "resources", "name"),
        ("resources/templates/list", "resourceTemplates", "name"),
    ];
    for era in ERAS {
        for (token, expected) in [
            (
                DBA,
                "tool_shown tool_hidden prompt_hidden resource_hidden template_hidden",
            ),
            (CLERK, "tool_shown"),
        ] {
            let client = Client::new(&server, era, Some(token));
            let mut names = Vec::new();
            for (method, items, name) in lists {
                let result = client.request(method, &json!({})).json()["result"].take();
                let items = result[items].as_array().expect("a list").clone();
                names.extend(items.iter().map(|item| crate::support::text(&item[name])));
                if era == Era::Modern {
                    assert_eq!(result["cacheScope"], "private", "{method}");
                }
            }
            assert_eq!(names.join(" "), expected, "{era:?}");
        }
    }
    let capabilities = |token| {
        let client = Client::new(&server, Era::Modern, Some(token));
        let result = client.request("server/discover", &json!({})).json()["result"].take();
        let capabilities = result["capabilities"]
            .as_object()
            .expect("an object")
            .clone();
        capabilities.keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        capabilities(DBA),
        "completions logging prompts resources tools extensions"
    );
    assert_eq!(capabilities(CLERK), "logging tools");
}

#[test]
fn what_is_allowed_works() {
    let server = serve();
    for era in ERAS {
        let dba = Client::new(&server, era, Some(DBA));
        let plain = |(method, _): &(&str, Value)| *method != "tools/call";
        for (method, mut params) in requests("hidden").into_iter().filter(plain) {
            match method {
                "prompts/get" => params["arguments"] = json!({"who": "ann"}),
                "resources/subscribe" if era == Era::Modern => continue,
                "completion/complete" if params["ref"]["uri"].is_string() => {
                    params["argument"]["name"] = json!("at");
                }
                _ => {}
            }
            let response = dba.request(method, &params);
            assert!(
                response.json()["result"].is_object(),
                "{method} {response:?}"
            );
        }
    }
    let dba = Client::new(&server, Era::Legacy, Some(DBA));
    assert_eq!(
        dba.call_text("tool_hidden", &json!({"region": "eu"})),
        "hidden eu\n"
    );
}

#[test]
fn a_caller_is_judged_by_the_token_of_the_request_and_not_by_the_session() {
    let tokens = format!(
        "tokens:\n  - {{sha256: {}, subject: dan, roles: [dba]}}\n  \
         - {{sha256: {}, subject: dan, roles: [clerk]}}\n",
        sha256(DBA),
        sha256(CLERK)
    );
    let tools = TOOLS.replace("[[role:dba, scope:read]]", "[role:dba]");
    let server = TestServer::with_auth(&tools, &tokens, &[]);
    let dba = Client::new(&server, Era::Legacy, Some(DBA));
    let call = |client: &Client| {
        let params = json!({"name": "tool_hidden", "arguments": {"region": "eu"}});
        client.request("tools/call", &params).error_code()
    };
    assert_eq!(call(&dba), None);
    assert_eq!(call(&dba.with_token(CLERK)), Some(-32602));
}

#[test]
fn what_a_call_streamed_is_for_a_token_that_may_make_it() {
    let tools = r#"
defaults: {messages: true, workdir: .}
tools:
  hidden:
    description: Lets its client go, and prints something for a dba once it may.
    exec:
      - sh
      - -c
      - |
        echo '{"mcp":"log","level":"error","data":1}'
        echo '{"mcp":"close_stream"}'
        until [ -e go ] || [ ! -e tools.yaml ]; do sleep 0.02; done
        printf for-a-dba
    allow: [role:dba]
"#;
    let tokens = format!(
        "tokens:\n  - {{sha256: {}, subject: dan, roles: [dba]}}\n  \
         - {{sha256: {}, subject: dan, roles: [clerk]}}\n",
        sha256(DBA),
        sha256(CLERK)
    );
    let server = TestServer::with_auth(tools, &tokens, &[]);
    let dba = Client::new(&server, Era::Legacy, Some(DBA));
    let call = dba.start_call(1, "hidden", &json!({}));
    let sent = Sse::read("a call", call).rest();
    let last = sent.iter().rev().find_map(|sent| sent.id.clone()).unwrap();
    fs::write(server.folder().join("go"), "").unwrap();
    // Another stream of the session, and not what was left of that one.
    let mut other = Sse::get(&server, &dba.with_token(CLERK), Some(&last));
    let first = other.next().unwrap();
    assert!(first.is_empty(), "{first:?}");
    let rest = Sse::get(&server, &dba, Some(&last)).rest();
    assert!(format!("{rest:?}").contains("for-a-dba"), "{rest:?}");
}

#[test]
fn a_page_tells_nothing_of_what_is_hidden() {
    let tool =
        |name: &str, allow: &str| format!("  {name}: {{description: d, exec: /bin/true{allow}}}\n");
    let hidden = ", allow: [role:dba]";
    let with = [
        tool("a", ""),
        tool("b", hidden),
        tool("c", ""),
        tool("d", ""),
    ]
    .concat();
    let without = [tool("a", ""), tool("c", ""), tool("d", "")].concat();
    let pages = |tools: &str| {
        let tools = format!("tools:\n{tools}");
        let server = TestServer::with_auth(&tools, &auth(), &["--page-size", "1"]);
        let clerk = Client::new(&server, Era::Modern, Some(CLERK));
        let first = clerk.request("tools/list", &json!({})).json()["result"].take();
        let cursor = json!({"cursor": first["nextCursor"]});
        let second = clerk.request("tools/list", &cursor).json()["result"].take();
        (first, second)
    };
    assert_eq!(pages(&with), pages(&without));
}

#[test]
fn a_start_says_what_nobody_could_use() {
    let tools = "
tools:
  t:
    description: For a dba.
    exec: /bin/true
    allow: [role:dba]
";
    let server = TestServer::start(tools, &[]);
    let warning = server.wait_for_log("E062");
    assert!(warning.contains("nobody could ever use `t`"), "{warning}");
    let list = Client::new(&server, Era::Modern, None).request("tools/list", &json!({}));
    assert_eq!(list.json()["result"]["tools"], json!([]));
    // The one token of a token file has no roles.
    let server = TestServer::with_token(tools, &[]);
    server.wait_for_log("E062");
}
