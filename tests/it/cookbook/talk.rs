//! What clients and the server say to each other, as the recipes write it.
//!
//! - `NAME: METHOD {…}` is a request. `client` has no token, any other name is the subject of one;
//!   `NAME at /mcp/ops` asks there, and `NAME of 2026-07-28` is a client of that revision only.
//! - `NAME: {…}` answers what the server asked.
//! - `server: METHOD {…}` is a notification or a request of the server's, `server: {…}` the result and
//!   `server: error {…}` the error. What a line leaves out may be there; what it says must be.
//! - `$taskId` is the id of the task that was made before.

use std::collections::HashMap;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use super::token_of;
use crate::support::{Client, Http, TestServer, eventually, modern_meta, text};

/// A conversation.
pub(crate) struct Talk {
    lines: Vec<Line>,
    pub(crate) is_modern_only: bool,
}

enum Line {
    Request {
        who: String,
        path: String,
        method: String,
        params: Value,
    },
    Answer(Value),
    Heard {
        method: Option<String>,
        expected: Value,
    },
}

impl Talk {
    pub(crate) fn parse(block: &str) -> Self {
        let mut is_modern_only = false;
        let lines = block.lines().map(|line| {
            let (speaker, said) = line.split_once(": ").expect("a speaker");
            let speaker = match speaker.strip_suffix(" of 2026-07-28") {
                Some(speaker) => {
                    is_modern_only = true;
                    speaker
                }
                None => speaker,
            };
            let brace = said.find('{').expect("an object");
            let object: Value = serde_json::from_str(&said[brace..])
                .unwrap_or_else(|error| panic!("{line}: {error}"));
            let method = said[..brace].trim().to_owned();
            match (speaker, method.is_empty()) {
                ("server", _) => Line::Heard {
                    method: Some(method).filter(|method| !method.is_empty()),
                    expected: object,
                },
                (_, true) => Line::Answer(object),
                (speaker, false) => {
                    let (who, path) = speaker.split_once(" at ").unwrap_or((speaker, "/mcp"));
                    Line::Request {
                        who: who.to_owned(),
                        path: path.to_owned(),
                        method,
                        params: object,
                    }
                }
            }
        });
        let lines = lines.collect();
        Self {
            lines,
            is_modern_only,
        }
    }

    /// Holds the conversation with a server.
    pub(crate) fn hold(&self, server: &TestServer, era: Era) -> Result<(), String> {
        let mut speakers: HashMap<(&str, &str), Speaker> = HashMap::new();
        let mut exchange: Option<Exchange> = None;
        let mut task = String::new();
        for line in &self.lines {
            match line {
                Line::Request {
                    who,
                    path,
                    method,
                    params,
                } => {
                    let new = || Speaker::new(server.address(), who, path, era);
                    let speaker = speakers.entry((who, path)).or_insert_with(new);
                    let params = params.to_string().replace("$taskId", &task);
                    let params = serde_json::from_str(&params).unwrap();
                    exchange = Some(speaker.ask(method, params));
                }
                Line::Answer(answer) => {
                    let exchange = exchange.as_mut().expect("a request");
                    exchange.answer(answer);
                }
                Line::Heard { method, expected } => {
                    let exchange = exchange.as_mut().expect("a request");
                    let heard = exchange.hear(method.as_deref(), expected)?;
                    if let Some(id) = heard["taskId"].as_str() {
                        id.clone_into(&mut task);
                    }
                }
            }
        }
        Ok(())
    }
}

/// A client that can be asked, and can come back for tasks.
#[derive(Clone)]
struct Speaker {
    client: Client,
    era: Era,
}

impl Speaker {
    fn new(address: &str, who: &str, path: &str, era: Era) -> Self {
        let token = (who != "client").then(|| token_of(who));
        let capabilities = json!({"elicitation": {}});
        let client = Client::asked(address, path, (era, token.as_deref()), &capabilities);
        Self { client, era }
    }

    fn post(&self, message: &Value) -> Http {
        let mut http = self.client.connect();
        self.client.send_on(&mut http, message);
        http
    }

    fn ask(&self, method: &str, mut params: Value) -> Exchange {
        if self.era == Era::Modern {
            let mut meta = modern_meta();
            meta["io.modelcontextprotocol/clientCapabilities"] =
                json!({"elicitation": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}});
            for (key, value) in params["_meta"].as_object().into_iter().flatten() {
                meta[key] = value.clone();
            }
            params["_meta"] = meta;
        }
        let mut exchange = Exchange {
            speaker: self.clone(),
            request: json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}),
            messages: Vec::new(),
            body: None,
            asked: Vec::new(),
            answers: json!({}),
        };
        exchange.send();
        exchange
    }
}

