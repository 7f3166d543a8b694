//! A call that outlives its request: its client gets a task, and comes back for it.

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{
    Client, GATE, Gate, Http, Prepare, Response, TestServer, eventually, modern_meta, sha256, text,
    wait_for_end_of_group, wait_for_line, write_script,
};

const EXTENSION: &str = "io.modelcontextprotocol/tasks";
const ALICE: &str = "alice-1-mfZ3b1mXk0Qy7h2Vn5cR8w";
const ALICE_TOO: &str = "alice-2-mfZ3b1mXk0Qy7h2Vn5cR8w";
const BOB: &str = "bob-1-mfZ3b1mXk0Qy7h2Vn5cR8w";

fn tools() -> String {
    format!(
        "
defaults: {{messages: true, workdir: .}}
tools:{GATE}    task: optional
  plain:
    description: Never a task.
    exec: printf plain
  fails:
    description: Fails.
    exec: sh -c 'echo no >&2; exit 1'
    task: required
  breaks:
    description: Ends with an error of the protocol.
    exec: ./breaks.sh
    task: optional
  group:
    description: Writes its process group, and waits.
    exec: ./group.sh
    task: optional
  confirmed:
    description: Asks before anything runs, and once more while it runs.
    confirm: Really?
    ask: {{name: {{message: Who?}}}}
    exec: ./confirmed.sh {{name}}
    task: required
  asks:
    description: Asks two things at once, and prints the answers.
    exec: ./asks.sh
    task: optional
"
    )
}

const ASKS: &str = r#"echo '{"mcp":"progress","progress":1,"total":3}'
echo '{"mcp":"ask","requests":{"a":{"method":"elicitation/create","params":{"message":"A?","requestedSchema":{"type":"object","properties":{"x":{"type":"string"}}}}},"b":{"method":"elicitation/create","params":{"message":"B?","requestedSchema":{"type":"object","properties":{}}}}}}'
read -r answers; printf %s "$answers""#;

fn serve(options: &[&str]) -> TestServer {
    TestServer::start_with(&tools(), options, scripts)
}

fn scripts(prepare: &mut Prepare<'_>) {
    let folder = prepare.folder;
    let breaks =
        r#"echo '{"mcp":"error","code":-32602,"message":"no such thing","data":{"a":1}}'; exit 3"#;
    write_script(folder, "breaks.sh", breaks);
    write_script(folder, "group.sh", "echo $$ > group; exec sleep 300");
    write_script(folder, "asks.sh", ASKS);
    let confirmed =
        r#"echo '{"mcp":"ask","id":"more","message":"More?"}'; read -r _; printf %s "$1""#;
    write_script(folder, "confirmed.sh", confirmed);
}

/// A request of a client that comes back for tasks, and has a user.
fn message(client: &Client, method: &str, params: &Value) -> Value {
    let mut message = client.message(1, method, params);
    let capabilities = json!({"elicitation": {}, "extensions": {EXTENSION: {}}});
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
    message
}

pub(crate) fn request(client: &Client, method: &str, params: &Value) -> Response {
    client.post_message(&message(client, method, params))
}

/// The result of a request that must succeed.
fn result(client: &Client, method: &str, params: &Value) -> Value {
    let response = request(client, method, params);
    assert_eq!(response.status, 200, "{response:?}");
    response.json()["result"].clone()
}

fn call(client: &Client, tool: &str, arguments: &Value) -> Response {
    let params = json!({"name": tool, "arguments": arguments});
    request(client, "tools/call", &params)
}

/// Calls a tool as a task, and returns the id of the task.
pub(crate) fn create(client: &Client, tool: &str, arguments: &Value) -> String {
    let response = call(client, tool, arguments);
    let created = &response.json()["result"];
    assert_eq!(created["resultType"], "task", "{response:?}");
    text(&created["taskId"])
}

fn get(client: &Client, id: &str) -> Value {
    result(client, "tasks/get", &json!({"taskId": id}))
}

