//! What one client can do to the server with bytes: raw sockets against the real binary.

mod framing;

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{
    ALLOWANCE, Client, ERAS, Http, PATIENCE, Response, TOKEN, TestServer, eventually, initialize,
    text,
};

const TOOLS: &str = "
name: limits-test
tools:
  echo:
    description: Prints its argument.
    effect: read
    exec: printf %s {text}
    params: {text: string}
    concurrency: 256
";

fn serve(options: &[&str]) -> TestServer {
    TestServer::start(TOOLS, options)
}

/// Headers of a POST, before those that frame its body.
fn head(client: &Client, message: &Value) -> String {
    let mut head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\n".to_owned();
    for (name, value) in client.headers(message) {
        head = format!("{head}{name}: {value}\r\n");
    }
    head
}

/// Checks that a server serves both eras, after whatever came before.
fn check_lives(name: &str, server: &TestServer) {
    for era in ERAS {
        let client = server.client(era);
        let listed = client.request("tools/list", &json!({}));
        assert_eq!(listed.status, 200, "after {name}: {era:?}");
    }
}

/// Writes a body of this length in one piece, or in chunks of this size.
fn post_padded(
    server: &TestServer,
    client: &Client,
    length: usize,
    chunk: Option<usize>,
) -> Response {
    let message = client.message(1, "tools/list", &json!({}));
    // White space around a message is no part of it.
    let mut body = message.to_string();
    body.push_str(&" ".repeat(length - body.len()));
    let mut http = Http::connect(server.address());
    let head = head(client, &message);
    match chunk {
        None => http.write(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes()),
        Some(size) => {
            let mut bytes = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
            for chunk in body.as_bytes().chunks(size) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            http.write(&bytes);
        }
    }
    http.read()
}

#[test]
fn the_limit_of_a_body_is_exact() {
    const LIMIT: usize = 64 << 10;
    let server = serve(&["--max-body", "64KiB"]);
    for era in ERAS {
        let client = server.client(era);
        for chunk in [None, Some(1000), Some(LIMIT), Some(LIMIT * 2)] {
            for (length, status) in [(LIMIT, 200), (LIMIT + 1, 413), (LIMIT * 2, 413)] {
                let name = format!("{era:?}: {length} bytes, chunks of {chunk:?}");
                let response = post_padded(&server, &client, length, chunk);
                assert_eq!(response.status, status, "{name}: {response:?}");
                if status == 413 {
                    assert_eq!(response.error_code(), Some(-32600), "{name}");
                    let message = text(&response.json()["error"]["message"]);
                    assert!(message.contains(&LIMIT.to_string()), "{name}: {message}");
                    assert_eq!(response.header("connection"), Some("close"), "{name}");
                }
            }
        }
    }
    check_lives("large bodies", &server);
}

/// Session rule F3.
#[test]
fn a_client_that_writes_without_pause_can_read_that_it_was_too_much() {
    let server = serve(&[]);
    for era in ERAS {
        let client = server.client(era);
        let framings = [None, Some(6 << 20), Some(64 << 10)];
        for chunk in framings {
            let response = post_padded(&server, &client, 6 << 20, chunk);
            assert_eq!(response.status, 413, "{era:?} {chunk:?}");
            assert_eq!(response.error_code(), Some(-32600), "{era:?} {chunk:?}");
        }
        assert_eq!(client.call_text("echo", &json!({"text": "x"})), "x");
    }
}

/// Session rule F3.
#[test]
fn a_client_that_never_stops_writing_is_cut_off() {
    let server = serve(&["--max-body", "64KiB"]);
    let client = server.client(Era::Modern);
    let message = client.message(1, "tools/list", &json!({}));
    let mut http = Http::connect(server.address());
    let head = head(&client, &message);
    http.write(format!("{head}Content-Length: 1000000000\r\n\r\n").as_bytes());
    http.socket().set_write_timeout(Some(PATIENCE)).unwrap();
    let mut socket = http.socket();
    let mut written = 0_usize;
    while let Ok(count) = socket.write(&[b' '; 8 << 10]) {
        written += count;
        assert!(written < 1_000_000_000, "the server reads everything");
    }
    check_lives("an endless body", &server);
}

