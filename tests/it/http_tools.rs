//! Tools that send requests: what arrives, what becomes of the response, and what a hostile server
//! can do.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::ask::{Events, answer, modern};
use crate::support::{Client, ERAS, TOKEN, TestServer, eventually, text};
use crate::upstream::{Upstream, certificates, respond, say};

const ISSUES: &str = r#"
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
fn tools(upstream: &Upstream, settings: &str, tools: &str) -> String {
    let url = upstream.url();
    format!("apis: {{tracker: {{base_url: '{url}/api/'{settings}}}}}\ntools:{tools}")
}

fn json_upstream() -> Upstream {
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

/// What an upstream that answers by path says.
fn hostile(path: &str, to: &mut dyn Write) -> bool {
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

const HOSTILE: &str = "
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
        // What comes without end is cut, before and after it is decoded.
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
    let (held, holds) = mpsc::channel::<()>();
    let holds = std::sync::Mutex::new(holds);
    let upstream = Upstream::start(move |request, to| {
        if request.line.ends_with("body") {
            drop(to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"));
            drop(to.flush());
        }
        // Until the test is over.
        holds.lock().unwrap().recv().ok();
        false
    });
    let definitions = "
  silent: {description: d, http: {api: tracker, POST: '/{what}'}, params: {what: string}, timeout: 10s}
  short: {description: d, http: {api: tracker, POST: '/{what}'}, params: {what: string}, timeout: 300ms}
";
    let server = TestServer::start(&tools(&upstream, ", timeout: 500ms", definitions), &[]);
    let client = server.client(Era::Modern);
    let cases = [
        ("silent", "head", "tracker did not answer within 500ms"),
        (
            "short",
            "head",
            "tracker did not answer within the time limit of 300ms",
        ),
        (
            "short",
            "body",
            "the response of tracker was not complete within the time limit of 300ms",
        ),
    ];
    for (tool, what, expected) in cases {
        let started = Instant::now();
        assert_eq!(client.call_error(tool, &json!({"what": what})), expected);
        assert!(started.elapsed() < Duration::from_secs(8), "{tool} {what}");
    }
    drop(held);
}

#[test]
fn a_call_that_is_given_up_closes_its_connection() {
    let (closed, hears) = mpsc::channel();
    let upstream = Upstream::start(move |_, to| {
        // Writing fails once the other side is gone.
        let mut part = to.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while part.is_ok() {
            std::thread::sleep(Duration::from_millis(5));
            part = to.write_all(b"1\r\nx\r\n").and_then(|()| to.flush());
        }
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
    // A port that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
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
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            respond(&mut stream, "200 OK", &["Connection: close"], b"up again");
        }
    });
    let up = eventually(|| {
        let result = client.call("get", &none);
        (result["isError"] == false).then(|| text(&result["content"][0]["text"]))
    });
    assert_eq!(up.as_deref(), Some("up again"));
}

#[test]
fn a_name_that_does_not_exist_is_said_so() {
    let definitions = "
apis: {tracker: {base_url: 'http://does-not-exist.invalid'}}
tools: {get: {description: d, http: {api: tracker, GET: /}}}
";
    let server = TestServer::start(definitions, &[]);
    let told = server.client(Era::Modern).call_error("get", &json!({}));
    assert!(told.starts_with("could not connect to tracker: "), "{told}");
    assert!(!told.contains("does-not-exist"), "{told}");
}

#[test]
fn encrypted_connections_trust_whom_the_definition_trusts() {
    let answer = |request: &crate::upstream::Received, to: &mut dyn Write| {
        respond(to, "200 OK", &[], request.line.as_bytes())
    };
    let open = Upstream::encrypted(false, answer);
    let closed = Upstream::encrypted(true, answer);
    let folder = certificates();
    let folder = folder.display();
    let (open, closed) = (open.port(), closed.port());
    let definitions = format!(
        "
apis:
  trusted: {{base_url: 'https://localhost:{open}', tls: {{ca: '{folder}/ca.pem'}}}}
  named: {{base_url: 'https://127.0.0.2:{open}', tls: {{ca: '{folder}/ca.pem'}}}}
  other: {{base_url: 'https://localhost:{open}', tls: {{ca: '{folder}/client.pem'}}}}
  mutual:
    base_url: 'https://127.0.0.1:{closed}'
    tls: {{ca: '{folder}/ca.pem', cert: '{folder}/client.pem', key: '{folder}/client.key'}}
  nobody: {{base_url: 'https://localhost:{closed}', tls: {{ca: '{folder}/ca.pem'}}}}
  plain: {{base_url: 'http://localhost:{open}'}}
tools:
  trusted: {{description: d, http: {{api: trusted, GET: /x}}}}
  named: {{description: d, http: {{api: named, GET: /x}}}}
  other: {{description: d, http: {{api: other, GET: /x}}}}
  mutual: {{description: d, http: {{api: mutual, GET: /x}}}}
  nobody: {{description: d, http: {{api: nobody, GET: /x}}}}
  plain: {{description: d, http: {{api: plain, GET: /x}}}}
"
    );
    let server = TestServer::start(&definitions, &[]);
    let client = server.client(Era::Modern);
    let none = json!({});
    assert_eq!(client.call_text("trusted", &none), "GET /x");
    assert_eq!(client.call_text("mutual", &none), "GET /x");
    let refused = [
        (
            "other",
            "its certificate is from an issuer that is not trusted",
        ),
        ("nobody", ""),
        ("plain", ""),
        ("named", ""),
    ];
    for (tool, reason) in refused {
        let told = client.call_error(tool, &none);
        assert!(told.contains(tool) && told.contains(reason), "{told}");
        assert!(!told.contains("127.0.0.1"), "{told}");
    }
}

#[test]
fn a_token_is_asked_for_once_and_again_when_it_is_refused() {
    let fetched = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&fetched);
    let upstream = Upstream::start(move |request, to| {
        let json = "Content-Type: application/json";
        if request.line == "POST /token" {
            let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
            // So that the others have to wait.
            std::thread::sleep(Duration::from_millis(100));
            let token = json!({"access_token": format!("t{number}"), "token_type": "Bearer", "expires_in": 3600});
            return respond(to, "200 OK", &[json], token.to_string().as_bytes());
        }
        let authorization = request.header("authorization").unwrap_or_default();
        let is_revoked = request.line.ends_with("revoked") && authorization == "Bearer t1";
        let is_refused = request.line.ends_with("never") || is_revoked;
        let status = if is_refused {
            "401 Unauthorized"
        } else {
            "200 OK"
        };
        respond(to, status, &[], authorization.as_bytes())
    });
    let url = upstream.url();
    let settings = format!(
        ", auth: {{oauth2: {{token_url: '{url}/token', client_id: 'm c', client_secret: 's3cr3t:', \
         scopes: [a, b], audience: 'x&y'}}}}"
    );
    let server = TestServer::start(&tools(&upstream, &settings, HOSTILE), &[]);
    let client = server.client(Era::Modern);
    let calls: Vec<_> = (1..=8)
        .map(|id| client.start_call(id, "get", &json!({"what": "fine"})))
        .collect();
    for mut call in calls {
        let result = call.read().json();
        assert_eq!(
            result["result"]["content"][0]["text"], "Bearer t1",
            "{result}"
        );
    }
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
    assert_eq!(
        client.call_text("post", &json!({"what": "revoked"})),
        "Bearer t2"
    );
    assert_eq!(fetched.load(Ordering::SeqCst), 2);
    let told = client.call_error("get", &json!({"what": "never"}));
    assert!(
        told.starts_with("tracker answered 401 Unauthorized"),
        "{told}"
    );
    assert_eq!(fetched.load(Ordering::SeqCst), 3);
    let received = upstream.received();
    let asked = received
        .iter()
        .find(|request| request.line == "POST /token")
        .unwrap();
    let basic = format!("Basic {}", STANDARD.encode("m%20c:s3cr3t%3A"));
    assert_eq!(asked.header("authorization"), Some(basic.as_str()));
    assert_eq!(
        asked.body,
        "grant_type=client_credentials&scope=a%20b&audience=x%26y"
    );
}

