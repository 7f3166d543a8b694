//! What stands where a message should: the members of an object, read one by one.

use std::borrow::Cow;
use std::collections::HashSet;
use std::{fmt, mem};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::budget::{Budget, MAX_BATCH, Violation};
use super::envelope::{Envelope, MEMBERS};
use super::value::StrictValue;
use crate::protocol::jsonrpc::{Malformed, Message};

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
pub(super) enum Item {
    Object(Box<Envelope>),
    List(Vec<Self>),
    Other,
}

impl Item {
    pub(super) fn into_message(self) -> Result<Message, Malformed> {
        match self {
            Self::Object(envelope) => envelope.into_message(),
            Self::List(_) | Self::Other => Err(Violation::NotAnObject.into_malformed()),
        }
    }
}

/// Reads a message, or at depth 1 a list of messages.
#[derive(Clone, Copy)]
pub(super) struct ItemSeed<'b> {
    pub(super) budget: &'b Budget,
    pub(super) depth: usize,
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

/// Folds case the way a lenient reader might, including `ſ` and the Kelvin sign.
fn fold_case(key: &str) -> String {
    key.to_uppercase().to_lowercase()
}
