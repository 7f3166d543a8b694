//! The keys of the files that people write, as one table: what each means, and what it takes.
//!
//! The JSON Schemas for editors are made from it. They help while somebody types; what is right is
//! for the readers of the files to say, which know more than a schema can. So a schema must accept
//! every file that they accept, and know every key that they know: tests hold it to both.

mod auth;
mod outbound;
mod served;
mod settings;
#[cfg(test)]
mod tests;
mod tools;

use serde_json::{Map, Value, json};

/// A value that is taken from somewhere else when the file is loaded.
const REFERENCE: &str = r"\$\{(env|file|secret):";
const REFERENCE_NAME: &str = "reference";

/// A key of a mapping.
#[derive(Debug)]
struct Key {
    name: &'static str,
    about: &'static str,
    takes: Takes,
}

const fn key(name: &'static str, takes: Takes, about: &'static str) -> Key {
    Key { name, about, takes }
}

/// What a key takes.
#[derive(Debug)]
enum Takes {
    /// Any scalar, as it is written.
    Text,
    /// A text that a pattern describes, or that a reference gives.
    Form(&'static str),
    Boolean,
    Number(u8),
    /// A whole number, zero included.
    Whole,
    Word(&'static [&'static str]),
    List(&'static Self),
    /// A mapping of names that the author makes up. The pattern is what they are made of.
    Named(&'static str, &'static Self),
    Object(&'static Object),
    Either(&'static [Self]),
    /// A JSON Schema, or anything else that is not ours to describe.
    Mapping,
    Anything,
}

/// A mapping with keys of ours.
#[derive(Debug)]
struct Object {
    /// The name of its definition in the schema.
    name: &'static str,
    keys: &'static [&'static [Key]],
    required: &'static [&'static str],
    /// Keys of which there must be exactly one.
    one_of: &'static [&'static str],
    /// Whether there may be keys that are not ours.
    is_open: bool,
}

impl Object {
    const fn new(name: &'static str, keys: &'static [&'static [Key]]) -> Self {
        Self {
            name,
            keys,
            required: &[],
            one_of: &[],
            is_open: false,
        }
    }

    const fn with_required(self, required: &'static [&'static str]) -> Self {
        Self { required, ..self }
    }

    const fn with_one_of(self, one_of: &'static [&'static str]) -> Self {
        Self { one_of, ..self }
    }

    const fn open(self) -> Self {
        Self {
            is_open: true,
            ..self
        }
    }

    fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().copied().flatten()
    }
}

/// The JSON Schema (2020-12) of tools.yaml.
pub(crate) fn tools_schema() -> Value {
    document(
        &tools::FILE,
        "The definitions that mcp-serve serves: tools.yaml",
    )
}

/// The JSON Schema (2020-12) of the auth file.
pub(crate) fn auth_schema() -> Value {
    document(&auth::FILE, "Who may call mcp-serve: the auth file")
}

fn document(root: &'static Object, title: &str) -> Value {
    let mut definitions = Map::new();
    let mut schema = object(root, &mut definitions);
    let reference = json!({"type": "string", "pattern": REFERENCE});
    definitions.insert(REFERENCE_NAME.to_owned(), reference);
    let dialect = "https://json-schema.org/draft/2020-12/schema";
    schema.insert("$schema".to_owned(), dialect.into());
    schema.insert("title".to_owned(), title.into());
    schema.insert("$defs".to_owned(), Value::Object(definitions));
    Value::Object(schema)
}

fn object(object: &'static Object, definitions: &mut Map<String, Value>) -> Map<String, Value> {
    let properties: Map<String, Value> = object
        .keys()
        .map(|key| {
            let mut schema = takes(&key.takes, definitions);
            if let Value::Object(schema) = &mut schema {
                schema.insert("description".to_owned(), key.about.into());
            }
            (key.name.to_owned(), schema)
        })
        .collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    if !object.required.is_empty() {
        schema.insert("required".to_owned(), json!(object.required));
    }
    if !object.one_of.is_empty() {
        let choices = object.one_of.iter();
        let choices = choices.map(|name| json!({"required": [name]}));
        schema.insert("oneOf".to_owned(), choices.collect());
    }
    if !object.is_open {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
    schema
}

fn takes(value: &'static Takes, definitions: &mut Map<String, Value>) -> Value {
    match value {
        Takes::Text => json!({"type": ["string", "number", "boolean"]}),
        Takes::Form(pattern) => or_reference(&json!({"type": "string", "pattern": pattern})),
        Takes::Boolean => or_reference(&json!({"type": "boolean"})),
        Takes::Number(number) => json!({"enum": [number, number.to_string()]}),
        Takes::Whole => or_reference(&json!({"type": "integer", "minimum": 0})),
        Takes::Word(words) => or_reference(&json!({"enum": words})),
        Takes::List(items) => json!({"type": "array", "items": takes(items, definitions)}),
        Takes::Named(pattern, inner) => json!({
            "type": "object",
            "propertyNames": {"pattern": pattern},
            "additionalProperties": takes(inner, definitions),
        }),
        Takes::Object(inner) => {
            if !definitions.contains_key(inner.name) {
                // Noted first: a definition may contain itself.
                definitions.insert(inner.name.to_owned(), Value::Null);
                let schema = object(inner, definitions);
                definitions.insert(inner.name.to_owned(), Value::Object(schema));
            }
            json!({"$ref": format!("#/$defs/{}", inner.name)})
        }
        Takes::Either(choices) => {
            let choices = choices.iter().map(|choice| takes(choice, definitions));
            json!({"anyOf": choices.collect::<Vec<_>>()})
        }
        Takes::Mapping => json!({"type": "object"}),
        Takes::Anything => json!({}),
    }
}

fn or_reference(schema: &Value) -> Value {
    json!({"anyOf": [schema, {"$ref": format!("#/$defs/{REFERENCE_NAME}")}]})
}
