//! The URL that clients know the server by, and where they are told to get a token.

use std::cell::Cell;
use std::time::SystemTime;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::claims::LEAVES;
use crate::issuer::{AUDIENCE, Issuer, Key, Mood, unix};
use crate::lifecycle::ping;
use crate::streams::Sse;
use crate::support::{Client, ERAS, Http, Response, TOKEN, TestServer};
use crate::tasks;

const TOOLS: &str = "tools: {echo: {description: Says hello., exec: /bin/echo hello}}";

/// What some scope opens at once, and what asks for another one when it is used.
const GUARDED: &str = r#"
defaults: {tags: [all]}
tools:
  read: {description: Reads., exec: /bin/echo hello, allow: ["scope:read", "scope:list"]}
  stay: {description: Stays., exec: /bin/echo hello, allow: ["scope:offline_access"]}
  write:
    description: Writes.
    exec: /bin/echo hello
    allow: [["scope:read", "scope:write"]]
    step_up: true
toolsets:
  ops: {match: tag:all}
"#;

const PUBLIC_URL: &str = "--public-url=https://mcp.example.com/mcp";

/// Where the documents are for clients.
const DOCUMENTS: &str = "https://mcp.example.com/.well-known/oauth-protected-resource";

fn ask(
    server: &TestServer,
    (method, host): (&str, &str),
    path: &str,
    headers: &[(&str, &str)],
) -> Response {
    let stream = std::net::TcpStream::connect(server.address()).unwrap();
    Http::over(stream, host).request(method, path, headers, "")
}

fn status(server: &TestServer, path: &str, headers: &[(&str, &str)]) -> u16 {
    ask(server, ("GET", "mcp.example.com"), path, headers).status
}

/// Serves those for whom an authorization server vouches.
fn trusting(issuer: &Issuer) -> TestServer {
    let auth = format!("jwt:\n{}", issuer.entry(""));
    let options = [PUBLIC_URL, "--allowed-host=other.example.com"];
    TestServer::with_auth(GUARDED, &auth, &options)
}

#[test]
fn a_public_url_is_the_servers_own() {
    let known = TestServer::with_token(TOOLS, &[PUBLIC_URL]);
    let unknown = TestServer::with_token(TOOLS, &[]);
    let bearer = format!("Bearer {TOKEN}");
    let cases: [(&str, &str, u16); 4] = [
        ("https://mcp.example.com", "/other", 404),
        ("https://mcp.example.com:8443", "/other", 403),
        ("http://mcp.example.com", "/other", 403),
        ("https://evil.example", "/other", 403),
    ];
    for (origin, path, expected) in cases {
        let headers = [("Origin", origin), ("Authorization", bearer.as_str())];
        assert_eq!(status(&known, path, &headers), expected, "{origin}");
        assert_eq!(status(&unknown, path, &headers), 421, "{origin}");
    }
}

#[test]
fn without_an_authorization_server_there_is_nothing_to_tell() {
    let server = TestServer::with_token(TOOLS, &[PUBLIC_URL]);
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
    ] {
        assert_eq!(status(&server, path, &[]), 404, "{path}");
    }
    let mut http = Http::connect(server.address());
    let refused = http.request("GET", "/mcp", &[], "");
    let challenge = refused.header("www-authenticate").unwrap();
    assert_eq!(challenge, "Bearer realm=\"mcp-serve\"");
}

#[test]
fn everybody_can_read_where_to_get_a_token() {
    let issuer = Issuer::with_keys(&[]);
    let server = trusting(&issuer);
    let known = |below: &str| format!("/.well-known/oauth-protected-resource{below}");
    for host in ["mcp.example.com", "other.example.com", "localhost"] {
        for (below, resource) in [
            ("", AUDIENCE.to_owned()),
            ("/mcp", AUDIENCE.to_owned()),
            ("/mcp/ops", format!("{AUDIENCE}/ops")),
            ("/mcp/absent", format!("{AUDIENCE}/absent")),
        ] {
            let found = ask(&server, ("GET", host), &known(below), &[]);
            assert_eq!(found.status, 200, "{host} {below}: {found:?}");
            assert_eq!(found.header("content-type"), Some("application/json"));
            let expected = json!({
                "resource": resource,
                "authorization_servers": [issuer.url()],
                "scopes_supported": ["list", "read"],
                "bearer_methods_supported": ["header"],
            });
            assert_eq!(found.json(), expected, "{host} {below}");
        }
    }
    for (request, below, expected) in [
        (("GET", "mcp.example.com"), "/other", 404),
        (("GET", "mcp.example.com"), "/mcp/a/b", 404),
        (("POST", "mcp.example.com"), "/mcp", 405),
        (("DELETE", "mcp.example.com"), "", 405),
        (("GET", "evil.example"), "/mcp", 421),
    ] {
        let refused = ask(&server, request, &known(below), &[]);
        assert_eq!(refused.status, expected, "{request:?} {below}");
    }
}

