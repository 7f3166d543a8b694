//! What is wrong with a file, where, and what to do about it.
//!
//! Every check of a file reports into one [`Report`] and goes on, so that a file is corrected in
//! one round and not error by error. Nothing here decides what is wrong; it only keeps the
//! problems with their places, in the order of the file, and draws them.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// How many diagnostics one rendering shows; a broken generated file may have thousands.
const MAX_SHOWN: usize = 100;

/// Says how grave a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is not served.
    Error,
    /// The file is served, perhaps without one tool.
    Warning,
}

/// Names a kind of problem; the `E…` form is stable across releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// E000: the file cannot be read, or is not the YAML that is accepted here.
    Unreadable,
    /// E001: a key that does not exist at this place.
    UnknownKey,
    /// E002: a key, tool or parameter that is defined twice.
    Duplicate,
    /// E003: a tool that does nothing, or two things.
    Kind,
    /// E004: a name with characters that are not allowed, or a length that some clients refuse.
    Name,
    /// E005: a tool without a description.
    Description,
    /// E006: a value of the wrong type, or not one of the words allowed here.
    Value,
    /// E007: a template whose quotes, brackets or list items do not fit together.
    Template,
    /// E010: a placeholder that is not a parameter.
    Undeclared,
    /// E011: a parameter that is used nowhere.
    Unused,
    /// E012: an optional parameter outside a group.
    OptionalOutsideGroup,
    /// E013: a group that can never be left out.
    FixedGroup,
    /// E014: shell syntax in a template that no shell will see.
    ShellSyntax,
    /// E016: a placeholder in the place of the program.
    ProgramPlaceholder,
    /// E017: a program that does not exist or cannot be executed.
    ProgramMissing,
    /// E018: an array where one value belongs, or the reverse.
    ArrayInWord,
    /// E019: a value that an interpreter would run as code.
    InterpreterCode,
    /// E020: a caller's value in a path.
    PathValue,
    /// E021: a caller's value in a variable that changes what programs run, or a variable that says
    /// who calls.
    DangerousEnvironment,
    /// E030: a schema, default or header that is not valid.
    Schema,
    /// E031: a reference to a schema outside the file.
    RemoteReference,
    /// E032: an output that its own schema rules out.
    OutputClash,
    /// E033: a regular expression, duration, size, digest or date that cannot be read.
    Grammar,
    /// E043: the digest of a token that everybody guesses.
    GuessableToken,
    /// E044: a token that has expired.
    Expired,
    /// E050: a placeholder where the host of a URL is decided.
    HostPlaceholder,
    /// E051: a header that a caller must not set, or the server sets itself.
    ProtectedHeader,
    /// E060: the name of something that does not exist.
    UnknownReference,
    /// E090: a file that is written for a newer release.
    Version,
}

impl Code {
    /// Returns the stable name, such as `E001`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "E000",
            Self::UnknownKey => "E001",
            Self::Duplicate => "E002",
            Self::Kind => "E003",
            Self::Name => "E004",
            Self::Description => "E005",
            Self::Value => "E006",
            Self::Template => "E007",
            Self::Undeclared => "E010",
            Self::Unused => "E011",
            Self::OptionalOutsideGroup => "E012",
            Self::FixedGroup => "E013",
            Self::ShellSyntax => "E014",
            Self::ProgramPlaceholder => "E016",
            Self::ProgramMissing => "E017",
            Self::ArrayInWord => "E018",
            Self::InterpreterCode => "E019",
            Self::PathValue => "E020",
            Self::DangerousEnvironment => "E021",
            Self::Schema => "E030",
            Self::RemoteReference => "E031",
            Self::OutputClash => "E032",
            Self::Grammar => "E033",
            Self::GuessableToken => "E043",
            Self::Expired => "E044",
            Self::HostPlaceholder => "E050",
            Self::ProtectedHeader => "E051",
            Self::UnknownReference => "E060",
            Self::Version => "E090",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A piece of a source, as byte offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn is_empty(self) -> bool {
        self.start >= self.end
    }

    fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// The text of a file and its name as the user gave it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    /// Where the lines after the first one start.
    lines: Vec<usize>,
}

