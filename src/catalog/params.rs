//! The parameters of a tool: the shorthand, JSON Schema with two words of our own, or a whole schema.

mod kind;
mod path;
mod plain;
mod shorthand;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::argument_error::{ArgumentError, Violation};
use super::binding::Binding;
use super::schema::{read_schema, read_whole};
use super::template::is_parameter_name;
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::reader;
use crate::document::yaml::{Content, Entry, Key, Scalar};
pub(crate) use kind::Kind;
pub(crate) use plain::is_plain;

/// A parameter of a tool.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) span: Span,
    /// The place of the default, or of the whole definition.
    pub(crate) default_span: Span,
    /// The JSON Schema that clients see.
    pub(crate) schema: Value,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    pub(crate) allow_dash: bool,
    /// Whether the schema says that numbers below zero are meant.
    pub(crate) allows_negative: bool,
    /// Where its value comes from, if not from the arguments.
    pub(crate) binding: Option<Binding>,
    /// The folder that its values are paths below.
    pub(crate) root: Option<PathBuf>,
}

impl Parameter {
    fn new(entry: &Entry, schema: Value, optional: bool, allow_dash: bool) -> Self {
        let key = &entry.key;
        let has_default = schema.get("default").is_some();
        Self {
            name: key.text.clone(),
            span: key.span,
            default_span: entry.value.get("default").unwrap_or(entry).place(),
            kind: kind::of(&schema),
            required: !optional && !has_default,
            allow_dash,
            allows_negative: kind::allows_negative(&schema),
            binding: None,
            root: None,
            schema,
        }
    }

    /// A required text, whose place is that of what asks for it.
    pub(crate) fn text(name: &str, span: Span) -> Self {
        Self {
            name: name.to_owned(),
            span,
            default_span: span,
            schema: json!({"type": "string"}),
            kind: Kind::String,
            required: true,
            allow_dash: false,
            allows_negative: false,
            binding: None,
            root: None,
        }
    }

    /// The value that stands in when a call brings none.
    pub(crate) fn default(&self) -> Option<&Value> {
        self.schema.get("default")
    }

    /// Whether a valid call may leave its places empty: it may be missing without a default, be
    /// null, or be an array without items.
    pub(crate) fn may_be_absent(&self) -> bool {
        let minimum = self.schema.get("minItems").and_then(Value::as_u64);
        let may_be_empty = self.kind.is_array() && minimum.unwrap_or(0) == 0;
        self.may_be_missing() || may_be_empty
    }

    /// Whether a valid call may bring no value: none at all without a default, or null.
    pub(crate) fn may_be_missing(&self) -> bool {
        let optional = !self.required && self.default().is_none();
        optional || self.is_nullable()
    }

    /// Whether the schema names null among its types.
    pub(crate) fn is_nullable(&self) -> bool {
        match self.schema.get("type") {
            Some(Value::Array(types)) => types.contains(&json!("null")),
            _ => false,
        }
    }
}

/// The parameters of a tool in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    list: Vec<Parameter>,
    index: HashMap<String, usize>,
    /// Names whose definition has errors; nothing more is said about them.
    broken: BTreeSet<String>,
    /// The schema of the arguments and its place, if its author wrote it as a whole.
    whole: Option<(Map<String, Value>, Span)>,
}

impl Parameters {
    /// Reads the `params` of a tool.
    pub(crate) fn read(entry: &Entry, tool: &str, report: &mut Report) -> Self {
        let mut parameters = Self::default();
        for entry in reader::mapping(entry, report).unwrap_or_default() {
            match read_parameter(entry, tool, report) {
                Some(parameter) => parameters.add(parameter),
                None => {
                    parameters.broken.insert(entry.key.text.clone());
                }
            }
        }
        parameters
    }

    /// The same, but each may be left out.
    pub(crate) fn optional(&self) -> Self {
        let optional = |parameter: &Parameter| Parameter {
            required: false,
            ..parameter.clone()
        };
        Self {
            list: self.list.iter().map(optional).collect(),
            index: self.index.clone(),
            broken: self.broken.clone(),
            whole: None,
        }
    }

