//! A scalar as it was written, and what it means where a JSON value is expected.

use std::ops::Range;

use granit_parser::ScalarStyle;
use serde_json::{Number, Value};

use super::{Report, Source, Span};

/// The text of a scalar, its style and its place.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    /// The text after YAML's own escapes and line folding, and nothing else.
    pub(crate) text: String,
    style: ScalarStyle,
    span: Span,
    /// Where the text starts in the source, when it stands there letter by letter.
    verbatim: Option<usize>,
    /// What was written, if parts of it were replaced.
    written: Option<Written>,
}

/// A text before parts of it were replaced.
#[derive(Clone, Debug)]
struct Written {
    text: String,
    parts: Vec<Part>,
}

/// A part of a text, and what stands in its place. That is a text and nothing else: whatever
/// characters it has, they mean nothing.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) range: Range<usize>,
    pub(crate) value: String,
}

impl Scalar {
    pub(crate) fn new(text: String, style: ScalarStyle, span: Span, source: &Source) -> Self {
        let quotes = usize::from(matches!(
            style,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted
        ));
        let start = span.start + quotes;
        let end = span.end.saturating_sub(quotes);
        let written = source.slice(Span { start, end });
        // The parser writes `~` for a value that is not there at all.
        let is_absent = style == ScalarStyle::Plain && span.is_empty();
        let text = if is_absent { String::new() } else { text };
        Self {
            verbatim: (written == Some(text.as_str())).then_some(start),
            text,
            style,
            span,
            written: None,
        }
    }

    /// Replaces parts of the text, which are in order.
    pub(crate) fn replace(&mut self, parts: Vec<Part>) {
        let mut text = String::new();
        let mut end = 0;
        for Part { range, value } in &parts {
            text.push_str(self.text.get(end..range.start).unwrap_or_default());
            text.push_str(value);
            end = range.end;
        }
        text.push_str(self.text.get(end..).unwrap_or_default());
        let text = std::mem::replace(&mut self.text, text);
        self.written = Some(Written { text, parts });
    }

    /// The text as it was written, before parts of it were replaced.
    pub(crate) fn written(&self) -> &str {
        let written = self.written.as_ref();
        written.map_or(&self.text, |written| &written.text)
    }

    /// The part of the written text that starts here and was replaced.
    pub(crate) fn part_at(&self, offset: usize) -> Option<&Part> {
        let parts = &self.written.as_ref()?.parts;
        let at = parts.binary_search_by_key(&offset, |part| part.range.start);
        parts.get(at.ok()?)
    }

    /// Whether the scalar has neither quotes nor a block indicator. A text of which parts were
    /// replaced is as good as quoted: no value becomes a number or nothing.
    pub(crate) fn is_plain(&self) -> bool {
        self.style == ScalarStyle::Plain && self.written.is_none()
    }

    /// Whether the scalar says "no value" in YAML 1.2's core schema.
    pub(crate) fn is_null(&self) -> bool {
        self.is_plain() && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// Reads `true` and `false` as YAML 1.2's core schema does; `yes`, `on` and `1` are neither.
    pub(crate) fn boolean(&self) -> Option<bool> {
        match self.text.as_str() {
            "true" | "True" | "TRUE" if self.is_plain() => Some(true),
            "false" | "False" | "FALSE" if self.is_plain() => Some(false),
            _ => None,
        }
    }

    /// Says what the scalar is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.json() {
            Some(Value::Null) => "nothing",
            Some(Value::Bool(_)) => "a boolean",
            Some(Value::Number(_)) => "a number",
            _ if self.text.trim().is_empty() => "an empty text",
            _ => "a text",
        }
    }

    /// Resolves the scalar by YAML 1.2's core schema.
    ///
    /// Returns `None` for a number that JSON cannot hold: infinite, not a number, or an integer
    /// beyond 64 bits, which would silently lose digits.
    pub(crate) fn json(&self) -> Option<Value> {
        if self.is_null() {
            return Some(Value::Null);
        }
        if let Some(boolean) = self.boolean() {
            return Some(Value::Bool(boolean));
        }
        if !self.is_plain() {
            return Some(Value::String(self.text.clone()));
        }
        match number(&self.text) {
            NumberText::Number(number) => number.map(Value::Number),
            NumberText::Other => Some(Value::String(self.text.clone())),
        }
    }

    /// The place in the source of a part of the written text; of all of it, when folding or escapes
    /// hide the part.
    pub(crate) fn place(&self, part: Range<usize>, report: &Report) -> Span {
        if let Some(start) = self.verbatim {
            return Span {
                start: start + part.start,
                end: start + part.end,
            };
        }
        let source = report.sources().at(self.span.start);
        let ends = self.aligned(part.start, source).zip(
            part.end
                .checked_sub(1)
                .and_then(|last| self.aligned(last, source)),
        );
        match ends {
            Some((start, last)) => Span {
                start,
                end: last + 1,
            },
            None => self.span,
        }
    }

    /// Finds a text offset of a folded or block scalar in the source: both have the same letters
    /// and differ in white space alone.
    fn aligned(&self, offset: usize, source: &Source) -> Option<usize> {
        if self.style == ScalarStyle::DoubleQuoted {
            return None;
        }
        let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
        let wanted = letters(self.written().get(..offset)?);
        let written = source.slice(self.span)?;
        let header = usize::from(self.style == ScalarStyle::SingleQuoted);
        let body = written.get(header..)?;
        let (at, _) = body
            .char_indices()
            .filter(|(_, character)| !character.is_whitespace())
            .nth(wanted)?;
        Some(self.span.start + header + at)
    }
}

