//! YAML as a tree that knows where everything stands.
//!
//! Why a tree, and not a derived deserializer: a deserializer stops at its first error and has
//! forgotten the places by the time a meaning is checked. The checks of a file report every
//! problem in one pass, each with its line, and need a scalar exactly as it was written: `NO`,
//! `010` and `12:30` are text wherever a text is expected.
//!
//! The accepted language is YAML 1.2 with limits: one document, no directives, tags or merge
//! keys, keys that are plain words, and budgets for nesting, nodes and text. Aliases are
//! expanded here, inside those budgets, so nothing later has to think of them.

mod scalar;
mod syntax;

use std::collections::HashMap;

use granit_parser::{Event, Marker, Parser, options};
use serde_json::Value;

use super::diagnostic::{Code, Problem, Report, Source, Span};
pub(crate) use scalar::{Part, Scalar};

/// The largest file that is read, in bytes.
pub(crate) const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// How deep collections may nest; deeper files are attacks or accidents, and recursion is bounded.
const MAX_DEPTH: usize = 64;
/// How many nodes a file may have once aliases are expanded.
const MAX_NODES: usize = 100_000;
/// How much scalar text a file may have once aliases are expanded, in bytes.
const MAX_TEXT: usize = 8 * 1024 * 1024;

/// Advice that depends on what the file is for.
#[derive(Debug)]
pub(crate) struct Advice {
    /// What to write into an empty file.
    pub(crate) empty: &'static str,
    /// What to do instead of starting a second document.
    pub(crate) second_document: &'static str,
    /// What to do instead of merging keys.
    pub(crate) merge_key: &'static str,
    /// What to do when a file is too large.
    pub(crate) too_large: &'static str,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) content: Content,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A key of a mapping and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) value: Node,
}

/// The text of a key and its place.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// A key that stands twice in one mapping; the first one counts.
#[derive(Debug)]
pub(crate) struct Duplicate {
    pub(crate) first: Span,
    pub(crate) again: Key,
    /// The keys that lead to the mapping, from the root.
    pub(crate) path: Vec<String>,
}

impl Node {
    /// Says what the node is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.content {
            Content::Scalar(scalar) if scalar.is_null() => "nothing",
            Content::Scalar(scalar) => scalar.kind(),
            Content::Sequence(_) => "a list",
            Content::Mapping(_) => "a mapping",
        }
    }

    pub(crate) fn scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    pub(crate) fn mapping(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.mapping()?.iter().find(|entry| entry.key.text == key)
    }

    /// Resolves the node as JSON; `None` when it holds a number that JSON cannot hold.
    pub(crate) fn json(&self) -> Option<Value> {
        match &self.content {
            Content::Scalar(scalar) => scalar.json(),
            Content::Sequence(items) => {
                let values = items.iter().map(Self::json);
                values.collect::<Option<_>>().map(Value::Array)
            }
            Content::Mapping(entries) => {
                let values = (entries.iter())
                    .map(|entry| Some((entry.key.text.clone(), entry.value.json()?)));
                values.collect::<Option<_>>().map(Value::Object)
            }
        }
    }

    fn nodes(&self) -> Size {
        let mut size = Size { nodes: 1, text: 0 };
        match &self.content {
            Content::Scalar(scalar) => size.text = scalar.text.len(),
            Content::Sequence(items) => items.iter().for_each(|item| size.add(item.nodes())),
            Content::Mapping(entries) => entries.iter().for_each(|entry| {
                size.add(entry.value.nodes());
                size.text += entry.key.text.len();
            }),
        }
        size
    }

    fn depth(&self) -> usize {
        match &self.content {
            Content::Scalar(_) => 0,
            Content::Sequence(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Content::Mapping(entries) => {
                let values = entries.iter().map(|entry| entry.value.depth());
                1 + values.max().unwrap_or(0)
            }
        }
    }
}

impl Entry {
    /// The place to underline when the value is wrong: the value if it stands on one line, else
    /// its key, because a block of lines is no place.
    pub(crate) fn place(&self) -> Span {
        match &self.value.content {
            Content::Scalar(_) if !self.value.span.is_empty() => self.value.span,
            _ => self.key.span,
        }
    }
}

