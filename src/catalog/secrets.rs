//! Where a definition has `${env:X}`, `${file:/p}` and `${secret:n}`, and who learns what they stand
//! for.

use super::documents::Document;
use super::environment::Environment;
use crate::document::diagnostic::{Code, Problem, Report, Severity};
use crate::document::reader;
use crate::document::values::{self, Audience, SECRETS, Values, literal, reference, unexpanded};
use crate::document::yaml::{Content, Entry, Node};
use crate::redact::Redactor;
use reference::Form;

/// What every client is told of the server.
const TOLD_OF_SERVER: &[&str] = &["name", "title", "icons", "instructions"];
/// Where what is served stands, each thing under its name.
const SECTIONS: &[&str] = &[
    "tools",
    "prompts",
    "resources",
    "resource_templates",
    "toolsets",
];
/// What clients are told of a thing that is served.
const TOLD: &[&str] = &[
    "annotations",
    "description",
    "icons",
    "input_schema",
    "instructions",
    "mime_type",
    "params",
    "title",
    "uri",
];
/// Puts the values into a document; what is missing is reported.
pub(crate) fn resolve(
    document: &mut Document,
    environment: &Environment,
    report: &mut Report,
) -> Redactor {
    let mut resolver = Resolver {
        values: Values::new(environment.variables(), Some(Severity::Warning))
            .with_names(document.is_partial),
        report,
    };
    if let Some(entry) = document.root.get(SECRETS) {
        for entry in reader::mapping(entry, resolver.report).unwrap_or_default() {
            let value = resolver.define(entry);
            resolver.values.define(entry.key.text.clone(), value);
        }
    }
    if let Content::Mapping(entries) = &mut document.root.content {
        let others = entries.iter_mut().filter(|entry| entry.key.text != SECRETS);
        others.for_each(|entry| resolver.section(entry));
    }
    for entry in &mut document.defaults {
        resolver.entry(entry);
    }
    resolver.values.finish(resolver.report)
}

struct Resolver<'a> {
    values: Values<'a>,
    report: &'a mut Report,
}

impl Resolver<'_> {
    /// Reads an entry of `secrets`.
    fn define(&mut self, entry: &Entry) -> Option<String> {
        let name = &entry.key.text;
        let Some(scalar) = entry.value.scalar().filter(|scalar| !scalar.is_null()) else {
            let expected = "a text, such as `${file:/run/secrets/name}`";
            reader::wrong_value(entry, expected, self.report);
            return None;
        };
        let found = reference::find(&scalar.text);
        if let Some(variable) = unexpanded::whole(&scalar.text) {
            let message = format!("`{}` names nothing", scalar.text);
            let problem = Problem::error(Code::Grammar, entry.place(), message);
            self.report
                .add(problem.help(format!("did you mean `${{env:{variable}}}`?")));
            return None;
        }
        if found.is_empty() {
            let path = format!("/run/secrets/{name}");
            literal::report(
                &format!("the secret `{name}`"),
                &path,
                entry.place(),
                self.report,
            );
        }
        let names_another = found.iter().find(|one| matches!(one.form, Form::Secret(_)));
        if let Some(other) = names_another {
            let place = scalar.place(other.range.clone(), self.report);
            let message = "a secret cannot name another";
            let problem = Problem::error(Code::Value, place, message);
            self.report
                .add(problem.help("name the variable or the file"));
            return None;
        }
        let is_judged = literal::is_user_name(name)
            || found.iter().any(|one| match one.form {
                Form::File(_) => true,
                Form::Env { name, .. } => literal::is_secret_name(name),
                _ => false,
            });
        let mut scalar = scalar.clone();
        let is_whole = self.values.put_into(&mut scalar, self.report);
        let value = is_whole.then_some(scalar.text)?;
        if !is_judged {
            values::check_length(&value, entry.place(), self.report);
        }
        self.values.keep(value.clone());
        Some(value)
    }

    /// Puts the values into what stands at the top of a file.
    fn section(&mut self, entry: &mut Entry) {
        match entry.key.text.as_str() {
            name if TOLD_OF_SERVER.contains(&name) => self.told(entry),
            name if SECTIONS.contains(&name) => self.things(entry),
            "defaults" => self.thing(entry),
            "apis" => {
                self.unexpanded(&entry.value);
                self.entry(entry);
            }
            _ => self.entry(entry),
        }
    }

    fn things(&mut self, entry: &mut Entry) {
        match &mut entry.value.content {
            Content::Mapping(things) => things.iter_mut().for_each(|thing| self.thing(thing)),
            _ => self.entry(entry),
        }
    }

    fn thing(&mut self, entry: &mut Entry) {
        match &mut entry.value.content {
            Content::Mapping(entries) => entries.iter_mut().for_each(|entry| self.key(entry)),
            _ => self.entry(entry),
        }
    }

    /// Puts the values into a key of what is served.
    fn key(&mut self, entry: &mut Entry) {
        let name = entry.key.text.as_str();
        if matches!(name, "env" | "workdir") {
            self.unexpanded(&entry.value);
        }
        match &mut entry.value.content {
            _ if TOLD.contains(&name) => self.told(entry),
            Content::Mapping(entries) if name == "output" => {
                for entry in entries {
                    match entry.key.text.as_str() {
                        "schema" => self.told(entry),
                        _ => self.entry(entry),
                    }
                }
            }
            // A shell has a meaning of its own for `${…}`, and a value in its text would be code.
            Content::Mapping(entries) if name == "script" => {
                for entry in entries {
                    match &entry.value.content {
                        Content::Scalar(scalar) if entry.key.text == "run" => {
                            literal::check_script("run", scalar, self.report);
                        }
                        _ => self.entry(entry),
                    }
                }
            }
            _ if name == "complete" => self.things(entry),
            _ => self.entry(entry),
        }
    }

    /// Reports what nobody expands in texts that people take for those of a shell.
    fn unexpanded(&mut self, node: &Node) {
        match &node.content {
            Content::Scalar(scalar) => {
                if let Some(problem) = unexpanded::in_value(scalar, self.report) {
                    self.report.add(problem);
                }
            }
            Content::Sequence(nodes) => {
                for node in nodes {
                    self.unexpanded(node);
                }
            }
            Content::Mapping(entries) => {
                for entry in entries {
                    self.unexpanded(&entry.value);
                }
            }
        }
    }

    /// Puts the values into what clients are told.
    fn told(&mut self, entry: &mut Entry) {
        self.values.audience = Audience::Clients;
        self.entry(entry);
        self.values.audience = Audience::Nobody;
    }

    fn entry(&mut self, entry: &mut Entry) {
        literal::check_header(entry, self.report);
        self.node(&entry.key.text, &mut entry.value);
    }

    /// Puts the values into what stands under a key.
    fn node(&mut self, key: &str, node: &mut Node) {
        match &mut node.content {
            Content::Scalar(scalar) => {
                literal::check(key, scalar, self.report);
                if !self.values.put_into(scalar, self.report) {
                    // What else is wrong with it may be that it has no value.
                    self.report.mute(node.span);
                }
            }
            Content::Sequence(nodes) => nodes.iter_mut().for_each(|node| self.node(key, node)),
            Content::Mapping(entries) => entries.iter_mut().for_each(|entry| self.entry(entry)),
        }
    }
}
