//! What is wrong with a file, where, and what to do about it.
//!
//! Nothing here decides what is wrong; it only names the kinds of problems and draws them.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

pub(crate) use super::report::{Problem, Report};
pub(crate) use super::source::{Source, Sources, Span};
use crate::snapshot::Snapshot;

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

/// A part of a file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The file, as the user named it.
    pub path: &'a str,
    /// The line and column where it begins.
    pub start: (usize, usize),
    /// The line and column right after it.
    pub end: (usize, usize),
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
    /// E015: a placeholder in a script.
    ScriptPlaceholder,
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
    /// E022: a caller's value in a text that means something, such as JSON.
    SyntaxValue,
    /// E030: a schema, default or header that is not valid.
    Schema,
    /// E031: a reference to a schema outside the file.
    RemoteReference,
    /// E032: an output that its own schema rules out.
    OutputClash,
    /// E033: a regular expression, duration, size, digest or date that cannot be read.
    Grammar,
    /// E040: a secret that is not there.
    MissingSecret,
    /// E041: a secret file that others can read or change.
    OpenSecret,
    /// E042: a secret in the file itself, or in a header.
    LiteralSecret,
    /// E043: the digest of a token that everybody guesses.
    GuessableToken,
    /// E044: a token that has expired.
    Expired,
    /// E045: a file of the definition that others can change.
    OpenDefinition,
    /// E046: a secret that is too short to be kept out of what others see.
    ShortSecret,
    /// E050: a placeholder where the host of a URL is decided.
    HostPlaceholder,
    /// E051: a header that a caller must not set, or the server sets itself.
    ProtectedHeader,
    /// E052: credentials that travel without encryption.
    OpenCredentials,
    /// E060: the name of a role, scope, api, tool or tag that nothing has.
    UnknownName,
    /// E062: something that nobody could ever use.
    Unreachable,
    /// E063: something that changes what it works on, which anonymous callers may use.
    AnonymousChange,
    /// E070: a sandbox that this machine cannot make.
    Sandbox,
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
            Self::ScriptPlaceholder => "E015",
            Self::ProgramPlaceholder => "E016",
            Self::ProgramMissing => "E017",
            Self::ArrayInWord => "E018",
            Self::InterpreterCode => "E019",
            Self::PathValue => "E020",
            Self::DangerousEnvironment => "E021",
            Self::SyntaxValue => "E022",
            Self::Schema => "E030",
            Self::RemoteReference => "E031",
            Self::OutputClash => "E032",
            Self::Grammar => "E033",
            Self::MissingSecret => "E040",
            Self::OpenSecret => "E041",
            Self::LiteralSecret => "E042",
            Self::GuessableToken => "E043",
            Self::Expired => "E044",
            Self::OpenDefinition => "E045",
            Self::ShortSecret => "E046",
            Self::HostPlaceholder => "E050",
            Self::ProtectedHeader => "E051",
            Self::OpenCredentials => "E052",
            Self::UnknownName => "E060",
            Self::Unreachable => "E062",
            Self::AnonymousChange => "E063",
            Self::Sandbox => "E070",
            Self::Version => "E090",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One problem of a file: a stable code, a place, what is wrong and what to do.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    pub(super) problem: Problem,
    pub(super) sources: Arc<Sources>,
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

    /// Returns the file that the problem is in, as the user named it.
    pub fn path(&self) -> &str {
        &self.source().path
    }

    /// Returns line and column, both counted from 1, the column in characters; `None` when the
    /// problem is the file as a whole.
    pub fn position(&self) -> Option<(usize, usize)> {
        self.place().map(|place| place.start)
    }

    /// Returns the line and column right after the place, counted as those of
    /// [`Diagnostic::position`].
    pub fn end(&self) -> Option<(usize, usize)> {
        self.place().map(|place| place.end)
    }

    /// Returns the other places that have to do with the problem, each with what is there.
    pub fn others(&self) -> impl Iterator<Item = (Place<'_>, &str)> {
        let others = self.problem.others.iter();
        others.map(|(span, label)| (self.place_of(*span), label.as_str()))
    }

    /// Returns where the problem is; `None` when it is the file as a whole.
    pub fn place(&self) -> Option<Place<'_>> {
        self.problem.place().map(|span| self.place_of(span))
    }

    fn place_of(&self, span: Span) -> Place<'_> {
        let source = self.sources.at(span.start);
        let position = |span| (source.line(span), source.column(span));
        Place {
            path: &source.path,
            start: position(span),
            end: position(Span::at(span.end)),
        }
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

    fn source(&self) -> &Source {
        self.sources.at(self.problem.span.start)
    }

    fn group(&self) -> Group<'_> {
        let level = match self.problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level
            .primary_title(self.headline())
            .id(self.problem.code.as_str());
        let mut group = match self.problem.place() {
            Some(span) => title.elements(self.snippets(span)),
            None => Group::with_title(title),
        };
        if let Some(help) = &self.problem.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        group
    }

    /// Without a place there is no line that names the file, so the message does.
    fn headline(&self) -> String {
        match self.problem.place() {
            Some(_) => self.problem.message.clone(),
            None => format!("{}: {}", self.path(), self.problem.message),
        }
    }

    /// The lines of each file that has to do with the problem, its own first.
    fn snippets(&self, span: Span) -> Vec<Snippet<'_, Annotation<'_>>> {
        let mut files = vec![(self.source(), vec![(span, None)])];
        for (span, label) in &self.problem.others {
            let source: &Source = self.sources.at(span.start);
            let place = (*span, Some(label.as_str()));
            match files
                .iter_mut()
                .find(|(known, _)| known.base == source.base)
            {
                Some((_, places)) => places.push(place),
                None => files.push((source, vec![place])),
            }
        }
        let snippet = |(source, places): (_, Vec<_>)| snippet(source, &places);
        files.into_iter().map(snippet).collect()
    }
}