/// Waits until a task has this status.
fn wait_for(client: &Client, id: &str, status: &str) -> Value {
    let task = eventually(|| {
        let task = get(client, id);
        (task["status"] == status).then_some(task)
    });
    task.unwrap_or_else(|| panic!("not {status}: {}", get(client, id)))
}

fn update(client: &Client, id: &str, responses: &Value) -> Response {
    let params = json!({"taskId": id, "inputResponses": responses});
    request(client, "tasks/update", &params)
}

/// A result that only says that a request was taken.
fn assert_acknowledged(response: &Response) {
    let mut result = response.json()["result"].clone();
    assert!(result["_meta"].is_object(), "{response:?}");
    result.as_object_mut().unwrap().remove("_meta");
    assert_eq!(result, json!({"resultType": "complete"}));
}

#[test]
fn a_client_that_can_come_back_gets_a_task_and_then_the_result() {
    let server = serve(&["--call-timeout", "30s", "--task-ttl", "1m"]);
    let client = server.client(Era::Modern);
    let gate = Gate::new(&server, "gate");
    let mut params = json!({"name": "gate", "arguments": gate.arguments()});
    // What 2025-11-25 had for it is ignored.
    params["task"] = json!({"ttl": 1});
    let created = result(&client, "tools/call", &params);
    let id = text(&created["taskId"]);
    assert_eq!(id.len(), 32);
    let time = text(&created["createdAt"]);
    let mut expected = json!({
        "resultType": "task",
        "taskId": id,
        "status": "working",
        "createdAt": time,
        "lastUpdatedAt": time,
        "ttlMs": 90_000,
        "pollIntervalMs": 500,
        "_meta": created["_meta"],
    });
    assert_eq!(created, expected);
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    expected["resultType"] = json!("complete");
    assert_eq!(get(&client, &id), expected);

    gate.wait();
    gate.open();
    let task = wait_for(&client, &id, "completed");
    assert_eq!(
        task["result"]["content"],
        json!([{"type": "text", "text": "through"}])
    );
    assert_eq!(task["result"]["isError"], false);
    assert_eq!(task["result"]["resultType"], "complete");
    assert_eq!(get(&client, &id)["result"], task["result"]);
}

#[test]
fn other_clients_get_a_plain_result_or_none() {
    let server = serve(&[]);
    let gate = Gate::new(&server, "gate");
    gate.open();
    for era in [Era::Legacy, Era::Modern] {
        let client = server.client(era);
        assert_eq!(client.call_text("gate", &gate.arguments()), "through");
    }
    // In the older revisions the extension means nothing.
    let capabilities = json!({"extensions": {EXTENSION: {}}});
    let legacy = Client::with_capabilities(&server, "2025-11-25", &capabilities);
    assert_eq!(legacy.call_text("gate", &gate.arguments()), "through");
    let told = legacy.call_error("fails", &json!({}));
    assert!(told.contains(EXTENSION), "{told}");

    let client = server.client(Era::Modern);
    let params = json!({"name": "fails"});
    let refused = client.request("tools/call", &params);
    assert_eq!((refused.status, refused.error_code()), (400, Some(-32021)));
    let required = json!({"requiredCapabilities": {"extensions": {EXTENSION: {}}}});
    assert_eq!(refused.json()["error"]["data"], required);
    let filter = json!({"notifications": {"taskIds": ["x"]}});
    let refused = client.request("subscriptions/listen", &filter);
    assert_eq!((refused.status, refused.error_code()), (400, Some(-32021)));
    assert_eq!(refused.json()["error"]["data"], required);
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let refused = client.request(method, &json!({"taskId": "x", "inputResponses": {}}));
        assert_eq!((refused.status, refused.error_code()), (400, Some(-32021)));
        assert_eq!(refused.json()["error"]["data"], required);
        let unknown = legacy.request(method, &json!({"taskId": "x", "inputResponses": {}}));
        assert_eq!(unknown.error_code(), Some(-32601));
    }
}

