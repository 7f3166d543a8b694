//! How long a session lives, and that everything which ends it agrees: the real binary over raw
//! sockets.
//!
//! Two rules cannot be tested whole without privileges. Session rule A5: nobody but root can drop
//! packets, so `metrics.rs` tests the two parts, that the kernel watches each connection and that
//! a client which takes nothing is cut. Session rule A10: nobody but root can set the clock; the
//! countdown is on the monotonic clock, which `in_process.rs` and the unit tests move by hand.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::lifecycle::{
    at_once, check_gone, delete, end_of_session, ends_of_sessions, is_event_stream, listen,
    on_session, ping, reply,
};
use crate::metrics::{Samples, check_invariant, ended, monitor_of, scrape, sum, value, wait_for};
use crate::support::{
    ALLOWANCE, Client, GATE, Gate, Http, Response, TOKEN, TestServer, eventually, initialize, text,
};

/// How late the server may be with what it must do within 250 ms, by its own clock.
const LATE: Duration = ALLOWANCE.saturating_add(Duration::from_millis(250));

/// How late it may be with half of many such things, also on a busy machine.
const LATE_AS_A_RULE: Duration = Duration::from_millis(1250);

/// Both forms of an answer that takes long: the options, and whether it is an event stream.
const MODES: [(&[&str], bool); 2] = [
    (&["--json-response"], false),
    (&["--heartbeat", "100ms"], true),
];

const TOOLS: &str = r#"
name: sessions-test
tools:
  echo:
    description: Prints its argument.
    effect: read
    exec: printf %s {text}
    params: {text: string}
  mark:
    description: Leaves a mark, and says something before its result.
    messages: true
    exec:
      - sh
      - -c
      - 'echo "$1" >> marks; printf "\173\"mcp\":\"progress\",\"progress\":1\175\n"; printf ran'
      - sh
      - '{mark}'
    workdir: .
    params: {mark: string}
  gate_and_mark:
    description: Leaves a mark after its gate was opened.
    exec:
      - sh
      - -c
      - 'touch "$1.started"; until [ -e "$1.open" ] || [ ! -e "$1.started" ]; do sleep 0.02; done; touch "$1.done"'
      - sh
      - '{path}'
    params: {path: string}
"#;

fn tools() -> String {
    format!("{TOOLS}{GATE}")
}

fn serve(options: &[&str]) -> TestServer {
    let all = [
        "--metrics-listen",
        "127.0.0.1:0",
        "--max-sessions-per-principal",
        "0",
    ];
    TestServer::start(&tools(), &[&all, options].concat())
}

/// Opens a session on a connection, and nothing else. Returns its id, and when it was known.
fn open(http: &mut Http, headers: &[(&str, &str)]) -> (Response, Instant) {
    let mut all = vec![
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
    ];
    all.extend(headers);
    let body = initialize("2025-11-25").to_string();
    let response = http.request("POST", "/mcp", &all, &body);
    (response, Instant::now())
}

/// The id that an `initialize` was answered with.
fn id_of(response: &Response) -> String {
    assert_eq!(response.status, 200, "{response:?}");
    response.header("mcp-session-id").unwrap().to_owned()
}

fn sleep_until(at: Instant) {
    thread::sleep(at.saturating_duration_since(Instant::now()));
}

fn is_close(value: f64, expected: f64) -> bool {
    (value - expected).abs() < 0.5
}

/// The number of a log line's field.
fn number(line: &Value, field: &str) -> f64 {
    line[field].as_f64().unwrap()
}

const ROUNDS: usize = 6;
const RACERS: u32 = 64;

/// How long before the expiry the first call of a round is made; the last is made as long after it.
/// Each round begins earlier, for a machine on which everything comes late.
fn earliest(round: usize) -> Duration {
    Duration::from_millis(30) * u32::try_from(round + 1).unwrap()
}

