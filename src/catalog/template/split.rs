//! Splitting a synopsis into words, groups and segments.

use std::ops::Range;

use super::{CallerFact, Group, Item, Segment, Slot, Template, Word, is_parameter_name};
use crate::catalog::exec::{FILE_PREFIX, is_file_name};
use crate::catalog::interpreter;
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::values::unexpanded::in_word;
use crate::document::yaml::Scalar;

/// Splits a synopsis; what is wrong with it is reported, and the rest is split as well as it goes.
pub(crate) fn split(scalar: &Scalar, report: &mut Report) -> Template {
    let mut splitter = Splitter::new(scalar, report);
    let items = splitter.items();
    let (is_sound, unexpanded) = (splitter.is_sound, splitter.unexpanded);
    let template = Template::new(items, is_sound);
    if !interpreter::runs_a_shell(&template) {
        for warning in unexpanded {
            report.add(warning);
        }
    }
    template
}

/// Reads a text as one word with placeholders, as inside `"…"`.
pub(crate) fn segments(scalar: &Scalar, report: &mut Report) -> Word {
    let mut splitter = Splitter::new(scalar, report);
    let mut word = Builder::default();
    while !splitter.cursor.rest.is_empty() {
        splitter.placeholder_or_character(&mut word);
    }
    let span = splitter.span(0..scalar.written().len());
    word.finish(span)
}

/// A position in a text.
struct Cursor<'a> {
    rest: &'a str,
    offset: usize,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            offset: 0,
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Whether the current character is the last one of its word.
    fn is_word_end_next(&self) -> bool {
        let mut characters = self.rest.chars();
        characters.next();
        characters.next().is_none_or(char::is_whitespace)
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .unwrap_or((self.rest, ""));
        self.rest = rest;
        self.offset += taken.len();
        taken
    }

    fn take_character(&mut self) -> &'a str {
        self.take(self.peek().map_or(0, char::len_utf8))
    }

    fn take_while(&mut self, accepted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !accepted(c));
        self.take(end.unwrap_or(self.rest.len()))
    }

    fn skip_white_space(&mut self) {
        self.take_while(char::is_whitespace);
    }
}

/// Puts a word together, merging literal text.
#[derive(Default)]
struct Builder {
    segments: Vec<Segment>,
}

impl Builder {
    fn literal(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        match self.segments.last_mut() {
            Some(Segment::Literal(last)) => last.push_str(text),
            _ => self.segments.push(Segment::Literal(text.to_owned())),
        }
    }

    fn finish(self, span: Span) -> Word {
        Word {
            segments: self.segments,
            span,
        }
    }
}

struct Splitter<'a> {
    cursor: Cursor<'a>,
    scalar: &'a Scalar,
    report: &'a mut Report,
    /// Whether quotes and brackets fit together so far.
    is_sound: bool,
    /// Warnings of what only a shell would expand.
    unexpanded: Vec<Problem>,
}

impl<'a> Splitter<'a> {
    fn new(scalar: &'a Scalar, report: &'a mut Report) -> Self {
        Self {
            cursor: Cursor::new(scalar.written()),
            scalar,
            report,
            is_sound: true,
            unexpanded: Vec::new(),
        }
    }
}

