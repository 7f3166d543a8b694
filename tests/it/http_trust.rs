//! Whom requests of tools trust, and how they show who they are from.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_serve::protocol::version::Era;
use serde_json::json;

use crate::http_responses::HOSTILE;
use crate::http_tools::tools;
use crate::support::TestServer;
use crate::upstream::{Upstream, certificates, respond};

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
    let api = |(name, _)| {
        format!(
            "  {name}: {{base_url: '{url}', auth: {{oauth2: {{token_url: '{url}/{name}', \
             client_id: c, client_secret: s3cr3t}}}}}}\n"
        )
    };
    let tool =
        |(name, _)| format!("  {name}: {{description: d, http: {{api: {name}, GET: /data}}}}\n");
    let apis: String = cases.map(api).concat();
    let tools: String = cases.map(tool).concat();
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
