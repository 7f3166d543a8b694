//! Rules of JSON Schema in words, without the value that breaks them.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;

/// How much of a list of allowed values is repeated, in characters.
const MAX_LISTED: usize = 200;

/// Says what a value must be.
pub(super) fn text(kind: &ValidationErrorKind) -> String {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::Type { kind } => format!("must be {}", types(kind)),
        Kind::Enum { options } => format!("must be one of {}", cut(&listed(options))),
        Kind::Constant { expected_value } => {
            format!("must be {}", cut(&expected_value.to_string()))
        }
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinItems { limit } => format!("must have at least {limit} items"),
        Kind::MaxItems { limit } => format!("must have at most {limit} items"),
        Kind::MinProperties { limit } => format!("must have at least {limit} properties"),
        Kind::MaxProperties { limit } => format!("must have at most {limit} properties"),
        Kind::AdditionalItems { limit } => format!("must have at most {limit} items"),
        Kind::UniqueItems => "must not repeat an item".to_owned(),
        Kind::Pattern { pattern } => format!("must match the pattern `{}`", cut(pattern)),
        Kind::Format { format } => format!("must be a valid `{format}`"),
        Kind::Required { property } => format!("must have the property {property}"),
        Kind::AnyOf { .. } => "must match one of the alternatives of `anyOf`".to_owned(),
        Kind::OneOfNotValid { .. } => "must match one of the alternatives of `oneOf`".to_owned(),
        Kind::OneOfMultipleValid { .. } => {
            "must match one alternative of `oneOf`, and matches several".to_owned()
        }
        Kind::FalseSchema => "must not be given".to_owned(),
        Kind::AdditionalProperties { .. } | Kind::UnevaluatedProperties { .. } => {
            "has a property that the schema does not know".to_owned()
        }
        other => format!("must satisfy `{}`", other.keyword()),
    }
}

fn types(kind: &TypeKind) -> String {
    let with_article = |name: &str| match name {
        "integer" | "array" | "object" => format!("an {name}"),
        "null" => "null".to_owned(),
        _ => format!("a {name}"),
    };
    match kind {
        TypeKind::Single(kind) => with_article(kind.as_str()),
        TypeKind::Multiple(kinds) => {
            let names: Vec<_> = kinds
                .iter()
                .map(|kind| with_article(kind.as_str()))
                .collect();
            names.join(" or ")
        }
    }
}

fn listed(options: &Value) -> String {
    let values = options.as_array().map(Vec::as_slice).unwrap_or_default();
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    values.join(", ")
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_LISTED) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
