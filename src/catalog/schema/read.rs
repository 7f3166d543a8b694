//! A JSON Schema as an author writes it: YAML scalars become the values that are meant, and slips
//! are told where they stand.

use serde_json::{Map, Value};

use super::rule;
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::reader;
use crate::document::suggest::{did_you_mean, nearest};
use crate::document::yaml::{Content, Entry, Node, Scalar};

/// Every keyword of draft 2020-12, and those of older drafts that it still tolerates.
const KEYWORDS: &[&str] = &[
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$ref",
    "$schema",
    "$vocabulary",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "default",
    "definitions",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "deprecated",
    "description",
    "else",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if",
    "items",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "readOnly",
    "required",
    "then",
    "title",
    "type",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
    "writeOnly",
];

/// Our own words, which stand beside the schema of a parameter.
const OWN: &[&str] = &["allow_dash", "from", "optional", "root"];

/// The dialect that is read here.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The types of JSON Schema.
const TYPES: &[&str] = &[
    "array", "boolean", "integer", "null", "number", "object", "string",
];

/// Where a keyword holds schemas.
#[derive(Clone, Copy)]
pub(super) enum Position {
    None,
    One,
    List,
    Map,
}

/// Says where a keyword holds schemas.
pub(super) fn subschemas(keyword: &str) -> Position {
    match keyword {
        "additionalProperties"
        | "contains"
        | "contentSchema"
        | "else"
        | "if"
        | "items"
        | "not"
        | "propertyNames"
        | "then"
        | "unevaluatedItems"
        | "unevaluatedProperties" => Position::One,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Position::List,
        "$defs" | "definitions" | "dependentSchemas" | "patternProperties" | "properties" => {
            Position::Map
        }
        _ => Position::None,
    }
}

/// Reads the schema of a parameter without the words that are ours.
pub(crate) fn read_schema(entry: &Entry, tool: &str, report: &mut Report) -> Option<Value> {
    let name = &entry.key.text;
    let reader = Reader {
        subject: format!("the schema of `{name}` in tool `{tool}`"),
        is_whole: false,
        report,
    };
    reader.read(entry)
}

/// Reads a schema that its author writes as a whole.
pub(crate) fn read_whole(
    entry: &Entry,
    subject: &str,
    report: &mut Report,
) -> Option<Map<String, Value>> {
    reader::mapping(entry, report)?;
    let reader = Reader {
        subject: subject.to_owned(),
        is_whole: true,
        report,
    };
    match reader.read(entry)? {
        Value::Object(schema) => Some(schema),
        _ => None,
    }
}

struct Reader<'a> {
    /// What is read, for messages.
    subject: String,
    /// It can name its dialect and its parts.
    is_whole: bool,
    report: &'a mut Report,
}

