//! Tokens that only their authorization server can read: it is asked, and not too often; and who
//! comes without a token.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::issuer::{AUDIENCE, Issuer, Mood, base64};
use crate::jwt::ask;
use crate::support::{Client, ERAS, Http, TOKEN, TestServer, eventually, sha256};
use crate::upstream::{Upstream, respond};

const TOOLS: &str = "
tools:
  who:
    description: Says who calls.
    exec: [sh, -c, 'printf \"%s|%s\" \"$MCP_CALLER_SUBJECT\" \"$MCP_CALLER_SCOPES\"']
  hello:
    description: Says hello.
    effect: read
    allow: [role:guest, role:user]
    content: Hello!
";

pub(crate) const OPAQUE: &str = "opaque-1-mfZ3b1mXk0Qy7h2Vn5cR8w";
const SECRET: &str = "client-mfZ3b1mXk0Qy7h2Vn5cR8w";

/// An entry of `introspection` in an auth file.
pub(crate) fn entry(server: &Issuer) -> String {
    entry_at(&server.url())
}

fn entry_at(url: &str) -> String {
    format!(
        "  - url: {url}/introspect\n    client_id: mcp\n    client_secret: {SECRET}\n    audience: {AUDIENCE}\n"
    )
}

pub(crate) fn serve(servers: &[&Issuer]) -> TestServer {
    let entries: String = servers.iter().map(|server| entry(server)).collect();
    TestServer::with_auth(TOOLS, &format!("introspection:\n{entries}"), &[])
}

pub(crate) fn active() -> Value {
    json!({"active": true, "sub": "alice", "scope": "read write", "aud": AUDIENCE})
}

#[test]
fn a_token_is_asked_about_once_for_a_while() {
    let authority = Issuer::start(Mood::Json(active()));
    let server = serve(&[&authority]);
    for era in ERAS {
        let client = Client::new(&server, era, Some(OPAQUE));
        assert_eq!(
            client.call_text("who", &json!({})),
            "alice|read write",
            "{era:?}"
        );
    }
    let [asked] = authority.asked().try_into().expect("one question");
    assert_eq!(asked.line, "POST /introspect");
    assert_eq!(
        asked.body,
        format!("token={OPAQUE}&token_type_hint=access_token")
    );
    let authorization = asked.header("authorization").unwrap();
    assert!(authorization.starts_with("Basic "), "{authorization}");
    for line in server.log() {
        assert!(!line.contains(OPAQUE) && !line.contains(SECRET), "{line}");
    }
}

#[test]
fn what_is_no_good_token_lets_nobody_in() {
    let answers = [
        ("inactive", json!({"active": false})),
        (
            "for somebody else",
            json!({"active": true, "sub": "alice", "aud": "https://other.example"}),
        ),
        ("for nobody", json!({"active": true, "sub": "alice"})),
        (
            "over",
            json!({"active": true, "sub": "alice", "aud": AUDIENCE, "exp": 1}),
        ),
        ("of nobody", json!({"active": true, "aud": AUDIENCE})),
    ];
    for (case, answer) in answers {
        let authority = Issuer::start(Mood::Json(answer));
        let server = serve(&[&authority]);
        let began = Instant::now();
        for _ in 0..3 {
            let refused = ask(&server, OPAQUE);
            assert_eq!(refused.status, 401, "{case}: {refused:?}");
        }
        let asked = authority.asked().len();
        let is_soon = began.elapsed() < Duration::from_secs(5);
        assert!(asked == 1 || !is_soon, "{case}: asked {asked} times");
        if case != "inactive" {
            server.wait_for_log("an active token is not good here");
        }
        // Before long it is asked again: the token may be good by then.
        authority.is_now(Mood::Json(active()));
        let works = eventually(|| (ask(&server, OPAQUE).status == 200).then_some(()));
        assert!(works.is_some(), "{case}");
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(5 + 10), "{case}: {waited:?}");
    }
}

/// Case W18.
#[test]
fn a_server_that_does_not_answer_is_not_waited_for() {
    let moods = [
        ("hangs", Mood::Silent),
        ("fails", Mood::Status("500 Internal Server Error")),
        ("sends", Mood::Elsewhere("http://127.0.0.1:1/".to_owned())),
        ("floods", Mood::Endless),
        ("talks", Mood::Json(json!({"hello": "there"}))),
    ];
    for (case, mood) in moods {
        let authority = Issuer::start(mood);
        let server = serve(&[&authority]);
        let began = Instant::now();
        let refused = ask(&server, OPAQUE);
        let waited = began.elapsed();
        assert_eq!(refused.status, 503, "{case}: {refused:?}");
        assert!(refused.header("retry-after").is_some(), "{case}");
        // Two seconds, and what a busy machine adds.
        assert!(waited < Duration::from_secs(8), "{case}: {waited:?}");
        server.wait_for_log("introspection fails");
        authority.is_now(Mood::Json(active()));
        assert_eq!(ask(&server, OPAQUE).status, 200, "{case}");
        server.wait_for_log("introspection works again");
    }
}

