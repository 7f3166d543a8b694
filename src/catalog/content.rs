//! Content that a definition writes itself: pieces in MCP's own shape, with placeholders in their
//! texts and URIs.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::argument_error::ArgumentError;
use super::file;
use super::params::Parameters;
use super::template::{self, Renderer, Slot, Word, segments};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::yaml::{self, Entry, Node, Scalar};
use crate::protocol::content::{Content, Uri};
use crate::protocol::media::MediaType;

/// The members of MCP's pieces that are texts: what stands there is taken as it was written.
const TEXTS: &[&str] = &[
    "blob",
    "data",
    "description",
    "mimeType",
    "name",
    "text",
    "title",
    "type",
    "uri",
];

/// One piece of content.
#[derive(Debug)]
pub(crate) struct Piece {
    /// The piece, but for what a call fills in.
    content: Content,
    text: Option<Word>,
    uri: Option<Word>,
}

/// Reads the pieces of an entry: a text, or a list of texts and pieces.
pub(crate) fn read(entry: &Entry, folder: &Path, report: &mut Report) -> Option<Vec<Piece>> {
    let nodes = match &entry.value.content {
        yaml::Content::Sequence(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(&entry.value),
    };
    let errors = report.errors();
    let pieces = nodes
        .iter()
        .filter_map(|node| Piece::read(node, folder, report))
        .collect();
    (report.errors() == errors).then_some(pieces)
}

/// Checks the placeholders of pieces against the parameters.
pub(crate) fn check(pieces: &[Piece], tool: &str, parameters: &Parameters, report: &mut Report) {
    let slots = pieces.iter().flat_map(Piece::slots);
    check_always_filled(slots, tool, parameters, report);
}

/// Checks the placeholders of texts that need a value at each of them.
pub(crate) fn check_always_filled<'a>(
    slots: impl Iterator<Item = &'a Slot>,
    tool: &str,
    parameters: &Parameters,
    report: &mut Report,
) {
    for slot in slots {
        let Some(parameter) = template::check_declared(slot, tool, parameters, report) else {
            continue;
        };
        let name = &slot.name;
        if parameter.kind.is_array() {
            let message = format!("`{name}` is an array, and `{{{name}}}` is the place of a text");
            let problem = Problem::error(Code::ArrayInWord, slot.span, message);
            report.add(problem.help("declare a parameter for each text"));
        } else if parameter.may_be_absent() {
            let message = format!("`{name}` is optional, and this text always needs it");
            let problem = Problem::error(Code::OptionalOutsideGroup, slot.span, message);
            report.add(problem.help("make it required, or give it a default"));
        }
    }
}

/// Fills pieces with the arguments of a call.
pub(crate) fn render(
    pieces: &[Piece],
    mut renderer: Renderer<'_>,
) -> Result<Vec<Content>, ArgumentError> {
    let filled = pieces.iter().map(|piece| piece.fill(&mut renderer));
    let filled = filled.collect();
    renderer.finish()?;
    Ok(filled)
}

impl Piece {
    /// Reads a text, or a piece in MCP's own shape whose bytes may stand in a file.
    pub(crate) fn read(node: &Node, folder: &Path, report: &mut Report) -> Option<Self> {
        match &node.content {
            yaml::Content::Scalar(scalar) if !scalar.is_null() => {
                let text = hole(scalar, report);
                let content = Content::text(scalar.text.clone());
                let uri = None;
                Some(Self { content, text, uri })
            }
            yaml::Content::Mapping(entries) => {
                let mut reader = Reader {
                    folder,
                    report,
                    text: None,
                    uri: None,
                };
                let value = Value::Object(reader.object(entries)?);
                let (text, uri) = (reader.text, reader.uri);
                let content = Content::read(value)
                    .map_err(|reason| report.add(invalid(node, &reason)))
                    .ok()?;
                Some(Self { content, text, uri })
            }
            _ => {
                let message = format!(
                    "a piece of content must be a text or a mapping, not {}",
                    node.kind()
                );
                report.add(Problem::error(Code::Value, node.span, message));
                None
            }
        }
    }

    /// A piece without placeholders.
    pub(crate) fn fixed(content: Content) -> Self {
        Self {
            content,
            text: None,
            uri: None,
        }
    }