#[test]
fn the_extension_is_there_when_a_tool_has_tasks() {
    let server = serve(&[]);
    let client = server.client(Era::Modern);
    let discovered = result(&client, "server/discover", &json!({}));
    assert_eq!(
        discovered["capabilities"]["extensions"],
        json!({EXTENSION: {}})
    );
    let plain = call(&client, "plain", &json!({})).json();
    assert_eq!(plain["result"]["resultType"], "complete");
    assert_eq!(plain["result"]["content"][0]["text"], "plain");
    for method in ["tasks/list", "tasks/result"] {
        let unknown = request(&client, method, &json!({"taskId": "x"}));
        assert_eq!((unknown.status, unknown.error_code()), (404, Some(-32601)));
    }

    let without = TestServer::start("tools: {a: {description: A., exec: printf a}}", &[]);
    let client = without.client(Era::Modern);
    let discovered = result(&client, "server/discover", &json!({}));
    assert!(discovered["capabilities"].get("extensions").is_none());
    let unknown = request(&client, "tasks/get", &json!({"taskId": "x"}));
    assert_eq!((unknown.status, unknown.error_code()), (404, Some(-32601)));
}

#[test]
fn a_tool_that_fails_completes_and_an_error_of_the_protocol_fails() {
    let server = serve(&[]);
    let client = server.client(Era::Modern);
    let id = create(&client, "fails", &json!({}));
    let task = wait_for(&client, &id, "completed");
    assert_eq!(task["result"]["isError"], true);
    assert!(task.get("error").is_none());

    let error = json!({"code": -32602, "message": "no such thing", "data": {"a": 1}});
    let id = create(&client, "breaks", &json!({}));
    let task = wait_for(&client, &id, "failed");
    assert_eq!(task["error"], error);
    assert_eq!(task["statusMessage"], "no such thing");
    assert!(task.get("result").is_none());
    for era in [Era::Legacy, Era::Modern] {
        let plain = server
            .client(era)
            .request("tools/call", &json!({"name": "breaks"}));
        assert_eq!(plain.status, 200);
        assert_eq!(plain.json()["error"], error, "{era:?}");
    }
}

#[test]
fn a_task_is_for_a_token_that_may_call_its_tool() {
    let tools = "
tools:
  secret:
    description: For a dba.
    exec: printf secret
    task: required
    allow: [role:dba]
  other:
    description: Keeps tasks served to all.
    exec: printf other
    task: optional
";
    let tokens = format!(
        "tokens:\n  - {{sha256: {}, subject: alice, roles: [dba]}}\n  \
         - {{sha256: {}, subject: alice, roles: [clerk]}}\n",
        sha256(ALICE),
        sha256(ALICE_TOO)
    );
    let server = TestServer::with_auth(tools, &tokens, &[]);
    let dba = Client::new(&server, Era::Modern, Some(ALICE));
    let clerk = Client::new(&server, Era::Modern, Some(ALICE_TOO));
    let id = create(&dba, "secret", &json!({}));
    wait_for(&dba, &id, "completed");
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let ask = |id: &str| {
            let params = json!({"taskId": id, "inputResponses": {}});
            let response = request(&clerk, method, &params);
            (response.status, response.json()["error"].clone())
        };
        assert!(ask(&id).1.is_object(), "{method}");
        assert_eq!(ask(&id), ask("x"), "{method}");
    }
    assert_eq!(get(&dba, &id)["result"]["content"][0]["text"], "secret");
}

#[test]
fn a_cancelled_task_ends_its_processes() {
    let server = serve(&[]);
    let client = server.client(Era::Modern);
    let id = create(&client, "group", &json!({}));
    let group = wait_for_line(&server.folder().join("group"))
        .parse()
        .unwrap();
    for _ in 0..2 {
        let cancel = request(&client, "tasks/cancel", &json!({"taskId": id}));
        assert_acknowledged(&cancel);
        let task = wait_for(&client, &id, "cancelled");
        assert!(task.get("result").is_none() && task.get("error").is_none());
    }
    wait_for_end_of_group(group);
}

