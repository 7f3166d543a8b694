//! How much of an output is kept.

use super::tail::Tail;

/// The program printed more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overflow;

/// Output up to a limit: its beginning, or beginning and end.
#[derive(Debug)]
pub(super) struct Kept {
    limit: usize,
    beginning: Vec<u8>,
    /// What comes beyond the limit, if the program goes on then.
    end: Option<Tail>,
    /// How many bytes came beyond the limit.
    beyond: u64,
}

/// The end of an output whose middle is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    /// How many bytes are left out.
    pub(super) left_out: u64,
    /// What follows.
    pub(super) bytes: Vec<u8>,
}

impl Kept {
    /// Keeps the first `limit` bytes; with `goes_on` the first and the last half of as many.
    pub(super) fn new(limit: usize, goes_on: bool) -> Self {
        Self {
            limit,
            beginning: Vec::new(),
            end: goes_on.then(|| Tail::new(limit.div_ceil(2))),
            beyond: 0,
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
        let end = self.end.as_mut().ok_or(Overflow)?;
        end.push(rest);
        self.beyond += rest.len() as u64;
        Ok(())
    }

    /// The output, and its end if its middle is left out.
    pub(super) fn into_output(self) -> (Vec<u8>, Option<End>) {
        let (mut output, limit) = (self.beginning, self.limit);
        let Some(tail) = self.end.filter(|_| self.beyond > 0) else {
            return (output, None);
        };
        let mut end = Tail::new(limit.div_ceil(2));
        end.push(&output.split_off(limit / 2));
        end.push(tail.as_bytes());
        let end = End {
            // As many bytes are kept as the limit says.
            left_out: self.beyond,
            bytes: end.as_bytes().to_owned(),
        };
        (output, Some(end))
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
                let mut kept = Kept::new(10, true);
                let mut parts = output.as_bytes().chunks(size);
                assert!(parts.all(|part| kept.push(part).is_ok()));
                let expected = (beginning.as_bytes().to_owned(), end.clone());
                assert_eq!(kept.into_output(), expected, "{output} by {size}");
            }
        }
    }

    #[test]
    fn an_output_that_may_not_go_on_ends_at_its_limit() {
        let mut kept = Kept::new(3, false);
        assert_eq!(kept.push(b"ab"), Ok(()));
        assert_eq!(kept.push(b"cd"), Err(Overflow));
        assert_eq!(kept.into_output(), (b"abc".to_vec(), None));
    }
}
