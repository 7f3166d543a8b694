//! What breaks on the way to an API: each fault costs the call that meets it, in words that name the
//! phase, and nothing else.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::http_tools::tools;
use crate::metrics::{MONITOR, calls_in_flight, descriptors};
use crate::support::{ALLOWANCE, Client, Http, TestServer, eventually, text};
use crate::upstream::{Stream, Upstream, respond, say};

/// How long a byte of a slow server takes: none of the time limits here lets ten of them pass.
const SLOW: Duration = Duration::from_millis(200);
/// The pace of a server that says much and never comes to an end.
const BUSY: Duration = Duration::from_millis(1);
/// How many descriptors the thread of an API takes, as long as its definition is served.
const THREAD: usize = 3;
/// How many descriptors more than before are no leak: connections that wait for another request.
const FEW: usize = 2;

const TOOLS: &str = "
  get: {description: d, http: {api: tracker, GET: '/{what}'}, params: {what: string}, max_output: 50, timeout: 10s}
  post: {description: d, http: {api: tracker, POST: '/{what}', body: x}, params: {what: string}, timeout: 10s}
  short: {description: d, http: {api: tracker, GET: '/{what}'}, params: {what: string}, timeout: 700ms}
";

/// Writes the same bytes at this pace until the other side has had enough.
fn pour(to: &mut dyn Stream, head: &[u8], bytes: &[u8], pace: Duration) -> bool {
    let mut open = to.write_all(head).is_ok();
    while open {
        std::thread::sleep(pace);
        open = to.write_all(bytes).is_ok();
    }
    false
}

