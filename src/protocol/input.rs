//! What a server asks a client while it serves a request: its user, its model, its folders. The
//! same requests in both eras; up to 2025-11-25 each is a JSON-RPC request of its own, in
//! 2026-07-28 they are part of a result (Multi Round-Trip Requests).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::capabilities::Capability;
use super::jsonrpc::{self, ErrorObject, INTERNAL_ERROR};
use super::texts::Texts;

/// A client cannot do what it would have to (MCP 2026-07-28, Schema).
pub const MISSING_CLIENT_CAPABILITY: i32 = -32021;
/// A user rejected a request for sampling; used here for what a client cannot or does not answer.
pub const NOT_ANSWERED: i32 = -1;

/// The error of a request that needs a capability which its client does not have.
pub fn missing_capabilities(missing: &[Capability]) -> ErrorObject {
    let names: Vec<_> = missing.iter().map(|one| one.as_str()).collect();
    let required = super::capabilities::object_of(missing.iter().copied());
    let text = format!(
        "This needs a client with the capability {}",
        names.join(", ")
    );
    ErrorObject::new(MISSING_CLIENT_CAPABILITY, text)
        .with_data(json!({ "requiredCapabilities": required }))
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `elicitation/create` with a form.
    Form,
    /// `elicitation/create` with a web page.
    Url,
    /// `sampling/createMessage`.
    Sampling,
    /// `roots/list`.
    Roots,
}

impl Kind {
    /// The method of the request.
    pub fn method(self) -> &'static str {
        match self {
            Self::Form | Self::Url => "elicitation/create",
            Self::Sampling => "sampling/createMessage",
            Self::Roots => "roots/list",
        }
    }
}

/// One request to a client. It is valid, as far as clients depend on it.
#[derive(Debug, Clone, PartialEq)]
pub struct InputRequest {
    kind: Kind,
    params: Map<String, Value>,
}

impl InputRequest {
    /// Asks the user to fill in a form. Without a schema the form has no fields: it can be accepted,
    /// declined or cancelled.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the schema.
    pub fn form(message: &str, schema: Option<Value>) -> Result<Self, String> {
        let schema = schema.unwrap_or_else(|| json!({"type": "object", "properties": {}}));
        let params = json!({"message": message, "requestedSchema": schema});
        Self::read("elicitation/create", Some(params))
    }

    /// Asks the user to open a web page.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the URL.
    pub fn url(message: &str, url: &str) -> Result<Self, String> {
        let params = json!({"mode": "url", "message": message, "url": url});
        Self::read("elicitation/create", Some(params))
    }

