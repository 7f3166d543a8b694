//! Values that mean nothing in any syntax: neither in a body, nor to a shell.

use regex_syntax::hir::{Class, Hir, HirKind, Look};
use serde_json::Value;

use super::{Kind, Parameter};

/// Formats of texts without anything that means something.
const PLAIN_FORMATS: [&str; 3] = ["date", "ipv4", "uuid"];

/// Whether no value of a parameter means anything in any syntax.
pub(crate) fn is_plain(parameter: &Parameter) -> bool {
    let schema = &parameter.schema;
    let text = |keyword: &str| schema.get(keyword).and_then(Value::as_str);
    matches!(parameter.kind, Kind::Integer | Kind::Number | Kind::Boolean)
        || ["enum", "const"]
            .iter()
            .any(|keyword| schema.get(keyword).is_some())
        || text("format").is_some_and(|format| PLAIN_FORMATS.contains(&format))
        || text("pattern").is_some_and(is_plain_pattern)
}

/// Whether all texts that a pattern accepts are letters and digits, `_`, `-` and `.`. The digits may
/// be those of any script, as those of `\d` are.
fn is_plain_pattern(pattern: &str) -> bool {
    regex_syntax::parse(pattern).is_ok_and(|hir| {
        let properties = hir.properties();
        properties.look_set_prefix().contains(Look::Start)
            && properties.look_set_suffix().contains(Look::End)
            && holds_plain(&hir)
    })
}

fn holds_plain(hir: &Hir) -> bool {
    let is_plain =
        |c: char| c.is_ascii_alphabetic() || c.is_numeric() || matches!(c, '_' | '-' | '.');
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => literal
            .0
            .iter()
            .all(|byte| byte.is_ascii() && is_plain(char::from(*byte))),
        HirKind::Class(Class::Unicode(class)) => class
            .iter()
            .all(|range| (range.start()..=range.end()).all(is_plain)),
        HirKind::Class(Class::Bytes(_)) => false,
        HirKind::Repetition(repetition) => holds_plain(&repetition.sub),
        HirKind::Capture(capture) => holds_plain(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().all(holds_plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_plain_letters_are_known() {
        let cases = [
            ("^[A-Za-z0-9_-]+$", true),
            ("^(?:EUR|USD)$", true),
            ("^[a-z]{2}(-[A-Z]{2})?$", true),
            ("^$", true),
            ("^EUR|USD$", false),
            ("[a-z]+", false),
            ("^[a-z]+", false),
            ("(?m)^[a-z]+$", false),
            (r"^\d+$", true),
            (r"^\D+$", false),
            ("^ä²$", false),
            (r"^[0-9.]+$", true),
            ("^.*$", false),
            ("^[^<]*$", false),
            ("^a&b$", false),
            ("(", false),
        ];
        for (pattern, expected) in cases {
            assert_eq!(is_plain_pattern(pattern), expected, "{pattern}");
        }
    }
}
