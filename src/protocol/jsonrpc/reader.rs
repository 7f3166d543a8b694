//! Bytes to messages.
//!
//! The reader is stricter than `serde_json`, because two parties that read the same bytes
//! differently are a security problem: a duplicate key is an error at any depth, a key that only
//! differs in case from one of ours is an error at the top level, and an id is an integer or a
//! short string that is echoed byte for byte.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::{fmt, mem};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::{
    ErrorObject, INVALID_REQUEST, MAX_ID_BYTES, Malformed, Message, Notification, PARSE_ERROR,
    Request, RequestId, Response, excerpt,
};

/// The deepest nesting of objects and arrays in one message; the message itself is level 1.
pub const MAX_DEPTH: usize = 64;

/// The most object keys in one body, over all levels.
pub const MAX_KEYS: usize = 10_000;

/// The most values in one body, over all levels. A value takes far more memory than its text:
/// this bounds a message of four million empty arrays.
pub const MAX_VALUES: usize = 100_000;

/// The most messages in one batch.
pub const MAX_BATCH: usize = 100;
/// What a body holds.
#[derive(Debug)]
pub enum Body {
    /// One message.
    Message(Message),
    /// Several messages, 1 to [`MAX_BATCH`], each judged by itself. Only 2025-03-26 has these.
    Batch(Vec<Result<Message, Malformed>>),
}

/// Reads a body.
///
/// # Errors
///
/// [`Malformed`] with `-32700` for bytes that are not JSON or nest too deep, `-32600` for JSON
/// that is no message, for a batch that is empty or too long, and `-32602` for params that are not
/// an object.
pub fn parse(body: &[u8]) -> Result<Body, Malformed> {
    let budget = Budget::default();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let seed = ItemSeed {
        budget: &budget,
        depth: 1,
    };
    let item = seed
        .deserialize(&mut deserializer)
        .and_then(|item| deserializer.end().map(|()| item));
    match item {
        Ok(Item::List(items)) if (1..=MAX_BATCH).contains(&items.len()) => {
            let messages = items.into_iter().map(Item::into_message);
            Ok(Body::Batch(messages.collect()))
        }
        Ok(Item::List(_)) => Err(Violation::BatchLength.into_malformed()),
        Ok(item) => item.into_message().map(Body::Message),
        Err(_) => {
            let violation = budget.violation.take();
            Err(violation.unwrap_or(Violation::NotJson).into_malformed())
        }
    }
}

