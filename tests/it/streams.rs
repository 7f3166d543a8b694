//! Event streams: what a call says before its result, clients that come back or do not read, and
//! what the streams of a session are to it. The real binary over real sockets.

use std::thread;
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::lifecycle::{check_stream, delete, end_of_session, on_session, ping};
use crate::metrics::{Samples, descriptors, memory, monitor_of, scrape, value, wait_for};
use crate::support::{
    ALLOWANCE, Client, GATE, Gate, Http, PATIENCE, Response, TestServer, eventually, initialize,
    text, wait_for_ends, write_script,
};

const LEGACY: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

fn tools() -> String {
    format!(
        "
name: streams-test
defaults: {{messages: true, workdir: .}}
tools:
  echo:
    description: Prints its argument.
    effect: read
    exec: printf %s {{text}}
    params: {{text: string}}
  five:
    description: Reports five steps at once.
    exec: ./five.sh
  steps:
    description: Reports a step, waits for its gate, and reports another.
    exec: ./steps.sh {{path}}
    params: {{path: string}}
  big:
    description: Reports a step, then prints a lot.
    exec: ./big.sh {{bytes}}
    params: {{bytes: integer}}
    max_output: 16MiB
  flood:
    description: Reports many large steps, and does not end.
    exec: ./flood.sh
{GATE}"
    )
}

const STEP: &str =
    r#"step() { printf '{"mcp":"progress","progress":%s,"total":5,"message":"%s"}\n' "$@"; }"#;

/// A server with a listener for metrics.
fn serve(options: &[&str]) -> TestServer {
    let all = ["--metrics-listen", "127.0.0.1:0"];
    TestServer::start_with(&tools(), &[&all, options].concat(), |prepare| {
        let scripts = [
            ("five.sh", "for n in 1 2 3 4 5; do step $n n$n; done; printf done".to_owned()),
            (
                "steps.sh",
                "step 1 one; touch \"$1.started\"; until [ -e \"$1.open\" ] || [ ! -e \"$1.started\" ]; do sleep 0.02; done
                 step 2 two; printf through; touch \"$1.over\""
                    .to_owned(),
            ),
            ("big.sh", "step 1 one; head -c \"$1\" /dev/zero | tr '\\0' y".to_owned()),
            // Ten reports go out at once. The text is as long as may be, and longer in JSON.
            (
                "flood.sh",
                format!(
                    "text='{}'; n=0
                     while [ $n -lt 300 ]; do n=$((n+1)); step $n \"$text\"; [ $n -lt 40 ] || sleep 0.1; done",
                    "\\u0001".repeat(4096)
                ),
            ),
        ];
        for (name, body) in scripts {
            write_script(prepare.folder, name, &format!("{STEP}\n{body}"));
        }
    })
}

/// A client in a session of this version.
fn session(server: &TestServer, version: &str) -> Client {
    let client = server.client(Era::Legacy);
    let opened = client.post_message(&initialize(version));
    client.with_session(opened.header("mcp-session-id").unwrap())
}

/// A client of every revision.
fn everyone(server: &TestServer) -> Vec<(&'static str, Client)> {
    let legacy = LEGACY.map(|version| (version, session(server, version)));
    let modern = ("2026-07-28", server.client(Era::Modern));
    legacy.into_iter().chain([modern]).collect()
}

/// A call that wants progress, if it has a token.
fn call(client: &Client, id: u64, tool: &str, arguments: &Value, token: Option<&Value>) -> Value {
    let params = json!({"name": tool, "arguments": arguments});
    let mut message = client.message(id, "tools/call", &params);
    if let Some(token) = token {
        message["params"]["_meta"]["progressToken"] = token.clone();
    }
    message
}

/// An event of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sent {
    pub(crate) id: Option<String>,
    retry: Option<String>,
    data: Option<String>,
}

impl Sent {
    pub(crate) fn message(&self) -> Value {
        serde_json::from_str(self.data.as_deref().expect("data")).unwrap()
    }

    /// True for the event that a stream begins with which can be resumed.
    pub(crate) fn is_empty(&self) -> bool {
        self.data.as_deref() == Some("")
    }

    pub(crate) fn id(&self) -> &str {
        self.id.as_deref().expect("an id")
    }
}

/// A client that reads a stream event by event.
#[derive(Debug)]
pub(crate) struct Sse {
    http: Http,
    /// What is to come of a body that says its length.
    length: Option<usize>,
    unread: String,
}

impl Sse {
    /// Reads the head of a stream that must be one.
    pub(crate) fn read(name: &str, mut http: Http) -> Self {
        let head = http.read_head();
        check_stream(name, &head);
        let length = head.header("content-length");
        Self {
            http,
            length: length.map(|length| length.parse().unwrap()),
            unread: String::new(),
        }
    }

    /// More bytes, or `None` at the clean end.
    fn more(&mut self) -> Option<Vec<u8>> {
        match &mut self.length {
            None => self.http.read_chunk(),
            Some(0) => None,
            Some(length) => {
                let bytes = self.http.read_exactly(*length);
                *length = 0;
                Some(bytes)
            }
        }
    }

    /// Calls a tool with the token `"p"`.
    fn call(server: &TestServer, client: &Client, id: u64, tool: &str, arguments: &Value) -> Self {
        let mut http = Http::connect(server.address());
        let token = json!("p");
        client.send_on(&mut http, &call(client, id, tool, arguments, Some(&token)));
        Self::read(tool, http)
    }

