//! Session rule E6: a session that was opened without a credential goes over to the first principal
//! that comes with one. A client that gets a token on the way goes on with it; for everybody else it is
//! not there any more.

use std::fs;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::foreign::{NO_SESSION, send, verbs};
use crate::identity::{ALICE, BOB};
use crate::lifecycle::{on_session, ping};
use crate::metrics::{ended, monitor_of, scrape, value, wait_for};
use crate::outputs::link;
use crate::streams::Sse;
use crate::support::{Client, GATE, Gate, Http, Response, TestServer, initialize, sha256, text};
use crate::tokens::{OPTIONS, replace};

const GUESTS: &str = "anonymous: {roles: [guest]}\n";

/// Tools that leave something for later: a kept output, and the result of a call whose client was let go,
/// which comes once it may.
pub(crate) const LEAVES: &str = r#"
  large:
    description: Prints more than a result holds.
    exec: [printf, '0123456789 and more']
    max_output: 10
    output: {on_overflow: resource}
  lets_go:
    description: Lets its client go, and prints something once it may.
    exec:
      - sh
      - -c
      - |
        echo '{"mcp":"log","level":"error","data":1}'
        echo '{"mcp":"close_stream"}'
        until [ -e go ] || [ ! -e tools.yaml ]; do sleep 0.02; done
        printf the-result
    messages: true
"#;

fn tools() -> String {
    format!(
        r#"
defaults: {{effect: read, workdir: ., allow: [role:guest, role:user]}}
tools:
{GATE}
  who: {{description: Says who calls., exec: [sh, -c, 'printf "<%s>" "$MCP_CALLER_SUBJECT"']}}
  mine: {{description: For users., exec: [printf, mine], allow: [role:user]}}
  key: {{description: Says where it keeps things., exec: [sh, -c, 'printf "$MCP_SESSION_HASH"']}}
{LEAVES}
resources:
  note: {{uri: 'test://note', description: For all., file: note.txt}}
  guests: {{uri: 'test://guests', description: For guests., file: guests.txt, allow: [role:guest]}}
"#
    )
}

fn auth() -> String {
    let entry = |token, subject| {
        let digest = sha256(token);
        format!("  - {{sha256: {digest}, subject: {subject}, roles: [user]}}\n")
    };
    let tokens = [entry(ALICE, "alice"), entry(BOB, "bob")].concat();
    format!("tokens:\n{tokens}{GUESTS}")
}

fn serve(options: &[&str]) -> TestServer {
    let options = [&OPTIONS[..], options].concat();
    TestServer::start_with(&tools(), &options, |prepare| {
        for name in ["note.txt", "guests.txt"] {
            fs::write(prepare.folder.join(name), "first").unwrap();
        }
        prepare.serve_with_auth(&auth());
    })
}

/// A client without a credential.
fn guest(server: &TestServer) -> Client {
    Client::new(server, Era::Legacy, None)
}

#[test]
fn a_client_that_gets_a_token_goes_on_with_its_session() {
    let server = serve(&[]);
    let guest = guest(&server);
    let stream = Sse::get(&server, &guest, None);
    let gate = Gate::new(&server, "call");
    let mut call = guest.start_call(1, "gate", &gate.arguments());
    gate.wait();
    assert_eq!(guest.call_text("who", &json!({})), "<>");

    let alice = guest.with_token(ALICE);
    assert_eq!(alice.call_text("who", &json!({})), "<alice>");
    assert!(stream.rest().len() <= 1, "it ends, and says no more");
    let line = server.wait_for_log("session claimed");
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["principal"], "alice");
    assert_eq!(line["session"], guest.session()[..8]);
    // Alice hears on a stream of her own that her lists are others.
    let mut hers = Sse::get(&server, &alice, None);
    let told = std::iter::from_fn(|| hers.next()).find(|sent| !sent.is_empty());
    let told = told.expect("a change").message();
    assert_eq!(told["method"], "notifications/tools/list_changed");

    // For all others there is no such session.
    for other in [guest.clone(), guest.with_token(BOB)] {
        let lost = other.with_session(NO_SESSION);
        for verb in verbs() {
            let (claimed, unknown) = (send(&other, &verb), send(&lost, &verb));
            assert_eq!(claimed, unknown, "{verb:?}");
            assert!(claimed.status >= 400, "{verb:?}: {claimed:?}");
        }
        for method in ["GET", "DELETE"] {
            let refused = on_session(&server, &other, method).read();
            assert_eq!(refused.status, 404, "{method}");
        }
        assert_eq!(ping(&other).status, 404);
    }
    // What was begun is answered where it was begun.
    gate.open();
    let answer = call.read().json();
    assert_eq!(answer["result"]["content"][0]["text"], "through");
    assert_eq!(alice.call_text("mine", &json!({})), "mine");

    let samples = scrape(&monitor_of(&server));
    for (series, expected) in [
        ("sessions_claimed_total", 1.0),
        ("stream_closed_total{kind=\"get\",reason=\"claimed\"}", 1.0),
        ("streams{kind=\"get\"}", 1.0),
    ] {
        let found = value(&samples, series);
        assert!((found - expected).abs() < 0.5, "{series}: {found}");
    }
    let end = on_session(&server, &alice, "DELETE").read();
    assert_eq!(end.status, 204);
    let line = server.wait_for_log("session ended");
    assert!(line.contains("\"principal\":\"alice\""), "{line}");
}

#[test]
fn what_a_stranger_kept_in_a_session_is_not_found_by_who_claims_it() {
    let server = serve(&[]);
    let guest = guest(&server);
    let alice = guest.with_token(ALICE);
    let [strangers, hers] = [&guest, &alice].map(|client| {
        let key = client.call_text("key", &json!({}));
        assert_eq!(key, client.session_hash());
        key
    });
    assert_ne!(strangers, hers);
    assert_eq!(alice.call_text("key", &json!({})), hers);
}

