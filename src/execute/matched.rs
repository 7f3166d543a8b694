//! The lines that a definition takes for progress: found in an output as it arrives, and taken out of
//! it.

use super::messages::progress_text;
use crate::catalog::ProgressLines;
use crate::protocol::plain::plain;
use crate::protocol::progress::Progress;
use crate::redact::Redactor;

/// The longest line that can be progress, in bytes. So much of an output is held back at most.
const MAX_LINE: usize = 64 << 10;

/// Takes output in parts. A line ends with a line break, or with a carriage return as those of
/// progress bars do.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    lines: &'a ProgressLines,
    /// What no progress may say.
    secrets: &'a Redactor,
    /// The line that is arriving.
    line: Vec<u8>,
    /// The line is too long to be progress, and what comes of it is output.
    is_long: bool,
    /// The line break after a carriage return belongs to the line before.
    swallows_break: bool,
    /// How many lines were progress.
    count: u64,
}

impl<'a> Scanner<'a> {
    /// Nothing has arrived.
    pub(super) fn new(lines: &'a ProgressLines, secrets: &'a Redactor) -> Self {
        Self {
            lines,
            secrets,
            line: Vec::new(),
            is_long: false,
            swallows_break: false,
            count: 0,
        }
    }

    /// Takes the next bytes, tells the progress in them, and returns what is known to be none.
    pub(super) fn push(&mut self, bytes: &[u8], mut tell: impl FnMut(Progress)) -> Vec<u8> {
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let mut kept = Vec::new();
        for part in bytes.split_inclusive(is_end) {
            if std::mem::take(&mut self.swallows_break) && part == b"\n" {
                continue;
            }
            self.line.extend_from_slice(part);
            let ends = part.last().is_some_and(is_end);
            self.is_long |= self.line.len() > MAX_LINE;
            if self.is_long {
                kept.append(&mut self.line);
                self.is_long = !ends;
            } else if ends {
                self.end_line(&mut kept, &mut tell);
            }
        }
        kept
    }

    /// Takes the end of the output: the last line needs no end.
    pub(super) fn finish(&mut self, mut tell: impl FnMut(Progress)) -> Vec<u8> {
        let mut kept = Vec::new();
        self.end_line(&mut kept, &mut tell);
        kept
    }

    fn end_line(&mut self, kept: &mut Vec<u8>, tell: &mut impl FnMut(Progress)) {
        let text = self.line.trim_ascii_end();
        let mark = if text.is_empty() {
            None
        } else {
            self.lines.mark(text)
        };
        let Some(mark) = mark else {
            kept.append(&mut self.line);
            return;
        };
        self.count += 1;
        self.swallows_break = self.line.ends_with(b"\r");
        self.line.clear();
        tell(Progress {
            progress: mark.done.unwrap_or_else(|| self.count.into()),
            total: mark.total,
            message: mark
                .message
                .map(|text| progress_text(plain(&text).into_owned(), self.secrets)),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::catalog::{Catalog, Environment};

    /// What is told of an output that arrives in parts of this many bytes, and what is kept.
    fn scan(pattern: &str, output: &[u8], size: usize) -> (Vec<String>, String) {
        let text = format!(
            "tools: {{t: {{description: d, exec: /bin/cat, progress: {{match: '{pattern}'}}}}}}"
        );
        let environment = Environment::default();
        let loaded = Catalog::parse(&text, Path::new("tools.yaml"), &environment).unwrap();
        let tool = loaded.catalog.tool("t").unwrap();
        let mut scanner = Scanner::new(tool.progress.as_ref().unwrap(), tool.secrets());
        let mut told = Vec::new();
        let mut kept = Vec::new();
        let mut tell = |progress: Progress| {
            let message = progress.message.unwrap_or_default();
            told.push(format!("{} {message}", progress.progress).trim().to_owned());
        };
        for part in output.chunks(size) {
            kept.extend(scanner.push(part, &mut tell));
        }
        kept.extend(scanner.finish(&mut tell));
        (told, String::from_utf8(kept).unwrap())
    }

    #[test]
    fn progress_is_taken_out_of_the_output_wherever_that_is_cut() {
        let percent = r"^\s*(?<done>\d+)%(?: (?<message>.*))?$";
        let cases: [(&str, &str, &str, &[&str], &str); 9] = [
            (
                "lines",
                percent,
                "a\n1%\nb\n2% two\n",
                &["1", "2 two"],
                "a\nb\n",
            ),
            (
                "bars",
                percent,
                "a\r\n 1%\r 2%\r100%\r\nb\r\n",
                &["1", "2", "100"],
                "a\r\nb\r\n",
            ),
            ("the last line", percent, "a\n7%", &["7"], "a\n"),
            ("a last line that is none", percent, "1%\nb", &["1"], "b"),
            ("nothing", percent, "", &[], ""),
            (
                "empty lines",
                percent,
                "\n\r\r\n\n1%\n\n",
                &["1"],
                "\n\r\r\n\n\n",
            ),
            (
                "counted",
                "^# (?<message>.*)",
                "# a\nx\n# b\n",
                &["1 a", "2 b"],
                "x\n",
            ),
            (
                "anything but empty lines",
                "(?<message>.*)",
                "a\n\nb\r\n",
                &["1 a", "2 b"],
                "\n",
            ),
            (
                "colours",
                "(?<message>.*)",
                "\u{1b}[1mbold\u{1b}[0m\n",
                &["1 bold"],
                "",
            ),
        ];
        for (name, pattern, output, told, kept) in cases {
            for size in 1..=output.len().max(1) {
                let found = scan(pattern, output.as_bytes(), size);
                let told = told.iter().map(|told| (*told).to_owned()).collect();
                assert_eq!(found, (told, kept.to_owned()), "{name}, {size}");
            }
        }
    }

    #[test]
    fn what_is_held_back_is_bounded() {
        let long = "1".repeat(MAX_LINE);
        let output = format!("{long}1%\n2%\n{long}");
        for size in [1000, MAX_LINE, output.len()] {
            let (told, kept) = scan(r"^(?<done>\d+)%", output.as_bytes(), size);
            assert_eq!(told, ["2"], "{size}");
            assert_eq!(kept, format!("{long}1%\n{long}"), "{size}");
        }
    }
}
