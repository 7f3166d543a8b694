//! `${env:X}`, `${file:/p}` and `${secret:n}`: values that a definition names and does not hold.
//!
//! They are put in after the YAML is parsed and before any key is read, so that no value can be
//! YAML, a placeholder, a quote or two words. A value is not looked at again, so nothing recurs.
//! What was put in is known here, and nowhere shown.

mod literal;
mod reference;
mod unexpanded;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::definition::Context;
use super::documents::Document;
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::reader;
use crate::document::suggest::did_you_mean;
use crate::document::yaml::{Content, Entry, Node, Part, Scalar};
use crate::redact::{MIN_BYTES, Redactor};
use crate::secret::{self, MAX_SECRET_BYTES, SecretFileError};
use crate::snapshot::Snapshot;
pub(crate) use literal::{conceal, hide};
use reference::Form;
pub(crate) use unexpanded::in_word;

/// The key that gives values names.
pub(crate) const SECRETS: &str = "secrets";
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
/// How much text may be put into a definition, in bytes: a long value may stand at many places.
const MAX_TEXT: usize = 8 * 1024 * 1024;
/// How much text all secrets may have, in bytes: each call and each line of the log is searched for
/// them.
const MAX_SECRETS: usize = 1024 * 1024;

/// Puts the values into a document; what is missing is reported.
pub(crate) fn resolve(
    document: &mut Document,
    context: &Context<'_>,
    report: &mut Report,
) -> Redactor {
    let mut resolver = Resolver {
        context,
        report,
        named: HashMap::new(),
        files: HashMap::new(),
        secrets: BTreeSet::new(),
        missing: Vec::new(),
        is_partial: document.is_partial,
        is_told: false,
        text: 0,
    };
    if let Some(entry) = document.root.get(SECRETS) {
        for entry in reader::mapping(entry, resolver.report).unwrap_or_default() {
            resolver.define(entry);
        }
    }
    if let Content::Mapping(entries) = &mut document.root.content {
        let others = entries.iter_mut().filter(|entry| entry.key.text != SECRETS);
        others.for_each(|entry| resolver.section(entry));
    }
    for entry in &mut document.defaults {
        resolver.entry(entry);
    }
    resolver.report_missing();
    resolver.redactor()
}

struct Resolver<'a> {
    context: &'a Context<'a>,
    report: &'a mut Report,
    /// The entries of `secrets`; `None` for one that has no value.
    named: HashMap<String, Option<String>>,
    /// The files that were read; `None` for one without a value.
    files: HashMap<PathBuf, Result<String, String>>,
    secrets: BTreeSet<String>,
    /// What has no value, and where it stands.
    missing: Vec<(Span, String)>,
    /// Some file could not be read, and may have defined what is missing.
    is_partial: bool,
    /// What is read now is told to clients.
    is_told: bool,
    /// How much was put in so far.
    text: usize,
}

/// What stands for a `${…}`.
enum Value {
    Secret(String),
    Plain(String),
    Missing,
}

