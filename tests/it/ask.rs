//! A tool asks its client: while it waits on a session, and by running again in 2026-07-28.

use std::fs;
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{
    Client, Http, PATIENCE, Prepare, Response, TestServer, eventually, modern_meta, text,
    wait_for_end_of_group, wait_for_line, write_script,
};

const TOOLS: &str = "
defaults: {messages: true, workdir: .}
tools:
  name:
    description: Asks for a name and prints what it is told.
    exec: ./ask.sh
  twice:
    description: Asks one after the other, and prints both answers.
    exec: ./twice.sh
  many:
    description: Asks for three things at once.
    exec: ./many.sh
  url:
    description: Sends the user to a web page.
    exec: ./url.sh
  roots:
    description: Asks for the folders of the client.
    exec: ./roots.sh
  wrong:
    description: Asks for what cannot be asked.
    exec: ./wrong.sh
  slow:
    description: Asks, and takes no time besides.
    exec: ./ask.sh
    timeout: 2s
  waits:
    description: Writes its process group, asks, and waits.
    exec: ./waits.sh
  deaf:
    description: Asks without reading, then succeeds.
    exec: ./deaf.sh
  loops:
    description: Asks for ever.
    exec: ./loops.sh
  log:
    description: Says something at each level.
    exec: ./log.sh
  leave:
    description: Lets its client go, and says more.
    exec: ./leave.sh
  environment:
    description: Prints what it knows of its client.
    exec: ./environment.sh
  needs:
    description: Needs what a client may lack.
    needs: [sampling, elicitation.url]
    exec: ./ask.sh
  reads:
    description: Prints its arguments and an answer.
    stdin: json
    exec: ./reads.sh
    params: {b: integer = 1, a: optional string}
  copies:
    description: Prints its arguments.
    messages: false
    stdin: json
    exec: cat
    params: {text: string}
  ignores:
    description: Reads nothing of what it is given.
    messages: false
    stdin: json
    exec: 'true'
    params: {text: string}
  plain:
    description: Has nothing to read.
    messages: false
    exec: cat
  wipe:
    description: Deletes a thing once the user has agreed.
    messages: false
    exec: ./wipe.sh {name} {why}
    confirm: Delete {name}?
    ask:
      why: {message: Why?, schema: {type: string, minLength: 2}}
    params: {name: string}
  confirmed:
    description: Runs once the user has agreed.
    messages: false
    exec: ./wipe.sh {name}
    confirm: Delete {name}?
    params: {name: string}
  unconfirmed:
    description: Runs unconfirmed where nobody can be asked.
    messages: false
    exec: ./wipe.sh {name}
    confirm: Delete {name}?
    confirm_fallback: allow
    params: {name: string}
  floods:
    description: Asks what cannot be asked, on and on.
    exec: ./floods.sh
prompts:
  about:
    description: Asks its user what it is about.
    messages: false
    exec: printf %s/%s {first} {second}
    params: {first: string}
    ask: {second: {message: What else?}}
";

const NAME: &str = r#"echo '{"mcp":"ask","id":"user_name","message":"Who?","schema":{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}}'; read -r answer"#;

fn scripts(prepare: &mut Prepare<'_>) {
    let many = r#"echo '{"mcp":"ask","requests":{
        "e":{"method":"elicitation/create","params":{"message":"Who?","requestedSchema":{"type":"object","properties":{}}}},
        "s":{"method":"sampling/createMessage","params":{"messages":[],"maxTokens":100}},
        "r":{"method":"roots/list"}}}' | tr -d '\n'; echo; read -r answer; printf %s "$answer""#;
    let scripts = [
        ("ask.sh", format!("{NAME}; printf %s \"$answer\"")),
        (
            "twice.sh",
            format!("{NAME}; first=$answer; {NAME}; printf '[%s,%s]' \"$first\" \"$answer\""),
        ),
        ("many.sh", many.to_owned()),
        (
            "url.sh",
            r#"echo '{"mcp":"ask","id":"u","message":"Go","url":"https://example.com/x"}'; read -r answer; printf %s "$answer""#.to_owned(),
        ),
        (
            "roots.sh",
            r#"echo '{"mcp":"ask","requests":{"r":{"method":"roots/list"}}}'; read -r answer; printf %s "$answer""#.to_owned(),
        ),
        (
            "wrong.sh",
            r#"echo '{"mcp":"ask","id":"w","message":7}'; read -r answer; printf %s "$answer""#.to_owned(),
        ),
        ("waits.sh", format!("echo $$ >group; {NAME}; printf %s \"$answer\" >answer; sleep 300")),
        ("deaf.sh", format!("exec <&-; {}; echo done", NAME.split(';').next().unwrap())),
        (
            "loops.sh",
            format!("while true; do {NAME}; done"),
        ),
        (
            "log.sh",
            r#"for level in debug info warning emergency; do echo "{\"mcp\":\"log\",\"level\":\"$level\",\"logger\":\"l\",\"data\":{\"at\":\"$level\"}}"; done; echo end"#.to_owned(),
        ),
        (
            "leave.sh",
            r#"echo '{"mcp":"log","level":"error","data":1}'; echo '{"mcp":"close_stream"}'; until [ -e go ] || [ ! -e leave.sh ]; do sleep 0.02; done; echo '{"mcp":"log","level":"error","data":2}'; printf end"#.to_owned(),
        ),
        ("floods.sh", r#"yes '{"mcp":"ask"}'"#.to_owned()),
        ("wipe.sh", "echo \"$@\" >>wiped; printf '%s ' wiped \"$@\"".to_owned()),
        (
            "reads.sh",
            format!("read -r arguments; {NAME}; printf '[%s,%s]' \"$arguments\" \"$answer\""),
        ),
        (
            "environment.sh",
            r#"printf '%s\n' "$MCP_PROTOCOL_VERSION" "$MCP_CLIENT_CAPABILITIES" "${TRACEPARENT-unset}" "${TRACESTATE-unset}""#.to_owned(),
        ),
    ];
    for (name, body) in scripts {
        write_script(prepare.folder, name, &body);
    }
}