#[test]
fn without_a_token_nothing_is_sent() {
    let upstream = Upstream::start(|request, to| match request.line.as_str() {
        "POST /token" => {
            let error = br#"{"error": "invalid_client", "error_description": "s3cr3t is wrong"}"#;
            respond(to, "401 Unauthorized", &[], error)
        }
        "POST /html" => respond(to, "200 OK", &[], b"<html>s3cr3t"),
        _ => respond(to, "200 OK", &[], b""),
    });
    let url = upstream.url();
    let mut apis = String::new();
    let mut tools = String::new();
    let cases = [
        (
            "token",
            "there is no token for token: the token server answered 401 Unauthorized (invalid_client)",
        ),
        (
            "html",
            "there is no token for html: the token server answered without a token",
        ),
    ];
    for (name, _) in cases {
        apis.push_str(&format!(
            "  {name}: {{base_url: '{url}', auth: {{oauth2: {{token_url: '{url}/{name}', \
             client_id: c, client_secret: s3cr3t}}}}}}\n"
        ));
        tools.push_str(&format!(
            "  {name}: {{description: d, http: {{api: {name}, GET: /data}}}}\n"
        ));
    }
    let server = TestServer::start(&format!("apis:\n{apis}tools:\n{tools}"), &[]);
    let client = server.client(Era::Modern);
    for (name, expected) in cases {
        assert_eq!(client.call_error(name, &json!({})), expected);
    }
    assert!(
        upstream
            .received()
            .iter()
            .all(|request| request.line != "GET /data")
    );
    assert!(server.log().iter().all(|line| !line.contains("s3cr3t")));
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
    let upstream = json_upstream();
    let url = upstream.url();
    let definitions = format!(
        "tools: {{get: {{description: d, http: {{GET: '{url}/x/{{y}}.json'}}, params: {{y: string}}}}}}"
    );
    let server = TestServer::start(&definitions, &[]);
    let client = server.client(Era::Modern);
    let result = client.call("get", &json!({"y": "%2e%2e"}));
    assert_eq!(
        result["structuredContent"]["line"],
        "GET /x/%252e%252e.json"
    );
    let tools = client.request("tools/list", &json!({})).json();
    assert_eq!(
        tools["result"]["tools"][0]["annotations"]["readOnlyHint"],
        true
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
