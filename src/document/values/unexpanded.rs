//! What a shell would expand, where there is no shell: `$HOME`, `${HOME}` and `~/`.

use std::ops::Range;

use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::yaml::Scalar;

/// The variable that `~` stands for.
const HOME: &str = "HOME";
/// Variables that people write into command lines, and whose names mean nothing to other programs.
const OF_SHELLS: &[&str] = &[HOME, "PATH", "PWD", "TMPDIR", "USER"];

/// A warning of the first such place of a value.
pub(crate) fn in_value(scalar: &Scalar, report: &Report) -> Option<Problem> {
    let text = scalar.written();
    let (range, name) = find(text)?;
    let written = text.get(range.clone())?;
    Some(warning(scalar.place(range, report), written, name))
}

/// A warning of such a place in a word of a command line, which begins with this text.
pub(crate) fn in_word(text: &str, place: impl Fn(Range<usize>) -> Span) -> Option<Problem> {
    let (range, name) = find(text).filter(|(_, name)| OF_SHELLS.contains(name))?;
    let written = text.get(range.clone())?;
    Some(warning(place(range), written, name))
}

/// The name in a value that is `${NAME}` and nothing else.
pub(crate) fn whole(text: &str) -> Option<&str> {
    let (range, name) = find(text)?;
    (range == (0..text.len()) && text.starts_with("${")).then_some(name)
}

fn warning(place: Span, written: &str, name: &str) -> Problem {
    let message = format!("nobody expands `{written}` here");
    Problem::warning(Code::ShellSyntax, place, message).help(format!(
        "write `${{env:{name}}}` for the variable of the server"
    ))
}

/// The first place that a shell would expand where a path or a value begins, and the variable that it
/// stands for.
fn find(text: &str) -> Option<(Range<usize>, &str)> {
    if text == "~" || text.starts_with("~/") {
        return Some((0..1, HOME));
    }
    text.match_indices('$').find_map(|(start, _)| {
        let before = text.get(..start)?.chars().next_back();
        let is_beginning = before.is_none_or(|before| "/:=,\"' ".contains(before));
        let (name, length) = variable(text.get(start + 1..)?).filter(|_| is_beginning)?;
        Some((start..start + 1 + length, name))
    })
}

/// The name of a variable of the environment as it stands after `$`, and how long it is there.
fn variable(after: &str) -> Option<(&str, usize)> {
    let inner = after.strip_prefix('{');
    let rest = inner.unwrap_or(after);
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let name = rest.split(|c| !is_part(c)).next()?;
    if !name.starts_with(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    let next = rest.get(name.len()..)?.chars().next();
    match inner {
        Some(_) => (next == Some('}')).then_some((name, name.len() + 2)),
        None => (!next.is_some_and(char::is_alphanumeric)).then_some((name, name.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_expand_is_found() {
        let cases = [
            ("~", Some(("~", "HOME"))),
            ("~/x", Some(("~", "HOME"))),
            ("$HOME/.kube/config", Some(("$HOME", "HOME"))),
            ("/usr/bin:$PATH", Some(("$PATH", "PATH"))),
            ("Bearer ${API_TOKEN}", Some(("${API_TOKEN}", "API_TOKEN"))),
            ("--config=$HOME/x", Some(("$HOME", "HOME"))),
            ("~user/x", None),
            ("a~/x", None),
            ("pa$WORD", None),
            (
                "$1 $x $HOMEr ${HOME:-x} ${env:HOME} $${env:HOME} $ $$ 5$",
                None,
            ),
            ("", None),
        ];
        for (text, expected) in cases {
            let found = find(text).map(|(range, name)| (&text[range], name));
            assert_eq!(found, expected, "{text}");
        }
    }
}
