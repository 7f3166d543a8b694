//! The files of a definition: opened, parsed, and made one document.
//!
//! A file names others with `include`. They are merged as trees, before any key is read, so that
//! nothing later has to know how many there are: a tool of an included file is a tool. What a file
//! means for its own things alone – the folder of its relative paths, its `defaults` – is found by
//! their place. All files share one budget of bytes, values and text.

mod merge;
mod open;
mod pattern;
mod trust;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::definition::{self, ADVICE};
use crate::document::diagnostic::{Code, Problem, Report, Source, Span};
use crate::document::reader;
use crate::document::values::literal;
use crate::document::yaml::{self, Entry};
use crate::secret::Permissions;
use crate::snapshot::Snapshot;
pub(crate) use merge::Document;
use merge::Merger;
use open::{FileId, Opened, Unreadable};

/// The key that names other files.
pub(crate) const INCLUDE: &str = "include";
/// How many files may be read for one definition; each is opened and watched.
const MAX_FILES: usize = 256;
/// How many files may include one another in a row: more is an accident, and recursion is bounded.
const MAX_DEPTH: usize = 4;

/// Reads the file `path` and all that it includes; what is wrong is in the report.
pub(crate) fn load(path: &Path, permissions: Permissions) -> (Option<Document>, Report) {
    let seen = Snapshot::of(path);
    let (document, mut report) =
        match open::open(path, permissions, yaml::MAX_BYTES) {
            Ok(Opened { text, id }) => read(path, &text, Some(id), permissions),
            Err(Unreadable {
                code,
                message,
                help,
            }) => {
                let mut report = Report::new(Source::new(path, String::new()));
                let problem = Problem::without_place(code, message);
                report.add(problem.help(help.unwrap_or(
                    "name another file with --tools, or write one with `mcp-serve init`",
                )));
                (None, report)
            }
        };
    report.depends_on(seen);
    (document, report)
}

/// As [`load`], with the text of the first file.
pub(crate) fn parse(
    path: &Path,
    text: &str,
    permissions: Permissions,
) -> (Option<Document>, Report) {
    read(path, text, FileId::of_path(path), permissions)
}

fn read(
    path: &Path,
    text: &str,
    id: Option<FileId>,
    permissions: Permissions,
) -> (Option<Document>, Report) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
    let mut report = Report::new(Source::new(path, text));
    let source = Arc::clone(report.sources().root());
    let mut loader = Loader {
        bytes: source.text.len(),
        report: &mut report,
        permissions,
        used: yaml::Size::default(),
        opened: id.map(|id| (id, None)).into_iter().collect(),
        chain: id.into_iter().collect(),
        merger: Merger::default(),
    };
    let readable = loader.read(&source);
    let document = loader.merger.finish();
    (readable.and(document), report)
}

struct Loader<'a> {
    report: &'a mut Report,
    permissions: Permissions,
    /// What was used of the budgets so far.
    used: yaml::Size,
    bytes: usize,
    /// The files so far, and where each is included; the first one is not.
    opened: HashMap<FileId, Option<Span>>,
    /// The files that led to the one that is being read, itself the last.
    chain: Vec<FileId>,
    merger: Merger,
}

impl Loader<'_> {
    /// Reads a file and all that it includes; `None` when the rest cannot be judged.
    fn read(&mut self, source: &Source) -> Option<()> {
        literal::conceal(source, self.report);
        let parsed = yaml::parse(source, &mut self.used, &ADVICE, self.report);
        let Some((root, duplicates)) = parsed else {
            self.merger.lacks_a_file();
            return Some(());
        };
        if let Some(problem) = definition::newer_version(&root) {
            // Nothing else can be judged by the rules of this version.
            self.report.add(problem);
            return None;
        }
        let include = root.get(INCLUDE).cloned();
        self.merger.add(root, duplicates, self.report);
        match include {
            Some(entry) => self.include(&entry, &source.folder),
            None => Some(()),
        }
    }

    fn include(&mut self, entry: &Entry, folder: &Path) -> Option<()> {
        for node in reader::list(entry, self.report).unwrap_or_default() {
            let Some(scalar) = node.scalar().filter(|scalar| !scalar.is_null()) else {
                let message = format!("an item must be the path of a file, not {}", node.kind());
                self.report
                    .add(Problem::error(Code::Value, node.span, message));
                continue;
            };
            for path in pattern::files(&scalar.text, node.span, folder, self.report) {
                self.include_file(&path, node.span)?;
            }
        }
        Some(())
    }

    /// Reads a file that is included at a place.
    fn include_file(&mut self, path: &Path, place: Span) -> Option<()> {
        // As the user would name it.
        let path = path.strip_prefix(".").unwrap_or(path);
        self.report.depends_on(Snapshot::of(path));
        let left = yaml::MAX_BYTES.saturating_sub(self.bytes as u64);
        let Opened { text, id } = match open::open(path, self.permissions, left) {
            Ok(opened) => opened,
            Err(Unreadable {
                code,
                message,
                help,
            }) => {
                self.merger.lacks_a_file();
                let message = format!("`{}`: {message}", path.display());
                let problem = Problem::error(code, place, message);
                let where_from = "a path is looked up from the folder of the file that names it";
                self.report.add(problem.help(help.unwrap_or(where_from)));
                return Some(());
            }
        };
        if let Some(problem) = self.refusal(path, id, place) {
            self.report.add(problem);
            return Some(());
        }
        self.opened.insert(id, Some(place));
        self.bytes += text.len();
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
        let source = self.report.include(path, text);
        self.chain.push(id);
        let readable = self.read(&source);
        self.chain.pop();
        readable
    }

    /// Says why a file cannot be included here.
    fn refusal(&self, path: &Path, id: FileId, place: Span) -> Option<Problem> {
        let path = path.display();
        let unreadable = |message: String| Problem::error(Code::Unreadable, place, message);
        if self.chain.contains(&id) {
            let help = "remove it; included files are best kept in a folder of their own, such as \
                        `tools.d`";
            return Some(unreadable(format!("`{path}` would include itself")).help(help));
        }
        if let Some(Some(first)) = self.opened.get(&id) {
            let sources = self.report.sources();
            let (one, other) = (sources.place(*first), sources.place(place));
            let message = format!("`{path}` is included twice: {one} and {other}");
            let problem = Problem::error(Code::Duplicate, place, message);
            return Some(
                problem
                    .also(*first, "first included here")
                    .help("keep one of them"),
            );
        }
        if self.chain.len() >= MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} files include one another in a row");
            return Some(unreadable(message).help("include this file from the first one"));
        }
        if self.opened.len() >= MAX_FILES {
            let message = format!("more than {MAX_FILES} files belong to this definition");
            return Some(unreadable(message).help("write several tools into one file"));
        }
        None
    }
}
