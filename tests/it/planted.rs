//! Secrets are planted wherever one can be, and then looked for wherever one could come out.

use std::fmt::Debug;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::issuer::{Issuer, Key};
use crate::metrics::monitor_of;
use crate::support::{Client, ERAS, Gate, Http, Response, TestServer, command, run, sha256};
use crate::upstream::{Received, Upstream, respond};

/// What callers present. None of it is seen anywhere, and no digest of it.
const TOKEN: &str = "planted-token-of-alice-mfZ3b1mXk0Qy7h2V";
const EXPIRED: &str = "planted-token-that-expired-mfZ3b1mXk0Qy7h2V";
const UNKNOWN: &str = "planted-token-of-nobody-mfZ3b1mXk0Qy7h2V";
/// One that its authorization server knows.
const OPAQUE: &str = "planted-token-to-ask-about-mfZ3b1mXk0Qy7h2V";
/// What stands in tokens that are not good here.
const CLAIM: &str = "planted-claim-mfZ3b1mXk0Qy7h2V";
/// Where a token does not belong.
const IN_QUERY: &str = "planted-token-in-a-query-mfZ3b1mXk0Qy7h2V";
const IN_COOKIE: &str = "planted-token-in-a-cookie-mfZ3b1mXk0Qy7h2V";
const IN_BODY: &str = "planted-token-in-a-body-mfZ3b1mXk0Qy7h2V";
const IN_BASIC: &str = "planted-token-of-another-scheme-mfZ3b1mXk0Qy7h2V";
const IN_HEADER: &str = "planted-token-in-a-header-mfZ3b1mXk0Qy7h2V";

const PRESENTED: [&str; 9] = [
    TOKEN, EXPIRED, UNKNOWN, OPAQUE, IN_QUERY, IN_COOKIE, IN_BODY, IN_BASIC, IN_HEADER,
];

/// What definitions name. A tool gets what it names, and nobody else does.
const FROM_FILE: &str = "planted-secret-in-a-file-0815";
const FROM_ENVIRONMENT: &str = "planted-secret-in-the-environment-4711";
const OF_API: &str = "planted-secret-of-an-api-1234";

const NAMED: [&str; 3] = [FROM_FILE, FROM_ENVIRONMENT, OF_API];

/// What the server keeps to itself.
const OF_CLIENT: &str = "planted-secret-of-the-client-mfZ3b1mXk0Qy7h2V";
const STATE_KEY: &str = "planted0key0of0the0state0mfZ3b1mXk0Qy7h2V00=";

fn tools(upstream: &Upstream) -> String {
    let url = upstream.url();
    format!(
        r#"
apis:
  api: {{base_url: '{url}/', auth: {{bearer: "${{file:api.secret}}"}}}}
tools:
  waits:
    description: Waits for its gate.
    exec:
      - sh
      - -c
      - 'touch "$1.started"; until [ -e "$1.open" ] || [ ! -e "$1.started" ]; do sleep 0.02; done'
      - sh
      - '{{path}}'
    params: {{path: string}}
    env: {{A: "${{file:a.secret}}", B: "x${{env:B_SECRET}}y"}}
  prints:
    description: Prints all that it was given.
    exec: cat /proc/self/environ /proc/self/cmdline
    env: {{A: "${{file:a.secret}}", B: "x${{env:B_SECRET}}y"}}
  fails:
    description: Fails with all that it was given.
    exec: sh -c 'env >&2; exit 3'
    env: {{A: "${{file:a.secret}}", B: "x${{env:B_SECRET}}y"}}
  hidden: {{description: d, exec: /bin/true, allow: [role:staff]}}
  locked: {{description: d, exec: /bin/true, allow: ["scope:more"], step_up: true}}
  sends:
    description: Sends a request.
    http: {{api: api, POST: /x, headers: {{X-Who: "{{caller.subject}}"}}, json: {{note: "{{note}}"}}}}
    params: {{note: string}}
"#
    )
}

/// An authorization server that knows one token.
fn authority() -> Upstream {
    Upstream::start(|request, to| {
        let active = request.body.contains(OPAQUE);
        let body = json!({"active": active, "sub": "carol", "aud": "https://mcp.example.com"});
        let headers = ["Content-Type: application/json"];
        respond(to, "200 OK", &headers, body.to_string().as_bytes())
    })
}