    /// Opens a stream with GET, from an event on if one is given.
    pub(crate) fn get(server: &TestServer, client: &Client, last_event_id: Option<&str>) -> Self {
        Self::read("GET", get(server, client, last_event_id))
    }

    /// The next block of lines, or `None` at the clean end.
    fn block(&mut self) -> Option<Sent> {
        let end = loop {
            if let Some(end) = self.unread.find("\n\n") {
                break end;
            }
            let Some(chunk) = self.more() else {
                assert_eq!(self.unread, "", "the stream ends inside an event");
                return None;
            };
            self.unread += std::str::from_utf8(&chunk).unwrap();
        };
        let rest = self.unread.split_off(end + 2);
        let block = std::mem::replace(&mut self.unread, rest);
        let mut sent = Sent::default();
        for line in block.trim_end_matches('\n').lines() {
            match line.split_once(':').map(|(k, v)| (k, v.trim_start())) {
                Some(("id", id)) => sent.id = Some(id.to_owned()),
                Some(("retry", retry)) => sent.retry = Some(retry.to_owned()),
                Some(("data", data)) => sent.data = Some(data.to_owned()),
                Some(("event", "message") | ("", "")) => {}
                other => panic!("{other:?} in {block:?}"),
            }
        }
        Some(sent)
    }

    /// The next block that is no comment.
    pub(crate) fn next(&mut self) -> Option<Sent> {
        let asked = Instant::now();
        loop {
            assert!(asked.elapsed() < PATIENCE, "nothing but comments");
            let sent = self.block()?;
            if sent != Sent::default() {
                return Some(sent);
            }
        }
    }

    /// The event that a stream begins with which can be resumed.
    fn beginning(&mut self) -> String {
        let first = self.block().unwrap();
        assert_eq!(first.data.as_deref(), Some(""), "{first:?}");
        first.id().to_owned()
    }

    /// What comes until the clean end.
    pub(crate) fn rest(mut self) -> Vec<Sent> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

fn get(server: &TestServer, client: &Client, last_event_id: Option<&str>) -> Http {
    let mut headers = client.headers(&Value::Null);
    headers.extend(last_event_id.map(|id| ("Last-Event-ID", id.to_owned())));
    let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let mut http = Http::connect(server.address());
    http.send("GET", &client.path, &headers, "");
    http
}

/// How far the progress among some events has come, and the result that they end with.
fn outcome(events: &[Sent], id: u64) -> (Vec<u64>, String) {
    let (last, before) = events.split_last().expect("events");
    let progress = before.iter().map(|sent| {
        let message = sent.message();
        assert_eq!(message["method"], "notifications/progress", "{message}");
        message["params"]["progress"].as_u64().unwrap()
    });
    let last = last.message();
    assert_eq!(last["id"], id, "{last}");
    let content = &last["result"]["content"][0]["text"];
    (progress.collect(), text(content))
}

fn ids(events: &[Sent]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|sent| sent.id.as_deref())
        .collect()
}

fn closed(samples: &Samples, kind: &str, reason: &str) -> f64 {
    let series = format!("stream_closed_total{{kind=\"{kind}\",reason=\"{reason}\"}}");
    value(samples, &series)
}

fn is(value: f64, expected: u32) -> bool {
    (value - f64::from(expected)).abs() < 0.5
}

/// Waits until no stream is open and nothing waits for a reader.
fn wait_for_quiet(server: &TestServer) -> Samples {
    let series = [
        "streams{kind=\"get\"}",
        "streams{kind=\"post\"}",
        "stream_buffered_bytes",
        "requests_in_flight{era=\"session\"}",
        "requests_in_flight{era=\"stateless\"}",
    ];
    wait_for(&monitor_of(server), "quiet", |samples| {
        series.iter().all(|series| is(value(samples, series), 0))
    })
}

/// Progress in every revision, and session rule C8: JSON unless the call speaks.
#[test]
fn a_call_that_speaks_is_answered_with_a_stream() {
    let server = serve(&[]);
    let tokens = [
        json!("p"),
        json!(""),
        json!("7"),
        json!(7),
        json!(0),
        json!(-1),
    ];
    for (version, client) in everyone(&server) {
        for token in &tokens {
            let name = format!("{version} {token}");
            let mut http = Http::connect(server.address());
            client.send_on(
                &mut http,
                &call(&client, 5, "five", &json!({}), Some(token)),
            );
            let mut stream = Sse::read(&name, http);
            let has_ids = version == "2025-11-25";
            if has_ids {
                stream.beginning();
            }
            let events = stream.rest();
            let expected = ((1..=5).collect(), "done".to_owned());
            assert_eq!(outcome(&events, 5), expected, "{name}");
            assert_eq!(ids(&events).len(), if has_ids { 6 } else { 0 }, "{name}");
            for (number, sent) in (1..=5).zip(&events) {
                let expected = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                    "params": {"progressToken": token, "progress": number, "total": 5,
                        "message": format!("n{number}")}});
                assert_eq!(sent.message(), expected, "{name}");
            }
        }
        // The connection serves on.
        let mut http = Http::connect(server.address());
        for token in [None, Some(json!(1)), None, Some(json!(2))] {
            client.send_on(
                &mut http,
                &call(&client, 6, "five", &json!({}), token.as_ref()),
            );
            let response = http.read();
            let expected = if token.is_some() {
                "text/event-stream"
            } else {
                "application/json"
            };
            assert_eq!(
                response.header("content-type"),
                Some(expected),
                "{version} {token:?}"
            );
            assert_eq!(
                response.json()["result"]["content"][0]["text"],
                "done",
                "{version}"
            );
        }
        // A token alone makes no stream.
        let token = json!(1);
        let silent = call(&client, 7, "echo", &json!({"text": "x"}), Some(&token));
        let response = client.post_message(&silent);
        assert_eq!(
            response.header("content-type"),
            Some("application/json"),
            "{version}"
        );
    }
    let samples = wait_for_quiet(&server);
    assert!(
        is(closed(&samples, "post", "complete"), 4 * 8),
        "{samples:#?}"
    );
}

