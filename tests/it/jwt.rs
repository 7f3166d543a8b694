//! Access tokens that issuers sign, against a server of keys that behaves as the test wants: the JWT
//! table of the cases, through the real binary.

use std::time::{Duration, Instant, SystemTime};

use mcp_serve::protocol::version::Era;
use ring::hmac;
use serde_json::{Value, json};

use crate::issuer::{AUDIENCE, Issuer, Key, Mood, base64, key_set, unix, unsigned};
use crate::lifecycle::ping;
use crate::metrics::{monitor_of, scrape, value};
use crate::streams::Sse;
use crate::subscriptions::listen_over;
use crate::support::{Client, ERAS, Http, Response, TOKEN, TestServer, eventually, sha256};
use crate::tokens::OPTIONS;

pub(crate) const TOOLS: &str = "
tools:
  who:
    description: Says who calls.
    exec: [sh, -c, 'printf \"%s|%s|%s\" \"$MCP_CALLER_SUBJECT\" \"$MCP_CALLER_TENANT\" \"$MCP_CALLER_SCOPES\"']
  environment:
    description: Prints its environment and its command line.
    exec: cat /proc/self/environ /proc/self/cmdline
";

pub(crate) fn serve(auth: &str) -> TestServer {
    TestServer::with_auth(TOOLS, auth, &OPTIONS)
}

/// Serves the tokens of these issuers.
pub(crate) fn trusting(issuers: &[&Issuer]) -> TestServer {
    let entries: String = issuers.iter().map(|issuer| issuer.entry("")).collect();
    serve(&format!("jwt:\n{entries}"))
}

/// Asks for the list of tools with a token and nothing else.
pub(crate) fn ask(server: &TestServer, token: &str) -> Response {
    Client::new(server, Era::Modern, Some(token)).request("tools/list", &json!({}))
}

fn get(server: &TestServer, path: &str) -> Response {
    Http::connect(server.address()).request("GET", path, &[], "")
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name);
    object
}

#[test]
fn a_token_says_who_calls_in_both_eras() {
    let key = Key::new("one");
    let issuer = Issuer::with_keys(&[&key]);
    let claims = "    claims: {subject: uid, tenant: org, roles: /realm/roles}\n";
    let server = serve(&format!("jwt:\n{}", issuer.entry(claims)));
    let mut claims = issuer.claims("somebody");
    claims["uid"] = json!("alice");
    claims["org"] = json!("acme");
    claims["scope"] = json!("read write");
    let token = key.token(&claims);
    for era in ERAS {
        let client = Client::new(&server, era, Some(&token));
        assert_eq!(
            client.call_text("who", &json!({})),
            "alice|acme|read write",
            "{era:?}"
        );
        let told = client.call_text("environment", &json!({}));
        assert!(!told.contains(&token), "the token itself goes no further");
    }
    // Another token of hers is good in her session.
    let client = Client::new(&server, Era::Legacy, Some(&token));
    let other = key.token(&with(claims, "jti", json!("two")));
    assert_eq!(ping(&client.with_token(&other)).status, 200);
    for line in server.log() {
        assert!(!line.contains(&token) && !line.contains(&other), "{line}");
    }
    assert_eq!(issuer.asked().len(), 1, "the keys are fetched once");
}