#[test]
fn what_a_task_asks_is_answered_one_by_one() {
    let server = serve(&[]);
    let client = server.client(Era::Modern);
    let id = create(&client, "asks", &json!({}));
    let task = wait_for(&client, &id, "input_required");
    assert_eq!(task["statusMessage"], "1 of 3");
    let requests = json!({
        "input-1": {"method": "elicitation/create", "params": {"message": "A?", "requestedSchema": {
            "type": "object", "properties": {"x": {"type": "string"}}
        }}},
        "input-2": {"method": "elicitation/create", "params": {"message": "B?", "requestedSchema": {
            "type": "object", "properties": {}
        }}},
    });
    assert_eq!(task["inputRequests"], requests);

    let malformed = update(&client, &id, &json!({"input-1": 7}));
    assert_eq!(
        (malformed.status, malformed.error_code()),
        (400, Some(-32602))
    );
    let none = request(&client, "tasks/update", &json!({"taskId": id}));
    assert_eq!((none.status, none.error_code()), (400, Some(-32602)));
    assert_acknowledged(&update(
        &client,
        &id,
        &json!({"unknown": {"ignored": true}}),
    ));
    let decline = json!({"action": "decline"});
    assert_acknowledged(&update(&client, &id, &json!({"input-2": decline})));
    let task = get(&client, &id);
    assert_eq!(task["status"], "input_required");
    assert_eq!(
        task["inputRequests"],
        json!({"input-1": requests["input-1"]})
    );
    let accept = json!({"action": "accept", "content": {"x": "y"}});
    assert_acknowledged(&update(
        &client,
        &id,
        &json!({"input-1": accept, "input-2": accept}),
    ));
    let task = wait_for(&client, &id, "completed");
    let answers: Value =
        serde_json::from_str(&text(&task["result"]["content"][0]["text"])).unwrap();
    assert_eq!(answers, json!({"a": accept, "b": decline}));
    assert_acknowledged(&update(&client, &id, &json!({"input-1": accept})));
}

#[test]
fn what_a_definition_asks_comes_before_its_task() {
    let server = serve(&["--max-tasks", "1"]);
    let client = server.client(Era::Modern);
    let first = call(&client, "confirmed", &json!({})).json()["result"].clone();
    assert_eq!(first["resultType"], "input_required");
    assert!(first.get("taskId").is_none());
    let retry = |answers: Value| {
        let params = json!({
            "name": "confirmed", "arguments": {},
            "inputResponses": answers, "requestState": first["requestState"],
        });
        result(&client, "tools/call", &params)
    };
    let accept = |content: Value| json!({"action": "accept", "content": content});
    let declined =
        retry(json!({"confirm": {"action": "decline"}, "name": accept(json!({"name": "x"}))}));
    assert_eq!(declined["resultType"], "complete");
    assert_eq!(declined["isError"], true);

    let confirmed = json!({"confirm": accept(json!({})), "name": accept(json!({"name": "Alice"}))});
    let task = retry(confirmed);
    assert_eq!(task["resultType"], "task");
    assert!(task.get("requestState").is_none() && task.get("inputRequests").is_none());
    let id = text(&task["taskId"]);
    let task = wait_for(&client, &id, "input_required");
    assert_eq!(
        task["inputRequests"]["input-1"]["params"]["message"],
        "More?"
    );
    assert_acknowledged(&update(
        &client,
        &id,
        &json!({"input-1": accept(json!({}))}),
    ));
    let task = wait_for(&client, &id, "completed");
    assert_eq!(task["result"]["content"][0]["text"], "Alice");
    let tasks = &server.statistics()["tasks"];
    assert_eq!(tasks["tasks"]["completed"], 1);
    assert_eq!(tasks["forgotten"]["not_started"], 2);
}

#[test]
fn a_question_that_nobody_answers_is_withdrawn() {
    let server = serve(&["--ask-timeout", "300ms"]);
    let client = server.client(Era::Modern);
    let id = create(&client, "asks", &json!({}));
    let task = wait_for(&client, &id, "completed");
    let answers: Value =
        serde_json::from_str(&text(&task["result"]["content"][0]["text"])).unwrap();
    let cancel = json!({"action": "cancel"});
    assert_eq!(answers, json!({"a": cancel, "b": cancel}));
}

