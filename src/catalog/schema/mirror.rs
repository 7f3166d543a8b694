//! Parameters that clients repeat in headers, for what stands between them and the server (MCP
//! 2026-07-28, Streamable HTTP, Custom Headers from Tool Parameters).
//!
//! Clients leave out a whole tool whose definition breaks the rules, so they are checked here.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::read::{Position, subschemas};
use crate::catalog::params::Parameters;
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::protocol::media::is_token;

/// The keyword that asks for a header.
const KEYWORD: &str = "x-mcp-header";
/// What the names of all these headers start with.
const PREFIX: &str = "Mcp-Param-";
/// The types of values that a header can hold.
const TYPES: &[&str] = &["string", "integer", "boolean"];

/// A parameter that clients repeat in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// The name of the header, such as `Mcp-Param-Region`.
    pub header: String,
    /// The properties that lead to the value.
    path: Vec<String>,
}

impl Mirrored {
    /// The value of the parameter in these arguments, as they arrived; null is none.
    pub fn value<'a>(&self, arguments: &'a Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.path.split_first()?;
        let start = arguments.get(first)?;
        let found = rest.iter().try_fold(start, |value, name| value.get(name));
        found.filter(|value| !value.is_null())
    }
}

/// Finds the mirrored parameters of a schema; `span` is the place where there is no better one.
pub(super) fn find(
    schema: &Value,
    parameters: &Parameters,
    span: Span,
    report: &mut Report,
) -> Vec<Mirrored> {
    let mut search = Search {
        parameters,
        span,
        report,
        path: Vec::new(),
        used: HashMap::new(),
        found: Vec::new(),
    };
    search.schema(schema, true);
    search.found
}

struct Search<'a> {
    parameters: &'a Parameters,
    span: Span,
    report: &'a mut Report,
    /// The properties that lead to the current subschema.
    path: Vec<String>,
    /// The names in lower case, with the first property that has each.
    used: HashMap<String, String>,
    found: Vec<Mirrored>,
}

impl Search<'_> {
    /// Looks into a subschema. It is reachable if only `properties` lead to it.
    fn schema(&mut self, schema: &Value, is_reachable: bool) {
        let Some(keywords) = schema.as_object() else {
            return;
        };
        if let Some(name) = keywords.get(KEYWORD) {
            match self.mirrored(name, keywords, is_reachable) {
                Ok(mirrored) => self.found.push(mirrored),
                Err((message, help)) => self.problem(message, help),
            }
        }
        for (keyword, value) in keywords {
            match (subschemas(keyword), value) {
                (Position::One, schema) => self.schema(schema, false),
                (Position::List, Value::Array(schemas)) => {
                    for schema in schemas {
                        self.schema(schema, false);
                    }
                }
                (Position::Map, Value::Object(schemas)) => {
                    let is_reachable = is_reachable && keyword == "properties";
                    for (name, schema) in schemas {
                        self.path.push(name.clone());
                        self.schema(schema, is_reachable);
                        self.path.pop();
                    }
                }
                _ => {}
            }
        }
    }

    fn mirrored(
        &mut self,
        name: &Value,
        keywords: &Map<String, Value>,
        is_reachable: bool,
    ) -> Result<Mirrored, (String, &'static str)> {
        let Some(name) = name.as_str().filter(|name| is_token(name)) else {
            let message = format!("`{KEYWORD}` must be the end of a header's name, not {name}");
            return Err((message, "use letters, digits and `-`, as in `Region`"));
        };
        let Some(property) = self.path.last().filter(|_| is_reachable) else {
            let message = format!("`{KEYWORD}: {name}` is not at a property of the arguments");
            return Err((
                message,
                "only `properties` may lead to it, and neither a list, an alternative nor `$ref`",
            ));
        };
        let kind = keywords.get("type").and_then(Value::as_str);
        if !kind.is_some_and(|kind| TYPES.contains(&kind)) {
            let message = format!("`{property}` cannot be repeated in a header");
            return Err((message, "its type must be `string`, `integer` or `boolean`"));
        }
        let property = property.clone();
        if let Some(first) = self
            .used
            .insert(name.to_ascii_lowercase(), property.clone())
        {
            let message =
                format!("`{first}` and `{property}` would be repeated in the same header `{name}`");
            return Err((
                message,
                "names of headers are compared without case: choose another",
            ));
        }
        Ok(Mirrored {
            header: format!("{PREFIX}{name}"),
            path: self.path.clone(),
        })
    }

    fn problem(&mut self, message: String, help: &str) {
        let parameter = self.path.first().and_then(|name| self.parameters.get(name));
        let span = parameter.map_or(self.span, |parameter| parameter.span);
        self.report
            .add(Problem::error(Code::Schema, span, message).help(help));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_read_at_its_exact_path() {
        let mirrored = Mirrored {
            header: "Mcp-Param-X".to_owned(),
            path: vec!["a".to_owned(), "b".to_owned()],
        };
        let cases = [
            (json!({"a": {"b": 5}}), Some(json!(5))),
            (json!({"a": {"b": false}}), Some(json!(false))),
            (json!({"a": {"b": null}}), None),
            (json!({"a": {"c": 5}}), None),
            (json!({"a": [5], "b": 5}), None),
            (json!({"a": null}), None),
            (json!({}), None),
        ];
        for (arguments, expected) in cases {
            let found = mirrored.value(arguments.as_object().unwrap());
            assert_eq!(found, expected.as_ref(), "{arguments}");
        }
    }
}