    /// Reads the `input_schema` of a tool: each of its properties is a parameter.
    pub(crate) fn read_whole(entry: &Entry, tool: &str, report: &mut Report) -> Self {
        let mut parameters = Self::default();
        let properties = entry.value.get("properties");
        let properties = properties.and_then(|entry| entry.value.mapping());
        let properties = properties.unwrap_or_default();
        let subject = format!("`input_schema` of tool `{tool}`");
        let Some(schema) = read_whole(entry, &subject, report) else {
            let names = properties.iter().map(|entry| entry.key.text.clone());
            parameters.broken.extend(names);
            return parameters;
        };
        if schema.get("type") != Some(&json!("object")) {
            let message = format!("{subject} must say `type: object`");
            let problem = Problem::error(Code::Schema, entry.key.span, message);
            report.add(problem.help("the arguments of a call are always an object"));
        }
        let required = schema.get("required").and_then(Value::as_array);
        for entry in properties {
            let name = &entry.key.text;
            let property = schema.get("properties").and_then(|all| all.get(name));
            let is_required = required.is_some_and(|required| required.contains(&json!(name)));
            if let Some(property) = property {
                let property = property.clone();
                parameters.add(Parameter::new(entry, property, !is_required, false));
            }
        }
        parameters.whole = Some((schema, entry.key.span));
        parameters
    }

    /// Notes a name whose definition has errors, so that its places are not called undeclared.
    pub(crate) fn add_broken(&mut self, name: &str) {
        self.broken.insert(name.to_owned());
    }

    /// Adds a value that the user is asked for; a call cannot bring it.
    pub(crate) fn add_asked(&mut self, entry: &Entry, schema: Value, report: &mut Report) {
        let Key { text: name, span } = &entry.key;
        check_name(name, *span, report);
        if self.names().any(|known| known == name) {
            let message =
                format!("`{name}` is both a parameter and a value that the user is asked for");
            let problem = Problem::error(Code::Duplicate, *span, message);
            report.add(problem.help("give one of them another name"));
            return;
        }
        let mut parameter = Parameter::new(entry, schema, false, false);
        parameter.required = true;
        self.add(parameter);
    }

    /// Adds a parameter, in the place of one with the same name.
    pub(crate) fn add(&mut self, parameter: Parameter) {
        let same = self.index.get(&parameter.name);
        if let Some(same) = same.and_then(|at| self.list.get_mut(*at)) {
            *same = parameter;
            return;
        }
        self.index.insert(parameter.name.clone(), self.list.len());
        self.list.push(parameter);
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Parameter> {
        self.index.get(name).and_then(|at| self.list.get(*at))
    }

    pub(crate) fn is_broken(&self, name: &str) -> bool {
        self.broken.contains(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.list.iter()
    }

    /// Lets relative roots start at the folder of the file that they stand in.
    pub(crate) fn place_roots<'a>(&mut self, folder: impl Fn(Span) -> &'a Path) {
        for parameter in &mut self.list {
            if let Some(root) = &mut parameter.root {
                let joined = folder(parameter.span).join(&root);
                *root = std::path::absolute(&joined).unwrap_or(joined);
            }
        }
    }

    /// Whether values are looked up in the file system.
    pub(crate) fn have_paths(&self) -> bool {
        self.list.iter().any(|parameter| parameter.root.is_some())
    }

    /// The same arguments with absolute paths.
    pub(crate) fn resolved<'a>(
        &self,
        arguments: &'a Map<String, Value>,
    ) -> Result<Cow<'a, Map<String, Value>>, ArgumentError> {
        let mut arguments = Cow::Borrowed(arguments);
        let mut violations = Vec::new();
        for parameter in &self.list {
            let (name, value) = (&parameter.name, arguments.get(&parameter.name));
            let Some((root, value)) = parameter.root.as_ref().zip(value) else {
                continue;
            };
            match path::resolve(root, value) {
                Ok(value) => drop(arguments.to_mut().insert(name.clone(), value)),
                Err((at, rule)) => violations.push(Violation::at(name, at, rule)),
            }
        }
        ArgumentError::unless_empty(violations)?;
        Ok(arguments)
    }

    /// Those that a call brings.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &Parameter> {
        self.iter().filter(|parameter| parameter.binding.is_none())
    }

    /// All names, those of broken definitions included.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.list.iter().map(|parameter| parameter.name.as_str());
        names.chain(self.broken.iter().map(String::as_str))
    }

    /// The place of the schema of the arguments, if its author wrote it as a whole.
    pub(crate) fn whole_place(&self) -> Option<Span> {
        self.whole.as_ref().map(|(_, span)| *span)
    }

    /// The schema of the arguments, as `tools/list` shows it.
    pub(crate) fn input_schema(&self) -> Map<String, Value> {
        match &self.whole {
            Some((schema, _)) => schema.clone(),
            None => self.joined(),
        }
    }

    fn joined(&self) -> Map<String, Value> {
        let properties: Map<String, Value> = (self.arguments())
            .map(|parameter| (parameter.name.clone(), parameter.schema.clone()))
            .collect();
        let required: Vec<&str> = (self.arguments())
            .filter(|parameter| parameter.required)
            .map(|parameter| parameter.name.as_str())
            .collect();
        let mut schema = Map::new();
        schema.insert("type".to_owned(), json!("object"));
        schema.insert("properties".to_owned(), Value::Object(properties));
        schema.insert("required".to_owned(), json!(required));
        schema.insert("additionalProperties".to_owned(), json!(false));
        schema
    }
}