impl Reader<'_> {
    fn read(mut self, entry: &Entry) -> Option<Value> {
        let errors = self.report.errors();
        let schema = self.schema(&entry.value, !self.is_whole)?;
        if self.report.errors() == errors {
            self.check_against_dialect(&schema, entry);
        }
        (self.report.errors() == errors).then_some(schema)
    }

    fn schema(&mut self, node: &Node, is_parameter: bool) -> Option<Value> {
        let Some(entries) = node.mapping() else {
            return self.value(node, false);
        };
        let is_text = node
            .get("type")
            .and_then(|entry| entry.value.scalar())
            .is_some_and(|scalar| scalar.text == "string");
        let mut schema = Map::new();
        for entry in entries {
            let keyword = entry.key.text.as_str();
            if OWN.contains(&keyword) {
                if !is_parameter {
                    let message = format!("`{keyword}` belongs to the parameter itself");
                    let help = "move it up; inside a schema, `required` lists what is needed";
                    self.problem(Code::Schema, entry.key.span, message, help);
                }
                continue;
            }
            self.check_keyword(entry);
            if let Some(value) = self.keyword(entry, is_text) {
                schema.insert(keyword.to_owned(), value);
            }
        }
        Some(Value::Object(schema))
    }

    fn keyword(&mut self, entry: &Entry, is_text: bool) -> Option<Value> {
        let keyword = entry.key.text.as_str();
        let node = &entry.value;
        match (subschemas(keyword), &node.content) {
            (Position::One, _) => return self.schema(node, false),
            (Position::List, Content::Sequence(items)) => {
                let schemas = items.iter().map(|item| self.schema(item, false)).collect();
                return Option::<Vec<_>>::map(schemas, Value::Array);
            }
            (Position::Map, Content::Mapping(entries)) => return self.schemas(keyword, entries),
            _ => {}
        }
        let as_text = match keyword {
            "$anchor" | "$comment" | "$id" | "$ref" | "$schema" | "contentEncoding"
            | "contentMediaType" | "description" | "format" | "pattern" | "required" | "title"
            | "type" | "x-mcp-header" => true,
            "const" | "default" | "enum" | "examples" => is_text,
            _ => false,
        };
        self.value(node, as_text)
    }

    fn schemas(&mut self, keyword: &str, entries: &[Entry]) -> Option<Value> {
        let mut schemas = Map::new();
        for entry in entries {
            if keyword == "patternProperties" {
                self.check_pattern(&entry.key.text, entry.key.span);
            }
            let schema = self.schema(&entry.value, false)?;
            schemas.insert(entry.key.text.clone(), schema);
        }
        Some(Value::Object(schemas))
    }

    /// Resolves a value; where a text is meant, scalars are texts as they were written.
    fn value(&mut self, node: &Node, as_text: bool) -> Option<Value> {
        match &node.content {
            Content::Scalar(scalar) if as_text && !scalar.is_null() => {
                Some(Value::String(scalar.text.clone()))
            }
            Content::Scalar(scalar) => self.scalar(scalar, node.span),
            Content::Sequence(items) => {
                let values = items.iter().map(|item| self.value(item, as_text));
                Some(Value::Array(values.collect::<Option<_>>()?))
            }
            Content::Mapping(entries) => {
                let values = (entries.iter())
                    .map(|entry| Some((entry.key.text.clone(), self.value(&entry.value, false)?)));
                Some(Value::Object(values.collect::<Option<_>>()?))
            }
        }
    }

    fn scalar(&mut self, scalar: &Scalar, span: Span) -> Option<Value> {
        let value = scalar.json();
        if value.is_none() {
            let message = format!("`{}` is not a number that JSON can hold", scalar.text);
            self.problem(Code::Schema, span, message, "quote it if it is a text");
        }
        value
    }

    fn check_keyword(&mut self, entry: &Entry) {
        let keyword = entry.key.text.as_str();
        match keyword {
            "$ref" => self.check_reference(entry),
            "$anchor" if self.is_whole => {}
            "$schema" if self.is_whole => self.check_dialect(entry),
            "$dynamicRef" | "$dynamicAnchor" | "$anchor" | "$id" | "$schema" | "$vocabulary" => {
                let place = if self.is_whole {
                    "here"
                } else {
                    "in a parameter"
                };
                let message = format!("`{keyword}` is not supported {place}");
                let help = "put shared schemas under `$defs` and refer to them by pointer";
                self.problem(Code::Schema, entry.key.span, message, help);
            }
            "pattern" => {
                if let Some(scalar) = entry.value.scalar() {
                    self.check_pattern(&scalar.text, entry.place());
                }
            }
            "type" => self.check_type(&entry.value),
            _ if KEYWORDS.contains(&keyword) || keyword.starts_with("x-") => {}
            _ => {
                if let Some(meant) = misspelled(keyword) {
                    let message = format!("`{keyword}` is not a keyword of JSON Schema");
                    let help = format!("did you mean `{meant}`?");
                    self.problem(Code::Schema, entry.key.span, message, &help);
                }
            }
        }
    }

    fn check_dialect(&mut self, entry: &Entry) {
        let named = entry.value.scalar().map(|scalar| scalar.text.as_str());
        if named.map(|name| name.trim_end_matches('#')) != Some(DIALECT) {
            let message = "only JSON Schema 2020-12 is supported";
            let help = format!("write `$schema: {DIALECT}`, or leave it out");
            self.problem(Code::Schema, entry.place(), message.to_owned(), &help);
        }
    }

    fn check_reference(&mut self, entry: &Entry) {
        let Some(scalar) = entry.value.scalar() else {
            return;
        };
        let text = &scalar.text;
        if !text.starts_with('#') {
            let message = format!("`{text}` is outside this schema and is not fetched");
            let help = "copy the schema here";
            self.problem(Code::RemoteReference, entry.place(), message, help);
        }
    }

    fn check_pattern(&mut self, pattern: &str, span: Span) {
        let schema = serde_json::json!({"pattern": pattern});
        if super::options().build(&schema).is_ok() {
            return;
        }
        let message = format!("`{pattern}` is not a regular expression that is accepted here");
        let help = if is_backtracking(pattern) {
            "look-around and back-references are not supported, so that every pattern runs in \
             linear time"
        } else {
            "check its brackets and escapes"
        };
        self.problem(Code::Grammar, span, message, help);
    }

    fn check_type(&mut self, node: &Node) {
        let nodes = match &node.content {
            Content::Sequence(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        for node in nodes {
            let Some(scalar) = node.scalar() else {
                continue;
            };
            let name = scalar.text.as_str();
            if TYPES.contains(&name) {
                continue;
            }
            let message = format!("`{name}` is not a type of JSON Schema");
            let help = other_name(name)
                .map(|meant| format!("did you mean `{meant}`?"))
                .or_else(|| did_you_mean(name, TYPES.iter().copied()))
                .unwrap_or_else(|| format!("the types are {}", TYPES.join(", ")));
            self.problem(Code::Schema, node.span, message, &help);
        }
    }

    /// Checks a schema against the meta-schema, and points at the keyword that is wrong.
    fn check_against_dialect(&mut self, schema: &Value, entry: &Entry) {
        let dialect = jsonschema::draft202012::meta::validator();
        for error in dialect.iter_errors(schema) {
            let pointer = error.instance_path().as_str();
            let (span, keyword) = find(entry, pointer);
            let rule = rule::text(error.kind());
            let message = format!("`{keyword}` in {} {rule}", self.subject);
            self.report.add(Problem::error(Code::Schema, span, message));
        }
    }

    fn problem(&mut self, code: Code, span: Span, message: String, help: &str) {
        self.report
            .add(Problem::error(code, span, message).help(help));
    }
}

/// Whether a pattern asks for look-around or a back-reference.
fn is_backtracking(pattern: &str) -> bool {
    let looks_around = ["(?=", "(?!", "(?<=", "(?<!"]
        .iter()
        .any(|group| pattern.contains(group));
    let refers_back = pattern
        .as_bytes()
        .windows(2)
        .any(|pair| matches!(pair, [b'\\', b'1'..=b'9' | b'k']));
    looks_around || refers_back
}

/// Follows a JSON pointer in YAML; returns the place and the last key on the way.
fn find(entry: &Entry, pointer: &str) -> (Span, String) {
    let mut found = (entry.place(), entry.key.text.clone());
    let mut node = &entry.value;
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        let next = match &node.content {
            Content::Sequence(items) => segment.parse().ok().and_then(|at: usize| items.get(at)),
            _ => node.get(&segment).map(|entry| {
                found = (entry.place(), entry.key.text.clone());
                &entry.value
            }),
        };
        let Some(next) = next else { break };
        node = next;
    }
    found
}

/// Says which keyword an unknown one was meant to be, if it looks like one.
fn misspelled(keyword: &str) -> Option<&'static str> {
    match keyword {
        "max" => Some("maximum"),
        "min" => Some("minimum"),
        "regex" | "regexp" => Some("pattern"),
        "choices" | "values" => Some("enum"),
        "desc" => Some("description"),
        _ => nearest(keyword, KEYWORDS.iter().copied()),
    }
}

/// What other languages call a type.
fn other_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "bool" => "boolean",
        "dict" | "map" => "object",
        "double" | "float" => "number",
        "int" | "long" => "integer",
        "list" => "array",
        "str" | "text" => "string",
        _ => return None,
    })
}
