//! Standard output as it arrives: the lines that may be messages, and the rest, which is output.
//!
//! Each byte is looked at once, however the output is cut into reads. What is held is bounded by
//! twice the limit: the output, and one line that may be a message.

use super::kept::{Beyond, Kept, Overflow, Rest};
use super::spill::Spill;

/// Takes output in parts.
#[derive(Debug)]
pub(super) struct Lines {
    limit: usize,
    output: Kept,
    /// The line that may be a message, as far as it has arrived.
    line: Vec<u8>,
    state: State,
    number: u64,
}

/// What is known about the line that is arriving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Only blanks have arrived.
    Open,
    /// It starts with a brace, and may be a message.
    Candidate,
    /// It is output.
    Output,
}

impl Lines {
    /// Nothing has arrived. At most `limit` bytes are kept as output, and a line that may be a
    /// message has at most as many.
    pub(super) fn new(limit: usize, beyond: Beyond) -> Self {
        Self {
            limit,
            output: Kept::new(limit, beyond),
            line: Vec::new(),
            state: State::Open,
            number: 1,
        }
    }

    /// Takes the next bytes as output, whatever they are.
    ///
    /// # Errors
    ///
    /// [`Overflow`] for output beyond the limit, of which the first part is kept.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Result<(), Overflow> {
        self.output.push(bytes)
    }

    /// Takes the next bytes. Each line that may be a message is given, with its number and once it
    /// is whole, to `is_message`; the others, and what that refuses, are output.
    ///
    /// # Errors
    ///
    /// [`Overflow`] for output or a line beyond the limit. Nothing may be pushed after that.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        mut is_message: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), Overflow> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.part(part)?;
            if part.ends_with(b"\n") {
                self.end_line(&mut is_message)?;
            }
        }
        Ok(())
    }

    /// Takes the end of the output: the last line needs no line break.
    ///
    /// # Errors
    ///
    /// As [`Lines::push`].
    pub(super) fn finish(
        &mut self,
        mut is_message: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), Overflow> {
        self.end_line(&mut is_message)
    }

    /// As [`Kept::spill`].
    pub(super) fn spill(&mut self) -> Option<&mut Spill> {
        self.output.spill()
    }

    /// The output, or its beginning and the rest of it.
    pub(super) fn into_output(self) -> (Vec<u8>, Rest) {
        self.output.into_output()
    }

    /// The number of the line that is arriving, counted from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The line that may be a message, as far as it has arrived.
    pub(super) fn candidate(&self) -> &[u8] {
        &self.line
    }

    /// Takes a part of a line, its line break included.
    fn part(&mut self, part: &[u8]) -> Result<(), Overflow> {
        if self.state == State::Open {
            match part.iter().find(|byte| !matches!(byte, b' ' | b'\t')) {
                None => {}
                Some(b'{') => self.state = State::Candidate,
                Some(_) => {
                    self.state = State::Output;
                    self.output.push(&self.line)?;
                    self.line.clear();
                }
            }
        }
        if self.state == State::Output {
            return self.keep(part);
        }
        let room = self.limit - self.line.len();
        if part.len() > room {
            // The line stays where it is, for the question what it was going to be.
            let fitting = part.get(..room).unwrap_or_default();
            self.line.extend_from_slice(fitting);
            self.output.push(&self.line)?;
            return Err(Overflow);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn end_line(
        &mut self,
        is_message: &mut impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), Overflow> {
        let is_output = self.state != State::Candidate || !is_message(self.number, &self.line);
        let kept = if is_output {
            self.output.push(&self.line)
        } else {
            Ok(())
        };
        self.line.clear();
        self.state = State::Open;
        self.number += 1;
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line that may be a message, with its number.
    type Candidate = (u64, Vec<u8>);
    /// A name, what is printed, what of it is output, and the candidates.
    type Case<'a> = (&'a str, &'a [u8], &'a [u8], &'a [(u64, &'a str)]);

    /// What is output, and which lines were given as candidates; those that hold an `m` are
    /// messages.
    fn read(limit: usize, parts: &[&[u8]]) -> (Result<(), Overflow>, Vec<u8>, Vec<Candidate>) {
        let mut lines = Lines::new(limit, Beyond::Nothing);
        let mut given = Vec::new();
        let mut is_message = |number, line: &[u8]| {
            given.push((number, line.to_owned()));
            line.contains(&b'm')
        };
        let mut end = Ok(());
        for part in parts {
            end = end.and_then(|()| lines.push(part, &mut is_message));
            assert!(lines.candidate().len() <= limit);
        }
        end = end.and_then(|()| lines.finish(&mut is_message));
        (end, lines.into_output().0, given)
    }

    #[test]
    fn lines_are_told_apart_wherever_the_output_is_cut() {
        let cases: [Case<'_>; 14] = [
            ("nothing", b"", b"", &[]),
            ("output", b"a\nb", b"a\nb", &[]),
            ("empty lines", b"\n\n \n\t", b"\n\n \n\t", &[]),
            ("blanks at the end", b"a\n  ", b"a\n  ", &[]),
            ("message", b"{m}\n", b"", &[(1, "{m}\n")]),
            ("message without a line break", b"{m}", b"", &[(1, "{m}")]),
            ("message after blanks", b" \t{m}\n", b"", &[(1, " \t{m}\n")]),
            (
                "carriage return",
                b"{m}\r\na\r\n",
                b"a\r\n",
                &[(1, "{m}\r\n")],
            ),
            (
                "among output",
                b"a\n{m}\nb\n\n {m2}\nc",
                b"a\nb\n\nc",
                &[(2, "{m}\n"), (5, " {m2}\n")],
            ),
            (
                "only looks like one",
                b"{x}\n{y}",
                b"{x}\n{y}",
                &[(1, "{x}\n"), (2, "{y}")],
            ),
            ("not at the start", b"a {m}\n", b"a {m}\n", &[]),
            ("another bracket", b"[m]\n\"m\"\n", b"[m]\n\"m\"\n", &[]),
            ("no UTF-8", b"\xff{m}\n\xfe", b"\xff{m}\n\xfe", &[]),
            ("a lone carriage return", b"\r{m}\n", b"\r{m}\n", &[]),
        ];
        for (name, input, output, candidates) in cases {
            let candidates: Vec<_> = candidates
                .iter()
                .map(|(number, line)| (*number, line.as_bytes().to_owned()))
                .collect();
            let expected = (Ok(()), output.to_owned(), candidates);
            for first in 0..=input.len() {
                for second in first..=input.len() {
                    let parts = [&input[..first], &input[first..second], &input[second..]];
                    assert_eq!(read(100, &parts), expected, "{name}: {first} {second}");
                }
            }
            let bytes: Vec<&[u8]> = input.chunks(1).collect();
            assert_eq!(read(100, &bytes), expected, "{name}, byte by byte");
        }
    }

    #[test]
    fn output_and_lines_end_at_the_limit_wherever_they_are_cut() {
        let cases: [(&str, &[u8], &[u8], bool); 10] = [
            ("as much as fits", b"0123456789", b"0123456789", true),
            ("one more", b"0123456789x", b"0123456789", false),
            ("on several lines", b"0123\n5678\nx", b"0123\n5678\n", false),
            (
                "messages are no output",
                b"{m345678}\n{m345678}\n0123456789",
                b"0123456789",
                true,
            ),
            ("a longer message", b"{m3456789}\n", b"{m3456789}", false),
            (
                "a message without an end",
                b"{m3456789012",
                b"{m34567890",
                false,
            ),
            (
                "blanks without an end",
                b"            ",
                b"          ",
                false,
            ),
            (
                "a line that is output after all",
                b"01\n{345678}\n",
                b"01\n{345678",
                false,
            ),
            (
                "blanks after output",
                b"01234567\n  x",
                b"01234567\n ",
                false,
            ),
            (
                "a last line that is output",
                b"01234\n{x7890",
                b"01234\n{x78",
                false,
            ),
        ];
        for (name, input, output, fits) in cases {
            for first in 0..=input.len() {
                for second in first..=input.len() {
                    let parts = [&input[..first], &input[first..second], &input[second..]];
                    let (end, found, _) = read(10, &parts);
                    assert_eq!((end.is_ok(), found.as_slice()), (fits, output), "{name}");
                }
            }
        }
    }

    #[test]
    fn what_is_read_does_not_depend_on_the_cuts() {
        const ALPHABET: &[u8] = b"{}m \n\n\rx";
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % below as u64).unwrap()
        };
        for round in 0..2000 {
            let length = next(60);
            let input: Vec<u8> = (0..length)
                .map(|_| ALPHABET[next(ALPHABET.len())])
                .collect();
            let limit = next(40);
            let whole = read(limit, &[&input]);
            let mut parts = Vec::new();
            let mut rest = input.as_slice();
            while !rest.is_empty() {
                let (part, behind) = rest.split_at(1 + next(rest.len().min(9)));
                parts.push(part);
                rest = behind;
            }
            assert_eq!(
                read(limit, &parts),
                whole,
                "{round}: {:?}",
                input.escape_ascii()
            );
            if whole.0.is_ok() {
                // Nothing is lost and nothing changes places.
                let is_output = |line: &&[u8]| {
                    let start = line.iter().find(|byte| !b" \t".contains(byte));
                    start != Some(&b'{') || !line.contains(&b'm')
                };
                let lines = input.split_inclusive(|byte| *byte == b'\n');
                let expected = lines.filter(is_output).collect::<Vec<_>>().concat();
                assert_eq!(whole.1, expected, "{:?}", input.escape_ascii());
            }
        }
    }
}
