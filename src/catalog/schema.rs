//! JSON Schema 2020-12: what authors may write, and what arguments must satisfy.
//!
//! Everything is settled when the file is loaded: nothing is fetched, patterns use an engine whose
//! time is linear in the text, and the number of subschemas is bounded after references are
//! followed, since nested alternatives multiply the work for every value.

mod bounds;
mod form;
mod mirror;
mod output;
mod read;
mod rule;

use serde_json::{Map, Value};

use super::argument_error::{ArgumentError, MAX_SHOWN, Violation, shortened};
use super::params::{Parameter, Parameters};
use super::rules::Rules;
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::suggest::did_you_mean;
pub use form::FormSchema;
pub use mirror::Mirrored;
pub use output::OutputError;
pub(crate) use output::OutputSchema;
pub(crate) use read::{read_schema, read_whole};

/// The compiled schema of a tool's arguments.
#[derive(Debug)]
pub(crate) struct InputSchema {
    schema: Map<String, Value>,
    validator: jsonschema::Validator,
    defaults: Vec<(String, Value)>,
    mirrored: Vec<Mirrored>,
    rules: Rules,
}

impl InputSchema {
    /// Compiles the schema of all parameters, and checks their defaults against it.
    ///
    /// `span` is the place of problems that belong to no single parameter.
    pub(crate) fn compile(
        parameters: &Parameters,
        rules: Rules,
        span: Span,
        report: &mut Report,
    ) -> Option<Self> {
        let errors = report.errors();
        let mut schema = parameters.input_schema();
        let root = Value::Object(schema.clone());
        let checked = match parameters.whole_place() {
            None => bounds::check_each(&root, parameters),
            Some(place) => bounds::check(&root, "`input_schema`", place),
        };
        checked.unwrap_or_else(|problem| report.add(problem));
        if report.errors() > errors {
            return None;
        }
        let validator = match options().build(&root) {
            Ok(validator) => validator,
            Err(error) => {
                let message = format!("the schema of the parameters is not valid: {error}");
                report.add(Problem::error(Code::Schema, span, message));
                return None;
            }
        };
        let defaults: Vec<_> = parameters
            .arguments()
            .filter_map(|p| Some((p.name.clone(), p.default()?.clone())))
            .collect();
        check_defaults(&validator, parameters, &defaults, report);
        let place = parameters.whole_place().unwrap_or(span);
        let mirrored = mirror::find(&root, parameters, place, report);
        rules.add_to(&mut schema, parameters);
        (report.errors() == errors).then_some(Self {
            schema,
            validator,
            defaults,
            mirrored,
            rules,
        })
    }

    /// The schema as clients see it.
    pub(crate) fn as_map(&self) -> &Map<String, Value> {
        &self.schema
    }

    /// The parameters that clients repeat in headers.
    pub(crate) fn mirrored(&self) -> &[Mirrored] {
        &self.mirrored
    }

    /// Fills in defaults, then validates.
    pub(crate) fn arguments(
        &self,
        arguments: Option<Map<String, Value>>,
    ) -> Result<Map<String, Value>, ArgumentError> {
        let mut arguments = arguments.unwrap_or_default();
        for (name, value) in &self.defaults {
            if !arguments.contains_key(name) {
                arguments.insert(name.clone(), value.clone());
            }
        }
        let value = Value::Object(arguments);
        if !self.validator.is_valid(&value) {
            return Err(self.explain(&value));
        }
        let arguments = match value {
            Value::Object(arguments) => arguments,
            _ => Map::new(),
        };
        ArgumentError::unless_empty(self.rules.check(&arguments))?;
        Ok(arguments)
    }

    fn explain(&self, value: &Value) -> ArgumentError {
        let errors = self.validator.iter_errors(value).take(MAX_SHOWN + 1);
        let violations: Vec<_> = errors.flat_map(|error| self.violations(&error)).collect();
        ArgumentError::new(violations)
    }

    fn violations(&self, error: &jsonschema::ValidationError<'_>) -> Vec<Violation> {
        use jsonschema::error::ValidationErrorKind as Kind;
        let pointer = error.instance_path().as_str();
        match error.kind() {
            Kind::AdditionalProperties { unexpected } if pointer.is_empty() => {
                (unexpected.iter().take(MAX_SHOWN))
                    .map(|name| self.unknown(name))
                    .collect()
            }
            Kind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let pointer = format!("{pointer}/{name}");
                vec![Violation::new(pointer, "is required and missing")]
            }
            kind => vec![Violation::new(pointer.to_owned(), rule::text(kind))],
        }
    }

    fn unknown(&self, name: &str) -> Violation {
        let properties = self.schema.get("properties").and_then(Value::as_object);
        let known = properties.into_iter().flat_map(Map::keys);
        let rule = match did_you_mean(name, known.map(String::as_str)) {
            Some(suggestion) => format!("is not an argument of this tool; {suggestion}"),
            None => "is not an argument of this tool".to_owned(),
        };
        Violation::at(&shortened(name), None, &rule)
    }
}

/// Compiles the schema of a parameter that no argument sets, and checks its default.
pub(crate) fn compile_one(
    parameter: &Parameter,
    report: &mut Report,
) -> Option<jsonschema::Validator> {
    let place = parameter.default_span;
    let checked = bounds::check(&parameter.schema, &format!("`{}`", parameter.name), place);
    checked.map_err(|problem| report.add(problem)).ok()?;
    let built = options().build(&parameter.schema);
    let validator = built
        .map_err(|error| {
            let message = format!("the schema of `{}` is not valid: {error}", parameter.name);
            report.add(Problem::error(Code::Schema, parameter.span, message));
        })
        .ok()?;
    if let Some(default) = parameter.default()
        && let Some(error) = validator.iter_errors(default).next()
    {
        report.add(bad_default(parameter, default, &error));
    }
    Some(validator)
}

/// How every schema is compiled: our dialect, no network, no files, linear patterns.
fn options() -> jsonschema::ValidationOptions<'static> {
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .should_validate_formats(true)
        .offline()
}

fn check_defaults(
    validator: &jsonschema::Validator,
    parameters: &Parameters,
    defaults: &[(String, Value)],
    report: &mut Report,
) {
    let instance = Value::Object(defaults.iter().cloned().collect());
    for error in validator.iter_errors(&instance) {
        let pointer = error.instance_path().as_str();
        let Some(name) = pointer.split('/').nth(1) else {
            // Required parameters are missing here, and that is as it should be.
            continue;
        };
        let Some(parameter) = parameters.get(name) else {
            continue;
        };
        let Some(default) = parameter.default() else {
            continue;
        };
        report.add(bad_default(parameter, default, &error));
    }
}

fn bad_default(
    parameter: &Parameter,
    default: &Value,
    error: &jsonschema::ValidationError<'_>,
) -> Problem {
    let message = format!(
        "default `{}` of `{}` {}",
        shortened(&default.to_string()),
        parameter.name,
        rule::text(error.kind())
    );
    let problem = Problem::error(Code::Schema, parameter.default_span, message);
    problem.help("write a default that the schema allows")
}
