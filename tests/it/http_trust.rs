//! Whom requests of tools trust, and how they show who they are from.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, TcpListener, ToSocketAddrs as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_serve::protocol::version::Era;
use serde_json::json;

use crate::http_responses::HOSTILE;
use crate::http_tools::tools;
use crate::metrics::{MONITOR, calls_in_flight};
use crate::support::{TestServer, eventually};
use crate::upstream::{Received, Stream, Upstream, certificates, respond};

#[test]
fn encrypted_connections_trust_whom_the_definition_trusts() {
    let answer = |request: &Received, to: &mut dyn Stream| {
        respond(to, "200 OK", &[], request.line.as_bytes())
    };
    let open = Upstream::encrypted("127.0.0.1", false, answer);
    let closed = Upstream::encrypted("127.0.0.1", true, answer);
    let named = Upstream::encrypted("127.0.0.2", false, answer);
    let folder = certificates();
    let folder = folder.display();
    let (open, closed, named) = (open.port(), closed.port(), named.port());
    let definitions = format!(
        "
apis:
  trusted: {{base_url: 'https://localhost:{open}', tls: {{ca: '{folder}/ca.pem'}}}}
  named: {{base_url: 'https://127.0.0.2:{named}', tls: {{ca: '{folder}/ca.pem'}}}}
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
            "could not connect to other: its certificate is from an issuer that is not trusted",
        ),
        (
            "nobody",
            "could not connect to nobody: no encrypted connection could be agreed on",
        ),
        (
            "named",
            "could not connect to named: its certificate is for another name",
        ),
        ("plain", "the response of plain is not valid HTTP"),
    ];
    for (tool, expected) in refused {
        assert_eq!(client.call_error(tool, &none), expected);
    }
}

#[test]
fn a_token_server_is_trusted_as_its_api_is() {
    let token = |_: &Received, to: &mut dyn Stream| {
        let granted = br#"{"access_token": "t", "token_type": "Bearer"}"#;
        respond(to, "200 OK", &[], granted)
    };
    let (open, closed) = (
        Upstream::encrypted("127.0.0.1", false, token),
        Upstream::encrypted("127.0.0.1", true, token),
    );
    let api = Upstream::start(|_, to| respond(to, "200 OK", &[], b"let in"));
    let (url, open, closed) = (api.url(), open.port(), closed.port());
    let folder = certificates();
    let folder = folder.display();
    let oauth2 = |port: u16| {
        format!(
            "auth: {{oauth2: {{token_url: 'https://localhost:{port}/', client_id: c, client_secret: s}}}}"
        )
    };
    let (open, closed) = (oauth2(open), oauth2(closed));
    let tls = format!(
        "tls: {{ca: '{folder}/ca.pem', cert: '{folder}/client.pem', key: '{folder}/client.key'}}"
    );
    let definitions = format!(
        "
apis:
  system: {{base_url: '{url}', {open}}}
  mutual: {{base_url: '{url}', {closed}, {tls}}}
tools:
  system: {{description: d, http: {{api: system, GET: /x}}}}
  mutual: {{description: d, http: {{api: mutual, GET: /x}}}}
"
    );
    let server = TestServer::start_with(&definitions, &[], |prepare| {
        // What the system trusts.
        let ca = certificates().join("ca.pem");
        prepare.command.env("SSL_CERT_FILE", ca);
    });
    let client = server.client(Era::Modern);
    for tool in ["system", "mutual"] {
        assert_eq!(client.call_text(tool, &json!({})), "let in");
    }
}

/// A name of this machine that is not `localhost`, and where it leads.
fn name_of_this_machine() -> (String, IpAddr) {
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap());
    let names = lines.flat_map(|line| line.split_whitespace().skip(1));
    let mut names = names.chain([host.trim()]).filter(|name| {
        let is_known = *name == "localhost" || name.ends_with(".localhost");
        !is_known && name.is_ascii()
    });
    let is_near = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    let found = names.find_map(|name| {
        let mut addresses = (name, 0).to_socket_addrs().ok()?.map(|found| found.ip());
        let first = addresses.next()?;
        let all_near = is_near(first) && addresses.all(is_near);
        all_near.then(|| (name.to_owned(), first))
    });
    found.expect("/etc/hosts has a name for this machine besides localhost")
}