#[test]
fn a_task_is_there_for_its_owner_only() {
    let users = [(ALICE, "alice"), (ALICE_TOO, "alice"), (BOB, "bob")];
    let entries = users
        .map(|(token, subject)| format!("  - {{sha256: {}, subject: {subject}}}\n", sha256(token)));
    let auth = format!("tokens:\n{}", entries.concat());
    let server = TestServer::start_with(&tools(), &[], |prepare| {
        scripts(prepare);
        prepare.serve_with_auth(&auth);
    });
    let client = |token| Client::new(&server, Era::Modern, Some(token));
    let (alice, alice_too, bob) = (client(ALICE), client(ALICE_TOO), client(BOB));
    let gate = Gate::new(&server, "gate");
    let id = create(&alice, "gate", &gate.arguments());
    assert_eq!(get(&alice_too, &id)["status"], "working");

    let made_up = "0123456789abcdef0123456789abcdef";
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let params = |id: &str| json!({"taskId": id, "inputResponses": {}});
        let foreign = request(&bob, method, &params(&id));
        assert_eq!((foreign.status, foreign.error_code()), (400, Some(-32602)));
        for unknown in [made_up, "x", "", &id.to_uppercase()] {
            let unknown = request(&bob, method, &params(unknown));
            assert_eq!(unknown.status, foreign.status);
            assert_eq!(unknown.body, foreign.body);
        }
    }
    gate.open();
    wait_for(&alice, &id, "completed");
    let log = server.log().join("\n");
    assert!(
        log.contains("\"message\":\"task\"") && !log.contains(&id),
        "{log}"
    );
}

#[test]
fn a_request_about_a_task_names_it_in_a_header() {
    let server = serve(&[]);
    let client = server.client(Era::Modern);
    let id = create(&client, "fails", &json!({}));
    let message = message(&client, "tasks/get", &json!({"taskId": id}));
    let mut headers = client.headers(&message);
    headers.retain(|(name, _)| *name != "Mcp-Name");
    for name in [None, Some("another")] {
        let mut headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        headers.extend(name.map(|name| ("Mcp-Name", name)));
        let mut http = Http::connect(server.address());
        let refused = http.request("POST", "/mcp", &headers, &message.to_string());
        assert_eq!((refused.status, refused.error_code()), (400, Some(-32020)));
    }
}

#[test]
fn running_tasks_are_limited_and_those_that_have_ended_make_room() {
    let server = serve(&["--max-tasks", "2"]);
    let client = server.client(Era::Modern);
    let gates = [1, 2, 3].map(|number| Gate::new(&server, &format!("gate{number}")));
    let first = create(&client, "gate", &gates[0].arguments());
    let second = create(&client, "gate", &gates[1].arguments());
    let refused = call(&client, "gate", &gates[2].arguments());
    assert_eq!((refused.status, refused.error_code()), (503, Some(-32603)));
    assert!(refused.header("retry-after").is_some());
    gates[0].open();
    wait_for(&client, &first, "completed");
    let third = create(&client, "gate", &gates[2].arguments());
    let gone = request(&client, "tasks/get", &json!({"taskId": first}));
    assert_eq!(gone.error_code(), Some(-32602));
    for id in [second, third] {
        assert_eq!(get(&client, &id)["status"], "working");
    }
}

#[test]
fn one_client_is_limited_by_itself_and_a_call_that_does_not_start_is_no_task() {
    let options = ["--max-tasks-per-principal", "2", "--max-calls", "1"];
    let server = serve(&options);
    let client = server.client(Era::Modern);
    let gate = Gate::new(&server, "gate");
    let running = create(&client, "gate", &gate.arguments());
    let busy = call(&client, "fails", &json!({}));
    assert_eq!(busy.status, 503);
    assert_eq!(get(&client, &running)["status"], "working");
    let tasks = server.statistics()["tasks"].clone();
    assert_eq!(tasks["created"], 2);
    assert_eq!(tasks["forgotten"]["not_started"], 1);
    assert_eq!(
        tasks["ended"],
        json!({"completed": 0, "failed": 0, "cancelled": 0})
    );
    assert_eq!(tasks["tasks"]["working"], 1);

    let options = ["--max-tasks-per-principal", "1"];
    let server = serve(&options);
    let client = server.client(Era::Modern);
    create(&client, "gate", &gate.arguments());
    let refused = call(&client, "fails", &json!({}));
    assert_eq!((refused.status, refused.error_code()), (429, Some(-32603)));
    assert_eq!(
        server.statistics()["tasks"]["rejected"]["principal_limit"],
        1
    );
}

