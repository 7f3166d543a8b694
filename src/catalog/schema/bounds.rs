//! How much work a schema may be, which may contain itself.
//!
//! A value is looked at by every subschema that applies to it, and so are its parts. What is
//! bounded is how often any one part is looked at: then the work grows with the size of a value
//! and no faster. A tree that names itself for each branch looks at each node once; two
//! alternatives that both name it would look twice at the children, four times at theirs, and so
//! on.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::read::{Position, subschemas};
use crate::catalog::params::Parameters;
use crate::document::diagnostic::{Code, Problem, Span};

/// How many subschemas a tool may have.
const MAX_SUBSCHEMAS: usize = 1000;
/// How deep subschemas may nest, references followed.
const MAX_DEPTH: usize = 64;
/// How deep values are that a schema can see, in levels: as deep as a message may nest.
const MAX_LEVELS: usize = 64;
/// How many subschemas may look at one part of a value.
const MAX_LOOKS: usize = 1000;

/// Checks a whole schema: its references, its size, and its work.
pub(super) fn check(root: &Value, subject: &str, span: Span) -> Result<(), Problem> {
    let checked = Reach::new(root).check(root);
    checked.map_err(|excess| excess.problem(subject, span))
}

/// Checks the schema of a tool's arguments, one parameter after the other.
pub(super) fn check_each(root: &Value, parameters: &Parameters) -> Result<(), Problem> {
    let mut reach = Reach::new(root);
    for parameter in parameters.arguments() {
        let schema = (root.get("properties")).and_then(|all| all.get(&parameter.name));
        let checked = schema.map_or(Ok(()), |schema| reach.check(schema));
        let subject = format!("the schema of `{}`", parameter.name);
        checked.map_err(|excess| excess.problem(&subject, parameter.span))?;
    }
    Ok(())
}

enum Excess {
    Depth,
    Count,
    Looks,
    Endless,
    Unresolved(String),
}

impl Excess {
    fn problem(self, subject: &str, span: Span) -> Problem {
        let (message, help) = match self {
            Self::Depth => (
                format!("{subject} nests deeper than {MAX_DEPTH} levels, references followed"),
                "describe the values less exactly",
            ),
            Self::Count => (
                format!("{subject} leads to more than {MAX_SUBSCHEMAS} subschemas"),
                "describe the values less exactly",
            ),
            Self::Looks => (
                format!("{subject} would look at one value more than {MAX_LOOKS} times"),
                "let alternatives tell each other apart before they refer to the same schema",
            ),
            Self::Endless => (
                format!("{subject} refers to itself for the same value, which has no end"),
                "refer to it for a part of the value, below `properties` or `items`",
            ),
            Self::Unresolved(reference) => (
                format!("`$ref: {reference}` points to nothing"),
                "a reference starts at the whole schema, for a parameter that of all arguments: \
                 `#/$defs/name`, `#/properties/x/$defs/name`, or `#name` for an `$anchor`",
            ),
        };
        Problem::error(Code::Schema, span, message).help(help)
    }
}

/// Every subschema with an anchor.
fn anchors(root: &Value) -> HashMap<&str, &Value> {
    let mut found = HashMap::new();
    let mut rest = vec![root];
    while let Some(schema) = rest.pop() {
        let Some(keywords) = schema.as_object() else {
            continue;
        };
        if let Some(name) = keywords.get("$anchor").and_then(Value::as_str) {
            found.insert(name, schema);
        }
        rest.extend(
            keywords
                .iter()
                .flat_map(|(key, value)| children(key, value)),
        );
    }
    found
}

/// The subschemas that stand in a keyword.
fn children<'a>(keyword: &str, value: &'a Value) -> Vec<&'a Value> {
    match subschemas(keyword) {
        Position::None => Vec::new(),
        Position::One => vec![value],
        Position::List => value.as_array().into_iter().flatten().collect(),
        Position::Map => (value.as_object().into_iter())
            .flat_map(Map::values)
            .collect(),
    }
}

fn is_definitions(keyword: &str) -> bool {
    matches!(keyword, "$defs" | "definitions")
}

/// Follows every reference once.
struct Reach<'a> {
    root: &'a Value,
    anchors: HashMap<&'a str, &'a Value>,
    targets: HashMap<&'a str, &'a Value>,
    seen: HashSet<*const Value>,
}

impl<'a> Reach<'a> {
    fn new(root: &'a Value) -> Self {
        Self {
            root,
            anchors: anchors(root),
            targets: HashMap::new(),
            seen: HashSet::new(),
        }
    }

