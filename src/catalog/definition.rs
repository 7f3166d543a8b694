//! The document: its top-level keys, and each tool from its definition to what runs.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ServerInfo;
use super::environment::Environment;
use super::params::Parameters;
use super::program;
use super::schema::InputSchema;
use super::settings::{self, Settings};
use super::template::{self, Template};
use super::tool::{Annotations, Cancel, DEFAULT_GRACE, DEFAULT_MAX_OUTPUT, Effect, Parts, Tool};
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::reader;
use crate::document::suggest::nearest;
use crate::document::yaml::{Advice, Content, Duplicate, Entry, Key, Node};

/// The version of the language that is read here.
const VERSION: u64 = 1;
/// The longest name of a tool that the MCP specification allows.
const MAX_NAME: usize = 128;
/// The longest name that every known client accepts.
const MAX_PORTABLE_NAME: usize = 64;
/// What every child gets of the server's environment, if it is set.
const BASE_ENVIRONMENT: &[&str] = &["PATH", "HOME", "LANG", "TZ", "TMPDIR"];

const DOCUMENT_KEYS: &[&str] = &[
    "version",
    "name",
    "title",
    "instructions",
    "defaults",
    "tools",
];
const TOOL_KEYS: &[&str] = &["title", "description", "exec", "params", "unsafe_code"];

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
        .filter_map(|entry| read_tool(entry, defaults, context, report))
        .map(Arc::new)
        .collect()
}

/// A tool's keys as they stand in the file.
#[derive(Default)]
struct Definition<'a> {
    title: Option<String>,
    description: Option<String>,
    exec: Option<&'a Entry>,
    params: Option<&'a Entry>,
    unsafe_code: bool,
    settings: Settings,
}

fn read_tool(
    entry: &Entry,
    defaults: &Settings,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Tool> {
    let key = &entry.key;
    check_name(key, report);
    let Some(entries) = entry.value.mapping() else {
        let expected = "a mapping with `description` and `exec`";
        reader::wrong_value(entry, expected, report);
        return None;
    };
    let definition = read_definition(key, entries, report);
    build(key, definition, defaults, context, report)
}

fn check_name(key: &Key, report: &mut Report) {
    let name = key.text.as_str();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(allowed) {
        let message = format!("`{name}` cannot be the name of a tool");
        let help = "use 1 to 128 of the characters A–Z a–z 0–9 _ - .";
        report.add(Problem::error(Code::Name, key.span, message).help(help));
    } else if name.len() > MAX_PORTABLE_NAME || name.contains('.') {
        let message = format!("some clients refuse the name `{name}`");
        let help = "at most 64 characters without `.` work everywhere";
        report.add(Problem::warning(Code::Name, key.span, message).help(help));
    }
}

fn read_definition<'a>(key: &Key, entries: &'a [Entry], report: &mut Report) -> Definition<'a> {
    let name = &key.text;
    let place = format!("tool `{name}`");
    let known: Vec<_> = TOOL_KEYS.iter().chain(settings::KEYS).copied().collect();
    let mut definition = Definition::default();
    let mut meant = HashSet::new();
    let mut described = false;
    for entry in entries {
        match entry.key.text.as_str() {
            "title" => definition.title = reader::text(entry, report),
            "description" => {
                described = true;
                definition.description = description(name, entry, report);
            }
            "exec" => definition.exec = Some(entry),
            "params" => definition.params = Some(entry),
            "unsafe_code" => {
                definition.unsafe_code = reader::boolean(entry, report).unwrap_or(false);
            }
            _ if definition.settings.read(entry, report) => {}
            _ => unknown_key(entry, &place, &known, &mut meant, report),
        }
    }
    if definition.exec.is_none() && !meant.contains("exec") {
        let message = format!("tool `{name}` has nothing to run");
        let help = "add `exec` with the command line";
        report.add(Problem::error(Code::Kind, key.span, message).help(help));
    }
    if !described && !meant.contains("description") {
        report.add(no_description(name, key.span));
    }
    definition
}

fn description(name: &str, entry: &Entry, report: &mut Report) -> Option<String> {
    let is_empty = (entry.value.scalar())
        .is_some_and(|scalar| scalar.is_null() || scalar.text.trim().is_empty());
    if is_empty {
        report.add(no_description(name, entry.key.span));
        return None;
    }
    reader::text(entry, report)
}

fn no_description(name: &str, span: Span) -> Problem {
    let message = format!("tool `{name}` has no description");
    let help = "say what it does and when to use it: it is all the model sees";
    Problem::error(Code::Description, span, message).help(help)
}

