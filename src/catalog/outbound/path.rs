//! The path of a request: a value is one segment of it or a part of one, and leads nowhere else.

use super::encode;
use super::parts::check_text;
use crate::catalog::params::Parameters;
use crate::catalog::template::{self, Renderer, Segment, Slot, Word};
use crate::document::diagnostic::{Code, Problem, Report};

/// What a value in a path must not be.
const RULE: &str = "must not be empty, `.` or `..`, or hold `/`, `\\` or control characters: it is one part of a path";

/// A path that begins with `/`, whose literal parts are encoded.
#[derive(Debug)]
pub(crate) struct Path {
    word: Word,
}

impl Path {
    /// Reads a path; `word` begins with `/`.
    pub(super) fn read(mut word: Word, report: &mut Report) -> Self {
        if let Some((message, help)) = misspelt(&word) {
            let problem = Problem::error(Code::Template, word.span, message);
            report.add(problem.help(help));
        }
        for segment in &mut word.segments {
            if let Segment::Literal(text) = segment {
                *text = encode::literal_path(text);
            }
        }
        Self { word }
    }

    /// Checks the placeholders against the parameters.
    pub(super) fn check(&self, tool: &str, parameters: &Parameters, report: &mut Report) {
        check_text(&self.word, tool, parameters, report, |_| false);
        check_always_there(&self.word, "the path", parameters, report);
    }

    /// Every placeholder.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.word.slots()
    }

    /// The path of a call.
    pub(super) fn render(&self, renderer: &mut Renderer<'_>) -> String {
        let mut path = String::new();
        for segment in &self.word.segments {
            match segment {
                Segment::Literal(text) => path.push_str(text),
                Segment::Value(slot) | Segment::Spread(slot) => {
                    let text = renderer.value_text(slot);
                    if !is_safe(&text) {
                        renderer.refuse_slot(slot, RULE);
                    }
                    encode::push(&mut path, &text);
                }
            }
        }
        // What a value makes of a segment together with its neighbours.
        if path.split('/').any(encode::is_dots) {
            renderer.refuse(&self.word, RULE);
        }
        path
    }
}

/// Checks that a call always has the values of a text which cannot do without them.
pub(super) fn check_always_there(
    word: &Word,
    place: &str,
    parameters: &Parameters,
    report: &mut Report,
) {
    for slot in word.slots() {
        let parameter = parameters.get(&slot.name);
        if parameter
            .is_some_and(|parameter| parameter.may_be_absent() && !parameter.kind.is_array())
        {
            let message = format!("`{}` is optional, and {place} always needs it", slot.name);
            let problem = Problem::error(Code::OptionalOutsideGroup, slot.span, message);
            report.add(problem.help("make it required, or give it a default"));
        }
    }
}

fn is_safe(text: &str) -> bool {
    let is_bad = |c: char| c.is_control() || matches!(c, '/' | '\\');
    !matches!(text, "" | "." | "..") && !text.contains(is_bad)
}

/// Says what is wrong with the literal parts of a path.
fn misspelt(word: &Word) -> Option<(&'static str, &'static str)> {
    let literals: Vec<_> = word.literals().collect();
    let holds = |c: char| literals.iter().any(|text| text.contains(c));
    let fixed = shape(word);
    if holds('?') {
        Some(("a path cannot hold `?`", "write what follows under `query`"))
    } else if holds('#') {
        Some(("a path cannot hold `#`", "servers never see it; remove it"))
    } else if holds('\\') || literals.iter().any(|text| text.contains(char::is_control)) {
        Some((
            "a path holds neither `\\` nor control characters",
            "write `/`",
        ))
    } else if literals.iter().any(|text| !encode::is_well_formed(text)) {
        Some((
            "`%` must start an encoded byte, such as `%20`",
            "write `%25` for `%`",
        ))
    } else if fixed.split('/').any(encode::is_dots) {
        Some((
            "a path cannot hold `.` or `..`",
            "write the path that is meant",
        ))
    } else {
        None
    }
}

/// The literal text, with something harmless in the place of each value.
fn shape(word: &Word) -> String {
    let texts = word.segments.iter().map(|segment| match segment {
        Segment::Literal(text) => text.as_str(),
        Segment::Value(_) | Segment::Spread(_) => "x",
    });
    texts.collect()
}

/// Reports a placeholder where the host of a URL is decided.
pub(super) fn in_host(slot: &Slot) -> Problem {
    let message = format!(
        "`{{{}}}` stands in the host, which no caller may choose",
        slot.name
    );
    Problem::error(Code::HostPlaceholder, slot.span, message)
        .help("write the host, and values after a `/`: one tool for each host")
}

/// Reports a text that must not have placeholders at all.
pub(super) fn check_no_placeholder(entry: &crate::document::yaml::Entry, report: &mut Report) {
    let text = entry.value.scalar().map_or("", |scalar| &scalar.text);
    if template::has_placeholder(text) {
        let message = format!("`{}` is fixed and takes no placeholders", entry.key.text);
        let problem = Problem::error(Code::HostPlaceholder, entry.place(), message);
        report.add(problem.help("no caller may choose the host; values belong into paths"));
    }
}
