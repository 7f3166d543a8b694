//! What prompts, resources and templates have in common: they are described, and something fixed
//! or a program stands behind them.

use std::collections::HashSet;
use std::sync::Arc;

use super::about::{self, About, Subject};
use super::action::Action;
use super::source;
use super::{Context, unknown_key};
use crate::catalog::output::Output;
use crate::catalog::params::{Kind, Parameters};
use crate::catalog::settings::{ACCESS_KEYS, Settings};
use crate::catalog::{Tool, ToolDigest};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::{Content, Entry};

/// The keys of an action that only mean something for what models call.
pub(super) const NOT_OF_TOOLS: &[&str] = &[
    "effect",
    "idempotent",
    "input_schema",
    "open_world",
    "output",
];

/// The keys that say what arguments there are.
pub(super) const OF_ARGUMENTS: &[&str] = &["exclusive", "params", "requires"];

/// What things of a kind can be made of.
pub(super) struct Shape {
    /// The name of the kind.
    pub(super) kind: &'static str,
    /// The keys that only this kind has.
    pub(super) keys: &'static [&'static str],
    /// What it is made of: each has exactly one of these.
    pub(super) sources: &'static [&'static str],
    /// Whether it has arguments.
    pub(super) has_arguments: bool,
}

impl Shape {
    /// Whether a key of an action means something here.
    fn acts(&self, key: &str) -> bool {
        !NOT_OF_TOOLS.contains(&key) && (self.has_arguments || !OF_ARGUMENTS.contains(&key))
    }

    fn keys(&self) -> impl Iterator<Item = &'static str> {
        let of_action = Action::keys().filter(|key| self.acts(key) && !self.keys.contains(key));
        about::KEYS
            .iter()
            .chain(self.keys)
            .copied()
            .chain(of_action)
    }
}

/// A definition as it stands in the file.
pub(super) struct Definition<'a> {
    pub(super) subject: Subject<'a>,
    pub(super) about: About,
    pub(super) action: Action<'a>,
    shape: &'static Shape,
    /// The entries of keys that only this kind has.
    own: Vec<&'a Entry>,
    meant: HashSet<&'static str>,
    digest: ToolDigest,
}

impl<'a> Definition<'a> {
    /// Reads the keys; `None` for what is no mapping.
    pub(super) fn read(
        entry: &'a Entry,
        shape: &'static Shape,
        report: &mut Report,
    ) -> Option<Self> {
        let Some(entries) = entry.value.mapping() else {
            let sources = reader::alternatives(shape.sources);
            let expected = format!("a mapping with `description` and {sources}");
            reader::wrong_value(entry, &expected, report);
            return None;
        };
        let mut definition = Self {
            subject: Subject {
                kind: shape.kind,
                key: &entry.key,
            },
            about: About::default(),
            action: Action::default(),
            shape,
            own: Vec::new(),
            meant: HashSet::new(),
            digest: ToolDigest::of(entry),
        };
        for entry in entries {
            definition.read_key(entry, report);
        }
        if !definition.meant.contains("description") {
            definition.about.check(definition.subject, report);
        }
        Some(definition)
    }

    fn read_key(&mut self, entry: &'a Entry, report: &mut Report) {
        let name = entry.key.text.as_str();
        // The messages of a prompt are a list; that a program talks is said with the same key.
        let is_setting = name == "messages" && !matches!(entry.value.content, Content::Sequence(_));
        if self.shape.keys.contains(&name) && !is_setting {
            self.own.push(entry);
        } else if self.about.read(self.subject, entry, report) {
            // It is in `about` now.
        } else if self.shape.acts(name) && self.action.read(entry, report) {
            // It is in `action` now.
        } else {
            let known: Vec<_> = self.shape.keys().collect();
            let place = self.subject.to_string();
            unknown_key(entry, &place, &known, &mut self.meant, report);
            self.action.read_meant(entry);
        }
    }

    /// The entry of a key that only this kind has.
    pub(super) fn get(&self, key: &str) -> Option<&'a Entry> {
        self.own.iter().copied().find(|entry| entry.key.text == key)
    }

    /// As [`Definition::get`], for a key that must be there.
    pub(super) fn require(
        &self,
        key: &'static str,
        help: &str,
        report: &mut Report,
    ) -> Option<&'a Entry> {
        let entry = self.get(key);
        if entry.is_none() && !self.meant.contains(key) {
            let message = format!("{} has no `{key}`", self.subject);
            let span = self.subject.key.span;
            report.add(Problem::error(Code::Value, span, message).help(help));
        }
        entry
    }

    /// The entry of the one thing that this is made of.
    pub(super) fn source(&self, report: &mut Report) -> Option<&'a Entry> {
        let sources = self.shape.sources;
        let mut present = (self.own.iter().copied())
            .filter(|entry| sources.contains(&entry.key.text.as_str()))
            .chain(self.action.sources.iter().map(|(_, entry)| *entry));
        let Some(source) = present.next() else {
            if !sources.iter().any(|source| self.meant.contains(source)) {
                let message = format!("{} has nothing to show", self.subject);
                let help = format!("add {}", reader::alternatives(sources));
                let span = self.subject.key.span;
                report.add(Problem::error(Code::Kind, span, message).help(help));
            }
            return None;
        };
        if let Some(other) = present.next() {
            report.add(source::both(self.subject, source, other));
            return None;
        }
        match self.action.sources.first() {
            None => {
                let of_source = self.action.of_source.iter();
                // Who may use a thing can be said of everything.
                for entry in
                    of_source.filter(|entry| !ACCESS_KEYS.contains(&entry.key.text.as_str()))
                {
                    report.add(source::of_no_use(self.subject, entry));
                }
            }
            Some((source, _)) => {
                source::check_keys(self.subject, *source, &self.action.of_source, report);
            }
        }
        Some(source)
    }

    /// Reads the parameters; each must be a text.
    pub(super) fn parameters(&self, report: &mut Report) -> Parameters {
        let name = &self.subject.key.text;
        let parameters = self.action.parameters(name, report);
        for parameter in parameters
            .iter()
            .filter(|parameter| parameter.kind != Kind::String && parameter.binding.is_none())
        {
            let message = format!("`{}` is not a text, as MCP has it here", parameter.name);
            let help = "write `string`, or `{type: string}` with `enum` or `pattern`";
            report.add(Problem::error(Code::Schema, parameter.span, message).help(help));
        }
        parameters
    }

    /// Makes what stands behind this.
    pub(super) fn tool(
        self,
        parameters: Parameters,
        defaults: &Settings,
        context: &Context<'_>,
        report: &mut Report,
    ) -> Option<Arc<Tool>> {
        let (key, identity) = (self.subject.key, self.subject.to_string());
        let digest = self.digest;
        let tool = self
            .action
            .build_with(parameters, key, defaults, context, report)?;
        Some(Arc::new(Tool {
            digest: tool.digest.and(digest),
            ..raw(tool, identity)
        }))
    }
}

/// A tool whose output is for the server to make something of, whatever `defaults` say.
pub(super) fn raw(tool: Tool, identity: String) -> Tool {
    Tool {
        identity,
        output: Output::raw(),
        ..tool
    }
}
