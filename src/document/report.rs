//! Collecting all that is wrong with a file.
//!
//! Every check of a file reports into one [`Report`] and goes on, so that a file is corrected in
//! one round and not error by error.

use std::path::Path;
use std::sync::Arc;

use super::diagnostic::{Code, Diagnostic, LoadError, Severity};
use super::source::{Source, Sources, Span};
use crate::redact::Redactor;
use crate::snapshot::Snapshot;

/// One problem as the checks describe it, before it is tied to its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(super) severity: Severity,
    pub(super) code: Code,
    pub(super) message: String,
    /// The place, or the start of the file that the problem is.
    pub(super) span: Span,
    has_place: bool,
    pub(super) others: Vec<(Span, String)>,
    pub(super) help: Option<String>,
}

impl Problem {
    pub(crate) fn error(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, span, message)
    }

    pub(crate) fn new(
        severity: Severity,
        code: Code,
        span: Span,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            code,
            message: message.into(),
            span,
            has_place: true,
            others: Vec::new(),
            help: None,
        }
    }

    pub(crate) fn warning(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, span, message)
    }

    /// An error about the first file as a whole.
    pub(crate) fn without_place(code: Code, message: impl Into<String>) -> Self {
        Self::of_file(0, code, message)
    }

    /// An error about a file as a whole, of which this is an offset.
    pub(crate) fn of_file(offset: usize, code: Code, message: impl Into<String>) -> Self {
        Self {
            has_place: false,
            ..Self::error(code, Span::at(offset), message)
        }
    }

    /// Where it is, unless it is a file as a whole.
    pub(super) fn place(&self) -> Option<Span> {
        self.has_place.then_some(self.span)
    }

    /// Says what to do.
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        self.maybe_help(Some(help.into()))
    }

    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Points at a second place.
    pub(crate) fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.others.push((span, label.into()));
        self
    }
}

/// Collects the problems of a file, and of the files that it includes.
#[derive(Debug)]
pub(crate) struct Report {
    sources: Sources,
    /// What was read of the file system, to know when to read again.
    inputs: Snapshot,
    problems: Vec<Problem>,
    hidden: Vec<Span>,
    /// What is hidden and stands in no message either.
    concealed: Vec<Span>,
    /// Texts whose values are not all known.
    muted: Vec<Span>,
    /// What cannot be judged.
    ignored: Option<Code>,
    secrets: Redactor,
    errors: usize,
}

impl Report {
    pub(crate) fn new(source: Source) -> Self {
        Self {
            sources: Sources::new(source),
            inputs: Snapshot::default(),
            problems: Vec::new(),
            hidden: Vec::new(),
            concealed: Vec::new(),
            muted: Vec::new(),
            ignored: None,
            secrets: Redactor::default(),
            errors: 0,
        }
    }

    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Adds a file that another one includes.
    pub(crate) fn include(&mut self, path: &Path, text: String) -> Arc<Source> {
        self.sources.add(path, text)
    }

    /// Remembers what is read, as it was seen before that: another load may find something else.
    pub(crate) fn depends_on(&mut self, seen: Snapshot) {
        self.inputs.add(seen);
    }

    pub(crate) fn add(&mut self, problem: Problem) {
        if self.is_muted(&problem) {
            return;
        }
        self.errors += usize::from(problem.severity == Severity::Error);
        self.problems.push(problem);
    }

    /// Hears no more about this text: what it lacks is reported, and the rest follows from that.
    pub(crate) fn mute(&mut self, span: Span) {
        self.muted.push(span);
    }

    /// Hears no more of this kind of problem.
    pub(crate) fn ignore(&mut self, code: Code) {
        self.ignored = Some(code);
    }

    fn is_muted(&self, problem: &Problem) -> bool {
        let Span { start, end } = problem.span;
        let within = |muted: &Span| muted.start <= start && end <= muted.end;
        problem.has_place && problem.code != Code::MissingSecret && self.muted.iter().any(within)
    }

    /// Keeps these secrets out of all messages.
    pub(crate) fn redact(&mut self, secrets: Redactor) {
        self.secrets = secrets;
    }

    /// Draws this part of the text as `*` wherever it is shown: it may be a secret.
    pub(crate) fn hide(&mut self, span: Span) {
        self.hidden.push(span);
    }

    /// Hides this part of the text in messages too: it looks like a secret.
    pub(crate) fn conceal(&mut self, span: Span) {
        self.hide(span);
        self.concealed.push(span);
    }

    /// How many errors were reported so far; a later, larger number means that a step failed.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// What takes concealed texts out of messages.
    fn concealed(&self) -> Redactor {
        let slice = |span: &Span| self.sources.at(span.start).slice(*span);
        let texts: Vec<_> = self.concealed.iter().filter_map(slice).collect();
        // Not even their lengths are many: a file is no larger than what can be looked for.
        Redactor::new(texts).unwrap_or_default()
    }

    /// Returns the warnings in the order of the files, each once.
    pub(crate) fn finish(mut self) -> Result<(Vec<Diagnostic>, Snapshot), LoadError> {
        self.problems
            .sort_by_key(|problem| (problem.span, problem.code));
        self.problems.dedup();
        if !self.problems.is_empty() {
            let concealed = self.concealed();
            for problem in &mut self.problems {
                for text in [&mut problem.message].into_iter().chain(&mut problem.help) {
                    self.secrets.clean(text);
                    concealed.clean(text);
                }
            }
        }
        let sources = Arc::new(self.sources.without(&self.hidden));
        let diagnostics = (self.problems.into_iter())
            .map(|problem| Diagnostic {
                problem,
                sources: Arc::clone(&sources),
            })
            .collect();
        let inputs = self.inputs;
        if self.errors > 0 {
            return Err(LoadError {
                diagnostics,
                inputs,
            });
        }
        Ok((diagnostics, inputs))
    }
}
