//! The server without a socket. Every response is checked against what a response may hold.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt as _;
use mcp_serve::Catalog;
use mcp_serve::app::{App, Listeners, Options, Refusals, Throttle};
use mcp_serve::auth::{self, Authenticator};
use mcp_serve::catalog::{Current, Environment};
use mcp_serve::execute::{self, Executor};
use mcp_serve::http::{Connection, serve};
use mcp_serve::pace::Pace;
use mcp_serve::protocol::version::Era;
use mcp_serve::session::{SessionStore, store};
use mcp_serve::stream::Histories;
use mcp_serve::task::{self, Tasks};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::{PATIENCE, Response, initialize, modern_meta};

/// The tools that are served.
pub(crate) const TOOLS: &str = "
name: in-process-test
tools:
  echo:
    description: Prints its argument.
    effect: read
    exec: /usr/bin/printf %s {text}
    params: {text: {type: string, maxLength: 100}}
  leave_trace:
    description: Makes a file, so that a test can see whether it ran.
    exec: /usr/bin/touch -- {path}
    params: {path: string}
";

/// The address the client connected to.
pub(crate) const LOCAL: &str = "192.0.2.7:8080";

/// Every header that a response may carry. What is not here leaks something or is a mistake.
const HEADERS: [&str; 15] = [
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "mcp-session-id",
    "retry-after",
    "vary",
    "www-authenticate",
    "x-accel-buffering",
];

/// A server without sockets.
pub(crate) struct InProcess {
    pub(crate) app: Arc<App>,
}

impl InProcess {
    /// Serves [`TOOLS`] with sessions, to everybody.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// Serves after a change to the settings.
    pub(crate) fn with(change: impl FnOnce(&mut App)) -> Self {
        let loaded = Catalog::parse(TOOLS, Path::new("tools.yaml"), &Environment::default());
        let mut app = App {
            catalog: Current::new(loaded.unwrap().catalog),
            sessions: Some(sessions(None, 1000)),
            executor: Executor::new(execute::Limits {
                max_calls: 100,
                max_calls_per_principal: None,
                call_timeout: PATIENCE,
                ask_timeout: PATIENCE,
            }),
            audit: None,
            authenticator: auth::Current::new(Authenticator::open()),
            options: Options {
                allowed_hosts: vec!["mcp.example.com".parse().unwrap()],
                allowed_origins: vec!["https://app.example.com".parse().unwrap()],
                heartbeat: PATIENCE,
                ..Options::default()
            },
            metrics: Arc::default(),
            tasks: Tasks::new(task::Limits {
                max_tasks: 10,
                max_tasks_per_principal: None,
                keep: PATIENCE,
                max_bytes: 1 << 20,
                ask_timeout: PATIENCE,
            }),
            histories: Histories::default(),
            changes: mcp_serve::changes::Changes::default(),
            seal: mcp_serve::seal::Seal::random(),
            listeners: Listeners::default(),
            refusals: Refusals::default(),
            strangers: Pace::default(),
            foreign: Pace::default(),
            misdirected: Pace::default(),
            throttle: Throttle::default(),
            draining: CancellationToken::new(),
            unanswered: TaskTracker::new(),
        };
        change(&mut app);
        let app = Arc::new(app);
        Self { app }
    }

    /// How many sessions live.
    pub(crate) fn live_sessions(&self) -> usize {
        let sessions = self.app.sessions.as_ref().expect("a server with sessions");
        sessions.statistics().active_sessions
    }

    /// How many sessions there ever were.
    pub(crate) fn sessions_created(&self) -> u64 {
        let sessions = self.app.sessions.as_ref().expect("a server with sessions");
        sessions.statistics().total_sessions_created
    }

    /// Sends a request and hands back the response with its body unread.
    pub(crate) async fn open(&self, name: &str, request: &Request) -> http::Response<Body> {
        let connection = Connection {
            local: Some(LOCAL.parse().unwrap()),
            ..Connection::default()
        };
        self.open_on(name, request, connection).await
    }

    async fn open_on(
        &self,
        name: &str,
        request: &Request,
        connection: Connection,
    ) -> http::Response<Body> {
        let mut built = http::Request::builder()
            .method(request.method.as_str())
            .uri(&request.target)
            .body(Body::from(request.body.clone()))
            .unwrap();
        for (name, value) in &request.headers {
            let value = HeaderValue::from_bytes(value).unwrap();
            built
                .headers_mut()
                .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
        let answered =
            tokio::time::timeout(PATIENCE, serve(Arc::clone(&self.app), connection, built)).await;
        let response = answered
            .unwrap_or_else(|_| panic!("{name}: no response"))
            .unwrap();
        for header in response.headers().keys() {
            assert!(
                HEADERS.contains(&header.as_str()),
                "{name}: a response carries {header}: {response:?}"
            );
        }
        response
    }

    /// Sends a request and reads the whole response.
    pub(crate) async fn send(&self, name: &str, request: &Request) -> Response {
        Self::read(name, request, self.open(name, request).await).await
    }

    /// Sends a request on a connection and reads the whole response.
    pub(crate) async fn send_on(
        &self,
        name: &str,
        request: &Request,
        connection: Connection,
    ) -> Response {
        let response = self.open_on(name, request, connection).await;
        Self::read(name, request, response).await
    }

    async fn read(name: &str, request: &Request, response: http::Response<Body>) -> Response {
        let (head, body) = response.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect()).await;
        let body = body.unwrap_or_else(|_| panic!("{name}: the response has no end"));
        let headers = head.headers.iter().map(|(name, value)| {
            let value = value.to_str().expect("a header in ASCII");
            (name.as_str().to_owned(), value.to_owned())
        });
        let response = Response {
            status: head.status.as_u16(),
            headers: headers.collect(),
            body: body.unwrap().to_bytes().to_vec(),
        };
        if request.method == "HEAD" {
            assert!(response.body.is_empty(), "{name}: {response:?}");
        } else {
            check_body(name, &response);
        }
        response
    }

