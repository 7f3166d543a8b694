//! Making one tree of the trees of several files.

use std::collections::{HashMap, hash_map};

use super::INCLUDE;
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::reader;
use crate::document::yaml::{Content, Duplicate, Entry, Key, Node};

/// The mappings in which all files share one set of names.
const MAPPINGS: &[&str] = &[
    "tools",
    "prompts",
    "resources",
    "resource_templates",
    "apis",
    "secrets",
    "toolsets",
];
/// The lists to which all files add.
const LISTS: &[&str] = &["tests"];
/// What is said of the server, once.
const OF_SERVER: &[&str] = &["name", "title", "icons", "instructions"];

/// What all files say, as if they were one.
pub(crate) struct Document {
    pub(crate) root: Node,
    /// The keys and names that stand twice, in one file or in two.
    pub(crate) duplicates: Vec<Duplicate>,
    /// The `defaults` of included files; those of the first file stay in `root`.
    pub(crate) defaults: Vec<Entry>,
    /// Whether there is an `include`, even if it found no file.
    pub(crate) includes: bool,
    /// Whether some file could not be read: what others name may stand there.
    pub(crate) is_partial: bool,
}

#[derive(Default)]
pub(super) struct Merger {
    /// The place of the first tree, once there is one.
    root: Option<Span>,
    entries: Vec<Entry>,
    duplicates: Vec<Duplicate>,
    defaults: Vec<Entry>,
    includes: bool,
    is_partial: bool,
    /// Where each name of a section stands first.
    names: HashMap<(String, String), Span>,
}

impl Merger {
    /// Adds the tree of a file.
    pub(super) fn add(&mut self, root: Node, duplicates: Vec<Duplicate>, report: &mut Report) {
        let (span, kind) = (root.span, root.kind());
        let Content::Mapping(entries) = root.content else {
            let message = format!("the file must be a mapping with `tools`, not {kind}");
            report.add(Problem::error(Code::Value, span, message));
            return;
        };
        let is_first = self.root.is_none();
        self.root.get_or_insert(span);
        self.duplicates.extend(duplicates);
        for entry in entries {
            match entry.key.text.as_str() {
                INCLUDE => self.includes = true,
                key if MAPPINGS.contains(&key) => self.add_mapping(entry, report),
                key if LISTS.contains(&key) => self.add_list(entry, report),
                "defaults" if !is_first => self.defaults.push(entry),
                key if !is_first && OF_SERVER.contains(&key) => report.add(of_server(&entry)),
                _ => self.entries.push(entry),
            }
        }
    }

    /// Remembers that there is no tree of some file.
    pub(super) fn lacks_a_file(&mut self) {
        self.is_partial = true;
    }

    pub(super) fn finish(self) -> Option<Document> {
        Some(Document {
            root: Node {
                span: self.root?,
                content: Content::Mapping(self.entries),
            },
            duplicates: self.duplicates,
            defaults: self.defaults,
            includes: self.includes,
            is_partial: self.is_partial,
        })
    }

    fn add_mapping(&mut self, section: Entry, report: &mut Report) {
        // A section that is no mapping is one mistake, and not also one that is missing.
        reader::mapping(&section, report);
        let Entry { key, value } = section;
        let mut unique = Vec::new();
        let entries = match value.content {
            Content::Mapping(entries) => entries,
            _ => Vec::new(),
        };
        for entry in entries {
            let name = (key.text.clone(), entry.key.text.clone());
            match self.names.entry(name) {
                hash_map::Entry::Vacant(place) => {
                    place.insert(entry.key.span);
                    unique.push(entry);
                }
                hash_map::Entry::Occupied(first) => self.duplicates.push(Duplicate {
                    first: *first.get(),
                    again: entry.key,
                    path: vec![key.text.clone()],
                }),
            }
        }
        self.extend(key, Content::Mapping(unique));
    }

    fn add_list(&mut self, section: Entry, report: &mut Report) {
        reader::list(&section, report);
        let content = match section.value.content {
            Content::Sequence(nodes) => nodes,
            _ => Vec::new(),
        };
        self.extend(section.key, Content::Sequence(content));
    }

    /// Adds to what is merged under a key so far.
    fn extend(&mut self, key: Key, content: Content) {
        let mut merged = self.entries.iter_mut();
        let merged = merged.find(|entry| entry.key.text == key.text);
        match (merged.map(|entry| &mut entry.value.content), content) {
            (Some(Content::Mapping(all)), Content::Mapping(more)) => all.extend(more),
            (Some(Content::Sequence(all)), Content::Sequence(more)) => all.extend(more),
            (_, content) => self.entries.push(Entry {
                value: Node {
                    span: key.span,
                    content,
                },
                key,
            }),
        }
    }
}

fn of_server(entry: &Entry) -> Problem {
    let name = &entry.key.text;
    let message = format!("`{name}` says something of the server, and this file is included");
    Problem::error(Code::UnknownKey, entry.key.span, message)
        .help("write it into the file that includes this one")
}
