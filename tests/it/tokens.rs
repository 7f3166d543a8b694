//! Tokens that come and go while they are served: what an auth file or a token file names by now may
//! call, and what is gone takes with it what it opened (cases T08, T10 and K7).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use serde_json::json;

use crate::lifecycle::ping;
use crate::metrics::{ended, monitor_of, scrape, value, wait_for};
use crate::streams::Sse;
use crate::subscriptions::listen_over;
use crate::support::{
    Client, ERAS, GATE, Gate, Http, Response, TOKEN, TestServer, eventually, sha256,
};

const ALICE: &str = "alice-1-mfZ3b1mXk0Qy7h2Vn5cR8w";
const ALICE_TOO: &str = "alice-2-mfZ3b1mXk0Qy7h2Vn5cR8w";
const BOB: &str = "bob-1-mfZ3b1mXk0Qy7h2Vn5cR8w";

/// No stream ends with a heartbeat.
pub(crate) const OPTIONS: [&str; 4] = ["--metrics-listen", "127.0.0.1:0", "--heartbeat", "1m"];

/// How soon a stream ends after its token was removed.
const SOON: Duration = Duration::from_secs(5);

fn tools() -> String {
    format!("tools:\n{GATE}")
}

/// An auth file with these tokens.
fn auth(tokens: &[(&str, &str)]) -> String {
    let entry = |(token, rest): &(&str, &str)| {
        format!("  - {{sha256: {}, subject: {rest}}}\n", sha256(token))
    };
    format!("tokens:\n{}", tokens.iter().map(entry).collect::<String>())
}

fn serve(tokens: &[(&str, &str)]) -> TestServer {
    TestServer::with_auth(&tools(), &auth(tokens), &OPTIONS)
}

/// Replaces a file that only its owner can read.
pub(crate) fn replace(server: &TestServer, name: &str, text: impl AsRef<[u8]>) {
    let fresh = server.folder().join("fresh");
    fs::write(&fresh, text).unwrap();
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(fresh, server.folder().join(name)).unwrap();
}

/// Asks for the list of tools with a token and nothing else.
fn ask(server: &TestServer, token: &str) -> Response {
    Client::new(server, Era::Modern, Some(token)).request("tools/list", &json!({}))
}

fn wait_for_status(server: &TestServer, token: &str, status: u16) -> Response {
    let answered = eventually(|| Some(ask(server, token)).filter(|found| found.status == status));
    answered.unwrap_or_else(|| panic!("{:?} instead of {status}", ask(server, token)))
}

/// Reads a stream to its clean end, which comes soon after the server knows that its token is gone.
fn check_ends(stream: Sse, name: &str) {
    let since = Instant::now();
    stream.rest();
    assert!(since.elapsed() < SOON, "{name}: {:?}", since.elapsed());
}

/// Checks how many streams of this kind are open.
fn check_open(server: &TestServer, kind: &str, expected: f64) {
    let open = value(
        &scrape(&monitor_of(server)),
        &format!("streams{{kind=\"{kind}\"}}"),
    );
    assert!(
        (open - expected).abs() < 0.5,
        "{kind}: {open} instead of {expected}"
    );
}

#[test]
fn a_token_that_is_new_works_soon_and_one_that_is_removed_never_again() {
    let server = serve(&[(ALICE, "alice"), (BOB, "bob")]);
    replace(
        &server,
        "auth.yaml",
        auth(&[(ALICE, "alice"), (ALICE_TOO, "alice"), (BOB, "bob")]),
    );
    server.signal("HUP");
    wait_for_status(&server, ALICE_TOO, 200);
    assert_eq!(
        ask(&server, ALICE).status,
        200,
        "the old one works until it is removed"
    );

    // Whoever looks sees the removal without a signal too.
    replace(
        &server,
        "auth.yaml",
        auth(&[(ALICE_TOO, "alice"), (BOB, "bob")]),
    );
    let refused = wait_for_status(&server, ALICE, 401);
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert_eq!(ask(&server, ALICE_TOO).status, 200);
    assert_eq!(ask(&server, BOB).status, 200);
    for line in server.log() {
        for token in [ALICE, ALICE_TOO, BOB] {
            assert!(
                !line.contains(token) && !line.contains(&sha256(token)),
                "{line}"
            );
        }
    }
}

