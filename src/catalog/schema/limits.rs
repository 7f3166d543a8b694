//! How much work a schema may be.
//!
//! Counted with every local reference followed, because that is what validation does: thirty
//! definitions of two alternatives each, every one naming the next twice, are sixty subschemas on
//! paper and a billion at work. A schema that contains itself has no such count and is refused.

use serde_json::Value;

use super::read::{Position, subschemas};
use crate::catalog::params::{Parameter, Parameters};
use crate::document::diagnostic::{Code, Problem, Report};

/// How deep subschemas may nest.
const MAX_DEPTH: usize = 32;
/// How many subschemas a tool may have.
pub(super) const MAX_SUBSCHEMAS: usize = 1000;

/// Checks the schema of a tool's arguments, one parameter after the other.
pub(super) fn check(root: &Value, parameters: &Parameters, report: &mut Report) {
    let mut walk = Walk {
        root,
        count: 0,
        references: Vec::new(),
    };
    for parameter in parameters.arguments() {
        if let Err(problem) = walk.schema(&parameter.schema, 1) {
            report.add(problem.at(parameter));
            return;
        }
    }
}

enum Excess {
    Depth,
    Count,
    Recursion(String),
    Unresolved(String),
}

impl Excess {
    fn at(self, parameter: &Parameter) -> Problem {
        let name = &parameter.name;
        let (message, help) = match self {
            Self::Depth => (
                format!("the schema of `{name}` nests deeper than {MAX_DEPTH} levels"),
                "describe the value less exactly".to_owned(),
            ),
            Self::Count => (
                format!(
                    "the parameters have more than {MAX_SUBSCHEMAS} subschemas, references followed"
                ),
                "describe the values less exactly".to_owned(),
            ),
            Self::Recursion(pointer) => (
                format!("the schema of `{name}` contains itself through `$ref: {pointer}`"),
                "write out as many levels as callers need".to_owned(),
            ),
            Self::Unresolved(pointer) => (
                format!("`$ref: {pointer}` points to nothing"),
                format!(
                    "a pointer starts at the schema of all arguments, as in `#/properties/{name}/$defs/…`"
                ),
            ),
        };
        Problem::error(Code::Schema, parameter.span, message).help(help)
    }
}

struct Walk<'a> {
    root: &'a Value,
    count: usize,
    /// The references that lead to the current subschema.
    references: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    fn schema(&mut self, schema: &'a Value, depth: usize) -> Result<(), Excess> {
        self.count += 1;
        if depth > MAX_DEPTH {
            return Err(Excess::Depth);
        }
        if self.count > MAX_SUBSCHEMAS {
            return Err(Excess::Count);
        }
        let Some(keywords) = schema.as_object() else {
            return Ok(());
        };
        for (keyword, value) in keywords {
            match subschemas(keyword) {
                Position::One => self.schema(value, depth + 1)?,
                Position::List => {
                    for item in value.as_array().into_iter().flatten() {
                        self.schema(item, depth + 1)?;
                    }
                }
                // Definitions count where they are referred to.
                Position::Map if keyword == "$defs" || keyword == "definitions" => {}
                Position::Map => {
                    for item in value.as_object().into_iter().flat_map(|map| map.values()) {
                        self.schema(item, depth + 1)?;
                    }
                }
                Position::None if keyword == "$ref" => {
                    self.reference(value.as_str().unwrap_or_default(), depth)?;
                }
                Position::None => {}
            }
        }
        Ok(())
    }

    fn reference(&mut self, reference: &'a str, depth: usize) -> Result<(), Excess> {
        if self.references.contains(&reference) {
            return Err(Excess::Recursion(reference.to_owned()));
        }
        let target = reference
            .strip_prefix('#')
            .and_then(|pointer| self.root.pointer(pointer))
            .ok_or_else(|| Excess::Unresolved(reference.to_owned()))?;
        self.references.push(reference);
        let result = self.schema(target, depth + 1);
        self.references.pop();
        result
    }
}
