//! The texts that problems point into.
//!
//! A definition may stand in several files. Offsets count through all of them, one after the
//! other in the order in which they were read, so that a [`Span`] alone says which file it is in.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How much of a line is drawn from a place on, and underlined, in bytes. A line may be the whole file.
const MAX_DRAWN: usize = 512;

/// A piece of a source, as byte offsets that count through all sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// The empty span at an offset.
    pub(crate) fn at(offset: usize) -> Self {
        Self {
            start: offset,
            end: offset,
        }
    }
}

/// The text of a file and its name as the user gave it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    /// The offset of the first byte, counted through all sources.
    pub(crate) base: usize,
    /// Where relative paths in the text start.
    pub(crate) folder: PathBuf,
    /// Where the lines after the first one start, counted from `base`.
    lines: Vec<usize>,
}

impl Source {
    /// The first source; [`Sources::add`] makes the others.
    pub(crate) fn new(path: &Path, text: String) -> Self {
        Self::at(0, path, text)
    }

    fn at(base: usize, path: &Path, text: String) -> Self {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        Self {
            path: path.display().to_string(),
            base,
            folder: folder.to_owned(),
            lines: text.match_indices('\n').map(|(at, _)| at + 1).collect(),
            text,
        }
    }

    /// The text of a span; `None` when it is not within this source.
    pub(crate) fn slice(&self, span: Span) -> Option<&str> {
        self.text.get(self.range(span))
    }

    /// The line of a place, counted from 1.
    pub(crate) fn line(&self, span: Span) -> usize {
        let start = self.range(span).start;
        self.lines.partition_point(|line| *line <= start) + 1
    }

    /// The column of a place in characters, counted from 1.
    pub(crate) fn column(&self, span: Span) -> usize {
        let start = self.range(span).start;
        let before = self.text.get(self.line_start(start)..start);
        before.unwrap_or_default().chars().count() + 1
    }

    /// Writes `tools.yaml:12`.
    pub(crate) fn place(&self, span: Span) -> String {
        format!("{}:{}", self.path, self.line(span))
    }

    /// The part of the text that a span is.
    fn range(&self, span: Span) -> Range<usize> {
        span.start.saturating_sub(self.base)..span.end.saturating_sub(self.base)
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
            for byte in bytes.get_mut(self.range(*span)).unwrap_or_default() {
                if !matches!(byte, b'\n' | b'\r') {
                    *byte = b'*';
                }
            }
        }
        Self {
            path: self.path.clone(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
            base: self.base,
            folder: self.folder.clone(),
            lines: self.lines.clone(),
        }
    }

    /// Shortens a span to its first line, because a rule under ten lines hides the point.
    pub(crate) fn first_line(&self, span: Span) -> Span {
        let text = self.slice(span).unwrap_or_default();
        let length = text.find(['\r', '\n']).unwrap_or(text.len());
        Span {
            start: span.start,
            end: span.start + boundary(text, length.min(MAX_DRAWN)),
        }
    }

    /// The lines that hold these spans, with the offset where they start.
    pub(crate) fn lines(&self, spans: &[Span]) -> (&str, usize) {
        let ranges = || spans.iter().map(|span| self.range(*span));
        let first = ranges().map(|range| range.start).min().unwrap_or(0);
        let last = ranges().map(|range| range.end).max().unwrap_or(0);
        let text = &self.text;
        let start = self.line_start(first);
        let end = text
            .get(last..)
            .and_then(|after| after.find('\n'))
            .map_or(text.len(), |newline| last + newline);
        let end = boundary(text, end.min(last + MAX_DRAWN));
        (text.get(start..end).unwrap_or_default(), self.base + start)
    }
}

/// The offset itself, or that of the character which it is within.
fn boundary(text: &str, mut offset: usize) -> usize {
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// A file and the files that it includes, in the order in which they were read.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    root: Arc<Source>,
    included: Vec<Arc<Source>>,
}

impl Sources {
    pub(crate) fn new(root: Source) -> Self {
        Self {
            root: Arc::new(root),
            included: Vec::new(),
        }
    }

    /// The file that everything begins with.
    pub(crate) fn root(&self) -> &Arc<Source> {
        &self.root
    }

    /// The source that an offset is in.
    pub(crate) fn at(&self, offset: usize) -> &Arc<Source> {
        let after = self
            .included
            .partition_point(|source| source.base <= offset);
        let found = after.checked_sub(1).and_then(|at| self.included.get(at));
        found.unwrap_or(&self.root)
    }

    /// Adds a file that another one includes.
    pub(crate) fn add(&mut self, path: &Path, text: String) -> Arc<Source> {
        let last = self.included.last().unwrap_or(&self.root);
        // The place after the last byte is still in its file.
        let base = last.base + last.text.len() + 1;
        let source = Arc::new(Source::at(base, path, text));
        self.included.push(Arc::clone(&source));
        source
    }

    /// Writes `tools.yaml:12`.
    pub(crate) fn place(&self, span: Span) -> String {
        self.at(span.start).place(span)
    }

    /// The same sources with `*` for every byte of these spans.
    pub(crate) fn without(self, hidden: &[Span]) -> Self {
        if hidden.is_empty() {
            return self;
        }
        let without = |source: &Arc<Source>| {
            let own = |span: &&Span| Arc::ptr_eq(self.at(span.start), source);
            let hidden: Vec<Span> = hidden.iter().filter(own).copied().collect();
            Arc::new(source.without(&hidden))
        };
        Self {
            root: without(&self.root),
            included: self.included.iter().map(without).collect(),
        }
    }
}