/// Reads one JSON object as strictly as a message, but of any size: the text is not a client's.
///
/// # Errors
///
/// Says in a few words which rule the text breaks.
pub fn read_object(text: &str) -> Result<Map<String, Value>, String> {
    let budget = Budget {
        is_unlimited: true,
        ..Budget::default()
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = StrictValue {
        budget: &budget,
        depth: 1,
    };
    let value = seed
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match (value, budget.violation.take()) {
        (Ok(Value::Object(object)), _) => Ok(object),
        (Ok(_), _) => Err("it is no object".to_owned()),
        (Err(_), Some(Violation::TooDeep)) => {
            Err(format!("it nests deeper than {MAX_DEPTH} levels"))
        }
        (Err(_), Some(Violation::DuplicateKey(key))) => {
            Err(format!("it has the key `{}` twice", excerpt(&key)))
        }
        (Err(error), _) => Err(error.to_string()),
    }
}

/// A rule of ours that `serde_json` does not know.
#[derive(Debug)]
enum Violation {
    NotJson,
    TooDeep,
    TooManyKeys,
    TooManyValues,
    DuplicateKey(String),
    NotAnObject,
    BatchLength,
}

impl Violation {
    fn into_error(self) -> ErrorObject {
        match self {
            Self::NotJson => {
                ErrorObject::new(PARSE_ERROR, "Parse error: the body is not valid JSON")
            }
            Self::TooDeep => ErrorObject::new(
                PARSE_ERROR,
                format!("Parse error: the body nests deeper than {MAX_DEPTH} levels"),
            ),
            Self::TooManyKeys => ErrorObject::new(
                INVALID_REQUEST,
                format!("Invalid request: the body has more than {MAX_KEYS} keys"),
            ),
            Self::TooManyValues => ErrorObject::new(
                INVALID_REQUEST,
                format!("Invalid request: the body has more than {MAX_VALUES} values"),
            ),
            Self::DuplicateKey(key) => ErrorObject::new(
                INVALID_REQUEST,
                format!("Invalid request: duplicate key \"{}\"", excerpt(&key)),
            ),
            Self::NotAnObject => ErrorObject::new(
                INVALID_REQUEST,
                "Invalid request: a message is a JSON object",
            ),
            Self::BatchLength => ErrorObject::new(
                INVALID_REQUEST,
                format!("Invalid request: a batch has from 1 to {MAX_BATCH} messages"),
            ),
        }
    }

    fn into_malformed(self) -> Malformed {
        Malformed {
            id: None,
            error: self.into_error(),
        }
    }
}

/// What is left to read, and the first rule that was broken.
#[derive(Default)]
struct Budget {
    keys: Cell<usize>,
    values: Cell<usize>,
    is_unlimited: bool,
    violation: Cell<Option<Violation>>,
}

impl Budget {
    fn refuse<E: de::Error>(&self, violation: Violation) -> E {
        self.violation.set(Some(violation));
        E::custom("refused")
    }

    fn enter<E: de::Error>(&self, depth: usize) -> Result<(), E> {
        if depth > MAX_DEPTH {
            return Err(self.refuse(Violation::TooDeep));
        }
        Ok(())
    }

    fn count_value<E: de::Error>(&self) -> Result<(), E> {
        let values = self.values.get() + 1;
        self.values.set(values);
        if values > MAX_VALUES && !self.is_unlimited {
            return Err(self.refuse(Violation::TooManyValues));
        }
        Ok(())
    }

    fn count_key<E: de::Error>(&self) -> Result<(), E> {
        let keys = self.keys.get() + 1;
        self.keys.set(keys);
        if keys > MAX_KEYS && !self.is_unlimited {
            return Err(self.refuse(Violation::TooManyKeys));
        }
        Ok(())
    }
}

/// The top-level members as they were read, before they are judged.
#[derive(Default)]
struct Envelope {
    jsonrpc: Option<Value>,
    id: Option<Box<RawValue>>,
    method: Option<Value>,
    params: Option<Value>,
    result: Option<Value>,
    error: Option<Value>,
    confusable: Option<String>,
}

const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

impl Envelope {
    fn into_message(self) -> Result<Message, Malformed> {
        let has_id = self.id.is_some();
        let id = self.id.and_then(RequestId::from_raw);
        let invalid = |id: Option<RequestId>, text: String| Malformed {
            id,
            error: ErrorObject::new(INVALID_REQUEST, format!("Invalid request: {text}")),
        };
        if let Some(key) = self.confusable {
            let text = format!("\"{}\" is not a member of a message", excerpt(&key));
            return Err(invalid(id, text));
        }
        if self.jsonrpc.as_ref().and_then(Value::as_str) != Some("2.0") {
            return Err(invalid(id, "\"jsonrpc\" must be \"2.0\"".to_owned()));
        }
        if has_id && id.is_none() {
            let text =
                format!("\"id\" must be an integer or a string of at most {MAX_ID_BYTES} bytes");
            return Err(invalid(None, text));
        }
        let method = match self.method {
            Some(Value::String(method)) => method,
            Some(_) => return Err(invalid(id, "\"method\" must be a string".to_owned())),
            None if self.result.is_some() || self.error.is_some() => {
                let outcome = match self.error {
                    Some(error) => Err(error),
                    None => Ok(self.result.unwrap_or_default()),
                };
                return id
                    .map(|id| Message::Response(Response { id, outcome }))
                    .ok_or_else(|| invalid(None, "a response needs an \"id\"".to_owned()));
            }
            None => return Err(invalid(id, "\"method\" is missing".to_owned())),
        };
        let params = match self.params {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(params)) => params,
            Some(_) => {
                return Err(Malformed {
                    id,
                    error: ErrorObject::invalid_params(
                        "Invalid params: \"params\" must be an object",
                    ),
                });
            }
        };
        match id {
            Some(id) if method.starts_with("notifications/") => {
                Err(invalid(Some(id), "a notification has no \"id\"".to_owned()))
            }
            Some(id) => Ok(Message::Request(Request { id, method, params })),
            None => Ok(Message::Notification(Notification { method, params })),
        }
    }
}

/// The names of the members that were read.
#[derive(Default)]
struct Members {
    /// One place for each of [`MEMBERS`].
    known: [bool; MEMBERS.len()],
    others: HashSet<String>,
}