fn read_parameter(entry: &Entry, tool: &str, report: &mut Report) -> Option<Parameter> {
    let errors = report.errors();
    let name = &entry.key.text;
    check_name(name, entry.key.span, report);
    let parameter = match &entry.value.content {
        Content::Scalar(scalar) if !scalar.is_null() => shorthand(entry, scalar, report),
        Content::Mapping(_) => long_form(entry, tool, report),
        _ => {
            let message = format!(
                "`{name}` must be a type such as `string`, or a JSON Schema, not {}",
                entry.value.kind()
            );
            report.add(Problem::error(Code::Value, entry.place(), message));
            None
        }
    };
    parameter.filter(|_| report.errors() == errors)
}

fn check_name(name: &str, span: Span, report: &mut Report) {
    if !is_parameter_name(name) {
        let message = format!("`{name}` cannot be the name of a parameter");
        let help = "use letters, digits, `_` and `-`, and start with a letter or `_`";
        report.add(Problem::error(Code::Name, span, message).help(help));
    }
}

/// Reads `optional string`, `integer = 20`, `string...` and the like.
fn shorthand(entry: &Entry, scalar: &Scalar, report: &mut Report) -> Option<Parameter> {
    match shorthand::parse(&scalar.text) {
        Ok((schema, optional)) => Some(Parameter::new(entry, schema, optional, false)),
        Err((message, help)) => {
            let help = path::shorthand(&scalar.text).unwrap_or(help);
            // A part of a value that was put in could not be told from the rest.
            let message = match scalar.written() {
                written if written == scalar.text => message,
                written => format!("`{written}` is not the short form of a parameter"),
            };
            let problem = Problem::error(Code::Schema, entry.place(), message).help(help);
            report.add(problem);
            None
        }
    }
}

/// Reads a JSON Schema with words of our own, which clients do not see.
fn long_form(entry: &Entry, tool: &str, report: &mut Report) -> Option<Parameter> {
    let mut optional = false;
    let mut allow_dash = false;
    let mut binding = None;
    for own in entry.value.mapping().unwrap_or_default() {
        match own.key.text.as_str() {
            "optional" => optional = reader::boolean(own, report)?,
            "allow_dash" => allow_dash = reader::boolean(own, report)?,
            "from" => binding = Some(Binding::read(own, report)?),
            _ => {}
        }
    }
    let (of_schema, root) = path::take(entry, report)?;
    let mut schema = read_schema(&of_schema, tool, report)?;
    if root.is_some() {
        path::describe(&mut schema);
    }
    Some(Parameter {
        binding,
        root,
        ..Parameter::new(entry, schema, optional, allow_dash)
    })
}