#[test]
fn a_token_that_is_removed_while_a_body_comes_does_nothing_any_more() {
    let server = serve(&[(ALICE, "alice"), (BOB, "bob")]);
    let clients = ERAS.map(|era| Client::new(&server, era, Some(ALICE)));
    let slow = clients.map(|client| {
        let message = client.message(1, "tools/list", &json!({}));
        let headers = client.headers(&message);
        let lines = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        let body = message.to_string();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: {}\r\nExpect: \
             100-continue\r\n\r\n",
            lines.collect::<String>(),
            body.len()
        );
        let mut http = client.connect();
        http.write(head.as_bytes());
        assert_eq!(http.read_head().status, 100, "it is let in");
        (http, body)
    });
    replace(&server, "auth.yaml", auth(&[(BOB, "bob")]));
    wait_for_status(&server, ALICE, 401);
    for (mut http, body) in slow {
        http.write(body.as_bytes());
        let refused = http.read();
        assert_eq!(refused.status, 401, "{refused:?}");
        let challenge = refused.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    }
}

#[test]
fn what_a_removed_token_opened_ends_and_its_calls_are_answered() {
    let server = serve(&[(ALICE, "alice"), (ALICE_TOO, "alice"), (BOB, "bob")]);
    let clients = ERAS.map(|era| Client::new(&server, era, Some(ALICE)));
    let calls: Vec<_> = clients
        .iter()
        .enumerate()
        .map(|(number, client)| {
            let gate = Gate::new(&server, &format!("call-{number}"));
            let call = client.start_call(1, "gate", &gate.arguments());
            gate.wait();
            (gate, call)
        })
        .collect();
    let [legacy, modern] = &clients;
    let filter = json!({"toolsListChanged": true});
    let listened = listen_over(&server, modern, &filter).0;
    let opened = Sse::get(&server, legacy, None);
    // The same principal, and another one: neither is meant.
    let refreshed = legacy.with_token(ALICE_TOO);
    let (kept, _) = listen_over(&server, &modern.with_token(ALICE_TOO), &filter);
    let bob = Client::new(&server, Era::Legacy, Some(BOB));
    let bobs = Sse::get(&server, &bob, None);

    replace(
        &server,
        "auth.yaml",
        auth(&[(ALICE_TOO, "alice"), (BOB, "bob")]),
    );
    wait_for_status(&server, ALICE, 401);
    check_ends(opened, "GET");
    check_ends(listened, "listen");
    check_open(&server, "get", 1.0);
    check_open(&server, "listen", 1.0);
    assert_eq!(ping(legacy).status, 401);
    for (gate, mut call) in calls {
        gate.open();
        let answer = call.read().json();
        assert_eq!(
            answer["result"]["content"][0]["text"], "through",
            "{answer}"
        );
    }
    assert_eq!(
        ping(&refreshed).status,
        200,
        "the session lives with another token"
    );
    assert_eq!(ping(&bob).status, 200);
    drop((kept, bobs));
    let samples = scrape(&monitor_of(&server));
    for kind in ["get", "listen"] {
        let series = format!("stream_closed_total{{kind=\"{kind}\",reason=\"revoked\"}}");
        assert!((value(&samples, &series) - 1.0).abs() < 0.5, "{kind}");
    }
    assert!(ended(&samples, "revoked") < 0.5);
}

#[test]
fn a_session_ends_with_the_last_token_of_its_principal_and_not_before_its_calls() {
    let server = serve(&[(ALICE, "alice"), (ALICE_TOO, "alice"), (BOB, "bob")]);
    let monitor = monitor_of(&server);
    let [resting, busy] = [(); 2].map(|()| Client::new(&server, Era::Legacy, Some(ALICE)));
    let bob = Client::new(&server, Era::Legacy, Some(BOB));
    let gate = Gate::new(&server, "call");
    let mut call = busy.start_call(1, "gate", &gate.arguments());
    gate.wait();
    replace(
        &server,
        "auth.yaml",
        auth(&[(ALICE_TOO, "alice"), (BOB, "bob")]),
    );
    wait_for_status(&server, ALICE, 401);
    assert_eq!(ping(&resting.with_token(ALICE_TOO)).status, 200);

    replace(&server, "auth.yaml", auth(&[(BOB, "bob")]));
    wait_for(&monitor, "the resting session", |samples| {
        ended(samples, "revoked") > 0.5
    });
    gate.open();
    assert_eq!(
        call.read().json()["result"]["content"][0]["text"],
        "through"
    );
    wait_for(&monitor, "the busy session", |samples| {
        ended(samples, "revoked") > 1.5
    });
    assert_eq!(ping(&bob).status, 200);

    // Who comes back finds no session.
    replace(
        &server,
        "auth.yaml",
        auth(&[(ALICE, "alice"), (BOB, "bob")]),
    );
    wait_for_status(&server, ALICE, 200);
    assert_eq!(ping(&resting).status, 404);
}