/// Session rule C8, `--json-response`.
#[test]
fn with_json_response_nothing_is_said_before_the_result() {
    let server = serve(&["--json-response", "--heartbeat", "100ms"]);
    for (version, client) in everyone(&server) {
        for token in [None, Some(json!("p"))] {
            let name = format!("{version} {token:?}");
            let gate = Gate::new(&server, &format!("{version}-{}", token.is_some()));
            let mut http = Http::connect(server.address());
            client.send_on(
                &mut http,
                &call(&client, 5, "steps", &gate.arguments(), token.as_ref()),
            );
            gate.wait();
            thread::sleep(Duration::from_millis(300));
            gate.open();
            let response = http.read();
            assert_eq!(response.status, 200, "{name}");
            assert_eq!(
                response.header("content-type"),
                Some("application/json"),
                "{name}"
            );
            assert_eq!(
                response.json()["result"]["content"][0]["text"],
                "through",
                "{name}"
            );
        }
    }
    let client = session(&server, "2025-03-26");
    let token = json!(1);
    let batch = json!([call(&client, 1, "five", &json!({}), Some(&token))]);
    let response = client.post_message(&batch);
    assert_eq!(response.json()[0]["result"]["content"][0]["text"], "done");
    let samples = wait_for_quiet(&server);
    assert!(is(closed(&samples, "post", "complete"), 0), "{samples:#?}");
}

/// Session rule C8 in a batch of 2025-03-26 (F5).
#[test]
fn a_batch_with_a_call_that_speaks_is_a_stream() {
    let server = serve(&[]);
    let client = session(&server, "2025-03-26");
    let batch = |token: Option<&Value>| {
        json!([
            call(&client, 1, "five", &json!({}), token),
            client.message(2, "ping", &json!({})),
            call(
                &client,
                3,
                "five",
                &json!({}),
                token.map(|_| json!("other")).as_ref()
            ),
            call(&client, 4, "echo", &json!({"text": "x"}), None),
        ])
    };
    let plain = client.post_message(&batch(None));
    assert_eq!(plain.header("content-type"), Some("application/json"));
    assert_eq!(plain.json().as_array().unwrap().len(), 4);

    let mut http = Http::connect(server.address());
    client.send_on(&mut http, &batch(Some(&json!(1))));
    let messages: Vec<_> = Sse::read("batch", http)
        .rest()
        .iter()
        .map(Sent::message)
        .collect();
    assert_eq!(messages.len(), 5 + 5 + 4, "{messages:#?}");
    for (id, token) in [(1, json!(1)), (3, json!("other"))] {
        let of_call: Vec<_> = messages
            .iter()
            .filter(|message| message["id"] == id || message["params"]["progressToken"] == token)
            .map(|message| message["params"]["progress"].as_u64())
            .collect();
        let expected = [Some(1), Some(2), Some(3), Some(4), Some(5), None];
        assert_eq!(of_call, expected, "its result comes behind its progress");
    }
    for id in [2, 4] {
        let replies = messages.iter().filter(|message| message["id"] == id);
        assert_eq!(replies.count(), 1, "{id}");
    }
    assert!(
        messages.last().unwrap()["id"].is_u64(),
        "a reply is the last"
    );
    wait_for_quiet(&server);
}

/// Session rule C1, also when the streams of a client race; session rule D4.
#[test]
fn of_streams_opened_at_once_one_stays() {
    const STREAMS: u32 = 8;
    let server = serve(&["--heartbeat", "100ms"]);
    let address = monitor_of(&server);
    for version in ["2025-06-18", "2025-11-25"] {
        let before = scrape(&address);
        let since = |samples: &Samples, reason: &str| {
            closed(samples, "get", reason) - closed(&before, "get", reason)
        };
        let client = session(&server, version);
        let streams: Vec<_> = thread::scope(|scope| {
            let open = |_| scope.spawn(|| Sse::get(&server, &client, None));
            let opening: Vec<_> = (0..STREAMS).map(open).collect();
            opening.into_iter().map(|one| one.join().unwrap()).collect()
        });
        wait_for(&address, "one stream", |samples| {
            is(value(samples, "streams{kind=\"get\"}"), 1)
                && is(since(samples, "takeover"), STREAMS - 1)
        });
        assert_eq!(ping(&client).status, 200, "{version}");
        let asked = Instant::now();
        assert_eq!(delete(&server, &client).status, 204, "{version}");
        for stream in streams {
            let rest = stream.rest();
            // At most what it began with: nothing was said, and no end is a reset.
            assert!(
                rest.iter().all(|sent| sent.data.as_deref() == Some("")),
                "{rest:?}"
            );
        }
        assert!(asked.elapsed() < ALLOWANCE, "{version}");
        let samples = wait_for_quiet(&server);
        assert!(
            is(since(&samples, "session_end"), 1),
            "{version} {samples:#?}"
        );
    }
}