/// Tokens of an issuer, of which only the first is good here.
fn issued(issuer: &Issuer, key: &Key) -> Vec<String> {
    let claims = |name: &str, value: Value| {
        let mut claims = issuer.claims("dave");
        claims[name] = value;
        claims
    };
    let refused = [
        claims("aud", json!(format!("https://{CLAIM}.example"))),
        claims("roles", json!(vec![CLAIM; 101])),
        claims("sub", json!({"name": CLAIM})),
    ];
    let good = key.token(&issuer.claims("dave"));
    let forged = Key::new("one").token(&claims("email", json!(CLAIM)));
    let refused = refused.iter().map(|claims| key.token(claims));
    [good, forged].into_iter().chain(refused).collect()
}

fn auth(authority: &Upstream, issuer: &Issuer) -> String {
    let url = authority.url();
    let (token, expired) = (sha256(TOKEN), sha256(EXPIRED));
    format!(
        "tokens:\n  - {{sha256: {token}, subject: alice, scopes: [r], roles: [clerk]}}\n  \
         - {{sha256: {expired}, subject: alice, scopes: [more], roles: [staff], expires: 2020-01-01T00:00:00Z}}\nintrospection:\n  \
         - {{url: '{url}/introspect', client_id: mcp, client_secret: '${{file:client.secret}}', \
         audience: 'https://mcp.example.com'}}\njwt:\n{}",
        issuer.entry("")
    )
}

