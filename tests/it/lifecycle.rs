//! Sessions, streams and the end of the server: the real binary over real sockets.

use std::thread;
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{
    ALLOWANCE, Client, ERAS, GATE, Gate, Http, Response, TOKEN, TestServer, eventually, initialize,
    statistics_of, text, wait_for_ends,
};

fn tools() -> String {
    format!(
        "
name: lifecycle-test
tools:
  echo:
    description: Prints its argument.
    effect: read
    exec: printf %s {{text}}
    params: {{text: string}}
  stubborn:
    description: Does not end when it is asked to.
    exec:
      - sh
      - -c
      - 'trap \"\" TERM INT; touch \"$1.started\"; while true; do sleep 0.1; done'
      - sh
      - '{{path}}'
    params: {{path: string}}
  long:
    description: Prints more than the sockets between a server and its client hold.
    exec: [sh, -c, 'yes | head -c 5000000; touch \"$1.started\"', sh, '{{path}}']
    max_output: 6MiB
    params: {{path: string}}
{GATE}"
    )
}

fn serve(options: &[&str]) -> TestServer {
    TestServer::start(&tools(), options)
}

/// Runs test bodies at the same time, since most of their time is waiting.
pub(crate) fn at_once(bodies: &[&(dyn Fn() + Sync)]) {
    thread::scope(|scope| {
        for body in bodies {
            scope.spawn(body);
        }
    });
}

/// Sends GET or DELETE for the session of a client.
pub(crate) fn on_session(server: &TestServer, client: &Client, method: &str) -> Http {
    let mut http = Http::connect(server.address());
    let headers = client.headers(&Value::Null);
    let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    http.send(method, "/mcp", &headers, "");
    http
}

pub(crate) fn delete(server: &TestServer, client: &Client) -> Response {
    on_session(server, client, "DELETE").read()
}

/// Opens the stream of a session, and reads its head and its first comment.
pub(crate) fn listen(server: &TestServer, client: &Client) -> Http {
    let asked = Instant::now();
    let mut stream = on_session(server, client, "GET");
    check_stream("GET", &stream.read_head());
    assert!(carries_nothing(&stream.read_chunk().unwrap()));
    assert!(asked.elapsed() < ALLOWANCE, "the first bytes took long");
    stream
}

/// True for a comment, and for the empty event that a stream begins with which can be resumed.
fn carries_nothing(chunk: &[u8]) -> bool {
    let chunk = std::str::from_utf8(chunk).unwrap();
    chunk == ":\n\n" || (chunk.starts_with("id: ") && chunk.ends_with("\ndata: \n\n"))
}

/// Checks the head of an event stream.
pub(crate) fn check_stream(name: &str, head: &Response) {
    assert_eq!(head.status, 200, "{name}: {head:?}");
    let headers = [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ];
    for (header, value) in headers {
        assert_eq!(head.header(header), Some(value), "{name}");
    }
}

pub(crate) fn ping(client: &Client) -> Response {
    client.request("ping", &json!({}))
}

pub(crate) fn check_gone(name: &str, client: &Client) {
    let response = ping(client);
    assert_eq!(response.status, 404, "{name}: {response:?}");
    assert_eq!(response.error_code(), Some(-32001), "{name}");
}

/// The log line of the end of a client's session, once it is there.
pub(crate) fn end_of_session(server: &TestServer, client: &Client) -> Value {
    let session = format!("\"session\":\"{}\"", &client.session()[..8]);
    let line = eventually(|| {
        let log = server.log();
        let mut ends = log.iter().filter(|line| line.contains("session ended"));
        ends.find(|line| line.contains(&session)).cloned()
    });
    serde_json::from_str(&line.expect("the end of the session in the log")).unwrap()
}

/// The log lines of the ends of sessions, once there are so many. More must not come.
pub(crate) fn ends_of_sessions(server: &TestServer, count: usize) -> Vec<Value> {
    let ends = || {
        let log = server.log();
        let ends = log.iter().filter(|line| line.contains("session ended"));
        ends.map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<_>>()
    };
    eventually(|| (ends().len() >= count).then_some(()));
    let ends = ends();
    assert_eq!(ends.len(), count, "{ends:?}");
    ends
}