#[test]
fn a_task_that_makes_room_in_a_queue_fails_and_a_call_without_room_is_no_task() {
    let tools = format!("tools:{GATE}    task: optional\n    concurrency: {{max: 1, queue: 2}}\n");
    let users = [(ALICE, "alice"), (BOB, "bob")];
    let entries = users.map(|(token, subject)| {
        let digest = sha256(token);
        format!("- {{sha256: {digest}, subject: {subject}}}\n")
    });
    let server = TestServer::with_auth(&tools, &format!("tokens:\n{}", entries.concat()), &[]);
    let client = |token| Client::new(&server, Era::Modern, Some(token));
    let (alice, bob) = (client(ALICE), client(BOB));
    let gate = Gate::new(&server, "gate");
    let [running, waiting, newest] = [(); 3].map(|()| create(&alice, "gate", &gate.arguments()));
    gate.wait();
    let why = "The tool is busy: 1 call at once is the most, and 2 wait; nothing was run; try again when \
               one has ended";
    let refused = call(&alice, "gate", &gate.arguments());
    assert_eq!((refused.status, refused.error_code()), (503, Some(-32603)));
    assert_eq!(refused.json()["error"]["message"], why);
    let other = create(&bob, "gate", &gate.arguments());
    let failed = wait_for(&alice, &newest, "failed");
    assert_eq!(failed["error"], json!({"code": -32603, "message": why}));
    gate.open();
    for (client, id) in [(&alice, running), (&alice, waiting), (&bob, other)] {
        wait_for(client, &id, "completed");
    }
}

#[test]
fn a_task_is_forgotten_when_its_time_is_over() {
    let server = serve(&["--call-timeout", "200ms", "--task-ttl", "1ms"]);
    let client = server.client(Era::Modern);
    let id = create(&client, "fails", &json!({}));
    let gone = eventually(|| {
        let response = request(&client, "tasks/get", &json!({"taskId": id}));
        (response.error_code() == Some(-32602)).then_some(())
    });
    assert!(gone.is_some());
}

#[test]
fn a_stopping_server_lets_its_tasks_end() {
    let mut server = serve(&["--drain-timeout", "30s"]);
    let client = server.client(Era::Modern);
    let id = create(&client, "asks", &json!({}));
    wait_for(&client, &id, "input_required");
    let mut idle = Http::connect(server.address());
    assert_eq!(idle.request("GET", "/readyz", &[], "").status, 200);
    server.signal("TERM");
    // An idle connection is closed when the server stops.
    assert_eq!(idle.read_line(), None);
    assert_eq!(call(&client, "fails", &json!({})).status, 503);
    assert_eq!(get(&client, &id)["status"], "input_required");
    let accept = json!({"action": "accept", "content": {}});
    assert_acknowledged(&update(
        &client,
        &id,
        &json!({"input-1": accept, "input-2": accept}),
    ));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_task_that_does_not_end_is_ended_with_the_server() {
    let mut server = serve(&["--drain-timeout", "100ms"]);
    let client = server.client(Era::Modern);
    create(&client, "group", &json!({}));
    let group = wait_for_line(&server.folder().join("group"))
        .parse()
        .unwrap();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    wait_for_end_of_group(group);
}

#[test]
fn the_capabilities_of_a_client_are_those_of_its_request() {
    let server = serve(&[]);
    let client = server.client(Era::Modern);
    let mut message = message(&client, "tools/call", &json!({"name": "fails"}));
    let mut meta = modern_meta();
    meta["io.modelcontextprotocol/clientCapabilities"] = json!({"extensions": {EXTENSION: true}});
    message["params"]["_meta"] = meta;
    assert_eq!(client.post_message(&message).error_code(), Some(-32021));
}
