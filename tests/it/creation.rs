//! What makes a session, what does not, and what happens at the limits: the real binary over raw
//! sockets.

use std::collections::HashSet;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::lifecycle::{
    at_once, check_gone, delete, end_of_session, ends_of_sessions, is_event_stream, listen, ping,
    reply,
};
use crate::metrics::{
    Samples, check_invariant, descriptors, ended, memory, monitor_of, scrape, sum, value, wait_for,
};
use crate::support::{
    ALLOWANCE, Client, GATE, Gate, Http, Response, TOKEN, TestServer, eventually, initialize,
    sha256, text,
};

/// Both forms of an answer that takes long: the options, and whether it is an event stream.
const MODES: [(&[&str], bool); 2] = [
    (&["--json-response"], false),
    (&["--heartbeat", "100ms"], true),
];

fn tools() -> String {
    format!(
        "
name: creation-test
tools:
  echo:
    description: Prints its argument.
    effect: read
    exec: printf %s {{text}}
    params: {{text: string}}
{GATE}"
    )
}

const METRICS: [&str; 2] = ["--metrics-listen", "127.0.0.1:0"];

fn serve(options: &[&str]) -> TestServer {
    let all = [&METRICS[..], &["--max-sessions-per-principal=0"], options];
    TestServer::start(&tools(), &all.concat())
}

const POST: [(&str, &str); 2] = [
    ("Content-Type", "application/json"),
    ("Accept", "application/json, text/event-stream"),
];

/// Sends `initialize` on a connection.
fn open(http: &mut Http, extra: &[(&str, &str)]) -> Response {
    let headers = [&POST, extra].concat();
    http.request(
        "POST",
        "/mcp",
        &headers,
        &initialize("2025-11-25").to_string(),
    )
}

fn id_of(response: &Response) -> String {
    assert_eq!(response.status, 200, "{response:?}");
    response.header("mcp-session-id").unwrap().to_owned()
}

fn is_close(value: f64, expected: f64) -> bool {
    (value - expected).abs() < 0.5
}

fn created(samples: &Samples) -> f64 {
    sum(samples, "sessions_created_total")
}

/// Checks that a refusal at a limit says when to come back, and tells no number.
fn check_no_room(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    let seconds = response.header("retry-after").expect("Retry-After");
    assert!(seconds.parse::<u32>().unwrap() > 0, "{seconds}");
    assert_eq!(response.header("mcp-session-id"), None, "{response:?}");
    let error = &response.json()["error"];
    assert!(error["code"].is_i64(), "{response:?}");
    assert_eq!(error["data"], Value::Null, "{response:?}");
    let said = text(&error["message"]);
    assert!(!said.contains(|c: char| c.is_ascii_digit()), "{said}");
}

/// Session rule B1.
#[test]
fn a_failed_initialize_leaves_no_session() {
    let server = TestServer::with_token(&tools(), &METRICS);
    let address = monitor_of(&server);
    let _other = Client::new(&server, Era::Legacy, Some(TOKEN));
    let before = scrape(&address);
    let good = initialize("2025-11-25").to_string();
    let empty = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}});
    let empty = empty.to_string();
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
    let batch = format!("[{good}]");
    let own = server.address();
    let bearer = format!("Bearer {TOKEN}");
    let bearer = bearer.as_str();
    let (json, both) = (POST[0].1, POST[1].1);
    let evil = "https://evil.example";
    // What is wrong, the body, the status, and the headers that say it.
    let cases = [
        ("bad JSON", "{", 400, [own, bearer, json, both, ""]),
        ("no initialize", &list, 400, [own, bearer, json, both, ""]),
        ("Accept", &good, 406, [own, bearer, json, "text/plain", ""]),
        ("no params", &empty, 200, [own, bearer, json, both, ""]),
        ("a batch", &batch, 400, [own, bearer, json, both, ""]),
        ("type", &good, 415, [own, bearer, "text/plain", both, ""]),
        ("Host", &good, 421, ["evil.example", bearer, json, both, ""]),
        ("Origin", &good, 403, [own, bearer, json, both, evil]),
        ("null Origin", &good, 403, [own, bearer, json, both, "null"]),
        ("no bearer", &good, 401, [own, "", json, both, ""]),
        ("wrong", &good, 401, [own, "Bearer x", json, both, ""]),
    ];
    for (name, body, status, values) in cases {
        let names = ["Host", "Authorization", "Content-Type", "Accept", "Origin"];
        let mut head = "POST /mcp HTTP/1.1\r\n".to_owned();
        for (header, value) in names.into_iter().zip(values) {
            if !value.is_empty() {
                head.extend([header, ": ", value, "\r\n"]);
            }
        }
        let length = body.len();
        for _ in 0..5 {
            let mut http = Http::connect(server.address());
            http.write(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes());
            let response = http.read();
            assert_eq!(response.status, status, "{name}: {response:?}");
            assert_eq!(response.header("mcp-session-id"), None, "{name}");
            assert!(response.json()["result"].is_null(), "{name}: {response:?}");
        }
        let after = scrape(&address);
        assert!(is_close(check_invariant(&after), 1.0), "{name}: {after:#?}");
        assert!(is_close(created(&after), created(&before)), "{name}");
    }
}