/// Calls a tool in a session of its own, so long after it was opened. Returns whether the tool ran, as
/// the client is told.
fn call_at_expiry(
    server: &TestServer,
    template: &Client,
    when: Duration,
    mark: &str,
    streamed: bool,
) -> bool {
    let mut http = Http::connect(server.address());
    let (opened, at) = open(&mut http, &[]);
    let client = template.with_session(&id_of(&opened));
    let params = json!({
        "name": "mark", "arguments": {"mark": mark}, "_meta": {"progressToken": mark},
    });
    let message = client.message(1, "tools/call", &params);
    sleep_until(at + when);
    client.send_on(&mut http, &message);
    let response = http.read();
    match response.status {
        200 => {
            assert_eq!(is_event_stream(&response), streamed, "{mark}: {response:?}");
            let result = &response.json()["result"];
            assert_eq!(result["isError"], false, "{mark}: {response:?}");
            assert_eq!(result["content"][0]["text"], "ran", "{mark}: {response:?}");
            true
        }
        404 => {
            assert_eq!(response.error_code(), Some(-32001), "{mark}: {response:?}");
            false
        }
        _ => panic!("{mark}: {response:?}"),
    }
}

/// Session rule A2.
#[test]
fn a_call_at_the_expiry_runs_once_or_finds_no_session() {
    const IDLE: Duration = Duration::from_secs(1);
    let body = |(options, streamed): (&[&str], bool)| {
        let server = serve(&[options, &["--session-idle-timeout", "1s"]].concat());
        let template = server.client(Era::Legacy);
        let mut told = HashMap::new();
        for round in 0..ROUNDS {
            let outcomes = thread::scope(|scope| {
                let racers = (0..RACERS).map(|racer| {
                    let (server, template) = (&server, &template);
                    let mark = format!("{round}-{racer}");
                    let early = earliest(round);
                    let when = IDLE.saturating_sub(early) + early * 2 * racer / (RACERS - 1);
                    scope.spawn(move || {
                        let ran = call_at_expiry(server, template, when, &mark, streamed);
                        (mark, ran)
                    })
                });
                let racers: Vec<_> = racers.collect();
                let outcomes = racers.into_iter().map(|racer| racer.join().unwrap());
                outcomes.collect::<Vec<_>>()
            });
            told.extend(outcomes);
        }
        let ran = told.values().filter(|ran| **ran).count();
        let all = ROUNDS * RACERS as usize;
        assert!(ran > 0 && ran < all, "no race: {ran} of {all} ran");
        // Nothing runs any more.
        let over = eventually(|| server.descendants().is_empty().then_some(()));
        assert!(over.is_some(), "{options:?}: processes are left");
        let marks = fs::read_to_string(server.folder().join("marks")).unwrap();
        let mut runs: HashMap<&str, usize> = HashMap::new();
        for mark in marks.lines() {
            *runs.entry(mark).or_default() += 1;
        }
        for (mark, ran) in &told {
            let runs = runs.get(mark.as_str()).copied().unwrap_or_default();
            assert_eq!(runs, usize::from(*ran), "{options:?}: {mark}");
        }
        check_invariant(&scrape(&monitor_of(&server)));
    };
    at_once(&[&|| body(MODES[0]), &|| body(MODES[1])]);
}