    /// Checks a schema within the root.
    fn check(&mut self, schema: &'a Value) -> Result<(), Excess> {
        self.schema(schema, 1)?;
        let mut looks = Looks {
            targets: &self.targets,
            known: HashMap::new(),
        };
        for levels in 0..=MAX_LEVELS {
            // What looks at no part looks at no part of one.
            if looks.at(schema, levels, 1)? == 0 {
                break;
            }
        }
        Ok(())
    }

    fn schema(&mut self, schema: &'a Value, depth: usize) -> Result<(), Excess> {
        if !self.seen.insert(std::ptr::from_ref(schema)) {
            return Ok(());
        }
        if depth > MAX_DEPTH {
            return Err(Excess::Depth);
        }
        if self.seen.len() > MAX_SUBSCHEMAS {
            return Err(Excess::Count);
        }
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            if let ("$ref", Some(reference)) = (keyword.as_str(), value.as_str()) {
                let target = self.resolve(reference)?;
                self.targets.insert(reference, target);
                self.schema(target, depth + 1)?;
            } else if !is_definitions(keyword) {
                // Definitions count where they are referred to.
                for child in children(keyword, value) {
                    self.schema(child, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn resolve(&self, reference: &str) -> Result<&'a Value, Excess> {
        let fragment = reference.strip_prefix('#');
        let target = fragment.and_then(|fragment| match fragment {
            "" => Some(self.root),
            _ if fragment.starts_with('/') => self.root.pointer(fragment),
            anchor => self.anchors.get(anchor).copied(),
        });
        target.ok_or_else(|| Excess::Unresolved(reference.to_owned()))
    }
}

/// Counts the subschemas that look at one part of a value.
struct Looks<'a> {
    targets: &'a HashMap<&'a str, &'a Value>,
    /// What was counted; `None` while it is being counted.
    known: HashMap<(*const Value, usize), Option<usize>>,
}

impl Looks<'_> {
    /// How many look at one part that lies this many levels below the value of the schema, at
    /// most. `chain` counts the subschemas for the same value that lead here.
    fn at(&mut self, schema: &Value, levels: usize, chain: usize) -> Result<usize, Excess> {
        let key = (std::ptr::from_ref(schema), levels);
        match self.known.get(&key) {
            Some(Some(looks)) => return Ok(*looks),
            Some(None) => return Err(Excess::Endless),
            None if chain > MAX_DEPTH => return Err(Excess::Depth),
            None => self.known.insert(key, None),
        };
        let mut looks = usize::from(levels == 0);
        if let Some(keywords) = schema.as_object() {
            looks += self.by_the_same(keywords, levels, chain)?;
            if let Some(levels) = levels.checked_sub(1) {
                looks += self.by_parts(keywords, levels)?;
            }
        }
        if looks > MAX_LOOKS {
            return Err(Excess::Looks);
        }
        self.known.insert(key, Some(looks));
        Ok(looks)
    }

    /// By the subschemas that apply to the same value.
    fn by_the_same(
        &mut self,
        keywords: &Map<String, Value>,
        levels: usize,
        chain: usize,
    ) -> Result<usize, Excess> {
        let mut looks = 0;
        for (keyword, value) in keywords {
            looks += match keyword.as_str() {
                "allOf" | "anyOf" | "oneOf" | "not" | "if" | "then" | "else"
                | "dependentSchemas" => {
                    let children = children(keyword, value).into_iter();
                    self.sum(children, levels, chain + 1)?
                }
                "$ref" => {
                    let target = value.as_str().and_then(|name| self.targets.get(name));
                    self.sum(target.copied().into_iter(), levels, chain + 1)?
                }
                _ => 0,
            };
        }
        // What is left over can only be told by looking again.
        let again = ["unevaluatedProperties", "unevaluatedItems"];
        let is_again = again.iter().any(|keyword| keywords.contains_key(*keyword));
        Ok(if is_again { 2 * looks } else { looks })
    }

    /// By the subschemas that apply to parts of the value: those of an object or of an array.
    fn by_parts(&mut self, keywords: &Map<String, Value>, levels: usize) -> Result<usize, Excess> {
        let mut sum = |keyword: &str| {
            let value = keywords.get(keyword);
            let children = value.map(|value| children(keyword, value));
            self.sum(children.into_iter().flatten(), levels, 1)
        };
        let patterns = sum("patternProperties")?;
        let additional = sum("additionalProperties")?;
        let object = sum("propertyNames")? + sum("unevaluatedProperties")?;
        let rest = sum("items")?;
        let array = sum("contains")? + sum("unevaluatedItems")?;
        // One part has one name, and one place in its list.
        let named = self.most(keywords, "properties", levels)?;
        let placed = self.most(keywords, "prefixItems", levels)?;
        let object = object + additional.max(named + patterns);
        let array = array + rest.max(placed);
        Ok(object.max(array))
    }

    fn sum<'s>(
        &mut self,
        mut schemas: impl Iterator<Item = &'s Value>,
        levels: usize,
        chain: usize,
    ) -> Result<usize, Excess> {
        schemas.try_fold(0, |looks, schema| {
            Ok(looks + self.at(schema, levels, chain)?)
        })
    }