#[test]
fn who_is_not_let_in_is_told_where_to_get_a_token_and_for_what() {
    let key = Key::new("one");
    let issuer = Issuer::with_keys(&[&key]);
    let server = trusting(&issuer);
    let mut claims = issuer.claims("alice");
    claims["exp"] = json!(unix(SystemTime::now()) - 3600);
    let expired = format!("Bearer {}", key.token(&claims));
    let invalid = ", error=\"invalid_token\"";
    let has_expired = format!("{invalid}, error_description=\"The access token expired\"");
    let scope = ", scope=\"list read\"";
    let cases = [
        (None, 401, scope.to_owned()),
        (Some("Bearer nobody"), 401, format!("{invalid}{scope}")),
        (Some(expired.as_str()), 401, format!("{has_expired}{scope}")),
    ];
    for path in ["/mcp", "/mcp/ops"] {
        for (credential, status, parameters) in &cases {
            let header = credential.map(|credential| ("Authorization", credential));
            let refused = ask(
                &server,
                ("GET", "other.example.com"),
                path,
                header.as_slice(),
            );
            assert_eq!(refused.status, *status, "{path} {credential:?}");
            let expected = format!(
                "Bearer realm=\"mcp-serve\"{parameters}, resource_metadata=\"{DOCUMENTS}{path}\""
            );
            let challenge = refused.header("www-authenticate").unwrap();
            assert_eq!(challenge, expected, "{path} {credential:?}");
        }
    }
}

#[test]
fn who_lacks_a_scope_is_told_where_to_get_it() {
    let key = Key::new("one");
    let issuer = Issuer::with_keys(&[&key]);
    let server = trusting(&issuer);
    let mut claims = issuer.claims("alice");
    claims["scope"] = json!("read");
    let token = key.token(&claims);
    for path in ["/mcp", "/mcp/ops"] {
        for era in ERAS {
            let alice = Client::at(&server, path, era, Some(&token));
            let refused = alice.request("tools/call", &json!({"name": "write"}));
            assert_eq!(refused.status, 403, "{era:?} {path}: {refused:?}");
            let expected = format!(
                "Bearer realm=\"mcp-serve\", error=\"insufficient_scope\", scope=\"read write\", \
                 resource_metadata=\"{DOCUMENTS}{path}\""
            );
            let challenge = refused.header("www-authenticate").unwrap();
            assert_eq!(challenge, expected, "{era:?} {path}");
        }
    }
    assert_eq!(
        Client::new(&server, Era::Modern, Some(&token)).call_text("read", &json!({})),
        "hello\n"
    );
}

/// Whether tokens for what is below the public URL are good at paths of the server.
fn check_audiences(server: &TestServer, token_for: impl Fn(&Value) -> String) {
    let part = |name: &str| json!(format!("{AUDIENCE}/{name}"));
    let cases = [
        (
            json!(AUDIENCE),
            ["/mcp", "/mcp/ops", "/mcp/ops/"].as_slice(),
            [].as_slice(),
        ),
        (
            part("ops"),
            &["/mcp/ops", "/mcp/ops/"],
            &["/mcp", "/mcp/", "/mcp/other"],
        ),
        (part("other"), &[], &["/mcp", "/mcp/ops"]),
        (
            json!([part("other"), part("ops")]),
            &["/mcp/ops"],
            &["/mcp"],
        ),
        (json!([part("ops"), AUDIENCE]), &["/mcp/ops", "/mcp"], &[]),
        (part("ops/x"), &[], &["/mcp", "/mcp/ops"]),
        (json!("https://mcp.example.com"), &[], &["/mcp", "/mcp/ops"]),
    ];
    for (audience, good, bad) in cases {
        let token = token_for(&audience);
        // Twice: by its signature or its server, and then as one that is known.
        for path in [good, bad, good, bad].concat() {
            let client = Client::at(server, path, Era::Modern, Some(&token));
            let answer = client.request("tools/list", &json!({}));
            if good.contains(&path) {
                assert_eq!(answer.status, 200, "{audience} at {path}: {answer:?}");
                continue;
            }
            assert_eq!(answer.status, 401, "{audience} at {path}: {answer:?}");
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
            let document = format!(
                "resource_metadata=\"{DOCUMENTS}{}\"",
                path.trim_end_matches('/')
            );
            assert!(challenge.ends_with(&document), "{path}: {challenge}");
        }
        let elsewhere = Client::at(server, "/elsewhere", Era::Modern, Some(&token));
        let answer = elsewhere.request("tools/list", &json!({}));
        assert!(
            [401, 404].contains(&answer.status),
            "{audience}: {answer:?}"
        );
    }
}