    /// Reads a request by its method and params.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn read(method: &str, params: Option<Value>) -> Result<Self, String> {
        let params = match params {
            None => Map::new(),
            Some(Value::Object(params)) => params,
            Some(_) => return Err("`params` must be an object".to_owned()),
        };
        let kind = match method {
            "elicitation/create" => check_elicitation(&params)?,
            "sampling/createMessage" => check_sampling(&params)?,
            "roots/list" => Kind::Roots,
            _ => {
                return Err(format!(
                    "`{}` is not `elicitation/create`, `sampling/createMessage` or `roots/list`",
                    jsonrpc::excerpt(method)
                ));
            }
        };
        Ok(Self { kind, params })
    }

    /// What is asked for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the client must be able to do.
    pub fn capability(&self) -> Capability {
        match self.kind {
            Kind::Form => Capability::Elicitation,
            Kind::Url => Capability::ElicitationUrl,
            Kind::Roots => Capability::Roots,
            Kind::Sampling => {
                let uses_tools = ["tools", "toolChoice"];
                if uses_tools.iter().any(|key| self.params.contains_key(*key)) {
                    Capability::SamplingTools
                } else {
                    Capability::Sampling
                }
            }
        }
    }

    /// The schema that an accepted form must satisfy.
    pub fn schema(&self) -> Option<&Value> {
        match self.kind {
            Kind::Form => self.params.get("requestedSchema"),
            Kind::Url | Kind::Sampling | Kind::Roots => None,
        }
    }

    /// Method and params, as 2026-07-28 has them in a result.
    pub fn to_value(&self) -> Value {
        let method = self.kind.method();
        if self.kind == Kind::Roots && self.params.is_empty() {
            return json!({ "method": method });
        }
        json!({"method": method, "params": self.params})
    }

    /// Encodes it as a JSON-RPC request. An elicitation by URL needs an id of its own there.
    pub fn encode(&self, id: u64, elicitation_id: impl FnOnce() -> String) -> Vec<u8> {
        let mut params = Cow::Borrowed(&self.params);
        if self.kind == Kind::Url && !params.contains_key("elicitationId") {
            let id = Value::String(elicitation_id());
            params.to_mut().insert("elicitationId".to_owned(), id);
        }
        jsonrpc::encode_request(id, self.kind.method(), params.as_ref())
    }

    /// Checks that a client's answer has the form that its kind of request calls for. What a form
    /// must satisfy besides is in [`InputRequest::schema`].
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn check(&self, answer: &Value) -> Result<(), String> {
        let Some(answer) = answer.as_object() else {
            return Err("it is no object".to_owned());
        };
        match self.kind {
            Kind::Form | Kind::Url => check_elicited(answer),
            Kind::Sampling => {
                let role = answer.get("role").and_then(Value::as_str);
                if !matches!(role, Some("assistant" | "user")) {
                    return Err("`role` must be `assistant` or `user`".to_owned());
                }
                let content = answer.get("content");
                if !content.is_some_and(|content| content.is_object() || content.is_array()) {
                    return Err("`content` must be an object or an array".to_owned());
                }
                if !answer.get("model").is_some_and(Value::is_string) {
                    return Err("`model` must be a string".to_owned());
                }
                Ok(())
            }
            Kind::Roots => {
                let has_uri = |root: &Value| root.get("uri").is_some_and(Value::is_string);
                match answer.get("roots").and_then(Value::as_array) {
                    Some(roots) if roots.iter().all(has_uri) => Ok(()),
                    _ => Err("`roots` must be an array of objects with a `uri`".to_owned()),
                }
            }
        }
    }

    /// What a form was filled in with; `None` unless it was accepted.
    pub fn accepted<'a>(&self, answer: &'a Value) -> Option<Cow<'a, Value>> {
        if self.kind != Kind::Form || answer.get("action")? != "accept" {
            return None;
        }
        let empty = || Cow::Owned(json!({}));
        Some(answer.get("content").map_or_else(empty, Cow::Borrowed))
    }
}

fn check_elicitation(params: &Map<String, Value>) -> Result<Kind, String> {
    if !params.get("message").is_some_and(Value::is_string) {
        return Err("`message` must be a text".to_owned());
    }
    match params.get("mode").map(Value::as_str) {
        None | Some(Some("form")) => {
            let schema = params.get("requestedSchema").and_then(Value::as_object);
            let schema = schema.ok_or("`requestedSchema` must be an object")?;
            if schema.get("type").is_none_or(|kind| kind != "object") {
                return Err("the schema of a form must have the type `object`".to_owned());
            }
            if !schema.get("properties").is_some_and(Value::is_object) {
                return Err("the schema of a form must have `properties`".to_owned());
            }
            Ok(Kind::Form)
        }
        Some(Some("url")) => {
            let url = params
                .get("url")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let has_scheme = url.starts_with("https://") || url.starts_with("http://");
            if !has_scheme || url.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err("`url` must start with `https://` or `http://`".to_owned());
            }
            Ok(Kind::Url)
        }
        Some(_) => Err("`mode` must be `form` or `url`".to_owned()),
    }
}