/// Draws places of one file; the one without a label is that of the problem itself.
fn snippet<'a>(
    source: &'a Source,
    places: &[(Span, Option<&'a str>)],
) -> Snippet<'a, Annotation<'a>> {
    let spans: Vec<_> = places
        .iter()
        .map(|(span, _)| source.first_line(*span))
        .collect();
    let (text, start) = source.lines(&spans);
    let annotation = |(span, label): (Span, Option<&'a str>)| {
        let within = span.start.saturating_sub(start)..span.end.saturating_sub(start);
        match label {
            None => AnnotationKind::Primary.span(within),
            Some(label) => AnnotationKind::Context.span(within).label(label),
        }
    };
    let labels = places.iter().map(|(_, label)| *label);
    Snippet::source(text)
        .path(source.path.as_str())
        .line_start(source.line(Span::at(start)))
        .annotations(spans.into_iter().zip(labels).map(annotation))
}

/// A file that cannot be used, with everything that is wrong with it.
///
/// Displays as the plain rendering of every diagnostic and a line that counts them.
#[derive(Clone, Debug)]
pub struct LoadError {
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) inputs: Snapshot,
}

impl LoadError {
    /// Returns the errors and warnings in the order of the file.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Returns what was read: a change of it may mend the error.
    pub fn inputs(&self) -> &Snapshot {
        &self.inputs
    }

    /// Draws the first hundred diagnostics and a line that counts all; `color` adds terminal colors.
    pub fn render(&self, color: bool) -> String {
        let mut text = String::new();
        for diagnostic in self.diagnostics.iter().take(MAX_SHOWN) {
            text.push_str(&diagnostic.render(color));
            text.push_str("\n\n");
        }
        text.push_str(&self.summary());
        if self.diagnostics.len() > MAX_SHOWN {
            write!(text, ", the first {MAX_SHOWN} are shown").ok();
        }
        text
    }

    /// Names the file, and counts the errors and warnings.
    pub fn summary(&self) -> String {
        let of = |severity| {
            (self.diagnostics.iter())
                .filter(|diagnostic| diagnostic.severity() == severity)
                .count()
        };
        let mut counts = vec![plural(of(Severity::Error), "error")];
        if of(Severity::Warning) > 0 {
            counts.push(plural(of(Severity::Warning), "warning"));
        }
        let first = self.diagnostics.first();
        let path = first.map_or("", |first| &first.sources.root().path);
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
