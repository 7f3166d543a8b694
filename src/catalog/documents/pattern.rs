//! Which files an item of `include` names.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::snapshot::Snapshot;

/// Files that begin with a dot are those of editors and of mounts, and none that a `*` means.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// The files that an item means, in the order of their names; a relative one starts at `folder`.
///
/// A pattern is for names of one folder. So what it reads is there to be seen in one listing, and
/// one folder is all there is to watch.
pub(super) fn files(item: &str, place: Span, folder: &Path, report: &mut Report) -> Vec<PathBuf> {
    let (above, name) = item.rsplit_once('/').unwrap_or(("", item));
    if above.contains(is_special) {
        let message = "only the last part of a path may be a pattern";
        let problem = Problem::error(Code::Value, place, message);
        report.add(problem.help("write one item for each folder, such as `git/*.yaml`"));
        return Vec::new();
    }
    if !name.contains(is_special) {
        return vec![folder.join(item)];
    }
    let pattern = match Pattern::new(name) {
        Ok(pattern) => pattern,
        Err(error) => {
            let message = format!("`{name}` is not a pattern: {}", error.msg);
            let problem = Problem::error(Code::Grammar, place, message);
            report.add(problem.help("use `*`, `?` and `[…]`, as in `tools.d/*.yaml`"));
            return Vec::new();
        }
    };
    // What stood before the last slash, even if that was nothing: the root.
    let above = item.strip_suffix(name).unwrap_or(item);
    let folder = if above.is_empty() {
        folder.to_owned()
    } else {
        folder.join(above)
    };
    report.depends_on(Snapshot::of(&folder));
    let names = match names(&folder, &pattern) {
        Ok(names) => names,
        Err(error) => {
            let message = format!("`{}` cannot be read: {error}", folder.display());
            report.add(Problem::error(Code::Unreadable, place, message));
            return Vec::new();
        }
    };
    if names.is_empty() {
        let message = format!("`{item}` matches no file");
        report.add(Problem::warning(Code::Unreadable, place, message));
    }
    names.into_iter().map(|name| folder.join(name)).collect()
}

fn is_special(character: char) -> bool {
    matches!(character, '*' | '?' | '[')
}

/// The names in a folder that a pattern matches, in order; none if there is no such folder.
fn names(folder: &Path, pattern: &Pattern) -> std::io::Result<Vec<OsString>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        if pattern.matches_with(&name.to_string_lossy(), OPTIONS) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