/// Parses the one document of a source.
///
/// Returns `None`, with a problem reported, when the text has no readable structure. Problems
/// that leave the structure intact are reported too, and the tree goes on without them.
pub(crate) fn parse(
    source: &Source,
    used: &mut Size,
    advice: &Advice,
    report: &mut Report,
) -> Option<(Node, Vec<Duplicate>)> {
    let options = options! {
        disallow_directives: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder::new(source, used, advice, report);
    for next in Parser::new_from_str_with_options(&source.text, options) {
        let step = match next {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => Err(syntax::problem(&error, source)),
        };
        if let Err(problem) = step {
            builder.report.add(problem);
            return None;
        }
    }
    let duplicates = std::mem::take(&mut builder.duplicates);
    let root = builder.root.take();
    if root.is_none() {
        let message = "the file is empty";
        let problem = Problem::of_file(source.base, Code::Unreadable, message).help(advice.empty);
        report.add(problem);
    }
    root.map(|root| (root, duplicates))
}

/// How much of the budgets is used, by all sources that belong together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    nodes: usize,
    text: usize,
}

impl Size {
    fn add(&mut self, other: Self) {
        self.nodes += other.nodes;
        self.text += other.text;
    }
}

/// A collection whose end was not seen yet.
struct Open {
    anchor: usize,
    span: Span,
    items: Items,
}

enum Items {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        places: HashMap<String, Span>,
        key: Pending,
    },
}

/// The key that waits for its value.
enum Pending {
    None,
    Key(Key),
    /// The key was refused; its value is read and dropped.
    Refused,
}

/// An anchored node that is complete, with what a copy of it costs.
struct Anchored {
    node: Node,
    size: Size,
    depth: usize,
}

struct Builder<'a> {
    source: &'a Source,
    used: &'a mut Size,
    advice: &'a Advice,
    report: &'a mut Report,
    open: Vec<Open>,
    anchored: HashMap<usize, Anchored>,
    documents: usize,
    root: Option<Node>,
    duplicates: Vec<Duplicate>,
}

impl<'a> Builder<'a> {
    fn new(
        source: &'a Source,
        used: &'a mut Size,
        advice: &'a Advice,
        report: &'a mut Report,
    ) -> Self {
        Self {
            source,
            used,
            advice,
            report,
            open: Vec::new(),
            anchored: HashMap::new(),
            documents: 0,
            root: None,
            duplicates: Vec::new(),
        }
    }

    fn event(&mut self, event: Event<'_>, span: granit_parser::Span) -> Result<(), Problem> {
        let place = self.place(&span);
        match event {
            Event::DocumentStart(..) => self.document(place),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &span);
                let scalar = Scalar::new(text.into_owned(), style, place, self.source);
                let content = Content::Scalar(scalar);
                let span = place;
                self.complete(Node { span, content }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &span);
                self.open(anchor, place, Items::Sequence(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &span);
                let items = Items::Mapping {
                    entries: Vec::new(),
                    places: HashMap::new(),
                    key: Pending::None,
                };
                self.open(anchor, place, items)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(place),
            Event::Alias(anchor) => self.alias(anchor, place),
            _ => Ok(()),
        }
    }

    fn document(&mut self, place: Span) -> Result<(), Problem> {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        let message = "a second document starts here, and a file holds one";
        Err(Problem::error(Code::Unreadable, place, message).help(self.advice.second_document))
    }