impl Members {
    /// Returns false for a name that was there already.
    fn insert(&mut self, name: &str) -> bool {
        let known = MEMBERS.iter().zip(&mut self.known);
        match known.into_iter().find(|(member, _)| **member == name) {
            Some((_, is_read)) => !mem::replace(is_read, true),
            None => self.others.insert(name.to_owned()),
        }
    }
}

/// Reads a key, without a copy unless it has escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: de::Error>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// What stands where a message should.
enum Item {
    Object(Box<Envelope>),
    List(Vec<Self>),
    Other,
}

impl Item {
    fn into_message(self) -> Result<Message, Malformed> {
        match self {
            Self::Object(envelope) => envelope.into_message(),
            Self::List(_) | Self::Other => Err(Violation::NotAnObject.into_malformed()),
        }
    }
}

/// Reads a message, or at depth 1 a list of messages.
#[derive(Clone, Copy)]
struct ItemSeed<'b> {
    budget: &'b Budget,
    depth: usize,
}

impl ItemSeed<'_> {
    fn value(&self) -> StrictValue<'_> {
        StrictValue {
            budget: self.budget,
            depth: self.depth + 1,
        }
    }
}

impl<'de> DeserializeSeed<'de> for ItemSeed<'_> {
    type Value = Item;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Item, D::Error> {
        if self.depth > 1 {
            self.budget.count_value()?;
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ItemSeed<'_> {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON-RPC message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
        let budget = self.budget;
        let mut envelope = Envelope::default();
        let mut members = Members::default();
        while let Some(key) = map.next_key_seed(Key)? {
            budget.count_key()?;
            if !members.insert(&key) {
                return Err(budget.refuse(Violation::DuplicateKey(key.into_owned())));
            }
            let value = self.value();
            match &*key {
                "jsonrpc" => envelope.jsonrpc = Some(map.next_value_seed(value)?),
                "id" => envelope.id = Some(map.next_value()?),
                "method" => envelope.method = Some(map.next_value_seed(value)?),
                "params" => envelope.params = Some(map.next_value_seed(value)?),
                "result" => envelope.result = Some(map.next_value_seed(value)?),
                "error" => envelope.error = Some(map.next_value_seed(value)?),
                _ => {
                    map.next_value_seed(value)?;
                    if MEMBERS.contains(&fold_case(&key).as_str()) {
                        envelope.confusable = Some(key.into_owned());
                    }
                }
            }
        }
        Ok(Item::Object(Box::new(envelope)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Item, A::Error> {
        if self.depth > 1 {
            while seq.next_element_seed(self.value())?.is_some() {}
            return Ok(Item::Other);
        }
        let mut items = Vec::new();
        let element = Self { depth: 2, ..self };
        while let Some(item) = seq.next_element_seed(element)? {
            // One more than a batch may have shows that it is too long.
            if items.len() <= MAX_BATCH {
                items.push(item);
            }
        }
        Ok(Item::List(items))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Item, E> {
        Ok(Item::Other)
    }
}

/// Reads any JSON value, within the budget and without duplicate keys.
#[derive(Clone, Copy)]
struct StrictValue<'b> {
    budget: &'b Budget,
    depth: usize,
}

impl StrictValue<'_> {
    fn deeper(self) -> Self {
        Self {
            depth: self.depth + 1,
            ..self
        }
    }
}

impl<'de> DeserializeSeed<'de> for StrictValue<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.budget.count_value()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        self.budget.enter(self.depth)?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self.deeper())? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.budget.enter(self.depth)?;
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.budget.count_key()?;
            match object.entry(key) {
                Entry::Occupied(twice) => {
                    let key = twice.key().clone();
                    return Err(self.budget.refuse(Violation::DuplicateKey(key)));
                }
                Entry::Vacant(member) => {
                    member.insert(map.next_value_seed(self.deeper())?);
                }
            }
        }
        Ok(Value::Object(object))
    }
}