#[test]
fn a_name_that_leads_to_this_machine_needs_a_word_of_the_author() {
    let (name, address) = name_of_this_machine();
    let listener = TcpListener::bind((address, 0)).unwrap();
    let upstream = Upstream::on(listener, |_, to| respond(to, "200 OK", &[], b"here"));
    let port = upstream.port();
    let definitions = format!(
        "
apis:
  closed: {{base_url: 'http://{name}:{port}'}}
  upper: {{base_url: 'http://{upper}:{port}', redirects: same_origin}}
  token:
    base_url: 'http://127.0.0.1:1'
    auth: {{oauth2: {{token_url: 'http://{name}:{port}', client_id: c, client_secret: s}}}}
  open: {{base_url: 'http://{name}:{port}', allow_private: true}}
tools:
  closed: {{description: d, http: {{api: closed, GET: /x}}}}
  upper: {{description: d, http: {{api: upper, POST: /x}}}}
  token: {{description: d, http: {{api: token, GET: /x}}}}
  own: {{description: d, http: {{GET: 'http://{name}:{port}/'}}}}
  open: {{description: d, http: {{api: open, GET: /x}}}}
",
        upper = name.to_uppercase()
    );
    let server = TestServer::start(&definitions, &[]);
    let client = server.client(Era::Modern);
    let none = json!({});
    let refused = [
        ("closed", "could not connect to closed"),
        ("upper", "could not connect to upper"),
        (
            "token",
            "there is no token for token: could not connect to the token server",
        ),
        ("own", "could not connect to the API"),
    ];
    for (tool, expected) in refused {
        let expected =
            format!("{expected}: its name leads to an address that the definition does not allow");
        assert_eq!(client.call_error(tool, &none), expected);
    }
    assert_eq!(upstream.accepted(), 0);
    assert_eq!(client.call_text("open", &none), "here");
    assert_eq!(upstream.accepted(), 1);
}

#[test]
fn what_an_api_says_of_its_credentials_is_hidden() {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&shown);
    let upstream = Upstream::start(move |request, to| {
        if request.line == "POST /token" {
            let granted = br#"{"access_token": "fetched-4711", "token_type": "Bearer"}"#;
            return respond(to, "200 OK", &[], granted);
        }
        let names = ["authorization", "x-api-key"];
        let credential = names.iter().find_map(|name| request.header(name)).unwrap();
        noted.lock().unwrap().push(credential.to_owned());
        let json = "Content-Type: application/json";
        match request.line.rsplit('/').next().unwrap() {
            "json" => {
                let body = json!({"headers": {"Authorization": credential}}).to_string();
                respond(to, "200 OK", &[json], body.as_bytes())
            }
            "escaped" => {
                let escape = |byte| format!("\\u{:04x}", u32::from(byte));
                let letters: String = credential.bytes().map(escape).collect();
                let body = format!("{{\"{letters}\": \"{letters}\"}}");
                respond(to, "200 OK", &[json], body.as_bytes())
            }
            "encoded" => {
                let body = format!(
                    "{} {}",
                    STANDARD.encode(credential),
                    credential.replace(' ', "%20")
                );
                respond(to, "200 OK", &[], body.as_bytes())
            }
            "error" => {
                let retry = format!("Retry-After: {credential}");
                respond(to, "403 Forbidden", &[&retry], credential.as_bytes())
            }
            line => panic!("{line}"),
        }
    });
    let url = upstream.url();
    let auths = [
        (
            "basic",
            "basic: {username: user, password: literal-4711}".to_owned(),
        ),
        ("bearer", "bearer: literal-0815".to_owned()),
        (
            "header",
            "header: {name: X-Api-Key, value: literal-1234}".to_owned(),
        ),
        (
            "oauth2",
            format!(
                "oauth2: {{token_url: '{url}/token', client_id: c, client_secret: literal-5678}}"
            ),
        ),
    ];
    let mut definitions = "apis:\n".to_owned();
    for (name, auth) in &auths {
        writeln!(
            definitions,
            "  {name}: {{base_url: '{url}', auth: {{{auth}}}}}"
        )
        .unwrap();
    }
    definitions += "tools:\n";
    for (name, _) in &auths {
        let http = format!("http: {{api: {name}, GET: '/{{what}}'}}, params: {{what: string}}");
        writeln!(definitions, "  {name}: {{description: d, {http}}}").unwrap();
        let output = "{type: json, select: '[.. | strings]'}";
        writeln!(
            definitions,
            "  {name}_json: {{description: d, {http}, output: {output}}}"
        )
        .unwrap();
    }
    let server = TestServer::start(&definitions, &["--log-level", "trace"]);
    let client = server.client(Era::Modern);
    let mut seen = Vec::new();
    for (name, _) in &auths {
        for what in ["json", "escaped", "encoded", "error"] {
            let result = client.call(name, &json!({"what": what})).to_string();
            assert!(result.contains("***"), "{name} {what}: {result}");
            seen.push(result);
        }
        let result = client.call(&format!("{name}_json"), &json!({"what": "escaped"}));
        seen.push(result.to_string());
    }
    seen.extend(server.log());
    let shown = shown.lock().unwrap();
    assert_eq!(shown.len(), 5 * auths.len());
    for credential in shown.iter() {
        let secret = credential.rsplit(' ').next().unwrap();
        let encoded = STANDARD.encode(credential);
        let middle = encoded.len() / 2;
        for secret in [secret, &encoded[middle - 4..middle + 4]] {
            let telling = seen.iter().find(|text| text.contains(secret));
            assert_eq!(telling, None, "{secret}");
        }
    }
}