pub(crate) fn is_event_stream(response: &Response) -> bool {
    response.header("content-type") == Some("text/event-stream")
}

/// Session rule A1.
#[test]
fn a_call_may_take_longer_than_a_session_may_be_idle() {
    let modes: [(&[&str], bool); 2] = [
        (&["--json-response"], false),
        (&["--heartbeat", "200ms"], true),
    ];
    let body = |(options, streamed): (&[&str], bool)| {
        let options = [options, &["--session-idle-timeout", "2s"]].concat();
        let server = serve(&options);
        let client = server.client(Era::Legacy);
        let gate = Gate::new(&server, "gate");
        let mut call = client.start_call(7, "gate", &gate.arguments());
        gate.wait();
        thread::sleep(Duration::from_millis(4500));
        gate.open();
        let response = call.read();
        assert_eq!(response.status, 200, "{options:?}");
        assert_eq!(is_event_stream(&response), streamed, "{options:?}");
        let message = response.json();
        assert_eq!(message["id"], 7, "{options:?}");
        assert_eq!(message["result"]["content"][0]["text"], "through");
        // The countdown starts at the end of the call, and then there is one.
        assert_eq!(client.call_text("echo", &json!({"text": "x"})), "x");
        assert_eq!(end_of_session(&server, &client)["reason"], "idle");
        check_gone("after the call", &client);
    };
    at_once(&[&|| body(modes[0]), &|| body(modes[1])]);
}

const IDLE: Duration = Duration::from_millis(2500);

fn a_silent_session_ends(server: &TestServer) {
    let client = server.client(Era::Legacy);
    let answered = Instant::now();
    let ended = end_of_session(server, &client);
    let idle = answered.elapsed();
    assert_eq!(ended["reason"], "idle");
    assert!(idle > IDLE * 2 / 3, "{idle:?}");
    assert!(idle < IDLE + ALLOWANCE, "{idle:?}");
    let age = ended["age_seconds"].as_f64().unwrap();
    assert!(age >= IDLE.as_secs_f64(), "{age}");
    check_gone("silence", &client);
}

fn an_expired_session_is_gone(server: &TestServer) {
    let client = server.client(Era::Legacy);
    thread::sleep(IDLE + Duration::from_millis(100));
    check_gone("silence", &client);
}

fn an_open_stream_holds_a_session(server: &TestServer) {
    let client = server.client(Era::Legacy);
    let stream = listen(server, &client);
    thread::sleep(3 * IDLE);
    assert_eq!(client.call_text("echo", &json!({"text": "x"})), "x");
    drop(stream);
    let closed = Instant::now();
    assert_eq!(end_of_session(server, &client)["reason"], "idle");
    let idle = closed.elapsed();
    assert!(idle > IDLE * 9 / 10, "{idle:?}");
    assert!(idle < IDLE + ALLOWANCE, "{idle:?}");
    check_gone("after the stream", &client);
}

fn pings_keep_a_session(server: &TestServer) {
    let client = server.client(Era::Legacy);
    for _ in 0..10 {
        thread::sleep(IDLE / 5);
        assert_eq!(ping(&client).status, 200);
    }
}

fn refused_requests_do_not_keep_a_session(server: &TestServer) {
    let client = server.client(Era::Legacy);
    let started = Instant::now();
    let message = client.message(1, "ping", &json!({}));
    while started.elapsed() < IDLE + Duration::from_millis(100) {
        let mut headers = client.headers(&message);
        headers.push(("Origin", "https://evil.example".to_owned()));
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let mut http = Http::connect(server.address());
        let refused = http.request("POST", "/mcp", &headers, &message.to_string());
        assert_eq!(refused.status, 403);
        thread::sleep(IDLE / 10);
    }
    check_gone("refused requests", &client);
}