/// A request, and what comes of it.
struct Exchange {
    speaker: Speaker,
    request: Value,
    /// What came and was not heard yet, the newest first.
    messages: Vec<Value>,
    body: Option<Body>,
    /// The ids of what the server asked and has no answer to.
    asked: Vec<Value>,
    /// The answers of this round, in 2026-07-28.
    answers: Value,
}

impl Exchange {
    fn send(&mut self) {
        self.body = Some(Body::of(self.speaker.post(&self.request)));
    }

    /// The next message, with what a modern client is asked as a message for each.
    fn next(&mut self) -> Value {
        if let Some(message) = self.messages.pop() {
            return message;
        }
        let body = self.body.as_mut().expect("a response");
        let message = body.next().expect("a message before the end");
        let result = &message["result"];
        if result["resultType"] != "input_required" {
            return message;
        }
        self.request["params"]["requestState"] = result["requestState"].clone();
        let requests = result["inputRequests"].as_object().unwrap();
        for (key, request) in requests.iter().rev() {
            let (method, params) = (&request["method"], &request["params"]);
            let asked = json!({"id": key, "method": method, "params": params});
            self.messages.push(asked);
        }
        self.messages.pop().expect("a question")
    }

    fn hear(&mut self, method: Option<&str>, expected: &Value) -> Result<Value, String> {
        let message = self.next();
        let heard = match method {
            None => message["result"].clone(),
            Some("error") => message["error"].clone(),
            Some(method) if message["method"] == method => message["params"].clone(),
            Some(_) => Value::Null,
        };
        if message["method"].is_string() && !message["id"].is_null() {
            self.asked.push(message["id"].clone());
        }
        if agrees(&heard, expected) {
            return Ok(heard);
        }
        // A client comes back for a task until it has ended.
        let comes_back = self.request["method"] == "tasks/get" && heard["status"] == "working";
        let ended = comes_back.then(|| self.come_back(expected)).flatten();
        ended.ok_or_else(|| format!("expected {expected}\nheard {message}"))
    }

    fn come_back(&mut self, expected: &Value) -> Option<Value> {
        eventually(|| {
            self.send();
            let heard = self.next()["result"].clone();
            agrees(&heard, expected).then_some(heard)
        })
    }

    fn answer(&mut self, answer: &Value) {
        let id = self.asked.pop().expect("a question");
        if self.speaker.era == Era::Legacy {
            let message = json!({"jsonrpc": "2.0", "id": id, "result": answer});
            assert_eq!(self.speaker.post(&message).read().status, 202);
            return;
        }
        self.answers[text(&id)] = answer.clone();
        if self.messages.is_empty() {
            self.request["params"]["inputResponses"] = std::mem::take(&mut self.answers);
            self.answers = json!({});
            self.send();
        }
    }
}

/// A body: one message, or an event stream.
enum Body {
    One(Option<Value>),
    Stream { http: Http, unread: String },
}

impl Body {
    fn of(mut http: Http) -> Self {
        let head = http.read_head();
        if head.header("content-type") == Some("text/event-stream") {
            let unread = String::new();
            return Self::Stream { http, unread };
        }
        let length = head.header("content-length").expect("a length");
        let body = http.read_exactly(length.parse().unwrap());
        Self::One(serde_json::from_slice(&body).ok())
    }

    fn next(&mut self) -> Option<Value> {
        let (http, unread) = match self {
            Self::One(message) => return message.take(),
            Self::Stream { http, unread } => (http, unread),
        };
        loop {
            while let Some(end) = unread.find("\n\n") {
                let event: String = unread.drain(..end + 2).collect();
                let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                if let Some(data) = data.filter(|data| !data.is_empty()) {
                    return Some(serde_json::from_str(data).unwrap());
                }
            }
            unread.push_str(std::str::from_utf8(&http.read_chunk()?).unwrap());
        }
    }
}

/// Whether everything that is expected is there.
fn agrees(heard: &Value, expected: &Value) -> bool {
    match (heard, expected) {
        (Value::Object(heard), Value::Object(expected)) => expected
            .iter()
            .all(|(key, value)| heard.get(key).is_some_and(|heard| agrees(heard, value))),
        (Value::Array(heard), Value::Array(expected)) => {
            heard.len() == expected.len()
                && heard
                    .iter()
                    .zip(expected)
                    .all(|(heard, value)| agrees(heard, value))
        }
        (Value::Number(heard), Value::Number(expected)) => heard.as_f64() == expected.as_f64(),
        _ => heard == expected,
    }
}
