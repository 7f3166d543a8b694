//! Which files an item of `include` names.

use std::path::{Path, PathBuf};

use glob::Pattern;

use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::snapshot::{Search, Snapshot};

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
    let search = Search {
        folder: folder.clone(),
        pattern,
    };
    let names = search.names();
    let seen = names.as_ref().ok().cloned();
    report.depends_on(Snapshot::found(search, seen));
    let names = match names {
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
