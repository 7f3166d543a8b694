//! JSON-RPC 2.0: messages, ids, errors and replies.
//!
//! [`parse`] turns a body into messages, and is stricter than `serde_json`.

mod reader;

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

pub use reader::{Body, MAX_BATCH, MAX_DEPTH, MAX_KEYS, MAX_VALUES, parse, read_object};

/// The longest string id, in bytes of its JSON text without the quotes.
pub const MAX_ID_BYTES: usize = 256;

/// Invalid JSON was received.
pub const PARSE_ERROR: i32 = -32700;
/// The JSON is not a request, notification or response.
pub const INVALID_REQUEST: i32 = -32600;
/// The method does not exist.
pub const METHOD_NOT_FOUND: i32 = -32601;
/// The method's parameters are invalid.
pub const INVALID_PARAMS: i32 = -32602;
/// The server could not serve the request.
pub const INTERNAL_ERROR: i32 = -32603;
/// The session does not exist. Widely used by clients, allocated before MCP closed the range.
pub const SESSION_NOT_FOUND: i32 = -32001;
/// The resource does not exist. Up to 2025-11-25; later it is `-32602`.
pub const RESOURCE_NOT_FOUND: i32 = -32002;
/// A mirrored header is missing or differs from the body (MCP 2026-07-28, Server Validation).
pub const HEADER_MISMATCH: i32 = -32020;
/// The protocol version is not served (MCP 2026-07-28, Versioning).
pub const UNSUPPORTED_PROTOCOL_VERSION: i32 = -32022;

/// One message of a client.
#[derive(Debug)]
pub enum Message {
    /// Wants exactly one reply.
    Request(Request),
    /// Wants no reply.
    Notification(Notification),
    /// Answers a request of ours.
    Response(Response),
}

/// A request: method and params, to be answered under its id.
#[derive(Debug)]
pub struct Request {
    /// Chosen by the client; only ever echoed.
    pub id: RequestId,
    /// The method name, compared byte for byte.
    pub method: String,
    /// The params object; empty when the message has none.
    pub params: Map<String, Value>,
}

/// A notification: a request without an id.
#[derive(Debug)]
pub struct Notification {
    /// The method name.
    pub method: String,
    /// The params object; empty when the message has none.
    pub params: Map<String, Value>,
}

/// A client's answer to a request of the server.
#[derive(Debug)]
pub struct Response {
    /// The id of the request that is answered.
    pub id: RequestId,
    /// Its result, or the error as the client wrote it.
    pub outcome: Result<Value, Value>,
}

/// A request id: an integer within i64 or a string of at most [`MAX_ID_BYTES`], kept as the JSON
/// text the client wrote, so that the echo is byte-exact.
#[derive(Debug, Clone)]
pub struct RequestId(Box<RawValue>);

/// What an id means, for finding a call by id: `"7"` and `7` are different ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RequestKey {
    /// An integer id.
    Number(i64),
    /// A string id.
    String(String),
}

impl RequestId {
    /// Reads an id from its JSON text; `None` if it is neither an i64 integer nor a short string.
    fn from_raw(raw: Box<RawValue>) -> Option<Self> {
        let text = raw.get();
        let valid = if text.starts_with('"') {
            text.len() <= MAX_ID_BYTES + 2 && serde_json::from_str::<String>(text).is_ok()
        } else {
            text.parse::<i64>().is_ok()
        };
        valid.then_some(Self(raw))
    }

    /// The id's meaning, independent of how the client escaped it.
    pub fn key(&self) -> RequestKey {
        let text = self.0.get();
        match text.parse() {
            Ok(number) => RequestKey::Number(number),
            Err(_) => RequestKey::String(serde_json::from_str(text).unwrap_or_default()),
        }
    }
}

impl RequestKey {
    /// Reads the `requestId` of a cancellation; `None` if it could not be an id.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::String(text.clone())),
            Value::Number(number) => number.as_i64().map(Self::Number),
            _ => None,
        }
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get())
    }
}

/// The `error` member of a reply.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ErrorObject {
    /// One of the codes of this module.
    pub code: i32,
    /// A short text for a developer; holds no path, environment value or token.
    pub message: Cow<'static, str>,
    /// Details that a program can use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl ErrorObject {
    /// Builds an error without data.
    pub fn new(code: i32, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    /// Adds data.
    #[must_use]
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// `-32602`, for params that a client got wrong.
    pub fn invalid_params(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(INVALID_PARAMS, message)
    }

    /// `-32601`, naming the method.
    pub fn method_not_found(method: &str) -> Self {
        Self::new(
            METHOD_NOT_FOUND,
            format!("Method not found: {}", excerpt(method)),
        )
    }
}

/// A body that is no valid message, with the id where one could be read.
#[derive(Debug)]
pub struct Malformed {
    /// The id of the message, for the reply.
    pub id: Option<RequestId>,
    /// `-32700`, `-32600` or `-32602`.
    pub error: ErrorObject,
}

/// The id member of an error reply to a message whose id could not be read.
///
/// The schemas of 2025-11-25 and 2026-07-28 allow no `null` there; JSON-RPC 2.0 and the older
/// revisions demand it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnreadableId {
    /// Leave the member out.
    Omitted,
    /// Write `null`.
    Null,
}

/// Encodes a result reply as one line of compact JSON.
pub fn encode_result(id: &RequestId, result: &RawValue) -> Vec<u8> {
    let (id, result) = (id.0.get(), result.get());
    let parts = [
        r#"{"jsonrpc":"2.0","id":"#,
        id,
        r#","result":"#,
        result,
        "}",
    ];
    without_line_ends(parts.concat().into_bytes())
}

