//! `step_up: true`: who lacks nothing but scopes is told which, before anything happens.

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::allow::shape;
use crate::metrics::{monitor_of, scrape, value};
use crate::support::{Client, ERAS, Http, Response, TestServer, eventually, sha256};
use crate::tasks;

/// May do everything.
const WRITER: &str = "token-of-a-writer-mfZ3b1mXk0Qy7h2V";
/// Lacks scopes alone.
const READER: &str = "token-of-a-reader-Qy7h2VmfZ3b1mXk0";
/// Lacks the role too.
const GUEST: &str = "token-of-a-guest-b1mXk0Qy7h2VmfZ3";

/// What the entry of `allow` asks for that a reader can come up to.
const SCOPE: &str = "read write share";

/// What a name that ends in `_locked` stands for challenges a reader. One in `_absent` does not exist.
const TOOLS: &str = r#"
defaults:
  allow:
    - [role:staff, "scope:read", "scope:write", "scope:share"]
    - [role:staff, "scope:all", "scope:of", "scope:these", "scope:more"]
    - role:root
  step_up: true
  tags: [all]
tools:
  tool_locked:
    description: Leaves a trace when it runs.
    exec: touch ran
    workdir: .
    task: optional
  tool_open:
    description: Says what it was told.
    exec: printenv MCP_CALLER_SCOPES
    allow: [role:staff, role:guest]
prompts:
  prompt_locked:
    description: Greets.
    text: Hello {who}.
    params: {who: {enum: [ann, bob]}}
resources:
  resource_locked:
    uri: x://resource/locked
    description: A text.
    text: Locked.
resource_templates:
  template_locked:
    uri: x://template/locked/{at}
    description: A text.
    text: Locked {at}.
    params: {at: {enum: [here, there]}}
toolsets:
  all: {match: tag:all}
"#;

fn auth() -> String {
    let entry = |token, rest| format!("  - {{sha256: {}, {rest}}}\n", sha256(token));
    [
        "tokens:\n".to_owned(),
        entry(
            WRITER,
            "subject: ann, roles: [staff], scopes: [read, write, share]",
        ),
        entry(READER, "subject: ann, roles: [staff], scopes: [read]"),
        entry(GUEST, "subject: gus, roles: [guest], scopes: [read, write]"),
        entry(
            "token-of-root-k0Qy7h2VmfZ3b1mX",
            "subject: root, roles: [root], scopes: [all, of, these, more]",
        ),
    ]
    .concat()
}

fn serve() -> TestServer {
    let options = [
        "--metrics-listen",
        "127.0.0.1:0",
        "--log-level",
        "info",
        "--debug-sessions",
    ];
    TestServer::with_auth(TOOLS, &auth(), &options)
}

/// What a request names, in each of the ways that a client of an era can name something.
fn requests(era: Era, name: &str) -> Vec<(&'static str, Value)> {
    let reference = |kind: &str, key: &str, name: String, argument: &str| {
        let argument = json!({"name": argument, "value": ""});
        json!({"ref": {"type": kind, key: name}, "argument": argument})
    };
    let resource = format!("x://resource/{name}");
    let template = format!("x://template/{name}/here");
    let of_era = match era {
        Era::Legacy => ("resources/subscribe", json!({"uri": resource})),
        Era::Modern => (
            "subscriptions/listen",
            json!({"notifications": {"resourceSubscriptions": [resource, template]}}),
        ),
    };
    vec![
        ("tools/call", json!({"name": format!("tool_{name}")})),
        (
            "prompts/get",
            json!({"name": format!("prompt_{name}"), "arguments": {"who": "ann"}}),
        ),
        ("resources/read", json!({"uri": resource})),
        ("resources/read", json!({"uri": template})),
        (
            "completion/complete",
            reference("ref/prompt", "name", format!("prompt_{name}"), "who"),
        ),
        (
            "completion/complete",
            reference(
                "ref/resource",
                "uri",
                format!("x://template/{name}/{{at}}"),
                "at",
            ),
        ),
        of_era,
    ]
}

fn assert_challenged(response: &Response, scope: &str, case: &str) {
    assert_eq!(response.status, 403, "{case}: {response:?}");
    let challenge = response.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Bearer "), "{case}: {challenge}");
    for said in [
        "error=\"insufficient_scope\"",
        &format!("scope=\"{scope}\""),
    ] {
        assert!(challenge.contains(said), "{case}: {challenge}");
    }
    assert_eq!(
        response.header("content-type"),
        Some("application/json"),
        "{case}"
    );
    let message = response.json();
    assert_eq!(message["id"], 1, "{case}");
    let said = json!({"error": "insufficient_scope", "scope": scope});
    assert_eq!(message["error"]["data"], said, "{case}");
}

/// How often a credential was refused for its scopes.
fn refused_for_scope(monitor: &str) -> u32 {
    let samples = scrape(monitor);
    let value = value(&samples, "auth_failures_total{reason=\"scope\"}");
    value.to_string().parse().unwrap()
}