/// Folds case the way a lenient reader might, including `ſ` and the Kelvin sign.
fn fold_case(key: &str) -> String {
    key.to_uppercase().to_lowercase()
}
#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(body: &str) -> String {
        match parse(body.as_bytes()) {
            Ok(Body::Message(message)) => told(Ok(message)),
            Ok(Body::Batch(messages)) => {
                let told: Vec<_> = messages.into_iter().map(told).collect();
                format!("[{}]", told.join(", "))
            }
            Err(malformed) => told(Err(malformed)),
        }
    }

    fn told(message: Result<Message, Malformed>) -> String {
        match message {
            Ok(Message::Request(request)) => format!("request {} {}", request.id, request.method),
            Ok(Message::Notification(notification)) => {
                format!("notification {}", notification.method)
            }
            Ok(Message::Response(response)) => format!("response {}", response.id),
            Err(malformed) => format!(
                "{} {}",
                malformed.id.map_or("-".to_owned(), |id| id.to_string()),
                malformed.error.code
            ),
        }
    }

    #[test]
    fn an_object_is_read_strictly_whatever_its_size() {
        let deepest = |levels: usize| {
            let inside = levels - 1;
            format!(r#"{{"a":{}{}}}"#, "[".repeat(inside), "]".repeat(inside))
        };
        let many: Vec<_> = (0..=MAX_VALUES).map(|n| format!(r#""{n}":{n}"#)).collect();
        let many = format!("{{{}}}", many.join(","));
        for text in ["{}", r#" {"a": {"b": [1]}} "#, &many, &deepest(MAX_DEPTH)] {
            let read = read_object(text).map(Value::Object);
            assert_eq!(read, Ok(serde_json::from_str(text).unwrap()));
        }
        let too_deep = format!("it nests deeper than {MAX_DEPTH} levels");
        let cases = [
            (deepest(MAX_DEPTH + 1), too_deep.as_str()),
            (r#"{"a":1,"a":2}"#.to_owned(), "it has the key `a` twice"),
            (
                r#"{"b":{"a":1,"\u0061":2}}"#.to_owned(),
                "it has the key `a` twice",
            ),
            ("[1]".to_owned(), "it is no object"),
            ("{} {}".to_owned(), "trailing characters at line 1 column 4"),
            ("{\"a\":}".to_owned(), "expected value at line 1 column 6"),
        ];
        for (text, expected) in cases {
            assert_eq!(read_object(&text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn messages_are_told_apart() {
        let long_id = format!(
            r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#,
            "x".repeat(256)
        );
        let longer_id = format!(
            r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#,
            "x".repeat(257)
        );
        let long_outcome = format!(r#"request "{}" ping"#, "x".repeat(256));
        let cases = [
            (
                "request",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
                "request 1 ping",
            ),
            (
                "id is echoed as written",
                r#"{"jsonrpc":"2.0","id":"\u0041","method":"ping"}"#,
                r#"request "\u0041" ping"#,
            ),
            (
                "largest id",
                r#"{"jsonrpc":"2.0","id":9223372036854775807,"method":"ping"}"#,
                "request 9223372036854775807 ping",
            ),
            (
                "smallest id",
                r#"{"jsonrpc":"2.0","id":-9223372036854775808,"method":"ping"}"#,
                "request -9223372036854775808 ping",
            ),
            (
                "empty string id",
                r#"{"jsonrpc":"2.0","id":"","method":"ping"}"#,
                r#"request "" ping"#,
            ),
            ("longest id", &long_id, &long_outcome),
            ("longer id", &longer_id, "- -32600"),
            (
                "2^63",
                r#"{"jsonrpc":"2.0","id":9223372036854775808,"method":"ping"}"#,
                "- -32600",
            ),
            (
                "id of half a character",
                r#"{"jsonrpc":"2.0","id":"\ud800","method":"ping"}"#,
                "- -32600",
            ),
            (
                "null id",
                r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
                "- -32600",
            ),
            (
                "true id",
                r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#,
                "- -32600",
            ),
            (
                "fractional id",
                r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
                "- -32600",
            ),
            (
                "exponent id",
                r#"{"jsonrpc":"2.0","id":1e2,"method":"ping"}"#,
                "- -32600",
            ),
            (
                "object id",
                r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
                "- -32600",
            ),
            (
                "notification",
                r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
                "notification notifications/initialized",
            ),
            (
                "notification with id",
                r#"{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}"#,
                "1 -32600",
            ),
            (
                "null params",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#,
                "request 1 ping",
            ),
            (
                "array params",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
                "1 -32602",
            ),
            (
                "string params",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}"#,
                "1 -32602",
            ),
            (
                "response",
                r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
                "response 1",
            ),
            (
                "error response",
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}"#,
                "response 1",
            ),
            (
                "response without id",
                r#"{"jsonrpc":"2.0","result":{}}"#,
                "- -32600",
            ),
            ("no version", r#"{"id":1,"method":"ping"}"#, "1 -32600"),
            (
                "old version",
                r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
                "1 -32600",
            ),
            ("no method", r#"{"jsonrpc":"2.0","id":1}"#, "1 -32600"),
            (
                "method is a number",
                r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
                "1 -32600",
            ),
            (
                "unknown member",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}"#,
                "request 1 ping",
            ),
            (
                "case-folded member",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"x"}"#,
                "1 -32600",
            ),
            (
                "long s",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","paramſ":{}}"#,
                "1 -32600",
            ),
            (
                "duplicate member",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"x"}"#,
                "- -32600",
            ),
            (
                "duplicate deep key",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":[{"b":1,"b":2}]}}"#,
                "- -32600",
            ),
            (
                "duplicate after escape",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1,"\u0061":2}}"#,
                "- -32600",
            ),
            (
                "batch",
                r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"n"},7,[[]]]"#,
                "[request 1 ping, notification n, - -32600, - -32600]",
            ),
            (
                "nested batch",
                r#"[[{"jsonrpc":"2.0","id":1,"method":"ping"}]]"#,
                "[- -32600]",
            ),
            (
                "duplicate key in a batch",
                r#"[{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}]"#,
                "- -32600",
            ),
            ("empty batch", "[]", "- -32600"),
            ("number", "7", "- -32600"),
            ("null", "null", "- -32600"),
            ("empty", "", "- -32700"),
            ("cut", r#"{"jsonrpc":"2.0""#, "- -32700"),
            (
                "trailing data",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#,
                "- -32700",
            ),
            (
                "two documents",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping"}{}"#,
                "- -32700",
            ),
            ("byte order mark", "\u{feff}{}", "- -32700"),
            (
                "lone surrogate",
                r#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#,
                "- -32700",
            ),
            (
                "infinite number",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1e999}}"#,
                "- -32700",
            ),
            (
                "NaN",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}"#,
                "- -32700",
            ),
        ];
        for (name, body, expected) in cases {
            assert_eq!(outcome(body), expected, "{name}: {body}");
        }
    }

    #[test]
    fn invalid_utf8_is_a_parse_error() {
        let malformed = parse(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}").unwrap_err();
        assert_eq!(malformed.error.code, PARSE_ERROR);
    }

    #[test]
    fn depth_is_bounded_exactly() {
        // The message and its params are levels 1 and 2.
        let nested = |levels: usize| {
            let arrays = levels - 2;
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{}{}}}}}"#,
                "[".repeat(arrays),
                "]".repeat(arrays)
            )
        };
        assert_eq!(outcome(&nested(MAX_DEPTH)), "request 1 ping");
        assert_eq!(outcome(&nested(MAX_DEPTH + 1)), "- -32700");
        assert_eq!(outcome(&nested(100_000)), "- -32700");
    }

    #[test]
    fn keys_are_bounded_exactly() {
        // jsonrpc, id, method and params count too.
        let with_keys = |keys: usize| {
            let params: Vec<String> = (0..keys - 4).map(|key| format!(r#""{key}":0"#)).collect();
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{{}}}}}"#,
                params.join(",")
            )
        };
        assert_eq!(outcome(&with_keys(MAX_KEYS)), "request 1 ping");
        assert_eq!(outcome(&with_keys(MAX_KEYS + 1)), "- -32600");
    }

    #[test]
    fn batches_are_bounded_exactly() {
        let batch = |messages: usize| format!("[{}]", vec!["7"; messages].join(","));
        assert_eq!(
            outcome(&batch(MAX_BATCH)),
            format!("[{}]", vec!["- -32600"; MAX_BATCH].join(", "))
        );
        assert_eq!(outcome(&batch(MAX_BATCH + 1)), "- -32600");
        assert_eq!(outcome(&batch(50_000)), "- -32600");
    }

    #[test]
    fn values_are_bounded_exactly() {
        // The version, the method, the params, the array in them and its items.
        let with_values = |values: usize| {
            let items = vec!["0"; values - 4].join(",");
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":[{items}]}}}}"#)
        };
        assert_eq!(outcome(&with_values(MAX_VALUES)), "request 1 ping");
        assert_eq!(outcome(&with_values(MAX_VALUES + 1)), "- -32600");
    }

    #[test]
    fn integers_keep_their_digits() {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":9007199254740993,"b":18446744073709551615}}"#;
        let Ok(Body::Message(Message::Request(request))) = parse(body.as_bytes()) else {
            panic!("a request");
        };
        assert_eq!(request.params["a"].to_string(), "9007199254740993");
        assert_eq!(request.params["b"].to_string(), "18446744073709551615");
    }
}