    fn open(&mut self, anchor: usize, span: Span, items: Items) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(span));
        }
        self.open.push(Open {
            anchor,
            span,
            items,
        });
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), Problem> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let content = match open.items {
            Items::Sequence(items) => Content::Sequence(items),
            Items::Mapping { entries, .. } => Content::Mapping(entries),
        };
        let span = Span {
            start: open.span.start,
            end: end.end.max(open.span.end),
        };
        self.complete(Node { span, content }, open.anchor)
    }

    fn alias(&mut self, anchor: usize, place: Span) -> Result<(), Problem> {
        let Some(anchored) = self.anchored.get(&anchor) else {
            let message = "this alias stands inside the value that it repeats";
            return Err(Problem::error(Code::Unreadable, place, message)
                .help("write the value out: a value cannot contain itself"));
        };
        if self.open.len() + anchored.depth > MAX_DEPTH {
            return Err(too_deep(place));
        }
        self.used.add(anchored.size);
        self.within_budget(place)?;
        let node = anchored.node.clone();
        self.attach(node, place);
        Ok(())
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        self.used.nodes += 1;
        self.used.text += node.scalar().map_or(0, |scalar| scalar.text.len());
        self.within_budget(node.span)?;
        if anchor != 0 {
            let anchored = Anchored {
                size: node.nodes(),
                depth: node.depth(),
                node: node.clone(),
            };
            self.anchored.insert(anchor, anchored);
        }
        let place = node.span;
        self.attach(node, place);
        Ok(())
    }

    fn within_budget(&self, place: Span) -> Result<(), Problem> {
        let message = if self.used.nodes > MAX_NODES {
            format!("the file has more than {MAX_NODES} values, its aliases expanded")
        } else if self.used.text > MAX_TEXT {
            let limit = MAX_TEXT / 1024 / 1024;
            format!("the file has more than {limit} MiB of text, its aliases expanded")
        } else {
            return Ok(());
        };
        Err(Problem::error(Code::Unreadable, place, message).help(self.advice.too_large))
    }

    /// Puts a node where it belongs: the root, a list, a key or the value of a key.
    fn attach(&mut self, node: Node, place: Span) {
        match self.open.last_mut().map(|open| &mut open.items) {
            None => self.root = Some(node),
            Some(Items::Sequence(items)) => items.push(node),
            Some(Items::Mapping { entries, key, .. }) => {
                match std::mem::replace(key, Pending::None) {
                    Pending::None => self.key(node, place),
                    Pending::Key(key) => entries.push(Entry { key, value: node }),
                    Pending::Refused => {}
                }
            }
        }
    }

    fn key(&mut self, node: Node, span: Span) {
        let pending = match node.content {
            Content::Scalar(scalar) if scalar.text == "<<" && scalar.is_plain() => {
                let message = "merge keys (`<<`) are not supported";
                let problem =
                    Problem::error(Code::Unreadable, span, message).help(self.advice.merge_key);
                self.report.add(problem);
                Pending::Refused
            }
            Content::Scalar(scalar) => self.unique(Key {
                text: scalar.text,
                span,
            }),
            _ => {
                let message = "a key is a text, not a list or a mapping";
                let problem = Problem::error(Code::Unreadable, span, message)
                    .help("quote a text that starts with `{` or `[`");
                self.report.add(problem);
                Pending::Refused
            }
        };
        if let Some(Items::Mapping { key, .. }) = self.open.last_mut().map(|open| &mut open.items) {
            *key = pending;
        }
    }

    fn unique(&mut self, key: Key) -> Pending {
        let Some(Items::Mapping { places, .. }) = self.open.last_mut().map(|open| &mut open.items)
        else {
            return Pending::Refused;
        };
        if let Some(first) = places.get(&key.text).copied() {
            let path = path(&self.open);
            let again = key;
            self.duplicates.push(Duplicate { first, again, path });
            return Pending::Refused;
        }
        places.insert(key.text.clone(), key.span);
        Pending::Key(key)
    }

    fn refuse_tag(&mut self, tagged: bool, span: &granit_parser::Span) {
        if !tagged {
            return;
        }
        let place = span
            .tag_span()
            .map_or_else(|| self.place(span), |tag| self.place(&tag));
        let message = "tags are not supported";
        let problem = Problem::error(Code::Unreadable, place, message)
            .help("remove the tag; quote a value to keep it a text");
        self.report.add(problem);
    }

    fn place(&self, span: &granit_parser::Span) -> Span {
        Span {
            start: offset(&span.start, self.source),
            end: offset(&span.end, self.source),
        }
    }
}

/// The keys that lead to the innermost open mapping.
fn path(open: &[Open]) -> Vec<String> {
    let outer = open.split_last().map_or(&[][..], |(_, outer)| outer);
    (outer.iter())
        .filter_map(|open| match &open.items {
            Items::Mapping {
                key: Pending::Key(key),
                ..
            } => Some(key.text.clone()),
            _ => None,
        })
        .collect()
}

fn too_deep(place: Span) -> Problem {
    let message = format!("lists and mappings nest deeper than {MAX_DEPTH} levels");
    Problem::error(Code::Unreadable, place, message)
}

/// The byte offset of a parser's position, kept inside the text and on a character.
fn offset(marker: &Marker, source: &Source) -> usize {
    let text = &source.text;
    let mut offset = marker.byte_offset().unwrap_or(0).min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    source.base + offset
}