impl Splitter<'_> {
    fn items(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        loop {
            self.cursor.skip_white_space();
            match self.cursor.peek() {
                None => return items,
                Some('[') => items.push(Item::Group(self.group())),
                Some(_) => items.push(Item::Word(self.word(false).0)),
            }
        }
    }

    fn group(&mut self) -> Group {
        let start = self.cursor.offset;
        self.cursor.take_character();
        let flag = self.flag();
        let words = self.group_words(start);
        let span = self.span(start..self.cursor.offset);
        if words.is_empty() {
            let problem = Problem::error(Code::Template, span, "the group is empty")
                .help("put words between the brackets, or quote them to pass them literally");
            self.report.add(problem);
            self.is_sound = false;
        }
        Group { flag, words, span }
    }

    fn group_words(&mut self, start: usize) -> Vec<Word> {
        let mut words = Vec::new();
        loop {
            self.cursor.skip_white_space();
            match self.cursor.peek() {
                None => {
                    let help = "close it with `]` at the end of a word, or quote the bracket \
                                to pass it literally";
                    self.malformed(start..start + 1, "the group is never closed", help);
                    return words;
                }
                Some(']') if self.cursor.is_word_end_next() => {
                    self.cursor.take_character();
                    return words;
                }
                Some('[') => {
                    let at = self.cursor.offset;
                    let help = "close the first group before the second, or quote the bracket";
                    self.malformed(at..at + 1, "groups do not nest", help);
                }
                Some(_) => {}
            }
            let (word, closed) = self.word(true);
            words.push(word);
            if closed {
                return words;
            }
        }
    }

    /// Reads the `name?` that may follow an opening bracket.
    fn flag(&mut self) -> Option<Slot> {
        let rest = self.cursor.rest.trim_start();
        let (name, after) = rest.split_once('?')?;
        let ends = after
            .chars()
            .next()
            .is_none_or(|c| c.is_whitespace() || c == ']');
        if !is_parameter_name(name) || !ends {
            return None;
        }
        self.cursor.skip_white_space();
        let start = self.cursor.offset;
        self.cursor.take(name.len() + 1);
        Some(Slot {
            name: name.to_owned(),
            span: self.span(start..start + name.len()),
        })
    }

    /// Reads one word; also says whether it closed the group that it stands in.
    fn word(&mut self, in_group: bool) -> (Word, bool) {
        let start = self.cursor.offset;
        let mut word = Builder::default();
        let mut opened = 0_usize;
        if self.cursor.rest.starts_with('~') {
            let end = self.cursor.rest.find(char::is_whitespace);
            self.check_unexpanded(end);
        }
        while let Some(character) = self.cursor.peek() {
            let last = self.cursor.is_word_end_next();
            match character {
                _ if character.is_whitespace() => break,
                '"' => self.double_quoted(&mut word),
                '\'' => self.single_quoted(&mut word),
                ']' if opened == 0 && last && in_group => {
                    let word = word.finish(self.span(start..self.cursor.offset));
                    self.cursor.take_character();
                    return (word, true);
                }
                ']' if opened == 0 && last => {
                    let at = self.cursor.offset;
                    let help = "remove it, or quote it to pass it literally";
                    self.malformed(at..at + 1, "`]` closes no group", help);
                    word.literal(self.cursor.take_character());
                }
                '[' | ']' => {
                    opened = match character {
                        '[' => opened + 1,
                        _ => opened.saturating_sub(1),
                    };
                    word.literal(self.cursor.take_character());
                }
                _ if self.replaced(&mut word) || self.shell_syntax(&mut word) => {}
                _ => self.placeholder_or_character(&mut word),
            }
        }
        let word = word.finish(self.span(start..self.cursor.offset));
        (word, false)
    }

    fn single_quoted(&mut self, word: &mut Builder) {
        let start = self.cursor.offset;
        self.cursor.take_character();
        loop {
            match self.cursor.peek() {
                None => return self.unclosed_quote(start, word),
                Some('\'') => {
                    self.cursor.take_character();
                    return;
                }
                Some(_) => self.replaced_or_character(word),
            }
        }
    }

    fn double_quoted(&mut self, word: &mut Builder) {
        let start = self.cursor.offset;
        self.cursor.take_character();
        self.check_unexpanded(self.cursor.rest.find('"'));
        loop {
            match self.cursor.peek() {
                None => return self.unclosed_quote(start, word),
                Some('"') => {
                    self.cursor.take_character();
                    return;
                }
                Some('\\') if self.cursor.rest.starts_with("\\\"") => {
                    let at = self.cursor.offset;
                    let help = "write a text that holds `\"` inside '…'";
                    self.malformed(at..at + 2, "`\\\"` is no escape here", help);
                    word.literal(self.cursor.take(2));
                }
                Some(_) => self.placeholder_or_character(word),
            }
        }
    }

    /// Looks for what a shell would expand in the text from here to there, or to the end.
    fn check_unexpanded(&mut self, end: Option<usize>) {
        let (start, rest) = (self.cursor.offset, self.cursor.rest);
        let text = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let warning = in_word(text, |range| {
            self.span(start + range.start..start + range.end)
        });
        self.unexpanded.extend(warning);
    }

    fn unclosed_quote(&mut self, start: usize, word: &mut Builder) {
        let help = "close it, or write the quote inside quotes of the other kind";
        self.malformed(start..start + 1, "the quote is never closed", help);
        let rest = self.cursor.rest.len();
        word.literal(self.cursor.take(rest));
    }

    /// Reads `{{ … }}`, a placeholder, or one literal character.
    fn placeholder_or_character(&mut self, word: &mut Builder) {
        let start = self.cursor.offset;
        if self.cursor.rest.starts_with("{{") {
            return self.literal_braces(word);
        }
        let Some((name, spread)) = placeholder(self.cursor.rest) else {
            return self.replaced_or_character(word);
        };
        let length = name.len() + if spread { 5 } else { 2 };
        self.cursor.take(length);
        let slot = Slot {
            name: name.to_owned(),
            span: self.span(start..start + length),
        };
        word.segments.push(if spread {
            Segment::Spread(slot)
        } else {
            Segment::Value(slot)
        });
    }

    fn literal_braces(&mut self, word: &mut Builder) {
        let start = self.cursor.offset;
        word.literal(self.cursor.take(2));
        if !self.cursor.rest.contains("}}") {
            let help = "close it with `}}`, or put it inside '…'";
            return self.malformed(start..start + 2, "`{{` is never closed", help);
        }
        while !self.cursor.rest.is_empty() && !self.cursor.rest.starts_with("}}") {
            self.replaced_or_character(word);
        }
        word.literal(self.cursor.take(2));
    }

    fn replaced_or_character(&mut self, word: &mut Builder) {
        if !self.replaced(word) {
            word.literal(self.cursor.take_character());
        }
    }

    /// Reads a part that was replaced, as literal text in one piece; returns whether there was one.
    fn replaced(&mut self, word: &mut Builder) -> bool {
        let Some(part) = self.scalar.part_at(self.cursor.offset) else {
            return false;
        };
        self.cursor.take(part.range.len());
        word.literal(&part.value);
        true
    }

    /// Reports what a shell would interpret here; returns whether there was something.
    fn shell_syntax(&mut self, word: &mut Builder) -> bool {
        let Some(length) = shell_syntax(self.cursor.rest) else {
            return false;
        };
        let start = self.cursor.offset;
        let text = self.cursor.take(length);
        let shown = match text.trim_end() {
            "\\" => "a trailing `\\`".to_owned(),
            shown => format!("`{shown}`"),
        };
        let help = match text.chars().next() {
            Some('\\') => "remove the backslash, or put the word inside '…'".to_owned(),
            Some('$') => match text.trim_matches(['$', '{', '}', '(']) {
                "" => {
                    "a program gets it as it stands inside '…'; a value comes from a parameter or \
                       from `env`"
                        .to_owned()
                }
                name if name.contains(|c: char| c.is_ascii_lowercase()) => {
                    format!("write `{{{name}}}` for a parameter, or '{text}' to pass it literally")
                }
                name => format!(
                    "write `${{env:{name}}}` for the variable of the server, or '{text}' to pass it \
                     literally"
                ),
            },
            _ => format!("quote it to pass it literally, '{text}', or run a script that holds it"),
        };
        let span = self.span(start..start + text.trim_end().len());
        let message = format!("{shown} has no meaning here: `exec` runs no shell");
        let problem = Problem::error(Code::ShellSyntax, span, message).help(help);
        self.report.add(problem);
        word.literal(text.trim_end());
        true
    }

    fn malformed(&mut self, range: Range<usize>, message: &str, help: &str) {
        self.is_sound = false;
        let span = self.span(range);
        self.report
            .add(Problem::error(Code::Template, span, message).help(help));
    }

    fn span(&self, range: Range<usize>) -> Span {
        self.scalar.place(range, self.report)
    }
}

