//! Lines of a bounded length.

use std::io;
use std::mem;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// How much is read at once, in bytes: what a pipe holds.
const CHUNK: usize = 64 * 1024;

/// What a client wrote up to the end of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The line, without its end.
    Text(Vec<u8>),
    /// It had more bytes than the limit, and is gone.
    TooLong,
}

/// Reads lines of at most `limit` bytes.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: BufReader<R>,
    limit: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(input: R, limit: usize) -> Self {
        Self {
            input: BufReader::with_capacity(CHUNK, input),
            limit,
        }
    }

    /// The next line; `None` at the end of the input. The last line needs no line break.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        let mut line = Line::Text(Vec::new());
        loop {
            let chunk = self.input.fill_buf().await?;
            if chunk.is_empty() {
                let is_none = matches!(&line, Line::Text(text) if text.is_empty());
                return Ok((!is_none).then_some(line));
            }
            let mut parts = chunk.splitn(2, |byte| *byte == b'\n');
            let part = parts.next().unwrap_or_default();
            let is_whole = parts.next().is_some();
            line.push(part, self.limit);
            let used = part.len() + usize::from(is_whole);
            self.input.consume(used);
            if is_whole {
                return Ok(Some(line));
            }
        }
    }
}

impl Line {
    fn push(&mut self, part: &[u8], limit: usize) {
        match self {
            Self::Text(text) if part.len() <= limit - text.len() => text.extend_from_slice(part),
            _ => drop(mem::replace(self, Self::TooLong)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_have_a_limit_and_the_input_goes_on_after_a_longer_one() {
        let cases: [(&str, &[Option<&str>]); 8] = [
            ("", &[]),
            ("\n", &[Some("")]),
            ("abc", &[Some("abc")]),
            ("abcd\nef\n", &[Some("abcd"), Some("ef")]),
            ("abcde\nef", &[None, Some("ef")]),
            ("abcde", &[None]),
            ("abcdefghijklmnop\n\nef\n", &[None, Some(""), Some("ef")]),
            ("a\r\nb", &[Some("a\r"), Some("b")]),
        ];
        for (input, expected) in cases {
            for chunk in [1, 2, 3, CHUNK] {
                let mut lines = Lines {
                    input: BufReader::with_capacity(chunk, input.as_bytes()),
                    limit: 4,
                };
                let mut found = Vec::new();
                while let Some(line) = lines.next().await.unwrap() {
                    found.push(line);
                }
                let expected: Vec<_> = expected
                    .iter()
                    .map(|line| match line {
                        Some(text) => Line::Text(text.as_bytes().to_vec()),
                        None => Line::TooLong,
                    })
                    .collect();
                assert_eq!(found, expected, "{input:?} by {chunk}");
            }
        }
    }
}
