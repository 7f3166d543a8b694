//! `toolsets`: parts of what is served, each at an endpoint of its own.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::{Contents, Context, SERVED_KEYS, ToolsetContents, check_name, unknown_key};
use crate::catalog::ServerInfo;
use crate::catalog::allow::Allow;
use crate::catalog::toolset::Match;
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::suggest::did_you_mean;
use crate::document::yaml::{self, Entry, Key, Node};

const KEYS: &[&str] = &["match", "allow", "title", "instructions"];
/// How something is chosen, for messages.
const FORM: &str = "write a name, a glob such as `git_*`, or `tag:x`";

/// The names of everything in the file, also of what is left out.
struct Names<'a> {
    all: Vec<&'a str>,
    tags: BTreeSet<&'a str>,
    /// Something is left out, or has errors, and nothing is known of its tags.
    is_part_missing: bool,
}

impl<'a> Names<'a> {
    fn of(root: &'a Node, contents: &'a Contents) -> Self {
        let sections = SERVED_KEYS.iter().filter_map(|key| root.get(key));
        let entries = sections.filter_map(|section| section.value.mapping());
        let all: Vec<_> = (entries.flatten())
            .map(|entry| entry.key.text.as_str())
            .collect();
        let served = contents.named();
        Self {
            is_part_missing: served.len() < all.len(),
            tags: (served.iter().flat_map(|(_, tags)| tags.iter()))
                .map(String::as_str)
                .collect(),
            all,
        }
    }

    /// Whether nothing could be chosen so, and what was meant perhaps.
    fn missed(&self, chosen: &Match) -> Option<(String, Option<String>)> {
        match chosen {
            Match::Tag(tag) if self.is_part_missing || self.tags.contains(tag.as_str()) => None,
            Match::Tag(tag) => {
                let tags = self.tags.iter().copied();
                Some((
                    format!("nothing has the tag `{tag}`"),
                    did_you_mean(tag, tags),
                ))
            }
            _ if self.all.iter().any(|name| chosen.takes_name(name)) => None,
            Match::Name(name) => {
                let names = self.all.iter().copied();
                Some((
                    format!("nothing has the name `{name}`"),
                    did_you_mean(name, names),
                ))
            }
            Match::Glob(pattern) => {
                let message = format!("no name is like `{}`", pattern.as_str());
                Some((message, None))
            }
        }
    }
}

/// Reads all toolsets of what is served.
pub(super) fn read(
    entry: &Entry,
    root: &Node,
    contents: &Contents,
    context: &Context<'_>,
    report: &mut Report,
) -> Vec<ToolsetContents> {
    let names = Names::of(root, contents);
    let entries = reader::mapping(entry, report).unwrap_or_default();
    (entries.iter())
        .filter_map(|entry| read_toolset(entry, &names, contents, context, report))
        .collect()
}

fn read_toolset(
    entry: &Entry,
    names: &Names<'_>,
    contents: &Contents,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<ToolsetContents> {
    let key = &entry.key;
    check_name(key, "toolset", report);
    let Some(entries) = entry.value.mapping() else {
        reader::wrong_value(entry, "a mapping with `match`", report);
        return None;
    };
    let place = format!("toolset `{}`", key.text);
    let mut server = contents.server.clone();
    let mut allow = Allow::default();
    let mut matches = Vec::new();
    let mut meant = HashSet::new();
    for entry in entries {
        match entry.key.text.as_str() {
            "match" => matches = read_matches(entry, names, report),
            "allow" => allow = Allow::read(entry, report).unwrap_or_default(),
            "title" => server.title = reader::text(entry, report),
            "instructions" => server.instructions = reader::text(entry, report),
            _ => unknown_key(entry, &place, KEYS, &mut meant, report),
        }
    }
    allow.check(
        &format!("the {place}"),
        context.environment.grants(),
        report,
    );
    if entry.value.get("match").is_none() && !meant.contains("match") {
        report.add(no_match(key, &place));
    }
    let is_chosen =
        |name: &str, tags: &BTreeSet<String>| matches.iter().any(|chosen| chosen.takes(name, tags));
    Some(ToolsetContents {
        name: key.text.clone(),
        allow,
        contents: contents.chosen(server, is_chosen),
    })
}

fn no_match(key: &Key, place: &str) -> Problem {
    let message = format!("{place} has no `match`");
    Problem::error(Code::Value, key.span, message)
        .help("say what is in it, such as `match: tag:ops`, or `match: [git_log, \"k8s_*\"]`")
}

/// Reads one expression or a list of them.
fn read_matches(entry: &Entry, names: &Names<'_>, report: &mut Report) -> Vec<Match> {
    let nodes = match &entry.value.content {
        yaml::Content::Sequence(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(&entry.value),
    };
    if nodes.is_empty() {
        let message = "an empty list chooses nothing";
        report.add(Problem::error(Code::Value, entry.place(), message).help(FORM));
    }
    (nodes.iter())
        .filter_map(|node| read_match(node, names, report))
        .collect()
}

fn read_match(node: &Node, names: &Names<'_>, report: &mut Report) -> Option<Match> {
    let text = node.scalar().filter(|scalar| !scalar.is_null());
    let Some(chosen) = text.and_then(|scalar| Match::parse(&scalar.text)) else {
        let message = match text {
            Some(text) => format!("`{}` is no name and no glob", text.text),
            None => format!("`match` takes texts, not {}", node.kind()),
        };
        report.add(Problem::error(Code::Value, node.span, message).help(FORM));
        return None;
    };
    if let Some((message, help)) = names.missed(&chosen) {
        let problem = Problem::error(Code::UnknownName, node.span, message);
        report.add(problem.maybe_help(help));
    }
    Some(chosen)
}

impl Contents {
    /// The names and tags of everything.
    fn named(&self) -> Vec<(&str, &BTreeSet<String>)> {
        let tools = self
            .tools
            .iter()
            .map(|tool| (tool.name.as_str(), &tool.tags));
        let prompts = (self.prompts.iter()).map(|prompt| (prompt.name.as_str(), &prompt.tool.tags));
        let resources = (self.resources.iter())
            .map(|resource| (resource.about.name.as_str(), &resource.tool.tags));
        let templates = (self.templates.iter())
            .map(|template| (template.about.name.as_str(), &template.tool.tags));
        (tools.chain(prompts).chain(resources).chain(templates)).collect()
    }

    /// The part that is chosen, for a server that says this of itself.
    fn chosen(
        &self,
        server: ServerInfo,
        is_chosen: impl Fn(&str, &BTreeSet<String>) -> bool,
    ) -> Self {
        Self {
            server,
            tools: part(&self.tools, |tool| is_chosen(&tool.name, &tool.tags)),
            prompts: part(&self.prompts, |prompt| {
                is_chosen(&prompt.name, &prompt.tool.tags)
            }),
            resources: part(&self.resources, |resource| {
                is_chosen(&resource.about.name, &resource.tool.tags)
            }),
            templates: part(&self.templates, |template| {
                is_chosen(&template.about.name, &template.tool.tags)
            }),
            ..Self::default()
        }
    }
}

fn part<T>(items: &[Arc<T>], is_chosen: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
    let chosen = items.iter().filter(|item| is_chosen(item));
    chosen.map(Arc::clone).collect()
}