/// Session rule B3.
#[test]
fn a_trickled_initialize_holds_nothing() {
    const STALLED: usize = 200;
    /// The rule.
    const BODY: Duration = Duration::from_secs(30);
    let server = serve(&[]);
    let address = monitor_of(&server);
    let body = initialize("2025-11-25").to_string();
    let (half, rest) = body.split_at(body.len() / 2);
    let idle = descriptors(&server);
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: */*\r\nContent-Length: {}\r\n\r\n{half}",
        body.len()
    );
    let started = Instant::now();
    let mut stalled: Vec<_> = (0..STALLED)
        .map(|_| {
            let mut http = Http::connect(server.address());
            http.write(head.as_bytes());
            http.socket()
                .set_read_timeout(Some(BODY + ALLOWANCE))
                .unwrap();
            http
        })
        .collect();
    let all = eventually(|| (descriptors(&server) >= idle + STALLED).then_some(()));
    assert!(all.is_some(), "not all connections were taken");
    assert!(check_invariant(&scrape(&address)) < 0.5);
    // Under 50 ms, unless the host is slow.
    let mut quickest = Duration::MAX;
    for _ in 0..10 {
        let asked = Instant::now();
        id_of(&open(&mut Http::connect(server.address()), &[]));
        quickest = quickest.min(asked.elapsed());
    }
    assert!(quickest < Duration::from_millis(50), "{quickest:?}");
    // One byte now and then is no excuse.
    let (trickled, silent) = stalled.split_at_mut(STALLED / 2);
    for byte in rest.as_bytes().iter().take(5) {
        for http in &mut *trickled {
            http.write(&[*byte]);
        }
        thread::sleep(Duration::from_secs(1));
    }
    for http in silent.iter_mut().chain(trickled) {
        let response = http.read();
        assert_eq!(response.status, 408, "{response:?}");
        assert_eq!(response.header("mcp-session-id"), None);
        assert_eq!(response.header("connection"), Some("close"));
        assert_eq!(http.read_line(), None, "the connection stays open");
    }
    let took = started.elapsed();
    assert!(took >= BODY * 9 / 10, "{took:?}");
    assert!(took < BODY + ALLOWANCE, "{took:?}");
    assert!(is_close(created(&scrape(&address)), 10.0));
    let gone = eventually(|| (descriptors(&server) <= idle + 2).then_some(()));
    assert!(gone.is_some(), "connections are left");
}

/// Session rule B4.
#[test]
fn who_comes_to_a_full_server_takes_the_place_of_the_longest_idle() {
    const FLOOR: Duration = Duration::from_secs(1);
    let body = |(options, streamed): (&[&str], bool)| {
        let limits = ["--max-sessions=3", "--session-evict-min-idle=1s"];
        let server = serve(&[options, &limits].concat());
        let address = monitor_of(&server);
        let busy = server.client(Era::Legacy);
        let recent = server.client(Era::Legacy);
        let longest = server.client(Era::Legacy);
        let gate = Gate::new(&server, "busy");
        let mut call = busy.start_call(7, "gate", &gate.arguments());
        gate.wait();
        let head = streamed.then(|| call.read_head());
        thread::sleep(FLOOR + Duration::from_millis(200));
        assert_eq!(ping(&recent).status, 200);

        let newcomer = server.client(Era::Legacy);
        check_gone("the longest idle", &longest);
        for client in [&recent, &newcomer] {
            assert_eq!(ping(client).status, 200, "{options:?}");
        }
        assert_eq!(
            end_of_session(&server, &longest)["reason"],
            "evicted_lru",
            "{options:?}"
        );
        let samples = scrape(&address);
        assert!(
            is_close(ended(&samples, "evicted_lru"), 1.0),
            "{samples:#?}"
        );

        // Everybody is in use: two run a call, one listens.
        let gate_of_recent = Gate::new(&server, "recent");
        let mut call_of_recent = recent.start_call(7, "gate", &gate_of_recent.arguments());
        gate_of_recent.wait();
        let stream = listen(&server, &newcomer);
        thread::sleep(FLOOR + Duration::from_millis(200));
        for _ in 0..3 {
            let refused = open(&mut Http::connect(server.address()), &[]);
            check_no_room(&refused, 503);
        }
        let samples = scrape(&address);
        assert!(
            is_close(ended(&samples, "evicted_lru"), 1.0),
            "{samples:#?}"
        );
        let rejected = value(&samples, "sessions_rejected_total{reason=\"max_sessions\"}");
        assert!(is_close(rejected, 3.0), "{samples:#?}");

        gate.open();
        gate_of_recent.open();
        let response = reply(&mut call, head);
        assert_eq!(is_event_stream(&response), streamed, "{options:?}");
        for response in [response, call_of_recent.read()] {
            let message = response.json();
            assert_eq!(message["result"]["content"][0]["text"], "through");
        }
        drop(stream);
        for client in [&busy, &recent, &newcomer] {
            assert_eq!(ping(client).status, 200, "{options:?}");
        }
    };
    at_once(&[&|| body(MODES[0]), &|| body(MODES[1])]);
}

/// Session rule B5.
#[test]
fn clients_in_turn_do_not_evict_each_other() {
    const FLOOR: Duration = Duration::from_millis(500);
    let server = serve(&["--max-sessions=1", "--session-evict-min-idle=500ms"]);
    let started = Instant::now();
    let (mut opened, mut refused) = (0, 0);
    while started.elapsed() < FLOOR * 5 {
        let response = open(&mut Http::connect(server.address()), &[]);
        if response.status == 200 {
            opened += 1;
        } else {
            check_no_room(&response, 503);
            refused += 1;
        }
        thread::sleep(FLOOR / 20);
    }
    assert!(opened >= 2, "{opened} opened");
    assert!(refused > opened, "{opened} opened, {refused} refused");
    for end in ends_of_sessions(&server, opened - 1) {
        assert_eq!(end["reason"], "evicted_lru", "{end}");
        let idle = end["idle_seconds"].as_f64().unwrap();
        assert!(idle >= FLOOR.as_secs_f64(), "{end}");
    }
}

/// The setting of `--on-session-limit`.
#[test]
fn a_server_may_refuse_instead_of_evicting() {
    let full = serve(&[
        "--on-session-limit=reject",
        "--max-sessions=2",
        "--session-evict-min-idle=1ms",
    ]);
    let crowded = TestServer::start(
        &tools(),
        &[
            "--on-session-limit=reject",
            "--max-sessions-per-principal=2",
        ],
    );
    for (server, status) in [(&full, 503), (&crowded, 429)] {
        let clients = [(); 2].map(|()| server.client(Era::Legacy));
        thread::sleep(Duration::from_millis(50));
        for _ in 0..3 {
            let refused = open(&mut Http::connect(server.address()), &[]);
            check_no_room(&refused, status);
        }
        for client in &clients {
            assert_eq!(ping(client).status, 200, "{status}");
        }
        assert_eq!(delete(server, &clients[0]).status, 204, "{status}");
        let third = server.client(Era::Legacy);
        assert_eq!(ping(&third).status, 200, "{status}");
    }
}

const X: &str = "x-1-mfZ3b1mXk0Qy7h2Vn5cR8w";
const X_TOO: &str = "x-2-mfZ3b1mXk0Qy7h2Vn5cR8w";
const Y: &str = "y-1-mfZ3b1mXk0Qy7h2Vn5cR8w";

fn serve_x_and_y(options: &[&str]) -> TestServer {
    let entries = [(X, "x"), (X_TOO, "x"), (Y, "y")];
    let lines = entries
        .map(|(token, subject)| format!("  - {{sha256: {}, subject: {subject}}}\n", sha256(token)));
    let auth = format!("tokens:\n{}", lines.concat());
    TestServer::with_auth(&tools(), &auth, &[&METRICS[..], options].concat())
}

/// Session rule B6.
#[test]
fn a_principal_at_its_limit_loses_its_own_session() {
    const CAP: usize = 5;
    let body = |(options, streamed): (&[&str], bool)| {
        let server = serve_x_and_y(&[options, &["--max-sessions-per-principal=5"]].concat());
        let address = monitor_of(&server);
        let open_as = |token| Client::new(&server, Era::Legacy, Some(token));
        // Those of Y have been idle for longer than any of X.
        let of_y: Vec<_> = (0..CAP).map(|_| open_as(Y)).collect();
        let tokens = [X, X_TOO, X, X_TOO, X];
        let of_x: Vec<_> = tokens.map(open_as).into();
        thread::sleep(Duration::from_millis(20));
        assert_eq!(ping(&of_x[0]).status, 200, "used last");
        // The second of X has been idle for longest now.
        let sixth = open_as(X_TOO);
        check_gone("the longest idle of X", &of_x[1]);
        let lives = [&of_x[0], &of_x[2], &of_x[3], &of_x[4], &sixth];
        for client in lives.into_iter().chain(&of_y) {
            assert_eq!(ping(client).status, 200, "{options:?}");
        }
        let end = end_of_session(&server, &of_x[1]);
        assert_eq!(end["reason"], "evicted_principal", "{options:?}");

        // All of X run a call: there is nothing to lose.
        let mut calls = Vec::new();
        for (number, client) in lives.into_iter().enumerate() {
            let gate = Gate::new(&server, &format!("x{number}"));
            let mut call = client.start_call(7, "gate", &gate.arguments());
            gate.wait();
            let head = streamed.then(|| call.read_head());
            calls.push((gate, call, head));
        }
        let bearer = format!("Bearer {X}");
        for _ in 0..3 {
            let mut http = Http::connect(server.address());
            let refused = open(&mut http, &[("Authorization", &bearer)]);
            check_no_room(&refused, 429);
        }
        let samples = scrape(&address);
        let evicted = ended(&samples, "evicted_principal");
        assert!(is_close(evicted, 1.0), "{samples:#?}");
        let series = "sessions_rejected_total{reason=\"principal_limit\"}";
        assert!(is_close(value(&samples, series), 3.0), "{samples:#?}");
        assert!(is_close(check_invariant(&samples), 10.0), "{samples:#?}");
        for (gate, mut call, head) in calls {
            gate.open();
            let response = reply(&mut call, head);
            assert_eq!(is_event_stream(&response), streamed, "{options:?}");
            let message = response.json();
            assert_eq!(message["result"]["content"][0]["text"], "through");
        }
        // A place that was given back is free, again and again.
        assert_eq!(delete(&server, &sixth).status, 204);
        for _ in 0..CAP * 3 {
            let again = open_as(X);
            assert_eq!(delete(&server, &again).status, 204, "{options:?}");
        }
        let samples = scrape(&address);
        let evicted = ended(&samples, "evicted_principal");
        assert!(is_close(evicted, 1.0), "{samples:#?}");
        for client in &of_y {
            assert_eq!(ping(client).status, 200, "{options:?}");
        }
    };
    at_once(&[&|| body(MODES[0]), &|| body(MODES[1])]);
}

/// Session rule B7, in small; the whole of it is a benchmark.
#[test]
fn a_flood_of_initialize_is_served_and_leaves_nothing() {
    const FLOOD: usize = 2000;
    const CONCURRENCY: usize = 50;
    let server = serve(&["--session-idle-timeout=4s"]);
    let address = monitor_of(&server);
    let other = server.client(Era::Legacy);
    assert_eq!(other.call_text("echo", &json!({"text": "x"})), "x");
    let baseline = descriptors(&server);
    let memory_before = memory(&server, "VmRSS");
    let next = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    let calls = thread::scope(|scope| {
        let flood: Vec<_> = (0..CONCURRENCY)
            .map(|_| {
                scope.spawn(|| {
                    while next.fetch_add(1, Ordering::Relaxed) < FLOOD {
                        // Each on a connection of its own, as clients come.
                        id_of(&open(&mut Http::connect(server.address()), &[]));
                    }
                })
            })
            .collect();
        let calls = scope.spawn(|| {
            let mut calls = 0;
            while !over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                assert_eq!(other.call_text("echo", &json!({"text": "x"})), "x");
                let took = asked.elapsed();
                assert!(took < ALLOWANCE, "{took:?}");
                calls += 1;
            }
            calls
        });
        for client in flood {
            client.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
        calls.join().unwrap()
    });
    assert!(calls > 0, "nobody else was served");
    let samples = scrape(&address);
    assert!(is_close(created(&samples), 2001.0), "{samples:#?}");
    // 16 KiB for each session; what the connections needed comes in as well.
    let grown = memory(&server, "VmRSS").saturating_sub(memory_before);
    assert!(grown < 16 * FLOOD as u64, "{grown} KiB");
    wait_for(&address, "empty", |samples| check_invariant(samples) < 0.5);
    let back = eventually(|| (descriptors(&server) <= baseline + 2).then_some(()));
    assert!(back.is_some(), "{} descriptors", descriptors(&server));
    let grown = memory(&server, "VmRSS").saturating_sub(memory_before);
    assert!(grown < 16 * FLOOD as u64, "{grown} KiB are left");
}

/// Random session ids in the form of this server's own. It hands out no other `count` like them.
fn random_ids(like: &str, count: u64) -> impl Iterator<Item = String> {
    use std::hash::{BuildHasher as _, RandomState};
    let state = RandomState::new();
    let like = like.to_owned();
    (0..count).map(move |number| {
        let digits = format!(
            "{:016x}{:016x}",
            state.hash_one(number),
            state.hash_one((number, 1))
        );
        let mut digits = digits.chars();
        let digit = |c: char| {
            if c == '-' {
                c
            } else {
                digits.next().unwrap_or(c)
            }
        };
        like.chars().map(digit).collect()
    })
}

/// Session rule B8.
#[test]
fn unknown_ids_cost_no_memory() {
    const REQUESTS: u64 = 10_000;
    const WORKERS: u64 = 4;
    // In KiB. What threads and connections need for the first time comes in too.
    const MEMORY: u64 = 2048;
    let server = serve(&[]);
    let address = monitor_of(&server);
    let template = server.client(Era::Legacy);
    assert_eq!(delete(&server, &template).status, 204);
    let ask = |count: u64| {
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    let mut http = Http::connect(server.address());
                    for id in random_ids(template.session(), count / WORKERS) {
                        let stranger = template.with_session(&id);
                        stranger.send_on(&mut http, &stranger.message(1, "ping", &json!({})));
                        let response = http.read();
                        assert_eq!(response.status, 404, "{id}: {response:?}");
                    }
                });
            }
        });
    };
    ask(1000);
    let before = memory(&server, "VmRSS");
    ask(REQUESTS);
    let grown = memory(&server, "VmRSS").saturating_sub(before);
    assert!(grown < MEMORY, "{grown} KiB");
    let samples = scrape(&address);
    assert!(check_invariant(&samples) < 0.5, "{samples:#?}");
    assert!(is_close(created(&samples), 1.0), "{samples:#?}");
    let failed = value(&samples, "session_lookups_failed_total{reason=\"unknown\"}");
    assert!(is_close(failed, 11_000.0), "{samples:#?}");
}

/// Session rule B9; also G4, since another server is another replica.
#[test]
fn after_a_restart_every_client_starts_again() {
    const CLIENTS: usize = 1000;
    const WORKERS: usize = 10;
    let template;
    let stale: Vec<String> = {
        let before = serve(&[]);
        template = before.client(Era::Legacy);
        let mut http = Http::connect(before.address());
        (0..CLIENTS).map(|_| id_of(&open(&mut http, &[]))).collect()
    };
    let server = serve(&[]);
    let took: Vec<Duration> = thread::scope(|scope| {
        let workers: Vec<_> = stale
            .chunks(CLIENTS / WORKERS)
            .map(|ids| {
                let (server, template) = (&server, &template);
                scope.spawn(move || {
                    let mut took = Vec::new();
                    for id in ids {
                        let mut http = Http::connect(server.address());
                        let client = template.with_session(id);
                        let asked = Instant::now();
                        client.send_on(&mut http, &client.message(1, "ping", &json!({})));
                        let response = http.read();
                        took.push(asked.elapsed());
                        assert_eq!(response.status, 404, "{response:?}");
                        assert_eq!(response.error_code(), Some(-32001), "{response:?}");
                        let opened = id_of(&open(&mut http, &[]));
                        let client = template.with_session(&opened);
                        client.send_on(&mut http, &client.message(2, "ping", &json!({})));
                        assert_eq!(http.read().status, 200);
                    }
                    took
                })
            })
            .collect();
        let took = workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap());
        took.collect()
    });
    // Under 5 ms, unless the host is slow: its clients wait for each other.
    let quickest = took.iter().min().unwrap();
    assert!(*quickest < Duration::from_millis(5), "{quickest:?}");
    assert!(took.iter().all(|took| *took < ALLOWANCE), "{took:?}");
    assert!(is_close(
        check_invariant(&scrape(&monitor_of(&server))),
        1000.0
    ));
}

/// Session rule B10.
#[test]
fn an_initialize_in_a_session_opens_another() {
    let server = serve(&[]);
    let mut http = Http::connect(server.address());
    // Only a session of the oldest revision serves batches.
    let first = initialize("2025-03-26").to_string();
    let live = id_of(&http.request("POST", "/mcp", &POST, &first));
    let stale = "6a6b7f1c-3d1e-4a53-9d58-0f8f7c1d2e3f";
    let mut ids = HashSet::from([live.clone()]);
    for id in [live.as_str(), stale, "x", ""] {
        let opened = id_of(&open(&mut http, &[("Mcp-Session-Id", id)]));
        let mut serves_batches = |id: &str| {
            let headers = [&POST[..], &[("Mcp-Session-Id", id)]].concat();
            let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#;
            http.request("POST", "/mcp", &headers, batch).status
        };
        assert_eq!(serves_batches(&opened), 400, "{id}: a new session");
        assert_eq!(serves_batches(&live), 200, "{id}: the old one is as it was");
        assert!(ids.insert(opened), "{id}: the id is new");
    }
    let samples = scrape(&monitor_of(&server));
    assert!(is_close(check_invariant(&samples), 5.0), "{samples:#?}");
    let failed = sum(&samples, "session_lookups_failed_total");
    assert!(failed < 0.5, "nothing was looked up: {samples:#?}");
}

/// A connection from this address of this machine.
fn connect_from(server: &TestServer, from: [u8; 4]) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &std::net::SocketAddr::from((from, 0))).unwrap();
    let address: std::net::SocketAddr = server.address().parse().unwrap();
    connect(&socket, &address).unwrap();
    TcpStream::from(socket)
}

/// Callers without a credential are limited by their address.
#[test]
fn anonymous_callers_at_their_limit_harm_no_other_address() {
    let server = TestServer::start(
        &tools(),
        &[
            &METRICS[..],
            &[
                "--max-sessions-per-principal=2",
                "--session-evict-min-idle=1ms",
            ],
        ]
        .concat(),
    );
    let here = [127, 0, 0, 1];
    let there = [127, 0, 0, 2];
    let open_from = |from| {
        // So that the one before is idle for as long as it must be.
        thread::sleep(Duration::from_millis(5));
        let mut http = Http::over(connect_from(&server, from), server.address());
        id_of(&open(&mut http, &[]))
    };
    let template = server.client(Era::Legacy);
    assert_eq!(delete(&server, &template).status, 204);
    let kept = [(); 2].map(|()| open_from(there));
    let lost = [(); 4].map(|()| open_from(here));
    let status = |id: &String| ping(&template.with_session(id)).status;
    assert_eq!(kept.each_ref().map(status), [200, 200]);
    assert_eq!(lost.each_ref().map(status), [404, 404, 200, 200]);
    let samples = scrape(&monitor_of(&server));
    assert!(
        is_close(ended(&samples, "evicted_principal"), 2.0),
        "{samples:#?}"
    );
}
