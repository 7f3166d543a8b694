//! Tools that send requests: what arrives, and for whom.

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::ask::{Events, answer, modern};
use crate::support::{Client, ERAS, TOKEN, TestServer};
use crate::upstream::{Upstream, respond};

/// Tools of a tracker.
pub(crate) const ISSUES: &str = r#"
  issue_create:
    description: Open an issue.
    effect: write
    confirm: Create "{title}" in {project}?
    http:
      api: tracker
      POST: /projects/{project}/issues
      json: {title: "{title}", body: "{body}", labels: "{labels}"}
    params:
      project: string
      title: {type: string, maxLength: 200}
      body: optional string
      labels: string...
  search:
    description: Search issues.
    http:
      api: tracker
      GET: /projects/{project}/issues
      query: {q: "text:{text}", label: "{labels...}", page: "{page}"}
      headers: {X-Note: "{note}", X-Who: "{caller.subject}/{caller.tenant}"}
    params: {project: string, text: optional string, labels: string..., page: integer = 1, note: optional string}
  status: {description: The status., http: {api: tracker, GET: /status}}
"#;

/// Definitions with the api `tracker` at a server, and these settings of it.
pub(crate) fn tools(upstream: &Upstream, settings: &str, tools: &str) -> String {
    let url = upstream.url();
    format!("apis: {{tracker: {{base_url: '{url}/api/'{settings}}}}}\ntools:{tools}")
}

pub(crate) fn json_upstream() -> Upstream {
    Upstream::start(|request, to| {
        let body = json!({"line": request.line, "body": request.body}).to_string();
        respond(
            to,
            "200 OK",
            &["Content-Type: application/json"],
            body.as_bytes(),
        )
    })
}

#[test]
fn an_issue_is_opened_once_its_user_has_agreed() {
    let upstream = json_upstream();
    let server = TestServer::start(&tools(&upstream, "", ISSUES), &[]);
    let arguments = json!({"project": "a/../b c", "title": "x"});
    let legacy = json!({"elicitation": {}});
    let client = Client::with_capabilities(&server, "2025-11-25", &legacy);
    let refused = client.call_error("issue_create", &arguments);
    assert!(refused.contains("/project: must not be empty"), "{refused}");

    let arguments = json!({"project": "a b", "title": "\"x\"", "labels": ["one", "{two}"]});
    let body = json!({"title": "\"x\"", "labels": ["one", "{two}"]});
    let line = "POST /api/projects/a%20b/issues";
    for agreed in [false, true] {
        let mut events = Events::of(client.start_call(1, "issue_create", &arguments));
        let asked = events.message();
        assert_eq!(asked["params"]["message"], "Create \"\"x\"\" in a b?");
        let action = if agreed { "accept" } else { "decline" };
        answer(
            &client,
            &asked["id"],
            &json!({"action": action, "content": {}}),
        );
        let result = events.message()["result"].clone();
        assert_eq!(result["isError"], !agreed, "{result}");
        assert_eq!(upstream.received().len(), usize::from(agreed));
        if agreed {
            assert_eq!(result["structuredContent"]["line"], line);
        }
    }
    let params = json!({"name": "issue_create", "arguments": arguments});
    let first = modern(&server, &legacy, &params).json()["result"].clone();
    assert_eq!(first["resultType"], "input_required", "{first}");
    let mut again = params;
    again["requestState"] = first["requestState"].clone();
    again["inputResponses"] = json!({"confirm": {"action": "accept"}});
    let result = modern(&server, &legacy, &again).json()["result"].clone();
    assert_eq!(result["structuredContent"]["line"], line, "{result}");
    let received = upstream.received();
    assert_eq!(received.len(), 2);
    for request in received {
        assert_eq!(request.header("content-type"), Some("application/json"));
        let sent: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(sent, body);
    }
}