/// Session rule C4.
#[test]
fn a_stream_ends_at_its_age_and_the_session_goes_on() {
    const AGE: Duration = Duration::from_secs(1);
    let server = serve(&["--stream-max-age", "1s", "--stream-retry", "1500ms"]);
    let ages: Vec<Duration> = thread::scope(|scope| {
        let one = |number: usize| {
            let client = session(&server, ["2025-06-18", "2025-11-25"][number % 2]);
            let opened = Instant::now();
            let mut stream = Sse::get(&server, &client, None);
            let beginning = (number % 2 == 1).then(|| stream.beginning());
            let rest = stream.rest();
            let age = opened.elapsed();
            let retry: Vec<_> = rest.iter().map(|sent| sent.retry.as_deref()).collect();
            assert_eq!(retry, [Some("1500")], "{rest:?}");
            assert_eq!(ping(&client).status, 200);
            // A client that can says what it saw last.
            let mut again = Sse::get(&server, &client, beginning.as_deref());
            assert!(again.block().is_some());
            assert_eq!(delete(&server, &client).status, 204);
            assert_eq!(again.rest(), []);
            age
        };
        let threads: Vec<_> = (0..10)
            .map(|number| scope.spawn(move || one(number)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let (least, most) = (*ages.iter().min().unwrap(), *ages.iter().max().unwrap());
    assert!(least >= AGE * 9 / 10, "{ages:?}");
    assert!(most < AGE * 11 / 10 + ALLOWANCE, "{ages:?}");
    assert!(
        most > least + AGE / 50,
        "they do not end together: {ages:?}"
    );
    let samples = wait_for_quiet(&server);
    assert!(is(closed(&samples, "get", "max_age"), 10), "{samples:#?}");
    assert!(
        is(closed(&samples, "get", "session_end"), 10),
        "{samples:#?}"
    );
}

/// Session rule C5, over sockets: nothing stays open.
#[test]
fn a_stream_where_there_is_none_is_refused_and_leaves_nothing() {
    let stateless = serve(&["--stateless"]);
    let stateful = serve(&[]);
    let live = stateful.client(Era::Legacy);
    let cases = [
        (
            "stateless legacy",
            &stateless,
            stateless.client(Era::Legacy),
        ),
        (
            "stateless modern",
            &stateless,
            stateless.client(Era::Modern),
        ),
        (
            "modern",
            &stateful,
            stateful.client(Era::Modern).with_session(live.session()),
        ),
    ];
    for (name, server, client) in cases {
        let idle = descriptors(server);
        let mut open = Vec::new();
        for round in 0..20 {
            for method in ["GET", "DELETE"] {
                let headers = client.headers(&json!({"method": "tools/list"}));
                let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
                let mut http = Http::connect(server.address());
                let refused = http.request(method, "/mcp", &headers, "");
                assert_eq!(refused.status, 405, "{name} {method}");
                assert_eq!(refused.header("allow"), Some("POST"), "{name} {method}");
                assert_ne!(refused.header("content-type"), Some("text/event-stream"));
                // The connection is good for more.
                assert_eq!(
                    http.request("GET", "/healthz", &[], "").status,
                    200,
                    "{name}"
                );
                if round % 2 == 0 {
                    open.push(http);
                }
            }
        }
        drop(open);
        let gone = eventually(|| (descriptors(server) <= idle).then_some(()));
        assert!(gone.is_some(), "{name}: descriptors are left");
        let samples = wait_for_quiet(server);
        for reason in ["client", "complete", "session_end"] {
            assert!(is(closed(&samples, "get", reason), 0), "{name} {reason}");
        }
    }
    assert_eq!(ping(&live).status, 200, "a modern DELETE ends no session");
}

/// Starts a call of `steps` and reads its stream up to the first step. Returns the stream, the id
/// of its beginning, and that of the step.
fn first_step(server: &TestServer, client: &Client, id: u64, gate: &Gate) -> (Sse, String, String) {
    let mut stream = Sse::call(server, client, id, "steps", &gate.arguments());
    let beginning = stream.beginning();
    let step = stream.next().unwrap();
    assert_eq!(step.message()["params"]["progress"], 1);
    let step = step.id().to_owned();
    gate.wait();
    (stream, beginning, step)
}

/// Waits until a call of `steps` is over for its session.
fn wait_for_no_call(server: &TestServer) {
    wait_for(&monitor_of(server), "over", |samples| {
        is(value(samples, "requests_in_flight{era=\"session\"}"), 0)
    });
}

/// Session rule C9 (a) and (f): a client that lost its connection gets the rest of its stream.
#[test]
fn a_client_that_lost_its_connection_goes_on_with_its_stream() {
    let server = serve(&["--heartbeat", "100ms"]);
    let client = session(&server, "2025-11-25");
    let mut own = Sse::get(&server, &client, None);
    own.beginning();
    let through = |steps: &[u64]| (steps.to_vec(), "through".to_owned());

    // While the call runs, once from its last event and once from the beginning.
    for from_beginning in [false, true] {
        let gates = ["a", "b"].map(|name| Gate::new(&server, &format!("{name}{from_beginning}")));
        let (stream, beginning, step) = first_step(&server, &client, 1, &gates[0]);
        let (other, _, step_of_other) = first_step(&server, &client, 2, &gates[1]);
        assert_ne!(step, step_of_other);
        drop(stream);
        let from = if from_beginning { &beginning } else { &step };
        let mut resumed = Sse::get(&server, &client, Some(from));
        if from_beginning {
            let again = resumed.next().unwrap();
            assert_eq!(again.id(), step, "an event keeps its id");
        }
        // A call of the same session goes on meanwhile, on its own stream.
        gates[1].open();
        assert_eq!(outcome(&other.rest(), 2), through(&[2]));
        gates[0].open();
        let events = resumed.rest();
        assert_eq!(outcome(&events, 1), through(&[2]));
        let mut seen = vec![beginning.as_str(), &step];
        seen.extend(ids(&events));
        assert_eq!(seen.len(), 4);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 4, "no id stands for two events");
        // And again, when the call is over.
        wait_for_no_call(&server);
        for _ in 0..2 {
            let again = Sse::get(&server, &client, Some(&beginning)).rest();
            assert_eq!(outcome(&again, 1), through(&[1, 2]));
            let rest = Sse::get(&server, &client, Some(&step)).rest();
            assert_eq!(rest, events, "the same events under the same ids");
        }
        let last = events.last().unwrap().id();
        assert_eq!(Sse::get(&server, &client, Some(last)).rest(), []);
    }

    // Nobody was there when the call ended.
    let gate = Gate::new(&server, "alone");
    let (stream, _, step) = first_step(&server, &client, 3, &gate);
    drop(stream);
    gate.open();
    wait_for_no_call(&server);
    let events = Sse::get(&server, &client, Some(&step)).rest();
    assert_eq!(outcome(&events, 3), through(&[2]));

    // The server may not know yet that the first connection is lost.
    let gate = Gate::new(&server, "taken");
    let (stream, _, step) = first_step(&server, &client, 4, &gate);
    let resumed = Sse::get(&server, &client, Some(&step));
    assert_eq!(stream.rest(), [], "it ends cleanly");
    gate.open();
    assert_eq!(outcome(&resumed.rest(), 4), through(&[2]));

    // None of this took over the session's own stream.
    assert_eq!(own.block(), Some(Sent::default()), "a comment");
    assert_eq!(delete(&server, &client).status, 204);
    assert_eq!(own.rest(), []);
    assert_eq!(get(&server, &client, Some(&step)).read().status, 404);
    let samples = wait_for_quiet(&server);
    assert!(is(closed(&samples, "post", "takeover"), 1), "{samples:#?}");
    assert!(is(closed(&samples, "get", "takeover"), 0), "{samples:#?}");
}

/// Session rule C9 (a): whether the call ends before, while or after its client comes back.
#[test]
fn a_client_that_comes_back_as_its_call_ends_gets_the_result_once() {
    const CLIENTS: usize = 4;
    const ROUNDS: u64 = 15;
    let server = serve(&[]);
    let body = |number: usize| {
        let client = session(&server, "2025-11-25");
        for round in 0..ROUNDS {
            let gate = Gate::new(&server, &format!("{number}-{round}"));
            let (stream, _, step) = first_step(&server, &client, round, &gate);
            drop(stream);
            let events = thread::scope(|scope| {
                scope.spawn(|| {
                    // The tool looks for its gate every 20 ms.
                    thread::sleep(Duration::from_millis(round * 2));
                    gate.open();
                });
                thread::sleep(Duration::from_millis(25));
                Sse::get(&server, &client, Some(&step)).rest()
            });
            let expected = (vec![2], "through".to_owned());
            assert_eq!(outcome(&events, round), expected, "{number} {round}");
        }
    };
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            scope.spawn(move || body(number));
        }
    });
    let samples = wait_for_quiet(&server);
    let whole = f64::from(u32::try_from(CLIENTS).unwrap()) * 15.0;
    assert!(
        (closed(&samples, "get", "complete") - whole).abs() < 0.5,
        "{samples:#?}"
    );
}

