//! Values that become part of a path: `/srv/{name}/x`.
//!
//! A value that may hold `/` or be `..` leads out of the folder that the template names. What is a
//! path is decided by its looks: text that starts at `/`, `./`, `../` or `~/`, and a file with an
//! ending below a folder; also anything below a folder of the call's own files. Where only the ending of
//! a name further on tells, it may be the path of a request as well, and is a warning. A URL is none, and neither is a value that is a
//! whole word or follows `--opt=`. The disk is not asked: what a tool writes there would change the definition.

mod pattern;

use std::path::Path;

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
            let of_files = |folder: &str| {
                let mut names = declared.files.names();
                names.any(|name| Path::new(name).starts_with(folder))
            };
            if let Some(parameter) = declared.parameters.get(&slot.name)
                && let Some(looks) = looks(&before, &after, of_files)
                && let Some(problem) = problem(slot, parameter, looks)
            {
                report.add(problem);
            }
        }
        before.push_str(&text(segment));
    }
}

/// How sure it is that a value is part of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looks {
    Path,
    /// Only by the ending of a name further on.
    Ending,
}

/// What a value between these texts looks like; `is_folder` says which relative folders are known.
fn looks(before: &str, after: &str, is_folder: impl Fn(&str) -> bool) -> Option<Looks> {
    let is_url = before.contains("://") && !before.contains("file://");
    let start = before.rfind(AROUND_PATHS).map_or(0, |at| at + 1);
    let path = before.get(start..).unwrap_or_default();
    let is_anchored = STARTS.iter().any(|prefix| path.starts_with(prefix));
    let fixed = path.split(HOLE).next().unwrap_or_default();
    let folder = fixed.rsplit_once('/').map(|(folder, _)| folder);
    let rest = after.split(AROUND_PATHS).next().unwrap_or_default();
    if is_url {
        None
    } else if is_anchored || folder.is_some_and(is_folder) {
        Some(Looks::Path)
    } else if folder.is_some() && has_ending(rest) {
        let is_own_name = !rest.contains('/');
        Some(if is_own_name {
            Looks::Path
        } else {
            Looks::Ending
        })
    } else {
        None
    }
}

/// Whether the rest of a path ends as the name of a file does.
fn has_ending(rest: &str) -> bool {
    let name = rest.rsplit('/').next().unwrap_or_default();
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    ending.is_some_and(|ending| ending.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

fn problem(slot: &Slot, parameter: &Parameter, looks: Looks) -> Option<Problem> {
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
    let problem = match looks {
        Looks::Path => Problem::error(Code::PathValue, slot.span, message),
        Looks::Ending => Problem::warning(Code::PathValue, slot.span, message),
    };
    Some(problem.help(help))
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
            ("file:///srv/", ""),
            ("data/", ".json"),
            ("data/x-", ".tar.gz"),
        ];
        let by_an_ending = [
            ("data/", "/a.txt"),
            ("data/", "/\u{fffc}.txt"),
            ("repos/\u{fffc}/", "/contents/README.md"),
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
            (&always[..], [Some(Looks::Path); 2]),
            (&by_an_ending[..], [Some(Looks::Ending), Some(Looks::Path)]),
            (&with_a_folder[..], [None, Some(Looks::Path)]),
            (&never[..], [None; 2]),
        ];
        for (words, expected) in cases {
            for (before, after) in words {
                let found = [false, true].map(|is_known| looks(before, after, |_| is_known));
                assert_eq!(found, expected, "{before}{{x}}{after}");
            }
        }
    }
}