/// Session rules A3, A4 and A8.
#[test]
fn a_session_ends_when_nobody_uses_it() {
    let server = serve(&["--session-idle-timeout", "2500ms", "--heartbeat", "100ms"]);
    at_once(&[
        &|| a_silent_session_ends(&server),
        &|| an_expired_session_is_gone(&server),
        &|| an_open_stream_holds_a_session(&server),
        &|| pings_keep_a_session(&server),
        &|| refused_requests_do_not_keep_a_session(&server),
    ]);
}

/// Session rules C1, C2 and D4.
#[test]
fn the_newest_stream_of_a_session_wins() {
    let server = serve(&[]);
    let client = server.client(Era::Legacy);
    let asked = Instant::now();
    let mut first = listen(&server, &client);
    let mut second = listen(&server, &client);
    assert_eq!(first.read_chunk(), None, "the first stream ends cleanly");
    let other = server.client(Era::Legacy);
    let mut stream_of_other = listen(&server, &other);
    let mut third = listen(&server, &client);
    assert_eq!(second.read_chunk(), None, "the second stream ends cleanly");

    assert_eq!(delete(&server, &client).status, 204);
    assert_eq!(third.read_chunk(), None, "DELETE ends the stream cleanly");
    // None of this waited for a heartbeat.
    assert!(asked.elapsed() < Duration::from_secs(14));
    let refused = on_session(&server, &client, "GET").read();
    assert_eq!(refused.status, 404);

    assert_eq!(ping(&other).status, 200);
    assert_eq!(delete(&server, &other).status, 204);
    assert_eq!(stream_of_other.read_chunk(), None);
}

/// Session rules C3 and C6.
#[test]
fn a_silent_stream_gets_heartbeats() {
    let server = serve(&["--heartbeat", "100ms"]);
    let legacy = server.client(Era::Legacy);
    let asked = Instant::now();
    let mut stream = listen(&server, &legacy);
    for _ in 0..4 {
        assert_eq!(stream.read_chunk().unwrap(), b":\n\n");
    }
    let elapsed = asked.elapsed();
    assert!(elapsed >= Duration::from_millis(400), "{elapsed:?}");
    for era in ERAS {
        let client = server.client(era);
        let name = format!("{era:?}");
        let gate = Gate::new(&server, &name);
        let mut call = client.start_call(5, "gate", &gate.arguments());
        check_stream(&name, &call.read_head());
        for _ in 0..4 {
            assert!(carries_nothing(&call.read_chunk().unwrap()), "{name}");
        }
        gate.open();
        let mut events = Vec::new();
        while let Some(chunk) = call.read_chunk() {
            events.push(String::from_utf8(chunk).unwrap());
        }
        let reply = events.pop().expect("a reply");
        assert!(events.iter().all(|event| event == ":\n\n"), "{events:?}");
        let (_, data) = reply.split_once("event: message\ndata: ").unwrap();
        let message: Value = serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap();
        assert_eq!(message["id"], 5, "{name}");
        assert_eq!(message["result"]["content"][0]["text"], "through", "{name}");
        // A session without a stream outlives heartbeats.
        thread::sleep(Duration::from_millis(400));
        assert_eq!(client.call_text("echo", &json!({"text": "x"})), "x");
    }
}

/// Session rule C8.
#[test]
fn an_answer_is_a_stream_only_if_it_takes_longer_than_a_heartbeat() {
    let cases: [(&[&str], Duration, bool); 4] = [
        (&[], Duration::ZERO, false),
        (&[], Duration::from_millis(500), false),
        (&["--heartbeat", "200ms"], Duration::from_secs(1), true),
        (
            &["--heartbeat", "200ms", "--json-response"],
            Duration::from_secs(1),
            false,
        ),
    ];
    let body = |(options, duration, streamed): (&[&str], Duration, bool)| {
        let server = serve(options);
        for era in ERAS {
            let client = server.client(era);
            let gate = Gate::new(&server, &format!("{era:?}"));
            let mut call = client.start_call(1, "gate", &gate.arguments());
            gate.wait();
            thread::sleep(duration);
            gate.open();
            let response = call.read();
            assert_eq!(response.status, 200, "{era:?} {options:?} {duration:?}");
            assert_eq!(
                is_event_stream(&response),
                streamed,
                "{era:?} {options:?} {duration:?}"
            );
            let message = response.json();
            assert_eq!(message["result"]["content"][0]["text"], "through");
            assert_eq!(response.header("mcp-session-id"), None, "{era:?}");
        }
    };
    at_once(&[
        &|| body(cases[0]),
        &|| body(cases[1]),
        &|| body(cases[2]),
        &|| {
            body(cases[3]);
        },
    ]);
}

