//! Values that become part of a path: `/srv/{name}/x`.
//!
//! A value that may hold `/` or be `..` leads out of the folder that the template names. What is a
//! path is decided by its looks: text that starts at `/`, `./`, `../` or `~/`, and a file with an
//! ending below a folder; also anything below a folder that is there. A URL is none, and neither is a
//! value that is a whole word or follows `--opt=`.

mod pattern;

use serde_json::Value;

use super::params::{Kind, Parameter};
use super::template::{Declared, Segment, Slot, Word};
use crate::document::diagnostic::{Code, Problem, Report};

/// Stands for a value in the text of a word.
const HOLE: char = '\u{fffc}';
/// What a path may stand between in a word, as in `--volume=/srv/{name}:/data`.
const AROUND_PATHS: [char; 5] = ['=', ':', ',', '@', ' '];
/// How paths start that are surely some.
const STARTS: [&str; 4] = ["/", "./", "../", "~/"];
/// Formats of texts without `/` that are never `..`.
const SAFE_FORMATS: [&str; 5] = ["date", "date-time", "ipv4", "time", "uuid"];

/// Reports each value that could lead out of the path it is part of.
pub(crate) fn check(word: &Word, declared: Declared<'_>, report: &mut Report) {
    let text = |segment: &Segment| match segment {
        Segment::Literal(text) => text.clone(),
        Segment::Value(_) | Segment::Spread(_) => HOLE.to_string(),
    };
    let mut before = String::new();
    for (at, segment) in word.segments.iter().enumerate() {
        if let Segment::Value(slot) | Segment::Spread(slot) = segment {
            let after = word.segments.get(at + 1..).unwrap_or_default();
            let after: String = after.iter().map(text).collect();
            let parameter = (declared.parameters.get(&slot.name))
                .filter(|_| is_in_path(&before, &after, |folder| declared.has_folder(folder)));
            if let Some(problem) = parameter.and_then(|parameter| problem(slot, parameter)) {
                report.add(problem);
            }
        }
        before.push_str(&text(segment));
    }
}

/// Whether a value between these texts is part of a path; `is_there` says so of a relative folder.
fn is_in_path(before: &str, after: &str, is_there: impl Fn(&str) -> bool) -> bool {
    let is_url = before.contains("://") && !before.contains("file://");
    let start = before.rfind(AROUND_PATHS).map_or(0, |at| at + 1);
    let path = before.get(start..).unwrap_or_default();
    let is_anchored = STARTS.iter().any(|prefix| path.starts_with(prefix));
    let fixed = path.split(HOLE).next().unwrap_or_default();
    let folder = fixed.rsplit_once('/').map(|(folder, _)| folder);
    let rest = after.split(AROUND_PATHS).next().unwrap_or_default();
    !is_url && (is_anchored || folder.is_some_and(|folder| has_ending(rest) || is_there(folder)))
}

/// Whether the rest of a path ends as the name of a file does.
fn has_ending(rest: &str) -> bool {
    let name = rest.rsplit('/').next().unwrap_or_default();
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    ending.is_some_and(|ending| ending.starts_with(|c: char| c.is_ascii_alphanumeric()))
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
        || text("pattern").is_some_and(|text| !pattern::may_leave(text))
        || text("format").is_some_and(|format| SAFE_FORMATS.contains(&format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_by_their_looks() {
        let always = [
            ("/srv/", ""),
            ("/srv/data-", ".txt"),
            ("./", ""),
            ("~/", "/x"),
            ("--file=/srv/", ""),
            ("DEF:x=/var/lib/rrd/", ".rrd:load:AVERAGE"),
            ("--volume=/srv/", ":/data"),
            ("host:/srv/", ""),
            ("data/", ".json"),
            ("data/", "/a.txt"),
            ("data/", "/\u{fffc}.txt"),
            ("data/x-", ".tar.gz"),
            ("file:///srv/", ""),
        ];
        let with_a_folder = [
            ("deployment/", ""),
            ("origin/", ""),
            ("--out=data/", ""),
            ("data/", "/notes"),
            ("data/x-", ""),
        ];
        let never = [
            ("https://example.com/", ""),
            ("https://example.com/a/", ".json"),
            ("--opt=", ""),
            ("\u{fffc}/", ""),
            ("", "/x"),
            ("", "/x.txt"),
            ("name-", ".txt"),
            ("data/x:", ".txt"),
        ];
        let cases = [
            (&always[..], [true, true]),
            (&with_a_folder[..], [false, true]),
            (&never[..], [false, false]),
        ];
        for (words, expected) in cases {
            for (before, after) in words {
                let found = [false, true].map(|is_there| is_in_path(before, after, |_| is_there));
                assert_eq!(found, expected, "{before}{{x}}{after}");
            }
        }
    }
}
