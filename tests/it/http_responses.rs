//! What becomes of the responses to requests of tools, and what a hostile server can do.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::http_tools::{ISSUES, json_upstream, tools};
use crate::support::{ALLOWANCE, ERAS, TestServer, eventually, text};
use crate::upstream::{Stream, Upstream, respond, say};

/// What an upstream that answers by path says.
fn hostile(path: &str, to: &mut dyn Stream) -> bool {
    let json = "Content-Type: application/json";
    let text = "Content-Type: text/plain; charset=utf-8";
    let gzip = "Content-Encoding: gzip";
    match path {
        "object" => respond(to, "200 OK", &[json], b" {\"a\": [1]}\n"),
        "problem" => respond(
            to,
            "200 OK",
            &["Content-Type: application/problem+json"],
            b"[1]",
        ),
        "broken_json" => respond(to, "200 OK", &[json], b"{\"a\": \xff}"),
        "text" => respond(to, "201 Created", &[text], b"made\n"),
        "untyped" => respond(to, "200 OK", &[], b"plain"),
        "picture" => respond(to, "200 OK", &["Content-Type: image/png"], b"\x89PNG"),
        "pdf" => respond(
            to,
            "200 OK",
            &["Content-Type: application/pdf"],
            b"%PDF\xff",
        ),
        "nothing" => respond(to, "204 No Content", &[], b""),
        "empty" => respond(to, "200 OK", &[json], b""),
        "missing" => respond(
            to,
            "404 Very Secret",
            &[json],
            b"{\"error\": \"no such issue\"}",
        ),
        "refused" => {
            let headers = ["WWW-Authenticate: Bearer realm=x", "Set-Cookie: a=b"];
            respond(to, "401 Unauthorized", &headers, b"")
        }
        "busy" => respond(
            to,
            "429 Too Many Requests",
            &["Retry-After: 7"],
            b"slow down",
        ),
        "down" => {
            let date = "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT";
            respond(to, "503 Service Unavailable", &[date], b"\x89PNG")
        }
        "long_error" => respond(to, "500 Oops", &[text], &b"x".repeat(100_000)),
        "binary_error" => respond(to, "500 Oops", &["Content-Type: image/png"], b"\x89PNG"),
        "redirect" => {
            let location = "Location: http://169.254.169.254/latest/meta-data/";
            respond(to, "302 Found", &[location], b"")
        }
        "long" => respond(to, "200 OK", &[text], &b"0123456789".repeat(10)),
        "long_json" => respond(to, "200 OK", &[json], &b"0123456789".repeat(10)),
        "bomb" => respond(to, "200 OK", &[text, gzip], &gzip_of_zeros()),
        "endless" => {
            let head = format!("HTTP/1.1 200 OK\r\n{text}\r\nTransfer-Encoding: chunked\r\n\r\n");
            let mut open = to.write_all(head.as_bytes()).is_ok();
            while open {
                open = to.write_all(b"4\r\nmore\r\n").is_ok();
            }
            false
        }
        "short" => say(to, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"),
        "bad_chunks" => say(
            to,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ),
        "bad_gzip" => respond(to, "200 OK", &[text, gzip], b"no gzip"),
        "garbage" => say(to, b"SSH-2.0-OpenSSH_9.9\r\n"),
        "closed" => false,
        "continued" => {
            let head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
            to.write_all(head).is_ok() && respond(to, "200 OK", &[text], b"at last")
        }
        "huge_header" => {
            let header = format!("HTTP/1.1 200 OK\r\nX-Huge: {}", "x".repeat(1_000_000));
            say(to, header.as_bytes())
        }
        "many_headers" => {
            let headers = "X-Many: x\r\n".repeat(1000);
            say(to, format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes())
        }
        _ => respond(to, "400 Bad Request", &[], path.as_bytes()),
    }
}

/// A mebibyte of zeros in a kilobyte.
fn gzip_of_zeros() -> Vec<u8> {
    STANDARD.decode(GZIP_OF_ZEROS.replace('\n', "")).unwrap()
}

/// Tools that ask for what their caller names.
pub(crate) const HOSTILE: &str = "
  get: {description: d, effect: read, http: {api: tracker, GET: '/{what}'}, params: {what: string}, max_output: 50}
  post: {description: d, http: {api: tracker, POST: '/{what}'}, params: {what: string}, max_output: 50}
  head: {description: d, http: {api: tracker, HEAD: '/{what}'}, params: {what: string}}
  json: {description: d, http: {api: tracker, GET: '/{what}'}, params: {what: string}, output: json, max_output: 50}
  checked: {description: d, http: {api: tracker, GET: '/{what}'}, params: {what: string}, output: {schema: {type: object, required: [b]}}}
";

fn hostile_upstream() -> Upstream {
    Upstream::start(|request, to| {
        let path = request.line.rsplit('/').next().unwrap_or_default();
        hostile(path, to)
    })
}

#[test]
fn a_response_becomes_what_its_media_type_says() {
    let upstream = hostile_upstream();
    let server = TestServer::start(&tools(&upstream, "", HOSTILE), &[]);
    let client = server.client(Era::Modern);
    let told = |text: &str| json!([{"type": "text", "text": text}]);
    let cases = [
        ("get", "object", told("{\"a\": [1]}"), json!({"a": [1]})),
        ("get", "problem", told("[1]"), json!([1])),
        (
            "get",
            "broken_json",
            told("{\"a\": \u{fffd}}\n[some bytes were not UTF-8 and are shown as \u{fffd}]"),
            Value::Null,
        ),
        ("get", "text", told("made\n"), Value::Null),
        ("get", "untyped", told("plain"), Value::Null),
        (
            "get",
            "picture",
            json!([{"type": "image", "data": "iVBORw==", "mimeType": "image/png"}]),
            Value::Null,
        ),
        (
            "get",
            "pdf",
            json!([{"type": "resource", "resource": {
                "uri": "tool:get", "mimeType": "application/pdf", "blob": "JVBERv8="}}]),
            Value::Null,
        ),
        ("post", "nothing", told("204 No Content"), Value::Null),
        ("get", "empty", told("200 OK"), Value::Null),
        ("head", "nothing", told("204 No Content"), Value::Null),
        ("get", "continued", told("at last"), Value::Null),
        ("json", "object", told("{\"a\": [1]}"), json!({"a": [1]})),
        (
            "get",
            "long",
            told(&format!(
                "{}\n[output cut: the tool printed more than 50 bytes, and was stopped]",
                "0123456789".repeat(5)
            )),
            Value::Null,
        ),
    ];
    for (tool, what, content, structured) in cases {
        let result = client.call(tool, &json!({"what": what}));
        assert_eq!(result["content"], content, "{tool} {what}: {result}");
        assert_eq!(result["isError"], false, "{tool} {what}");
        assert_eq!(result["structuredContent"], structured, "{tool} {what}");
    }
}

#[test]
fn what_a_hostile_server_does_is_an_error_in_words() {
    let upstream = hostile_upstream();
    let server = TestServer::start(&tools(&upstream, "", HOSTILE), &[]);
    let long_error = format!(
        "tracker answered 500 Internal Server Error:\n{}…",
        "x".repeat(4096)
    );
    let cases = [
        (
            "get",
            "missing",
            "tracker answered 404 Not Found:\n{\"error\": \"no such issue\"}",
        ),
        ("get", "refused", "tracker answered 401 Unauthorized"),
        (
            "get",
            "busy",
            "tracker answered 429 Too Many Requests; try again after 7 s:\nslow down",
        ),
        (
            "get",
            "down",
            "tracker answered 503 Service Unavailable; try again after Wed, 21 Oct 2026 07:28:00 GMT:\n\u{fffd}PNG",
        ),
        ("get", "long_error", &long_error),
        (
            "get",
            "binary_error",
            "tracker answered 500 Internal Server Error",
        ),
        (
            "get",
            "redirect",
            "tracker answered 302 Found, and was not followed there",
        ),
        (
            "get",
            "long_json",
            "tracker answered with more than 50 bytes of application/json; ask for less",
        ),
        (
            "json",
            "long_json",
            "the tool printed more than 50 bytes of JSON, and was stopped; ask for less",
        ),
        (
            "get",
            "short",
            "the response of tracker ended too early or cannot be decoded",
        ),
        (
            "get",
            "bad_chunks",
            "the response of tracker ended too early or cannot be decoded",
        ),
        (
            "get",
            "bad_gzip",
            "the response of tracker ended too early or cannot be decoded",
        ),
        (
            "get",
            "garbage",
            "the response of tracker is not valid HTTP",
        ),
        (
            "get",
            "huge_header",
            "the response of tracker is not valid HTTP",
        ),
        (
            "get",
            "many_headers",
            "the response of tracker is not valid HTTP",
        ),
        (
            "get",
            "closed",
            "tracker closed the connection before it answered",
        ),
        (
            "checked",
            "object",
            "what the tool gave does not match its output schema\n- must have the property \"b\"",
        ),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (tool, what, expected) in cases {
            let found = client.call_error(tool, &json!({"what": what}));
            assert_eq!(found, expected, "{what}");
        }
    }
}

#[test]
fn what_comes_without_end_is_cut() {
    let upstream = hostile_upstream();
    let server = TestServer::start(&tools(&upstream, "", HOSTILE), &[]);
    let client = server.client(Era::Modern);
    // Before it is decoded, and after.
    for (tool, what, is_error) in [
        ("get", "bomb", false),
        ("get", "endless", false),
        ("post", "endless", true),
    ] {
        let result = client.call(tool, &json!({"what": what}));
        let told = text(&result["content"][0]["text"]);
        assert!(
            told.ends_with("more than 50 bytes, and was stopped]"),
            "{told}"
        );
        assert_eq!(result["isError"], is_error, "{what}");
    }
}

#[test]
fn only_what_is_harmless_is_sent_twice() {
    let upstream = Upstream::start(|request, to| {
        // A connection that was used is closed without an answer.
        request.earlier == 0 && respond(to, "200 OK", &[], request.line.as_bytes())
    });
    let definitions = "
  get: {description: d, http: {api: tracker, GET: /}}
  put: {description: d, http: {api: tracker, PUT: /, body: x}}
  post: {description: d, http: {api: tracker, POST: /, body: x}}
";
    let server = TestServer::start(&tools(&upstream, "", definitions), &[]);
    let client = server.client(Era::Modern);
    let none = json!({});
    assert_eq!(client.call_text("get", &none), "GET /api/");
    assert_eq!(client.call_text("get", &none), "GET /api/");
    assert_eq!(client.call_text("put", &none), "PUT /api/");
    assert_eq!(
        client.call_error("post", &none),
        "tracker closed the connection before it answered"
    );
    assert_eq!(client.call_text("post", &none), "POST /api/");
    let lines: Vec<_> = upstream.received().iter().map(|r| r.line.clone()).collect();
    let posts = lines.iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!(posts, 2, "{lines:?}");
}

#[test]
fn redirects_are_followed_only_to_where_the_credentials_belong() {
    let other = json_upstream();
    let there = other.url();
    let upstream = Upstream::start(move |request, to| {
        let location = match request.line.rsplit('/').next().unwrap_or_default() {
            "same" => "Location: /api/end".to_owned(),
            "loop" => "Location: /api/loop".to_owned(),
            "other" => format!("Location: {there}/"),
            "scheme" => "Location: file:///etc/passwd".to_owned(),
            _ => return respond(to, "200 OK", &[], request.line.as_bytes()),
        };
        respond(to, "307 Temporary Redirect", &[&location], b"")
    });
    let settings = ", redirects: same_origin, auth: {bearer: s3cr3t}";
    let server = TestServer::start(&tools(&upstream, settings, HOSTILE), &[]);
    let client = server.client(Era::Modern);
    let call = |tool, what| client.call(tool, &json!({"what": what}))["content"][0]["text"].clone();
    assert_eq!(call("get", "same"), "GET /api/end");
    assert_eq!(call("post", "same"), "POST /api/end");
    for what in ["loop", "other", "scheme"] {
        let told = text(&call("get", what));
        assert_eq!(
            told,
            "tracker answered 307 Temporary Redirect, and was not followed there"
        );
    }
    assert_eq!(other.received().len(), 0);
    assert!(upstream.received().len() < 15);
}

#[test]
fn each_phase_has_a_time_limit() {
    let upstream = Upstream::start(|request, to| {
        if request.line.ends_with("body") {
            drop(to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"));
        }
        to.wait_for_end();
        false
    });
    let definitions = "
  silent: {description: d, http: {api: tracker, POST: '/{what}'}, params: {what: string}, timeout: 1m}
  short: {description: d, http: {api: tracker, POST: '/{what}'}, params: {what: string}, timeout: 1s}
";
    let server = TestServer::start(&tools(&upstream, ", timeout: 2s", definitions), &[]);
    let client = server.client(Era::Modern);
    let cases = [
        ("silent", "head", "tracker did not answer within 2s"),
        (
            "short",
            "head",
            "tracker did not answer within the time limit of 1s",
        ),
        (
            "short",
            "body",
            "the response of tracker was not complete within the time limit of 1s",
        ),
    ];
    for (tool, what, expected) in cases {
        let started = Instant::now();
        assert_eq!(client.call_error(tool, &json!({"what": what})), expected);
        assert!(
            started.elapsed() < Duration::from_secs(2) + ALLOWANCE,
            "{tool} {what}"
        );
    }
}

#[test]
fn a_call_that_is_given_up_closes_its_connection() {
    let (closed, hears) = mpsc::channel();
    let upstream = Upstream::start(move |_, to| {
        drop(to.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"));
        to.wait_for_end();
        closed.send(()).ok();
        false
    });
    let server = TestServer::start(&tools(&upstream, "", ISSUES), &[]);
    let client = server.client(Era::Legacy);
    let mut http = client.start_call(7, "status", &json!({}));
    assert!(eventually(|| upstream.received().first().map(|_| ())).is_some());
    let params = json!({"requestId": 7});
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
    assert_eq!(client.post_message(&cancel).status, 202);
    assert_eq!(
        http.read().json()["error"]["message"],
        "The call was cancelled"
    );
    hears.recv_timeout(crate::support::PATIENCE).unwrap();
}

#[test]
fn an_api_that_is_down_is_not_waited_for() {
    // A port that is taken, and that nobody listens on yet.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    let definitions = format!(
        "
apis: {{tracker: {{base_url: 'http://127.0.0.1:{port}'}}}}
tools:
  get: {{description: d, http: {{api: tracker, GET: /}}}}
  other: {{description: d, content: fine}}
"
    );
    let server = TestServer::start(&definitions, &[]);
    let client = server.client(Era::Modern);
    let none = json!({});
    for _ in 0..5 {
        assert_eq!(
            client.call_error("get", &none),
            "could not connect to tracker: connection refused"
        );
    }
    let told = client.call_error("get", &none);
    assert!(
        told.contains("several times in a row and was not tried again"),
        "{told}"
    );
    assert_eq!(client.call_text("other", &none), "fine");
    socket.listen(1).unwrap();
    let _up = Upstream::on(socket.into(), |_, to| {
        respond(to, "200 OK", &[], b"up again")
    });
    let up = eventually(|| {
        let result = client.call("get", &none);
        (result["isError"] == false).then(|| text(&result["content"][0]["text"]))
    });
    assert_eq!(up.as_deref(), Some("up again"));
}

#[test]
fn a_name_that_does_not_exist_is_said_so() {
    // No part of a name is that long, so that nobody has to be asked.
    let name = "x".repeat(64);
    let definitions = format!(
        "
apis: {{tracker: {{base_url: 'http://{name}.invalid'}}}}
tools: {{get: {{description: d, http: {{api: tracker, GET: /}}}}}}
"
    );
    let server = TestServer::start(&definitions, &[]);
    let told = server.client(Era::Modern).call_error("get", &json!({}));
    assert_eq!(
        told,
        "could not connect to tracker: its name cannot be resolved"
    );
}

const GZIP_OF_ZEROS: &str = "
H4sIAAAAAAACA+3BMQEAAADCoPVPbQhfoAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAPgMc6jinAAAQAA==
";