/// Session rules D1 and D2.
#[test]
fn deleting_a_session_ends_its_calls_with_an_answer() {
    let modes: [(&[&str], bool); 2] = [
        (&["--json-response"], false),
        (&["--heartbeat", "100ms"], true),
    ];
    for (options, streamed) in modes {
        let server = serve(options);
        let client = server.client(Era::Legacy);
        let other = server.client(Era::Legacy);
        let gate = Gate::new(&server, "gate");
        let gate_of_other = Gate::new(&server, "other");
        let mut call = client.start_call(7, "gate", &gate.arguments());
        let mut call_of_other = other.start_call(7, "gate", &gate_of_other.arguments());
        gate.wait();
        gate_of_other.wait();
        let head = streamed.then(|| call.read_head());
        let asked = Instant::now();
        assert_eq!(delete(&server, &client).status, 204, "{options:?}");
        let response = reply(&mut call, head);
        assert!(asked.elapsed() < ALLOWANCE, "{options:?}");
        assert_eq!(response.status, 200, "{options:?}");
        assert_eq!(is_event_stream(&response), streamed, "{options:?}");
        assert_eq!(response.json()["id"], 7, "{options:?}");
        assert_eq!(response.error_code(), Some(-32603), "{options:?}");
        for _ in 0..2 {
            assert_eq!(delete(&server, &client).status, 404, "{options:?}");
        }
        check_gone("DELETE", &client);
        let ended = end_of_session(&server, &client);
        assert_eq!(ended["reason"], "client_delete", "{options:?}");
        // What ran in the other session goes on.
        gate_of_other.open();
        let message = call_of_other.read().json();
        assert_eq!(message["result"]["content"][0]["text"], "through");
        let left = eventually(|| server.descendants().is_empty().then_some(()));
        assert!(left.is_some(), "{options:?}: processes are left");
        let statistics = server.statistics();
        assert_eq!(statistics["sessions_ended"]["client_delete"], 1);
        assert_eq!(statistics["active_sessions"], 1);
    }
}

#[test]
fn a_session_of_a_token_needs_the_token() {
    let server = TestServer::with_token(&tools(), &[]);
    let owner = Client::new(&server, Era::Legacy, Some(TOKEN));
    let wrong = "wrong-token-wrong-token-wrong";
    for token in [None, Some(wrong)] {
        for method in ["POST", "GET", "DELETE"] {
            let name = format!("{method} with {token:?}");
            let message = owner.message(1, "ping", &json!({}));
            let mut headers = owner.headers(&message);
            headers.retain(|(header, _)| *header != "Authorization");
            if let Some(token) = token {
                headers.push(("Authorization", format!("Bearer {token}")));
            }
            let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let mut http = Http::connect(server.address());
            let refused = http.request(method, "/mcp", &headers, &message.to_string());
            assert_eq!(refused.status, 401, "{name}");
            let challenge = refused.header("www-authenticate").expect("a challenge");
            assert!(challenge.starts_with("Bearer "), "{name}: {challenge}");
        }
    }
    assert_eq!(ping(&owner).status, 200);
    let log = server.log().join("\n");
    assert!(!log.contains(TOKEN) && !log.contains(wrong), "{log}");
    assert!(!log.contains(owner.session()), "{log}");
}

