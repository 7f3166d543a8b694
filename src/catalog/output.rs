//! What the standard output of a tool is.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::schema::{OutputError, OutputSchema};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::suggest::did_you_mean;
use crate::document::yaml::{Entry, Scalar};
use crate::protocol::content::Uri;
use crate::protocol::media::MediaType;

/// The words for the forms, besides media types.
const FORMS: &[(&str, Form)] = &[
    ("text", Form::Text),
    ("json", Form::Json),
    ("lines", Form::Lines),
    ("auto", Form::Auto),
];
/// What the form of an output must be.
const EXPECTED: &str = "`text`, `json`, `lines`, `auto` or a media type such as `image/png`";
const KEYS: &[&str] = &["type", "schema", "select", "stderr", "on_overflow", "uri"];
const STDERR: &[(&str, Stderr)] = &[
    ("on_error", Stderr::OnError),
    ("always", Stderr::Always),
    ("never", Stderr::Never),
    ("merge", Stderr::Merge),
];
const OVERFLOW: &[(&str, Overflow)] = &[
    ("truncate", Overflow::Truncate),
    ("resource", Overflow::Resource),
    ("error", Overflow::Error),
];

/// What the standard output of a tool is, and what becomes of it.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// What it is.
    pub form: Form,
    /// Where the output stands as an embedded resource; `None` for one that needs no place.
    pub uri: Option<Uri>,
    /// What becomes of standard error.
    pub stderr: Stderr,
    /// What happens when the program prints more than it may.
    pub on_overflow: Overflow,
    schema: Option<Arc<OutputSchema>>,
    select: Option<Arc<str>>,
}

/// What becomes of the standard error of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stderr {
    /// Its end is told when the program fails, the default.
    #[default]
    OnError,
    /// Its end is also told when the program succeeds, as a text of its own.
    Always,
    /// Nobody is told.
    Never,
    /// It is part of the output, in the order in which both were written.
    Merge,
}

/// What happens when a program prints more than it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It is stopped. Text that was printed so far is a result, everything else an error.
    #[default]
    Stop,
    /// It goes on. The beginning and the end of the text are the result.
    Truncate,
    /// It goes on. All that it prints can be read as a resource, and the result is a link to it.
    Resource,
    /// It is stopped, and that is an error.
    Error,
}

/// What an output is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Text for the model, the default.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// Lines of text: structured content with a list, and text.
    Lines,
    /// A JSON object if it is one, else text.
    Auto,
    /// Bytes of some kind.
    Media(MediaType),
    /// What the media type of a response says. Only requests have this, and no definition writes it.
    Response,
    /// Bytes, for whatever the program stands behind. No tool of a list has this.
    Raw,
}

impl Form {
    fn parse(text: &str) -> Option<Self> {
        let named = FORMS.iter().find(|(word, _)| *word == text);
        let named = named.map(|(_, form)| form.clone());
        named.or_else(|| MediaType::parse(text).map(Self::Media))
    }

    /// True if the output becomes structured content.
    fn is_structured(&self) -> bool {
        matches!(self, Self::Json | Self::Lines | Self::Auto)
    }
}

impl Output {
    /// Bytes, for whatever the program stands behind.
    pub(crate) fn raw() -> Self {
        Self {
            form: Form::Raw,
            ..Self::default()
        }
    }

    /// Whatever a response says that it is.
    pub(crate) fn of_response() -> Self {
        Self {
            form: Form::Response,
            ..Self::default()
        }
    }

    /// Reads the `output` of a tool: its form, or a mapping.
    pub(crate) fn read(entry: &Entry, report: &mut Report) -> Option<Self> {
        let Some(entries) = entry.value.mapping() else {
            let form = form(entry, report)?;
            return Some(Self {
                form,
                ..Self::default()
            });
        };
        let errors = report.errors();
        let mut stated = None;
        let mut output = Self::default();
        for entry in entries {
            match entry.key.text.as_str() {
                "type" => stated = form(entry, report),
                "schema" => output.schema = OutputSchema::read(entry, report).map(Arc::new),
                "select" => output.select = select(entry, report),
                "stderr" => {
                    output.stderr = reader::choice(entry, STDERR, report).unwrap_or_default();
                }
                "on_overflow" => {
                    let choice = reader::choice(entry, OVERFLOW, report);
                    output.on_overflow = choice.unwrap_or_default();
                }
                "uri" => output.uri = uri(entry, report),
                _ => reader::unknown_key(entry, "`output`", KEYS, report),
            }
        }
        let is_structured = output.schema.is_some() || output.select.is_some();
        output.form = stated.unwrap_or(if is_structured {
            Form::Json
        } else {
            Form::Text
        });
        if report.errors() == errors {
            output.check_fit(entry, report);
        }
        (report.errors() == errors).then_some(output)
    }