fn check_sampling(params: &Map<String, Value>) -> Result<Kind, String> {
    if !params.get("messages").is_some_and(Value::is_array) {
        return Err("`messages` must be an array".to_owned());
    }
    if !params.get("maxTokens").is_some_and(Value::is_u64) {
        return Err("`maxTokens` must be a whole number".to_owned());
    }
    Ok(Kind::Sampling)
}

fn check_elicited(answer: &Map<String, Value>) -> Result<(), String> {
    let action = answer.get("action").and_then(Value::as_str);
    if !matches!(action, Some("accept" | "decline" | "cancel")) {
        return Err("`action` must be `accept`, `decline` or `cancel`".to_owned());
    }
    if answer
        .get("content")
        .is_some_and(|content| !content.is_object())
    {
        return Err("`content` must be an object".to_owned());
    }
    Ok(())
}

/// Reads the `error` of a client's response. A code or message that is missing is made up.
pub fn read_error(error: &Value) -> ErrorObject {
    let code = error.get("code").and_then(Value::as_i64);
    let message = error.get("message").and_then(Value::as_str);
    ErrorObject::new(
        code.and_then(|code| i32::try_from(code).ok())
            .unwrap_or(INTERNAL_ERROR),
        message
            .unwrap_or("the client answered with an error")
            .to_owned(),
    )
}

/// Encodes the withdrawal of a request.
pub fn encode_cancelled(id: u64, reason: &str) -> Vec<u8> {
    let params = json!({"requestId": id, "reason": reason});
    jsonrpc::encode_notification("notifications/cancelled", &params)
}

/// What a client has answered in this round and those before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers {
    /// How often the client was sent away before.
    pub round: u8,
    /// The answers under the keys of their requests.
    pub known: BTreeMap<String, Known>,
}

/// An answer that came with a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The answer.
    pub answer: Value,
    /// This server is known to have asked for it.
    pub was_asked: bool,
}

impl Texts for InputRequest {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        self.params.each_text(change);
    }
}

