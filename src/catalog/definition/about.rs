//! What clients are told of a tool, prompt or resource, and how messages name it.

use std::fmt;

use super::icons;
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::reader;
use crate::document::yaml::{Entry, Key};
use crate::protocol::content::Icon;

/// The keys that are read here.
pub(super) const KEYS: &[&str] = &["title", "description", "icons"];

/// A thing of the file; prints as "prompt `x`".
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) kind: &'static str,
    pub(super) key: &'a Key,
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} `{}`", self.kind, self.key.text)
    }
}

/// What clients are told, as it stands in the file.
#[derive(Default)]
pub(super) struct About {
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) icons: Vec<Icon>,
    described: bool,
}

impl About {
    /// Reads one key; returns whether it is one of ours.
    pub(super) fn read(
        &mut self,
        subject: Subject<'_>,
        entry: &Entry,
        report: &mut Report,
    ) -> bool {
        match entry.key.text.as_str() {
            "title" => self.title = reader::text(entry, report),
            "icons" => self.icons = icons::read(entry, report),
            "description" => {
                self.described = true;
                self.description = description(subject, entry, report);
            }
            _ => return false,
        }
        true
    }

    /// Reports what is missing.
    pub(super) fn check(&self, subject: Subject<'_>, report: &mut Report) {
        if !self.described {
            report.add(no_description(subject, subject.key.span));
        }
    }
}

fn description(subject: Subject<'_>, entry: &Entry, report: &mut Report) -> Option<String> {
    let scalar = entry.value.scalar();
    if scalar.is_some_and(|scalar| scalar.is_null() || scalar.text.trim().is_empty()) {
        report.add(no_description(subject, entry.key.span));
        return None;
    }
    reader::text(entry, report)
}

fn no_description(subject: Subject<'_>, span: Span) -> Problem {
    let message = format!("{subject} has no description");
    let help = match subject.kind {
        "tool" => "say what it does and when to use it: it is all the model sees",
        _ => "say what it holds or does and when to use it: people and models choose by it",
    };
    Problem::error(Code::Description, span, message).help(help)
}
