//! `${env:X}`, `${file:/p}` and `${secret:n}`: values that a file names and does not hold.
//!
//! They are put in after the YAML is parsed and before any key is read, so that no value can be
//! YAML, a placeholder, a quote or two words. A value is not looked at again, so nothing recurs.
//! What was put in is known here, and nowhere shown.

pub(crate) mod literal;
pub(crate) mod reference;
pub(crate) mod unexpanded;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::diagnostic::{Code, Problem, Report, Severity, Span};
use super::reader;
use super::suggest::did_you_mean;
use super::yaml::{Entry, Part, Scalar};
use crate::environment::Variables;
use crate::redact::{MIN_BYTES, Redactor};
use crate::secret::{MAX_SECRET_BYTES, SecretFileError, read_doubtful};
use crate::snapshot::Snapshot;
use reference::Form;

/// The key that gives values names.
pub(crate) const SECRETS: &str = "secrets";
/// How much text may be put into a file, in bytes: a long value may stand at many places.
const MAX_TEXT: usize = 8 * 1024 * 1024;
/// How much text all secrets may have, in bytes: each call and each line of the log is searched for
/// them.
const MAX_SECRETS: usize = 1024 * 1024;

/// Who learns what is put into a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Nobody: it is a secret.
    Nobody,
    /// Those who run the server.
    Operators,
    /// Clients too, so that it cannot come from where secrets are.
    Clients,
}

/// What the values of one file or of several stand for, as far as they were looked up.
pub(crate) struct Values<'a> {
    variables: &'a Variables,
    /// The values with names; `None` in a file that has no section for them.
    named: Option<Named>,
    /// Who learns what is put in now.
    pub(crate) audience: Audience,
    /// How grave it is that others can read or change a file; `None` if that does not matter.
    open_files: Option<Severity>,
    /// The files that were read; the error of one without a value.
    files: HashMap<PathBuf, Result<String, String>>,
    secrets: BTreeSet<String>,
    /// What has no value, and where it stands.
    missing: Vec<(Span, String)>,
    /// How much was put in so far.
    text: usize,
}

/// The values that have names.
struct Named {
    /// `None` for one that has no value.
    values: HashMap<String, Option<String>>,
    /// Some file could not be read, and may have defined more.
    is_partial: bool,
}

/// What stands for a `${…}`.
enum Value {
    Secret(String),
    Plain(String),
    Missing,
}

impl<'a> Values<'a> {
    /// Nothing was looked up so far.
    pub(crate) fn new(variables: &'a Variables, open_files: Option<Severity>) -> Self {
        Self {
            variables,
            named: None,
            audience: Audience::Nobody,
            open_files,
            files: HashMap::new(),
            secrets: BTreeSet::new(),
            missing: Vec::new(),
            text: 0,
        }
    }

    /// The same in a file that has a section for values with names. If it is partial, there may be
    /// more of them than are defined.
    pub(crate) fn with_names(self, is_partial: bool) -> Self {
        let named = Named {
            values: HashMap::new(),
            is_partial,
        };
        Self {
            named: Some(named),
            ..self
        }
    }

    /// Gives a value a name.
    pub(crate) fn define(&mut self, name: String, value: Option<String>) {
        if let Some(named) = &mut self.named {
            named.values.insert(name, value);
        }
    }

    /// Keeps a text out of all that is said.
    pub(crate) fn keep(&mut self, secret: String) {
        self.secrets.insert(secret);
    }

    /// Puts the values into a text; returns whether there are all.
    pub(crate) fn put_into(&mut self, scalar: &mut Scalar, report: &mut Report) -> bool {
        let mut parts = Vec::new();
        let mut is_whole = true;
        for found in reference::find(&scalar.text) {
            let range = found.range;
            let place = scalar.place(range.clone(), report);
            let written = scalar.text.get(range.clone()).unwrap_or_default();
            let value = match self.value(&found.form, written, place, report) {
                Value::Secret(value) => {
                    self.keep(value.clone());
                    value
                }
                Value::Plain(value) => value,
                Value::Missing => {
                    is_whole = false;
                    written.to_owned()
                }
            };
            is_whole &= self.has_room(value.len(), place, report);
            parts.push(Part { range, value });
        }
        if !parts.is_empty() && is_whole {
            scalar.replace(parts);
        }
        is_whole
    }

    fn value(&mut self, form: &Form<'_>, written: &str, place: Span, report: &mut Report) -> Value {
        match form {
            Form::File(_) | Form::Secret(_) if self.audience == Audience::Clients => {
                let message = format!("clients are told what `{written}` stands for here");
                let help = "a secret has its place in `env`, in `apis` and in headers; a text that \
                            may be seen can come from a variable, as `${env:NAME}`";
                report.add(Problem::error(Code::Value, place, message).help(help));
                Value::Missing
            }
            Form::Literal(text) => Value::Plain((*text).to_owned()),
            Form::Env { name, default } => self.variable(name, *default, place, report),
            Form::File(path) => self.file(path, place, report),
            Form::Secret(name) => self.named(name, place, report),
            Form::Malformed => {
                let message = format!("`{written}` names nothing");
                let help = match self.named {
                    Some(_) => {
                        "write `${env:NAME}`, `${env:NAME:-default}`, `${file:/path}` or \
                         `${secret:name}`; `$${` stands for the characters themselves"
                    }
                    None => {
                        "write `${env:NAME}`, `${env:NAME:-default}` or `${file:/path}`; `$${` \
                         stands for the characters themselves"
                    }
                };
                report.add(Problem::error(Code::Grammar, place, message).help(help));
                Value::Missing
            }
        }
    }