/// Session rule D1, for calls that have spoken, one of which its client came back for.
#[test]
fn deleting_a_session_ends_the_streams_of_its_calls_with_an_answer() {
    let server = serve(&[]);
    for version in LEGACY {
        let client = session(&server, version);
        let gates = ["kept", "lost"].map(|name| Gate::new(&server, &format!("{version}-{name}")));
        let mut kept = Sse::call(&server, &client, 1, "steps", &gates[0].arguments());
        let mut streams = Vec::new();
        if version == "2025-11-25" {
            kept.beginning();
            let (lost, _, step) = first_step(&server, &client, 2, &gates[1]);
            drop(lost);
            streams.push((2, Sse::get(&server, &client, Some(&step))));
        }
        assert_eq!(kept.next().unwrap().message()["params"]["progress"], 1);
        streams.push((1, kept));
        gates[0].wait();
        let processes = server.descendants();
        let asked = Instant::now();
        assert_eq!(delete(&server, &client).status, 204, "{version}");
        for (id, stream) in streams {
            let rest = stream.rest();
            assert_eq!(rest.len(), 1, "{version}: {rest:?}");
            let message = rest[0].message();
            assert_eq!(message["id"], id, "{version}");
            assert_eq!(message["error"]["code"], -32603, "{version}");
        }
        let took = asked.elapsed();
        assert!(took < Duration::from_millis(200) + ALLOWANCE, "{took:?}");
        wait_for_ends(&processes, version);
    }
    let samples = wait_for_quiet(&server);
    assert!(is(closed(&samples, "post", "complete"), 3), "{samples:#?}");
    assert!(is(closed(&samples, "get", "complete"), 1), "{samples:#?}");
}

