//! Clients of both eras.

use std::io;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use super::{Http, Response, TestServer, initialize, modern_meta, sha256, text};

/// A client of one era that says exactly what the test says.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: String,
    pub(crate) path: String,
    era: Era,
    token: Option<String>,
    session: Option<String>,
}

/// The headers that every POST of a client has.
const POST: [(&str, &str); 2] = [
    ("Content-Type", "application/json"),
    ("Accept", "application/json, text/event-stream"),
];

impl Client {
    /// Connects; a legacy client opens a session if the server has sessions.
    pub(crate) fn new(server: &TestServer, era: Era, token: Option<&str>) -> Self {
        Self::at(server, "/mcp", era, token)
    }

    /// The same at another endpoint.
    pub(crate) fn at(server: &TestServer, path: &str, era: Era, token: Option<&str>) -> Self {
        Self::asked(server.address(), path, (era, token), &json!({}))
    }

    /// The same, with these capabilities in a session.
    pub(crate) fn asked(
        address: &str,
        path: &str,
        (era, token): (Era, Option<&str>),
        capabilities: &Value,
    ) -> Self {
        let mut client = Self {
            address: address.to_owned(),
            path: path.to_owned(),
            era,
            token: token.map(str::to_owned),
            session: None,
        };
        if era == Era::Legacy {
            client.initialize("2025-11-25", capabilities);
            let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
            assert_eq!(client.post_message(&initialized).status, 202);
        }
        client
    }

    fn initialize(&mut self, version: &str, capabilities: &Value) {
        let mut message = initialize(version);
        message["params"]["capabilities"] = capabilities.clone();
        let response = self.post_message(&message);
        assert_eq!(response.status, 200, "{response:?}");
        self.session = response.header("mcp-session-id").map(str::to_owned);
    }

    /// Opens a session of this version for a client of these capabilities.
    pub(crate) fn with_capabilities(
        server: &TestServer,
        version: &str,
        capabilities: &Value,
    ) -> Self {
        let mut client = Self {
            address: server.address().to_owned(),
            path: "/mcp".to_owned(),
            era: Era::Legacy,
            token: None,
            session: None,
        };
        client.initialize(version, capabilities);
        client
    }

    /// A connection of its own.
    pub(crate) fn connect(&self) -> Http {
        Http::connect(&self.address)
    }

    /// The same client with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// The same client with another session id.
    pub(crate) fn with_session(&self, id: &str) -> Self {
        Self {
            session: Some(id.to_owned()),
            ..self.clone()
        }
    }

    /// The same client at another endpoint.
    pub(crate) fn with_path(&self, path: &str) -> Self {
        Self {
            path: path.to_owned(),
            ..self.clone()
        }
    }

    /// The id of the session.
    pub(crate) fn session(&self) -> &str {
        self.session.as_deref().expect("a session")
    }

    /// What tools are told of the session.
    pub(crate) fn session_hash(&self) -> String {
        let Some(session) = &self.session else {
            return String::new();
        };
        match self.token {
            Some(_) => sha256(session),
            None => sha256(&format!("{session} anonymous")),
        }
    }

    /// The headers of a message of this client.
    pub(crate) fn headers(&self, message: &Value) -> Vec<(&str, String)> {
        let mut headers: Vec<_> = POST.map(|(name, value)| (name, value.to_owned())).into();
        if let Some(token) = &self.token {
            headers.push(("Authorization", format!("Bearer {token}")));
        }
        if let Some(session) = &self.session {
            headers.push(("Mcp-Session-Id", session.clone()));
        }
        if self.era == Era::Modern {
            headers.push(("MCP-Protocol-Version", "2026-07-28".to_owned()));
            headers.push(("Mcp-Method", text(&message["method"])));
            let mut names = ["name", "uri", "taskId"]
                .map(|key| &message["params"][key])
                .into_iter();
            if let Some(name) = names.find(|name| name.is_string()) {
                headers.push(("Mcp-Name", text(name)));
            }
        }
        headers
    }

    /// A request as this era says it.
    pub(crate) fn message(&self, id: u64, method: &str, params: &Value) -> Value {
        let mut params = params.clone();
        if self.era == Era::Modern {
            params["_meta"] = modern_meta();
        }
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
    }

    /// Sends a message on a connection, without reading its response.
    pub(crate) fn send_on<S: io::Read + io::Write>(&self, http: &mut Http<S>, message: &Value) {
        self.send_under(&self.headers(message), http, message);
    }

    fn send_under<S: io::Read + io::Write>(
        &self,
        headers: &[(&str, String)],
        http: &mut Http<S>,
        message: &Value,
    ) {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        http.send("POST", &self.path, &headers, &message.to_string());
    }

    /// Posts a message under other headers than its own.
    pub(crate) fn post_under(&self, headers: &[(&str, String)], message: &Value) -> Response {
        let mut http = self.connect();
        self.send_under(headers, &mut http, message);
        http.read()
    }

    /// Posts a message on a connection of its own.
    pub(crate) fn post_message(&self, message: &Value) -> Response {
        let mut http = Http::connect(&self.address);
        self.send_on(&mut http, message);
        http.read()
    }

    /// Sends a request and returns the response.
    pub(crate) fn request(&self, method: &str, params: &Value) -> Response {
        self.post_message(&self.message(1, method, params))
    }

    /// Starts a tool call whose response the test reads later.
    pub(crate) fn start_call(&self, id: u64, name: &str, arguments: &Value) -> Http {
        let params = json!({"name": name, "arguments": arguments});
        let mut http = Http::connect(&self.address);
        self.send_on(&mut http, &self.message(id, "tools/call", &params));
        http
    }

    /// Calls a tool and returns its result.
    pub(crate) fn call(&self, name: &str, arguments: &Value) -> Value {
        let response = self.start_call(1, name, arguments).read();
        let json = response.json();
        assert!(json["result"].is_object(), "{response:?}");
        json["result"].clone()
    }

    /// Calls a tool that must succeed, and returns its text.
    pub(crate) fn call_text(&self, name: &str, arguments: &Value) -> String {
        let result = self.call(name, arguments);
        assert_eq!(result["isError"], false, "{result}");
        text(&result["content"][0]["text"])
    }

    /// Calls a tool that must be refused under this status; returns why, and after how many seconds
    /// it may be called again.
    pub(crate) fn call_refused(&self, status: u16, name: &str, arguments: &Value) -> (String, u64) {
        let response = self.start_call(1, name, arguments).read();
        let found = (response.status, response.error_code());
        assert_eq!(found, (status, Some(-32603)), "{response:?}");
        let seconds = response.header("retry-after").expect("Retry-After");
        let message = text(&response.json()["error"]["message"]);
        (message, seconds.parse().unwrap())
    }

    /// Calls a tool that must fail, and returns what the model is told.
    pub(crate) fn call_error(&self, name: &str, arguments: &Value) -> String {
        let result = self.call(name, arguments);
        assert_eq!(result["isError"], true, "{result}");
        text(&result["content"][0]["text"])
    }
}