    /// What comes from outside, by who learns it.
    fn found(&self, value: String) -> Value {
        match self.audience {
            Audience::Nobody => Value::Secret(value),
            // Their author shows it to them, and so it is no secret.
            Audience::Operators | Audience::Clients => Value::Plain(value),
        }
    }

    fn variable(
        &mut self,
        name: &str,
        default: Option<&str>,
        place: Span,
        report: &mut Report,
    ) -> Value {
        let value = self.variables.get(name);
        let value = value.filter(|value| default.is_none() || !value.is_empty());
        match (value.map(OsStr::to_str), default) {
            (Some(Some(value)), _) => {
                if self.audience == Audience::Nobody && literal::is_secret_name(name) {
                    check_length(value, place, report);
                }
                self.found(value.to_owned())
            }
            (Some(None), _) => self.lacks(place, format!("`${{env:{name}}}` is not UTF-8")),
            (None, Some(default)) => Value::Plain(default.to_owned()),
            (None, None) => self.lacks(place, format!("`${{env:{name}}}` is not set")),
        }
    }

    fn file(&mut self, path: &str, place: Span, report: &mut Report) -> Value {
        let file = report.sources().at(place.start).folder.join(path);
        if !self.files.contains_key(&file) {
            let read = self.read(&file, path, place, report);
            self.files.insert(file.clone(), read);
        }
        match self.files.get(&file) {
            Some(Ok(value)) => self.found(value.clone()),
            Some(Err(reason)) => {
                let missing = format!("`${{file:{path}}}` {reason}");
                self.lacks(place, missing)
            }
            None => Value::Missing,
        }
    }

    fn named(&self, name: &str, place: Span, report: &mut Report) -> Value {
        let Some(named) = &self.named else {
            let message = format!("`${{secret:{name}}}` means nothing in this file");
            let help = "name the variable or the file: `${env:NAME}` or `${file:/path}`";
            report.add(Problem::error(Code::MissingSecret, place, message).help(help));
            return Value::Missing;
        };
        match named.values.get(name) {
            Some(Some(value)) => Value::Secret(value.clone()),
            // That was said where it is defined.
            Some(None) => Value::Missing,
            None if named.is_partial => Value::Missing,
            None => {
                let message = format!("`${{secret:{name}}}` is not under `{SECRETS}`");
                let known = named.values.keys().map(String::as_str);
                let help = did_you_mean(name, known)
                    .unwrap_or_else(|| format!("write `{SECRETS}: {{{name}: …}}` at the top"));
                let problem = Problem::error(Code::MissingSecret, place, message);
                report.add(problem.help(help));
                Value::Missing
            }
        }
    }

    fn lacks(&mut self, place: Span, what: String) -> Value {
        self.missing.push((place, what));
        Value::Missing
    }

    /// Reads a secret file; the error completes a sentence.
    fn read(
        &self,
        file: &Path,
        path: &str,
        place: Span,
        report: &mut Report,
    ) -> Result<String, String> {
        report.depends_on(Snapshot::of(file));
        let (secret, doubt) = read_doubtful(file, MAX_SECRET_BYTES)
            .map_err(|error| format!("cannot be used: {}", reason(&error)))?;
        if let Some((doubt, severity)) = doubt.zip(self.open_files) {
            let message = format!("`{path}` is not safe: {doubt}");
            report.add(Problem::new(severity, Code::OpenSecret, place, message));
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
        if self.audience == Audience::Nobody && !name.is_some_and(literal::is_user_name) {
            check_length(text, place, report);
        }
        Ok(text.to_owned())
    }

    /// Counts what is put in.
    fn has_room(&mut self, length: usize, place: Span, report: &mut Report) -> bool {
        let before = self.text;
        self.text += length;
        let is_too_much = self.text > MAX_TEXT;
        if is_too_much && before <= MAX_TEXT {
            let most = MAX_TEXT / 1024 / 1024;
            let message = format!("the values of all `${{…}}` have more than {most} MiB of text");
            let problem = Problem::error(Code::Unreadable, place, message);
            report.add(problem.help("use the long ones at fewer places"));
        }
        !is_too_much
    }

    /// Says all that is missing at once, and points at each place. Returns what keeps the secrets out
    /// of what others see.
    pub(crate) fn finish(mut self, report: &mut Report) -> Redactor {
        self.report_missing(report);
        self.redactor(report)
    }

    fn report_missing(&mut self, report: &mut Report) {
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
        report.add(problem.help(help));
    }

    fn redactor(&self, report: &mut Report) -> Redactor {
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
        report.add(problem.help("let the programs read long files themselves"));
        Redactor::default()
    }
}

/// A text that no message shows.
pub(crate) fn secret(entry: &Entry, report: &mut Report) -> Option<String> {
    match entry.value.scalar() {
        Some(scalar) => literal::hide(scalar, report),
        None => report.hide(entry.value.span),
    }
    let text = reader::text(entry, report)?;
    if text.trim().is_empty() {
        reader::wrong_value(entry, "a secret", report);
        return None;
    }
    Some(text)
}

/// Warns of a secret that is seen wherever it stands.
pub(crate) fn check_length(value: &str, place: Span, report: &mut Report) {
    if value.trim().len() >= MIN_BYTES {
        return;
    }
    let message = "this secret is too short to be kept out of what tools say";
    let help = format!(
        "use one of {MIN_BYTES} bytes or more: a shorter text is in many others, which would all \
         have stars"
    );
    report.add(Problem::warning(Code::ShortSecret, place, message).help(help));
}

fn reason(error: &SecretFileError) -> String {
    match error {
        SecretFileError::Unreadable(error) => error.to_string(),
        error => error.to_string(),
    }
}