    /// Reports keys that the form of the output makes impossible.
    fn check_fit(&self, entry: &Entry, report: &mut Report) {
        if self.schema.is_some() && !self.form.is_structured() {
            let message = "only `json`, `lines` and `auto` can match a schema";
            report.add(clash(entry, message));
        }
        if self.select.is_some() && !self.form.is_structured() {
            let message = "only `json`, `lines` and `auto` have something to select from";
            let help = "write `type: json`, or remove `select`";
            report.add(clash_at(entry, "select", message, help));
        }
        let is_text = matches!(self.form, Form::Text | Form::Auto) && self.schema.is_none();
        if self.on_overflow == Overflow::Truncate && !is_text {
            let message = match (&self.form, &self.schema) {
                (Form::Media(_), _) => "cut bytes would be nothing that can be used",
                (Form::Json, None) => "JSON that was cut is no JSON",
                (_, Some(_)) => "cut output would not match its schema",
                (_, None) => "cut output would not be what its form says",
            };
            let help = "write `on_overflow: resource` for a link to all of it, or `error`";
            report.add(clash_at(entry, "on_overflow", message, help));
        }
        if self.stderr == Stderr::Merge && matches!(self.form, Form::Json | Form::Media(_)) {
            let message = "an output that has standard error in it would be neither JSON nor of a \
                           media type";
            let help = "write `stderr: always`, or `type: text`";
            report.add(clash_at(entry, "stderr", message, help));
        }
    }

    /// The jq filter that structured content goes through, if there is one.
    pub fn select(&self) -> Option<&str> {
        self.select.as_deref()
    }

    /// The JSON Schema of structured content, as `tools/list` shows it.
    pub fn schema(&self) -> Option<&Map<String, Value>> {
        self.schema.as_deref().map(OutputSchema::as_map)
    }

    /// Checks structured content against the schema, if there is one.
    ///
    /// # Errors
    ///
    /// Says where it breaks the schema.
    pub fn check(&self, structured: &Value) -> Result<(), OutputError> {
        self.schema
            .as_deref()
            .map_or(Ok(()), |schema| schema.check(structured))
    }
}

/// An output that its own schema rules out.
pub(crate) fn clash(entry: &Entry, message: &str) -> Problem {
    clash_at(
        entry,
        "schema",
        message,
        "write `type: json`, or remove the `schema`",
    )
}

/// An output whose form rules out one of its keys.
fn clash_at(entry: &Entry, key: &str, message: &str, help: &str) -> Problem {
    let place = entry.value.get(key).unwrap_or(entry).key.span;
    Problem::error(Code::OutputClash, place, message).help(help)
}

/// Reads a filter; every mistake in it is reported at its place.
fn select(entry: &Entry, report: &mut Report) -> Option<Arc<str>> {
    let filter = reader::text(entry, report)?;
    let scalar = entry.value.scalar()?;
    let Err(mistakes) = crate::select::check(&filter) else {
        return Some(filter.into());
    };
    for mistake in mistakes {
        let place = scalar.place(mistake.at, report);
        let message = format!("`select` is no jq filter: {}", mistake.message);
        report.add(Problem::error(Code::Grammar, place, message));
    }
    None
}

fn form(entry: &Entry, report: &mut Report) -> Option<Form> {
    let text = |scalar: &Scalar| (!scalar.is_null()).then(|| scalar.text.clone());
    let Some(text) = entry.value.scalar().and_then(text) else {
        reader::wrong_value(entry, EXPECTED, report);
        return None;
    };
    let form = Form::parse(&text);
    if form.is_none() {
        let message = format!("`{}` must be {EXPECTED}, not `{text}`", entry.key.text);
        let words = FORMS.iter().map(|(word, _)| *word);
        let problem = Problem::error(Code::Value, entry.place(), message);
        report.add(problem.maybe_help(did_you_mean(&text, words)));
    }
    form
}

fn uri(entry: &Entry, report: &mut Report) -> Option<Uri> {
    let text = reader::text(entry, report)?;
    Uri::try_from(text)
        .map_err(|message| {
            let problem = Problem::error(Code::Value, entry.place(), message);
            report.add(problem.help("write a whole URI, such as `report://daily`"));
        })
        .ok()
}