/// What a client must answer before a call can go on.
#[derive(Debug, Clone, PartialEq)]
pub struct InputRequired {
    /// The requests under their keys, as they are sent.
    pub requests: Map<String, Value>,
    /// How often the client will have been sent away.
    pub round: u8,
    /// The answers that were of use so far.
    pub answers: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        json!({"type": "object", "properties": {"name": {"type": "string"}}})
    }

    #[test]
    fn a_request_is_sent_as_it_was_read() {
        let form = json!({"message": "Who?", "requestedSchema": schema()});
        let url = json!({"mode": "url", "message": "Go", "url": "https://a/b"});
        let sampling = json!({"messages": [], "maxTokens": 5, "x": 1});
        let tools = json!({"messages": [], "maxTokens": 5, "tools": []});
        let cases = [
            ("elicitation/create", Some(form), Capability::Elicitation),
            ("elicitation/create", Some(url), Capability::ElicitationUrl),
            (
                "sampling/createMessage",
                Some(sampling),
                Capability::Sampling,
            ),
            (
                "sampling/createMessage",
                Some(tools),
                Capability::SamplingTools,
            ),
            ("roots/list", Some(json!({"a": 1})), Capability::Roots),
            ("roots/list", None, Capability::Roots),
        ];
        for (method, params, capability) in cases {
            let request = InputRequest::read(method, params.clone()).unwrap();
            assert_eq!(request.capability(), capability);
            let mut expected = json!({ "method": method });
            if let Some(params) = params {
                expected["params"] = params;
            }
            assert_eq!(request.to_value(), expected);
        }
    }

    #[test]
    fn what_no_client_understands_is_not_asked() {
        let cases = [
            ("tools/call", json!({}), "`tools/call` is not"),
            ("roots/list", json!([]), "`params` must be an object"),
            ("elicitation/create", json!({}), "`message` must be a text"),
            (
                "elicitation/create",
                json!({"message": "m"}),
                "`requestedSchema`",
            ),
            (
                "elicitation/create",
                json!({"message": "m", "requestedSchema": {"type": "string"}}),
                "type `object`",
            ),
            (
                "elicitation/create",
                json!({"message": "m", "requestedSchema": {"type": "object"}}),
                "`properties`",
            ),
            (
                "elicitation/create",
                json!({"message": "m", "mode": "x"}),
                "`mode`",
            ),
            (
                "elicitation/create",
                json!({"message": "m", "mode": "url", "url": "javascript:x"}),
                "`url`",
            ),
            (
                "sampling/createMessage",
                json!({"maxTokens": 1}),
                "`messages`",
            ),
            (
                "sampling/createMessage",
                json!({"messages": [], "maxTokens": -1}),
                "`maxTokens`",
            ),
        ];
        for (method, params, expected) in cases {
            let error = InputRequest::read(method, Some(params.clone())).unwrap_err();
            assert!(error.contains(expected), "{method} {params}: {error}");
        }
    }

    #[test]
    fn an_answer_has_the_form_of_its_request() {
        let form = InputRequest::form("m", Some(schema())).unwrap();
        let url = InputRequest::url("m", "https://a").unwrap();
        let sampling = json!({"messages": [], "maxTokens": 5});
        let sampling = InputRequest::read("sampling/createMessage", Some(sampling)).unwrap();
        let roots = InputRequest::read("roots/list", None).unwrap();
        let text = json!({"type": "text", "text": "x"});
        let cases = [
            (
                &form,
                json!({"action": "accept", "content": {"name": "x"}}),
                true,
            ),
            (&form, json!({"action": "accept"}), true),
            (&form, json!({"action": "decline"}), true),
            (&url, json!({"action": "cancel"}), true),
            (&form, json!({"action": "yes"}), false),
            (&form, json!({"action": "accept", "content": null}), false),
            (&form, json!(null), false),
            (&form, json!(12345), false),
            (
                &sampling,
                json!({"role": "assistant", "content": text, "model": "m"}),
                true,
            ),
            (
                &sampling,
                json!({"role": "assistant", "content": [text], "model": "m"}),
                true,
            ),
            (
                &sampling,
                json!({"role": "system", "content": text, "model": "m"}),
                false,
            ),
            (
                &sampling,
                json!({"role": "assistant", "content": "x", "model": "m"}),
                false,
            ),
            (
                &sampling,
                json!({"role": "assistant", "content": text}),
                false,
            ),
            (&roots, json!({"roots": []}), true),
            (
                &roots,
                json!({"roots": [{"uri": "file:///a", "name": "a"}]}),
                true,
            ),
            (&roots, json!({"roots": [{"name": "a"}]}), false),
            (&roots, json!({}), false),
        ];
        for (request, answer, expected) in cases {
            assert_eq!(
                request.check(&answer).is_ok(),
                expected,
                "{request:?} {answer}"
            );
        }
    }

    #[test]
    fn a_request_on_a_session_has_an_id() {
        let text = |request: &InputRequest| {
            String::from_utf8(request.encode(7, || "e".to_owned())).unwrap()
        };
        assert_eq!(
            text(&InputRequest::read("roots/list", None).unwrap()),
            r#"{"jsonrpc":"2.0","id":7,"method":"roots/list","params":{}}"#
        );
        assert_eq!(
            text(&InputRequest::url("m", "https://a").unwrap()),
            r#"{"jsonrpc":"2.0","id":7,"method":"elicitation/create","params":{"mode":"url","message":"m","url":"https://a","elicitationId":"e"}}"#
        );
    }

    #[test]
    fn a_missing_capability_is_named() {
        let error = missing_capabilities(&[Capability::Sampling, Capability::ElicitationUrl]);
        assert_eq!(error.code, -32021);
        assert_eq!(
            error.data,
            Some(json!({"requiredCapabilities": {"sampling": {}, "elicitation": {"url": {}}}}))
        );
    }
}