#[test]
fn who_lacks_nothing_but_scopes_gets_them_all_in_one_challenge() {
    let server = serve();
    let monitor = monitor_of(&server);
    let mut challenged = 0;
    for era in ERAS {
        for path in ["/mcp", "/mcp/all"] {
            let reader = Client::at(&server, path, era, Some(READER));
            for (method, params) in requests(era, "locked") {
                let response = reader.request(method, &params);
                assert_challenged(&response, SCOPE, &format!("{era:?} {path} {method}"));
                challenged += 1;
            }
        }
    }
    assert_eq!(refused_for_scope(&monitor), challenged);
    assert!(!server.folder().join("ran").exists(), "nothing ran");
}

#[test]
fn a_call_that_would_be_a_task_is_challenged_before_there_is_one() {
    let server = serve();
    let params = json!({"name": "tool_locked"});
    let ask = |token| {
        let client = Client::new(&server, Era::Modern, Some(token));
        tasks::request(&client, "tools/call", &params)
    };
    assert_challenged(&ask(READER), SCOPE, "reader");
    let created = ask(WRITER).json();
    assert_eq!(created["result"]["resultType"], "task", "{created}");
}

#[test]
fn with_the_scopes_it_works() {
    let server = serve();
    for era in ERAS {
        let writer = Client::new(&server, era, Some(WRITER));
        let answered = |(method, _): &(&str, Value)| *method != "subscriptions/listen";
        for (method, params) in requests(era, "locked").into_iter().filter(answered) {
            let response = writer.request(method, &params);
            let result = &response.json()["result"];
            assert!(result.is_object(), "{era:?} {method}: {response:?}");
        }
    }
    assert!(eventually(|| server.folder().join("ran").exists().then_some(())).is_some());
}

#[test]
fn who_lacks_more_than_scopes_is_told_of_nothing() {
    let server = serve();
    let monitor = monitor_of(&server);
    for era in ERAS {
        let guest = Client::new(&server, era, Some(GUEST));
        let pairs = requests(era, "locked")
            .into_iter()
            .zip(requests(era, "absent"));
        for ((method, locked), (_, absent)) in pairs {
            if method == "subscriptions/listen" {
                continue;
            }
            let locked = guest.request(method, &locked);
            let absent = guest.request(method, &absent);
            assert!(locked.json()["error"].is_object(), "{era:?} {method}");
            assert_eq!(
                shape(&locked, "locked"),
                shape(&absent, "absent"),
                "{era:?} {method}"
            );
        }
    }
    assert_eq!(refused_for_scope(&monitor), 0);
}

#[test]
fn a_listener_is_told_of_nothing_that_it_lacks_more_for() {
    let server = serve();
    let guest = Client::new(&server, Era::Modern, Some(GUEST));
    let listen = requests(Era::Modern, "locked").pop().unwrap();
    let mut http = guest.connect();
    guest.send_on(&mut http, &guest.message(1, listen.0, &listen.1));
    assert_eq!(http.read_head().status, 200);
    let first = http.read_message();
    let acknowledged = &first["params"]["notifications"];
    assert!(acknowledged["resourceSubscriptions"].is_null(), "{first}");
}

#[test]
fn lists_show_what_challenges() {
    let server = serve();
    let lists = [
        ("tools/list", "tools", "name"),
        ("prompts/list", "prompts", "name"),
        ("resources/list", "resources", "name"),
        ("resources/templates/list", "resourceTemplates", "name"),
    ];
    let all = "tool_locked tool_open prompt_locked resource_locked template_locked";
    for era in ERAS {
        for (token, expected) in [(WRITER, all), (READER, all), (GUEST, "tool_open")] {
            let client = Client::new(&server, era, Some(token));
            let mut names = Vec::new();
            for (method, items, name) in lists {
                let result = client.request(method, &json!({})).json()["result"].take();
                let items = result[items].as_array().expect("a list").clone();
                names.extend(items.iter().map(|item| crate::support::text(&item[name])));
            }
            assert_eq!(names.join(" "), expected, "{era:?}");
        }
    }
}

/// The status of a batch is that of all its messages.
#[test]
fn in_a_batch_the_reply_says_what_a_challenge_would() {
    let server = serve();
    let mut http = Http::connect(server.address());
    let bearer = format!("Bearer {READER}");
    let headers = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
        ("Authorization", bearer.as_str()),
    ];
    let initialize = crate::support::initialize("2025-03-26").to_string();
    let opened = http.request("POST", "/mcp", &headers, &initialize);
    let session = opened.header("mcp-session-id").unwrap();
    let headers = [headers.as_slice(), &[("Mcp-Session-Id", session)]].concat();
    let call = |id: u64, name: &str| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": name}});
    let batch = json!([call(1, "tool_locked"), call(2, "tool_open")]).to_string();
    let response = http.request("POST", "/mcp", &headers, &batch);
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("www-authenticate"), None);
    let mut replies = response.json().as_array().expect("a batch").clone();
    replies.sort_by_key(|reply| reply["id"].as_u64());
    let said = json!({"error": "insufficient_scope", "scope": SCOPE});
    assert_eq!(replies[0]["error"]["data"], said, "{replies:?}");
    assert_eq!(replies[1]["result"]["content"][0]["text"], "read\n");
    assert!(!server.folder().join("ran").exists(), "nothing ran");
}