/// Opens a stream with an id that names nothing, and checks that it is a fresh one.
fn check_fresh(name: &str, server: &TestServer, client: &Client, id: &str) -> Sse {
    let mut stream = Sse::get(server, client, Some(id));
    assert_ne!(stream.beginning(), id, "{name}");
    assert_eq!(
        stream.block(),
        Some(Sent::default()),
        "{name}: nothing is replayed"
    );
    stream
}

/// Session rule C9 (b), (c) and (d): other ids are as good as none.
#[test]
fn an_unknown_event_id_opens_a_fresh_stream() {
    let server = serve(&["--heartbeat", "100ms"]);
    let client = session(&server, "2025-11-25");
    let other = session(&server, "2025-11-25");
    let gate = Gate::new(&server, "other");
    let (stream_of_other, beginning, step) = first_step(&server, &other, 1, &gate);
    let mut own = Sse::get(&server, &client, None);
    own.beginning();
    let ahead = format!("{step}9");
    let long = "x".repeat(8000);
    let ids = [
        "garbage", "0", "0-0-0", "-", "\u{e9}", "a b", &ahead, &beginning, &step, &long,
    ];
    for id in ids {
        let fresh = check_fresh(id, &server, &client, id);
        // It is the session's stream, so it takes the one before it over.
        assert_eq!(own.rest(), [], "{id}");
        own = fresh;
    }
    gate.open();
    let expected = (vec![2], "through".to_owned());
    assert_eq!(outcome(&stream_of_other.rest(), 1), expected);
    assert_eq!(ping(&client).status, 200);
}

/// Session rule C9: only 2025-11-25 has ids, and only with a buffer.
#[test]
fn streams_that_cannot_be_resumed_have_no_ids() {
    let with = serve(&["--heartbeat", "100ms"]);
    let without = serve(&["--heartbeat", "100ms", "--resume-buffer", "0"]);
    for (server, version) in [
        (&with, "2025-03-26"),
        (&with, "2025-06-18"),
        (&without, "2025-06-18"),
        (&without, "2025-11-25"),
    ] {
        let client = session(server, version);
        let events = Sse::call(server, &client, 1, "five", &json!({})).rest();
        assert_eq!(outcome(&events, 1).0.len(), 5, "{version}");
        assert_eq!(ids(&events), [""; 0], "{version}");
        for id in [None, Some("1-1-1")] {
            let mut stream = Sse::get(server, &client, id);
            for _ in 0..3 {
                assert_eq!(stream.block(), Some(Sent::default()), "{version} {id:?}");
            }
        }
    }
    let modern = with.client(Era::Modern);
    let events = Sse::call(&with, &modern, 1, "five", &json!({})).rest();
    assert_eq!(ids(&events), [""; 0]);
}

/// Session rule C9 (e): what does not fit is not kept, and takes nothing from others.
#[test]
fn a_result_larger_than_the_buffer_reaches_a_client_that_stays() {
    const BYTES: usize = 100_000;
    let server = serve(&["--heartbeat", "100ms", "--resume-buffer", "4KiB"]);
    let client = session(&server, "2025-11-25");
    let gate = Gate::new(&server, "other");
    let (other, beginning_of_other, _) = first_step(&server, &client, 1, &gate);
    drop(other);
    let mut stream = Sse::call(&server, &client, 2, "big", &json!({"bytes": BYTES}));
    let beginning = stream.beginning();
    let events = stream.rest();
    let (progress, result) = outcome(&events, 2);
    assert_eq!((progress, result.len()), (vec![1], BYTES));
    wait_for(&monitor_of(&server), "one call", |samples| {
        is(value(samples, "requests_in_flight{era=\"session\"}"), 1)
    });
    for id in [&beginning, events[0].id()] {
        drop(check_fresh("large", &server, &client, id));
    }
    gate.open();
    wait_for_no_call(&server);
    let events = Sse::get(&server, &client, Some(&beginning_of_other)).rest();
    assert_eq!(outcome(&events, 1), (vec![1, 2], "through".to_owned()));
    assert_eq!(delete(&server, &client).status, 204);
    wait_for_quiet(&server);
}

