//! Rules between parameters: `exclusive` and `requires`.
//!
//! What is absent for a template is absent here too: null, a boolean that is false, an array
//! without items.

use serde_json::{Map, Value, json};

use super::argument_error::Violation;
use super::params::{Kind, Parameter, Parameters};
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::reader;
use crate::document::suggest::did_you_mean;
use crate::document::yaml::{Content, Entry, Node};

/// The rules of a definition.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// Parameters of which at most one may be given.
    exclusive: Vec<Vec<String>>,
    /// A parameter, and one that it needs.
    requires: Vec<(String, String)>,
}

impl Rules {
    /// Reads the rules of a definition.
    pub(crate) fn read(
        exclusive: Option<&Entry>,
        requires: Option<&Entry>,
        tool: &str,
        parameters: &Parameters,
        report: &mut Report,
    ) -> Self {
        if let Some(entry) = exclusive.or(requires)
            && parameters.whole_place().is_some()
        {
            let message = format!(
                "`{}` is for `params`, and here is a whole schema",
                entry.key.text
            );
            let problem = Problem::error(Code::Kind, entry.key.span, message);
            report.add(
                problem
                    .help("write the rule into `input_schema`, with `not` or `dependentRequired`"),
            );
            return Self::default();
        }
        let mut reader = Reader {
            tool,
            parameters,
            report,
        };
        Self {
            exclusive: exclusive.map_or_else(Vec::new, |entry| reader.exclusive(entry)),
            requires: requires.map_or_else(Vec::new, |entry| reader.requires(entry)),
        }
    }

    /// Adds the rules to the schema that clients see.
    pub(crate) fn add_to(&self, schema: &mut Map<String, Value>, parameters: &Parameters) {
        let pairs = self.exclusive.iter().flat_map(|names| pairs(names));
        let mut rules: Vec<_> = pairs
            .map(|(one, other)| json!({"not": given(&[one, other], parameters)}))
            .collect();
        let mut dependent = Map::new();
        for (one, other) in &self.requires {
            if has_condition(one, parameters) || has_condition(other, parameters) {
                let (one, other) = (given(&[one], parameters), given(&[other], parameters));
                rules.push(json!({"if": one, "then": other}));
            } else if let Some(others) = dependent.entry(one).or_insert(json!([])).as_array_mut() {
                others.push(json!(other));
            }
        }
        if !rules.is_empty() {
            schema.insert("allOf".to_owned(), Value::Array(rules));
        }
        if !dependent.is_empty() {
            schema.insert("dependentRequired".to_owned(), Value::Object(dependent));
        }
    }

    /// The rules that arguments break.
    pub(crate) fn check(&self, arguments: &Map<String, Value>) -> Vec<Violation> {
        let is_given = |name: &str| arguments.get(name).is_some_and(is_given);
        let pairs = self.exclusive.iter().flat_map(|names| pairs(names));
        let clashes = pairs
            .filter(|(one, other)| is_given(one) && is_given(other))
            .map(|(one, other)| {
                Violation::at(
                    other,
                    None,
                    &format!("cannot be given together with `{one}`"),
                )
            });
        let missing = (self.requires.iter())
            .filter(|(one, other)| is_given(one) && !is_given(other))
            .map(|(one, other)| {
                Violation::at(other, None, &format!("is required together with `{one}`"))
            });
        clashes.chain(missing).collect()
    }
}

fn pairs(names: &[String]) -> impl Iterator<Item = (&str, &str)> {
    names.iter().enumerate().flat_map(move |(at, one)| {
        let others = names.iter().skip(at + 1);
        others.map(move |other| (one.as_str(), other.as_str()))
    })
}

/// Whether a value counts as given.
fn is_given(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

/// The schema of arguments among which all these are given.
fn given(names: &[&str], parameters: &Parameters) -> Value {
    let conditions: Map<String, Value> = (names.iter())
        .filter_map(|name| Some(((*name).to_owned(), condition(parameters.get(name)?)?)))
        .collect();
    let mut schema = json!({"required": names});
    if !conditions.is_empty()
        && let Some(schema) = schema.as_object_mut()
    {
        schema.insert("properties".to_owned(), Value::Object(conditions));
    }
    schema
}

fn has_condition(name: &str, parameters: &Parameters) -> bool {
    parameters.get(name).and_then(condition).is_some()
}

/// What a value satisfies that counts as given, if not every value does.
fn condition(parameter: &Parameter) -> Option<Value> {
    match parameter.kind {
        Kind::Boolean => Some(json!({"const": true})),
        Kind::Array(_) => Some(json!({"type": "array", "minItems": 1})),
        _ if parameter.is_nullable() => Some(json!({"not": {"type": "null"}})),
        _ => None,
    }
}

struct Reader<'a> {
    tool: &'a str,
    parameters: &'a Parameters,
    report: &'a mut Report,
}