/// Session rule F1.
#[test]
fn calls_with_one_id_each_get_their_own_answer() {
    let server = serve(&[]);
    for era in ERAS {
        let client = server.client(era);
        let gate = Gate::new(&server, &format!("{era:?}"));
        let mut slow = client.start_call(777, "gate", &gate.arguments());
        gate.wait();
        let quick = client.start_call(777, "echo", &json!({"text": "quick"}));
        let quick = { quick }.read().json();
        assert_eq!(quick["id"], 777, "{era:?}");
        assert_eq!(quick["result"]["content"][0]["text"], "quick", "{era:?}");
        gate.open();
        let slow = slow.read().json();
        assert_eq!(slow["id"], 777, "{era:?}");
        assert_eq!(slow["result"]["content"][0]["text"], "through", "{era:?}");
    }
}

/// Session rule F1.
#[test]
fn a_cancellation_reaches_every_call_of_its_id_in_its_session_only() {
    let server = serve(&[]);
    let client = server.client(Era::Legacy);
    let other = server.client(Era::Legacy);
    let gates = ["a", "b", "kept", "other"].map(|name| Gate::new(&server, name));
    let mut calls = [
        client.start_call(7, "gate", &gates[0].arguments()),
        client.start_call(7, "gate", &gates[1].arguments()),
        client.start_call(8, "gate", &gates[2].arguments()),
        other.start_call(7, "gate", &gates[3].arguments()),
    ];
    for gate in &gates {
        gate.wait();
    }
    for id in [json!("7"), json!(9), json!(null), json!(7)] {
        let params = json!({"requestId": id});
        let cancelled =
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
        assert_eq!(client.post_message(&cancelled).status, 202, "{id}");
    }
    for call in &mut calls[..2] {
        let response = call.read();
        assert_eq!(response.error_code(), Some(-32603), "{response:?}");
        assert_eq!(response.json()["id"], 7);
    }
    gates[2].open();
    gates[3].open();
    for call in &mut calls[2..] {
        let message = call.read().json();
        assert_eq!(message["result"]["content"][0]["text"], "through");
    }
}

/// Session rule C5.
#[test]
fn a_stateless_server_has_no_sessions() {
    let server = serve(&["--stateless"]);
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut http = Http::connect(server.address());
        let mut post = |message: &Value, extra: &[(&str, &str)]| {
            let mut headers = vec![
                ("Content-Type", "application/json"),
                ("Accept", "application/json, text/event-stream"),
            ];
            headers.extend_from_slice(extra);
            http.request("POST", "/mcp", &headers, &message.to_string())
        };
        let opened = post(&initialize(version), &[]);
        assert_eq!(opened.status, 200, "{version}");
        assert_eq!(opened.json()["result"]["protocolVersion"], version);
        assert_eq!(opened.header("mcp-session-id"), None, "{version}");
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let headers: [&[(&str, &str)]; 3] = [
            &[],
            &[("MCP-Protocol-Version", version)],
            &[
                ("MCP-Protocol-Version", version),
                ("Mcp-Session-Id", "stale"),
            ],
        ];
        for headers in headers {
            let name = format!("{version} {headers:?}");
            assert_eq!(post(&initialized, headers).status, 202, "{name}");
            let params = json!({"name": "echo", "arguments": {"text": "x"}});
            let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
            let called = post(&call, headers);
            assert_eq!(called.json()["result"]["content"][0]["text"], "x", "{name}");
            let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
            assert_eq!(post(&list, headers).status, 200, "{name}");
        }
        for method in ["GET", "DELETE"] {
            let headers = [
                ("Accept", "text/event-stream"),
                ("MCP-Protocol-Version", version),
                ("Mcp-Session-Id", "stale"),
            ];
            let refused = http.request(method, "/mcp", &headers, "");
            assert_eq!(refused.status, 405, "{method} {version}");
            assert_eq!(refused.header("allow"), Some("POST"), "{method} {version}");
        }
    }
    let modern = server.client(Era::Modern);
    assert_eq!(modern.call_text("echo", &json!({"text": "x"})), "x");
}

