//! A second reader of JSON, as plain as can be, to compare the server's with.

use std::collections::HashSet;

use serde_json::value::RawValue;

/// What was seen in a text.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The deepest nesting of objects and arrays.
    pub(crate) depth: usize,
    /// A key stands twice in some object.
    pub(crate) has_duplicates: bool,
    /// A number is more than a float can hold: JSON by its grammar, but nothing to compute with.
    pub(crate) has_large_numbers: bool,
    /// The names of the members of the outermost object.
    pub(crate) names: Vec<String>,
}

/// Reads a whole text; `None` if it is not JSON.
pub(crate) fn scan(text: &[u8]) -> Option<Seen> {
    let mut scanner = Scanner {
        rest: std::str::from_utf8(text).ok()?,
        seen: Seen {
            depth: 0,
            has_duplicates: false,
            has_large_numbers: false,
            names: Vec::new(),
        },
    };
    scanner.value(0)?;
    scanner.skip_space();
    scanner.rest.is_empty().then_some(scanner.seen)
}

struct Scanner<'a> {
    rest: &'a str,
    seen: Seen,
}

impl<'a> Scanner<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    /// Takes a character, if it comes next.
    fn take(&mut self, wanted: char) -> Option<()> {
        self.skip_space();
        self.rest = self.rest.strip_prefix(wanted)?;
        Some(())
    }

    /// Takes so many bytes.
    fn part(&mut self, length: usize) -> &'a str {
        let (part, rest) = self.rest.split_at(length);
        self.rest = rest;
        part
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        self.skip_space();
        match self.rest.chars().next()? {
            '{' => self.object(depth + 1),
            '[' => self.array(depth + 1),
            '"' => self.string().map(drop),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.seen.depth = self.seen.depth.max(depth);
        self.take('{')?;
        if self.take('}').is_some() {
            return Some(());
        }
        let mut names = HashSet::new();
        loop {
            self.skip_space();
            let name = self.string()?;
            self.take(':')?;
            self.value(depth)?;
            if depth == 1 {
                self.seen.names.push(name.clone());
            }
            self.seen.has_duplicates |= !names.insert(name);
            if self.take(',').is_none() {
                return self.take('}');
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.seen.depth = self.seen.depth.max(depth);
        self.take('[')?;
        if self.take(']').is_some() {
            return Some(());
        }
        loop {
            self.value(depth)?;
            if self.take(',').is_none() {
                return self.take(']');
            }
        }
    }

    /// Takes a string. Where it ends is found here; what is in it, `serde_json` knows.
    fn string(&mut self) -> Option<String> {
        let mut is_escaped = false;
        let mut ends = self
            .rest
            .strip_prefix('"')?
            .char_indices()
            .filter(|(_, c)| {
                let ends = *c == '"' && !is_escaped;
                is_escaped = *c == '\\' && !is_escaped;
                ends
            });
        let (end, _) = ends.next()?;
        serde_json::from_str(self.part(end + 2)).ok()
    }

    /// Takes a number, of any size, or one of the three words.
    fn word(&mut self) -> Option<()> {
        let end = self.rest.find([' ', '\t', '\r', '\n', ',', ']', '}']);
        let word = self.part(end.unwrap_or(self.rest.len()));
        serde_json::from_str::<&RawValue>(word).ok()?;
        self.seen.has_large_numbers |= serde_json::from_str::<serde_json::Value>(word).is_err();
        Some(())
    }
}