#[test]
fn a_token_for_a_toolset_is_good_there_and_for_no_more() {
    let key = Key::new("one");
    let issuer = Issuer::with_keys(&[&key]);
    let url = issuer.url();
    let entry = format!("  - issuer: {url}\n    jwks: {url}/jwks.json\n");
    for auth in [entry, issuer.entry("")] {
        let server = TestServer::with_auth(GUARDED, &format!("jwt:\n{auth}"), &[PUBLIC_URL]);
        let token_for = |audience: &Value| {
            let mut claims = issuer.claims("alice");
            claims["aud"] = audience.clone();
            key.token(&claims)
        };
        check_audiences(&server, token_for);

        let part = token_for(&json!(format!("{AUDIENCE}/ops")));
        let session = Client::at(&server, "/mcp/ops", Era::Legacy, Some(&part));
        assert_eq!(ping(&session).status, 200);
        assert_eq!(ping(&session.with_path("/mcp")).status, 401);
        let challenge =
            Client::at(&server, "/mcp", Era::Modern, Some(&part)).request("tools/list", &json!({}));
        let challenge = challenge.header("www-authenticate").unwrap().to_owned();
        let said = "error_description=\"The access token is for another resource\"";
        assert!(challenge.contains(said), "{challenge}");
        server.wait_for_log("\"reason\":\"audience\"");
    }
}

#[test]
fn a_token_for_a_toolset_is_no_guess_elsewhere() {
    let key = Key::new("one");
    let issuer = Issuer::with_keys(&[&key]);
    let auth = format!("jwt:\n{}", issuer.entry(""));
    let server = TestServer::with_auth(GUARDED, &auth, &[PUBLIC_URL]);
    let token_for = |subject: &str, audience: &str| {
        let mut claims = issuer.claims(subject);
        claims["aud"] = json!(audience);
        key.token(&claims)
    };
    let list = |token: &str| {
        let client = Client::new(&server, Era::Modern, Some(token));
        client.request("tools/list", &json!({}))
    };
    let ops = format!("{AUDIENCE}/ops");
    let part = token_for("alice", &ops);
    for number in 0..100 {
        let fresh = token_for(&format!("user-{number}"), &ops);
        for token in [&part, &fresh] {
            let refused = list(token);
            assert_eq!(refused.status, 401, "{number}: {refused:?}");
            assert!(refused.header("www-authenticate").is_some(), "{refused:?}");
        }
    }
    assert_eq!(list(&token_for("bob", AUDIENCE)).status, 200);

    let said = "a token for a toolset is not good elsewhere";
    let line: Value = serde_json::from_str(&server.wait_for_log(said)).unwrap();
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["issuer"], issuer.url());
    assert_eq!(line["toolsets"], "ops");
    let lines = server.log();
    let warnings = lines.iter().filter(|line| line.contains(said)).count();
    assert!(warnings < 100, "{warnings} warnings of 200 requests");
}

/// What is left for later.
fn leaving() -> String {
    format!(
        "
defaults: {{tags: [all], workdir: .}}
tools:
  task: {{description: Is a task., exec: printf done, task: required}}
{LEAVES}
toolsets:
  ops: {{match: tag:all}}
"
    )
}

