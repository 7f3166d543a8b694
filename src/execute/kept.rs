//! How much of an output is kept.

use super::spill::Spill;
use super::tail::Tail;

/// The program printed more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overflow;

/// Output up to a limit: its beginning, and of the rest what the definition says.
#[derive(Debug)]
pub(super) struct Kept {
    limit: usize,
    beginning: Vec<u8>,
    beyond: Beyond,
    /// How many bytes came beyond the limit.
    surplus: u64,
}

/// What becomes of output beyond the limit.
#[derive(Debug)]
pub(super) enum Beyond {
    /// The program may not go on.
    Nothing,
    /// Its end is kept.
    Tail(Tail),
    /// All of it is kept, in a file.
    Spill(Spill),
}

/// What is kept of an output besides its beginning.
#[derive(Debug, Default)]
pub(super) enum Rest {
    /// Nothing: there is no more of it, or it may not go on.
    #[default]
    Nothing,
    /// Its end; the middle is left out.
    End(End),
    /// All of it, once more.
    Spill(Spill),
}

/// The end of an output whose middle is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    /// How many bytes are left out.
    pub(super) left_out: u64,
    /// What follows.
    pub(super) bytes: Vec<u8>,
}

impl Beyond {
    /// The end of an output is kept, of which there may be so many bytes in all.
    pub(super) fn tail(limit: usize) -> Self {
        Self::Tail(Tail::new(limit.div_ceil(2)))
    }
}

impl Kept {
    /// Keeps the first `limit` bytes; with an end, half of them and half as many of that.
    pub(super) fn new(limit: usize, beyond: Beyond) -> Self {
        Self {
            limit,
            beginning: Vec::new(),
            beyond,
            surplus: 0,
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// [`Overflow`] beyond the limit, unless it goes on. What fits is kept.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Overflow> {
        let room = self.limit - self.beginning.len();
        let (fitting, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        self.beginning.extend_from_slice(fitting);
        if rest.is_empty() {
            return Ok(());
        }
        self.surplus += rest.len() as u64;
        match &mut self.beyond {
            Beyond::Nothing => Err(Overflow),
            Beyond::Tail(tail) => {
                tail.push(rest);
                Ok(())
            }
            Beyond::Spill(spill) => spill.push(&self.beginning, rest),
        }
    }

    /// The file that the output goes on into, if something waits to be written there.
    pub(super) fn spill(&mut self) -> Option<&mut Spill> {
        match &mut self.beyond {
            Beyond::Spill(spill) if spill.is_due() => Some(spill),
            _ => None,
        }
    }

    /// The output, or its beginning and the rest of it.
    pub(super) fn into_output(self) -> (Vec<u8>, Rest) {
        let (mut output, limit) = (self.beginning, self.limit);
        match self.beyond {
            Beyond::Spill(spill) if spill.has_begun() => (output, Rest::Spill(spill)),
            Beyond::Tail(tail) if self.surplus > 0 => {
                let mut end = Tail::new(limit.div_ceil(2));
                end.push(&output.split_off(limit / 2));
                end.push(tail.as_bytes());
                let end = End {
                    // As many bytes are kept as the limit says.
                    left_out: self.surplus,
                    bytes: end.as_bytes().to_owned(),
                };
                (output, Rest::End(end))
            }
            _ => (output, Rest::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_and_end_are_kept_however_the_output_arrives() {
        let cases = [
            ("", "", None),
            ("0123456789", "0123456789", None),
            ("0123456789a", "01234", Some((1, "6789a"))),
            ("0123456789abcdefghijklmnop", "01234", Some((16, "lmnop"))),
        ];
        for (output, beginning, end) in cases {
            let end = end.map(|(left_out, bytes)| End {
                left_out,
                bytes: bytes.as_bytes().to_owned(),
            });
            for size in 1..=output.len().max(1) {
                let mut kept = Kept::new(10, Beyond::tail(10));
                let mut parts = output.as_bytes().chunks(size);
                assert!(parts.all(|part| kept.push(part).is_ok()));
                let (found, rest) = kept.into_output();
                let found_end = match rest {
                    Rest::End(end) => Some(end),
                    Rest::Nothing | Rest::Spill(_) => None,
                };
                let expected = (beginning.as_bytes(), end.clone());
                assert_eq!(
                    (found.as_slice(), found_end),
                    expected,
                    "{output} by {size}"
                );
            }
        }
    }

    #[test]
    fn an_output_that_may_not_go_on_ends_at_its_limit() {
        let mut kept = Kept::new(3, Beyond::Nothing);
        assert_eq!(kept.push(b"ab"), Ok(()));
        assert_eq!(kept.push(b"cd"), Err(Overflow));
        let (output, rest) = kept.into_output();
        assert!(output == b"abc" && matches!(rest, Rest::Nothing));
    }
}