impl Source {
    pub(crate) fn new(path: &Path, text: String) -> Self {
        Self {
            path: path.display().to_string(),
            lines: text.match_indices('\n').map(|(at, _)| at + 1).collect(),
            text,
        }
    }

    /// The line of a place, counted from 1.
    pub(crate) fn line(&self, span: Span) -> usize {
        self.lines.partition_point(|start| *start <= span.start) + 1
    }

    /// The column of a place in characters, counted from 1.
    fn column(&self, span: Span) -> usize {
        let before = self.text.get(self.line_start(span.start)..span.start);
        before.unwrap_or_default().chars().count() + 1
    }

    /// Writes `tools.yaml:12`.
    pub(crate) fn place(&self, span: Span) -> String {
        format!("{}:{}", self.path, self.line(span))
    }

    fn line_start(&self, offset: usize) -> usize {
        let after = self.lines.partition_point(|start| *start <= offset);
        let last = after.checked_sub(1).and_then(|at| self.lines.get(at));
        last.copied().unwrap_or(0)
    }

    /// The same lines at the same places, with `*` for every byte of these spans.
    fn without(&self, hidden: &[Span]) -> Self {
        let mut bytes = self.text.clone().into_bytes();
        for span in hidden {
            for byte in bytes.get_mut(span.range()).unwrap_or_default() {
                if !matches!(byte, b'\n' | b'\r') {
                    *byte = b'*';
                }
            }
        }
        Self {
            path: self.path.clone(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
            lines: self.lines.clone(),
        }
    }

    /// Shortens a span to its first line, because a rule under ten lines hides the point.
    fn first_line(&self, span: Span) -> Span {
        let text = self.text.get(span.range()).unwrap_or_default();
        let length = text.find(['\r', '\n']).unwrap_or(text.len());
        Span {
            start: span.start,
            end: span.start + length,
        }
    }

    /// The whole lines that hold these spans, with the offset where they start.
    fn lines(&self, spans: &[Span]) -> (&str, usize) {
        let first = spans.iter().map(|span| span.start).min().unwrap_or(0);
        let last = spans.iter().map(|span| span.end).max().unwrap_or(0);
        let text = &self.text;
        let start = self.line_start(first);
        let end = text
            .get(last..)
            .and_then(|after| after.find('\n'))
            .map_or(text.len(), |newline| last + newline);
        (text.get(start..end).unwrap_or_default(), start)
    }
}

/// One problem as the checks describe it, before it is tied to its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    severity: Severity,
    code: Code,
    message: String,
    span: Option<Span>,
    others: Vec<(Span, String)>,
    help: Option<String>,
}

impl Problem {
    pub(crate) fn error(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            span: Some(span),
            others: Vec::new(),
            help: None,
        }
    }

    pub(crate) fn warning(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, span, message)
        }
    }

    /// An error about the file as a whole.
    pub(crate) fn without_place(code: Code, message: impl Into<String>) -> Self {
        Self {
            span: None,
            ..Self::error(code, Span::default(), message)
        }
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

/// Collects the problems of one source.
#[derive(Debug)]
pub(crate) struct Report {
    source: Arc<Source>,
    problems: Vec<Problem>,
    hidden: Vec<Span>,
    errors: usize,
}

impl Report {
    pub(crate) fn new(source: Source) -> Self {
        Self {
            source: Arc::new(source),
            problems: Vec::new(),
            hidden: Vec::new(),
            errors: 0,
        }
    }

    pub(crate) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    pub(crate) fn add(&mut self, problem: Problem) {
        self.errors += usize::from(problem.severity == Severity::Error);
        self.problems.push(problem);
    }

    /// Draws this part of the text as `*` wherever it is shown: it may be a secret.
    pub(crate) fn hide(&mut self, span: Span) {
        self.hidden.push(span);
    }

    /// How many errors were reported so far; a later, larger number means that a step failed.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// Returns the problems in the order of the file, each once.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.problems
            .sort_by_key(|problem| (problem.span, problem.code));
        self.problems.dedup();
        let source = if self.hidden.is_empty() || self.problems.is_empty() {
            self.source
        } else {
            Arc::new(self.source.without(&self.hidden))
        };
        self.problems
            .into_iter()
            .map(|problem| Diagnostic {
                problem,
                source: Arc::clone(&source),
            })
            .collect()
    }
}

