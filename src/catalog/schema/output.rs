//! The schema of what a tool gives to programs.

use std::fmt;

use serde_json::{Map, Value};

use super::{bounds, options, read_whole, rule};
use crate::catalog::argument_error::{MAX_SHOWN, Violation, list};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::yaml::Entry;

/// What problems call the schema.
const SUBJECT: &str = "the `schema` of `output`";

/// The compiled schema of structured content.
#[derive(Debug)]
pub(crate) struct OutputSchema {
    schema: Map<String, Value>,
    validator: jsonschema::Validator,
}

impl OutputSchema {
    /// Reads and compiles a schema.
    pub(crate) fn read(entry: &Entry, report: &mut Report) -> Option<Self> {
        let schema = read_whole(entry, SUBJECT, report)?;
        let root = Value::Object(schema.clone());
        let compiled = bounds::check(&root, SUBJECT, entry.key.span).and_then(|()| {
            options().build(&root).map_err(|error| {
                let message = format!("{SUBJECT} is not valid: {error}");
                Problem::error(Code::Schema, entry.key.span, message)
            })
        });
        match compiled {
            Ok(validator) => Some(Self { schema, validator }),
            Err(problem) => {
                report.add(problem);
                None
            }
        }
    }

    /// The schema as clients see it.
    pub(crate) fn as_map(&self) -> &Map<String, Value> {
        &self.schema
    }

    pub(crate) fn check(&self, value: &Value) -> Result<(), OutputError> {
        if self.validator.is_valid(value) {
            return Ok(());
        }
        let errors = self.validator.iter_errors(value).take(MAX_SHOWN + 1);
        let violations = errors.map(|error| {
            let pointer = error.instance_path().as_str().to_owned();
            Violation::new(pointer, rule::text(error.kind()))
        });
        Err(OutputError {
            violations: violations.collect(),
        })
    }
}

/// Structured content that breaks the schema of its tool.
///
/// Displays as lines that hold a JSON pointer into the content and the rule that is broken there.
/// It never holds a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputError {
    violations: Vec<Violation>,
}

impl fmt::Display for OutputError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("what the tool gave does not match its output schema")?;
        list(&self.violations, formatter)
    }
}

impl std::error::Error for OutputError {}
