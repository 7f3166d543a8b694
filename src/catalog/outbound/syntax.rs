//! Values in a body that has a syntax, such as JSON.
//!
//! `body` puts texts together as they are. In a text that its reader takes apart, a value could end
//! its own place and begin another: that is what `json` and `form` are for. Where there is no such
//! key, only values that mean nothing in any syntax may stand.

use regex_syntax::hir::{Class, Hir, HirKind, Look};
use serde_json::Value;

use crate::catalog::params::{Kind, Parameter, Parameters};
use crate::catalog::template::Word;
use crate::document::diagnostic::{Code, Problem, Report};
use crate::protocol::media::MediaType;

/// Formats of texts without anything that means something.
const PLAIN_FORMATS: [&str; 3] = ["date", "ipv4", "uuid"];

/// Reports the values of a body that could mean something to whoever reads its media type.
pub(super) fn check(word: &Word, content_type: &str, parameters: &Parameters, report: &mut Report) {
    let media = MediaType::parse(content_type);
    let Some((syntax, help)) = media.as_ref().and_then(syntax) else {
        return;
    };
    for slot in word.slots() {
        if parameters.get(&slot.name).is_none_or(is_plain) {
            continue;
        }
        let message = format!(
            "`{{{}}}` is pasted into {syntax}, where it can mean something else",
            slot.name
        );
        report.add(Problem::error(Code::SyntaxValue, slot.span, message).help(help));
    }
}

/// What a media type is, and what to write instead.
fn syntax(media: &MediaType) -> Option<(&'static str, &'static str)> {
    const PLAIN: &str = "add a `pattern` such as \"^[A-Za-z0-9_-]+$\" or an `enum`, or let a program \
                         write it";
    let essence = media.as_str().split(';').next().unwrap_or_default();
    let essence = essence.trim_end().to_ascii_lowercase();
    let is = |name: &str| essence.ends_with(name);
    if media.is_json() {
        Some((
            "JSON",
            "write `json:` in place of `body:`, and the members below it",
        ))
    } else if is("/x-www-form-urlencoded") {
        Some((
            "a form",
            "write `form:` in place of `body:`, and the fields below it",
        ))
    } else if is("/xml") || is("+xml") {
        Some(("XML", PLAIN))
    } else if is("/html") {
        Some(("HTML", PLAIN))
    } else if is("yaml") {
        Some(("YAML", PLAIN))
    } else if essence.starts_with("multipart/") {
        Some(("a body of several parts", PLAIN))
    } else {
        None
    }
}

/// Whether no value of a parameter means anything in any syntax.
fn is_plain(parameter: &Parameter) -> bool {
    let schema = &parameter.schema;
    let text = |keyword: &str| schema.get(keyword).and_then(Value::as_str);
    matches!(parameter.kind, Kind::Integer | Kind::Number | Kind::Boolean)
        || ["enum", "const"]
            .iter()
            .any(|keyword| schema.get(keyword).is_some())
        || text("format").is_some_and(|format| PLAIN_FORMATS.contains(&format))
        || text("pattern").is_some_and(is_plain_pattern)
}

/// Whether all texts that a pattern accepts are letters and digits, `_`, `-` and `.`.
fn is_plain_pattern(pattern: &str) -> bool {
    regex_syntax::parse(pattern).is_ok_and(|hir| {
        let properties = hir.properties();
        properties.look_set_prefix().contains(Look::Start)
            && properties.look_set_suffix().contains(Look::End)
            && holds_plain(&hir)
    })
}

fn holds_plain(hir: &Hir) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => literal.0.iter().all(|byte| is_plain(char::from(*byte))),
        HirKind::Class(Class::Unicode(class)) => class
            .iter()
            .all(|range| range.end().is_ascii() && (range.start()..=range.end()).all(is_plain)),
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
            (r"^\d+$", false),
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

    #[test]
    fn what_has_a_syntax_is_known_by_its_media_type() {
        let cases = [
            ("application/json; charset=utf-8", Some("JSON")),
            ("application/merge-patch+json", Some("JSON")),
            ("Application/X-WWW-Form-Urlencoded", Some("a form")),
            ("text/xml", Some("XML")),
            ("application/soap+xml ;x=y", Some("XML")),
            ("text/html", Some("HTML")),
            ("application/x-yaml", Some("YAML")),
            (
                "multipart/form-data; boundary=x",
                Some("a body of several parts"),
            ),
            ("text/plain", None),
            ("application/octet-stream", None),
        ];
        for (text, expected) in cases {
            let found = syntax(&MediaType::parse(text).unwrap());
            assert_eq!(found.map(|(name, _)| name), expected, "{text}");
        }
    }
}
