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
const KEYS: &[&str] = &["type", "schema", "uri"];

/// What the standard output of a tool is, and what becomes of it.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// What it is.
    pub form: Form,
    /// Where the output stands as an embedded resource; `None` for one that needs no place.
    pub uri: Option<Uri>,
    schema: Option<Arc<OutputSchema>>,
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
            let (form, uri, schema) = (form(entry, report)?, None, None);
            return Some(Self { form, uri, schema });
        };
        let errors = report.errors();
        let mut stated = None;
        let mut output = Self::default();
        for entry in entries {
            match entry.key.text.as_str() {
                "type" => stated = form(entry, report),
                "schema" => output.schema = OutputSchema::read(entry, report).map(Arc::new),
                "uri" => output.uri = uri(entry, report),
                _ => reader::unknown_key(entry, "`output`", KEYS, report),
            }
        }
        let has_schema = entry.value.get("schema").is_some();
        output.form = stated.unwrap_or(if has_schema { Form::Json } else { Form::Text });
        if has_schema && report.errors() == errors && !output.form.is_structured() {
            report.add(clash(
                entry,
                "only `json`, `lines` and `auto` can match a schema",
            ));
        }
        (report.errors() == errors).then_some(output)
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
    let place = entry.value.get("schema").unwrap_or(entry).key.span;
    Problem::error(Code::OutputClash, place, message)
        .help("write `type: json`, or remove the `schema`")
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
