//! Values that become part of a path: `/srv/{name}/x`.
//!
//! A value that may hold `/` or be `..` leads out of the folder that the template names. What is a
//! path is decided by its looks: text that starts at `/`, `./`, `../` or `~/`, and a file with an
//! ending below a folder. A URL is none, and neither is a value that is a whole word or follows
//! `--opt=`.

use serde_json::Value;

use super::params::{Kind, Parameter, Parameters};
use super::template::{Segment, Slot, Word};
use crate::document::diagnostic::{Code, Problem, Report};

/// Stands for a value in the text of a word.
const HOLE: char = '\u{fffc}';
/// What a path may stand after in a word, as in `--volume=/srv/{name}:/data`.
const BEFORE_PATHS: [char; 5] = ['=', ':', ',', '@', ' '];
/// How paths start that are surely some.
const STARTS: [&str; 4] = ["/", "./", "../", "~/"];
/// Formats of texts without `/` that are never `..`.
const SAFE_FORMATS: [&str; 5] = ["date", "date-time", "ipv4", "time", "uuid"];

/// Reports each value that could lead out of the path it is part of.
pub(crate) fn check(word: &Word, parameters: &Parameters, report: &mut Report) {
    let mut before = String::new();
    for (at, segment) in word.segments.iter().enumerate() {
        let slot = match segment {
            Segment::Literal(text) => {
                before.push_str(text);
                continue;
            }
            Segment::Value(slot) | Segment::Spread(slot) => slot,
        };
        let after = match word.segments.get(at + 1) {
            Some(Segment::Literal(text)) => text.as_str(),
            _ => "",
        };
        if is_in_path(&before, after) {
            let parameter = parameters.get(&slot.name);
            if let Some(problem) = parameter.and_then(|parameter| problem(slot, parameter)) {
                report.add(problem);
            }
        }
        before.push(HOLE);
    }
}

/// Whether a value between these texts is part of a path.
fn is_in_path(before: &str, after: &str) -> bool {
    let is_url = before.contains("://") && !before.contains("file://");
    let start = before.rfind(BEFORE_PATHS).map_or(0, |at| at + 1);
    let path = before.get(start..).unwrap_or_default();
    let is_anchored = STARTS.iter().any(|prefix| path.starts_with(prefix));
    let mut ending = after.chars();
    let has_ending =
        ending.next() == Some('.') && ending.next().is_some_and(|c| c.is_ascii_alphanumeric());
    !is_url && (is_anchored || (path.ends_with('/') && has_ending))
}

fn problem(slot: &Slot, parameter: &Parameter) -> Option<Problem> {
    let name = &slot.name;
    let (message, help) = if parameter.root.is_some() {
        (
            format!("`{name}` is an absolute path already, and here it is part of another"),
            format!("write `{{{name}}}` as a whole word, and the folder as its `root`"),
        )
    } else if is_one_name(parameter) {
        return None;
    } else {
        (
            format!("`{name}` is part of a path, and accepts `/` and `..`"),
            "add a `pattern` such as \"^[A-Za-z0-9_-]+$\" or an `enum`, or use `type: path` with \
             a `root`"
                .to_owned(),
        )
    };
    Some(Problem::error(Code::PathValue, slot.span, message).help(help))
}

/// Whether each value is surely a single name, without `/`, and not `.` or `..`.
fn is_one_name(parameter: &Parameter) -> bool {
    let schema = &parameter.schema;
    let is_name = |value: &Value| match value {
        Value::String(text) => !text.contains('/') && text != "." && text != "..",
        _ => true,
    };
    let text = |keyword: &str| schema.get(keyword).and_then(Value::as_str);
    let listed = schema.get("enum").and_then(Value::as_array);
    matches!(parameter.kind, Kind::Integer | Kind::Number | Kind::Boolean)
        || listed.is_some_and(|values| values.iter().all(is_name))
        || schema.get("const").is_some_and(is_name)
        || text("pattern").is_some_and(|pattern| !may_leave(pattern))
        || text("format").is_some_and(|format| SAFE_FORMATS.contains(&format))
}

/// Whether a text that a pattern accepts may lead out of a folder, as far as can be told without
/// running through all of them. A `/` in it is harmless where a name must follow that does not
/// start with a dot.
fn may_leave(pattern: &str) -> bool {
    let dots = regex::Regex::new(pattern);
    let is_dots = |dots: &regex::Regex| [".", ".."].iter().any(|text| dots.is_match(text));
    may_leave_folder(pattern) || dots.map_or(true, |dots| is_dots(&dots))
}

/// As [`may_leave`], for texts of more than dots: all that a pattern leaves open counts.
fn may_leave_folder(pattern: &str) -> bool {
    let body = pattern
        .strip_prefix('^')
        .and_then(|body| body.strip_suffix('$'));
    let Some(mut rest) = body.filter(|body| !body.ends_with('\\')) else {
        return true;
    };
    // Whether a name starts here, which must not start with a dot.
    let mut starts_name = rest.contains('/');
    let mut groups: Vec<Group> = Vec::new();
    while let Some(character) = escaped(&mut rest) {
        let is_open = match character {
            '(' => {
                groups.push(Group {
                    at_start: starts_name,
                    at_end: false,
                });
                rest = rest.strip_prefix("?:").unwrap_or(rest);
                continue;
            }
            '|' => match groups.last_mut() {
                Some(group) => {
                    group.at_end |= starts_name;
                    starts_name = group.at_start;
                    continue;
                }
                // `^a|b$` is anchored at one end of each.
                None => true,
            },
            ')' => {
                let group = groups.pop().unwrap_or_default();
                starts_name |= group.at_end || (is_optional(rest) && group.at_start);
                continue;
            }
            '/' if !starts_name => {
                starts_name = true;
                continue;
            }
            '.' => true,
            '\\' => {
                let escape = escaped(&mut rest);
                let is_dot = starts_name && escape == Some('.');
                escape.is_none_or(is_open_escape) || is_dot
            }
            '[' => class(&mut rest).is_none_or(|class| is_open_class(class, starts_name)),
            '?' | '*' | '+' => false,
            _ => starts_name && "/{".contains(character),
        };
        if is_open || (starts_name && is_optional(rest)) {
            return true;
        }
        if !matches!(character, '?' | '*' | '+') {
            starts_name = false;
        }
    }
    starts_name
}

