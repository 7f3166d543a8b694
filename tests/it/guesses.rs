//! Clients that guess tokens (T12).

use mcp_serve::protocol::version::Era;
use serde_json::json;

use crate::introspection;
use crate::issuer::{AUDIENCE, Issuer, Mood};
use crate::metrics::{MONITOR, monitor_of, scrape, value};
use crate::support::{Client, Http, Response, TOKEN, TestServer, sha256};

const TOOLS: &str = "tools: {echo: {description: Says hello., exec: /bin/echo hello}}";

const GUESS: &str = "Bearer guessed-token-Qy7h2VmfZ3b1mXk0Wq";

fn ask(http: &mut Http, credential: &str, client: &str) -> Response {
    let headers = [("Authorization", credential), ("X-Forwarded-For", client)];
    http.request("GET", "/other", &headers, "")
}

#[test]
fn whoever_guesses_waits_and_nobody_else() {
    let options = [&MONITOR[..], &["--trusted-proxy=127.0.0.1"]].concat();
    let server = TestServer::with_token(TOOLS, &options);
    let mut http = Http::connect(server.address());
    let answers: Vec<_> = (0..400)
        .map(|_| ask(&mut http, GUESS, "203.0.113.1"))
        .collect();
    let refused = answers.iter().filter(|answer| answer.status == 401).count();
    assert!((50..400).contains(&refused), "{refused}");
    let throttled: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 429)
        .collect();
    assert_eq!(throttled.len() + refused, 400);
    for answer in &throttled {
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("www-authenticate"), None);
        assert_eq!(answer.error_code(), Some(-32603));
    }
    // Everybody behind the same address who has a token goes on, and so do strangers elsewhere.
    let good = format!("Bearer {TOKEN}");
    let mut seen = 0;
    while seen == 0 {
        seen = u32::from(ask(&mut http, GUESS, "203.0.113.1").status == 429);
        assert_eq!(ask(&mut http, &good, "203.0.113.1").status, 404);
    }
    assert_eq!(ask(&mut http, GUESS, "203.0.113.2").status, 401);
    let nothing = http.request("GET", "/other", &[("X-Forwarded-For", "203.0.113.1")], "");
    assert_eq!(nothing.status, 401, "who presents nothing guesses nothing");

    let samples = scrape(&monitor_of(&server));
    let counted = value(&samples, "auth_failures_total{reason=\"throttled\"}");
    assert!(counted >= 1.0, "{samples:#?}");
    let lines = server.log();
    let lines = lines
        .iter()
        .filter(|line| line.contains("credential refused"));
    assert!(lines.count() <= 30, "one a second");
    assert!(!server.log().join("\n").contains("guessed-token"));
}

#[test]
fn a_guess_too_many_is_asked_about_nowhere() {
    let good = json!({"active": true, "sub": "alice", "aud": AUDIENCE});
    let authority = Issuer::start(Mood::Json(good));
    let server = introspection::serve(&[&authority]);
    let known = Client::new(&server, Era::Modern, Some(TOKEN));
    assert_eq!(known.request("tools/list", &json!({})).status, 200);

    authority.is_now(Mood::Json(json!({"active": false})));
    let mut http = Http::connect(server.address());
    let mut throttled = 0;
    for number in 0..400 {
        let guess = format!("Bearer guessed-token-Qy7h2VmfZ3b1-{number}");
        match http
            .request("GET", "/other", &[("Authorization", &guess)], "")
            .status
        {
            401 => {}
            429 => throttled += 1,
            other => panic!("{other}"),
        }
    }
    assert!(throttled > 0);
    assert_eq!(authority.asked().len(), 1 + 400 - throttled);
    assert_eq!(known.request("tools/list", &json!({})).status, 200);
}

#[test]
fn a_token_that_has_expired_is_no_guess() {
    let digest = sha256(TOKEN);
    let auth =
        format!("tokens:\n  - {{sha256: {digest}, subject: bob, expires: 2020-01-01T00:00:00Z}}\n");
    let server = TestServer::with_auth(TOOLS, &auth, &[]);
    let mut http = Http::connect(server.address());
    let expired = format!("Bearer {TOKEN}");
    for _ in 0..200 {
        assert_eq!(ask(&mut http, &expired, "203.0.113.1").status, 401);
    }
}