    /// Every placeholder of the piece.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        let words = self.text.iter().chain(&self.uri);
        words.flat_map(Word::slots)
    }

    /// The piece with the arguments of a call.
    pub(crate) fn fill(&self, renderer: &mut Renderer<'_>) -> Content {
        let mut content = self.content.clone();
        if let Some(word) = &self.text {
            content.set_text(renderer.content(word));
        }
        if let Some(word) = &self.uri {
            match Uri::try_from(renderer.content(word)) {
                Ok(uri) => content.set_uri(uri),
                Err(_) => renderer.refuse(word, "does not make a valid URI"),
            }
        }
        content
    }
}

/// A text that a call fills in; `None` for one without placeholders.
fn hole(scalar: &Scalar, report: &mut Report) -> Option<Word> {
    Some(segments(scalar, report)).filter(|word| word.slots().next().is_some())
}

fn invalid(node: &Node, reason: &str) -> Problem {
    let message = format!("this piece of content is not valid: {reason}");
    Problem::error(Code::Value, node.span, message)
        .help("write it as MCP does, as in `{type: image, mimeType: image/png, file: chart.png}`")
}

/// Reads a mapping as the JSON that MCP would have for it.
struct Reader<'a> {
    folder: &'a Path,
    report: &'a mut Report,
    text: Option<Word>,
    uri: Option<Word>,
}

impl Reader<'_> {
    fn object(&mut self, entries: &[Entry]) -> Option<Map<String, Value>> {
        let mut object = Map::new();
        for entry in entries {
            let key = entry.key.text.as_str();
            if key == "file" {
                let (key, value) = self.file(entry, entries)?;
                self.check_alone(key, entry, entries);
                object.insert(key.to_owned(), Value::String(value));
                continue;
            }
            let value = match &entry.value.content {
                yaml::Content::Mapping(entries) if key == "resource" => {
                    Value::Object(self.object(entries)?)
                }
                yaml::Content::Scalar(scalar) if TEXTS.contains(&key) && !scalar.is_null() => {
                    Value::String(self.text(key, scalar))
                }
                _ => self.json(&entry.value)?,
            };
            object.insert(key.to_owned(), value);
        }
        Some(object)
    }

    fn text(&mut self, key: &str, scalar: &Scalar) -> String {
        match key {
            "text" => self.text = hole(scalar, self.report),
            "uri" => {
                self.uri = hole(scalar, self.report);
                if self.uri.is_some() {
                    // Valid, until a call fills it in.
                    return "x:".to_owned();
                }
            }
            // Base64 may stand on several lines.
            "data" | "blob" => return scalar.text.split_ascii_whitespace().collect(),
            _ => {}
        }
        scalar.text.clone()
    }

    fn json(&mut self, node: &Node) -> Option<Value> {
        let value = node.json();
        if value.is_none() {
            let message = "this holds a number that JSON cannot hold";
            let problem = Problem::error(Code::Value, node.span, message);
            self.report.add(problem.help("quote it if it is a text"));
        }
        value
    }

    /// Checks that what stands in a file does not stand beside it too.
    fn check_alone(&mut self, key: &str, file: &Entry, beside: &[Entry]) {
        if beside.iter().any(|entry| entry.key.text == key) {
            let message = format!("this piece has both `file` and `{key}`");
            let problem = Problem::error(Code::Value, file.key.span, message);
            self.report.add(problem.help("keep one of them"));
        }
    }

    /// The member that the bytes of a file become, beside these entries.
    fn file(&mut self, entry: &Entry, beside: &[Entry]) -> Option<(&'static str, String)> {
        let bytes = file::read(entry, self.folder, self.report)?;
        let written = |key: &str| {
            let entry = beside.iter().find(|entry| entry.key.text == key)?;
            Some(entry.value.scalar()?.text.as_str())
        };
        let media = written("mimeType").and_then(MediaType::parse);
        let is_text = match written("type") {
            Some("text") => true,
            Some(_) => return Some(("data", STANDARD.encode(bytes))),
            None => media.is_some_and(|media| media.is_text()),
        };
        if !is_text {
            return Some(("blob", STANDARD.encode(bytes)));
        }
        let text = String::from_utf8(bytes).ok();
        if text.is_none() {
            let message = "this file is meant as text and is not UTF-8";
            let problem = Problem::error(Code::Unreadable, entry.place(), message);
            self.report.add(problem.help("save it as UTF-8"));
        }
        text.map(|text| ("text", text))
    }
}