/// Every session ends by the sweep within 250 ms, by the server's own clock and by the gauge.
fn sessions_end_when_they_should(server: &TestServer, idle: Duration) {
    const SESSIONS: usize = 20;
    let address = monitor_of(server);
    let mut last = Instant::now();
    for _ in 0..SESSIONS {
        (_, last) = open(&mut Http::connect(server.address()), &[]);
        thread::sleep(Duration::from_millis(20));
    }
    let samples = scrape(&address);
    if last.elapsed() < idle / 2 {
        assert!(check_invariant(&samples) >= 19.5, "too early: {samples:#?}");
    }
    wait_for(&address, "gone", |samples| {
        let longest = value(samples, "session_longest_idle_seconds");
        assert!(longest < (idle + LATE).as_secs_f64(), "{longest}");
        check_invariant(samples) < 0.5
    });
    let gone = last.elapsed();
    assert!(gone < idle + LATE, "{gone:?}");
    let mut ended_after = Vec::new();
    for end in ends_of_sessions(server, SESSIONS) {
        assert_eq!(end["reason"], "idle", "{end}");
        let seconds = number(&end, "idle_seconds");
        assert!(seconds >= idle.as_secs_f64(), "{end}");
        assert!(seconds < (idle + LATE).as_secs_f64(), "{end}");
        ended_after.push(seconds);
    }
    ended_after.sort_by(f64::total_cmp);
    let most = (idle + LATE_AS_A_RULE).as_secs_f64();
    assert!(ended_after[SESSIONS / 2] < most, "{ended_after:?}");
}

/// A server that cannot sweep does not serve an expired session either.
fn an_expired_session_is_gone_before_any_sweep(server: &TestServer, idle: Duration) {
    let template = server.client(Era::Legacy);
    let mut waiting: Vec<_> = (0..32)
        .map(|_| {
            let mut http = Http::connect(server.address());
            let (opened, at) = open(&mut http, &[]);
            (http, template.with_session(&id_of(&opened)), at)
        })
        .collect();
    let last = waiting.last().unwrap().2;
    sleep_until(last + idle.saturating_sub(Duration::from_millis(300)));
    server.freeze();
    for (number, (http, client, _)) in waiting.iter_mut().enumerate() {
        match number % 3 {
            0 => client.send_on(http, &client.message(1, "ping", &json!({}))),
            1 => {
                let params = json!({"name": "mark", "arguments": {"mark": "late"}});
                client.send_on(http, &client.message(1, "tools/call", &params));
            }
            _ => {
                let id = [("Mcp-Session-Id", client.session())];
                http.send("DELETE", "/mcp", &id, "");
            }
        }
    }
    sleep_until(last + idle + Duration::from_millis(100));
    server.signal("CONT");
    for (http, _, _) in &mut waiting {
        let response = http.read();
        assert_eq!(response.status, 404, "{response:?}");
        assert_eq!(response.error_code(), Some(-32001), "{response:?}");
    }
    assert!(!server.folder().join("marks").exists());
}

/// Session rule A3.
#[test]
fn a_session_ends_when_it_should() {
    let idle = Duration::from_secs(2);
    let options = ["--session-idle-timeout", "2s"];
    at_once(&[
        &|| sessions_end_when_they_should(&serve(&options), idle),
        &|| an_expired_session_is_gone_before_any_sweep(&serve(&options), idle),
    ]);
}

fn reset(http: Http) {
    rustix::net::sockopt::set_socket_linger(http.socket(), Some(Duration::ZERO)).unwrap();
    drop(http);
}

fn wait_for_file(file: &Path) {
    let found = eventually(|| file.exists().then_some(()));
    assert!(found.is_some(), "no {}", file.display());
}

/// Session rule A6.
#[test]
fn a_client_that_vanishes_mid_call_ends_neither_the_call_nor_the_session() {
    const IDLE: Duration = Duration::from_secs(1);
    let body = |(options, streamed): (&[&str], bool)| {
        let server = serve(&[options, &["--session-idle-timeout", "1s"]].concat());
        let address = monitor_of(&server);
        let client = server.client(Era::Legacy);
        let gate = Gate::new(&server, "vanish");
        let mut call = client.start_call(7, "gate_and_mark", &gate.arguments());
        gate.wait();
        if streamed {
            assert!(is_event_stream(&call.read_head()), "{options:?}");
        }
        reset(call);
        let lost = Instant::now();
        // Longer than an idle session lives.
        while lost.elapsed() < IDLE * 2 {
            let samples = scrape(&address);
            let busy = value(&samples, "sessions{state=\"busy\"}");
            assert!(is_close(busy, 1.0), "{options:?}: {samples:#?}");
            thread::sleep(Duration::from_millis(50));
        }
        gate.open();
        let opened = Instant::now();
        wait_for_file(&server.folder().join("vanish.done"));
        let end = end_of_session(&server, &client);
        assert!(opened.elapsed() >= IDLE * 9 / 10, "{options:?}: {end}");
        assert_eq!(end["reason"], "idle", "{options:?}: {end}");
        let idle = number(&end, "idle_seconds");
        assert!(idle >= IDLE.as_secs_f64(), "{options:?}: {end}");
        assert!(idle < (IDLE + LATE).as_secs_f64(), "{options:?}: {end}");
        let age = number(&end, "age_seconds");
        assert!(age >= (IDLE * 3).as_secs_f64(), "{options:?}: {end}");
    };
    at_once(&[&|| body(MODES[0]), &|| body(MODES[1])]);
}

