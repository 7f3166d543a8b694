//! The document: its top-level keys, and from there each definition to what runs.

mod action;
mod icons;
mod tool;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::environment::Environment;
use super::settings::{self, Settings};
use super::{ServerInfo, Tool};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::suggest::nearest;
use crate::document::yaml::{Advice, Duplicate, Entry, Node};

/// The version of the language that is read here.
const VERSION: u64 = 1;

const DOCUMENT_KEYS: &[&str] = &[
    "version",
    "name",
    "title",
    "icons",
    "instructions",
    "defaults",
    "tools",
];

/// What to do about YAML that is not accepted.
pub(crate) const ADVICE: Advice = Advice {
    empty: "start with `tools:` and one tool",
    second_document: "remove the `---`, or put the tools into one `tools:` mapping",
    merge_key: "repeat the keys, or put what all tools share under `defaults`",
    too_large: "repeat less through aliases, or serve fewer tools from one file",
};

/// What a definition is read against.
pub(crate) struct Context<'a> {
    /// The folder that holds the file.
    pub(crate) folder: &'a Path,
    pub(crate) environment: &'a Environment,
}

/// Reads a whole document; all its problems are reported.
pub(crate) fn read(
    root: &Node,
    duplicates: Vec<Duplicate>,
    context: &Context<'_>,
    report: &mut Report,
) -> (ServerInfo, Vec<Arc<Tool>>) {
    let mut server = ServerInfo::default();
    let Some(entries) = root.mapping() else {
        let message = format!(
            "the file must be a mapping with `tools`, not {}",
            root.kind()
        );
        report.add(Problem::error(Code::Value, root.span, message));
        return (server, Vec::new());
    };
    if let Some(problem) = newer_version(root) {
        // Nothing else can be judged by the rules of this version.
        report.add(problem);
        return (server, Vec::new());
    }
    for duplicate in duplicates {
        report_duplicate(&duplicate, report);
    }
    let mut defaults = Settings::default();
    let mut tools = None;
    let mut meant = HashSet::new();
    for entry in entries {
        match entry.key.text.as_str() {
            "version" => check_version(entry, report),
            "name" => server.name = name(entry, report).unwrap_or(server.name),
            "title" => server.title = reader::text(entry, report),
            "icons" => server.icons = icons::read(entry, report),
            "instructions" => server.instructions = reader::text(entry, report),
            "defaults" => defaults = read_defaults(entry, report),
            "tools" => tools = Some(entry),
            _ => unknown_key(entry, "the file", DOCUMENT_KEYS, &mut meant, report),
        }
    }
    if tools.is_none() && !meant.contains("tools") {
        let problem = Problem::without_place(Code::Value, "the file has no `tools`")
            .help("add `tools:` with at least one tool");
        report.add(problem);
    }
    let tools = tools
        .map(|entry| read_tools(entry, &defaults, context, report))
        .unwrap_or_default();
    (server, tools)
}

fn newer_version(root: &Node) -> Option<Problem> {
    let entry = root.get("version")?;
    let version: u64 = entry.value.scalar()?.text.parse().ok()?;
    (version > VERSION).then(|| {
        let message =
            format!("this file is version {version}; this mcp-serve reads version {VERSION}");
        Problem::error(Code::Version, entry.place(), message).help("install a newer mcp-serve")
    })
}

fn check_version(entry: &Entry, report: &mut Report) {
    let version = entry.value.scalar().map(|scalar| scalar.text.as_str());
    if version != Some("1") {
        reader::wrong_value(entry, "`1`", report);
    }
}

fn name(entry: &Entry, report: &mut Report) -> Option<String> {
    let name = reader::text(entry, report)?;
    if name.trim().is_empty() {
        reader::wrong_value(entry, "a name that clients can show", report);
        return None;
    }
    Some(name)
}

fn report_duplicate(duplicate: &Duplicate, report: &mut Report) {
    let path: Vec<&str> = duplicate.path.iter().map(String::as_str).collect();
    let name = &duplicate.again.text;
    let subject = match path.as_slice() {
        ["tools"] => format!("tool `{name}`"),
        ["tools", tool] => format!("key `{name}` of tool `{tool}`"),
        ["tools", tool, "params"] => format!("parameter `{name}` of tool `{tool}`"),
        _ => format!("key `{name}`"),
    };
    reader::twice(&subject, duplicate.first, duplicate.again.span, report);
}

/// Reports an unknown key, and remembers which key was meant, so that it is not called missing.
fn unknown_key(
    entry: &Entry,
    place: &str,
    known: &[&'static str],
    meant: &mut HashSet<&'static str>,
    report: &mut Report,
) {
    reader::unknown_key(entry, place, known, report);
    meant.extend(nearest(&entry.key.text, known.iter().copied()));
}

fn read_defaults(entry: &Entry, report: &mut Report) -> Settings {
    let mut settings = Settings::default();
    for entry in reader::mapping(entry, report).unwrap_or_default() {
        if !settings.read(entry, report) {
            reader::unknown_key(entry, "`defaults`", settings::KEYS, report);
        }
    }
    settings
}

fn read_tools(
    entry: &Entry,
    defaults: &Settings,
    context: &Context<'_>,
    report: &mut Report,
) -> Vec<Arc<Tool>> {
    let entries = reader::mapping(entry, report).unwrap_or_default();
    (entries.iter())
        .filter_map(|entry| tool::read(entry, defaults, context, report))
        .map(Arc::new)
        .collect()
}