fn start(options: &[&str]) -> TestServer {
    TestServer::start_with(TOOLS, options, scripts)
}

fn everything() -> Value {
    json!({"sampling": {}, "elicitation": {"form": {}, "url": {}}, "roots": {}})
}

fn accept(name: &str) -> Value {
    json!({"action": "accept", "content": {"name": name}})
}

/// A legacy client of these capabilities.
fn legacy(server: &TestServer, version: &str, capabilities: &Value) -> Client {
    Client::with_capabilities(server, version, capabilities)
}

/// The response of a call that streams, event by event.
pub(crate) struct Events {
    http: Http,
    rest: String,
}

impl Events {
    pub(crate) fn of(mut http: Http) -> Self {
        let head = http.read_head();
        assert_eq!(
            head.header("content-type"),
            Some("text/event-stream"),
            "{head:?}"
        );
        let rest = String::new();
        Self { http, rest }
    }

    /// The lines of the next event that is no comment; `None` at the end.
    fn next_event(&mut self) -> Option<String> {
        loop {
            while let Some((event, rest)) = self.rest.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.rest = rest;
                if !event.starts_with(':') {
                    return Some(event);
                }
            }
            let chunk = self.http.read_chunk()?;
            self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next message.
    pub(crate) fn message(&mut self) -> Value {
        loop {
            let event = self.next_event().expect("a message");
            let data = event.lines().find_map(|line| line.strip_prefix("data: "));
            if let Some(data) = data.filter(|data| !data.is_empty()) {
                return serde_json::from_str(data).unwrap();
            }
        }
    }

    /// The text of the result that comes next.
    fn text(&mut self) -> Value {
        let message = self.message();
        let result = text(&message["result"]["content"][0]["text"]);
        serde_json::from_str(&result).unwrap_or(Value::String(result))
    }
}

/// Calls a tool in a session and waits until it asks.
fn asked(client: &Client, tool: &str) -> (Events, Value) {
    let mut events = Events::of(client.start_call(1, tool, &json!({})));
    let request = events.message();
    assert!(request["method"].is_string(), "{request}");
    (events, request)
}

pub(crate) fn answer(client: &Client, id: &Value, result: &Value) {
    let message = json!({"jsonrpc": "2.0", "id": id, "result": result});
    assert_eq!(client.post_message(&message).status, 202);
}

#[test]
fn a_tool_waits_for_the_answer_on_a_session() {
    let server = start(&[]);
    for version in ["2025-06-18", "2025-11-25"] {
        let client = legacy(&server, version, &json!({"elicitation": {}}));
        let cases = [
            (json!({"result": accept("ann")}), accept("ann")),
            (
                json!({"result": {"action": "decline"}}),
                json!({"action": "decline"}),
            ),
            (
                json!({"result": {"action": "cancel"}}),
                json!({"action": "cancel"}),
            ),
            (
                json!({"error": {"code": -7, "message": "no", "data": 1}}),
                json!({"error": {"code": -7, "message": "no"}}),
            ),
            (
                json!({"result": accept("ann")["content"]}),
                json!({"error": {"code": -32602, "message": "the answer of the client is not valid: `action` must be `accept`, `decline` or `cancel`"}}),
            ),
            (
                json!({"result": {"action": "accept", "content": {"name": 12345}}}),
                json!({"error": {"code": -32602, "message": "the answer of the client is not valid: /name must be a string"}}),
            ),
        ];
        for (answer, expected) in cases {
            let (mut events, request) = asked(&client, "name");
            assert_eq!(request["method"], "elicitation/create");
            assert_eq!(request["params"]["message"], "Who?");
            assert_eq!(
                request["params"]["requestedSchema"]["required"],
                json!(["name"])
            );
            let mut message = answer.clone();
            message["jsonrpc"] = json!("2.0");
            message["id"] = request["id"].clone();
            assert_eq!(client.post_message(&message).status, 202);
            let mut expected = expected.clone();
            expected["id"] = json!("user_name");
            assert_eq!(events.text(), expected, "{answer}");
            assert_eq!(events.next_event(), None);
            // Nobody waits for a second answer.
            assert_eq!(client.post_message(&message).status, 202);
        }
    }
}

#[test]
fn several_things_are_asked_at_once_and_answered_in_any_order() {
    let server = start(&[]);
    let client = legacy(&server, "2025-11-25", &everything());
    let (mut events, first) = asked(&client, "many");
    let requests = [first, events.message(), events.message()];
    let results = json!({
        "elicitation/create": {"action": "accept", "content": {}},
        "sampling/createMessage": {"role": "assistant", "content": {"type": "text", "text": "x"}, "model": "m"},
        "roots/list": {"roots": [{"uri": "file:///a"}]},
    });
    for request in requests.iter().rev() {
        answer(&client, &request["id"], &results[text(&request["method"])]);
    }
    let told = events.text();
    assert_eq!(told["e"], results["elicitation/create"]);
    assert_eq!(told["s"], results["sampling/createMessage"]);
    assert_eq!(told["r"], results["roots/list"]);
}

#[test]
fn a_batch_may_hold_answers() {
    let server = start(&[]);
    let client = legacy(&server, "2025-03-26", &json!({"roots": {}}));
    let (mut events, request) = asked(&client, "roots");
    let batch = json!([
        {"jsonrpc": "2.0", "id": 12345, "result": {}},
        {"jsonrpc": "2.0", "id": request["id"], "result": {"roots": []}},
    ]);
    assert_eq!(client.post_message(&batch).status, 202);
    assert_eq!(events.text(), json!({"r": {"roots": []}}));
}

#[test]
fn a_client_is_not_asked_what_it_cannot_do() {
    let server = start(&[]);
    let json_only = start(&["--json-response"]);
    let stateless = start(&["--stateless"]);
    let form_only = json!({"elicitation": {}});
    let cases = [
        (
            &server,
            json!({}),
            "name",
            "user_name",
            "lacks the capability elicitation",
        ),
        (
            &server,
            form_only,
            "url",
            "u",
            "lacks the capability elicitation.url",
        ),
        (
            &json_only,
            everything(),
            "name",
            "user_name",
            "answers with JSON alone",
        ),
        (
            &stateless,
            everything(),
            "name",
            "user_name",
            "has no session",
        ),
    ];
    for (server, capabilities, tool, id, reason) in cases {
        let client = legacy(server, "2025-11-25", &capabilities);
        let told: Value = serde_json::from_str(&client.call_text(tool, &json!({}))).unwrap();
        assert_eq!(told["id"], id);
        assert_eq!(told["error"]["code"], -32021);
        assert!(text(&told["error"]["message"]).contains(reason), "{told}");
    }
    // What cannot be asked of anybody is told at once too, in both eras.
    for era in [Era::Legacy, Era::Modern] {
        let told = server.client(era).call_text("wrong", &json!({}));
        assert_eq!(
            told,
            r#"{"id":"w","error":{"code":-32602,"message":"`message` must be a text"}}"#
        );
    }
}

#[test]
fn a_web_page_has_an_id_of_its_own() {
    let server = start(&[]);
    let client = legacy(&server, "2025-11-25", &everything());
    let (mut events, one) = asked(&client, "url");
    let (_other, two) = asked(&client, "url");
    assert_eq!(one["params"]["mode"], "url");
    assert_eq!(one["params"]["url"], "https://example.com/x");
    assert_ne!(
        one["params"]["elicitationId"],
        two["params"]["elicitationId"]
    );
    answer(&client, &one["id"], &json!({"action": "accept"}));
    assert_eq!(events.text(), json!({"id": "u", "action": "accept"}));
}

#[test]
fn sessions_cannot_answer_for_each_other() {
    let server = start(&[]);
    let one = legacy(&server, "2025-11-25", &everything());
    let two = legacy(&server, "2025-11-25", &everything());
    let (mut first, asked_first) = asked(&one, "name");
    let (mut second, asked_second) = asked(&two, "name");
    for id in [
        json!(1),
        json!(2),
        json!("1"),
        json!(-1),
        asked_first["id"].clone(),
    ] {
        if id != asked_second["id"] {
            answer(&two, &id, &accept("mallory"));
        }
    }
    answer(&two, &asked_second["id"], &accept("two"));
    answer(&one, &asked_first["id"], &accept("one"));
    assert_eq!(first.text()["content"]["name"], "one");
    assert_eq!(second.text()["content"]["name"], "two");
}

#[test]
fn what_is_asked_takes_no_time_but_has_a_bound() {
    let server = start(&["--ask-timeout", "3s"]);
    let client = legacy(&server, "2025-11-25", &everything());
    let started = Instant::now();
    let (mut events, request) = asked(&client, "slow");
    let withdrawn = events.message();
    assert_eq!(withdrawn["method"], "notifications/cancelled");
    assert_eq!(withdrawn["params"]["requestId"], request["id"]);
    assert_eq!(
        events.text(),
        json!({"id": "user_name", "action": "cancel"})
    );
    assert!(started.elapsed() >= Duration::from_secs(3));
    let (mut events, _) = asked(&client, "roots");
    assert_eq!(events.message()["method"], "notifications/cancelled");
    assert_eq!(events.text()["r"]["error"]["code"], -1);
}

#[test]
fn a_request_is_withdrawn_when_its_call_ends() {
    type End = fn(&Client);
    let server = start(&[]);
    let ends: [(&str, End); 2] = [
        ("cancelled", |client| {
            let params = json!({"requestId": 1});
            let message =
                json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
            assert_eq!(client.post_message(&message).status, 202);
        }),
        ("deleted", |client| {
            let mut http = client.connect();
            let headers = [("Mcp-Session-Id", client.session())];
            assert_eq!(http.request("DELETE", "/mcp", &headers, "").status, 204);
        }),
    ];
    for (name, end) in ends {
        let client = legacy(&server, "2025-11-25", &everything());
        let (mut events, request) = asked(&client, "waits");
        let group = wait_for_line(&server.folder().join("group"))
            .parse()
            .unwrap();
        end(&client);
        let withdrawn = events.message();
        assert_eq!(withdrawn["method"], "notifications/cancelled", "{name}");
        assert_eq!(withdrawn["params"]["requestId"], request["id"], "{name}");
        assert_eq!(events.message()["error"]["code"], -32603, "{name}");
        wait_for_end_of_group(group);
        fs::remove_file(server.folder().join("group")).unwrap();
    }
}

#[test]
fn a_client_that_vanished_comes_back_for_the_question() {
    let server = start(&[]);
    let client = legacy(&server, "2025-11-25", &everything());
    let mut events = Events::of(client.start_call(1, "name", &json!({})));
    let beginning = events.next_event().unwrap();
    let id = beginning
        .lines()
        .find_map(|line| line.strip_prefix("id: "))
        .unwrap();
    drop(events);
    let mut http = client.connect();
    let headers = [
        ("Accept", "text/event-stream"),
        ("Mcp-Session-Id", client.session()),
        ("Last-Event-ID", id),
    ];
    http.send("GET", "/mcp", &headers, "");
    let mut events = Events::of(http);
    let request = events.message();
    answer(&client, &request["id"], &accept("back"));
    assert_eq!(events.text()["content"]["name"], "back");
}

#[test]
fn a_program_that_does_not_read_holds_nothing_up() {
    let server = start(&[]);
    let client = legacy(&server, "2025-11-25", &everything());
    let (mut events, _) = asked(&client, "deaf");
    assert_eq!(events.message()["method"], "notifications/cancelled");
    assert_eq!(events.text(), json!("done\n"));
}

#[test]
fn a_program_that_asks_on_and_on_is_stopped() {
    let server = start(&[]);
    for era in [Era::Legacy, Era::Modern] {
        let error = server.client(era).call_error("floods", &json!({}));
        assert!(error.contains("without reading"), "{era:?}: {error}");
    }
}

#[test]
fn a_prompt_asks_its_user() {
    let server = start(&[]);
    let client = server.client(Era::Modern);
    let list = client.request("prompts/list", &json!({})).json();
    let arguments = json!([{"name": "first", "required": true}]);
    assert_eq!(list["result"]["prompts"][0]["arguments"], arguments);
    let get = |more: &Value| {
        let mut params = json!({"name": "about", "arguments": {"first": "one"}});
        for (key, value) in more.as_object().unwrap() {
            params[key] = value.clone();
        }
        let response = modern_request(&server, "prompts/get", &everything(), &params);
        assert_eq!(response.status, 200, "{response:?}");
        response.json()["result"].clone()
    };
    let first = get(&json!({}));
    assert_eq!(first["resultType"], "input_required", "{first}");
    let answer = json!({"action": "accept", "content": {"second": "two"}});
    let done = get(&json!({
        "requestState": first["requestState"],
        "inputResponses": {"second": answer},
    }));
    assert_eq!(done["messages"][0]["content"]["text"], "one/two", "{done}");
}

/// Calls a tool of a modern client with these capabilities.
pub(crate) fn modern(server: &TestServer, capabilities: &Value, params: &Value) -> Response {
    modern_request(server, "tools/call", capabilities, params)
}

fn modern_request(
    server: &TestServer,
    method: &str,
    capabilities: &Value,
    params: &Value,
) -> Response {
    let mut meta = modern_meta();
    meta["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
    let mut params = params.clone();
    params["_meta"] = meta;
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    server.client(Era::Modern).post_message(&message)
}

/// The result of a round.
fn round(server: &TestServer, tool: &str, state: &Value, responses: &Value) -> Value {
    let mut params = json!({"name": tool, "inputResponses": responses});
    if !state.is_null() {
        params["requestState"] = state.clone();
    }
    let response = modern(server, &everything(), &params);
    assert_eq!(response.status, 200, "{response:?}");
    response.json()["result"].clone()
}

fn told(result: &Value) -> Value {
    assert_eq!(result["resultType"], "complete", "{result}");
    serde_json::from_str(&text(&result["content"][0]["text"])).unwrap()
}

#[test]
fn a_call_starts_again_when_its_client_comes_back() {
    let server = start(&[]);
    let none = Value::Null;
    let first = round(&server, "twice", &none, &none);
    assert_eq!(first["resultType"], "input_required");
    assert_eq!(
        first["inputRequests"],
        json!({"user_name": {"method": "elicitation/create", "params": {
            "message": "Who?",
            "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
        }}})
    );
    let second = round(
        &server,
        "twice",
        &first["requestState"],
        &json!({"user_name": accept("a")}),
    );
    assert_eq!(second["resultType"], "input_required");
    let keys: Vec<_> = second["inputRequests"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(keys, ["user_name#2"]);
    assert_ne!(first["requestState"], second["requestState"]);
    let third = json!({"user_name#2": {"action": "decline"}, "user_name": accept("other"), "x": 1});
    let third = round(&server, "twice", &second["requestState"], &third);
    assert_eq!(
        told(&third),
        json!([
            {"id": "user_name", "action": "accept", "content": {"name": "a"}},
            {"id": "user_name", "action": "decline"},
        ])
    );
    // The answers alone are enough.
    let all = json!({"user_name": accept("a"), "user_name#2": accept("b")});
    let at_once = round(&server, "twice", &none, &all);
    assert_eq!(told(&at_once)[1]["content"]["name"], "b");
}

#[test]
fn an_answer_that_does_not_fit_is_asked_again() {
    let server = start(&[]);
    let first = round(&server, "name", &Value::Null, &Value::Null);
    for responses in [
        json!(null),
        json!({}),
        json!({"other": accept("a")}),
        json!({"user_name": null}),
        json!({"user_name": 12345}),
        json!({"user_name": {"action": "accept", "content": {"name": 12345}}}),
        json!({"user_name": {"action": "accept"}}),
    ] {
        for state in [&Value::Null, &first["requestState"]] {
            let result = round(&server, "name", state, &responses);
            assert_eq!(result["resultType"], "input_required", "{responses}");
            assert!(result["inputRequests"]["user_name"].is_object());
        }
    }
}

#[test]
fn rounds_are_bounded() {
    let server = start(&[]);
    let mut result = round(&server, "loops", &Value::Null, &Value::Null);
    for number in 1..=15 {
        assert_eq!(result["resultType"], "input_required", "{number}");
        let keys = result["inputRequests"].as_object().unwrap().keys();
        let answers: Value = keys.map(|key| (key.clone(), accept("a"))).collect();
        result = round(&server, "loops", &result["requestState"], &answers);
    }
    let answers = json!({"user_name#16": accept("a")});
    result = round(&server, "loops", &result["requestState"], &answers);
    assert_eq!(result["isError"], true);
    assert!(
        text(&result["content"][0]["text"]).contains("16 rounds"),
        "{result}"
    );
}

#[test]
fn a_modern_client_is_asked_what_it_can_do() {
    let server = start(&[]);
    let params = json!({"name": "many"});
    let keys = |capabilities: &Value| -> Vec<String> {
        let response = modern(&server, capabilities, &params);
        let requests = &response.json()["result"]["inputRequests"];
        requests.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys(&everything()), ["e", "s", "r"]);
    assert_eq!(keys(&json!({"sampling": {}})), ["s"]);
    assert_eq!(
        keys(&json!({"roots": {}, "elicitation": {"url": {}}})),
        ["r"]
    );
    let response = modern(&server, &json!({}), &params);
    assert_eq!(response.status, 400);
    assert_eq!(response.error_code(), Some(-32021));
    let required = &response.json()["error"]["data"]["requiredCapabilities"];
    assert_eq!(
        *required,
        json!({"sampling": {}, "elicitation": {}, "roots": {}})
    );
    let url = modern(
        &server,
        &json!({"elicitation": {}}),
        &json!({"name": "url"}),
    );
    let required = &url.json()["error"]["data"]["requiredCapabilities"];
    assert_eq!(*required, json!({"elicitation": {"url": {}}}));
}

#[test]
fn a_state_is_of_use_only_where_it_was_given() {
    let key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let with_key = |prepare: &mut Prepare<'_>| {
        scripts(prepare);
        let file = prepare.folder.join("key");
        write_key(&file, key);
        prepare.command.arg("--state-key-file").arg(file);
    };
    let server = TestServer::start_with(TOOLS, &[], with_key);
    let replica = TestServer::start_with(TOOLS, &[], with_key);
    let stranger = start(&[]);
    let first = round(&server, "name", &Value::Null, &Value::Null);
    let state = text(&first["requestState"]);
    let responses = json!({"user_name": accept("a")});
    assert_eq!(
        told(&round(&replica, "name", &json!(state), &responses))["action"],
        "accept"
    );
    let refused = |server: &TestServer, tool: &str, state: &str| {
        let params = json!({"name": tool, "inputResponses": responses, "requestState": state});
        let response = modern(server, &everything(), &params);
        assert_eq!(response.status, 400, "{response:?}");
        assert_eq!(response.error_code(), Some(-32602));
        let message = text(&response.json()["error"]["message"]);
        assert!(message.contains("start again"), "{message}");
    };
    refused(&stranger, "name", &state);
    refused(&server, "twice", &state);
    refused(&server, "name", &format!("{state}-TAMPERED"));
    refused(&server, "name", "");
}

fn write_key(file: &std::path::Path, key: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(file, key).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_log_is_heard_from_its_level_on() {
    let server = start(&[]);
    let levels = |response: &Response| -> Vec<String> {
        let data = response
            .text()
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        let messages = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
        let logs = messages.filter(|message| message["method"] == "notifications/message");
        logs.map(|log| {
            assert_eq!(log["params"]["logger"], "l");
            assert_eq!(log["params"]["data"]["at"], log["params"]["level"]);
            text(&log["params"]["level"])
        })
        .collect()
    };
    let client = server.client(Era::Legacy);
    let response = client.start_call(1, "log", &json!({})).read();
    assert_eq!(levels(&response), ["info", "warning", "emergency"]);
    let modern = server.client(Era::Modern);
    let response = modern.start_call(1, "log", &json!({})).read();
    assert_eq!(levels(&response), [""; 0]);
    assert_eq!(response.header("content-type"), Some("application/json"));
    let mut message = modern.message(1, "tools/call", &json!({"name": "log"}));
    message["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = json!("warning");
    assert_eq!(
        levels(&modern.post_message(&message)),
        ["warning", "emergency"]
    );
    message["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = json!("loud");
    assert_eq!(modern.post_message(&message).error_code(), Some(-32602));
}

#[test]
fn a_client_that_is_let_go_gets_the_rest_when_it_comes_back() {
    let server = start(&["--stream-retry", "700ms"]);
    let client = legacy(&server, "2025-11-25", &json!({}));
    let mut events = Events::of(client.start_call(1, "leave", &json!({})));
    let mut last = String::new();
    let mut retried = false;
    while let Some(event) = events.next_event() {
        if let Some(id) = event.lines().find_map(|line| line.strip_prefix("id: ")) {
            id.clone_into(&mut last);
        }
        retried |= event == "retry: 700";
    }
    assert!(retried);
    fs::write(server.folder().join("go"), "").unwrap();
    let mut http = client.connect();
    let headers = [
        ("Accept", "text/event-stream"),
        ("Mcp-Session-Id", client.session()),
        ("Last-Event-ID", last.as_str()),
    ];
    http.send("GET", "/mcp", &headers, "");
    let mut events = Events::of(http);
    assert_eq!(events.message()["params"]["data"], 2);
    assert_eq!(events.text(), json!("end"));
    // Elsewhere there is nothing to come back to.
    let older = legacy(&server, "2025-06-18", &json!({}));
    let response = older.start_call(1, "leave", &json!({})).read();
    assert_eq!(response.json()["result"]["content"][0]["text"], "end");
    let modern = server.client(Era::Modern).call_text("leave", &json!({}));
    assert_eq!(modern, "end");
}

#[test]
fn a_tool_knows_its_client_and_its_trace() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
    let server = start(&[]);
    let client = legacy(
        &server,
        "2025-06-18",
        &json!({"roots": {"listChanged": true}}),
    );
    assert_eq!(
        client.call_text("environment", &json!({})),
        "2025-06-18\n{\"roots\":{\"listChanged\":true}}\nunset\nunset\n"
    );
    let modern = server.client(Era::Modern);
    let mut message = modern.message(1, "tools/call", &json!({"name": "environment"}));
    message["params"]["_meta"]["traceparent"] = json!(PARENT);
    message["params"]["_meta"]["tracestate"] = json!("a=1");
    let result = modern.post_message(&message).json();
    assert_eq!(
        result["result"]["content"][0]["text"],
        format!("2026-07-28\n{{}}\n{PARENT}\na=1\n")
    );
}

#[test]
fn a_waiting_question_does_not_outlive_the_server() {
    let mut server = start(&["--drain-timeout", "100ms"]);
    let client = legacy(&server, "2025-11-25", &everything());
    let (mut events, _) = asked(&client, "waits");
    server.signal("TERM");
    assert_eq!(events.message()["method"], "notifications/cancelled");
    assert_eq!(events.message()["error"]["code"], -32603);
    assert!(server.wait_for_at_most(PATIENCE).is_some());
}

#[test]
fn a_client_that_lacks_what_a_tool_needs_is_refused_before_anything_runs() {
    let server = start(&[]);
    let lacking = json!({"sampling": {}, "elicitation": {}});
    let client = legacy(&server, "2025-11-25", &lacking);
    let refused = client.call_error("needs", &json!({}));
    assert_eq!(
        refused,
        "This needs a client with the capability elicitation.url"
    );
    let response = modern(&server, &lacking, &json!({"name": "needs"}));
    assert_eq!(
        (response.status, response.error_code()),
        (400, Some(-32021))
    );
    let data = &response.json()["error"]["data"];
    assert_eq!(
        *data,
        json!({"requiredCapabilities": {"elicitation": {"url": {}}}})
    );
    let response = modern(&server, &everything(), &json!({"name": "needs"}));
    assert_eq!(response.json()["result"]["resultType"], "input_required");
}

#[test]
fn a_tool_reads_its_arguments_and_then_its_answers() {
    let server = start(&[]);
    let client = legacy(&server, "2025-11-25", &everything());
    let mut events = Events::of(client.start_call(1, "reads", &json!({"a": "x\ny"})));
    let request = events.message();
    answer(&client, &request["id"], &accept("ann"));
    let told = events.text();
    assert_eq!(told[0], json!({"a": "x\ny", "b": 1}));
    assert_eq!(told[1]["content"]["name"], "ann");
    // More than a pipe holds, for one that reads and one that does not.
    let long = json!({"text": "x".repeat(200_000)});
    for era in [Era::Legacy, Era::Modern] {
        let client = server.client(era);
        let copied = client.call_text("copies", &long);
        assert_eq!(serde_json::from_str::<Value>(&copied).unwrap(), long);
        assert_eq!(client.call_text("ignores", &long), "");
        assert_eq!(client.call_text("plain", &json!({})), "");
    }
}

/// What the scripts deleted so far.
fn wiped(server: &TestServer) -> String {
    fs::read_to_string(server.folder().join("wiped")).unwrap_or_default()
}

#[test]
fn a_user_is_asked_before_a_tool_runs_on_a_session() {
    let server = start(&[]);
    let client = legacy(&server, "2025-11-25", &json!({"elicitation": {}}));
    let yes = json!({"action": "accept"});
    let why = json!({"action": "accept", "content": {"why": "old"}});
    let no = json!({"action": "decline"});
    let left = json!({"action": "cancel"});
    let invalid = json!({"action": "accept", "content": {"why": "?"}});
    let cases = [
        (&yes, &why, "wiped x old ", "x old\n"),
        (
            &no,
            &why,
            "the user was asked first and declined; nothing was run",
            "",
        ),
        (
            &yes,
            &left,
            "the user was asked first and gave no answer; nothing was run",
            "",
        ),
        (
            &yes,
            &invalid,
            "the user must be asked first and was not: the answer of the client is not valid: /why must have at least 2 characters; nothing was run",
            "",
        ),
    ];
    for (confirmed, reason, told, done) in cases {
        let mut events = Events::of(client.start_call(1, "wipe", &json!({"name": "x"})));
        let requests = [events.message(), events.message()];
        assert_eq!(requests[0]["params"]["message"], "Delete x?");
        assert_eq!(requests[1]["params"]["message"], "Why?");
        assert_eq!(wiped(&server), "");
        answer(&client, &requests[0]["id"], confirmed);
        answer(&client, &requests[1]["id"], reason);
        assert_eq!(events.text(), json!(told));
        assert_eq!(wiped(&server), done);
        fs::remove_file(server.folder().join("wiped")).ok();
    }
    // What cannot run is not worth a question.
    let refused = client.call_error("confirmed", &json!({"name": "--force"}));
    assert!(refused.contains("must not start with `-`"), "{refused}");
}

#[test]
fn a_user_is_asked_before_a_tool_runs_in_the_next_round() {
    let server = start(&[]);
    let call = |state: &Value, responses: &Value| {
        let mut params = json!({"name": "wipe", "arguments": {"name": "x"}});
        params["requestState"] = state.clone();
        params["inputResponses"] = responses.clone();
        modern(&server, &everything(), &params).json()["result"].clone()
    };
    let yes = json!({"action": "accept"});
    let why = json!({"action": "accept", "content": {"why": "old"}});
    let none = Value::Null;
    // An answer to a question that was never asked is none.
    for responses in [&none, &json!({"confirm": yes, "why": why})] {
        let first = call(&none, responses);
        assert_eq!(first["resultType"], "input_required");
        let keys: Vec<_> = first["inputRequests"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["confirm", "why"]);
    }
    let first = call(&none, &none);
    let second = call(&first["requestState"], &json!({"confirm": yes}));
    let keys: Vec<_> = second["inputRequests"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(keys, ["why"]);
    assert_eq!(wiped(&server), "");
    let declined = call(
        &first["requestState"],
        &json!({"confirm": {"action": "decline"}, "why": why}),
    );
    assert_eq!(declined["isError"], true);
    assert_eq!(wiped(&server), "");
    let done = call(&second["requestState"], &json!({"why": why}));
    assert_eq!(done["content"][0]["text"], "wiped x old ");
    assert_eq!(wiped(&server), "x old\n");
}

#[test]
fn what_nobody_can_confirm_runs_only_if_the_definition_says_so() {
    let server = start(&[]);
    let stateless = start(&["--stateless"]);
    let name = json!({"name": "x"});
    for server in [&server, &stateless] {
        let client = legacy(server, "2025-11-25", &json!({}));
        let refused = client.call_error("confirmed", &name);
        assert!(
            refused.contains("was not: the client cannot be asked"),
            "{refused}"
        );
        assert_eq!(wiped(server), "");
        assert_eq!(client.call_text("unconfirmed", &name), "wiped x ");
        fs::remove_file(server.folder().join("wiped")).unwrap();
    }
    let call = |tool: &str| {
        modern(
            &server,
            &json!({}),
            &json!({"name": tool, "arguments": name}),
        )
    };
    let refused = call("confirmed");
    assert_eq!((refused.status, refused.error_code()), (400, Some(-32021)));
    assert_eq!(wiped(&server), "");
    let allowed = call("unconfirmed");
    assert_eq!(allowed.json()["result"]["content"][0]["text"], "wiped x ");
    // Those who can be asked are asked.
    let asked = modern(
        &server,
        &everything(),
        &json!({"name": "unconfirmed", "arguments": name}),
    );
    assert_eq!(asked.json()["result"]["resultType"], "input_required");
}

/// What a tool does stands in its own entry, in `defaults` and in its api.
#[test]
fn a_consent_counts_for_the_defaults_and_the_api_that_it_was_given_to() {
    let definitions = |[target, used, other]: [&str; 3]| {
        format!(
            "defaults: {{env: {{TARGET: {target}}}}}\n\
             apis:\n  used: {{base_url: 'http://127.0.0.1:1/{used}'}}\n  \
             other: {{base_url: 'http://127.0.0.1:1/{other}'}}\n\
             tools:\n  run: {{description: d, exec: printenv TARGET, confirm: Deploy?}}\n  \
             send: {{description: d, http: {{api: used, GET: /}}, confirm: Deploy?}}\n"
        )
    };
    let yes = json!({"confirm": {"action": "accept", "content": {}}});
    let cases = [
        ("run", ["production", "a", "a"], false),
        ("run", ["staging", "b", "b"], true),
        ("send", ["staging", "b", "a"], false),
        ("send", ["staging", "a", "b"], true),
    ];
    for (tool, after, counts) in cases {
        let server = TestServer::start(&definitions(["staging", "a", "a"]), &[]);
        let first = round(&server, tool, &Value::Null, &json!({}));
        server.replace("tools.yaml", &definitions(after));
        server.wait_for_log("\"message\":\"reloaded\"");
        let state = &first["requestState"];
        let params = json!({"name": tool, "requestState": state, "inputResponses": yes});
        let answer = modern(&server, &everything(), &params);
        if counts {
            let result = &answer.json()["result"];
            assert_eq!(
                result["resultType"], "complete",
                "{tool} {after:?}: {result}"
            );
        } else {
            assert_eq!(
                answer.error_code(),
                Some(-32602),
                "{tool} {after:?}: {answer:?}"
            );
        }
    }
}

/// What a user agreed to is what was shown.
#[test]
fn a_consent_counts_for_the_definition_that_it_was_given_to() {
    let definitions = |question: &str, other: &str| {
        format!(
            "tools:\n  wipe: {{description: d, exec: touch wiped, workdir: ., confirm: {question}}}\n  \
             other: {{description: {other}, exec: /bin/true}}\n"
        )
    };
    let server = TestServer::start(&definitions("Wipe the cache?", "one"), &[]);
    let wiped = server.folder().join("wiped");
    let yes = json!({"confirm": {"action": "accept", "content": {}}});
    let first = round(&server, "wipe", &Value::Null, &json!({}));
    let state = &first["requestState"];

    server.replace("tools.yaml", &definitions("Wipe the database?", "two"));
    server.wait_for_log("\"message\":\"reloaded\"");
    let params = json!({"name": "wipe", "requestState": state, "inputResponses": yes});
    let refused = modern(&server, &everything(), &params);
    assert_eq!(refused.error_code(), Some(-32602), "{refused:?}");
    assert!(!wiped.exists());

    // Another tool is another matter.
    server.replace("tools.yaml", &definitions("Wipe the cache?", "three"));
    let reloaded = || {
        let lines = server.log();
        let lines = lines.iter().filter(|line| line.contains("\"reloaded\""));
        (lines.count() > 1).then_some(())
    };
    assert!(eventually(reloaded).is_some());
    round(&server, "wipe", state, &yes);
    assert!(wiped.exists());
}