#[test]
fn header_fields_are_bounded_in_number_and_size() {
    let server = serve(&[]);
    let fields = |count: usize| {
        let mut head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n".to_owned();
        for number in 1..count {
            head = format!("{head}X-{number}: x\r\n");
        }
        head + "\r\n"
    };
    let size = |bytes: usize| {
        let padding = "x".repeat(bytes);
        format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {padding}\r\n\r\n")
    };
    let target = |bytes: usize| {
        let padding = "x".repeat(bytes);
        format!("GET /healthz?{padding} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    };
    let cases = [
        ("64 fields", fields(64), &[200][..]),
        ("65 fields", fields(65), &[431]),
        ("1000 fields", fields(1000), &[431]),
        ("15 KiB", size(15 << 10), &[200]),
        ("17 KiB", size(17 << 10), &[431]),
        ("64 KiB", size(64 << 10), &[431]),
        ("300 KiB", size(300 << 10), &[431]),
        ("a target of 20 KiB", target(20 << 10), &[414, 431]),
        ("a target of 70 KiB", target(70 << 10), &[414, 431]),
    ];
    for (name, bytes, statuses) in cases {
        let mut http = Http::connect(server.address());
        // The server may have answered and closed before everything is written.
        drop(http.socket().write_all(bytes.as_bytes()));
        let response = http.read();
        assert!(statuses.contains(&response.status), "{name}: {response:?}");
        if response.status != 200 {
            assert_eq!(http.read_line(), None, "{name}: the connection stays open");
        }
    }
    check_lives("large headers", &server);
}

#[test]
fn a_request_names_its_host_once() {
    let server = serve(&[]);
    let cases = [
        ("none", "", 400),
        ("empty", "Host:\r\n", 400),
        ("twice", "Host: localhost\r\nHost: localhost\r\n", 400),
        ("two", "Host: localhost\r\nHost: evil.example\r\n", 400),
        ("with a path", "Host: localhost/mcp\r\n", 400),
        ("with a user", "Host: evil@localhost\r\n", 400),
        ("another", "Host: evil.example\r\n", 421),
        ("its own", "Host: localhost\r\n", 200),
    ];
    for era in ERAS {
        let client = server.client(era);
        let message = client.message(1, "tools/list", &json!({}));
        let head = head(&client, &message);
        for (name, host, status) in cases {
            let head = head.replace("Host: localhost\r\n", host);
            let length = message.to_string().len();
            let mut http = Http::connect(server.address());
            http.write(format!("{head}Content-Length: {length}\r\n\r\n{message}").as_bytes());
            let response = http.read();
            assert_eq!(response.status, status, "{era:?} {name}: {response:?}");
        }
    }
    let mut http = Http::connect(server.address());
    http.write(b"GET http://evil.example/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(http.read().status, 400);
    check_lives("strange hosts", &server);
}

#[test]
fn connections_beyond_the_limit_are_told_to_come_back() {
    let server = serve(&["--max-connections", "3"]);
    let probe = |http: &mut Http| http.request("GET", "/healthz", &[], "").status;
    let mut kept: Vec<Http> = (0..3)
        .map(|_| {
            let mut http = Http::connect(server.address());
            assert_eq!(probe(&mut http), 200);
            http
        })
        .collect();
    for _ in 0..5 {
        let mut beyond = Http::connect(server.address());
        let refused = beyond.read();
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        assert_eq!(refused.header("connection"), Some("close"));
        assert_eq!(beyond.read_line(), None);
        for http in &mut kept {
            assert_eq!(probe(http), 200);
        }
    }
    drop(kept.pop());
    let room = eventually(|| {
        let mut http = Http::connect(server.address());
        drop(
            http.socket()
                .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        );
        (http.read_head().status == 200).then_some(())
    });
    assert!(room.is_some(), "a closed connection makes no room");
    for http in &mut kept {
        assert_eq!(probe(http), 200);
    }
}

/// Session rule B3.
#[test]
fn an_initialize_that_never_came_whole_leaves_nothing() {
    let server = serve(&[]);
    let body = initialize("2025-11-25").to_string();
    let half = &body[..body.len() / 2];
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Accept: application/json, text/event-stream\r\n";
    let length = body.len();
    let chunk = half.len();
    let beginnings = [
        ("half a header", head.to_owned()),
        ("no body", format!("{head}Content-Length: {length}\r\n\r\n")),
        (
            "half a body",
            format!("{head}Content-Length: {length}\r\n\r\n{half}"),
        ),
        (
            "a chunk",
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk:x}\r\n{half}\r\n"),
        ),
    ];
    let mut stalled = Vec::new();
    for (name, beginning) in &beginnings {
        for number in 0..25 {
            let mut http = Http::connect(server.address());
            http.write(beginning.as_bytes());
            match number % 3 {
                0 => stalled.push(http),
                1 => drop(http),
                _ => {
                    drop(http.socket().shutdown(Shutdown::Write));
                    let mut answer = Vec::new();
                    drop(http.socket().read_to_end(&mut answer));
                    let answer = String::from_utf8_lossy(&answer).to_lowercase();
                    assert!(!answer.contains("mcp-session-id"), "{name}: {answer}");
                }
            }
        }
    }
    assert_eq!(server.statistics()["total_sessions_created"], 0);
    check_lives("half a request", &server);
    let statistics = server.statistics();
    assert_eq!(statistics["total_sessions_created"], 1, "{statistics}");
    drop(stalled);
}

/// Checks that what one client sends is answered to nobody else.
fn call_often(server: &TestServer, era: Era, number: usize, start: &Barrier) {
    let client = server.client(era);
    let mut http = Http::connect(server.address());
    start.wait();
    for round in 0..3 {
        let value = format!("{era:?}-{number}-{round}");
        let params = json!({"name": "echo", "arguments": {"text": value}});
        // Every client uses the same ids at the same time.
        client.send_on(&mut http, &client.message(round, "tools/call", &params));
        let response = http.read();
        let message = response.json();
        assert_eq!(message["id"], round, "{value}: {response:?}");
        let said = &message["result"]["content"][0]["text"];
        assert_eq!(said, value.as_str(), "{value}: {response:?}");
    }
}

#[test]
fn nobody_gets_the_answer_of_another() {
    const CLIENTS: usize = 200;
    let server = serve(&[]);
    let start = Barrier::new(CLIENTS);
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (server, start) = (&server, &start);
            let era = ERAS[number % 2];
            scope.spawn(move || call_often(server, era, number, start));
        }
    });
    assert_eq!(server.statistics()["active_sessions"], CLIENTS / 2);
}