fn write_secret(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn serve(upstream: &Upstream, auth: &str, logs_text: bool) -> TestServer {
    let options = [
        "--log-level=trace",
        "--metrics-listen=127.0.0.1:0",
        "--debug-sessions",
        "--credential-header=X-Token",
        "--log-format=text",
    ];
    let options = options.get(..4 + usize::from(logs_text)).unwrap();
    TestServer::start_with(&tools(upstream), options, |prepare| {
        prepare.serve_with_auth(auth);
        let folder = prepare.folder;
        write_secret(folder, "a.secret", FROM_FILE);
        write_secret(folder, "api.secret", OF_API);
        write_secret(folder, "state.key", STATE_KEY);
        write_secret(folder, "client.secret", OF_CLIENT);
        let key = folder.join("state.key");
        prepare.command.arg("--state-key-file").arg(key);
        let audit = folder.join("audit.log");
        prepare.command.arg("--audit").arg(audit);
        prepare.command.arg("--audit-arguments=redacted");
        prepare.command.env("B_SECRET", FROM_ENVIRONMENT);
    })
}

/// What came out, and where.
#[derive(Debug, Default)]
struct Seen {
    /// The tokens of the issuer.
    issued: Vec<String>,
    /// Where nothing may be: what clients, operators and others of this machine see.
    outside: Vec<(String, String)>,
    /// Where the secrets of definitions are used: what tools and other servers are given.
    inside: Vec<(String, String)>,
}

impl Seen {
    fn outside(&mut self, place: &str, text: impl Debug) {
        self.outside.push((place.to_owned(), format!("{text:?}")));
    }

    /// A response is its head and its body, which is bytes to others.
    fn response(&mut self, place: &str, response: &Response) {
        let Response {
            status, headers, ..
        } = response;
        self.outside(place, (status, headers, response.text()));
    }

    fn inside(&mut self, place: &str, text: impl Debug) {
        self.inside.push((place.to_owned(), format!("{text:?}")));
    }

    /// Both halves of what /proc shows of a process: others see its command line.
    fn process(&mut self, place: &str, pid: u32) {
        let read = |name: &str| {
            let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        self.outside(&format!("the command line of {place}"), read("cmdline"));
        self.inside(&format!("the environment of {place}"), read("environ"));
    }

    /// Checks that what was looked at is what it should be: this stands in it.
    fn check_found(&self, place: &str, text: &str) {
        let all = self.outside.iter().chain(&self.inside);
        let mut at_place = all.filter(|(at, _)| at.starts_with(place));
        let is_found = at_place.any(|(_, seen)| seen.contains(text));
        assert!(is_found, "no {text:?} in {place}: {self:#?}");
    }

    fn check_clean(&self) {
        let issued = self.issued.iter().map(String::as_str);
        let presented: Vec<_> = PRESENTED.into_iter().chain(issued.clone()).collect();
        let digests: Vec<_> = presented.iter().map(|token| sha256(token)).collect();
        // What its issuer says, and that it does.
        let parts = issued.flat_map(|token| token.split('.').skip(1));
        let never: Vec<_> = (presented.into_iter().chain(parts))
            .chain(digests.iter().map(String::as_str))
            .chain([CLAIM, STATE_KEY, OF_CLIENT])
            .collect();
        for (place, text) in self.outside.iter().chain(&self.inside) {
            for secret in &never {
                assert!(!text.contains(secret), "{secret} is in {place}: {text}");
            }
        }
        for (place, text) in &self.outside {
            for secret in NAMED {
                assert!(!text.contains(secret), "{secret} is in {place}: {text}");
            }
        }
    }
}

/// What a client is answered, whatever it presents and asks for.
fn ask(server: &TestServer, seen: &mut Seen) {
    let issued = seen.issued.clone();
    let (dave, refused) = issued.split_first().unwrap();
    for era in ERAS {
        let client = Client::new(server, era, Some(TOKEN));
        let calls = [
            ("prints", json!({})),
            ("fails", json!({})),
            ("sends", json!({"note": "n"})),
            ("sends", json!({"nope": "n"})),
            ("hidden", json!({})),
            ("locked", json!({})),
        ];
        for (name, arguments) in calls {
            let response = client.start_call(1, name, &arguments).read();
            seen.response(&format!("an answer of {name}"), &response);
        }
        for method in ["tools/list", "server/discover", "no/such", "tools/call"] {
            let response = client.request(method, &json!({"access_token": IN_BODY}));
            seen.response(&format!("an answer to {method}"), &response);
        }
        let refused = refused.iter().map(String::as_str);
        for token in [EXPIRED, UNKNOWN].into_iter().chain(refused) {
            let response = client.with_token(token).request("tools/list", &json!({}));
            assert_eq!(response.status, 401);
            seen.response("a refusal", &response);
        }
        let carol = Client::new(server, era, Some(OPAQUE));
        let response = carol.start_call(1, "prints", &json!({})).read();
        seen.response("an answer to carol", &response);
        let dave = Client::new(server, era, Some(dave));
        let response = dave.start_call(1, "prints", &json!({})).read();
        seen.response("an answer to dave", &response);
        let gate = Gate::new(server, &format!("{era:?}"));
        let mut waiting = client.start_call(1, "waits", &gate.arguments());
        gate.wait();
        for child in server.descendants() {
            seen.process("a tool", child);
        }
        gate.open();
        seen.response("an answer of waits", &waiting.read());
    }
    let client = server.client(Era::Modern);
    for (token, status) in [(TOKEN, 200), (OPAQUE, 200), (EXPIRED, 401), (UNKNOWN, 401)] {
        let call = client.message(1, "tools/call", &json!({"name": "prints"}));
        let mut headers = client.headers(&call);
        headers.push(("X-Token", token.to_owned()));
        let response = client.post_under(&headers, &call);
        assert_eq!(response.status, status, "{response:?}");
        seen.response("an answer to another header", &response);
    }
    for (name, value) in misplaced() {
        for method in ["POST", "GET", "DELETE", "OPTIONS"] {
            let headers = [("Content-Type", "application/json"), (name, &value)];
            let path = format!("/mcp?access_token={IN_QUERY}");
            let body = json!({"access_token": IN_BODY}).to_string();
            let response = Http::connect(server.address()).request(method, &path, &headers, &body);
            assert!(response.status >= 400, "{name} {method}: {response:?}");
            seen.response(&format!("a refusal of {name}"), &response);
        }
    }
}

/// Headers with a token that is none there.
fn misplaced() -> Vec<(&'static str, String)> {
    vec![
        ("Cookie", format!("token={IN_COOKIE}")),
        ("Authorization", format!("Basic {IN_BASIC}")),
        ("Authorization", format!("Bearer  {IN_BASIC}")),
        ("Authorization", IN_BASIC.to_owned()),
        ("X-Api-Key", IN_HEADER.to_owned()),
        ("Mcp-Session-Id", IN_HEADER.to_owned()),
    ]
}

/// What operators see.
fn operate(server: &TestServer, monitor: Option<&str>, seen: &mut Seen) {
    if let Some(address) = monitor {
        for path in ["/metrics", "/debug/sessions", "/healthz", "/no-such"] {
            let page = Http::connect(address).request("GET", path, &[], "");
            seen.response(&format!("the page {path}"), &page);
        }
    }
    let arguments: [&[&str]; 6] = [
        &["check", "--verbose"],
        &["check", "--format=json"],
        &["list"],
        &["list", "--as=alice"],
        &["call", "prints", "--dry-run"],
        &["call", "sends", "note=n", "--dry-run", "--json"],
    ];
    for arguments in arguments {
        let mut command = command();
        command
            .env("B_SECRET", FROM_ENVIRONMENT)
            .current_dir(server.folder());
        command
            .args(arguments)
            .args(["--auth=auth.yaml", "--state-key-file=state.key"]);
        let said = run(&mut command);
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        seen.outside(&format!("the command {}", arguments.join(" ")), said);
    }
    // Definitions that cannot be read, in a file that holds secrets.
    server.replace(
        "tools.yaml",
        &format!("tools: {{t: {{API_TOKEN: '{OF_API}'\n"),
    );
    server.signal("HUP");
    server.wait_for_log("E0");
    server.signal("USR1");
    server.wait_for_log("session statistics");
    seen.outside("the log", server.log());
    let audit = fs::read_to_string(server.folder().join("audit.log")).unwrap();
    seen.outside("the audit log", audit);
}

#[test]
fn what_is_secret_comes_out_nowhere() {
    for logs_text in [false, true] {
        let upstream = Upstream::start(|request: &Received, to| {
            // An upstream that says what it was told.
            let body = json!({"headers": format!("{:?}", request.headers)}).to_string();
            respond(
                to,
                "200 OK",
                &["Content-Type: application/json"],
                body.as_bytes(),
            )
        });
        let authority = authority();
        let key = Key::new("one");
        let issuer = Issuer::with_keys(&[&key]);
        let server = serve(&upstream, &auth(&authority, &issuer), logs_text);
        let monitor = (!logs_text).then(|| monitor_of(&server));
        let mut seen = Seen {
            issued: issued(&issuer, &key),
            ..Seen::default()
        };
        seen.process("the server", server.pid());
        ask(&server, &mut seen);
        operate(&server, monitor.as_deref(), &mut seen);
        for request in upstream.received() {
            seen.inside("a request of a tool", request);
        }
        check(&seen, monitor.is_some());
    }
}

/// Checks that each place was looked at, and then that it is clean.
fn check(seen: &Seen, has_pages: bool) {
    let found = [
        ("the environment of the server", FROM_ENVIRONMENT),
        ("the environment of a tool", FROM_FILE),
        ("the environment of a tool", "MCP_CALLER_SUBJECT=alice"),
        ("the command line of a tool", "until ["),
        ("the command line of the server", "--auth"),
        ("an answer of prints", "***"),
        ("an answer to carol", "MCP_CALLER_SUBJECT=carol"),
        ("an answer to dave", "MCP_CALLER_SUBJECT=dave"),
        ("an answer to another header", "MCP_CALLER_SUBJECT=alice"),
        ("an answer of fails", "***"),
        ("an answer of sends", "***"),
        ("an answer of locked", "insufficient_scope"),
        ("a request of a tool", OF_API),
        ("a refusal", "invalid_token"),
        ("the command check --verbose", "token"),
        ("the command call prints", "/proc/self/environ"),
        ("the command call sends", "POST"),
        ("the log", "credential refused"),
        ("the log", "E0"),
        ("the log", "TRACE"),
        ("the log", "a signed token is not good here"),
        ("the audit log", "alice"),
        ("the audit log", "insufficient_scope"),
    ];
    for (place, text) in found {
        seen.check_found(place, text);
    }
    if has_pages {
        seen.check_found("the page /metrics", "auth_failures_total");
        seen.check_found("the page /debug/sessions", "active_sessions");
    }
    seen.check_clean();
}