/// Session rule B5.
#[test]
fn a_full_server_refuses_politely_and_recovers() {
    let server = serve(&["--max-sessions", "2"]);
    let first = server.client(Era::Legacy);
    let second = server.client(Era::Legacy);
    let mut http = Http::connect(server.address());
    let headers = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
    ];
    let message = initialize("2025-11-25").to_string();
    for _ in 0..3 {
        let refused = http.request("POST", "/mcp", &headers, &message);
        assert_eq!(refused.status, 503, "{refused:?}");
        let seconds = refused.header("retry-after").expect("Retry-After");
        assert!(seconds.parse::<u32>().unwrap() > 0, "{seconds}");
        assert_eq!(refused.header("mcp-session-id"), None);
        assert_eq!(refused.error_code(), Some(-32603));
        let said = text(&refused.json()["error"]["message"]);
        assert!(!said.contains(|c: char| c.is_ascii_digit()), "{said}");
    }
    assert_eq!(ping(&first).status, 200);
    let modern = server.client(Era::Modern);
    assert_eq!(modern.call_text("echo", &json!({"text": "x"})), "x");
    assert_eq!(delete(&server, &first).status, 204);
    let third = server.client(Era::Legacy);
    for client in [&second, &third] {
        assert_eq!(ping(client).status, 200);
    }
    let statistics = server.statistics();
    assert_eq!(statistics["sessions_rejected"]["max_sessions"], 3);
    assert_eq!(statistics["active_sessions"], 2);
}

#[test]
fn sigusr1_writes_statistics() {
    let server = serve(&["--session-idle-timeout", "3s", "--max-sessions", "50"]);
    let statistics = server.statistics();
    assert_eq!(statistics["active_sessions"], 0);
    assert_eq!(statistics["max_active_sessions"], 50);
    assert_eq!(statistics["session_idle_timeout"], 3.0);

    let busy = server.client(Era::Legacy);
    let deleted = server.client(Era::Legacy);
    let idle = server.client(Era::Legacy);
    let gate = Gate::new(&server, "gate");
    let mut call = busy.start_call(1, "gate", &gate.arguments());
    gate.wait();
    assert_eq!(delete(&server, &deleted).status, 204);
    end_of_session(&server, &idle);
    let statistics = server.statistics();
    let expected = [
        ("/active_sessions", 1),
        ("/sessions/busy", 1),
        ("/sessions/idle", 0),
        ("/total_sessions_created", 3),
        ("/sessions_ended/client_delete", 1),
        ("/sessions_ended/idle", 1),
        ("/sessions_ended/shutdown", 0),
        ("/sessions_reaped_total", 1),
        ("/sessions_rejected/max_sessions", 0),
        ("/lookups_failed/unknown", 0),
    ];
    for (pointer, value) in expected {
        let found = statistics.pointer(pointer).and_then(Value::as_i64);
        assert_eq!(found, Some(value), "{pointer}: {statistics}");
    }
    gate.open();
    call.read();
}

/// What the server sends to a stream until it ends cleanly, without comments.
fn rest_of_stream(stream: &mut Http) -> Vec<String> {
    let mut events = Vec::new();
    while let Some(chunk) = stream.read_chunk() {
        events.push(String::from_utf8(chunk).unwrap());
    }
    events.retain(|event| !carries_nothing(event.as_bytes()));
    events
}

/// Calls in flight in both eras: one whose answer is a stream already, and one still silent.
fn calls_in_flight(server: &TestServer) -> Vec<(String, Gate, Http, Option<Response>)> {
    let mut calls = Vec::new();
    for streamed in [true, false] {
        for era in ERAS {
            let name = format!("{era:?}-{streamed}");
            let gate = Gate::new(server, &name);
            let mut call = server.client(era).start_call(7, "gate", &gate.arguments());
            gate.wait();
            let head = streamed.then(|| call.read_head());
            if let Some(head) = &head {
                check_stream(&name, head);
            }
            calls.push((name, gate, call, head));
        }
    }
    calls
}