#[test]
fn a_fetched_token_is_hidden_where_a_body_is_cut_or_kept() {
    const TOKEN: &str = "fetched-4711";
    let body = format!("say {TOKEN}, say no more");
    let told = body.clone();
    let upstream = Upstream::start(move |request, to| {
        if request.line == "POST /token" {
            let granted = br#"{"access_token": "fetched-4711", "token_type": "Bearer"}"#;
            return respond(to, "200 OK", &[], granted);
        }
        respond(to, "200 OK", &["Content-Type: text/plain"], told.as_bytes())
    });
    let url = upstream.url();
    let mut tools = format!(
        "
apis:
  api:
    base_url: '{url}'
    auth: {{oauth2: {{token_url: '{url}/token', client_id: c, client_secret: literal-5678}}}}
tools:
"
    );
    for most in 1..body.len() {
        for (name, overflow) in [("cut", "truncate"), ("link", "resource")] {
            writeln!(
                tools,
                "  {name}{most}: {{description: d, http: {{api: api, GET: /}}, max_output: {most}, \
                 output: {{on_overflow: {overflow}}}}}"
            )
            .unwrap();
        }
    }
    let server = TestServer::start_with(&tools, &[], |prepare| {
        // A test kills its server, which then leaves what it has there.
        prepare.command.env("TMPDIR", prepare.folder);
    });
    let client = server.client(Era::Modern);
    let (first, last) = TOKEN.split_at(4);
    for most in 1..body.len() {
        for name in ["cut", "link"] {
            let result = client.call(&format!("{name}{most}"), &json!({}));
            let text = result["content"][0]["text"].as_str().unwrap();
            assert!(
                !text.contains(first) && !text.contains(last),
                "{name} {most}: {text}"
            );
        }
    }
    let result = client.call("link10", &json!({}));
    let uri = json!({"uri": result["content"][1]["uri"]});
    let read = client.request("resources/read", &uri).json();
    let text = &read["result"]["contents"][0]["text"];
    assert_eq!(text, "say ***, say no more", "{read}");
}

#[test]
fn a_token_is_asked_for_once_and_again_when_it_is_refused() {
    let (granted, grants) = mpsc::channel();
    let grants = Mutex::new(grants);
    let fetched = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&fetched);
    let upstream = Upstream::start(move |request, to| {
        let json = "Content-Type: application/json";
        if request.line == "POST /token" {
            let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
            grants.lock().unwrap().recv().unwrap();
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
        let token = authorization.trim_start_matches("Bearer ");
        respond(to, status, &[], token.as_bytes())
    });
    let url = upstream.url();
    let settings = format!(
        ", auth: {{oauth2: {{token_url: '{url}/token', client_id: 'm c', client_secret: 's3cr3t:', \
         scopes: [a, b], audience: 'x&y'}}}}"
    );
    let server = TestServer::start(&tools(&upstream, &settings, HOSTILE), &MONITOR);
    let client = server.client(Era::Modern);
    let calls: Vec<_> = (1..=8)
        .map(|id| client.start_call(id, "get", &json!({"what": "fine"})))
        .collect();
    let all_wait = eventually(|| (calls_in_flight(&server) == 8).then_some(()));
    assert!(all_wait.is_some(), "{}", calls_in_flight(&server));
    granted.send(()).unwrap();
    for mut call in calls {
        let result = call.read().json();
        assert_eq!(result["result"]["content"][0]["text"], "t1", "{result}");
    }
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
    granted.send(()).unwrap();
    let told = client.call_text("post", &json!({"what": "revoked"}));
    assert_eq!(told, "t2");
    assert_eq!(fetched.load(Ordering::SeqCst), 2);
    granted.send(()).unwrap();
    let told = client.call_error("get", &json!({"what": "never"}));
    assert_eq!(told, "tracker answered 401 Unauthorized:\nt3");
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
