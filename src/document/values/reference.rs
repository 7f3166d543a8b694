//! The forms of `${…}` in a text.

use std::ops::Range;

/// A `${…}` in a text, with its place there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    pub(crate) range: Range<usize>,
    pub(crate) form: Form<'a>,
}

/// What a `${…}` stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Form<'a> {
    /// `${env:X}` and `${env:X:-d}`.
    Env {
        name: &'a str,
        default: Option<&'a str>,
    },
    /// `${file:/p}`.
    File(&'a str),
    /// `${secret:n}`.
    Secret(&'a str),
    /// `$${env:X}`: the text after the first `$`.
    Literal(&'a str),
    /// One of the three words, and then nothing that it could take.
    Malformed,
}

/// Finds each `${env:…}`, `${file:…}` and `${secret:…}` of a text. Whatever else `$` means to whom,
/// it means still.
pub(crate) fn find(text: &str) -> Vec<Found<'_>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find("${")) {
        let start = from + at;
        from = start + 2;
        let Some((form, length)) = text.get(from..).and_then(parse) else {
            continue;
        };
        let end = from + length;
        let is_escaped = text
            .get(..start)
            .is_some_and(|before| before.ends_with('$'));
        found.push(if is_escaped {
            Found {
                range: start - 1..end,
                form: Form::Literal(text.get(start..end).unwrap_or_default()),
            }
        } else {
            let range = start..end;
            Found { range, form }
        });
        from = end;
    }
    found
}

/// Reads what stands after `${`, and says how long it is with its `}`.
fn parse(rest: &str) -> Option<(Form<'_>, usize)> {
    let (word, after) = rest.split_once(':')?;
    if !matches!(word, "env" | "file" | "secret") {
        return None;
    }
    let Some(end) = after.find('}') else {
        return Some((Form::Malformed, rest.len()));
    };
    let inner = after.get(..end)?;
    let form = match word {
        "env" => env(inner),
        "file" => Some(Form::File(inner)),
        _ => Some(Form::Secret(inner)),
    };
    let form = form.filter(|_| !inner.is_empty() && !inner.contains('\n'));
    Some((form.unwrap_or(Form::Malformed), word.len() + 1 + end + 1))
}

fn env(inner: &str) -> Option<Form<'_>> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_name = name.bytes().next().is_some_and(first)
        && (name.bytes()).all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some(Form::Env { name, default })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_forms_count() {
        let env = |name, default| Form::Env { name, default };
        let cases = [
            ("none", vec![]),
            ("${env:X}", vec![(0..8, env("X", None))]),
            ("a ${env:X:-b c} d", vec![(2..15, env("X", Some("b c")))]),
            ("${env:X:-}", vec![(0..10, env("X", Some("")))]),
            ("${file:/run/x}", vec![(0..14, Form::File("/run/x"))]),
            (
                "${secret:a}${secret:b}",
                vec![(0..11, Form::Secret("a")), (11..22, Form::Secret("b"))],
            ),
            ("$${env:X}", vec![(0..9, Form::Literal("${env:X}"))]),
            ("${env:}", vec![(0..7, Form::Malformed)]),
            ("${env:1X}", vec![(0..9, Form::Malformed)]),
            ("${env:X:1}", vec![(0..10, Form::Malformed)]),
            ("${file:}", vec![(0..8, Form::Malformed)]),
            ("${file:/x", vec![(0..9, Form::Malformed)]),
            ("${X} $X ${X:-y} ${vault:x} ^a{2}$ $", vec![]),
            ("${ ${env:X}", vec![(3..11, env("X", None))]),
            ("é${env:É}", vec![(2..11, Form::Malformed)]),
        ];
        for (text, expected) in cases {
            let found = find(text);
            let found: Vec<_> = found.into_iter().map(|one| (one.range, one.form)).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