fn misbehave(what: &str, to: &mut dyn Stream) -> bool {
    let huge = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n";
    match what {
        "slow_head" => pour(to, b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", SLOW),
        "slow_body" => pour(
            to,
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
            b"x",
            SLOW,
        ),
        "huge" => pour(to, huge, &[b'x'; 8192], Duration::ZERO),
        "huge_promise" => {
            drop(to.write_all(huge));
            to.wait_for_end();
            false
        }
        "endless_head" => pour(
            to,
            b"HTTP/1.1 200 OK\r\nX-Huge: ",
            &[b'x'; 8192],
            Duration::ZERO,
        ),
        "endless_hints" => pour(
            to,
            b"",
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
            BUSY,
        ),
        "reset_at_once" => {
            to.reset();
            false
        }
        "reset_in_head" => {
            to.reset();
            say(to, b"HTTP/1.1 200 OK\r\nX-Half")
        }
        "reset_in_body" => {
            let half = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
            drop(to.write_all(half));
            // Whoever reads the beginning has the reset to come.
            to.reset();
            false
        }
        "half_chunk" => say(
            to,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nx",
        ),
        "two_lengths" => {
            let lengths = "Content-Length: 2\r\nContent-Length: 3\r\n";
            say(to, format!("HTTP/1.1 200 OK\r\n{lengths}\r\nab").as_bytes())
        }
        "no_length" => say(to, b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        "too_long" => {
            // What is left over would be the answer to the next request.
            let evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
            let fine = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
            to.write_all(&[fine.as_slice(), evil].concat()).is_ok()
        }
        _ => respond(to, "200 OK", &[], what.as_bytes()),
    }
}

/// Writes 1xx responses as fast as they are read, until the other side has had enough or this is over.
fn pour_hints(to: &mut dyn Stream, is_over: &AtomicBool) -> bool {
    let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(2000);
    while !is_over.load(Ordering::SeqCst) && to.write_all(&hints).is_ok() {}
    false
}

/// hyper reads them in one go, for minutes in a build without optimization.
#[test]
fn a_flood_of_hints_holds_up_nobody() {
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let upstream = Upstream::start(move |request, to| match request.line.as_str() {
        "GET /api/good" => respond(to, "200 OK", &[], b"good"),
        _ => pour_hints(to, &over),
    });
    let server = TestServer::start(&tools(&upstream, ", timeout: 1s", TOOLS), &MONITOR);
    let client = server.client(Era::Modern);
    assert_eq!(client.call_text("get", &json!({"what": "good"})), "good");
    calls_in_flight(&server);
    let most = descriptors(&server) + FEW;
    for (tool, expected) in [
        ("get", "tracker did not answer within 1s"),
        (
            "short",
            "tracker did not answer within the time limit of 700ms",
        ),
    ] {
        is_over.store(false, Ordering::SeqCst);
        let started = Instant::now();
        let mut call = client.start_call(1, tool, &json!({"what": "hints"}));
        let mut slowest = Duration::ZERO;
        // As long as the call runs, and whatever it does to its thread.
        while started.elapsed() < Duration::from_secs(1) {
            let asked = Instant::now();
            let health = Http::connect(server.address()).request("GET", "/healthz", &[], "");
            assert_eq!(health.status, 200);
            slowest = slowest.max(asked.elapsed());
        }
        let told = call.read().json()["result"]["content"][0]["text"].clone();
        let took = started.elapsed();
        is_over.store(true, Ordering::SeqCst);
        assert_eq!(told, expected);
        assert!(
            took < Duration::from_secs(1) + ALLOWANCE,
            "{tool}: {took:?}"
        );
        assert!(slowest < ALLOWANCE, "{tool}: {slowest:?}");
        let rests = eventually(|| (descriptors(&server) <= most).then_some(()));
        assert!(rests.is_some(), "{tool}: {} {most}", descriptors(&server));
    }
    // Its own connections come behind what was read meanwhile.
    let good = || client.call("get", &json!({"what": "good"}))["content"][0]["text"] == "good";
    assert!(eventually(|| good().then_some(())).is_some(), "no recovery");
}

/// Checks that a fault left nothing behind, and that a good call works.
fn check_recovery(server: &TestServer, client: &Client, most: usize, case: &str) {
    let good = client.call_text("get", &json!({"what": "good"}));
    assert_eq!(good, "good", "{case}");
    let is_over = || (calls_in_flight(server) == 0 && descriptors(server) <= most).then_some(());
    let over = eventually(is_over);
    let left = (calls_in_flight(server), descriptors(server));
    assert!(over.is_some(), "{case}: {left:?}, and {most} are normal");
}

#[test]
fn a_fault_costs_its_own_call_and_nothing_else() {
    let upstream =
        Upstream::start(|request, to| misbehave(request.line.rsplit('/').next().unwrap(), to));
    let server = TestServer::start(&tools(&upstream, ", timeout: 1s", TOOLS), &MONITOR);
    let client = server.client(Era::Modern);
    let call = |tool, what| text(&client.call(tool, &json!({"what": what}))["content"][0]["text"]);
    assert_eq!(call("get", "good"), "good");
    calls_in_flight(&server);
    // What is sent twice is sent by a client of its own.
    let most = descriptors(&server) + THREAD + FEW;
    let cut = format!(
        "{}\n[output cut: the tool printed more than 50 bytes, and was stopped]",
        "x".repeat(50)
    );
    let late = "tracker did not answer within 1s";
    let slow = "the response of tracker was not complete within the time limit of 700ms";
    let closed = "tracker closed the connection before it answered";
    let broken = "the response of tracker ended too early or cannot be decoded";
    let invalid = "the response of tracker is not valid HTTP";
    let cases = [
        ("get", "slow_head", late),
        ("get", "endless_hints", late),
        (
            "short",
            "slow_head",
            "tracker did not answer within the time limit of 700ms",
        ),
        ("short", "slow_body", slow),
        ("short", "huge_promise", slow),
        ("get", "huge", &cut),
        ("get", "endless_head", invalid),
        ("get", "two_lengths", invalid),
        ("get", "no_length", invalid),
        ("get", "reset_at_once", closed),
        ("get", "reset_in_head", closed),
        ("post", "reset_at_once", closed),
        ("get", "reset_in_body", broken),
        ("get", "half_chunk", broken),
        ("get", "too_long", "fine"),
    ];
    for (tool, what, expected) in cases {
        assert_eq!(call(tool, what), expected, "{tool} {what}");
        check_recovery(&server, &client, most, what);
    }
    let lines: Vec<_> = upstream.received().into_iter().map(|r| r.line).collect();
    let count = |line: &str| lines.iter().filter(|known| *known == line).count();
    assert_eq!(count("GET /api/reset_at_once"), 2, "{lines:?}");
    assert_eq!(count("POST /api/reset_at_once"), 1, "{lines:?}");
}

/// A port at which connections are neither refused nor accepted, as long as the rest lives.
fn full() -> (u16, (Socket, Vec<TcpStream>)) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok();
    let waiting = std::iter::from_fn(connect).take(100).collect::<Vec<_>>();
    assert!(waiting.len() < 100, "the queue is never full");
    (address.port(), (socket, waiting))
}

#[test]
fn whoever_does_not_take_a_connection_is_not_waited_for() {
    let (port, _full) = full();
    let silent = Upstream::silent();
    let tls = silent.port();
    let definitions = format!(
        "
apis:
  full: {{base_url: 'http://127.0.0.1:{port}'}}
  silent: {{base_url: 'https://127.0.0.1:{tls}'}}
tools:
  full: {{description: d, http: {{api: full, GET: /}}}}
  silent: {{description: d, http: {{api: silent, GET: /}}}}
  other: {{description: d, content: fine}}
"
    );
    let server = TestServer::start(&definitions, &MONITOR);
    let client = server.client(Era::Modern);
    let before = (calls_in_flight(&server), descriptors(&server));
    let most = before.1 + 2 * THREAD + FEW;
    let started = Instant::now();
    let calls = ["full", "silent"].map(|tool| (tool, client.start_call(1, tool, &json!({}))));
    assert_eq!(client.call_text("other", &json!({})), "fine");
    for (tool, mut call) in calls {
        let result = call.read().json()["result"].clone();
        let expected =
            format!("could not connect to {tool}: it did not accept the connection in time");
        assert_eq!(result["content"][0]["text"], expected);
    }
    // The time limit is 5 s; the rest is for a busy machine.
    let took = started.elapsed();
    assert!((4..15).contains(&took.as_secs()), "{took:?}");
    assert_eq!(silent.accepted(), 1);
    let over = eventually(|| {
        let left = descriptors(&server);
        (calls_in_flight(&server) == 0 && left <= most).then_some(())
    });
    assert!(over.is_some(), "{before:?} {}", descriptors(&server));
}

#[test]
fn connections_that_died_in_the_pool_cost_one_quiet_retry() {
    const CONNECTIONS: usize = 3;
    let all = Barrier::new(CONNECTIONS);
    let upstream = Upstream::start(move |request, to| {
        if request.line.ends_with("together") {
            // So that there are so many connections.
            all.wait();
        }
        if request.earlier > 0 {
            to.reset();
            return false;
        }
        respond(to, "200 OK", &[], request.line.as_bytes())
    });
    let server = TestServer::start(&tools(&upstream, "", TOOLS), &[]);
    let client = server.client(Era::Modern);
    let together = json!({"what": "together"});
    let calls = [1, 2, 3].map(|id| client.start_call(id, "get", &together));
    for mut call in calls {
        let result = call.read().json();
        assert_eq!(result["result"]["content"][0]["text"], "GET /api/together");
    }
    assert_eq!(upstream.accepted(), CONNECTIONS);
    let call = |tool| text(&client.call(tool, &json!({"what": "x"}))["content"][0]["text"]);
    // The first try is on a dead connection, the second on none of the two that are left.
    assert_eq!(call("get"), "GET /api/x");
    assert_eq!(upstream.accepted(), CONNECTIONS + 1);
    let closed = "tracker closed the connection before it answered";
    assert_eq!(call("post"), closed);
    assert_eq!(call("post"), closed);
    assert_eq!(upstream.accepted(), CONNECTIONS + 1);
    assert_eq!(call("post"), "POST /api/x");
}

#[test]
fn an_outage_costs_neither_time_nor_connections() {
    // Half of what a try takes; three in four do, since the machine has more to do.
    const AT_ONCE: f64 = 0.05;
    let down = Upstream::silent();
    let up = Upstream::start(|_, to| respond(to, "200 OK", &[], b"fine"));
    let (down_url, up_url) = (down.url(), up.url());
    let definitions = format!(
        "
apis: {{down: {{base_url: '{down_url}', timeout: 100ms}}, up: {{base_url: '{up_url}'}}}}
tools:
  down: {{description: d, http: {{api: down, GET: /}}}}
  up: {{description: d, http: {{api: up, GET: /}}}}
"
    );
    let server = TestServer::start(&definitions, &[]);
    let client = server.client(Era::Modern);
    let none = json!({});
    let mut opened = Instant::now();
    for _ in 0..5 {
        opened = Instant::now();
        let told = client.call_error("down", &none);
        assert_eq!(told, "down did not answer within 100ms");
    }
    let (mut refused, mut probes) = (0, 0);
    // For five seconds nobody tries, then one does.
    while probes == 0 {
        let told = client.call_error("down", &none);
        if told == "down did not answer within 100ms" {
            probes += 1;
            assert!(opened.elapsed() > Duration::from_secs(5), "too early");
        } else {
            let expected =
                "down could not be reached several times in a row and was not tried again";
            assert!(told.starts_with(expected), "{told}");
            refused += 1;
        }
        assert_eq!(client.call_text("up", &none), "fine");
        assert_eq!(down.accepted(), 5 + probes);
        // A hundred calls a second.
        std::thread::sleep(Duration::from_millis(10));
    }
    let told = client.call_error("down", &none);
    assert!(told.contains("was not tried again"), "{told}");
    assert_eq!(down.accepted(), 6);
    let lines = server.log();
    let lines = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let refusals = lines.filter(|line| line["outcome"] == "circuit open");
    let times: Vec<_> = refusals
        .map(|line| line["duration_seconds"].as_f64().unwrap())
        .collect();
    assert!(times.len() >= refused, "{} {refused}", times.len());
    let quick = times.iter().filter(|time| **time <= AT_ONCE).count();
    assert!(quick * 4 >= times.len() * 3, "{times:?}");
}