/// The reply to a call, whose head may have been read already.
pub(crate) fn reply(call: &mut Http, head: Option<Response>) -> Response {
    let Some(mut response) = head else {
        return call.read();
    };
    while let Some(chunk) = call.read_chunk() {
        response.body.extend(chunk);
    }
    response
}

/// Session rule G3.
#[test]
fn a_stopping_server_finishes_what_it_took() {
    let mut server = serve(&["--heartbeat", "1s"]);
    let listener = server.client(Era::Legacy);
    let mut stream = listen(&server, &listener);
    let mut kept = Http::connect(server.address());
    assert_eq!(kept.request("GET", "/readyz", &[], "").status, 200);
    let calls = calls_in_flight(&server);
    let processes = server.descendants();
    assert!(processes.len() >= calls.len(), "{processes:?}");

    server.signal("TERM");
    server.wait_for_log("\"message\":\"shutdown\"");
    assert_eq!(rest_of_stream(&mut stream), ["retry: 3000\n\n"]);
    assert_eq!(kept.read_line(), None, "an idle connection is closed");
    for (path, status) in [("/readyz", 503), ("/healthz", 200)] {
        let response = Http::connect(server.address()).request("GET", path, &[], "");
        assert_eq!(response.status, status, "{path}");
    }
    let modern = server.client(Era::Modern);
    for (name, message) in [
        ("initialize", initialize("2025-11-25")),
        ("legacy", listener.message(1, "ping", &json!({}))),
        ("modern", modern.message(1, "tools/list", &json!({}))),
    ] {
        let client = if name == "modern" { &modern } else { &listener };
        let refused = client.post_message(&message);
        assert_eq!(refused.status, 503, "{name}: {refused:?}");
        assert!(refused.header("retry-after").is_some(), "{name}");
        assert_eq!(refused.header("connection"), Some("close"), "{name}");
        assert_eq!(refused.error_code(), Some(-32603), "{name}");
        assert_eq!(refused.header("mcp-session-id"), None, "{name}");
    }

    let opened = Instant::now();
    for (name, gate, mut call, head) in calls {
        gate.open();
        let response = reply(&mut call, head);
        assert_eq!(response.status, 200, "{name}");
        let message = response.json();
        assert_eq!(message["id"], 7, "{name}");
        assert_eq!(message["result"]["content"][0]["text"], "through", "{name}");
    }
    assert_eq!(server.wait().code(), Some(0));
    assert!(opened.elapsed() < Duration::from_secs(20));
    wait_for_ends(&processes, "drain");
    let complete = server.wait_for_log("shutdown complete");
    let complete: Value = serde_json::from_str(&complete).unwrap();
    assert_eq!(
        (&complete["drained"], &complete["cut"]),
        (&json!(4), &json!(0))
    );
    let statistics = statistics_of(&server.wait_for_log("final session statistics"));
    assert_eq!(statistics["active_sessions"], 0);
    assert_eq!(statistics["sessions_ended"]["shutdown"], 3);
}

/// Session rule G3, at the deadline.
#[test]
fn a_call_that_outlasts_the_drain_gets_an_answer() {
    let modes: [&[&str]; 2] = [&["--json-response"], &["--heartbeat", "100ms"]];
    let body = |options: &[&str]| {
        let mut server = serve(&[options, &["--drain-timeout", "1s"]].concat());
        let mut calls = Vec::new();
        for era in ERAS {
            let gate = Gate::new(&server, &format!("{era:?}"));
            let mut call = server.client(era).start_call(7, "gate", &gate.arguments());
            gate.wait();
            let head = options.contains(&"--heartbeat").then(|| call.read_head());
            calls.push((era, call, head));
        }
        let processes = server.descendants();
        server.signal("TERM");
        for (era, mut call, head) in calls {
            let streamed = head.is_some();
            let response = reply(&mut call, head);
            let status = match era {
                Era::Modern if !streamed => 503,
                _ => 200,
            };
            assert_eq!(response.status, status, "{era:?} {options:?}");
            assert_eq!(response.error_code(), Some(-32603), "{era:?} {options:?}");
            assert_eq!(response.json()["id"], 7, "{era:?} {options:?}");
            assert_eq!(call.read_line(), None, "{era:?} {options:?}");
        }
        assert_eq!(server.wait().code(), Some(0), "{options:?}");
        wait_for_ends(&processes, &format!("{options:?}"));
    };
    at_once(&[&|| body(modes[0]), &|| body(modes[1])]);
}

