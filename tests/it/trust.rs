//! What a change of those who are trusted ends, and what goes on.

use std::time::SystemTime;

use mcp_serve::protocol::version::Era;
use serde_json::json;

use crate::introspection::{OPAQUE, active, entry};
use crate::issuer::{AUDIENCE, Issuer, Key, Mood, key_set, unix};
use crate::jwt::{TOOLS, ask, serve, trusting};
use crate::lifecycle::ping;
use crate::metrics::{ended, monitor_of, scrape, value, wait_for};
use crate::reload::told;
use crate::streams::Sse;
use crate::support::{Client, TestServer, eventually};
use crate::tokens::{OPTIONS, replace};

/// Opens a session and a stream in it.
fn open(server: &TestServer, token: &str) -> (Client, Sse) {
    let client = Client::new(server, Era::Legacy, Some(token));
    let mut stream = Sse::get(server, &client, None);
    stream.next().expect("its beginning");
    (client, stream)
}

/// Replaces the auth file, and waits until it counts.
fn reload(server: &TestServer, auth: &str) {
    let monitor = monitor_of(server);
    let reloads = |samples: &_| value(samples, "auth_reloads_total{outcome=\"ok\"}");
    let before = reloads(&scrape(&monitor));
    replace(server, "auth.yaml", auth);
    wait_for(&monitor, "reloaded", |samples| {
        reloads(samples) > before + 0.5
    });
}

/// Checks that a stream goes on: it hears of what changes by now.
fn check_goes_on(server: &TestServer, stream: &mut Sse, case: &str) {
    let fresh = format!("  fresh: {{description: 'For {case}.', exec: /bin/true}}\n");
    server.replace("tools.yaml", &format!("{TOOLS}{fresh}"));
    assert_eq!(told(stream, 1), "tools/list_changed", "{case}");
}

#[test]
fn only_what_tokens_have_to_say_is_a_reason_to_end_what_they_opened() {
    let key = Key::new("one");
    let issuer = Issuer::with_keys(&[&key]);
    let server = trusting(&[&issuer]);
    let (session, mut stream) = open(&server, &key.token(&issuer.claims("alice")));
    let mut settings = String::new();
    for (setting, goes_on) in [
        ("leeway: 10s", true),
        ("algorithms: [EdDSA]", true),
        ("claims: {roles: groups}", false),
        ("require_typ: at+jwt", false),
        ("require_claims: {sub: alice}", false),
        ("max_lifetime: 2h", false),
    ] {
        settings.push_str(&format!("    {setting}\n"));
        reload(&server, &format!("jwt:\n{}", issuer.entry(&settings)));
        if goes_on {
            check_goes_on(&server, &mut stream, setting);
        } else {
            stream.rest();
            stream = Sse::get(&server, &session, None);
            stream.next().expect("its beginning");
        }
        assert_eq!(ping(&session).status, 200, "{setting}");
    }
    let other = issuer
        .entry(&settings)
        .replace(AUDIENCE, "https://other.example");
    reload(&server, &format!("jwt:\n{other}"));
    stream.rest();
    assert_eq!(ping(&session).status, 401);
    assert_eq!(issuer.asked().len(), 1, "its keys are the same");
}

#[test]
fn only_what_is_asked_of_an_answer_is_a_reason_to_end_what_it_opened() {
    let authority = Issuer::start(Mood::Json(active()));
    let before = entry(&authority);
    let server = serve(&format!("introspection:\n{before}"));
    let (session, mut stream) = open(&server, OPAQUE);
    let fresh = before.replace("client_id: mcp", "client_id: other");
    reload(&server, &format!("introspection:\n{fresh}"));
    check_goes_on(&server, &mut stream, "a client");
    assert_eq!(ping(&session).status, 200);
    assert_eq!(authority.asked().len(), 2, "asked as somebody else");
    reload(
        &server,
        &format!("introspection:\n{fresh}    claims: {{roles: groups}}\n"),
    );
    stream.rest();
    assert_eq!(ping(&session).status, 200);
}

#[test]
fn keys_in_a_file_are_read_again_when_it_changes() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let server = TestServer::start_with(TOOLS, &OPTIONS, |prepare| {
        let keys = key_set(&[&old]).to_string();
        std::fs::write(prepare.folder.join("keys.json"), keys).unwrap();
        prepare.serve_with_auth(&format!(
            "jwt:\n  - {{issuer: 'https://id.example', audience: '{AUDIENCE}', jwks: keys.json}}\n"
        ));
    });
    let now = unix(SystemTime::now());
    let claims =
        json!({"iss": "https://id.example", "aud": AUDIENCE, "sub": "alice", "exp": now + 600});
    let (session, mut stream) = open(&server, &old.token(&claims));
    assert_eq!(ask(&server, &new.token(&claims)).status, 401);
    replace(&server, "keys.json", key_set(&[&new]).to_string());
    server.wait_for_log("credentials reloaded");
    assert_eq!(ask(&server, &new.token(&claims)).status, 200);
    assert_eq!(ping(&session).status, 401);
    assert_eq!(ping(&session.with_token(&new.token(&claims))).status, 200);
    check_goes_on(&server, &mut stream, "other keys");
    replace(&server, "keys.json", "{}");
    server.wait_for_log("not reloaded: those may call who could before");
    assert_eq!(ask(&server, &new.token(&claims)).status, 200);
}

#[test]
fn what_an_issuer_vouched_for_ends_when_it_is_trusted_no_more() {
    let (key, other_key) = (Key::new("one"), Key::new("other"));
    let issuer = Issuer::with_keys(&[&key]);
    let other = Issuer::with_keys(&[&other_key]);
    let server = trusting(&[&issuer, &other]);
    let monitor = monitor_of(&server);
    let clients = [(&issuer, &key), (&other, &other_key)].map(|(issuer, key)| {
        Client::new(
            &server,
            Era::Legacy,
            Some(&key.token(&issuer.claims("alice"))),
        )
    });
    let [mut stream, kept] =
        [&clients[0], &clients[1]].map(|client| Sse::get(&server, client, None));
    stream.next().expect("its beginning");

    replace(
        &server,
        "auth.yaml",
        format!("# The same.\njwt:\n{}{}", issuer.entry(""), other.entry("")),
    );
    server.wait_for_log("credentials reloaded");
    for client in &clients {
        assert_eq!(ping(client).status, 200);
    }
    replace(&server, "auth.yaml", format!("jwt:\n{}", other.entry("")));
    stream.rest();
    let refused = eventually(|| (ping(&clients[0]).status == 401).then_some(()));
    assert!(refused.is_some());
    wait_for(&monitor, "its session", |samples| {
        ended(samples, "revoked") > 0.5
    });
    assert_eq!(ping(&clients[1]).status, 200);
    let open = value(&scrape(&monitor), "streams{kind=\"get\"}");
    assert!((open - 1.0).abs() < 0.5, "{open}");
    drop(kept);
    for issuer in [issuer, other] {
        assert_eq!(
            issuer.asked().len(),
            1,
            "a reload fetches nothing that is there"
        );
    }
}
