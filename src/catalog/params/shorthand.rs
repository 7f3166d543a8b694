//! The shorthand of a parameter: its type in one word, and perhaps a default.

use serde_json::{Value, json};

use crate::document::reader;
use crate::document::suggest::did_you_mean;

/// The types that the shorthand knows.
const TYPES: &[&str] = &["string", "integer", "number", "boolean"];

/// Returns the schema and whether the parameter is optional; the error is what is wrong, and help.
pub(super) fn parse(text: &str) -> Result<(Value, bool), (String, String)> {
    let text = text.trim();
    let (declared, default) = match text.split_once('=') {
        Some((declared, default)) => (declared.trim_end(), Some(default.trim_start())),
        None => (text, None),
    };
    let (optional, spelled) = match declared.strip_prefix("optional") {
        Some(rest) if rest.starts_with(char::is_whitespace) => (true, rest.trim_start()),
        _ => (false, declared),
    };
    let (name, array) = match spelled.strip_suffix("...") {
        Some(name) => (name, true),
        None => (spelled, false),
    };
    if !TYPES.contains(&name) {
        return Err((
            format!("`{declared}` is not a type"),
            did_you_mean(name, TYPES.iter().copied()).unwrap_or_else(|| {
                format!(
                    "the types are {}; or write a JSON Schema",
                    reader::listed(TYPES)
                )
            }),
        ));
    }
    if optional && default.is_some() {
        return Err((
            format!("`{text}` says twice that a call may leave it out"),
            "a default is enough: remove `optional`".to_owned(),
        ));
    }
    if array && optional {
        return Err((
            format!("`{text}` says twice that a call may leave it out"),
            format!("`{spelled}` is enough: an array may be absent or empty"),
        ));
    }
    if array && default.is_some() {
        return Err((
            format!("`{spelled}` takes no default in the short form"),
            format!("write `{{type: array, items: {{type: {name}}}, default: […]}}`"),
        ));
    }
    if array {
        return Ok((json!({"type": "array", "items": {"type": name}}), true));
    }
    let mut schema = json!({"type": name});
    if let (Some(default), Some(map)) = (default, schema.as_object_mut()) {
        map.insert("default".to_owned(), parse_default(name, default)?);
    }
    Ok((schema, optional))
}

fn parse_default(kind: &str, text: &str) -> Result<Value, (String, String)> {
    let value: Option<Value> = match kind {
        "string" => unquoted(text).map(Value::String),
        // JSON's own numbers and booleans, and nothing that YAML reads besides.
        _ => serde_json::from_str(text).ok(),
    };
    let fits = value.as_ref().is_some_and(|value| match kind {
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => true,
    });
    match value {
        Some(value) if fits => Ok(value),
        _ if kind == "string" => Err((
            format!("the default {text} has a quote that is never closed"),
            "write a text in quotes of one kind, with nothing after them".to_owned(),
        )),
        _ => Err((
            format!("default `{text}` is not of the type `{kind}`"),
            format!("write a default that is a valid `{kind}`, or change the type"),
        )),
    }
}

/// Reads a text that may stand in quotes; escapes are JSON's, inside `"…"`.
fn unquoted(text: &str) -> Option<String> {
    if text.starts_with('"') {
        return serde_json::from_str(text).ok();
    }
    match text.strip_prefix('\'') {
        Some(rest) => rest
            .strip_suffix('\'')
            .filter(|inner| !inner.contains('\''))
            .map(str::to_owned),
        None => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::parse;

    #[test]
    fn shorthand() {
        let cases: &[(&str, Value, bool)] = &[
            ("string", json!({"type": "string"}), false),
            ("optional string", json!({"type": "string"}), true),
            (
                "integer = 20",
                json!({"type": "integer", "default": 20}),
                false,
            ),
            (
                "integer=-1",
                json!({"type": "integer", "default": -1}),
                false,
            ),
            (
                "number = 0.5",
                json!({"type": "number", "default": 0.5}),
                false,
            ),
            (
                "boolean = false",
                json!({"type": "boolean", "default": false}),
                false,
            ),
            (
                "string = main",
                json!({"type": "string", "default": "main"}),
                false,
            ),
            (
                "string = two words",
                json!({"type": "string", "default": "two words"}),
                false,
            ),
            (
                r#"string = "two  words""#,
                json!({"type": "string", "default": "two  words"}),
                false,
            ),
            (
                "string = 'a=b'",
                json!({"type": "string", "default": "a=b"}),
                false,
            ),
            (
                "string = a=b",
                json!({"type": "string", "default": "a=b"}),
                false,
            ),
            (
                "string = 010",
                json!({"type": "string", "default": "010"}),
                false,
            ),
            (
                "string = NO",
                json!({"type": "string", "default": "NO"}),
                false,
            ),
            ("string =", json!({"type": "string", "default": ""}), false),
            (
                "string...",
                json!({"type": "array", "items": {"type": "string"}}),
                true,
            ),
            (
                "integer...",
                json!({"type": "array", "items": {"type": "integer"}}),
                true,
            ),
        ];
        for (text, schema, optional) in cases {
            let expected = Ok((schema.clone(), *optional));
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn shorthand_that_is_refused() {
        let cases = [
            ("sting", "`sting` is not a type"),
            ("", "`` is not a type"),
            ("optional", "`optional` is not a type"),
            ("string ...", "`string ...` is not a type"),
            ("object", "`object` is not a type"),
            (
                "optional integer = 1",
                "`optional integer = 1` says twice that a call may leave it out",
            ),
            (
                "optional string...",
                "`optional string...` says twice that a call may leave it out",
            ),
            (
                "string... = a",
                "`string...` takes no default in the short form",
            ),
            ("integer = x", "default `x` is not of the type `integer`"),
            (
                "integer = 1.5",
                "default `1.5` is not of the type `integer`",
            ),
            (
                "integer = 010",
                "default `010` is not of the type `integer`",
            ),
            (
                "boolean = yes",
                "default `yes` is not of the type `boolean`",
            ),
            (
                "string = \"a",
                "the default \"a has a quote that is never closed",
            ),
        ];
        for (text, message) in cases {
            let found = parse(text).map_err(|(message, _)| message);
            assert_eq!(found, Err(message.to_owned()), "{text:?}");
        }
    }
}