/// Turns a definition into a tool; `None` when it has errors, or is hidden.
fn build(
    key: &Key,
    definition: Definition<'_>,
    defaults: &Settings,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Tool> {
    let name = &key.text;
    let settings = definition.settings.or(defaults);
    let parameters = (definition.params)
        .map(|entry| Parameters::read(entry, name, report))
        .unwrap_or_default();
    let template = (definition.exec).and_then(|entry| read_exec(entry, report));
    if let Some(template) = &template {
        template::check(template, name, &parameters, definition.unsafe_code, report);
        check_variables(&settings, name, &parameters, report);
        check_used(template, &settings, name, &parameters, report);
    }
    let input = InputSchema::compile(&parameters, key.span, report);
    let program = template
        .as_ref()
        .and_then(|template| find_program(template, name, &settings, context, report));
    let parts = Parts {
        program: program?,
        template: template?,
        parameters,
        input: input?,
        workdir: settings
            .workdir
            .as_ref()
            .map(|path| absolute(path, context)),
        inherited: inherited(&settings, context.environment),
        variables: settings.env,
    };
    let effect = settings.effect.unwrap_or(Effect::Destructive);
    Some(Tool {
        name: name.clone(),
        title: definition.title,
        description: definition.description?,
        annotations: Annotations::new(effect, settings.idempotent, settings.open_world),
        timeout: settings.timeout,
        max_output: settings.max_output.unwrap_or(DEFAULT_MAX_OUTPUT),
        output: settings.output.unwrap_or_default(),
        messages: settings.messages.unwrap_or(false),
        exit: settings.exit,
        cancel: Cancel {
            signal: settings.signal.unwrap_or_default(),
            grace: settings.grace.unwrap_or(DEFAULT_GRACE),
        },
        parts,
    })
}

fn read_exec(entry: &Entry, report: &mut Report) -> Option<Template> {
    let template = match &entry.value.content {
        Content::Scalar(scalar) if !scalar.is_null() => template::split(scalar, report),
        Content::Sequence(nodes) => template::words_of_list(nodes, report),
        _ => {
            reader::wrong_value(entry, "a command line or a list of words", report);
            return None;
        }
    };
    if template.items.is_empty() {
        let message = "`exec` is empty";
        let problem = Problem::error(Code::Template, entry.place(), message);
        report.add(problem.help("write the program and its arguments"));
        return None;
    }
    Some(template)
}

fn check_variables(settings: &Settings, tool: &str, parameters: &Parameters, report: &mut Report) {
    for slot in settings
        .env
        .iter()
        .flat_map(|variable| variable.value.slots())
    {
        let parameter = template::check_declared(slot, tool, parameters, report);
        if parameter.is_some_and(|parameter| parameter.kind.is_array()) {
            let message = format!("`{}` is an array, and a variable is one text", slot.name);
            let help = "pass it as words of `exec`";
            report.add(Problem::error(Code::ArrayInWord, slot.span, message).help(help));
        }
    }
}

fn check_used(
    template: &Template,
    settings: &Settings,
    tool: &str,
    parameters: &Parameters,
    report: &mut Report,
) {
    let variables = settings
        .env
        .iter()
        .flat_map(|variable| variable.value.slots());
    let used: HashSet<&str> = (template.slots().chain(variables))
        .map(|slot| slot.name.as_str())
        .collect();
    for parameter in parameters.iter() {
        let name = parameter.name.as_str();
        if !used.contains(name) {
            let message = format!("parameter `{name}` of `{tool}` is used nowhere");
            let help = format!(
                "write `{{{name}}}` where its value belongs, or remove it: the model's value \
                 would be ignored"
            );
            report.add(Problem::error(Code::Unused, parameter.span, message).help(help));
        }
    }
}

/// Finds the program; a hidden tool's absence is a warning.
fn find_program(
    template: &Template,
    tool: &str,
    settings: &Settings,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<PathBuf> {
    let word = template.words().next()?;
    let missing = match program::resolve(word.literal()?, context.folder, context.environment) {
        Ok(program) => return Some(program),
        Err(missing) => missing,
    };
    let code = Code::ProgramMissing;
    let problem = if settings.hide_if_missing {
        let message = format!("tool `{tool}` is left out: {}", missing.message);
        Problem::warning(code, word.span, message)
    } else {
        Problem::error(code, word.span, missing.message).help(missing.help)
    };
    report.add(problem);
    None
}

fn absolute(path: &str, context: &Context<'_>) -> PathBuf {
    let joined = context.folder.join(path);
    std::path::absolute(&joined).unwrap_or(joined)
}

fn inherited(settings: &Settings, environment: &Environment) -> Vec<(OsString, OsString)> {
    let mut names: Vec<&str> = BASE_ENVIRONMENT.to_vec();
    names.extend(settings.inherit_env.iter().map(String::as_str));
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(*name));
    names
        .into_iter()
        .filter_map(|name| Some((name.into(), environment.get(name)?.to_owned())))
        .collect()
}
