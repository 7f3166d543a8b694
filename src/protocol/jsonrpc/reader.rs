//! Bytes to messages.
//!
//! The reader is stricter than `serde_json`, because two parties that read the same bytes
//! differently are a security problem: a duplicate key is an error at any depth, a key that only
//! differs in case from one of ours is an error at the top level, and an id is an integer or a
//! short string that is echoed byte for byte.

mod budget;
mod envelope;
mod item;
mod value;

use serde::de::DeserializeSeed as _;
use serde_json::{Map, Value};

use super::{Malformed, Message, excerpt};
use budget::{Budget, Violation};
use item::{Item, ItemSeed};
use value::StrictValue;

pub use budget::{MAX_BATCH, MAX_DEPTH, MAX_KEYS, MAX_VALUES};

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
    // Once for the whole body, which costs less than once for each string.
    let body = str::from_utf8(body).map_err(|_| Violation::NotJson.into_malformed())?;
    let budget = Budget::default();
    let mut deserializer = serde_json::Deserializer::from_str(body);
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
    let budget = Budget::unlimited();
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

#[cfg(test)]
mod tests;
