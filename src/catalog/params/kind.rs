//! What the values of a parameter are, as far as it matters for their text.

use serde_json::Value;

/// What a parameter's values are, as far as its schema says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    Integer,
    Number,
    Boolean,
    Object,
    Array(Element),
    /// The schema leaves it open.
    Unknown,
}

/// What the items of an array are, as far as it matters for their text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    Integer,
    Other,
}

impl Kind {
    pub(crate) fn is_array(self) -> bool {
        matches!(self, Self::Array(_))
    }

    /// The kind of the items of an array.
    pub(crate) fn item(self) -> Self {
        match self {
            Self::Array(Element::Integer) => Self::Integer,
            _ => Self::Unknown,
        }
    }
}

/// The kind of the values of a schema.
pub(super) fn of(schema: &Value) -> Kind {
    let stated = match schema.get("type") {
        Some(Value::String(name)) => Some(name.as_str()),
        Some(Value::Array(names)) => {
            let mut names = names
                .iter()
                .filter_map(Value::as_str)
                .filter(|name| *name != "null");
            names.next().filter(|_| names.next().is_none())
        }
        _ => None,
    };
    match stated.or_else(|| implied(schema)) {
        Some("string") => Kind::String,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("boolean") => Kind::Boolean,
        Some("object") => Kind::Object,
        Some("array") => Kind::Array(match schema.get("items").map(of) {
            Some(Kind::Integer) => Element::Integer,
            _ => Element::Other,
        }),
        _ => Kind::Unknown,
    }
}

/// The type of the values that `enum` lists, when it is one.
fn implied(schema: &Value) -> Option<&'static str> {
    let mut types = schema
        .get("enum")?
        .as_array()?
        .iter()
        .map(|value| match value {
            Value::String(_) => Some("string"),
            Value::Bool(_) => Some("boolean"),
            Value::Number(number) if !number.is_f64() => Some("integer"),
            _ => None,
        });
    let first = types.next()??;
    types.all(|other| other == Some(first)).then_some(first)
}

/// A number below zero must be asked for: `integer` alone is an amount or an id to most authors,
/// and to most programs `-9` is an option.
pub(super) fn allows_negative(schema: &Value) -> bool {
    let schema = match schema.get("items") {
        Some(items) if items.is_object() => items,
        _ => schema,
    };
    let negative = |value: &Value| value.as_f64().is_some_and(|number| number < 0.0);
    let listed = schema.get("enum").and_then(Value::as_array);
    ["minimum", "exclusiveMinimum", "const", "default"]
        .iter()
        .filter_map(|keyword| schema.get(*keyword))
        .chain(listed.into_iter().flatten())
        .any(negative)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_follow_the_schema() {
        let cases = [
            ("stated", json!({"type": "integer"}), Kind::Integer),
            (
                "nullable",
                json!({"type": ["string", "null"]}),
                Kind::String,
            ),
            (
                "several",
                json!({"type": ["string", "integer"]}),
                Kind::Unknown,
            ),
            ("enum of texts", json!({"enum": ["a", "b"]}), Kind::String),
            ("mixed enum", json!({"enum": ["a", 1]}), Kind::Unknown),
            (
                "array",
                json!({"type": "array"}),
                Kind::Array(Element::Other),
            ),
            (
                "array of integers",
                json!({"type": "array", "items": {"type": "integer"}}),
                Kind::Array(Element::Integer),
            ),
            ("open", json!({}), Kind::Unknown),
        ];
        for (name, schema, expected) in cases {
            assert_eq!(of(&schema), expected, "{name}");
        }
    }

    #[test]
    fn negative_numbers_must_be_asked_for() {
        let cases = [
            ("plain", json!({"type": "integer"}), false),
            ("from zero", json!({"type": "integer", "minimum": 0}), false),
            (
                "below zero",
                json!({"type": "integer", "minimum": -5}),
                true,
            ),
            ("listed", json!({"enum": [-1, 1]}), true),
            ("default", json!({"type": "integer", "default": -1}), true),
            (
                "items",
                json!({"type": "array", "items": {"minimum": -1}}),
                true,
            ),
        ];
        for (name, schema, expected) in cases {
            assert_eq!(allows_negative(&schema), expected, "{name}");
        }
    }
}