#[test]
fn a_request_holds_what_the_definition_says_and_nothing_of_the_callers_credentials() {
    let upstream = json_upstream();
    let settings = ", auth: {header: {name: X-Api-Key, value: s3cr3t}}, \
                    headers: {X-Server: here, X-Who: api}";
    let server = TestServer::start_with(&tools(&upstream, settings, ISSUES), &[], |prepare| {
        let file = crate::support::write_token(prepare.folder);
        prepare.command.arg("--token-file").arg(file);
        // Where requests go is for the definition to say.
        prepare.command.env("HTTP_PROXY", "http://127.0.0.1:9");
        prepare.command.env("http_proxy", "http://127.0.0.1:9");
    });
    for era in ERAS {
        let client = Client::new(&server, era, Some(TOKEN));
        let full = json!({
            "project": "é;?#",
            "text": "a&b=c d",
            "labels": ["x y", "z"],
            "page": 2,
            "note": "n",
        });
        client.call_text("search", &full);
        client.call_text("search", &json!({"project": "p"}));
    }
    let received = upstream.received();
    let full =
        "GET /api/projects/%C3%A9%3B%3F%23/issues?q=text:a%26b%3Dc%20d&label=x%20y&label=z&page=2";
    let full = full.replace("text:a", "text%3Aa");
    let lines: Vec<_> = received.iter().map(|request| &request.line).collect();
    let short = "GET /api/projects/p/issues?page=1".to_owned();
    assert_eq!(lines, [&full, &short, &full, &short]);
    let first = &received[0];
    assert_eq!(first.header("x-api-key"), Some("s3cr3t"));
    assert_eq!(first.header("x-server"), Some("here"));
    assert_eq!(first.header("x-who"), Some("default/"));
    assert_eq!(first.header("x-note"), Some("n"));
    assert_eq!(received[1].header("x-note"), None);
    for request in &received {
        let names: Vec<_> = request
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let allowed = [
            "accept",
            "accept-encoding",
            "host",
            "user-agent",
            "x-api-key",
            "x-note",
            "x-server",
            "x-who",
        ];
        assert!(names.iter().all(|name| allowed.contains(name)), "{names:?}");
    }
    assert!(server.log().iter().all(|line| !line.contains("s3cr3t")));
}

