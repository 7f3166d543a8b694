//! Who calls, as the real binary tells callers apart and tells its tools of them.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{
    Client, ERAS, Gate, Http, Response, TOKEN, TestServer, eventually, initialize, sha256,
};

/// A tool that waits for its gate and then says what it was told of its call.
const TOOLS: &str = "
tools:
  caller:
    description: Prints what it knows of its call.
    exec:
      - sh
      - -c
      - 'touch \"$1.started\"; until [ -e \"$1.open\" ] || [ ! -e \"$1.started\" ]; do sleep 0.02; done;
        printf \"%s|%s|%s|%s\" \"$MCP_CALLER_SUBJECT\" \"$MCP_CALLER_TENANT\" \"$MCP_CALLER_SCOPES\" \"$MCP_TOOL_NAME\"'
      - sh
      - '{path}'
    params: {path: string}
  environment:
    description: Prints its environment and its command line.
    exec: cat /proc/self/environ /proc/self/cmdline
";

pub(crate) const ALICE: &str = "alice-1-mfZ3b1mXk0Qy7h2Vn5cR8w";
pub(crate) const ALICE_TOO: &str = "alice-2-mfZ3b1mXk0Qy7h2Vn5cR8w";
const ALICE_EXPIRED: &str = "alice-3-mfZ3b1mXk0Qy7h2Vn5cR8w";
pub(crate) const ALICE_ELSEWHERE: &str = "alice-4-mfZ3b1mXk0Qy7h2Vn5cR8w";
pub(crate) const ALICE_NOWHERE: &str = "alice-5-mfZ3b1mXk0Qy7h2Vn5cR8w";
pub(crate) const BOB: &str = "bob-1-mfZ3b1mXk0Qy7h2Vn5cR8w";
const STRANGER: &str = "nobody-1-mfZ3b1mXk0Qy7h2Vn5cR8w";

pub(crate) fn auth() -> String {
    let entries = [
        (ALICE, "subject: alice, tenant: acme, scopes: [r]"),
        (ALICE_TOO, "subject: alice, tenant: acme, scopes: [r, w]"),
        (
            ALICE_EXPIRED,
            "subject: alice, tenant: acme, expires: 2020-01-01T00:00:00Z",
        ),
        (ALICE_ELSEWHERE, "subject: alice, tenant: globex"),
        (ALICE_NOWHERE, "subject: alice"),
        (BOB, "subject: bob, tenant: acme, scopes: [r, w]"),
    ];
    let lines = entries.map(|(token, rest)| format!("  - {{sha256: {}, {rest}}}\n", sha256(token)));
    format!("tokens:\n{}", lines.concat())
}

pub(crate) fn serve() -> TestServer {
    TestServer::with_auth(TOOLS, &auth(), &[])
}

pub(crate) fn ping(client: &Client) -> Response {
    client.request("ping", &json!({}))
}

/// Sends a method for the session of a client: POST pings.
pub(crate) fn on_session(server: &TestServer, client: &Client, method: &str) -> Response {
    let message = client.message(1, "ping", &json!({}));
    let headers = client.headers(&message);
    let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let body = if method == "POST" {
        message.to_string()
    } else {
        String::new()
    };
    Http::connect(server.address()).request(method, "/mcp", &headers, &body)
}

/// Session rule E2.
#[test]
fn a_session_outlives_a_token_of_its_principal() {
    let server = serve();
    let opened = Client::new(&server, Era::Legacy, Some(ALICE));
    let refreshed = opened.with_token(ALICE_TOO);
    assert_eq!(ping(&refreshed).status, 200);
    assert_eq!(ping(&opened).status, 200, "both tokens are good");
    assert_eq!(on_session(&server, &refreshed, "DELETE").status, 204);
    assert_eq!(ping(&opened).status, 404, "it is one session");
}