/// Session rule A7.
#[test]
fn a_modern_client_that_vanishes_cancels_its_call() {
    for (options, streamed) in MODES {
        let server = serve(options);
        let client = server.client(Era::Modern);
        let gate = Gate::new(&server, "vanish");
        let mut call = client.start_call(7, "gate_and_mark", &gate.arguments());
        gate.wait();
        if streamed {
            assert!(is_event_stream(&call.read_head()), "{options:?}");
        }
        let closed = Instant::now();
        drop(call);
        let over = eventually(|| server.descendants().is_empty().then_some(()));
        assert!(over.is_some(), "{options:?}: the call goes on");
        let took = closed.elapsed();
        let rule = Duration::from_millis(200);
        assert!(took < rule + ALLOWANCE, "{options:?}: {took:?}");
        gate.open();
        server.wait_for_log("\"outcome\":\"cancelled by a lost connection\"");
        assert!(!server.folder().join("vanish.done").exists());
    }
}

/// Does something in a session again and again until its idle timeout has passed, and some more.
fn repeat(idle: Duration, what: impl Fn()) {
    let started = Instant::now();
    while started.elapsed() < idle + Duration::from_millis(100) {
        what();
        thread::sleep(idle / 12);
    }
}

/// Makes the headers of a request those of one that is refused.
type ChangeHeaders = dyn Fn(&mut Vec<(&str, String)>) + Sync;

/// Session rule A8.
#[test]
fn only_what_is_let_in_keeps_a_session() {
    let idle = Duration::from_secs(2);
    let server = TestServer::with_token(&tools(), &["--session-idle-timeout", "2s"]);
    let owner = || Client::new(&server, Era::Legacy, Some(TOKEN));
    let refused = |status: u16, change: &ChangeHeaders| {
        let client = owner();
        repeat(idle, || {
            for method in ["POST", "GET", "DELETE"] {
                let message = client.message(1, "ping", &json!({}));
                let mut headers = client.headers(&message);
                change(&mut headers);
                let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
                let mut http = Http::connect(server.address());
                let response = http.request(method, "/mcp", &headers, &message.to_string());
                assert_eq!(response.status, status, "{method}: {response:?}");
            }
        });
        check_gone("refused", &client);
    };
    let taken = |message: &Value, status: u16| {
        let client = owner();
        repeat(idle * 3 / 2, || {
            let response = client.post_message(message);
            assert_eq!(response.status, status, "{message}: {response:?}");
        });
        assert_eq!(ping(&client).status, 200, "{message}");
    };
    at_once(&[
        &|| {
            refused(401, &|headers| {
                headers.retain(|(name, _)| *name != "Authorization");
                let wrong = "Bearer wrong-token-wrong-token-wrong";
                headers.push(("Authorization", wrong.to_owned()));
            });
        },
        &|| {
            refused(401, &|headers| {
                headers.retain(|(name, _)| *name != "Authorization");
            });
        },
        &|| {
            refused(403, &|headers| {
                headers.push(("Origin", "https://evil.example".to_owned()));
            });
        },
        &|| {
            let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
            taken(&ping, 200);
        },
        &|| {
            let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress"});
            taken(&progress, 202);
        },
    ]);
}