#[test]
fn a_value_that_would_break_a_header_is_refused() {
    let upstream = json_upstream();
    let server = TestServer::start(&tools(&upstream, "", ISSUES), &[]);
    let client = server.client(Era::Modern);
    for note in ["a\r\nX-Evil: 1", "a\0", "a\u{7f}", "é", " a", "a\t"] {
        let refused = client.request(
            "tools/call",
            &json!({"name": "search", "arguments": {"project": "p", "note": note}}),
        );
        assert!(
            refused.text().contains("/note: must"),
            "{note:?} {refused:?}"
        );
    }
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn the_trace_of_a_call_goes_on() {
    let upstream = json_upstream();
    let server = TestServer::start(&tools(&upstream, "", ISSUES), &[]);
    let client = server.client(Era::Modern);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
    let mut message = client.message(1, "tools/call", &json!({"name": "status", "arguments": {}}));
    message["params"]["_meta"]["traceparent"] = json!(parent);
    message["params"]["_meta"]["tracestate"] = json!("a=1");
    assert_eq!(client.post_message(&message).status, 200);
    let received = &upstream.received()[0];
    assert_eq!(received.header("traceparent"), Some(parent));
    assert_eq!(received.header("tracestate"), Some("a=1"));
}

#[test]
fn prompts_resources_and_completions_can_come_from_an_api() {
    let upstream = Upstream::start(|request, to| match request.line.as_str() {
        "GET /projects?prefix=w" => respond(to, "200 OK", &[], b"web\nworker\n"),
        "GET /missing" => respond(to, "404 Not Found", &[], b""),
        line => respond(to, "200 OK", &["Content-Type: text/plain"], line.as_bytes()),
    });
    let url = upstream.url();
    let definitions = format!(
        "
apis: {{tracker: {{base_url: '{url}'}}}}
prompts:
  summary:
    description: d
    http: {{api: tracker, GET: '/summary/{{project}}'}}
    params: {{project: string}}
    complete: {{project: {{http: {{api: tracker, GET: /projects, query: {{prefix: '{{value}}'}}}}}}}}
resources:
  status: {{description: d, uri: 'status://all', http: {{api: tracker, GET: /status}}}}
  missing: {{description: d, uri: 'status://missing', http: {{api: tracker, GET: /missing}}}}
resource_templates:
  issue: {{description: d, uri: 'issue://{{id}}', http: {{api: tracker, GET: '/issues/{{id}}'}}}}
"
    );
    let server = TestServer::start(&definitions, &[]);
    for era in ERAS {
        let client = server.client(era);
        let get = json!({"name": "summary", "arguments": {"project": "a b"}});
        let prompt = client.request("prompts/get", &get).json();
        let told = &prompt["result"]["messages"][0]["content"]["text"];
        assert_eq!(told, "GET /summary/a%20b", "{prompt}");
        for (uri, expected) in [
            ("status://all", "GET /status"),
            ("issue://7", "GET /issues/7"),
        ] {
            let read = client
                .request("resources/read", &json!({"uri": uri}))
                .json();
            assert_eq!(read["result"]["contents"][0]["text"], expected, "{read}");
        }
        let missing = client.request("resources/read", &json!({"uri": "status://missing"}));
        assert!(missing.error_code().is_some(), "{missing:?}");
        let complete = json!({
            "ref": {"type": "ref/prompt", "name": "summary"},
            "argument": {"name": "project", "value": "w"}
        });
        let completed = client.request("completion/complete", &complete).json();
        let values = &completed["result"]["completion"]["values"];
        assert_eq!(values, &json!(["web", "worker"]), "{completed}");
    }
}

#[test]
fn a_dry_run_shows_the_request_and_sends_nothing() {
    let upstream = json_upstream();
    let folder = tempfile::tempdir().unwrap();
    let settings = ", auth: {bearer: s3cr3t}, headers: {X-Secret: s3cr3t}";
    let definitions = tools(&upstream, settings, ISSUES);
    std::fs::write(folder.path().join("tools.yaml"), definitions).unwrap();
    let dry_run = |options: &[&str]| {
        let mut command = crate::support::command();
        let arguments = [
            "call",
            "issue_create",
            "project=a b",
            "title=x",
            "--dry-run",
        ];
        command
            .args(arguments)
            .args(options)
            .current_dir(folder.path());
        crate::support::run(&mut command)
    };
    let said = dry_run(&[]);
    let url = upstream.url();
    let headers = "user-agent accept content-type x-secret authorization";
    let expected = format!(
        "ask: Create \"x\" in a b?\nPOST {url}/api/projects/a%20b/issues\nheaders: {headers}\n\
         body: {{\"title\":\"x\"}}\n"
    );
    assert_eq!(said.stdout, expected, "{said:?}");
    let said = dry_run(&["--json"]);
    let plan: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(plan["body"], "{\"title\":\"x\"}");
    assert_eq!(plan["headers"][4], "authorization");
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn a_url_of_its_own_needs_no_api() {
    let upstream = Upstream::start(|request, to| match request.line.as_str() {
        "GET /missing" => respond(to, "404 Not Found", &[], b""),
        line => respond(to, "200 OK", &[], line.as_bytes()),
    });
    let url = upstream.url();
    let definitions = format!(
        "
tools:
  get: {{description: d, http: {{GET: '{url}/x/{{y}}.json'}}, params: {{y: string}}}}
  missing: {{description: d, http: {{GET: '{url}/missing'}}}}
  down: {{description: d, http: {{GET: 'http://127.0.0.1:1/'}}}}
"
    );
    let server = TestServer::start(&definitions, &[]);
    let client = server.client(Era::Modern);
    let got = client.call_text("get", &json!({"y": "%2e%2e"}));
    assert_eq!(got, "GET /x/%252e%252e.json");
    // Where it is stands in the log alone.
    let none = json!({});
    let told = client.call_error("missing", &none);
    assert_eq!(told, "the API answered 404 Not Found");
    let told = client.call_error("down", &none);
    assert_eq!(told, "could not connect to the API: connection refused");
    server.wait_for_log("\"server\":\"http://127.0.0.1:1\"");
    assert_eq!(upstream.accepted(), 1, "both tools of a server share it");
    let tools = client.request("tools/list", &json!({})).json();
    assert_eq!(
        tools["result"]["tools"][0]["annotations"]["readOnlyHint"],
        true
    );
}
