//! URIs with gaps, in the simplest form of RFC 6570 (level 1), and the way back: which values a URI
//! was made with.
//!
//! A value is what stands between two literal parts: at least one character, none of them `/`, `?`
//! or `#`, with percent-encoding undone. It may be anything then, `..` and NUL included: it is a
//! value, and no path.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// A URI template; see the module.
#[derive(Debug, PartialEq, Eq)]
pub struct UriTemplate {
    text: String,
    /// The literal text before the first variable.
    start: String,
    /// Each variable, and the literal text behind it, which only the last may lack.
    variables: Vec<(String, String)>,
}

/// What is wrong with a template, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    pub(crate) message: String,
    pub(crate) help: &'static str,
}

impl UriTemplate {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let mut parts = text.split('{');
        let start = parts.next().unwrap_or_default().to_owned();
        let mut variables: Vec<(String, String)> = Vec::new();
        let mut seen = HashSet::new();
        for part in parts {
            let Some((name, literal)) = part.split_once('}') else {
                return Err(invalid(format!("`{{{part}` is never closed"), SPELLING));
            };
            if !is_variable(name) {
                return Err(invalid(format!("`{{{name}}}` is not a variable"), SPELLING));
            }
            if !seen.insert(name) {
                let help = "use another name: each value stands at one place";
                return Err(invalid(format!("`{{{name}}}` stands twice"), help));
            }
            if variables
                .last()
                .is_some_and(|(_, literal)| literal.is_empty())
            {
                let message = format!("nothing separates `{{{name}}}` from the variable before it");
                return Err(invalid(message, "put a `/` or another text between them"));
            }
            variables.push((name.to_owned(), literal.to_owned()));
        }
        let literals = variables.iter().map(|(_, literal)| literal);
        if std::iter::once(&start)
            .chain(literals)
            .any(|text| text.contains('}'))
        {
            return Err(invalid("a `}` closes nothing".to_owned(), SPELLING));
        }
        if variables.is_empty() {
            let help = "write a variable such as `{id}`, or move it to `resources`";
            return Err(invalid("the URI has no variable".to_owned(), help));
        }
        Ok(Self {
            text: text.to_owned(),
            start,
            variables,
        })
    }

    /// Returns the template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the names of the variables in their order.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the values that make this URI of the template; `None` if none do. Where several
    /// would, each value is as short as it can be.
    pub fn values(&self, uri: &str) -> Option<Map<String, Value>> {
        let mut rest = uri.strip_prefix(self.start.as_str())?;
        let mut values = Map::new();
        let (last, others) = self.variables.split_last()?;
        for (name, literal) in others {
            let (value, after) = split_at(rest, literal)?;
            values.insert(name.clone(), Value::String(decode(value)?));
            rest = after;
        }
        let (name, literal) = last;
        let value = rest.strip_suffix(literal.as_str())?;
        values.insert(name.clone(), Value::String(decode(value)?));
        Some(values)
    }
}

const SPELLING: &str = "write variables as `{name}`, with letters, digits and `_`; other forms of RFC 6570 are not read";

fn invalid(message: String, help: &'static str) -> Invalid {
    Invalid { message, help }
}

fn is_variable(name: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(rest) && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Splits at the first literal behind at least one character.
fn split_at<'a>(text: &'a str, literal: &str) -> Option<(&'a str, &'a str)> {
    let first = text.chars().next()?.len_utf8();
    let at = first + text.get(first..)?.find(literal)?;
    Some((text.get(..at)?, text.get(at + literal.len()..)?))
}

/// Undoes percent-encoding; `None` for what no value of one segment is.
fn decode(value: &str) -> Option<String> {
    if value.is_empty() || value.contains(['/', '?', '#']) {
        return None;
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut parts = value.split('%');
    bytes.extend(parts.next()?.as_bytes());
    for part in parts {
        let (digits, literal) = part.split_at_checked(2)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
        bytes.extend(literal.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_uri_gives_its_values_back() {
        let one = "test://template/{id}/data";
        let two = "log:{day}-{hour}.txt";
        let cases = [
            (one, "test://template/123/data", Some(json!({"id": "123"}))),
            (
                one,
                "test://template/a%20b%2Fc/data",
                Some(json!({"id": "a b/c"})),
            ),
            (one, "test://template/../data", Some(json!({"id": ".."}))),
            (one, "test://template/%00/data", Some(json!({"id": "\0"}))),
            (one, "test://template/%C3%A4/data", Some(json!({"id": "ä"}))),
            (one, "test://template/ä/data", Some(json!({"id": "ä"}))),
            (one, "test://template//data", None),
            (one, "test://template/a/b/data", None),
            (one, "test://template/a/data/", None),
            (one, "test://template/a?b/data", None),
            (one, "test://template/a#b/data", None),
            (one, "test://template/%ff/data", None),
            (one, "test://template/%/data", None),
            (one, "test://template/%1/data", None),
            (one, "test://template/%+1/data", None),
            (one, "test://template/%€/data", None),
            (one, "TEST://template/1/data", None),
            (one, "test://template/{id}", None),
            (one, "", None),
            (two, "log:1-2.txt", Some(json!({"day": "1", "hour": "2"}))),
            (
                two,
                "log:1-2-3.txt",
                Some(json!({"day": "1", "hour": "2-3"})),
            ),
            (two, "log:--2.txt", Some(json!({"day": "-", "hour": "2"}))),
            (two, "log:-2.txt", None),
            (two, "log:1-.txt", None),
            ("x:{a}", "x:y", Some(json!({"a": "y"}))),
            ("{a}:b", "x:b", Some(json!({"a": "x"}))),
        ];
        for (template, uri, expected) in cases {
            let values = UriTemplate::parse(template).unwrap().values(uri);
            assert_eq!(values.map(Value::Object), expected, "{template} {uri}");
        }
    }

    #[test]
    fn templates_that_are_not_valid_are_explained() {
        let cases = [
            ("x:y", "the URI has no variable"),
            ("x:{a", "`{a` is never closed"),
            ("x:a}", "a `}` closes nothing"),
            ("x:{a}}", "a `}` closes nothing"),
            ("x:{}", "`{}` is not a variable"),
            ("x:{+a}", "`{+a}` is not a variable"),
            ("x:{a*}", "`{a*}` is not a variable"),
            ("x:{a,b}", "`{a,b}` is not a variable"),
            ("x:{a:3}", "`{a:3}` is not a variable"),
            ("x:{1a}", "`{1a}` is not a variable"),
            ("x:{a}/{a}", "`{a}` stands twice"),
            (
                "x:{a}{b}",
                "nothing separates `{b}` from the variable before it",
            ),
        ];
        for (template, expected) in cases {
            let message = UriTemplate::parse(template).map_err(|invalid| invalid.message);
            assert_eq!(message, Err(expected.to_owned()), "{template}");
        }
    }
}
