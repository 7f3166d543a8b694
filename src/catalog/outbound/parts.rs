//! The parts of a request that are texts under names: the query, and a form.

use super::encode;
use crate::catalog::params::{Kind, Parameters};
use crate::catalog::template::{self, Renderer, Segment, Slot, Word, segments};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::Entry;

/// Names and texts, in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct Parts(Vec<Part>);

/// A name and its text; `{xs...}` alone repeats the name.
#[derive(Debug)]
struct Part {
    /// Encoded.
    name: String,
    value: Word,
}

impl Parts {
    /// Reads a mapping of names and texts.
    pub(super) fn read(entry: &Entry, report: &mut Report) -> Self {
        let entries = reader::mapping(entry, report).unwrap_or_default();
        let parts = entries.iter().filter_map(|entry| {
            check_name(entry, report);
            reader::text(entry, report)?;
            Some(Part {
                name: encode::encoded(&entry.key.text),
                value: segments(entry.value.scalar()?, report),
            })
        });
        Self(parts.collect())
    }

    /// Checks the placeholders against the parameters.
    pub(super) fn check(&self, tool: &str, parameters: &Parameters, report: &mut Report) {
        for Part { value, .. } in &self.0 {
            if let [Segment::Spread(slot)] = value.segments.as_slice() {
                check_spread(slot, tool, parameters, report);
            } else {
                check_text(value, tool, parameters, report, |_| false);
            }
        }
    }

    /// Every placeholder.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter().flat_map(|part| part.value.slots())
    }

    /// Encodes the names and the texts of a call, without those that it has no value for.
    pub(super) fn render(&self, renderer: &mut Renderer<'_>) -> String {
        let mut target = String::new();
        for Part { name, value } in &self.0 {
            let texts = match value.segments.as_slice() {
                [Segment::Spread(slot)] => renderer.items(slot),
                _ => renderer.optional_text(value).into_iter().collect(),
            };
            for text in texts {
                if !target.is_empty() {
                    target.push('&');
                }
                target.push_str(name);
                target.push('=');
                encode::push(&mut target, &text);
            }
        }
        target
    }
}

/// Checks that no placeholder stands in the place of a name.
pub(super) fn check_name(entry: &Entry, report: &mut Report) {
    if template::has_placeholder(&entry.key.text) {
        let message = format!("the name `{}` must be fixed", entry.key.text);
        let problem = Problem::error(Code::Value, entry.key.span, message);
        report.add(problem.help("placeholders stand in values"));
    }
}

fn check_spread(slot: &Slot, tool: &str, parameters: &Parameters, report: &mut Report) {
    let parameter = template::check_declared(slot, tool, parameters, report);
    let name = &slot.name;
    if parameter
        .is_some_and(|parameter| !parameter.kind.is_array() && parameter.kind != Kind::Unknown)
    {
        let message = format!("`{name}` is not an array");
        let help = format!("write `{{{name}}}`");
        report.add(Problem::error(Code::ArrayInWord, slot.span, message).help(help));
    }
}

/// Checks the placeholders of one text. `is_known` are those that need no parameter.
pub(super) fn check_text(
    word: &Word,
    tool: &str,
    parameters: &Parameters,
    report: &mut Report,
    is_known: impl Fn(&Slot) -> bool,
) {
    for segment in &word.segments {
        let (slot, is_spread) = match segment {
            Segment::Literal(_) => continue,
            Segment::Value(slot) => (slot, false),
            Segment::Spread(slot) => (slot, true),
        };
        if is_known(slot) {
            continue;
        }
        let Some(parameter) = template::check_declared(slot, tool, parameters, report) else {
            continue;
        };
        if let Some((message, help)) = misfit(&slot.name, parameter.kind, is_spread) {
            report.add(Problem::error(Code::ArrayInWord, slot.span, message).help(help));
        }
    }
}

/// Says why a parameter does not fit into a text.
fn misfit(name: &str, kind: Kind, is_spread: bool) -> Option<(String, &'static str)> {
    match kind {
        _ if is_spread => Some((
            format!("`{{{name}...}}` has no place here"),
            "it may be a whole value of `query` or `form`, whose name is repeated; in `json`, \
             an array keeps its type",
        )),
        Kind::Array(_) => Some((
            format!("`{name}` is an array, and this is the place of a text"),
            "an array may be a whole value: as `{name...}` of `query` or `form`, as `{name}` of `json`",
        )),
        Kind::Object => Some((
            format!("`{name}` is an object, and this is the place of a text"),
            "an object may be a whole value of `json`",
        )),
        _ => None,
    }
}