    /// A client of this era. A legacy one opens a session, if the server has sessions.
    pub(crate) async fn peer(&self, era: Era) -> Peer {
        match era {
            Era::Legacy => self.peer_of("2025-11-25").await,
            Era::Modern => Peer {
                era,
                version: "2026-07-28",
                session: None,
            },
        }
    }

    /// A client of this legacy revision.
    pub(crate) async fn peer_of(&self, version: &'static str) -> Peer {
        let opened = self.send(version, &first_request(version)).await;
        assert_eq!(opened.status, 200, "{version}: {opened:?}");
        Peer {
            era: Era::Legacy,
            version,
            session: opened.header("mcp-session-id").map(str::to_owned),
        }
    }

    /// Checks that a peer is still served, after whatever came before.
    pub(crate) async fn still_serves(&self, name: &str, peer: &Peer) {
        let listed = self
            .send(name, &peer.request("tools/list", &json!({})))
            .await;
        assert_eq!(listed.status, 200, "after {name}: {listed:?}");
        let tools = listed.json()["result"]["tools"].clone();
        assert_eq!(tools[0]["name"], "echo", "after {name}: {listed:?}");
    }
}

/// A store for sessions.
pub(crate) fn sessions(idle_timeout: Option<Duration>, max_sessions: usize) -> Arc<SessionStore> {
    SessionStore::new(store::Limits {
        idle_timeout,
        max_sessions,
        ..store::Limits::NONE
    })
}

/// Checks that a body is what its content type says, and if JSON, one JSON-RPC message.
fn check_body(name: &str, response: &Response) {
    match response.header("content-type") {
        None => assert!(response.body.is_empty(), "{name}: {response:?}"),
        Some("application/json") => {
            let message = response.json();
            let members: Vec<_> = message.as_object().expect("an object").keys().collect();
            assert!(
                matches!(
                    members.iter().map(|key| key.as_str()).collect::<Vec<_>>()[..],
                    ["jsonrpc", "id", "result" | "error"] | ["jsonrpc", "error"]
                ),
                "{name}: {message}"
            );
            assert_eq!(message["jsonrpc"], "2.0", "{name}");
            if let Some(error) = message.get("error") {
                assert!(error["code"].is_i64(), "{name}: {message}");
                assert!(error["message"].is_string(), "{name}: {message}");
            }
        }
        Some("text/plain; charset=utf-8" | "text/event-stream") => {}
        Some(other) => panic!("{name}: a response of type {other}"),
    }
}

/// The `initialize` of a legacy client.
pub(crate) fn first_request(version: &str) -> Request {
    Request::new("POST", "/mcp")
        .set("Content-Type", "application/json")
        .set("Accept", "application/json, text/event-stream")
        .body(initialize(version).to_string())
}

/// A client that says exactly what the test says.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) era: Era,
    pub(crate) version: &'static str,
    pub(crate) session: Option<String>,
}

impl Peer {
    /// A message of this client, with the headers it should have.
    pub(crate) fn post(&self, message: &Value) -> Request {
        let mut request = self.raw(message.to_string());
        if self.era == Era::Modern {
            if let Some(method) = message["method"].as_str() {
                request = request.set("Mcp-Method", method);
            }
            if let Some(name) = message["params"]["name"].as_str() {
                let encoded = name.bytes().any(|byte| !byte.is_ascii_graphic());
                request = request.set("Mcp-Name", if encoded { base64(name) } else { name.into() });
            }
        }
        request
    }

    /// Any bytes, with the headers of a message.
    pub(crate) fn raw(&self, body: impl Into<Vec<u8>>) -> Request {
        let request = Request::new("POST", "/mcp")
            .set("Content-Type", "application/json")
            .set("Accept", "application/json, text/event-stream")
            .set("MCP-Protocol-Version", self.version)
            .body(body);
        match &self.session {
            Some(session) => request.set("Mcp-Session-Id", session.as_str()),
            None => request,
        }
    }

    /// A request, as this era says it.
    pub(crate) fn request(&self, method: &str, params: &Value) -> Request {
        let mut params = params.clone();
        if self.era == Era::Modern {
            params["_meta"] = modern_meta();
        }
        self.post(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    }

    /// A tool call.
    pub(crate) fn call(&self, name: &str, arguments: &Value) -> Request {
        self.request("tools/call", &json!({"name": name, "arguments": arguments}))
    }

    /// A GET or DELETE of the session.
    pub(crate) fn on_session(&self, method: &str) -> Request {
        let request = Request::new(method, "/mcp")
            .set("Accept", "text/event-stream")
            .set("MCP-Protocol-Version", self.version);
        match &self.session {
            Some(session) => request.set("Mcp-Session-Id", session.as_str()),
            None => request,
        }
    }
}

/// The Base64 form of a header value.
pub(crate) fn base64(text: &str) -> String {
    use ::base64::Engine as _;
    let encoded = ::base64::engine::general_purpose::STANDARD.encode(text);
    format!("=?base64?{encoded}?=")
}

/// An HTTP request to change at will.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Request {
    /// A request to this server, without a body.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![("host".to_owned(), b"localhost:8080".to_vec())],
            body: Vec::new(),
        }
    }

    /// Sets a header, in place of what it was.
    pub(crate) fn set(self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.without(name).add(name, value)
    }

    /// Adds a header to those of the same name.
    pub(crate) fn add(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// Takes a header away.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// Sends it elsewhere.
    pub(crate) fn to(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// Gives it a body.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}