/// Encodes an error reply as one line of compact JSON.
pub fn encode_error(
    id: Option<&RequestId>,
    unreadable: UnreadableId,
    error: &ErrorObject,
) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Id<'a> {
        Known(&'a RequestId),
        Null,
    }
    #[derive(Serialize)]
    struct Reply<'a> {
        jsonrpc: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Id<'a>>,
        error: &'a ErrorObject,
    }
    let id = match (id, unreadable) {
        (Some(id), _) => Some(Id::Known(id)),
        (None, UnreadableId::Null) => Some(Id::Null),
        (None, UnreadableId::Omitted) => None,
    };
    encode(&Reply {
        jsonrpc: "2.0",
        id,
        error,
    })
}

/// Encodes a request of the server's own as one line of compact JSON.
pub fn encode_request(id: u64, method: &str, params: &impl Serialize) -> Vec<u8> {
    #[derive(Serialize)]
    struct Request<'a, T> {
        jsonrpc: &'static str,
        id: u64,
        method: &'a str,
        params: &'a T,
    }
    encode(&Request {
        jsonrpc: "2.0",
        id,
        method,
        params,
    })
}

/// Encodes a notification as one line of compact JSON.
pub fn encode_notification(method: &str, params: &impl Serialize) -> Vec<u8> {
    #[derive(Serialize)]
    struct Notification<'a, T> {
        jsonrpc: &'static str,
        method: &'a str,
        params: &'a T,
    }
    encode(&Notification {
        jsonrpc: "2.0",
        method,
        params,
    })
}

#[expect(clippy::expect_used, reason = "our types have string keys only")]
fn encode(message: &impl Serialize) -> Vec<u8> {
    let message = serde_json::to_vec(message).expect("a message is always valid JSON");
    without_line_ends(message)
}

/// Escapes the characters that are no line ends in an event stream, but are for some who read one:
/// next line, line and paragraph separator. In JSON such a character can only stand in a string.
fn without_line_ends(json: Vec<u8>) -> Vec<u8> {
    const LINE_ENDS: [(&[u8], &[u8]); 3] = [
        ("\u{85}".as_bytes(), br"\u0085"),
        ("\u{2028}".as_bytes(), br"\u2028"),
        ("\u{2029}".as_bytes(), br"\u2029"),
    ];
    if json.is_ascii() {
        return json;
    }
    let starts = |byte: &u8| matches!(byte, 0xc2 | 0xe2);
    let mut escaped = Vec::with_capacity(json.len());
    let mut rest = json.as_slice();
    while let Some((first, others)) = rest.split_first() {
        let found = LINE_ENDS
            .iter()
            .find(|(end, _)| starts(first) && rest.starts_with(end));
        let Some((end, escape)) = found else {
            escaped.push(*first);
            rest = others;
            continue;
        };
        escaped.extend_from_slice(escape);
        rest = rest.get(end.len()..).unwrap_or_default();
    }
    escaped
}

/// At most 64 characters of a client's text, for a message.
pub(crate) fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(64) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}
#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;

    use super::*;

    #[test]
    fn a_message_is_one_line_for_everybody() {
        let text = "a\u{2028}b\u{2029}c\u{85}d\r\né€\u{2027}\u{202a}\u{86}\\u2028";
        let json = encode(&serde_json::json!({ text: [text] }));
        let json = String::from_utf8(json).unwrap();
        assert!(
            json.starts_with(r#"{"a\u2028b\u2029c\u0085d\r\né€"#),
            "{json}"
        );
        let is_line_end = |c: char| {
            matches!(
                c,
                '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}'
            )
        };
        assert!(!json.contains(is_line_end), "{json}");
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read[text][0], text);
    }

    #[test]
    fn ids_compare_by_meaning() {
        let id = |text: &str| {
            RequestId::from_raw(RawValue::from_string(text.to_owned()).unwrap()).unwrap()
        };
        assert_eq!(id(r#""A""#).key(), id(r#""\u0041""#).key());
        assert_ne!(id("7").key(), id(r#""7""#).key());
        assert_eq!(
            RequestKey::from_value(&serde_json::json!(7)),
            Some(id("7").key())
        );
        assert_eq!(RequestKey::from_value(&serde_json::json!(1.5)), None);
    }

    #[test]
    fn replies_are_one_compact_line() {
        let id = RequestId::from_raw(RawValue::from_string("\"a\"".to_owned()).unwrap()).unwrap();
        let result = serde_json::json!({"text": "a\nb"});
        let result = encode_result(&id, &to_raw_value(&result).unwrap());
        assert_eq!(
            String::from_utf8(result).unwrap(),
            r#"{"jsonrpc":"2.0","id":"a","result":{"text":"a\nb"}}"#
        );
        let error = ErrorObject::new(PARSE_ERROR, "Parse error");
        let cases = [
            (
                Some(&id),
                UnreadableId::Null,
                r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32700,"message":"Parse error"}}"#,
            ),
            (
                None,
                UnreadableId::Null,
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}"#,
            ),
            (
                None,
                UnreadableId::Omitted,
                r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"}}"#,
            ),
        ];
        for (id, unreadable, expected) in cases {
            let reply = String::from_utf8(encode_error(id, unreadable, &error)).unwrap();
            assert_eq!(reply, expected);
        }
    }
}