/// Session rule E4.
#[test]
fn each_call_is_made_by_the_caller_of_its_request() {
    let server = serve();
    for era in ERAS {
        let read = Client::new(&server, era, Some(ALICE));
        let write = read.with_token(ALICE_TOO);
        let calls = [
            (&read, "one", "alice|acme|r|caller"),
            (&write, "two", "alice|acme|r w|caller"),
            (&read, "three", "alice|acme|r|caller"),
        ];
        // All of them run before the first one looks at its variables.
        let running: Vec<_> = calls
            .into_iter()
            .map(|(client, name, expected)| {
                let gate = Gate::new(&server, &format!("{era:?}-{name}"));
                let http = client.start_call(1, "caller", &gate.arguments());
                gate.wait();
                (gate, http, expected)
            })
            .collect();
        for (gate, mut http, expected) in running.into_iter().rev() {
            gate.open();
            let response = http.read().json();
            let said = &response["result"]["content"][0]["text"];
            assert_eq!(said, expected, "{era:?}");
        }
    }
    let calls = || {
        let is_call = |line: &String| line.contains("\"message\":\"call\"");
        let calls: Vec<_> = server.log().into_iter().filter(is_call).collect();
        (calls.len() == 6).then_some(calls)
    };
    for call in eventually(calls).expect("a line for each call") {
        let call: Value = serde_json::from_str(&call).unwrap();
        assert_eq!(call["principal"], "alice (acme)", "{call}");
    }
}

/// The variables that the server sets, in order.
fn told(client: &Client) -> Vec<String> {
    let text = client.call_text("environment", &json!({}));
    let variables = text.split('\0').filter(|text| text.starts_with("MCP_"));
    let mut variables: Vec<_> = variables.map(str::to_owned).collect();
    variables.sort_unstable();
    variables
}

#[test]
fn a_tool_is_told_what_is_known_of_its_call_and_nothing_is_made_up() {
    let open = TestServer::start(TOOLS, &[]);
    let shared = TestServer::with_token(TOOLS, &[]);
    let named = serve();
    let cases = [
        ("open", &open, None, ["", "", "", ""]),
        (
            "token file",
            &shared,
            Some(TOKEN),
            ["token_file", "default", "", ""],
        ),
        (
            "no tenant",
            &named,
            Some(ALICE_NOWHERE),
            ["auth_file", "alice", "", ""],
        ),
        (
            "all",
            &named,
            Some(BOB),
            ["auth_file", "bob", "acme", "r w"],
        ),
    ];
    for (name, server, token, [issuer, subject, tenant, scopes]) in cases {
        for era in ERAS {
            let client = Client::new(server, era, token);
            let version = match era {
                Era::Legacy => "2025-11-25",
                Era::Modern => "2026-07-28",
            };
            let variables = told(&client);
            let number = variables
                .iter()
                .find_map(|variable| variable.strip_prefix("MCP_REQUEST_ID="))
                .unwrap();
            let expected = [
                format!("MCP_CALLER_ISSUER={issuer}"),
                format!("MCP_CALLER_SCOPES={scopes}"),
                format!("MCP_CALLER_SUBJECT={subject}"),
                format!("MCP_CALLER_TENANT={tenant}"),
                "MCP_CLIENT_CAPABILITIES={}".to_owned(),
                format!("MCP_PROTOCOL_VERSION={version}"),
                format!("MCP_REQUEST_ID={number}"),
                format!("MCP_SESSION_HASH={}", client.session_hash()),
                "MCP_TOOL_NAME=environment".to_owned(),
            ];
            assert_eq!(variables, expected, "{name} {era:?}");
            // The number leads to the line in the log.
            server.wait_for_log(&format!("\"call\":{number},"));
        }
    }
}

/// Asserts that a response refuses a token that was good once.
fn assert_expired(response: &Response, case: &str) {
    assert_eq!(response.status, 401, "{case}: {response:?}");
    let challenge = response.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer "), "{case}: {challenge}");
    for said in ["error=\"invalid_token\"", "The access token expired"] {
        assert!(challenge.contains(said), "{case}: {challenge}");
    }
    assert_eq!(response.header("mcp-session-id"), None, "{case}");
}