#[test]
fn another_server_may_know_what_one_does_not() {
    let silent = Issuer::start(Mood::Status("502 Bad Gateway"));
    let ignorant = Issuer::start(Mood::Json(json!({"active": false})));
    let knowing = Issuer::start(Mood::Json(active()));
    assert_eq!(
        ask(&serve(&[&silent, &ignorant, &knowing]), OPAQUE).status,
        200
    );
    assert_eq!(
        ask(&serve(&[&ignorant, &ignorant_too()]), OPAQUE).status,
        401
    );
    let refused = ask(&serve(&[&silent, &ignorant]), OPAQUE);
    assert_eq!(refused.status, 503, "the silent one may know it");
}

#[test]
fn servers_are_asked_at_once() {
    // Each answers only once both were asked, and would be late if one waited for the other.
    let both = Arc::new(Barrier::new(2));
    let servers = [Arc::clone(&both), both].map(|both| {
        Upstream::start(move |_, to| {
            both.wait();
            respond(
                to,
                "200 OK",
                &["Content-Type: application/json"],
                b"{\"active\": false}",
            )
        })
    });
    let entries: String = servers
        .iter()
        .map(|server| entry_at(&server.url()))
        .collect();
    let server = TestServer::with_auth(TOOLS, &format!("introspection:\n{entries}"), &[]);
    assert_eq!(ask(&server, OPAQUE).status, 401);
}

fn ignorant_too() -> Issuer {
    Issuer::start(Mood::Json(json!({"active": false})))
}

#[test]
fn an_end_that_is_null_is_none() {
    let mut answer = active();
    answer["exp"] = Value::Null;
    let authority = Issuer::start(Mood::Json(answer));
    assert_eq!(ask(&serve(&[&authority]), OPAQUE).status, 200);
}

#[test]
fn a_token_of_a_trusted_issuer_is_shown_to_nobody_else() {
    let authority = Issuer::start(Mood::Json(active()));
    let issuer = Issuer::start(Mood::Json(json!({"keys": []})));
    let auth = format!(
        "jwt:\n{}introspection:\n{}",
        issuer.entry(""),
        entry(&authority)
    );
    let server = TestServer::with_auth(TOOLS, &auth, &[]);
    let claims = base64(issuer.claims("alice").to_string());
    let headers = [
        json!({"alg": "none"}),
        json!({"alg": "ES256", "crit": ["b64"], "b64": false}),
        json!({"alg": "ES999"}),
    ];
    for header in headers {
        let token = format!("{}.{claims}.AAAA", base64(header.to_string()));
        assert_eq!(ask(&server, &token).status, 401, "{header}");
    }
    assert_eq!(authority.asked().len(), 0);
    assert_eq!(ask(&server, OPAQUE).status, 200);
}

#[test]
fn an_answer_that_is_longer_than_what_is_said_of_a_token_is_none() {
    let mut answer = active();
    answer["more"] = json!("x".repeat(16 * 1024));
    let authority = Issuer::start(Mood::Json(answer));
    let server = serve(&[&authority]);
    assert_eq!(ask(&server, OPAQUE).status, 503);
    server.wait_for_log("answers with more than 16 KiB");
}

#[test]
fn a_known_token_is_asked_about_nowhere() {
    let authority = Issuer::start(Mood::Json(json!({"active": false})));
    let tokens = format!("tokens:\n  - {{sha256: {}, subject: bob}}\n", sha256(TOKEN));
    let auth = format!("{tokens}introspection:\n{}", entry(&authority));
    let server = TestServer::with_auth(TOOLS, &auth, &[]);
    assert_eq!(ask(&server, TOKEN).status, 200);
    assert_eq!(authority.asked().len(), 0);
    // Nor is one that is longer than tokens are.
    assert_eq!(ask(&server, &"x".repeat(9000)).status, 401);
    assert_eq!(authority.asked().len(), 0);
}

#[test]
fn who_comes_without_a_token_is_anonymous_where_the_file_says_so_and_a_bad_one_is_bad() {
    let tokens = format!(
        "tokens:\n  - {{sha256: {}, subject: bob, roles: [user]}}\n",
        sha256(TOKEN)
    );
    let server = TestServer::with_auth(
        TOOLS,
        &format!("{tokens}anonymous: {{roles: [guest]}}\n"),
        &[],
    );
    for era in ERAS {
        for token in [None, Some(TOKEN)] {
            let client = Client::new(&server, era, token);
            assert_eq!(
                client.call_text("hello", &json!({})),
                "Hello!",
                "{era:?} {token:?}"
            );
        }
    }
    let client = Client::new(&server, Era::Modern, None);
    let message = client.message(1, "tools/list", &json!({}));
    let headers = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/list"),
    ];
    let bad = [
        ("Bearer mfZ3b1mXk0Qy7h2Vn5cR8w", 401),
        ("Bearer", 400),
        ("Bearer ", 400),
        ("", 401),
        ("Basic dXNlcjpwYXNz", 401),
    ];
    for (value, status) in bad {
        let all: Vec<_> = headers
            .into_iter()
            .chain([("Authorization", value)])
            .collect();
        let mut http = Http::connect(server.address());
        let response = http.request("POST", "/mcp", &all, &message.to_string());
        assert_eq!(response.status, status, "{value:?}: {response:?}");
    }
}