    fn most(
        &mut self,
        keywords: &Map<String, Value>,
        keyword: &str,
        levels: usize,
    ) -> Result<usize, Excess> {
        let value = keywords.get(keyword);
        let mut children = (value.into_iter()).flat_map(|value| children(keyword, value));
        children.try_fold(0, |most, schema| Ok(most.max(self.at(schema, levels, 1)?)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn work_is_bounded_and_not_recursion() {
        let node = json!({"$ref": "#/$defs/node"});
        let with = |node: Value| json!({"$ref": "#/$defs/node", "$defs": {"node": node}});
        let doubling: Map<String, Value> = (0..20)
            .map(|at| {
                let next = json!({"$ref": format!("#/$defs/d{}", at + 1)});
                (format!("d{at}"), json!({"anyOf": [next, next]}))
            })
            .chain([("d20".to_owned(), json!({}))])
            .collect();
        let cases = [
            ("plain", json!({"type": "object"}), ""),
            ("list", with(json!({"properties": {"next": node}})), ""),
            (
                "tree",
                with(json!({"properties": {"left": node, "right": node}, "items": node})),
                "",
            ),
            (
                "tree of rest",
                with(json!({"properties": {"x": node}, "additionalProperties": node})),
                "",
            ),
            ("root", json!({"properties": {"next": {"$ref": "#"}}}), ""),
            (
                "anchor",
                json!({"properties": {"a": {"$ref": "#a"}}, "$defs": {"x": {"$anchor": "a"}}}),
                "",
            ),
            (
                "both alternatives",
                with(json!({"anyOf": [{"properties": {"a": node}}, {"properties": {"a": node}}]})),
                "more than 1000 times",
            ),
            (
                "two patterns",
                with(json!({"patternProperties": {"a": node, "b": node}})),
                "more than 1000 times",
            ),
            (
                "left over",
                with(json!({
                    "allOf": [{"properties": {"a": node}}], "unevaluatedProperties": false
                })),
                "more than 1000 times",
            ),
            ("itself", with(node.clone()), "has no end"),
            (
                "itself by turns",
                with(json!({"allOf": [{"not": node}]})),
                "has no end",
            ),
            (
                "doubling",
                json!({"$ref": "#/$defs/d0", "$defs": doubling}),
                "more than 1000 times",
            ),
            ("nowhere", json!({"$ref": "#/$defs/x"}), "points to nothing"),
            ("no anchor", json!({"$ref": "#x"}), "points to nothing"),
        ];
        for (name, schema, expected) in cases {
            let text = match check(&schema, "it", Span::default()) {
                Ok(()) => String::new(),
                Err(problem) => format!("{problem:?}"),
            };
            assert_eq!(text.is_empty(), expected.is_empty(), "{name}: {text}");
            assert!(text.contains(expected), "{name}: {text}");
        }
    }

    #[test]
    fn size_is_bounded() {
        let wide: Map<String, Value> = (0..1000).map(|at| (at.to_string(), json!({}))).collect();
        let chain: Map<String, Value> = (0..100)
            .map(|at| {
                let next = json!({"$ref": format!("#/$defs/d{}", at + 1)});
                (format!("d{at}"), json!({"items": next}))
            })
            .chain([("d100".to_owned(), json!({}))])
            .collect();
        let cases = [
            (
                json!({"properties": wide}),
                "leads to more than 1000 subschemas",
            ),
            (
                json!({"$ref": "#/$defs/d0", "$defs": chain}),
                "deeper than 64 levels",
            ),
        ];
        for (schema, expected) in cases {
            let problem = check(&schema, "it", Span::default()).unwrap_err();
            let text = format!("{problem:?}");
            assert!(text.contains(expected), "{text}");
        }
    }
}