#[test]
fn a_shared_session_keeps_its_calls_apart() {
    const CALLS: usize = 100;
    let server = serve(&[]);
    for era in ERAS {
        let client = server.client(era);
        thread::scope(|scope| {
            for number in 0..CALLS {
                let client = &client;
                scope.spawn(move || {
                    let value = number.to_string();
                    let response = client.start_call(7, "echo", &json!({"text": value})).read();
                    let said = &response.json()["result"]["content"][0]["text"];
                    assert_eq!(said, value.as_str(), "{era:?}: {response:?}");
                });
            }
        });
    }
}

#[test]
fn bodies_are_bounded_in_depth_and_keys() {
    let server = serve(&[]);
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let keys = |count: usize| {
        let members: Vec<_> = (0..count).map(|key| format!("\"{key}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    for era in ERAS {
        let client = server.client(era);
        let message = client.message(1, "tools/list", &json!({"x": "here"}));
        let own = message.to_string().matches("\":").count();
        let cases = [
            // The message is the first level, its params the second.
            ("62 levels in params", nested(62), 200, None),
            ("63 levels in params", nested(63), 400, Some(-32700)),
            ("100 000 levels", nested(100_000), 400, Some(-32700)),
            ("100 000 open", "[".repeat(100_000), 400, Some(-32700)),
            ("10 000 keys", keys(10_000 - own), 200, None),
            ("10 001 keys", keys(10_001 - own), 400, Some(-32600)),
        ];
        for (name, value, status, code) in cases {
            let body = message.to_string().replace("\"here\"", &value);
            let mut http = Http::connect(server.address());
            let headers = client.headers(&message);
            let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let response = http.request("POST", "/mcp", &headers, &body);
            assert_eq!(response.status, status, "{era:?} {name}: {response:?}");
            assert_eq!(response.error_code(), code, "{era:?} {name}");
            assert_eq!(client.call_text("echo", &json!({"text": "x"})), "x");
        }
    }
}

/// Every header that a response may carry over a socket.
const HEADERS: [&str; 11] = [
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "date",
    "mcp-session-id",
    "retry-after",
    "transfer-encoding",
    "www-authenticate",
    "x-accel-buffering",
];

#[test]
fn no_response_tells_what_serves_it() {
    let server = serve(&["--max-body", "1KiB"]);
    let requests: [(&str, &[u8]); 7] = [
        (
            "healthz",
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
        (
            "unknown",
            b"GET /unknown HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
        ("a method", b"PUT /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("a host", b"GET /mcp HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
        ("garbage", b"\x01\x02\x03\r\n\r\n"),
        ("a target", b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (
            "no session",
            b"GET /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
    ];
    let mut responses = Vec::new();
    for (name, bytes) in requests {
        let mut http = Http::connect(server.address());
        http.write(bytes);
        responses.push((name, http.read()));
    }
    for era in ERAS {
        let client = server.client(era);
        let called = client.start_call(1, "echo", &json!({"text": "x"})).read();
        responses.push(("a call", called));
        responses.push(("too much", post_padded(&server, &client, 2000, None)));
    }
    for (name, response) in responses {
        for (header, _) in &response.headers {
            assert!(HEADERS.contains(&header.as_str()), "{name}: {header}");
        }
    }
}

#[test]
fn a_body_is_asked_for_when_nothing_speaks_against_it() {
    let server = serve(&[]);
    let body = initialize("2025-11-25").to_string();
    let mut http = Http::connect(server.address());
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let length = body.len();
    http.write(
        format!("{head}Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n").as_bytes(),
    );
    assert_eq!(http.read_head().status, 100);
    http.write(body.as_bytes());
    assert_eq!(http.read().status, 200);
}

/// How many connections that do nothing are open beside the clients.
const SILENT: usize = 100;

#[test]
fn silent_connections_hold_nobody_up() {
    let server = serve(&[]);
    let silent: Vec<_> = (0..SILENT)
        .map(|number| {
            let mut http = Http::connect(server.address());
            http.write(&b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n"[..number % 38]);
            http
        })
        .collect();
    for era in ERAS {
        let client = server.client(era);
        let called = Instant::now();
        assert_eq!(client.call_text("echo", &json!({"text": "x"})), "x");
        assert!(called.elapsed() < ALLOWANCE, "{era:?}");
    }
    drop(silent);
}

#[test]
fn a_refused_body_is_not_asked_for() {
    let server = TestServer::with_token(TOOLS, &[]);
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let json = "Content-Type: application/json\r\n";
    let cases = [
        (
            "a foreign host",
            421,
            format!("Host: evil.example\r\n{bearer}{json}"),
            1000,
        ),
        (
            "a foreign page",
            403,
            format!("Host: localhost\r\nOrigin: null\r\n{bearer}{json}"),
            1000,
        ),
        ("no token", 401, format!("Host: localhost\r\n{json}"), 1000),
        ("no JSON", 415, format!("Host: localhost\r\n{bearer}"), 1000),
        (
            "takes no JSON",
            406,
            format!("Host: localhost\r\nAccept: text/plain\r\n{bearer}{json}"),
            1000,
        ),
        (
            "too large",
            413,
            format!("Host: localhost\r\n{bearer}{json}"),
            1_000_000_000,
        ),
    ];
    for (name, status, headers, length) in cases {
        let mut http = Http::connect(server.address());
        let framing = format!("Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n");
        http.write(format!("POST /mcp HTTP/1.1\r\n{headers}{framing}").as_bytes());
        assert_eq!(http.read_head().status, status, "{name}");
    }
}