/// Checks when and why a session ended.
fn check_end(server: &TestServer, client: &Client, reason: &str, age: Duration) {
    let end = end_of_session(server, client);
    assert_eq!(end["reason"], reason, "{end}");
    let seconds = number(&end, "age_seconds");
    assert!(seconds >= age.as_secs_f64(), "{end}");
    assert!(seconds < (age + LATE).as_secs_f64(), "{end}");
    check_gone(reason, client);
}

/// Session rule A9: neither a ping nor a notification is a call, and a call is for ever.
fn unused_sessions_end() {
    const UNUSED: Duration = Duration::from_secs(4);
    const SILENT: Duration = Duration::from_secs(2);
    let server = serve(&[
        "--session-unused-timeout=4s",
        "--session-init-timeout=2s",
        "--session-idle-timeout=1m",
    ]);
    let template = server.client(Era::Legacy);
    let silent = id_of(&open(&mut Http::connect(server.address()), &[]).0);
    let silent = template.with_session(&silent);
    let opened = Instant::now();
    let unused = server.client(Era::Legacy);
    let used = server.client(Era::Legacy);
    assert_eq!(used.call_text("echo", &json!({"text": "x"})), "x");
    let busy = server.client(Era::Legacy);
    let gate = Gate::new(&server, "busy");
    let mut call = busy.start_call(7, "gate", &gate.arguments());
    gate.wait();
    let listening = server.client(Era::Legacy);
    let stream = listen(&server, &listening);
    while opened.elapsed() < UNUSED / 2 {
        assert_eq!(ping(&unused).status, 200);
        thread::sleep(Duration::from_millis(100));
    }
    check_end(&server, &silent, "init_timeout", SILENT);
    check_end(&server, &unused, "unused", UNUSED);
    // The others are older now than an unused session may become.
    thread::sleep(UNUSED / 8);
    assert_eq!(ping(&used).status, 200);
    // One in use lives on until it is not. A call that was made counts, a stream does not.
    gate.open();
    let called = call.read().json();
    assert_eq!(called["result"]["content"][0]["text"], "through");
    assert_eq!(ping(&busy).status, 200);
    let listens = scrape(&monitor_of(&server));
    assert!(is_close(value(&listens, "streams{kind=\"get\"}"), 1.0));
    drop(stream);
    let end = end_of_session(&server, &listening);
    assert_eq!(end["reason"], "unused", "{end}");
    check_gone("unused", &listening);
    for client in [&used, &busy] {
        assert_eq!(ping(client).status, 200);
    }
}

/// A session that is too old takes nothing new, and finishes what runs.
fn old_sessions_finish_their_calls((options, streamed): (&[&str], bool)) {
    let age = Duration::from_secs(3);
    let server = serve(&[options, &["--session-max-age=3s"]].concat());
    let kept = server.client(Era::Legacy);
    let client = server.client(Era::Legacy);
    let listening = server.client(Era::Legacy);
    let mut stream = listen(&server, &listening);
    let gate = Gate::new(&server, "old");
    let mut call = client.start_call(7, "gate", &gate.arguments());
    gate.wait();
    let head = streamed.then(|| call.read_head());
    let started = Instant::now();
    // Use does not make it live longer.
    while started.elapsed() < age && ping(&kept).status == 200 {
        thread::sleep(Duration::from_millis(50));
    }
    check_end(&server, &kept, "max_age", age);
    check_end(&server, &listening, "max_age", age);
    while stream.read_chunk().is_some() {}
    sleep_until(started + age);
    check_gone("too old", &client);
    assert_eq!(delete(&server, &client).status, 404, "{options:?}");
    assert_eq!(on_session(&server, &client, "GET").read().status, 404);
    thread::sleep(Duration::from_millis(300));
    let lives = scrape(&monitor_of(&server));
    assert!(is_close(check_invariant(&lives), 1.0), "{lives:#?}");
    gate.open();
    let response = reply(&mut call, head);
    assert_eq!(response.status, 200, "{options:?}");
    assert_eq!(is_event_stream(&response), streamed, "{options:?}");
    let said = text(&response.json()["result"]["content"][0]["text"]);
    assert_eq!(said, "through", "{options:?}");
    assert_eq!(end_of_session(&server, &client)["reason"], "max_age");
}

