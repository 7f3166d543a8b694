//! A tool: what clients are told of it, and what runs.

use std::collections::HashSet;

use super::action::Action;
use super::{Context, check_name, icons, unknown_key};
use crate::catalog::settings::Settings;
use crate::catalog::{Task, Tool};
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::reader;
use crate::document::yaml::{Entry, Key};
use crate::protocol::capabilities::Capability;
use crate::protocol::content::Icon;

/// The keys that only a tool has.
const KEYS: &[&str] = &["title", "description", "icons", "content", "task"];

/// A tool's keys as they stand in the file.
#[derive(Default)]
struct Definition<'a> {
    title: Option<String>,
    description: Option<String>,
    icons: Vec<Icon>,
    task: Option<Task>,
    action: Action<'a>,
}

/// Reads a tool; `None` when it has errors, or is hidden.
pub(super) fn read(
    entry: &Entry,
    defaults: &Settings,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Tool> {
    let key = &entry.key;
    check_name(key, "tool", report);
    let Some(entries) = entry.value.mapping() else {
        let expected = "a mapping with `description` and `exec`";
        reader::wrong_value(entry, expected, report);
        return None;
    };
    let definition = read_definition(key, entries, report);
    let mut tool = definition.action.build(key, defaults, context, report)?;
    if definition.task == Some(Task::Required) {
        tool.needs.insert(Capability::Tasks);
    }
    Some(Tool {
        title: definition.title,
        description: definition.description?,
        icons: definition.icons,
        task: definition.task,
        ..tool
    })
}

fn read_definition<'a>(key: &Key, entries: &'a [Entry], report: &mut Report) -> Definition<'a> {
    let name = &key.text;
    let place = format!("tool `{name}`");
    let known: Vec<_> = KEYS.iter().copied().chain(Action::keys()).collect();
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
            "icons" => definition.icons = icons::read(entry, report),
            "task" => {
                let choices = [("optional", Task::Optional), ("required", Task::Required)];
                definition.task = reader::choice(entry, &choices, report);
            }
            "content" => definition.action.content = Some(entry),
            _ if definition.action.read(entry, report) => {}
            _ => unknown_key(entry, &place, &known, &mut meant, report),
        }
    }
    check_kind(key, &definition.action, &meant, report);
    if !described && !meant.contains("description") {
        report.add(no_description(name, key.span));
    }
    definition
}

/// Checks that a tool does one thing.
fn check_kind(key: &Key, action: &Action<'_>, meant: &HashSet<&str>, report: &mut Report) {
    let name = &key.text;
    match (action.exec, action.content) {
        (Some(_), Some(content)) => {
            let message = format!("tool `{name}` has both `exec` and `content`");
            let problem = Problem::error(Code::Kind, content.key.span, message);
            report.add(problem.help("keep one of them"));
        }
        (None, None) if !meant.contains("exec") && !meant.contains("content") => {
            let message = format!("tool `{name}` has nothing to run");
            let help = "add `exec` with the command line, or `content` with a fixed answer";
            report.add(Problem::error(Code::Kind, key.span, message).help(help));
        }
        _ => {}
    }
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
