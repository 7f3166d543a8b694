//! `files`: what a call writes before its program starts.

use crate::catalog::definition::scope::Scope;
use crate::catalog::exec::{FileText, Files, is_file_name};
use crate::catalog::template::{self, Segment, Slot, segments};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::Entry;

/// The most files of one definition; each is written at every call.
const MAX_FILES: usize = 64;

/// Reads the files of a definition.
pub(super) fn read(scope: Scope<'_>, report: &mut Report) -> Files {
    let entries = scope.files.and_then(|entry| reader::mapping(entry, report));
    let entries = entries.unwrap_or_default();
    if let Some(entry) = entries.get(MAX_FILES) {
        let message = format!("`files` has more than {MAX_FILES} files");
        let problem = Problem::error(Code::Value, entry.key.span, message);
        report.add(problem.help("write fewer, or let the program make them"));
    }
    let mut files = Files::default();
    for entry in entries.iter().take(MAX_FILES) {
        match file(entry, scope, report) {
            Some(file) => files.add(file),
            None => files.add_broken(&entry.key.text),
        }
    }
    check_folders(entries, report);
    files
}

fn file(entry: &Entry, scope: Scope<'_>, report: &mut Report) -> Option<FileText> {
    let name = &entry.key.text;
    if !is_file_name(name) {
        let message = format!("`{name}` cannot be the name of a file of a call");
        let help = "write a relative path such as `spec.yaml` or `conf/spec.yaml`, without `..`, \
                    `{` and `}`";
        report.add(Problem::error(Code::Value, entry.key.span, message).help(help));
        return None;
    }
    let Some(scalar) = entry.value.scalar().filter(|scalar| !scalar.is_null()) else {
        reader::wrong_value(entry, "a text", report);
        return None;
    };
    let text = segments(scalar, report);
    for segment in &text.segments {
        match segment {
            Segment::Literal(_) => {}
            Segment::Value(slot) => {
                template::check_declared(slot, scope.name, scope.parameters, report);
            }
            Segment::Spread(slot) => report.add(spread(slot)),
        }
    }
    Some(FileText {
        name: name.clone(),
        text,
    })
}

fn spread(slot: &Slot) -> Problem {
    let name = &slot.name;
    let message = format!("`{{{name}...}}` makes words, and a file has none");
    Problem::error(Code::ArrayInWord, slot.span, message)
        .help(format!("write `{{{name}}}` for the array as JSON"))
}

/// Reports a file that stands where another needs a folder.
fn check_folders(entries: &[Entry], report: &mut Report) {
    for entry in entries.iter().filter(|entry| is_file_name(&entry.key.text)) {
        let folder = format!("{}/", entry.key.text);
        if let Some(inner) = (entries.iter()).find(|other| other.key.text.starts_with(&folder)) {
            let (file, inner) = (&entry.key.text, &inner.key.text);
            let message = format!("`{file}` is a file, and the folder of `{inner}`");
            let problem = Problem::error(Code::Duplicate, entry.key.span, message);
            report.add(problem.help("give one of them another name"));
        }
    }
}