/// Session rule G3, the second signal.
#[test]
fn a_second_signal_ends_everything_at_once() {
    let body = |signal: &str, code: i32| {
        let mut server = serve(&[]);
        let mut calls = Vec::new();
        for era in ERAS {
            let gate = Gate::new(&server, &format!("{era:?}"));
            let call = server
                .client(era)
                .start_call(7, "stubborn", &gate.arguments());
            gate.wait();
            calls.push(call);
        }
        let processes = server.descendants();
        assert!(processes.len() >= 2, "{signal}: {processes:?}");
        server.signal(signal);
        server.wait_for_log("\"message\":\"shutdown\"");
        let again = Instant::now();
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(code), "{signal}");
        let elapsed = again.elapsed();
        assert!(elapsed < ALLOWANCE, "{signal}: {elapsed:?}");
        wait_for_ends(&processes, signal);
    };
    at_once(&[&|| body("TERM", 143), &|| body("INT", 130)]);
}

/// Stops a server to which these connections are open, on none of which it owes an answer.
fn check_stops_at_once(connections: &[(&str, Option<&[u8]>)]) {
    let body = |name: &str, bytes: Option<&[u8]>| {
        let mut server = serve(&[]);
        let client = server.client(Era::Legacy);
        let connection = bytes.map(|bytes| {
            let mut http = Http::connect(server.address());
            http.write(bytes);
            if bytes.ends_with(b"\r\n\r\n") {
                http.read();
            }
            http
        });
        // The server has taken the connection when it has served a later one.
        assert_eq!(ping(&client).status, 200);
        server.signal("TERM");
        let ended = server.wait_for_at_most(ALLOWANCE);
        let code = ended.map(|status| status.code());
        assert_eq!(code, Some(Some(0)), "{name}");
        drop(connection);
    };
    thread::scope(|scope| {
        for (name, bytes) in connections {
            scope.spawn(move || body(name, *bytes));
        }
    });
}

#[test]
fn a_server_with_nothing_to_do_stops_at_once() {
    check_stops_at_once(&[
        ("no connection", None),
        (
            "a used connection",
            Some(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
        ),
        ("a silent connection", Some(b"")),
    ]);
}

#[test]
fn a_connection_without_a_whole_request_does_not_keep_the_server() {
    check_stops_at_once(&[
        ("half a request line", Some(b"POST /m")),
        (
            "half a header",
            Some(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX"),
        ),
    ]);
}

#[test]
fn a_request_that_never_came_whole_is_no_call_that_was_cut() {
    let mut server = serve(&["--drain-timeout", "1s"]);
    let client = server.client(Era::Legacy);
    let mut http = Http::connect(server.address());
    http.write(
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
          Accept: */*\r\nContent-Length: 1000\r\n\r\n{",
    );
    assert_eq!(ping(&client).status, 200);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

/// Session rule G3, the exit code.
#[test]
fn a_client_that_does_not_take_its_answer_is_counted() {
    let mut server = serve(&["--drain-timeout", "1s"]);
    let gate = Gate::new(&server, "long");
    let client = server.client(Era::Legacy);
    let mut call = Http::connect_narrow(server.address());
    let params = json!({"name": "long", "arguments": gate.arguments()});
    client.send_on(&mut call, &client.message(7, "tools/call", &params));
    gate.wait();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(1));
    let complete = server.wait_for_log("shutdown complete");
    let complete: Value = serde_json::from_str(&complete).unwrap();
    assert_eq!(complete["cut"], 1, "{complete}");
    drop(call);
}