impl Reader<'_> {
    /// Reads a list of names, or a list of such lists.
    fn exclusive(&mut self, entry: &Entry) -> Vec<Vec<String>> {
        let Some(nodes) = reader::list(entry, self.report) else {
            return Vec::new();
        };
        let is_nested = |node: &Node| matches!(node.content, Content::Sequence(_));
        let lists: Vec<&[Node]> = if nodes.iter().any(is_nested) {
            nodes.iter().map(items).collect()
        } else {
            vec![nodes]
        };
        let lists = lists.into_iter();
        lists.map(|nodes| self.one_of(nodes, entry)).collect()
    }

    fn one_of(&mut self, nodes: &[Node], entry: &Entry) -> Vec<String> {
        let names: Vec<_> = nodes.iter().filter_map(|node| self.name(node)).collect();
        if nodes.len() < 2 {
            let message = "`exclusive` needs two parameters at least";
            let problem = Problem::error(Code::Value, entry.key.span, message);
            self.report
                .add(problem.help("write a list such as `[namespace, all_namespaces]`"));
        }
        let mut always = names.iter().filter_map(|(name, span)| {
            let parameter = self.parameters.get(name)?;
            let is_boolean = parameter.kind == Kind::Boolean && parameter.default().is_none();
            let default = parameter.default().is_some_and(is_given);
            let is_required = parameter.required && !is_boolean && !parameter.may_be_absent();
            (default || is_required).then_some((name, *span))
        });
        if let Some((name, span)) = always.next().filter(|_| nodes.len() > 1) {
            let message =
                format!("`{name}` is given in every call, so that no other ever could be");
            let problem = Problem::error(Code::Value, span, message);
            self.report
                .add(problem.help("make it optional, without a default"));
        }
        names.into_iter().map(|(name, _)| name).collect()
    }

    /// Reads a mapping from a name to those that it needs.
    fn requires(&mut self, entry: &Entry) -> Vec<(String, String)> {
        let mut rules = Vec::new();
        for entry in reader::mapping(entry, self.report).unwrap_or_default() {
            let one = self.declared(&entry.key.text, entry.key.span);
            let others = items(&entry.value).iter();
            let others: Vec<_> = others.filter_map(|node| self.name(node)).collect();
            let Some(one) = one else { continue };
            rules.extend(others.into_iter().map(|(other, _)| (one.clone(), other)));
        }
        rules
    }

    fn name(&mut self, node: &Node) -> Option<(String, Span)> {
        let Some(scalar) = node.scalar().filter(|scalar| !scalar.is_null()) else {
            let message = format!(
                "an item must be the name of a parameter, not {}",
                node.kind()
            );
            self.report
                .add(Problem::error(Code::Value, node.span, message));
            return None;
        };
        Some((self.declared(&scalar.text, node.span)?, node.span))
    }

    /// The name of a parameter that the model sets.
    fn declared(&mut self, name: &str, span: Span) -> Option<String> {
        let parameter = self.parameters.get(name);
        if parameter.is_some_and(|parameter| parameter.binding.is_none())
            || self.parameters.is_broken(name)
        {
            return Some(name.to_owned());
        }
        let message = format!("`{name}` is not an argument of `{}`", self.tool);
        let known = self.parameters.names().filter(|known| *known != name);
        let problem = Problem::error(Code::Undeclared, span, message);
        self.report
            .add(problem.maybe_help(did_you_mean(name, known)));
        None
    }
}

/// The items of a list; what is no list is one item.
fn items(node: &Node) -> &[Node] {
    match &node.content {
        Content::Sequence(nodes) => nodes,
        _ => std::slice::from_ref(node),
    }
}
