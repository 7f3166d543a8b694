//! A tool: what clients are told of it, and what runs.

use std::collections::HashSet;

use super::about::{self, About, Subject};
use super::action::Action;
use super::source::{self, Source};
use super::{Context, check_name, unknown_key};
use crate::catalog::settings::Settings;
use crate::catalog::{Task, Tool, ToolDigest};
use crate::document::diagnostic::Report;
use crate::document::reader;
use crate::document::yaml::{Entry, Key};
use crate::protocol::capabilities::Capability;

/// The keys that only a tool has.
const KEYS: &[&str] = &["content", "task"];

/// A tool's keys as they stand in the file.
#[derive(Default)]
struct Definition<'a> {
    about: About,
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
    let about = definition.about;
    let mut tool = definition.action.build(key, defaults, context, report)?;
    if tool.annotations.read_only != Some(true) {
        let grants = context.environment.grants();
        tool.allow.check_guest(key, grants, report);
        tool.allow = tool.allow.with_credential();
    }
    if definition.task == Some(Task::Required) {
        tool.needs.insert(Capability::Tasks);
    }
    Some(Tool {
        title: about.title,
        description: about.description?,
        icons: about.icons,
        task: definition.task,
        digest: tool.digest.and(ToolDigest::of(entry)),
        ..tool
    })
}

fn read_definition<'a>(key: &Key, entries: &'a [Entry], report: &mut Report) -> Definition<'a> {
    let subject = Subject { kind: "tool", key };
    let own = about::KEYS.iter().chain(KEYS).copied();
    let known: Vec<_> = own.chain(Action::keys()).collect();
    let mut definition = Definition::default();
    let mut meant = HashSet::new();
    for entry in entries {
        match entry.key.text.as_str() {
            "task" => {
                let choices = [("optional", Task::Optional), ("required", Task::Required)];
                definition.task = reader::choice(entry, &choices, report);
            }
            "content" => definition.action.sources.push((Source::Content, entry)),
            _ if definition.about.read(subject, entry, report) => {}
            _ if definition.action.read(entry, report) => {}
            _ => {
                unknown_key(entry, &subject.to_string(), &known, &mut meant, report);
                definition.action.read_meant(entry);
            }
        }
    }
    let sources = &definition.action.sources;
    let is_meant = Source::ALL.iter().any(|(key, _)| meant.contains(key));
    if !(sources.is_empty() && is_meant)
        && let Some((source, _)) = source::check_one(subject, sources, report)
    {
        source::check_keys(subject, source, &definition.action.of_source, report);
    }
    if !meant.contains("description") {
        definition.about.check(subject, report);
    }
    definition
}