#[test]
fn a_token_that_says_something_else_now_is_another_one() {
    let server = serve(&[(ALICE, "alice, roles: [dba]"), (BOB, "bob")]);
    let modern = Client::new(&server, Era::Modern, Some(ALICE));
    let filter = json!({"toolsListChanged": true});
    let stream = listen_over(&server, &modern, &filter).0;
    let (kept, _) = listen_over(&server, &modern.with_token(BOB), &filter);
    replace(
        &server,
        "auth.yaml",
        auth(&[(ALICE, "alice"), (BOB, "bob")]),
    );
    server.wait_for_log("credentials reloaded");
    check_ends(stream, "it sees what it may not see any more");
    assert_eq!(ask(&server, ALICE).status, 200);
    check_open(&server, "listen", 1.0);
    drop(kept);
}

/// Case T10.
#[test]
fn a_file_that_cannot_be_used_changes_nothing_but_the_metrics_and_the_log() {
    let good = auth(&[(ALICE, "alice")]);
    let server = serve(&[(ALICE, "alice")]);
    let monitor = monitor_of(&server);
    let is_loaded = |expected: f64| {
        let series = "auth_reload_success";
        wait_for(&monitor, series, |samples| {
            (value(samples, series) - expected).abs() < 0.5
        });
    };
    let client = Client::new(&server, Era::Legacy, Some(ALICE));
    let stream = Sse::get(&server, &client, None);
    let path = server.folder().join("auth.yaml");
    let open_to_all = || fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let cases: [(&str, &dyn Fn(), &str); 6] = [
        (
            "truncated",
            &|| replace(&server, "auth.yaml", &good[..good.len() / 2]),
            "1 error",
        ),
        (
            "no text",
            &|| replace(&server, "auth.yaml", b"\xff\xfe\0"),
            "it is not UTF-8 text",
        ),
        ("empty", &|| replace(&server, "auth.yaml", ""), "1 error"),
        (
            "no tokens",
            &|| replace(&server, "auth.yaml", "tokens: []"),
            "1 error",
        ),
        ("open to others", &open_to_all, "others must have no access"),
        (
            "gone",
            &|| fs::remove_file(&path).unwrap(),
            "cannot read it",
        ),
    ];
    for (case, spoil, reason) in cases {
        let before = server.log().len();
        spoil();
        is_loaded(0.0);
        server.signal("HUP");
        assert_eq!(ask(&server, ALICE).status, 200, "{case}");
        assert_eq!(ping(&client).status, 200, "{case}");
        let is_said = |line: &String| line.contains("not reloaded") && line.contains(reason);
        let said = eventually(|| server.log().into_iter().skip(before).find(is_said));
        assert!(said.is_some(), "{case}: {:#?}", server.log());
        replace(&server, "auth.yaml", &good);
        is_loaded(1.0);
    }
    check_open(&server, "get", 1.0);
    drop(stream);
    let samples = scrape(&monitor);
    assert!(value(&samples, "auth_reloads_total{outcome=\"failed\"}") > 5.5);
    assert!(value(&samples, "auth_reloads_total{outcome=\"ok\"}") > 5.5);
    let ready = Http::connect(server.address()).request("GET", "/readyz", &[], "");
    assert_eq!(ready.status, 200);
}

#[test]
fn the_token_of_a_token_file_can_be_replaced() {
    let server = TestServer::with_token(&tools(), &OPTIONS);
    let client = Client::new(&server, Era::Legacy, Some(TOKEN));
    let stream = Sse::get(&server, &client, None);
    replace(&server, "token", "short");
    server.wait_for_log("the token has 5 characters");
    assert_eq!(ask(&server, TOKEN).status, 200);
    replace(&server, "token", format!("{ALICE}\n"));
    wait_for_status(&server, ALICE, 200);
    assert_eq!(ask(&server, TOKEN).status, 401);
    check_ends(stream, "its token is gone");
    assert_eq!(
        ping(&client.with_token(ALICE)).status,
        200,
        "the principal is the same"
    );
}
