//! `prompts`: messages for a model, with gaps that a user fills.

use std::sync::Arc;

use super::action::Given;
use super::backed::{Definition, Shape};
use super::completions;
use super::defaults::Defaults;
use super::{Context, check_name};
use crate::catalog::content::Piece;
use crate::catalog::prompt::Prompt;
use crate::catalog::settings::Settings;
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::{Content, Entry, Node};
use crate::protocol::content::Role;

const SHAPE: Shape = Shape {
    kind: "prompt",
    keys: &["text", "messages", "complete"],
    sources: &["text", "messages", "exec", "http", "script"],
    has_arguments: true,
};
/// The keys of a message.
const MESSAGE_KEYS: &[&str] = &["role", "text", "content"];

/// Reads all prompts.
pub(super) fn read(
    entry: &Entry,
    defaults: &Defaults,
    context: &Context<'_>,
    report: &mut Report,
) -> Vec<Arc<Prompt>> {
    defaults.read_each(entry, context, report, read_prompt)
}

fn read_prompt(
    entry: &Entry,
    defaults: &Settings,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Prompt> {
    check_name(&entry.key, SHAPE.kind, report);
    let mut definition = Definition::read(entry, &SHAPE, report)?;
    let parameters = definition.parameters(report);
    let scope = completions::Scope {
        subject: definition.subject,
        allow: &definition.action.allow(defaults),
        parameters: &parameters,
        defaults,
        context,
    };
    let completions = completions::read(definition.get("complete"), scope, report);
    let source = definition.source(report)?;
    let (roles, pieces) = messages(source, context, report)
        .unwrap_or_default()
        .into_iter()
        .unzip();
    definition.action.given = Some(Given::Content(pieces));
    let about = std::mem::take(&mut definition.about);
    Some(Prompt {
        name: entry.key.text.clone(),
        title: about.title,
        icons: about.icons,
        tool: definition.tool(parameters, defaults, context, report)?,
        description: about.description?,
        roles,
        completions,
    })
}

/// The messages that the definition holds itself; a program brings its own.
fn messages(
    source: &Entry,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Vec<(Role, Piece)>> {
    match source.key.text.as_str() {
        "text" => {
            reader::text(source, report)?;
            let piece = Piece::read(&source.value, context.folder(source.key.span), report)?;
            Some(vec![(Role::User, piece)])
        }
        "messages" => {
            let nodes = reader::list(source, report)?;
            if nodes.is_empty() {
                reader::wrong_value(source, "at least one message", report);
            }
            let messages = nodes
                .iter()
                .filter_map(|node| message(node, context, report));
            Some(messages.collect())
        }
        _ => None,
    }
}

fn message(node: &Node, context: &Context<'_>, report: &mut Report) -> Option<(Role, Piece)> {
    let Some(entries) = node.mapping() else {
        let message = format!(
            "a message must be a mapping with `role` and `text`, not {}",
            node.kind()
        );
        report.add(Problem::error(Code::Value, node.span, message));
        return None;
    };
    for entry in entries {
        if !MESSAGE_KEYS.contains(&entry.key.text.as_str()) {
            reader::unknown_key(entry, "a message", MESSAGE_KEYS, report);
        }
    }
    let role = role(node, report);
    let piece = match (node.get("text"), node.get("content")) {
        (Some(entry), None) => {
            reader::text(entry, report)?;
            Piece::read(&entry.value, context.folder(entry.key.span), report)
        }
        (None, Some(entry)) if matches!(entry.value.content, Content::Sequence(_)) => {
            let expected = "one piece of content; write a message for each";
            reader::wrong_value(entry, expected, report);
            None
        }
        (None, Some(entry)) => Piece::read(&entry.value, context.folder(entry.key.span), report),
        (text, _) => {
            let message = match text {
                Some(_) => "a message has both `text` and `content`",
                None => "a message says nothing",
            };
            let problem = Problem::error(Code::Kind, node.span, message);
            report.add(problem.help("write either `text` or `content`"));
            None
        }
    };
    Some((role?, piece?))
}

fn role(node: &Node, report: &mut Report) -> Option<Role> {
    let Some(entry) = node.get("role") else {
        let problem = Problem::error(Code::Value, node.span, "a message has no `role`");
        report.add(problem.help("write `role: user` or `role: assistant`"));
        return None;
    };
    let choices = [("user", Role::User), ("assistant", Role::Assistant)];
    reader::choice(entry, &choices, report)
}