/// One problem of a file: a stable code, a place, what is wrong and what to do.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    problem: Problem,
    source: Arc<Source>,
}

impl Diagnostic {
    /// Returns the kind of problem.
    pub fn code(&self) -> Code {
        self.problem.code
    }

    /// Returns whether the file can still be used.
    pub fn severity(&self) -> Severity {
        self.problem.severity
    }

    /// Returns what is wrong, in one sentence, without the place.
    pub fn message(&self) -> &str {
        &self.problem.message
    }

    /// Returns what to do, when there is something to say.
    pub fn help(&self) -> Option<&str> {
        self.problem.help.as_deref()
    }

    /// Returns the file as the user named it.
    pub fn path(&self) -> &str {
        &self.source.path
    }

    /// Returns line and column, both counted from 1, the column in characters; `None` when the
    /// problem is the file as a whole.
    pub fn position(&self) -> Option<(usize, usize)> {
        let span = self.problem.span?;
        Some((self.source.line(span), self.source.column(span)))
    }

    /// Draws the problem with its source line; `color` adds terminal colors.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        renderer.render(&[self.group()])
    }

    fn group(&self) -> Group<'_> {
        let level = match self.problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level
            .primary_title(self.headline())
            .id(self.problem.code.as_str());
        let mut group = match self.problem.span {
            Some(span) => title.element(self.snippet(span)),
            None => Group::with_title(title),
        };
        if let Some(help) = &self.problem.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        group
    }

    /// Without a place there is no line that names the file, so the message does.
    fn headline(&self) -> String {
        match self.problem.span {
            Some(_) => self.problem.message.clone(),
            None => format!("{}: {}", self.source.path, self.problem.message),
        }
    }

    fn snippet(&self, span: Span) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
        let span = self.source.first_line(span);
        let others: Vec<_> = (self.problem.others.iter())
            .map(|(other, label)| (self.source.first_line(*other), label.as_str()))
            .collect();
        let mut spans = vec![span];
        spans.extend(others.iter().map(|(other, _)| *other));
        let (text, start) = self.source.lines(&spans);
        let within = |span: Span| span.start.saturating_sub(start)..span.end.saturating_sub(start);
        let first = Span { start, end: start };
        Snippet::source(text)
            .path(self.source.path.as_str())
            .line_start(self.source.line(first))
            .annotation(AnnotationKind::Primary.span(within(span)))
            .annotations(
                others
                    .into_iter()
                    .map(|(other, label)| AnnotationKind::Context.span(within(other)).label(label)),
            )
    }
}

/// A file that cannot be used, with everything that is wrong with it.
///
/// Displays as the plain rendering of every diagnostic and a line that counts them.
#[derive(Clone, Debug)]
pub struct LoadError {
    diagnostics: Vec<Diagnostic>,
}

impl LoadError {
    pub(crate) fn new(diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics }
    }

    /// Returns the errors and warnings in the order of the file.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Draws the first hundred diagnostics and a line that counts all; `color` adds terminal colors.
    pub fn render(&self, color: bool) -> String {
        let mut text = String::new();
        for diagnostic in self.diagnostics.iter().take(MAX_SHOWN) {
            text.push_str(&diagnostic.render(color));
            text.push_str("\n\n");
        }
        text.push_str(&self.count());
        text
    }

    fn count(&self) -> String {
        let of = |severity| {
            (self.diagnostics.iter())
                .filter(|diagnostic| diagnostic.severity() == severity)
                .count()
        };
        let mut counts = vec![plural(of(Severity::Error), "error")];
        if of(Severity::Warning) > 0 {
            counts.push(plural(of(Severity::Warning), "warning"));
        }
        if self.diagnostics.len() > MAX_SHOWN {
            counts.push(format!("the first {MAX_SHOWN} are shown"));
        }
        let path = self.diagnostics.first().map_or("", Diagnostic::path);
        format!("{path}: {}", counts.join(", "))
    }
}

fn plural(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

impl fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(false))
    }
}

impl std::error::Error for LoadError {}