/// Whether a name starts where a group does, and where one of its alternatives ends.
#[derive(Default)]
struct Group {
    at_start: bool,
    at_end: bool,
}

/// Whether what comes before may be left out.
fn is_optional(rest: &str) -> bool {
    rest.starts_with(['?', '*']) || rest.starts_with("{0")
}

fn escaped(rest: &mut &str) -> Option<char> {
    let character = rest.chars().next()?;
    *rest = rest.get(character.len_utf8()..)?;
    Some(character)
}

/// Whether an escape may stand for a `/`: one that is written by its number, or a class that is not
/// one of words, digits or white space.
fn is_open_escape(character: char) -> bool {
    character == '/' || (character.is_ascii_alphanumeric() && !"dwsbtnrfv".contains(character))
}

/// Takes a class up to its `]`; `None` for one that is more than a list of characters.
fn class<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let whole = *rest;
    let mut escape = false;
    for (at, character) in whole.char_indices() {
        match character {
            _ if escape => escape = false,
            '\\' => escape = true,
            '[' | '&' | '~' => return None,
            ']' if at > 0 => {
                *rest = whole.get(at + 1..)?;
                return whole.get(..at);
            }
            _ => {}
        }
    }
    None
}

/// Whether a class admits a `/`, or a dot where a name starts.
fn is_open_class(class: &str, starts_name: bool) -> bool {
    let admits = |wanted: char| match class.strip_prefix('^') {
        Some(excluded) => !excluded.contains(wanted),
        None => lists(class, wanted),
    };
    admits('/') || (starts_name && admits('.'))
}

/// Whether a class that is a list of characters holds one.
fn lists(class: &str, wanted: char) -> bool {
    let characters: Vec<char> = class.chars().collect();
    let in_range = characters
        .windows(3)
        .any(|three| matches!(three, [from, '-', to] if (*from..=*to).contains(&wanted)));
    let mut escapes = characters.windows(2).filter_map(|two| match two {
        ['\\', character] => Some(*character),
        _ => None,
    });
    class.contains(wanted) || in_range || escapes.any(is_open_escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_keep_a_value_in_its_folder() {
        let cases = [
            ("^[a-z0-9-]{1,63}$", false),
            ("^[a-z0-9][a-z0-9.-]{0,252}$", false),
            ("^(web|worker)-[0-9]+$", false),
            (r"^\w+\.txt$", false),
            ("^[^/.][^/]*$", false),
            ("^v[0-9.]+$", false),
            (
                "^[A-Za-z0-9_][A-Za-z0-9_. -]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$",
                false,
            ),
            ("^(?:a/)?b[.]txt$", false),
            (r"^\d{4}/\d{2}$", false),
            ("^[a-z.]+(/[a-z]+)*$", true),
            ("^[a-z]+(/[a-z.]+)*$", true),
            ("^[a-z]+/[a-z]*[.]*$", true),
            ("^[a-z]*/a$", true),
            (r"^a/\.\./b$", true),
            ("^a/(b|[.][.])$", true),
            ("^/etc$", true),
            ("^a//b$", true),
            ("^(a/|b)[.][.]$", true),
            ("^(a|[.][.])/b$", true),
            ("^(ab)?[.][.]/b$", true),
            ("^(a|b)/c$", false),
            ("[a-z]+", true),
            ("^[a-z]+", true),
            ("[a-z]+$", true),
            ("^a|b$", true),
            ("^.+$", true),
            ("^[a-z/]+$", true),
            ("^[^.]+$", true),
            ("^[^/]+$", true),
            ("^[0-9.]+$", true),
            ("^[!-~]+$", true),
            (r"^[\S]+$", true),
            (r"^\S+$", true),
            (r"^a\x2fb$", true),
            (r"^a\/b$", true),
            (r"^\.\.$", true),
            ("^[[:graph:]]+$", true),
            ("^[+-9]+$", true),
            (r"^a\$", true),
        ];
        for (pattern, expected) in cases {
            assert_eq!(may_leave(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn paths_are_told_by_their_looks() {
        let cases = [
            ("/srv/", "", true),
            ("/srv/data-", ".txt", true),
            ("./", "", true),
            ("~/", "/x", true),
            ("--file=/srv/", "", true),
            ("DEF:x=/var/lib/rrd/", ".rrd:load:AVERAGE", true),
            ("--volume=/srv/", ":/data", true),
            ("host:/srv/", "", true),
            ("data/", ".json", true),
            ("file:///srv/", "", true),
            ("https://example.com/", "", false),
            ("https://example.com/a/", ".json", false),
            ("--opt=", "", false),
            ("deployment/", "", false),
            ("origin/", "", false),
            ("\u{fffc}/", "", false),
            ("", "/x", false),
            ("name-", ".txt", false),
        ];
        for (before, after, expected) in cases {
            assert_eq!(is_in_path(before, after), expected, "{before}{{x}}{after}");
        }
    }
}