/// Session rule C9 (e): progress makes room before results do, and nobody loses a result by it.
#[test]
fn progress_that_was_not_kept_costs_no_result() {
    let server = serve(&["--heartbeat", "100ms", "--resume-buffer", "1KiB"]);
    let client = session(&server, "2025-11-25");
    let gate = Gate::new(&server, "gate");
    let (stream, beginning, _) = first_step(&server, &client, 1, &gate);
    drop(stream);
    let mut finished = Vec::new();
    for id in [2, 3] {
        let mut stream = Sse::call(&server, &client, id, "five", &json!({}));
        finished.push((id, stream.beginning()));
        assert_eq!(outcome(&stream.rest(), id).0.len(), 5);
    }
    gate.open();
    wait_for_no_call(&server);
    let events = Sse::get(&server, &client, Some(&beginning)).rest();
    assert_eq!(outcome(&events, 1), (vec![2], "through".to_owned()));
    for (id, beginning) in finished {
        let events = Sse::get(&server, &client, Some(&beginning)).rest();
        assert_eq!(outcome(&events, id).1, "done");
    }
}

fn check_quick(name: &str, client: &Client) {
    let asked = Instant::now();
    assert_eq!(
        client.call_text("echo", &json!({"text": "x"})),
        "x",
        "{name}"
    );
    let took = asked.elapsed();
    assert!(took < ALLOWANCE, "{name}: {took:?}");
}

/// Session rule C7, with a call that reports much to a client that does not read.
#[test]
fn a_client_that_does_not_read_harms_nobody() {
    const CALLS: u64 = 40;
    // What the calls themselves need, and what the allocator keeps for each thread.
    const MOST_KIB: u64 = 16 * 1024;
    let server = serve(&["--tcp-user-timeout", "2s", "--stream-buffer", "64KiB"]);
    let address = monitor_of(&server);
    let dropped =
        |samples: &Samples| value(samples, "stream_dropped_messages_total{kind=\"progress\"}");
    let client = session(&server, "2025-03-26");
    let other = server.client(Era::Legacy);
    let modern = server.client(Era::Modern);
    check_quick("before", &client);
    let before = memory(&server, "VmRSS");
    // About forty megabytes at once, on one stream.
    let batch: Vec<_> = (0..CALLS)
        .map(|id| call(&client, id, "flood", &json!({}), Some(&json!(id))))
        .collect();
    let mut slow = Http::connect_narrow(server.address());
    client.send_on(&mut slow, &json!(batch));
    let asked = Instant::now();
    let mut most = 0;
    loop {
        for (name, client) in [("own", &client), ("other", &other), ("modern", &modern)] {
            check_quick(name, client);
        }
        let samples = scrape(&address);
        let buffered = value(&samples, "stream_buffered_bytes");
        assert!(buffered <= 65536.0, "{buffered}");
        most = most.max(memory(&server, "VmRSS"));
        if is(closed(&samples, "post", "slow"), 1) {
            assert!(dropped(&samples) > 50.0, "{samples:#?}");
            break;
        }
        assert!(asked.elapsed() < PATIENCE, "{samples:#?}");
    }
    assert!(asked.elapsed() > Duration::from_secs(2));
    assert!(most < before + MOST_KIB, "{before} KiB, then {most} KiB");
    // The calls go on without it, until their session ends.
    assert_eq!(delete(&server, &client).status, 204);
    let samples = wait_for_quiet(&server);
    assert!(is(closed(&samples, "post", "client"), 0), "{samples:#?}");
    drop(slow);
}

/// Session rule C7: a result is held apart, and is counted as waiting until it was taken.
#[test]
fn a_large_result_waits_for_a_slow_client_only_so_long() {
    // More than the sockets between a server and its client hold.
    const BYTES: usize = 5_000_000;
    let server = serve(&["--tcp-user-timeout", "1s"]);
    let address = monitor_of(&server);
    let arguments = json!({"bytes": BYTES});
    let clients = everyone(&server).split_off(2);
    for (number, (version, client)) in (1..).zip(clients) {
        let mut slow = Http::connect_narrow(server.address());
        let message = call(&client, 1, "big", &arguments, Some(&json!("p")));
        client.send_on(&mut slow, &message);
        let asked = Instant::now();
        wait_for(&address, "slow", |samples| {
            check_quick(version, &client);
            is(closed(samples, "post", "slow"), number)
        });
        assert!(asked.elapsed() > Duration::from_secs(1), "{version}");
        let samples = wait_for_quiet(&server);
        assert!(
            is(value(&samples, "sessions{state=\"busy\"}"), 0),
            "{version}"
        );
        if version != "2026-07-28" {
            assert_eq!(
                ping(&client).status,
                200,
                "{version}: it has no say in the session"
            );
        }
        // One that reads late gets all of it.
        let mut late = Http::connect(server.address());
        client.send_on(&mut late, &message);
        thread::sleep(Duration::from_millis(300));
        let events = Sse::read(version, late).rest();
        let (_, result) = outcome(&events[usize::from(version == "2025-11-25")..], 1);
        assert_eq!(result.len(), BYTES, "{version}");
    }
    wait_for_quiet(&server);
}

/// A modern client closes its stream to cancel the call (A7), wherever its stream is.
#[test]
fn a_modern_call_ends_with_its_stream() {
    let server = serve(&[]);
    let client = server.client(Era::Modern);
    let gate = Gate::new(&server, "read");
    let mut stream = Sse::call(&server, &client, 1, "steps", &gate.arguments());
    assert_eq!(stream.next().unwrap().message()["params"]["progress"], 1);
    gate.wait();
    let flood = Sse::call(&server, &client, 2, "flood", &json!({}));
    let processes = server.descendants();
    assert!(processes.len() >= 2, "{processes:?}");
    let closed_at = Instant::now();
    drop((stream, flood));
    wait_for_ends(&processes, "modern");
    let took = closed_at.elapsed();
    assert!(took < Duration::from_millis(200) + ALLOWANCE, "{took:?}");
    let samples = wait_for_quiet(&server);
    assert!(is(
        closed(&samples, "post", "client") + closed(&samples, "post", "write_error"),
        2
    ));
    assert!(!server.folder().join("read.over").exists());
}