/// Session rule E5.
#[test]
fn a_token_that_has_expired_lets_nobody_in() {
    let server = serve();
    server.wait_for_log("this token has expired, and lets nobody in");
    let alice = Client::new(&server, Era::Legacy, Some(ALICE));
    let expired = alice.with_token(ALICE_EXPIRED);
    for method in ["POST", "GET", "DELETE"] {
        let response = on_session(&server, &expired, method);
        assert_expired(&response, method);
    }
    let modern = Client::new(&server, Era::Modern, Some(ALICE_EXPIRED));
    assert_expired(&modern.request("tools/list", &json!({})), "modern");
    assert_eq!(ping(&alice).status, 200, "the session lives");

    let unknown = ping(&alice.with_token(STRANGER));
    assert_eq!(unknown.status, 401);
    let challenge = unknown.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert!(!challenge.contains("expired"), "{challenge}");
}

/// Session rule E5.
#[test]
fn a_token_expires_while_its_session_lives() {
    let life = Duration::from_secs(4);
    let expires = SystemTime::now() + life;
    let auth = format!(
        "tokens:\n  - {{sha256: {}, subject: alice, expires: {}}}\n  - {{sha256: {}, subject: alice}}\n",
        sha256(ALICE),
        humantime::format_rfc3339_millis(expires),
        sha256(ALICE_TOO),
    );
    let server = TestServer::with_auth(TOOLS, &auth, &[]);
    let client = Client::new(&server, Era::Legacy, Some(ALICE));
    let refused = eventually(|| Some(ping(&client)).filter(|response| response.status != 200));
    // The date in the file has whole milliseconds.
    assert!(
        SystemTime::now() + Duration::from_millis(1) >= expires,
        "too early"
    );
    assert_expired(&refused.unwrap(), "after its time");
    let other = client.with_token(ALICE_TOO);
    assert_eq!(ping(&other).status, 200, "the session lives");
}

/// Opens the stream of a session and reads its first bytes.
fn listen(server: &TestServer, client: &Client) -> Http {
    let headers = client.headers(&Value::Null);
    let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let mut stream = Http::connect(server.address());
    stream.send("GET", "/mcp", &headers, "");
    assert_eq!(stream.read_head().status, 200);
    assert!(stream.read_chunk().is_some());
    stream
}

/// Reads a stream to its clean end, and checks that it comes when a token expires.
fn check_ends_at(mut stream: Http, expires: SystemTime, name: &str) {
    while stream.read_chunk().is_some() {}
    let now = SystemTime::now();
    // The date in the file has whole milliseconds.
    assert!(now + Duration::from_millis(1) >= expires, "{name}: early");
    assert!(now < expires + Duration::from_secs(5), "{name}: late");
}

/// Session rule E5.
#[test]
fn a_stream_ends_with_its_token_and_a_session_with_the_last_one() {
    let first = SystemTime::now() + Duration::from_secs(3);
    let second = first + Duration::from_secs(1);
    let date = |at| humantime::format_rfc3339_millis(at).to_string();
    let auth = [
        (ALICE, "alice", Some(first)),
        (ALICE_TOO, "alice", None),
        (BOB, "bob", Some(first)),
        (ALICE_ELSEWHERE, "carol", Some(first)),
        (ALICE_NOWHERE, "carol", Some(second)),
        (STRANGER, "dave", Some(first)),
    ]
    .map(|(token, subject, expires)| {
        let expires = expires.map_or_else(String::new, |at| format!(", expires: {}", date(at)));
        let digest = sha256(token);
        format!("  - {{sha256: {digest}, subject: {subject}{expires}}}\n")
    });
    let auth = format!("tokens:\n{}", auth.concat());
    let server = TestServer::with_auth(TOOLS, &auth, &["--heartbeat", "1m"]);
    let [alice, bob, carol, silent] = [ALICE, BOB, ALICE_ELSEWHERE, STRANGER]
        .map(|token| Client::new(&server, Era::Legacy, Some(token)));
    let other = Client::new(&server, Era::Legacy, Some(ALICE_TOO));
    let kept = listen(&server, &other);
    let streams = [&alice, &bob, &carol].map(|client| listen(&server, client));
    for (stream, name) in streams.into_iter().zip(["alice", "bob", "carol"]) {
        check_ends_at(stream, first, name);
    }
    for client in [&alice, &bob, &carol, &silent] {
        assert_expired(&ping(client), "after its time");
    }
    // Alice and Carol have another token, and go on.
    let carol = carol.with_token(ALICE_NOWHERE);
    assert_eq!(ping(&alice.with_token(ALICE_TOO)).status, 200);
    assert_eq!(ping(&carol).status, 200);
    assert_eq!(ping(&other).status, 200);
    let are_revoked = |count| {
        let revoked = || server.statistics()["sessions_ended"]["revoked"].clone();
        eventually(|| (revoked() == count).then_some(())).is_some()
    };
    assert!(are_revoked(2), "Bob's and Dave's");
    check_ends_at(listen(&server, &carol), second, "carol, again");
    assert!(are_revoked(3), "Carol's does not end");
    for client in [&bob, &carol, &silent] {
        let prefix = &client.session()[..8];
        let is_end = |line: &&String| line.contains("session ended") && line.contains(prefix);
        let log = server.log();
        let end = log.iter().find(is_end).expect("the end in the log");
        assert!(end.contains("\"reason\":\"revoked\""), "{end}");
    }
    assert_eq!(server.statistics()["active_sessions"], 2);
    drop(kept);
}

