//! What a tool asks its client, in one message, and the line in which it is told the answers.
//!
//! The short form asks the user one question. The full form holds requests as MCP has them, several
//! at once, under keys of the tool's own.

use serde_json::{Map, Value, json};

use crate::catalog::FormSchema;
use crate::protocol::input::InputRequest;
use crate::protocol::jsonrpc::{ErrorObject, INVALID_PARAMS};

/// The most requests in one message.
pub(super) const MAX_REQUESTS: usize = 16;
/// The longest key of a request, in bytes.
const MAX_KEY: usize = 128;

/// What a client answered, or why it did not.
pub type Answer = Result<Value, ErrorObject>;

/// What a tool asks in one message: at least one request, each under its key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ask {
    pub(super) requests: Vec<(String, InputRequest)>,
    form: Form,
}

/// How it was asked, and is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Short,
    Full,
}

/// A message that asks for nothing that can be asked. The tool is told, since it waits.
#[derive(Debug, PartialEq)]
pub(super) struct Unusable {
    pub(super) line: Vec<u8>,
    pub(super) reason: String,
}

/// Reads the members of a message besides `mcp`.
pub(super) fn read(mut object: Map<String, Value>) -> Result<Ask, Unusable> {
    let id = object.get("id").cloned();
    let read = if object.contains_key("requests") {
        full(&mut object)
    } else {
        short(&mut object)
    };
    read.map_err(|reason| Unusable::new(id, reason))
}

impl Unusable {
    /// Why the question of this id cannot be asked.
    pub(super) fn new(id: Option<Value>, reason: String) -> Self {
        let error = error_of(&ErrorObject::new(INVALID_PARAMS, reason.clone()));
        let id = id.map(|id| ("id".to_owned(), id));
        let answer = id.into_iter().chain([("error".to_owned(), error)]);
        Self {
            line: line_of(&Value::Object(answer.collect())),
            reason,
        }
    }
}

impl Ask {
    /// Asks under these keys, in the name of the definition and not of the tool.
    pub(super) fn of(requests: Vec<(String, InputRequest)>) -> Self {
        Self {
            requests,
            form: Form::Full,
        }
    }

    /// The line that tells the tool its answers, which are in the order of the requests.
    pub(super) fn line(&self, answers: Vec<Answer>) -> Vec<u8> {
        let told = |answer: Answer| match answer {
            Ok(answer) => answer,
            Err(error) => json!({"error": error_of(&error)}),
        };
        let keys = self.requests.iter().map(|(key, _)| key.clone());
        let mut answers = keys.zip(answers.into_iter().map(told));
        match self.form {
            Form::Full => line_of(&Value::Object(answers.collect())),
            Form::Short => {
                let (key, answer) = answers.next().unwrap_or_default();
                let mut line = Map::from_iter([("id".to_owned(), Value::String(key))]);
                if let Value::Object(answer) = answer {
                    let others = answer.into_iter().filter(|(name, _)| name != "id");
                    line.extend(others);
                }
                line_of(&Value::Object(line))
            }
        }
    }
}

fn error_of(error: &ErrorObject) -> Value {
    json!({"code": error.code, "message": error.message})
}

/// JSON on one line, with its line break.
fn line_of(value: &Value) -> Vec<u8> {
    let mut line = value.to_string().into_bytes();
    line.push(b'\n');
    line
}

fn full(object: &mut Map<String, Value>) -> Result<Ask, String> {
    let Some(Value::Object(requests)) = object.remove("requests") else {
        return Err("`requests` must be an object".to_owned());
    };
    refuse_others(object, "`requests` stands alone")?;
    if !(1..=MAX_REQUESTS).contains(&requests.len()) {
        return Err(format!("`requests` has from 1 to {MAX_REQUESTS} members"));
    }
    let read = requests.into_iter().map(|(key, request)| {
        check_key(&key)?;
        let request = one_of(request).map_err(|reason| format!("`{key}`: {reason}"))?;
        Ok((key, request))
    });
    Ok(Ask {
        requests: read.collect::<Result<_, String>>()?,
        form: Form::Full,
    })
}

/// One request of the full form.
fn one_of(request: Value) -> Result<InputRequest, String> {
    let Value::Object(mut request) = request else {
        return Err("a request must be an object".to_owned());
    };
    let Some(Value::String(method)) = request.remove("method") else {
        return Err("`method` must be a text".to_owned());
    };
    let params = request.remove("params");
    refuse_others(&request, "a request has `method` and `params`")?;
    checked(InputRequest::read(&method, params)?)
}

