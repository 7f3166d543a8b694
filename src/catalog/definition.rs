//! The document: its top-level keys, and from there each definition to what runs.

mod about;
mod action;
mod backed;
mod cases;
mod completions;
mod defaults;
mod exec;
mod icons;
mod prompts;
mod resources;
mod scope;
mod source;
mod tool;
mod toolsets;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::allow::Allow;
use super::documents::{Document, INCLUDE};
use super::environment::Environment;
use super::outbound::Apis;
use super::sandbox::Host;
use super::settings::Settings;
use super::{Case, Prompt, Resource, ResourceTemplate, ServerInfo, Tool};
use crate::document::diagnostic::{Code, Problem, Report, Sources, Span};
use crate::document::reader;
use crate::document::suggest::nearest;
use crate::document::values::SECRETS;
use crate::document::yaml::{Advice, Duplicate, Entry, Key, Node};
use crate::redact::Redactor;
use defaults::Defaults;

/// The version of the language that is read here.
const VERSION: u64 = 1;
/// The longest name of a tool that the MCP specification allows.
const MAX_NAME: usize = 128;
/// The longest name that every known client accepts.
const MAX_PORTABLE_NAME: usize = 64;

const DOCUMENT_KEYS: &[&str] = &[
    "version",
    INCLUDE,
    SECRETS,
    "name",
    "title",
    "icons",
    "instructions",
    "defaults",
    "apis",
    "tools",
    "prompts",
    "resources",
    "resource_templates",
    "tests",
    "toolsets",
];
/// The keys of what is served; a file has at least one of them.
const SERVED_KEYS: &[&str] = &["tools", "prompts", "resources", "resource_templates"];

/// What to do about YAML that is not accepted.
pub(crate) const ADVICE: Advice = Advice {
    empty: "start with `tools:` and one tool",
    second_document: "remove the `---`, or put the tools into one `tools:` mapping",
    merge_key: "repeat the keys, or put what all tools share under `defaults`",
    too_large: "repeat less through aliases, or serve fewer tools from one file",
};

/// What a definition is read against.
pub(crate) struct Context<'a> {
    pub(crate) sources: Sources,
    pub(crate) environment: &'a Environment,
    /// The machine that it runs on.
    pub(crate) host: &'a Host,
    /// The HTTP APIs of the file.
    pub(crate) apis: &'a Apis,
    /// What no call may say.
    pub(crate) secrets: Arc<Redactor>,
}

impl Context<'_> {
    /// Where relative paths start that stand at this place: the folder of its file.
    pub(crate) fn folder(&self, place: Span) -> &Path {
        &self.sources.at(place.start).folder
    }
}

/// What a document says.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) server: ServerInfo,
    pub(crate) tools: Vec<Arc<Tool>>,
    pub(crate) prompts: Vec<Arc<Prompt>>,
    pub(crate) resources: Vec<Arc<Resource>>,
    pub(crate) templates: Vec<Arc<ResourceTemplate>>,
    pub(crate) cases: Vec<Case>,
    pub(crate) toolsets: Vec<ToolsetContents>,
}

/// What a toolset of a document holds.
pub(crate) struct ToolsetContents {
    pub(crate) name: String,
    pub(crate) allow: Allow,
    pub(crate) contents: Contents,
}

/// Reads a whole document; all its problems are reported.
pub(crate) fn read(document: &Document, context: &Context<'_>, report: &mut Report) -> Contents {
    let root = &document.root;
    for duplicate in &document.duplicates {
        report_duplicate(duplicate, report);
    }
    let mut contents = Contents::default();
    let server = &mut contents.server;
    let mut defaults = Settings::default();
    let mut apis = Apis::default();
    let mut meant = HashSet::new();
    for entry in root.mapping().unwrap_or_default() {
        match entry.key.text.as_str() {
            "version" => check_version(entry, report),
            "name" => {
                if let Some(name) = name(entry, report) {
                    server.name = name;
                }
            }
            "title" => server.title = reader::text(entry, report),
            "icons" => server.icons = icons::read(entry, report),
            "instructions" => server.instructions = reader::text(entry, report),
            "defaults" => defaults = defaults::read(entry, context, report),
            "apis" => apis = Apis::read(entry, context, report),
            SECRETS | "toolsets" | "tests" => {}
            key if SERVED_KEYS.contains(&key) => {}
            _ => unknown_key(entry, "the file", DOCUMENT_KEYS, &mut meant, report),
        }
    }
    let is_served = |key: &&str| root.get(key).is_some() || meant.contains(key);
    if !SERVED_KEYS.iter().any(is_served) && !document.includes {
        let problem = Problem::without_place(Code::Value, "the file has no `tools`")
            .help("add `tools:` with at least one tool");
        report.add(problem);
    }
    let context = &Context {
        sources: context.sources.clone(),
        environment: context.environment,
        host: context.host,
        apis: &apis,
        secrets: Arc::clone(&context.secrets),
    };
    let defaults = Defaults::new(defaults, &document.defaults, context, report);
    read_served(root, &defaults, context, &mut contents, report);
    contents
}

/// Reads what is served, once the defaults are known.
fn read_served(
    root: &Node,
    defaults: &Defaults,
    context: &Context<'_>,
    contents: &mut Contents,
    report: &mut Report,
) {
    if let Some(entry) = root.get("tools") {
        contents.tools = defaults.read_each(entry, context, report, tool::read);
    }
    if let Some(entry) = root.get("prompts") {
        contents.prompts = prompts::read(entry, defaults, context, report);
    }
    if let Some(entry) = root.get("resources") {
        let read = resources::resource;
        contents.resources = resources::read_each(entry, defaults, context, report, read);
    }
    if let Some(entry) = root.get("resource_templates") {
        let read = resources::template;
        contents.templates = resources::read_each(entry, defaults, context, report, read);
    }
    if let Some(entry) = root.get("toolsets") {
        contents.toolsets = toolsets::read(entry, root, contents, context, report);
    }
    if let Some(entry) = root.get("tests") {
        contents.cases = cases::read(entry, &tool_names(root), &contents.tools, report);
    }
}

/// The names of all tools, those included that have errors or are hidden.
fn tool_names(root: &Node) -> Vec<&str> {
    let tools = root.get("tools").and_then(|entry| entry.value.mapping());
    let entries = tools.unwrap_or_default().iter();
    entries.map(|entry| entry.key.text.as_str()).collect()
}

/// Refuses a file that follows other rules than those that are known here.
pub(crate) fn newer_version(root: &Node) -> Option<Problem> {
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
        ["prompts"] => format!("prompt `{name}`"),
        ["resources"] => format!("resource `{name}`"),
        ["toolsets"] => format!("toolset `{name}`"),
        ["resource_templates"] => format!("resource template `{name}`"),
        ["apis"] => format!("api `{name}`"),
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

/// Checks the name of a tool or prompt.
fn check_name(key: &Key, kind: &str, report: &mut Report) {
    let name = key.text.as_str();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(allowed) {
        let message = format!("`{name}` cannot be the name of a {kind}");
        let help = "use 1 to 128 of the characters A–Z a–z 0–9 _ - .";
        report.add(Problem::error(Code::Name, key.span, message).help(help));
    } else if name.len() > MAX_PORTABLE_NAME || name.contains('.') {
        let message = format!("some clients refuse the name `{name}`");
        let help = "at most 64 characters without `.` work everywhere";
        report.add(Problem::warning(Code::Name, key.span, message).help(help));
    }
}
