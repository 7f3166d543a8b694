//! The standard error of one call: what is kept of it, and the progress in it.

use super::matched::Scanner;
use super::tail::Tail;
use crate::catalog::{Channel, Tool};
use crate::protocol::progress::Progress;
use crate::redact::Redactor;

/// How much of the end of standard error is kept, in bytes.
const MAX_STDERR: usize = 64 * 1024;

/// What arrives on standard error.
#[derive(Debug)]
pub(super) struct Stderr<'a> {
    tail: Tail,
    /// Finds the lines that are progress, if the definition knows such lines there.
    scanner: Option<Scanner<'a>>,
}

impl<'a> Stderr<'a> {
    /// Nothing has arrived.
    pub(super) fn new(tool: &'a Tool) -> Self {
        let lines = tool.progress.as_ref();
        let lines = lines.filter(|lines| lines.from == Channel::Stderr);
        Self {
            tail: Tail::new(MAX_STDERR),
            scanner: lines.map(|lines| Scanner::new(lines, tool.secrets())),
        }
    }

    /// Nothing has arrived, and nothing in it is progress.
    pub(super) fn unheard() -> Self {
        Self {
            tail: Tail::new(MAX_STDERR),
            scanner: None,
        }
    }

    /// Takes the next bytes, and tells the progress in them.
    pub(super) fn push(&mut self, bytes: &[u8], tell: impl FnMut(Progress)) {
        match &mut self.scanner {
            None => self.tail.push(bytes),
            Some(scanner) => self.tail.push(&scanner.push(bytes, tell)),
        }
    }

    /// Takes the end of the output.
    pub(super) fn finish(&mut self, tell: impl FnMut(Progress)) {
        if let Some(scanner) = &mut self.scanner {
            self.tail.push(&scanner.finish(tell));
        }
    }

    /// The end of what was printed and is no progress, without what may be a part of a secret.
    pub(super) fn end<'b>(&'b self, secrets: &Redactor) -> &'b [u8] {
        self.tail.without_parts(secrets)
    }
}