#[test]
fn what_a_token_for_the_server_left_is_not_there_for_one_for_a_toolset() {
    let key = Key::new("one");
    let issuer = Issuer::with_keys(&[&key]);
    let auth = format!("jwt:\n{}", issuer.entry(""));
    let server = TestServer::with_auth(&leaving(), &auth, &[PUBLIC_URL]);
    let [whole, part] = [AUDIENCE.to_owned(), format!("{AUDIENCE}/ops")].map(|audience| {
        let mut claims = issuer.claims("alice");
        claims["aud"] = json!(audience);
        key.token(&claims)
    });

    let wide = Client::at(&server, "/mcp/ops", Era::Modern, Some(&whole));
    let narrow = wide.with_token(&part);
    let task = |id: &str| json!({"taskId": id});
    let created = task(&tasks::create(&wide, "task", &json!({})));
    assert!(tasks::request(&wide, "tasks/get", &created).json()["result"].is_object());
    let foreign = tasks::request(&narrow, "tasks/get", &created);
    let unknown = task("0123456789abcdef0123456789abcdef");
    let unknown = tasks::request(&narrow, "tasks/get", &unknown);
    assert_eq!((foreign.status, foreign.error_code()), (400, Some(-32602)));
    assert_eq!(foreign.body, unknown.body);

    let wide = Client::at(&server, "/mcp/ops", Era::Legacy, Some(&whole));
    let narrow = wide.with_token(&part);
    let result = wide.call("large", &json!({}));
    let pieces = result["content"].as_array().unwrap();
    let link = pieces.iter().find(|piece| piece["type"] == "resource_link");
    let uri = json!({"uri": link.expect("a link")["uri"]});
    let refused = narrow.request("resources/read", &uri);
    assert_eq!(refused.error_code(), Some(-32002), "{refused:?}");
    let read = wide.request("resources/read", &uri).json();
    let text = &read["result"]["contents"][0]["text"];
    assert_eq!(text, "0123456789 and more", "{read}");

    let call = wide.start_call(1, "lets_go", &json!({}));
    let sent = Sse::read("a call", call).rest();
    let last = sent.iter().rev().find_map(|sent| sent.id.clone()).unwrap();
    std::fs::write(server.folder().join("go"), "").unwrap();
    // A stream of the session, and not what is left of the call.
    let first = Sse::get(&server, &narrow, Some(&last)).next().unwrap();
    assert!(first.is_empty(), "{first:?}");
    let rest = Sse::get(&server, &wide, Some(&last)).rest();
    let answer = rest.last().expect("the answer").message();
    assert_eq!(answer["result"]["content"][0]["text"], "the-result");
}

/// An entry of `introspection` in an auth file.
fn asked(url: &str, issuer: Option<&str>) -> String {
    let issuer = issuer.map_or_else(String::new, |issuer| format!("    issuer: {issuer}\n"));
    let secret = "client-mfZ3b1mXk0Qy7h2V";
    format!("  - url: {url}/introspect\n    client_id: mcp\n    client_secret: {secret}\n{issuer}")
}

#[test]
fn each_authorization_server_is_named_once() {
    let issuer = Issuer::with_keys(&[]);
    let url = issuer.url();
    let other = "https://id.example.com/realms/a";
    let servers = [
        asked("https://a.example", None),
        asked("https://b.example", Some(other)),
        asked("https://c.example", Some(&url)),
        asked("https://d.example", Some(other)),
    ];
    let asked = format!("introspection:\n{}", servers.concat());
    let cases = [
        (
            format!("jwt:\n{}{asked}", issuer.entry("")),
            vec![&*url, other],
        ),
        (asked, vec![other, &url]),
    ];
    for (auth, expected) in cases {
        let server = TestServer::with_auth(GUARDED, &auth, &[PUBLIC_URL]);
        let mut http = Http::connect(server.address());
        let path = "/.well-known/oauth-protected-resource";
        let document = http.request("GET", path, &[], "").json();
        assert_eq!(document["authorization_servers"], json!(expected));
    }
}

#[test]
fn a_server_that_is_asked_may_say_that_a_token_is_for_a_toolset() {
    let authority = Issuer::start(Mood::Silent);
    let url = authority.url();
    let auth = format!("introspection:\n{}", asked(&url, Some(&url)));
    let server = TestServer::with_auth(GUARDED, &auth, &[PUBLIC_URL]);
    let tokens = Cell::new(0);
    check_audiences(&server, |audience| {
        let answer = json!({"active": true, "sub": "alice", "aud": audience});
        authority.is_now(Mood::Json(answer));
        tokens.set(tokens.get() + 1);
        format!("opaque-{}-mfZ3b1mXk0Qy7h2Vn5cR8w", tokens.get())
    });
}