#[test]
fn the_stream_of_a_principal_claims_a_session_too() {
    let server = serve(&[]);
    let guest = guest(&server);
    let stream = Sse::get(&server, &guest, None);
    let hers = Sse::get(&server, &guest.with_token(ALICE), None);
    assert!(stream.rest().len() <= 1);
    assert_eq!(ping(&guest).status, 404);
    assert_eq!(ping(&guest.with_token(BOB)).status, 404);
    assert_eq!(ping(&guest.with_token(ALICE)).status, 200);
    drop(hers);
}

#[test]
fn what_was_subscribed_to_is_judged_by_the_token() {
    let server = serve(&[]);
    let guest = guest(&server);
    for uri in ["test://guests", "test://note"] {
        let answer = guest.request("resources/subscribe", &json!({"uri": uri}));
        assert_eq!(answer.json()["result"], json!({}), "{answer:?}");
    }
    let mut stream = Sse::get(&server, &guest.with_token(ALICE), None);
    server.replace("guests.txt", "second");
    server.replace("note.txt", "second");
    let updated = loop {
        let sent = stream.next().expect("a message");
        if sent.is_empty() {
            continue;
        }
        let message = sent.message();
        if message["method"] == "notifications/resources/updated" {
            break text(&message["params"]["uri"]);
        }
    };
    assert_eq!(updated, "test://note", "the other is for guests");
}

#[test]
fn what_a_call_left_stays_with_those_who_come_without_a_credential() {
    let server = serve(&[]);
    let guest = guest(&server);
    let result = guest.call("large", &json!({}));
    let uri = json!({"uri": link(&result)["uri"]});
    let call = guest.start_call(1, "lets_go", &json!({}));
    let sent = Sse::read("a call", call).rest();
    let last = sent.iter().rev().find_map(|sent| sent.id.clone()).unwrap();

    let alice = guest.with_token(ALICE);
    let refused = alice.request("resources/read", &uri);
    assert_eq!(refused.error_code(), Some(-32002), "{refused:?}");
    fs::write(server.folder().join("go"), "").unwrap();
    // A stream of the session, and not what is left of the call.
    let mut stream = Sse::get(&server, &alice, Some(&last));
    let first = stream.next().unwrap();
    assert!(first.is_empty(), "{first:?}");

    let another = Client::new(&server, Era::Legacy, None);
    let read = another.request("resources/read", &uri).json();
    let text = &read["result"]["contents"][0]["text"];
    assert_eq!(text, "0123456789 and more", "{read}");
}

/// The messages of a batch, posted in a session of this version.
fn batch(server: &TestServer, version: &str) -> (Client, Response) {
    let guest = guest(server);
    let headers = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
    ];
    let mut http = Http::connect(server.address());
    let body = initialize(version).to_string();
    let opened = http.request("POST", "/mcp", &headers, &body);
    let session = opened.header("mcp-session-id").unwrap();
    let guest = guest.with_session(session);
    let alice = guest.with_token(ALICE);
    let batch = json!([alice.message(1, "ping", &json!({}))]);
    (guest, alice.post_message(&batch))
}

#[test]
fn a_batch_claims_only_a_session_that_has_batches() {
    let server = serve(&[]);
    let (guest, refused) = batch(&server, "2025-11-25");
    assert_eq!(refused.status, 400, "{refused:?}");
    assert_eq!(ping(&guest).status, 200);
    let (guest, answered) = batch(&server, "2025-03-26");
    assert_eq!(answered.status, 200, "{answered:?}");
    assert_eq!(ping(&guest).status, 404);
}

#[test]
fn a_principal_claims_no_more_sessions_than_it_may_have() {
    let server = serve(&["--max-sessions-per-principal=1"]);
    let alice = Client::new(&server, Era::Legacy, Some(ALICE));
    let stream = Sse::get(&server, &alice, None);
    let guest = guest(&server);
    let claiming = guest.with_token(ALICE);
    let post = ping(&claiming);
    let get = on_session(&server, &claiming, "GET").read();
    for refused in [post, get] {
        assert_eq!(refused.status, 429, "{refused:?}");
        assert_eq!(refused.error_code(), Some(-32603));
        assert!(refused.header("retry-after").is_some());
    }
    assert_eq!(ping(&guest).status, 200, "nothing has become of it");
    assert_eq!(ping(&alice).status, 200);
    drop(stream);
    wait_for(&monitor_of(&server), "her stream", |samples| {
        value(samples, "streams{kind=\"get\"}") < 0.5
    });
    assert_eq!(ping(&claiming).status, 200);
    assert_eq!(ping(&alice).status, 404, "her session that was idle");
    // Others without a credential have room again.
    assert_eq!(ping(&self::guest(&server)).status, 200);
}

#[test]
fn a_session_that_was_claimed_outlives_the_days_of_guests() {
    let server = serve(&[]);
    let [claimed, unclaimed] = [(); 2].map(|()| guest(&server));
    let alice = claimed.with_token(ALICE);
    assert_eq!(ping(&alice).status, 200);
    let streams = [&alice, &unclaimed].map(|client| Sse::get(&server, client, None));
    replace(&server, "auth.yaml", auth().replace(GUESTS, ""));
    wait_for(&monitor_of(&server), "a session", |samples| {
        ended(samples, "revoked") > 0.5
    });
    let [kept, gone] = streams;
    assert!(gone.rest().len() <= 1);
    assert_eq!(ping(&unclaimed).status, 401);
    assert_eq!(ping(&unclaimed.with_token(BOB)).status, 404);
    assert_eq!(ping(&alice).status, 200);
    drop(kept);
}