enum NumberText {
    /// The text is a number; `None` is one that JSON cannot hold.
    Number(Option<Number>),
    Other,
}

/// Reads the number forms of YAML 1.2's core schema.
fn number(text: &str) -> NumberText {
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        let text = text.strip_prefix('+').unwrap_or(text);
        let signed = text.parse::<i64>().map(Number::from);
        let number = signed.or_else(|_| text.parse::<u64>().map(Number::from));
        return NumberText::Number(number.ok());
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return NumberText::Number(None);
    }
    if is_float(unsigned) {
        let number = text.parse::<f64>().ok().and_then(Number::from_f64);
        return NumberText::Number(number);
    }
    NumberText::Other
}

fn radix(digits: &str, radix: u32) -> NumberText {
    let valid = digits.chars().all(|digit| digit.is_digit(radix));
    if digits.is_empty() || !valid {
        return NumberText::Other;
    }
    NumberText::Number(u64::from_str_radix(digits, radix).ok().map(Number::from))
}

/// `(\.[0-9]+ | [0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(unsigned: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    exponent_fits && digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use granit_parser::ScalarStyle;
    use serde_json::{Value, json};

    use super::{Scalar, Source, Span};

    fn source(text: &str) -> Source {
        Source::new(Path::new("tools.yaml"), text.to_owned())
    }

    fn plain(text: &str) -> Scalar {
        let span = Span {
            start: 0,
            end: text.len(),
        };
        Scalar::new(text.to_owned(), ScalarStyle::Plain, span, &source(text))
    }

    #[test]
    fn plain_scalars_resolve_by_the_core_schema() {
        let cases = [
            ("true", Some(json!(true))),
            ("FALSE", Some(json!(false))),
            ("yes", Some(json!("yes"))),
            ("NO", Some(json!("NO"))),
            ("on", Some(json!("on"))),
            ("y", Some(json!("y"))),
            ("~", Some(Value::Null)),
            ("", Some(Value::Null)),
            ("null", Some(Value::Null)),
            ("nil", Some(json!("nil"))),
            ("12", Some(json!(12))),
            ("-12", Some(json!(-12))),
            ("+12", Some(json!(12))),
            ("010", Some(json!(10))),
            ("0o10", Some(json!(8))),
            ("0x1F", Some(json!(31))),
            ("0o9", Some(json!("0o9"))),
            ("0b1", Some(json!("0b1"))),
            ("1_000", Some(json!("1_000"))),
            ("12:30", Some(json!("12:30"))),
            ("1e3", Some(json!(1000.0))),
            ("1.", Some(json!(1.0))),
            (".5", Some(json!(0.5))),
            (".", Some(json!("."))),
            ("-", Some(json!("-"))),
            ("1e", Some(json!("1e"))),
            ("1.2.3", Some(json!("1.2.3"))),
            ("18446744073709551615", Some(json!(u64::MAX))),
            ("18446744073709551616", None),
            ("-9223372036854775808", Some(json!(i64::MIN))),
            (".inf", None),
            ("-.INF", None),
            (".nan", None),
            ("2026-07-28", Some(json!("2026-07-28"))),
        ];
        for (text, expected) in cases {
            assert_eq!(plain(text).json(), expected, "{text:?}");
        }
    }

    #[test]
    fn quoted_scalars_are_text() {
        for text in ["true", "12", "null", ""] {
            let source = source(&format!("'{text}'"));
            let style = ScalarStyle::SingleQuoted;
            let scalar = Scalar::new(text.to_owned(), style, Span::default(), &source);
            assert_eq!(scalar.json(), Some(json!(text)), "{text:?}");
        }
    }
}
