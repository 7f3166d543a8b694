//! Completion of the arguments of prompts and templates.

use serde::Serialize;
use serde_json::{Map, Value};

use super::jsonrpc::ErrorObject;

/// The most values of one answer (MCP, Completion, Completion Results).
pub const MAX_VALUES: usize = 100;

/// The params of `completion/complete`.
#[derive(Debug, PartialEq, Eq)]
pub struct CompleteParams<'a> {
    /// What the argument belongs to.
    pub reference: Reference<'a>,
    /// The name of the argument.
    pub argument: &'a str,
    /// What was typed so far.
    pub value: &'a str,
    /// The arguments that have a value already.
    pub chosen: Option<&'a Map<String, Value>>,
}

/// What an argument belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference<'a> {
    /// A prompt, by its name.
    Prompt(&'a str),
    /// A template of resources, by its URI template.
    Resource(&'a str),
}

impl<'a> CompleteParams<'a> {
    /// Reads the params.
    ///
    /// # Errors
    ///
    /// `-32602` when something is missing or of the wrong type.
    pub fn read(params: &'a Map<String, Value>) -> Result<Self, ErrorObject> {
        let reference = object(params, "ref")?;
        let reference = match reference.get("type").and_then(Value::as_str) {
            Some("ref/prompt") => Reference::Prompt(text(reference, "ref", "name")?),
            Some("ref/resource") => Reference::Resource(text(reference, "ref", "uri")?),
            _ => {
                return Err(invalid("ref.type", "\"ref/prompt\" or \"ref/resource\""));
            }
        };
        let argument = object(params, "argument")?;
        Ok(Self {
            reference,
            argument: text(argument, "argument", "name")?,
            value: text(argument, "argument", "value")?,
            chosen: chosen(params)?,
        })
    }
}

fn chosen(params: &Map<String, Value>) -> Result<Option<&Map<String, Value>>, ErrorObject> {
    let Some(context) = params.get("context") else {
        return Ok(None);
    };
    let arguments = match context {
        Value::Object(context) => context.get("arguments"),
        _ => return Err(invalid("context", "an object")),
    };
    match arguments {
        None => Ok(None),
        Some(Value::Object(arguments)) if arguments.values().all(Value::is_string) => {
            Ok(Some(arguments))
        }
        Some(_) => Err(invalid("context.arguments", "an object of strings")),
    }
}

fn object<'a>(
    params: &'a Map<String, Value>,
    name: &str,
) -> Result<&'a Map<String, Value>, ErrorObject> {
    let object = params.get(name).and_then(Value::as_object);
    object.ok_or_else(|| invalid(name, "an object"))
}

fn text<'a>(object: &'a Map<String, Value>, of: &str, name: &str) -> Result<&'a str, ErrorObject> {
    let text = object.get(name).and_then(Value::as_str);
    text.ok_or_else(|| invalid(&format!("{of}.{name}"), "a string"))
}

fn invalid(place: &str, expected: &str) -> ErrorObject {
    ErrorObject::invalid_params(format!("Invalid params: \"{place}\" must be {expected}"))
}

/// The result of `completion/complete`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct CompleteResult {
    completion: Completion,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Completion {
    values: Vec<String>,
    total: usize,
    has_more: bool,
}

impl CompleteResult {
    /// The first [`MAX_VALUES`] of all values, and how many there are.
    pub fn of(values: impl Iterator<Item = String>) -> Self {
        let mut rest = values;
        let values: Vec<String> = rest.by_ref().take(MAX_VALUES).collect();
        let left = rest.count();
        Self {
            completion: Completion {
                total: values.len() + left,
                has_more: left > 0,
                values,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn params_are_read() {
        let params = json!({
            "ref": {"type": "ref/prompt", "name": "p", "title": "P"},
            "argument": {"name": "a", "value": ""},
            "context": {"arguments": {"b": "c"}}
        });
        let read = CompleteParams::read(params.as_object().unwrap()).unwrap();
        let expected = CompleteParams {
            reference: Reference::Prompt("p"),
            argument: "a",
            value: "",
            chosen: params["context"]["arguments"].as_object(),
        };
        assert_eq!(read, expected);
        let params = json!({
            "ref": {"type": "ref/resource", "uri": "x:{a}"},
            "argument": {"name": "a", "value": "v"},
            "context": {}
        });
        let read = CompleteParams::read(params.as_object().unwrap()).unwrap();
        assert_eq!(read.reference, Reference::Resource("x:{a}"));
        assert_eq!(read.chosen, None);
    }

    #[test]
    fn params_that_are_not_valid_are_explained() {
        let reference = json!({"type": "ref/prompt", "name": "p"});
        let argument = json!({"name": "a", "value": "v"});
        let cases = [
            (json!({}), "\"ref\" must be an object"),
            (json!({"ref": "p"}), "\"ref\" must be an object"),
            (
                json!({"ref": {}}),
                "\"ref.type\" must be \"ref/prompt\" or \"ref/resource\"",
            ),
            (
                json!({"ref": {"type": "ref/tool", "name": "t"}}),
                "\"ref.type\" must be",
            ),
            (
                json!({"ref": {"type": "ref/prompt"}}),
                "\"ref.name\" must be a string",
            ),
            (
                json!({"ref": {"type": "ref/resource", "name": "p"}}),
                "\"ref.uri\" must be a string",
            ),
            (json!({"ref": reference}), "\"argument\" must be an object"),
            (
                json!({"ref": reference, "argument": {"name": "a"}}),
                "\"argument.value\" must be a string",
            ),
            (
                json!({"ref": reference, "argument": {"name": 1, "value": ""}}),
                "\"argument.name\" must be a string",
            ),
            (
                json!({"ref": reference, "argument": argument, "context": []}),
                "\"context\" must be an object",
            ),
            (
                json!({"ref": reference, "argument": argument, "context": {"arguments": {"b": 1}}}),
                "\"context.arguments\" must be an object of strings",
            ),
        ];
        for (params, expected) in cases {
            let error = CompleteParams::read(params.as_object().unwrap()).unwrap_err();
            assert_eq!(error.code, -32602, "{params}");
            assert!(
                error.message.contains(expected),
                "{params}: {}",
                error.message
            );
        }
    }

    #[test]
    fn an_answer_has_at_most_a_hundred_values() {
        for (count, shown, more) in [(0, 0, false), (100, 100, false), (101, 100, true)] {
            let values = (0..count).map(|number: usize| number.to_string());
            let result = serde_json::to_value(CompleteResult::of(values)).unwrap();
            let completion = &result["completion"];
            assert_eq!(completion["values"].as_array().unwrap().len(), shown);
            assert_eq!(completion["total"], count);
            assert_eq!(completion["hasMore"], more);
        }
    }
}
