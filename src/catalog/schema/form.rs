//! The schema of a form that a client fills in while a call runs.

use serde_json::Value;

use super::{options, rule};

/// A schema that was not part of a definition: it came from a tool, for one question.
#[derive(Debug)]
pub struct FormSchema(jsonschema::Validator);

impl FormSchema {
    /// Compiles it. Nothing is fetched for it.
    ///
    /// # Errors
    ///
    /// Says why it is no valid schema.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        let compiled = options().build(schema);
        compiled
            .map(Self)
            .map_err(|error| format!("the schema is not valid: {error}"))
    }

    /// Checks what the form was filled in with.
    ///
    /// # Errors
    ///
    /// Says which rule is broken, and where; no value is repeated.
    pub fn check(&self, content: &Value) -> Result<(), String> {
        let Some(error) = self.0.iter_errors(content).next() else {
            return Ok(());
        };
        let place = error.instance_path().as_str();
        let place = if place.is_empty() { "/" } else { place };
        Err(format!("{place} {}", rule::text(error.kind())))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_is_filled_in_by_its_rules() {
        let schema = json!({
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 2},
                "age": {"type": "integer", "default": 30},
                "mail": {"type": "string", "format": "email"},
                "one": {"oneOf": [{"const": "a", "title": "A"}]},
                "many": {"type": "array", "items": {"enum": ["a", "b"]}},
            },
            "required": ["name"]
        });
        let schema = FormSchema::compile(&schema).unwrap();
        let cases = [
            (json!({"name": "ab"}), true),
            (
                json!({"name": "ab", "age": 3, "mail": "a@b.c", "one": "a", "many": ["b"]}),
                true,
            ),
            (json!({}), false),
            (json!({"name": "a"}), false),
            (json!({"name": 12345}), false),
            (json!({"name": "ab", "age": 1.5}), false),
            (json!({"name": "ab", "mail": "x"}), false),
            (json!({"name": "ab", "one": "b"}), false),
            (json!({"name": "ab", "many": ["c"]}), false),
        ];
        for (content, expected) in cases {
            assert_eq!(schema.check(&content).is_ok(), expected, "{content}");
        }
        let secret = schema.check(&json!({"name": 12345})).unwrap_err();
        assert!(
            secret.contains("/name") && !secret.contains("12345"),
            "{secret}"
        );
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for schema in [
            json!({"type": "text"}),
            json!({"type": "object", "properties": {"a": {"$ref": "https://example.com/a"}}}),
            json!({"properties": {"a": {"pattern": "("}}}),
        ] {
            assert!(FormSchema::compile(&schema).is_err(), "{schema}");
        }
    }
}
