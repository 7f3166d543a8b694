//! The synopsis of a command as its template.
//!
//! A template is split into words once, when the file is loaded. A value fills a place inside one
//! word, or becomes whole words, and is never split, parsed again or shown to a shell, so its
//! bytes reach the program as they are. How many words a command has depends on the template, on
//! which optional parameters are present and on the lengths of arrays, and on nothing else.
//!
//! # Grammar
//!
//! - White space separates words; newlines are white space.
//! - `{name}` is one value, `{name...}` an array that becomes one word for each item, where `name`
//!   is `[A-Za-z_][A-Za-z0-9_-]*`. All other braces are literal: `{.items[*]}` stays as it is, and
//!   white space inside single braces still separates words.
//! - `{caller.subject}`, `{caller.tenant}` and `{caller.scopes}` are values too, where a template may
//!   name the caller; elsewhere they are errors.
//! - `{file:name}` is the path of a file that a call writes, where a template may name one.
//! - `{{` starts literal text that goes on to the next `}}`, whatever it holds: white space,
//!   quotes, brackets, shell syntax, names. The braces stay, both of them: `{{json .}}` is the one
//!   word `{{json .}}`. A `{{` without a `}}` is an error.
//! - `"…"` holds placeholders and keeps white space; `'…'` is literal. Either may stand next to
//!   other text of the same word, as in `--format='%h %s'`. There are no escapes: a backslash is
//!   literal, and a quote is written inside the quotes of the other kind.
//! - `[` at the start of a word opens a group and `]` at the end of a word closes it, unless the
//!   word opened that bracket itself, as in `a[0]`. `[name? …]` keeps its words when the boolean
//!   is true or the value is present. Groups do not nest.
//! - Shell syntax outside quotes is an error, because it would silently do nothing.
//!
//! In the list form and in `env`, each item is one word as inside `"…"`.

mod check;
mod list;
mod render;
mod split;

use super::exec::FILE_PREFIX;
use super::interpreter;
use crate::auth::Caller;
use crate::document::diagnostic::Span;
pub(crate) use check::{Declared, check, check_declared};
pub(crate) use list::words_of_list;
pub(crate) use render::Renderer;
pub(crate) use split::{has_placeholder, segments, split};

/// A command line: words and groups of words in order. The first word is the program.
#[derive(Debug, Default)]
pub(crate) struct Template {
    pub(crate) items: Vec<Item>,
    /// Whether words and groups are certain to be where the author meant them.
    pub(crate) is_sound: bool,
    /// How many literal `--` must stand before what follows cannot be an option.
    pub(crate) separators: usize,
}

/// A part of a command line.
#[derive(Debug)]
pub(crate) enum Item {
    Word(Word),
    Group(Group),
}

/// Words that are left out together.
#[derive(Debug)]
pub(crate) struct Group {
    /// The parameter before the `?`.
    pub(crate) flag: Option<Slot>,
    pub(crate) words: Vec<Word>,
    pub(crate) span: Span,
}

/// One word of a command line.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    /// Neither two literals in a row nor an empty one; no segments at all is the empty word.
    pub(crate) segments: Vec<Segment>,
    pub(crate) span: Span,
}

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(String),
    Value(Slot),
    /// `{name...}`; a whole word, once the template is checked.
    Spread(Slot),
}

/// A place that a parameter fills, or the caller, or the path of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The name of a parameter, or that of a [`CallerFact`], or [`FILE_PREFIX`] and the name of a
    /// file.
    pub(crate) name: String,
    pub(crate) span: Span,
}

/// What a definition can say of whoever makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallerFact {
    Subject,
    Tenant,
    Scopes,
}

impl CallerFact {
    /// The names, which no parameter can have.
    pub(crate) const NAMES: &[(&str, Self)] = &[
        ("caller.subject", Self::Subject),
        ("caller.tenant", Self::Tenant),
        ("caller.scopes", Self::Scopes),
    ];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, fact)| *fact)
    }

    /// The text for a caller; what it lacks is empty.
    pub(crate) fn of(self, caller: &Caller) -> String {
        match self {
            Self::Subject => caller.subject().to_owned(),
            Self::Tenant => caller.tenant().to_owned(),
            Self::Scopes => caller.scopes_text(),
        }
    }
}

impl Slot {
    /// What the caller fills in, if it is no parameter.
    pub(crate) fn caller(&self) -> Option<CallerFact> {
        CallerFact::parse(&self.name)
    }

    /// The file whose path fills it, if it is no parameter.
    pub(crate) fn file(&self) -> Option<&str> {
        self.name.strip_prefix(FILE_PREFIX)
    }
}

impl Template {
    fn new(items: Vec<Item>, is_sound: bool) -> Self {
        let template = Self {
            items,
            is_sound,
            separators: 1,
        };
        Self {
            separators: interpreter::separators(&template),
            ..template
        }
    }

    /// A command of words alone, which is sound.
    pub(crate) fn of_words(words: Vec<Word>) -> Self {
        Self::new(words.into_iter().map(Item::Word).collect(), true)
    }

    /// All words in order, those of groups included.
    pub(crate) fn words(&self) -> impl Iterator<Item = &Word> {
        self.items.iter().flat_map(|item| match item {
            Item::Word(word) => std::slice::from_ref(word),
            Item::Group(group) => group.words.as_slice(),
        })
    }

    /// All parameters that the command names, flags included.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        let flags = self.items.iter().filter_map(|item| match item {
            Item::Group(group) => group.flag.as_ref(),
            Item::Word(_) => None,
        });
        flags.chain(self.words().flat_map(Word::slots))
    }
}

impl Group {
    /// Every parameter whose absence leaves the group out.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.flag
            .iter()
            .chain(self.words.iter().flat_map(Word::slots))
    }
}

impl Word {
    /// The text of a word without placeholders.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self.segments.as_slice() {
            [] => Some(""),
            [Segment::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The literal texts of the word.
    pub(crate) fn literals(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(text) => Some(text.as_str()),
            Segment::Value(_) | Segment::Spread(_) => None,
        })
    }

    /// The literal text that the word starts with.
    pub(crate) fn prefix(&self) -> &str {
        match self.segments.first() {
            Some(Segment::Literal(text)) => text,
            _ => "",
        }
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Value(slot) | Segment::Spread(slot) => Some(slot),
        })
    }
}

/// Whether a text can name a parameter: `[A-Za-z_][A-Za-z0-9_-]*`.
pub(crate) fn is_parameter_name(text: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    text.bytes().next().is_some_and(first) && text.bytes().all(rest)
}