impl Resolver<'_> {
    /// Reads an entry of `secrets`.
    fn define(&mut self, entry: &Entry) {
        let name = entry.key.text.clone();
        let Some(scalar) = entry.value.scalar().filter(|scalar| !scalar.is_null()) else {
            let expected = "a text, such as `${file:/run/secrets/name}`";
            reader::wrong_value(entry, expected, self.report);
            self.named.insert(name, None);
            return;
        };
        let found = reference::find(&scalar.text);
        if let Some(variable) = unexpanded::whole(&scalar.text) {
            let message = format!("`{}` names nothing", scalar.text);
            let problem = Problem::error(Code::Grammar, entry.place(), message);
            self.report
                .add(problem.help(format!("did you mean `${{env:{variable}}}`?")));
            self.named.insert(name, None);
            return;
        }
        if found.is_empty() {
            literal::report(&name, entry.place(), self.report);
        }
        let names_another = found.iter().find(|one| matches!(one.form, Form::Secret(_)));
        if let Some(other) = names_another {
            let place = scalar.place(other.range.clone(), self.report);
            let message = "a secret cannot name another";
            let problem = Problem::error(Code::Value, place, message);
            self.report
                .add(problem.help("name the variable or the file"));
            self.named.insert(name, None);
            return;
        }
        let is_judged = literal::is_user_name(&name)
            || found.iter().any(|one| match one.form {
                Form::File(_) => true,
                Form::Env { name, .. } => literal::is_secret_name(name),
                _ => false,
            });
        let mut scalar = scalar.clone();
        let is_whole = self.scalar(&mut scalar);
        let value = is_whole.then_some(scalar.text);
        if let Some(value) = value.as_ref().filter(|_| !is_judged) {
            self.check_length(value, entry.place());
        }
        self.secrets.extend(value.clone());
        self.named.insert(name, value);
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
        self.is_told = true;
        self.entry(entry);
        self.is_told = false;
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
                if !self.scalar(scalar) {
                    // What else is wrong with it may be that it has no value.
                    self.report.mute(node.span);
                }
            }
            Content::Sequence(nodes) => nodes.iter_mut().for_each(|node| self.node(key, node)),
            Content::Mapping(entries) => entries.iter_mut().for_each(|entry| self.entry(entry)),
        }
    }

    /// Puts the values into a text; returns whether there are all.
    fn scalar(&mut self, scalar: &mut Scalar) -> bool {
        let mut parts = Vec::new();
        let mut is_whole = true;
        for found in reference::find(&scalar.text) {
            let range = found.range;
            let place = scalar.place(range.clone(), self.report);
            let written = scalar.text.get(range.clone()).unwrap_or_default();
            let value = match self.value(&found.form, written, place) {
                Value::Secret(value) => {
                    self.secrets.insert(value.clone());
                    value
                }
                Value::Plain(value) => value,
                Value::Missing => {
                    is_whole = false;
                    written.to_owned()
                }
            };
            is_whole &= self.has_room(value.len(), place);
            parts.push(Part { range, value });
        }
        if !parts.is_empty() && is_whole {
            scalar.replace(parts);
        }
        is_whole
    }

    fn value(&mut self, form: &Form<'_>, written: &str, place: Span) -> Value {
        match form {
            Form::File(_) | Form::Secret(_) if self.is_told => {
                let message = format!("clients are told what `{written}` stands for here");
                let help = "a secret has its place in `env`, in `apis` and in headers; a text that \
                            may be seen can come from a variable, as `${env:NAME}`";
                self.report
                    .add(Problem::error(Code::Value, place, message).help(help));
                Value::Missing
            }
            Form::Literal(text) => Value::Plain((*text).to_owned()),
            Form::Env { name, default } => self.variable(name, *default, place),
            Form::File(path) => self.file(path, place),
            Form::Secret(name) => self.named(name, place),
            Form::Malformed => {
                let message = format!("`{written}` names nothing");
                let help = "write `${env:NAME}`, `${env:NAME:-default}`, `${file:/path}` or \
                            `${secret:name}`; `$${` stands for the characters themselves";
                self.report
                    .add(Problem::error(Code::Grammar, place, message).help(help));
                Value::Missing
            }
        }
    }

    fn variable(&mut self, name: &str, default: Option<&str>, place: Span) -> Value {
        let value = self.context.environment.get(name);
        let value = value.filter(|value| default.is_none() || !value.is_empty());
        match (value.map(|value| value.to_str()), default) {
            // Its author shows it to everybody, and so it is none.
            (Some(Some(value)), _) if self.is_told => Value::Plain(value.to_owned()),
            (Some(Some(value)), _) => {
                let value = value.to_owned();
                if literal::is_secret_name(name) {
                    self.check_length(&value, place);
                }
                Value::Secret(value)
            }
            (Some(None), _) => self.lacks(place, format!("`${{env:{name}}}` is not UTF-8")),
            (None, Some(default)) => Value::Plain(default.to_owned()),
            (None, None) => self.lacks(place, format!("`${{env:{name}}}` is not set")),
        }
    }

    fn file(&mut self, path: &str, place: Span) -> Value {
        let file = self.context.folder(place).join(path);
        if !self.files.contains_key(&file) {
            let read = self.read(&file, path, place);
            self.files.insert(file.clone(), read);
        }
        match self.files.get(&file) {
            Some(Ok(value)) => Value::Secret(value.clone()),
            Some(Err(reason)) => {
                let missing = format!("`${{file:{path}}}` {reason}");
                self.lacks(place, missing)
            }
            None => Value::Missing,
        }
    }

    fn named(&mut self, name: &str, place: Span) -> Value {
        match self.named.get(name) {
            Some(Some(value)) => Value::Secret(value.clone()),
            // That was said where it is defined.
            Some(None) => Value::Missing,
            None if self.is_partial => Value::Missing,
            None => {
                let message = format!("`${{secret:{name}}}` is not under `{SECRETS}`");
                let known = self.named.keys().map(String::as_str);
                let help = did_you_mean(name, known)
                    .unwrap_or_else(|| format!("write `{SECRETS}: {{{name}: …}}` at the top"));
                let problem = Problem::error(Code::MissingSecret, place, message);
                self.report.add(problem.help(help));
                Value::Missing
            }
        }
    }

    /// Warns of a secret that is seen wherever it stands.
    fn check_length(&mut self, value: &str, place: Span) {
        if value.trim().len() >= MIN_BYTES {
            return;
        }
        let message = "this secret is too short to be kept out of what tools say";
        let help = format!(
            "use one of {MIN_BYTES} bytes or more: a shorter text is in many others, which would all \
             have stars"
        );
        self.report
            .add(Problem::warning(Code::ShortSecret, place, message).help(help));
    }

    fn lacks(&mut self, place: Span, what: String) -> Value {
        self.missing.push((place, what));
        Value::Missing
    }

    /// Reads a secret file; the error completes a sentence.
    fn read(&mut self, file: &Path, path: &str, place: Span) -> Result<String, String> {
        self.report.depends_on(Snapshot::of(file));
        let (secret, doubt) = secret::read_doubtful(file, MAX_SECRET_BYTES)
            .map_err(|error| format!("cannot be used: {}", reason(&error)))?;
        if let Some(doubt) = doubt {
            let message = format!("`{path}` is not safe: {doubt}");
            self.report
                .add(Problem::warning(Code::OpenSecret, place, message));
        }
        let text = secret.expose();
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        if text.contains('\0') {
            return Err("holds NUL".to_owned());
        }
        let name = file.file_stem().and_then(OsStr::to_str);
        if !name.is_some_and(literal::is_user_name) {
            self.check_length(text, place);
        }
        Ok(text.to_owned())
    }

    /// Counts what is put in.
    fn has_room(&mut self, length: usize, place: Span) -> bool {
        let before = self.text;
        self.text += length;
        let is_too_much = self.text > MAX_TEXT;
        if is_too_much && before <= MAX_TEXT {
            let most = MAX_TEXT / 1024 / 1024;
            let message = format!("the values of all `${{…}}` have more than {most} MiB of text");
            let problem = Problem::error(Code::Unreadable, place, message);
            self.report
                .add(problem.help("use the long ones at fewer places"));
        }
        !is_too_much
    }

    /// Says all that is missing at once, and points at each place.
    fn report_missing(&mut self) {
        self.missing.sort();
        self.missing.dedup();
        let mut whats: Vec<&str> = Vec::new();
        for (_, what) in &self.missing {
            if !whats.contains(&what.as_str()) {
                whats.push(what);
            }
        }
        let message = match whats.as_slice() {
            [one] => (*one).to_owned(),
            all => format!("{} values are missing: {}", all.len(), all.join("; ")),
        };
        let mut places = self.missing.iter().map(|(place, _)| *place);
        let Some(first) = places.next() else {
            return;
        };
        let problem = Problem::error(Code::MissingSecret, first, message);
        let problem = places.fold(problem, |problem, place| problem.also(place, "missing too"));
        let help = "set the variables of mcp-serve and make the files readable; \
                    `${env:NAME:-default}` has a value in any case";
        self.report.add(problem.help(help));
    }

    fn redactor(self) -> Redactor {
        let size: usize = self.secrets.iter().map(String::len).sum();
        let secrets = self.secrets.iter().map(String::as_str);
        if size <= MAX_SECRETS
            && let Ok(redactor) = Redactor::new(secrets)
        {
            return redactor;
        }
        let most = MAX_SECRETS / 1024;
        let message = format!("all secrets together have more than {most} KiB of text");
        let problem = Problem::without_place(Code::Unreadable, message);
        self.report
            .add(problem.help("let the programs read long files themselves"));
        Redactor::default()
    }
}

fn reason(error: &SecretFileError) -> String {
    match error {
        SecretFileError::Unreadable(error) => error.to_string(),
        error => error.to_string(),
    }
}