/// Session rules G1 and G2: a modern request with the id of a session is none of its requests.
#[test]
fn modern_requests_do_not_keep_a_session() {
    const IDLE: Duration = Duration::from_secs(1);
    let server = serve(&["--session-idle-timeout", "1s"]);
    let address = monitor_of(&server);
    let legacy = server.client(Era::Legacy);
    let opened = Instant::now();
    let modern = server.client(Era::Modern).with_session(legacy.session());
    let gate = Gate::new(&server, "gate");
    let mut running = Sse::call(&server, &modern, 1, "steps", &gate.arguments());
    while opened.elapsed() < IDLE * 9 / 10 {
        let listed = modern.request("tools/list", &json!({}));
        assert_eq!(listed.status, 200);
        assert_eq!(listed.header("mcp-session-id"), None);
        assert_eq!(modern.call_text("echo", &json!({"text": "x"})), "x");
        let samples = scrape(&address);
        for state in ["busy", "streaming"] {
            assert!(is(
                value(&samples, &format!("sessions{{state=\"{state}\"}}")),
                0
            ));
        }
        thread::sleep(IDLE / 10);
    }
    let ended = end_of_session(&server, &legacy);
    let age = opened.elapsed();
    assert!(age < IDLE + ALLOWANCE, "{age:?}");
    assert_eq!(ended["reason"], "idle");
    assert_eq!(ended["requests"], 0, "{ended}");
    assert_eq!(ping(&legacy).status, 404);
    // What the end of the session is to a modern call: nothing.
    assert_eq!(modern.call_text("echo", &json!({"text": "x"})), "x");
    assert_eq!(running.next().unwrap().message()["params"]["progress"], 1);
    gate.open();
    assert_eq!(outcome(&running.rest(), 1), (vec![2], "through".to_owned()));
}

/// Session rule G3, of streams: calls that speak go on to, new streams are refused.
#[test]
fn streams_of_a_stopping_server() {
    let mut server = serve(&["--stream-retry", "1200ms"]);
    let client = session(&server, "2025-11-25");
    let mut own = Sse::get(&server, &client, None);
    own.beginning();
    let mut calls = Vec::new();
    for (version, client) in everyone(&server) {
        let gate = Gate::new(&server, version);
        let mut stream = Sse::call(&server, &client, 1, "steps", &gate.arguments());
        if version == "2025-11-25" {
            stream.beginning();
        }
        assert_eq!(stream.next().unwrap().message()["params"]["progress"], 1);
        calls.push((version, gate, stream));
    }
    let gate = Gate::new(&server, "resumed");
    let (stream, _, step) = first_step(&server, &client, 2, &gate);
    drop(stream);
    let resumed = Sse::get(&server, &client, Some(&step));
    server.signal("TERM");
    let rest = own.rest();
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(rest[0].retry.as_deref(), Some("1200"));
    for id in [None, Some(step.as_str())] {
        let refused: Response = get(&server, &client, id).read();
        assert_eq!(refused.status, 503, "{id:?}");
        assert!(refused.header("retry-after").is_some(), "{id:?}");
        assert_eq!(refused.header("connection"), Some("close"), "{id:?}");
    }
    for (version, gate, stream) in calls {
        gate.open();
        let expected = (vec![2], "through".to_owned());
        assert_eq!(outcome(&stream.rest(), 1), expected, "{version}");
    }
    gate.open();
    assert_eq!(outcome(&resumed.rest(), 2), (vec![2], "through".to_owned()));
    assert_eq!(server.wait().code(), Some(0));
}

/// Session rule G4: the session of another replica is an unknown one.
#[test]
fn a_session_of_another_replica_is_unknown() {
    let replicas = [serve(&[]), serve(&[])];
    let clients = replicas.each_ref().map(|server| server.client(Era::Legacy));
    let stranger = clients[1].with_session(clients[0].session());
    let unknown = clients[1].with_session(&"0".repeat(clients[0].session().len()));
    for method in ["GET", "DELETE"] {
        let answers =
            [&stranger, &unknown].map(|client| on_session(&replicas[1], client, method).read());
        for answer in &answers {
            assert_eq!(answer.status, 404, "{method}");
            assert_eq!(answer.error_code(), Some(-32001), "{method}");
        }
        assert_eq!(answers[0].body, answers[1].body, "{method}");
    }
    for message in [
        stranger.message(1, "ping", &json!({})),
        call(&stranger, 1, "echo", &json!({"text": "x"}), None),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
    ] {
        let answer = stranger.post_message(&message);
        assert_eq!(
            (answer.status, answer.error_code()),
            (404, Some(-32001)),
            "{message}"
        );
        assert_eq!(
            answer.body,
            unknown.post_message(&message).body,
            "{message}"
        );
    }
    for client in &clients {
        assert_eq!(ping(client).status, 200);
    }
}
