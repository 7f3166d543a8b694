//! Values in a body that has a syntax, such as JSON.
//!
//! `body` puts texts together as they are. In a text that its reader takes apart, a value could end
//! its own place and begin another: that is what `json` and `form` are for. Where there is no such
//! key, only values that mean nothing in any syntax may stand.

use crate::catalog::params::{Parameters, is_plain};
use crate::catalog::template::Word;
use crate::document::diagnostic::{Code, Problem, Report};
use crate::protocol::media::MediaType;

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

#[cfg(test)]
mod tests {
    use super::*;

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