/// Session rule E7.
#[test]
fn a_session_id_is_random_and_a_credential() {
    const IDS: usize = 500;
    let server = TestServer::start_with(TOOLS, &["--log-level", "trace"], |prepare| {
        let unlimited = "--max-sessions-per-principal=0";
        prepare.command.arg(unlimited);
    });
    let headers = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
    ];
    let body = initialize("2025-11-25").to_string();
    let mut http = Http::connect(server.address());
    let mut ids = HashSet::new();
    for _ in 0..IDS {
        let opened = http.request("POST", "/mcp", &headers, &body);
        let id = opened.header("mcp-session-id").unwrap().to_owned();
        assert!(id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
        assert!(!opened.text().contains(&id), "in the header only");
        assert!(ids.insert(id), "an id twice");
    }
    // Each of 128 bits is set in about half of the ids; none of them in all or none.
    let mut set = 0;
    let mut clear = 0;
    for id in &ids {
        let digits: String = id.chars().filter(char::is_ascii_hexdigit).collect();
        let bits = u128::from_str_radix(&digits, 16).unwrap();
        set |= bits;
        clear |= !bits;
    }
    assert_eq!(set & clear, u128::MAX, "{:032x} vary", set & clear);

    let live = ids.iter().next().unwrap();
    let client = Client::new(&server, Era::Legacy, None).with_session(live);
    let endless = "a".repeat(8 << 10);
    let malformed = ["x", "../../etc/passwd", "größe", "\u{1}", "a b", &endless];
    for method in ["POST", "GET", "DELETE"] {
        for (id, expected) in malformed
            .into_iter()
            .map(|id| (id, [404, 400]))
            .chain([("", [400, 400]), ("  ", [400, 400])])
        {
            let status = on_session(&server, &client.with_session(id), method).status;
            assert!(expected.contains(&status), "{method} {id:?}: {status}");
        }
    }
    assert_eq!(ping(&client).status, 200);
    assert_eq!(on_session(&server, &client, "DELETE").status, 204);
    server.signal("USR1");
    server.wait_for_log("session statistics");
    let log = server.log().join("\n");
    for id in &ids {
        assert!(!log.contains(id), "{id} is in the log");
        assert!(log.contains(&id[..8]), "{id} cannot be followed");
    }
}

#[test]
fn nobody_gets_in_without_a_token() {
    let server = serve();
    let headers = [("Content-Type", "application/json")];
    for (name, body) in [
        ("initialize", initialize("2025-11-25").to_string()),
        ("nothing", String::new()),
    ] {
        let mut http = Http::connect(server.address());
        let response = http.request("POST", "/mcp", &headers, &body);
        assert_eq!(response.status, 401, "{name}");
        let challenge = response.header("www-authenticate").unwrap();
        assert!(!challenge.contains("error"), "{name}: {challenge}");
    }
    assert_eq!(server.statistics()["active_sessions"], 0);
}
