//! The user at the terminal, who answers what a tool asks.

use std::io::{self, BufRead, Write};

use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};

use crate::execute::{Answer, Client};
use crate::protocol::input::{InputRequest, Kind, NOT_ANSWERED};
use crate::protocol::jsonrpc::ErrorObject;

/// How often a field of a form is asked for until its answer is of the right type.
const MAX_TRIES: usize = 3;

/// Asks on standard error, and reads the answers from standard input.
#[derive(Debug)]
pub(super) struct Terminal;

impl Client for Terminal {
    fn ask(&self, request: &InputRequest) -> BoxFuture<'static, Answer> {
        let request = request.clone();
        Box::pin(async move {
            let asked = tokio::task::spawn_blocking(move || {
                ask(&request, &mut io::stdin().lock(), &mut io::stderr())
            });
            match asked.await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(ErrorObject::new(NOT_ANSWERED, error.to_string())),
                Err(_) => Err(ErrorObject::new(NOT_ANSWERED, "nobody answered")),
            }
        })
    }
}

/// Asks one question. The end of the input is no answer.
fn ask(
    request: &InputRequest,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> io::Result<Value> {
    let value = request.to_value();
    let params = value.get("params");
    let text = |key: &str| {
        let text = params.and_then(|params| params.get(key));
        text.and_then(Value::as_str).unwrap_or_default()
    };
    if request.kind() == Kind::Url {
        writeln!(output, "{}", text("url"))?;
    }
    let properties = (request.schema())
        .and_then(|schema| schema.get("properties"))
        .and_then(Value::as_object);
    let Some(fields) = properties.filter(|fields| !fields.is_empty()) else {
        return consent(text("message"), input, output);
    };
    writeln!(output, "{}", text("message"))?;
    let required = request.schema().and_then(|schema| schema.get("required"));
    let is_required = |name: &str| {
        let required = required.and_then(Value::as_array);
        required.is_some_and(|names| names.iter().any(|one| one == name))
    };
    let mut content = Map::new();
    for (name, schema) in fields {
        match field(name, schema, is_required(name), (&mut *input, &mut *output))? {
            Filled::With(value) => {
                content.insert(name.clone(), value);
            }
            Filled::Not => {}
            Filled::GivenUp => return Ok(json!({"action": "cancel"})),
        }
    }
    Ok(json!({"action": "accept", "content": content}))
}

fn consent(message: &str, input: &mut impl BufRead, output: &mut impl Write) -> io::Result<Value> {
    write!(output, "{message} [y/N] ")?;
    output.flush()?;
    Ok(
        match line(input)?.map(|line| line.to_lowercase()).as_deref() {
            Some("y" | "yes") => json!({"action": "accept", "content": {}}),
            Some(_) => json!({"action": "decline"}),
            None => json!({"action": "cancel"}),
        },
    )
}

/// What became of a field.
enum Filled {
    With(Value),
    /// It was left empty, and may be.
    Not,
    GivenUp,
}

fn field(
    name: &str,
    schema: &Value,
    is_required: bool,
    (input, output): (&mut impl BufRead, &mut impl Write),
) -> io::Result<Filled> {
    let title = schema.get("title").or(schema.get("description"));
    let title = title.and_then(Value::as_str).unwrap_or(name);
    let choices = schema.get("enum").and_then(Value::as_array);
    let choices = choices.map(|choices| {
        let words: Vec<_> = choices.iter().filter_map(Value::as_str).collect();
        format!(" ({})", words.join(", "))
    });
    for _ in 0..MAX_TRIES {
        write!(
            output,
            "{title}{}: ",
            choices.as_deref().unwrap_or_default()
        )?;
        output.flush()?;
        let Some(line) = line(input)? else {
            return Ok(Filled::GivenUp);
        };
        if line.is_empty() {
            match schema.get("default") {
                Some(default) => return Ok(Filled::With(default.clone())),
                None if !is_required => return Ok(Filled::Not),
                None => {}
            }
        } else if let Some(value) = typed(&line, schema) {
            return Ok(Filled::With(value));
        }
        writeln!(output, "that is not what is asked for")?;
    }
    Ok(Filled::GivenUp)
}

/// An answer as a value of the type of its field.
fn typed(line: &str, schema: &Value) -> Option<Value> {
    match schema.get("type").and_then(Value::as_str) {
        Some("boolean") => match line.to_lowercase().as_str() {
            "y" | "yes" | "true" => Some(Value::Bool(true)),
            "n" | "no" | "false" => Some(Value::Bool(false)),
            _ => None,
        },
        Some("integer" | "number") => {
            let value: Value = serde_json::from_str(line).ok()?;
            value.is_number().then_some(value)
        }
        Some("array") => {
            let items = line.split(',').map(str::trim);
            Some(items.filter(|item| !item.is_empty()).collect())
        }
        _ => {
            let choices = schema.get("enum").and_then(Value::as_array);
            let is_one = choices.is_none_or(|choices| choices.iter().any(|one| one == line));
            is_one.then(|| line.into())
        }
    }
}

/// The next line; `None` at the end of the input.
fn line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = input.read_line(&mut line)?;
    Ok((read > 0).then(|| line.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_answers_line_by_line() {
        let confirm = InputRequest::form("Delete it?", None).unwrap();
        let fields = json!({"type": "object", "required": ["name", "count"], "properties": {
            "name": {"type": "string", "title": "Who"},
            "count": {"type": "integer"},
            "sure": {"type": "boolean", "default": false},
            "color": {"type": "string", "enum": ["red", "blue"]},
        }});
        let form = InputRequest::form("Fill in", Some(fields)).unwrap();
        let page = InputRequest::url("Pay first", "https://pay.example.com/7").unwrap();
        let accept = |content: Value| json!({"action": "accept", "content": content});
        let cases = [
            (&confirm, "y\n", accept(json!({}))),
            (&confirm, "YES\n", accept(json!({}))),
            (&confirm, "\n", json!({"action": "decline"})),
            (&confirm, "nonsense\n", json!({"action": "decline"})),
            (&confirm, "", json!({"action": "cancel"})),
            (&page, "yes\n", accept(json!({}))),
            (
                &form,
                "Ann\n3\n\n\n",
                accept(json!({"name": "Ann", "count": 3, "sure": false})),
            ),
            (
                &form,
                "\nAnn\nmany\n3\ny\ngreen\nred\n",
                accept(json!({"name": "Ann", "count": 3, "sure": true, "color": "red"})),
            ),
            (&form, "Ann\nx\nx\nx\n", json!({"action": "cancel"})),
            (&form, "Ann\n", json!({"action": "cancel"})),
        ];
        for (request, typed, expected) in cases {
            let mut shown = Vec::new();
            let answer = ask(request, &mut typed.as_bytes(), &mut shown).unwrap();
            assert_eq!(answer, expected, "{typed:?}");
            request.check(&answer).unwrap();
            let shown = String::from_utf8(shown).unwrap();
            assert!(shown.starts_with(['D', 'F', 'h']), "{shown}");
        }
    }
}
