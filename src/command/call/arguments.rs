//! Arguments on the command line: words become values as the schema of the tool asks for.

use std::io::{self, Read as _};

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Map, Value};

use crate::cli::Call;
use crate::failure::Failure;

/// Stands for standard input.
pub(super) const STDIN: &str = "-";
/// The most that is read from it, in bytes: as much as a server takes in one request.
const MAX_STDIN: u64 = 4 * 1024 * 1024;
/// How many references are followed from one schema to the next.
const MAX_REFERENCES: usize = 16;

/// The arguments of a call. They are not checked against the schema yet.
pub(super) fn read(
    options: &Call,
    schema: &Map<String, Value>,
) -> Result<Map<String, Value>, Failure> {
    let object = match options.arguments.as_deref() {
        None => Ok(Map::new()),
        Some(STDIN) => read_stdin().and_then(|text| object(&text)),
        Some(text) => object(text),
    };
    let schema = Value::Object(schema.clone());
    object
        .and_then(|mut arguments| {
            add(&options.values, &schema, &mut arguments)?;
            Ok(arguments)
        })
        .map_err(|error| Failure::usage([error]))
}

fn read_stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    (io::stdin().lock().take(MAX_STDIN).read_to_string(&mut text))
        .context("cannot read the arguments from standard input")?;
    Ok(text)
}

fn object(text: &str) -> anyhow::Result<Map<String, Value>> {
    serde_json::from_str(text).context("--arguments must be a JSON object")
}

/// Adds arguments that are written one by one.
fn add(words: &[String], schema: &Value, arguments: &mut Map<String, Value>) -> anyhow::Result<()> {
    let mut seen: Vec<&str> = Vec::new();
    for word in words {
        let Some((name, text)) = word.split_once('=') else {
            bail!("`{word}` is no argument; write NAME=VALUE, or NAME:=JSON");
        };
        if let Some(name) = name.strip_suffix(':') {
            let value = serde_json::from_str(text);
            let value = value.with_context(|| format!("`{word}`: what follows := must be JSON"))?;
            arguments.insert(name.to_owned(), value);
            continue;
        }
        let parameter = schema.get("properties").and_then(|all| all.get(name));
        let parameter = parameter.map(|parameter| followed(parameter, schema));
        let is_first = !seen.contains(&name);
        seen.push(name);
        match parameter.filter(|parameter| is_array(parameter)) {
            Some(parameter) => {
                let items = parameter.get("items").map(|items| followed(items, schema));
                let item = value(text, items);
                match arguments.get_mut(name).filter(|_| !is_first) {
                    Some(Value::Array(items)) => items.push(item),
                    _ => drop(arguments.insert(name.to_owned(), Value::Array(vec![item]))),
                }
            }
            None if is_first => drop(arguments.insert(name.to_owned(), value(text, parameter))),
            None => return Err(anyhow!("`{name}` is given twice, and takes one value")),
        }
    }
    Ok(())
}

/// The schema that a schema refers to within its document.
fn followed<'a>(mut schema: &'a Value, root: &'a Value) -> &'a Value {
    for _ in 0..MAX_REFERENCES {
        let reference = schema.get("$ref").and_then(Value::as_str);
        let target = reference
            .and_then(|reference| reference.strip_prefix('#'))
            .and_then(|pointer| root.pointer(pointer));
        match target {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is_array(schema: &Value) -> bool {
    let types = types(schema);
    types.contains(&"array") && !types.contains(&"string")
}

/// A word as a value of the type that the schema asks for. A word that is none is a text, of which
/// the schema then says what is wrong.
fn value(text: &str, schema: Option<&Value>) -> Value {
    let word = || Value::from(text);
    let Some(schema) = schema else {
        return word();
    };
    let parsed: Option<Value> = serde_json::from_str(text).ok();
    let types = types(schema);
    let choices = schema.get("enum").and_then(Value::as_array);
    let fits = match choices {
        Some(choices) if types.is_empty() => parsed
            .as_ref()
            .is_some_and(|parsed| choices.contains(parsed)),
        _ => parsed
            .as_ref()
            .is_some_and(|parsed| has_type(parsed, &types)),
    };
    parsed.filter(|_| fits).unwrap_or_else(word)
}

/// Whether a value is of one of these types. A text never is: it is written without quotes.
fn has_type(value: &Value, types: &[&str]) -> bool {
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) => {
            let is_whole = number.is_i64() || number.is_u64();
            return types.contains(&"number") || is_whole && types.contains(&"integer");
        }
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => return false,
    };
    types.contains(&name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "properties": {
                "s": {"type": "string"},
                "n": {"type": "integer"},
                "f": {"type": "number"},
                "b": {"type": "boolean"},
                "o": {"type": "object"},
                "level": {"enum": ["low", 3, null]},
                "maybe": {"type": ["integer", "null"]},
                "texts": {"type": "array", "items": {"type": "string"}},
                "numbers": {"type": "array", "items": {"$ref": "#/$defs/n"}},
            },
            "$defs": {"n": {"type": "integer"}},
        })
    }

    fn read(words: &[&str]) -> Result<Value, String> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut arguments = Map::new();
        add(&words, &schema(), &mut arguments).map_err(|error| format!("{error:#}"))?;
        Ok(Value::Object(arguments))
    }

    #[test]
    fn a_word_is_what_the_schema_asks_for() {
        let cases = [
            ("s=5", json!({"s": "5"})),
            ("s=", json!({"s": ""})),
            ("s=a=b", json!({"s": "a=b"})),
            ("s=\"x\"", json!({"s": "\"x\""})),
            ("n=3", json!({"n": 3})),
            ("n=-3", json!({"n": -3})),
            ("n=3.5", json!({"n": "3.5"})),
            ("n=many", json!({"n": "many"})),
            ("f=3", json!({"f": 3})),
            ("f=3.5", json!({"f": 3.5})),
            ("b=true", json!({"b": true})),
            ("b=yes", json!({"b": "yes"})),
            ("o={\"x\":1}", json!({"o": {"x": 1}})),
            ("level=low", json!({"level": "low"})),
            ("level=3", json!({"level": 3})),
            ("level=null", json!({"level": null})),
            ("maybe=null", json!({"maybe": null})),
            ("texts=5", json!({"texts": ["5"]})),
            ("numbers=5", json!({"numbers": [5]})),
            ("unknown=5", json!({"unknown": "5"})),
            ("s:=5", json!({"s": 5})),
            ("texts:=[]", json!({"texts": []})),
        ];
        for (word, expected) in cases {
            assert_eq!(read(&[word]), Ok(expected), "{word}");
        }
    }

    #[test]
    fn an_array_is_its_items_one_by_one() {
        let words = ["texts=a", "numbers=1", "texts=b", "numbers=2"];
        let expected = json!({"texts": ["a", "b"], "numbers": [1, 2]});
        assert_eq!(read(&words), Ok(expected));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let cases: [(&[&str], &str); 3] = [
            (&["s"], "write NAME=VALUE, or NAME:=JSON"),
            (&["s:=x"], "what follows := must be JSON"),
            (&["n=1", "n=2"], "`n` is given twice"),
        ];
        for (words, expected) in cases {
            let error = read(words).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