/// Cases W01 to W09.
#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn a_token_is_good_only_as_its_issuer_signs_it_and_for_us() {
    let (key, foreign) = (Key::new("one"), Key::new("foreign"));
    let rsa = json!({
        "kty": "RSA", "kid": "rsa", "e": "AQAB",
        "n": base64([0xc5_u8; 256]),
    });
    let mut keys = key_set(&[&key]);
    keys["keys"].as_array_mut().unwrap().push(rsa.clone());
    let issuer = Issuer::start(Mood::Json(keys));
    let other = Issuer::with_keys(&[&foreign]);
    let trap = Issuer::with_keys(&[&foreign]);
    let more = "    require_typ: at+jwt\n    leeway: 10s\n    max_lifetime: 2h\n";
    let auth = format!("jwt:\n{}{}", issuer.entry(more), other.entry(""));
    let server = serve(&auth);
    let header = key.header();
    let claims = issuer.claims("alice");
    let now = unix(SystemTime::now());
    let signed = |header: Value| key.sign(&header, &claims);
    let of = |claims: &Value| key.token(claims);
    let set = |name: &str, value: Value| of(&with(claims.clone(), name, value));
    let left_out = |name: &str| of(&without(claims.clone(), name));
    let unsigned_by = |algorithm: &str| {
        format!(
            "{}.",
            unsigned(&with(header.clone(), "alg", json!(algorithm)), &claims)
        )
    };
    let by_secret = {
        let message = unsigned(
            &json!({"alg": "HS256", "kid": "rsa", "typ": "at+jwt"}),
            &claims,
        );
        let secret = hmac::Key::new(hmac::HMAC_SHA256, rsa["n"].as_str().unwrap().as_bytes());
        format!(
            "{message}.{}",
            base64(hmac::sign(&secret, message.as_bytes()))
        )
    };
    let trapped = |name: &str| {
        let header = with(
            header.clone(),
            name,
            json!(format!("{}/{name}", trap.url())),
        );
        foreign.sign(&header, &claims)
    };
    let cases = [
        ("as it is", of(&claims), 200),
        ("W01 none", unsigned_by("none"), 401),
        ("W01 None", unsigned_by("None"), 401),
        ("W01 nOnE", unsigned_by("nOnE"), 401),
        ("W01 no signature", unsigned_by("EdDSA"), 401),
        ("W02 the public key as a secret", by_secret, 401),
        ("W04 jku", trapped("jku"), 401),
        ("W04 x5u", trapped("x5u"), 401),
        (
            "W04 jwk",
            foreign.sign(&with(header.clone(), "jwk", foreign.public()), &claims),
            401,
        ),
        (
            "W04 jku beside the right key",
            signed(with(header.clone(), "jku", json!(trap.url()))),
            200,
        ),
        (
            "W04 crit",
            signed(with(header.clone(), "crit", json!(["b64"]))),
            401,
        ),
        (
            "W04 a path for a key",
            signed(with(header.clone(), "kid", json!("../../etc/passwd"))),
            401,
        ),
        ("W04 a key of another issuer", foreign.token(&claims), 401),
        ("W05 no audience", left_out("aud"), 401),
        (
            "W05 another audience",
            set("aud", json!("https://other.example")),
            401,
        ),
        (
            "W05 a twin",
            set("aud", json!(format!("{AUDIENCE}.evil"))),
            401,
        ),
        (
            "W05 one of two",
            set("aud", json!(["https://a.example", AUDIENCE])),
            200,
        ),
        (
            "W05 a host in other letters",
            set("aud", json!("HTTPS://MCP.example.com:443/mcp")),
            200,
        ),
        (
            "W05 a path in other letters",
            set("aud", json!("https://mcp.example.com/MCP")),
            401,
        ),
        (
            "W05 a slash",
            set("aud", json!(format!("{AUDIENCE}/"))),
            401,
        ),
        ("W06 no issuer", left_out("iss"), 401),
        ("W06 two issuers", set("iss", json!([issuer.url()])), 401),
        (
            "W06 a slash",
            set("iss", json!(format!("{}/", issuer.url()))),
            401,
        ),
        (
            "W06 in the name of another issuer",
            set("iss", json!(other.url())),
            401,
        ),
        ("W07 no end", left_out("exp"), 401),
        ("W07 over", set("exp", json!(now - 20)), 401),
        (
            "W07 an end in words",
            set("exp", json!((now + 60).to_string())),
            401,
        ),
        ("W07 a negative end", set("exp", json!(-1)), 401),
        ("W07 an end far away", set("exp", json!(1e18)), 401),
        ("W07 issued later", set("iat", json!(now + 600)), 401),
        ("W07 good later", set("nbf", json!(now + 600)), 401),
        ("W07 too long", set("exp", json!(now + 3 * 3600)), 401),
        (
            "W09 an ID token",
            signed(with(header.clone(), "typ", json!("JWT"))),
            401,
        ),
        ("no subject", left_out("sub"), 401),
        ("no JWT", "a.b.c".to_owned(), 401),
        ("an opaque token", "mfZ3b1mXk0Qy7h2Vn5cR8w".to_owned(), 401),
        (
            "of the other issuer",
            foreign.token(&other.claims("alice")),
            200,
        ),
    ];
    for (case, token, status) in &cases {
        let response = ask(&server, token);
        assert_eq!(response.status, *status, "{case}: {response:?}");
        if *status == 401 {
            let challenge = response.header("www-authenticate").expect("a challenge");
            assert!(
                challenge.contains("error=\"invalid_token\""),
                "{case}: {challenge}"
            );
        }
    }
    assert_eq!(trap.connections(), 0, "a token is no reason to ask anybody");
    for line in server.log() {
        for (case, token, _) in &cases {
            assert!(token.len() < 10 || !line.contains(token), "{case}: {line}");
        }
    }
}