fn short(object: &mut Map<String, Value>) -> Result<Ask, String> {
    let mut text = |key: &str| match object.remove(key) {
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{key}` must be a text")),
        None => Ok(None),
    };
    let (id, message, url) = (text("id")?, text("message")?, text("url")?);
    let id = id.ok_or("`id` is missing: it names the question")?;
    let message = message.ok_or("`message` is missing: it is what the user is asked")?;
    let schema = object.remove("schema");
    refuse_others(
        object,
        "known are `id`, `message`, `schema`, `url` and `requests`",
    )?;
    check_key(&id)?;
    let request = match (url, schema) {
        (Some(_), Some(_)) => return Err("`schema` and `url` exclude each other".to_owned()),
        (Some(url), None) => InputRequest::url(&message, &url)?,
        (None, schema) => InputRequest::form(&message, schema)?,
    };
    Ok(Ask {
        requests: vec![(id, checked(request)?)],
        form: Form::Short,
    })
}

/// A request whose schema is one: what a form is filled in with is checked against it.
fn checked(request: InputRequest) -> Result<InputRequest, String> {
    if let Some(schema) = request.schema() {
        FormSchema::compile(schema)?;
    }
    Ok(request)
}

fn check_key(key: &str) -> Result<(), String> {
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(format!(
            "the name of a question has from 1 to {MAX_KEY} bytes"
        ));
    }
    Ok(())
}

fn refuse_others(object: &Map<String, Value>, known: &str) -> Result<(), String> {
    match object.keys().next() {
        None => Ok(()),
        Some(key) => Err(format!("it has the unknown key `{key}`; {known}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_value(value: Value) -> Result<Ask, Unusable> {
        match value {
            Value::Object(object) => read(object),
            _ => panic!("an object"),
        }
    }

    fn text(line: Vec<u8>) -> String {
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_question_becomes_a_request() {
        let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        let empty = json!({"type": "object", "properties": {}});
        let form = |schema: &Value| json!({"message": "m", "requestedSchema": schema});
        let sampling = json!({"messages": [], "maxTokens": 3});
        let cases = [
            (
                json!({"id": "q", "message": "m", "schema": schema}),
                json!({"q": {"method": "elicitation/create", "params": form(&schema)}}),
            ),
            (
                json!({"id": "q", "message": "m"}),
                json!({"q": {"method": "elicitation/create", "params": form(&empty)}}),
            ),
            (
                json!({"id": "q", "message": "m", "url": "https://a/b"}),
                json!({"q": {
                    "method": "elicitation/create",
                    "params": {"mode": "url", "message": "m", "url": "https://a/b"}
                }}),
            ),
            (
                json!({"requests": {
                    "b": {"method": "sampling/createMessage", "params": sampling},
                    "a": {"method": "roots/list"},
                }}),
                json!({
                    "b": {"method": "sampling/createMessage", "params": sampling},
                    "a": {"method": "roots/list"},
                }),
            ),
        ];
        for (message, expected) in cases {
            let ask = read_value(message.clone()).unwrap();
            let requests = ask.requests.iter();
            let requests: Map<_, _> = requests
                .map(|(key, one)| (key.clone(), one.to_value()))
                .collect();
            assert_eq!(Value::Object(requests), expected, "{message}");
        }
    }

    #[test]
    fn a_question_that_cannot_be_asked_is_answered_at_once() {
        let many: Map<_, _> = (0..=MAX_REQUESTS)
            .map(|at| (at.to_string(), json!({"method": "roots/list"})))
            .collect();
        let cases = [
            (json!({}), "`id` is missing"),
            (json!({"id": 7, "message": "m"}), "`id` must be a text"),
            (json!({"id": "", "message": "m"}), "from 1 to 128 bytes"),
            (json!({"id": "q"}), "`message` is missing"),
            (
                json!({"id": "q", "message": "m", "x": 1}),
                "unknown key `x`",
            ),
            (
                json!({"id": "q", "message": "m", "schema": 1}),
                "`requestedSchema`",
            ),
            (
                json!({"id": "q", "message": "m", "schema": {"type": "object", "properties": {"a": {"type": "text"}}}}),
                "the schema is not valid",
            ),
            (
                json!({"id": "q", "message": "m", "schema": {}, "url": "https://a"}),
                "exclude each other",
            ),
            (
                json!({"id": "q", "message": "m", "url": "file:///a"}),
                "`url` must start",
            ),
            (json!({"requests": []}), "`requests` must be an object"),
            (json!({"requests": {}}), "from 1 to 16 members"),
            (json!({ "requests": many }), "from 1 to 16 members"),
            (
                json!({"id": "q", "requests": {"a": {"method": "roots/list"}}}),
                "unknown key `id`",
            ),
            (
                json!({"requests": {"a": 1}}),
                "`a`: a request must be an object",
            ),
            (
                json!({"requests": {"a": {}}}),
                "`a`: `method` must be a text",
            ),
            (
                json!({"requests": {"a": {"method": "x"}}}),
                "`a`: `x` is not",
            ),
            (
                json!({"requests": {"a": {"method": "roots/list", "x": 1}}}),
                "unknown key `x`",
            ),
        ];
        for (message, reason) in cases {
            let id = message.get("id").cloned();
            let unusable = read_value(message.clone()).unwrap_err();
            assert!(
                unusable.reason.contains(reason),
                "{message}: {}",
                unusable.reason
            );
            let line: Value = serde_json::from_slice(&unusable.line).unwrap();
            assert_eq!(line.get("id"), id.as_ref());
            assert_eq!(line["error"]["message"], unusable.reason);
        }
    }

    #[test]
    fn an_answer_is_one_line_in_the_form_of_the_question() {
        let short = read_value(json!({"id": "q", "message": "m"})).unwrap();
        let two = json!({"a": {"method": "roots/list"}, "b": {"method": "roots/list"}});
        let full = read_value(json!({ "requests": two })).unwrap();
        let accepted = || Ok(json!({"action": "accept", "content": {"name": "x\ny"}}));
        let error = || Err(ErrorObject::new(-1, "no"));
        assert_eq!(
            text(short.line(vec![accepted()])),
            "{\"id\":\"q\",\"action\":\"accept\",\"content\":{\"name\":\"x\\ny\"}}\n"
        );
        assert_eq!(
            text(short.line(vec![error()])),
            "{\"id\":\"q\",\"error\":{\"code\":-1,\"message\":\"no\"}}\n"
        );
        assert_eq!(
            text(full.line(vec![Ok(json!({"roots": []})), error()])),
            "{\"a\":{\"roots\":[]},\"b\":{\"error\":{\"code\":-1,\"message\":\"no\"}}}\n"
        );
    }
}