/// Session rule A9.
#[test]
fn a_session_has_deadlines_that_do_not_move() {
    at_once(&[
        &unused_sessions_end,
        &|| old_sessions_finish_their_calls(MODES[0]),
        &|| old_sessions_finish_their_calls(MODES[1]),
    ]);
}

/// Everything that can end a session at one time. Returns how many DELETEs did.
fn end_at_once(server: &TestServer, template: &Client, idle: Duration, round: u64) -> usize {
    const DELETES: usize = 32;
    let (opened, at) = open(&mut Http::connect(server.address()), &[]);
    let client = template.with_session(&id_of(&opened));
    let together = Barrier::new(DELETES + 1);
    // From a little before the expiry, which some rounds meet and some do not.
    let when = at + idle.saturating_sub(Duration::from_millis(round * 2));
    let statuses = thread::scope(|scope| {
        let deletes: Vec<_> = (0..DELETES)
            .map(|_| {
                let (client, together) = (&client, &together);
                scope.spawn(move || {
                    let mut http = Http::connect(server.address());
                    together.wait();
                    sleep_until(when);
                    let id = [("Mcp-Session-Id", client.session())];
                    http.request("DELETE", "/mcp", &id, "").status
                })
            })
            .collect();
        // The server is full: who comes takes the place of the session.
        let mut http = Http::connect(server.address());
        together.wait();
        sleep_until(when);
        let newcomer = id_of(&open(&mut http, &[]).0);
        let id = [("Mcp-Session-Id", newcomer.as_str())];
        assert_eq!(http.request("DELETE", "/mcp", &id, "").status, 204);
        let statuses = deletes.into_iter().map(|delete| delete.join().unwrap());
        statuses.collect::<Vec<_>>()
    });
    for status in &statuses {
        assert!([204, 404].contains(status), "{status}");
    }
    check_gone("after all of it", &client);
    end_of_session(server, &client);
    let prefix = format!("\"session\":\"{}\"", &client.session()[..8]);
    let log = server.log();
    let ends = log
        .iter()
        .filter(|line| line.contains("\"session ended\"") && line.contains(&prefix));
    assert_eq!(ends.count(), 1, "{log:#?}");
    statuses.iter().filter(|status| **status == 204).count()
}

/// Session rule D3.
#[test]
fn a_session_ends_once() {
    const ROUNDS: u64 = 6;
    let idle = Duration::from_secs(1);
    let server = serve(&[
        "--session-idle-timeout=1s",
        "--session-evict-min-idle=1ms",
        "--max-sessions=1",
    ]);
    let address = monitor_of(&server);
    let template = server.client(Era::Legacy);
    assert_eq!(delete(&server, &template).status, 204);
    let total = |samples: &Samples| sum(samples, "sessions_ended_total");
    for round in 0..ROUNDS {
        let before = scrape(&address);
        let deleted = end_at_once(&server, &template, idle, round);
        assert!(deleted <= 1, "{deleted} DELETEs ended one session");
        let after = scrape(&address);
        assert!(check_invariant(&after) < 0.5, "{after:#?}");
        // The session, and the one that took its place.
        let grown = total(&after) - total(&before);
        assert!(is_close(grown, 2.0), "{grown}: {after:#?}");
        let by_delete = ended(&after, "client_delete") - ended(&before, "client_delete");
        let expected = if deleted == 1 { 2.0 } else { 1.0 };
        assert!(is_close(by_delete, expected), "{by_delete}: {after:#?}");
    }
}