#[test]
fn the_log_says_why_a_token_of_the_issuer_is_not_good_here_and_not_of_what_strangers_make_up() {
    let said = "a signed token is not good here";
    let key = Key::new("one");
    let issuer = Issuer::with_keys(&[&key]);
    let cases = [
        (
            "roles",
            json!(vec!["r"; 101]),
            "claim `roles` has more than 100 items",
        ),
        ("sub", json!(7), "claim `sub` must be a text, not a number"),
        (
            "aud",
            json!("https://other.example"),
            "it is for somebody else: its `aud` names none of the audiences",
        ),
    ];
    for (name, value, reason) in cases {
        let server = trusting(&[&issuer]);
        let claims = with(issuer.claims("alice"), name, value);
        assert_eq!(ask(&server, &Key::new("one").token(&claims)).status, 401);
        let began = Instant::now();
        for _ in 0..20 {
            assert_eq!(ask(&server, &key.token(&claims)).status, 401, "{reason}");
        }
        let line: Value = serde_json::from_str(&server.wait_for_log(said)).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["reason"], reason);
        assert_eq!(line["issuer"], issuer.url());
        let lines = server
            .log()
            .iter()
            .filter(|line| line.contains(said))
            .count();
        let most = 1 + usize::try_from(began.elapsed().as_secs()).unwrap();
        assert!(lines <= most, "{lines} lines for {reason}");
    }
    let server = trusting(&[&issuer]);
    assert_eq!(
        ask(&server, &Key::new("one").token(&issuer.claims("mallory"))).status,
        401
    );
    server.wait_for_log("credential refused");
    assert_eq!(
        ask(&server, &key.token(&issuer.claims("alice"))).status,
        200
    );
    assert!(!server.log().iter().any(|line| line.contains(said)));
}

/// Case W10. Half a minute has to pass before the keys are fetched again, see `rotation.rs`.
#[test]
fn strangers_cause_no_fetch_and_keep_nobody_waiting() {
    let key = Key::new("one");
    let issuer = Issuer::with_keys(&[&key]);
    let server = trusting(&[&issuer]);
    let good = key.token(&issuer.claims("alice"));
    assert_eq!(ask(&server, &good).status, 200);
    // What they cause would not be answered.
    issuer.is_now(Mood::Silent);
    let began = Instant::now();
    // Fewer than are told to wait, wherever they come from.
    for number in 0..40 {
        let header = with(key.header(), "kid", json!(format!("random-{number}")));
        let refused = ask(&server, &key.sign(&header, &issuer.claims("mallory")));
        assert_eq!(refused.status, 401);
    }
    let other = key.token(&issuer.claims("bob"));
    assert_eq!(ask(&server, &other).status, 200);
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(issuer.asked().len(), 1);
    let samples = scrape(&monitor_of(&server));
    let counted = |series: &str, expected: f64| {
        assert!(
            (value(&samples, series) - expected).abs() < 0.5,
            "{series}: {samples:#?}"
        );
    };
    counted("jwks_fetches_total{outcome=\"ok\"}", 1.0);
    counted("auth_failures_total{reason=\"invalid\"}", 40.0);
}

/// Cases W12 and W13.
#[test]
fn without_keys_nobody_is_refused_or_let_in_by_them() {
    let key = Key::new("one");
    let trap = Issuer::with_keys(&[&key]);
    let moods = [
        ("an error", Mood::Status("500 Internal Server Error")),
        ("HTML", Mood::Json(json!("<html>"))),
        ("no keys", Mood::Json(json!({"keys": []}))),
        (
            "a redirection",
            Mood::Elsewhere(format!("{}/jwks.json", trap.url())),
        ),
        ("ten gigabytes", Mood::Endless),
        ("nothing", Mood::Silent),
    ];
    for (case, mood) in moods {
        let issuer = Issuer::start(mood);
        let tokens = format!("tokens:\n  - {{sha256: {}, subject: bob}}\n", sha256(TOKEN));
        let server = serve(&format!("{tokens}jwt:\n{}", issuer.entry("")));
        let token = key.token(&issuer.claims("alice"));
        let refused = ask(&server, &token);
        assert_eq!(refused.status, 503, "{case}: {refused:?}");
        assert!(
            refused.header("retry-after").is_some(),
            "{case}: {refused:?}"
        );
        assert_eq!(refused.header("www-authenticate"), None, "{case}");
        assert_eq!(ask(&server, TOKEN).status, 200, "{case}");
        assert_eq!(ask(&server, "mfZ3b1mXk0Qy7h2Vn5cR8w").status, 401, "{case}");
        assert_eq!(get(&server, "/readyz").status, 200, "{case}");
        let samples = scrape(&monitor_of(&server));
        let unavailable = value(&samples, "auth_failures_total{reason=\"unavailable\"}");
        assert!((unavailable - 1.0).abs() < 0.5, "{case}");
    }
    assert_eq!(trap.connections(), 0, "a redirection is not followed");
}