/// Recognizes `{name}`, `{name...}`, `{caller.…}` and `{file:…}` at the start of a text.
fn placeholder(text: &str) -> Option<(&str, bool)> {
    let (inner, _) = text.strip_prefix('{')?.split_once('}')?;
    let (name, spread) = match inner.strip_suffix("...") {
        Some(name) => (name, true),
        None => (inner, false),
    };
    let is_other = CallerFact::parse(name).is_some() || is_file(name);
    (is_parameter_name(name) || (is_other && !spread)).then_some((name, spread))
}

fn is_file(name: &str) -> bool {
    name.strip_prefix(FILE_PREFIX).is_some_and(is_file_name)
}

/// Whether a text that is taken as it stands looks as if it had a placeholder.
pub(crate) fn has_placeholder(text: &str) -> bool {
    // `${NAME}` is none of ours.
    let mut starts = (text.match_indices('{'))
        .filter(|(at, _)| !text.get(..*at).is_some_and(|before| before.ends_with('$')));
    starts.any(|(at, _)| text.get(at..).and_then(placeholder).is_some())
}

/// The length of the shell syntax at the start of a text, if there is some.
fn shell_syntax(text: &str) -> Option<usize> {
    let mut characters = text.chars();
    let first = characters.next()?;
    let second = characters.next();
    match first {
        '|' | '>' | '<' | ';' | '&' => {
            let run = text.find(|c| c != first && !(first == '>' && c == '&'));
            Some(run.unwrap_or(text.len()))
        }
        '`' => Some(1),
        '$' => match second? {
            '(' => Some(2),
            '{' => {
                let name = text.get(2..)?;
                let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let is_whole =
                    end.filter(|end| name.get(*end..).is_some_and(|rest| rest.starts_with('}')));
                Some(is_whole.map_or(2, |end| end + 3))
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let name = text.get(1..)?;
                let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                Some(1 + end.unwrap_or(name.len()))
            }
            _ => None,
        },
        '\\' => match second {
            None => Some(1),
            Some(c) if c.is_whitespace() => Some(1 + c.len_utf8()),
            Some(c) if "|><;&`$'\"".contains(c) => Some(1 + c.len_utf8()),
            Some(_) => None,
        },
        _ => None,
    }
}