#[test]
fn a_server_that_nobody_can_enter_without_keys_is_not_ready() {
    let key = Key::new("one");
    let issuer = Issuer::start(Mood::Status("503 Service Unavailable"));
    let server = trusting(&[&issuer]);
    server.wait_for_log("the keys of an issuer could not be fetched");
    let ready = get(&server, "/readyz");
    assert_eq!((ready.status, ready.text()), (503, "no keys\n"));
    assert_eq!(get(&server, "/healthz").status, 200);

    let issuer = Issuer::with_keys(&[&key]);
    let server = trusting(&[&issuer]);
    let ready = eventually(|| (get(&server, "/readyz").status == 200).then_some(()));
    assert!(ready.is_some(), "there are keys");
}

/// Case W12.
#[test]
fn keys_that_are_of_no_use_do_not_keep_the_others_from_use() {
    let (one, two) = (Key::new("one"), Key::new("one"));
    let mut keys = key_set(&[&one, &two]);
    let useless = [
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}),
        json!({"kty": "RSA", "n": base64([0xff_u8; 128]), "e": "AQAB", "kid": "weak"}),
        with(Key::new("enc").public(), "use", json!("enc")),
        json!("no key"),
    ];
    keys["keys"].as_array_mut().unwrap().extend(useless);
    let issuer = Issuer::start(Mood::Json(keys));
    let server = trusting(&[&issuer]);
    // Two keys of one name are both tried.
    for key in [&one, &two] {
        assert_eq!(
            ask(&server, &key.token(&issuer.claims("alice"))).status,
            200
        );
    }
}

#[test]
fn the_issuer_says_where_its_keys_are() {
    let key = Key::new("one");
    let issuer = Issuer::start(Mood::Silent);
    let url = issuer.url();
    let mut document = key_set(&[&key]);
    document["issuer"] = json!(url);
    document["jwks_uri"] = json!(format!("{url}/elsewhere"));
    issuer.is_now(Mood::Json(document));
    let server = serve(&format!(
        "jwt:\n  - {{issuer: '{url}', audience: '{AUDIENCE}'}}\n"
    ));
    assert_eq!(
        ask(&server, &key.token(&issuer.claims("alice"))).status,
        200
    );
    let asked: Vec<_> = issuer
        .asked()
        .into_iter()
        .map(|request| request.line)
        .collect();
    assert_eq!(
        asked,
        [
            "GET /.well-known/oauth-authorization-server",
            "GET /elsewhere"
        ]
    );
}

#[test]
fn an_issuer_is_asked_on_where_something_else_is() {
    let key = Key::new("one");
    let first = "/.well-known/oauth-authorization-server";
    let second = "/.well-known/openid-configuration";
    for other in [
        json!("<html>"),
        json!({"issuer": "https://other.example", "jwks_uri": "https://other.example/keys"}),
    ] {
        let issuer = Issuer::start(Mood::Silent);
        let url = issuer.url();
        let metadata = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
        issuer.is_now(Mood::Paths(vec![
            (first, other.clone()),
            (second, metadata),
            ("/keys", key_set(&[&key])),
        ]));
        let server = serve(&format!(
            "jwt:\n  - {{issuer: '{url}', audience: '{AUDIENCE}'}}\n"
        ));
        let token = key.token(&issuer.claims("alice"));
        assert_eq!(ask(&server, &token).status, 200, "{other}");
        let asked: Vec<_> = (issuer.asked().into_iter())
            .map(|request| request.line)
            .collect();
        let expected = [first, second, "/keys"].map(|path| format!("GET {path}"));
        assert_eq!(asked, expected, "{other}");
    }
}

#[test]
fn a_stream_ends_with_its_token() {
    let key = Key::new("one");
    let issuer = Issuer::with_keys(&[&key]);
    let server = serve(&format!("jwt:\n{}", issuer.entry("    leeway: 0s\n")));
    let lasting = key.token(&issuer.claims("alice"));
    let end = unix(SystemTime::now()) + 4;
    let short = key.token(&with(issuer.claims("alice"), "exp", json!(end)));
    let legacy = Client::new(&server, Era::Legacy, Some(&short));
    let modern = Client::new(&server, Era::Modern, Some(&short));
    let filter = json!({"toolsListChanged": true});
    let opened = [
        Sse::get(&server, &legacy, None),
        listen_over(&server, &modern, &filter).0,
    ];
    for stream in opened {
        stream.rest();
        let now = unix(SystemTime::now());
        assert!((end..end + 5).contains(&now), "{now} instead of {end}");
    }
    let refused = ping(&legacy);
    assert_eq!(refused.status, 401);
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(
        challenge.contains("The access token expired"),
        "{challenge}"
    );
    assert_eq!(
        ping(&legacy.with_token(&lasting)).status,
        200,
        "the session lives"
    );
}
