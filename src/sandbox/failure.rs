//! What the step says when it cannot become the tool.
//!
//! It shares standard error with the tool, which must not be able to speak in its place. So its words
//! begin with a mark that the server drew for this call: the step is told on its command line, which
//! is gone when the tool takes its place.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::{fmt, str};

use super::policy::word;

/// The exit code of a step that failed. It alone says nothing, since a tool may use it too.
pub(super) const EXIT_CODE: u8 = 125;
/// The key of the mark among the words of the step.
pub(super) const MARK: &str = "mark";
const BECOME: &str = "become";
const CONFINE: &str = "confine";

/// Why a tool did not run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The program cannot be executed; the operating system's number for why.
    Become(i32),
    /// Its sandbox cannot be made; what is wrong with it.
    Confine(String),
}

/// What tells the words of the step from those of a tool, for one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark(String);

impl Mark {
    /// A mark that nobody can guess.
    ///
    /// # Errors
    ///
    /// When the system has no random bits.
    pub(super) fn random() -> io::Result<Self> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(io::Error::other)?;
        Ok(Self(format!("{:032x}", u128::from_ne_bytes(bits))))
    }

    /// A mark that the step was told.
    pub(super) fn told(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The word that tells it.
    pub(super) fn word(&self) -> OsString {
        word(MARK, self.0.as_ref())
    }

    /// What the step has said, if this is all that was said.
    pub(crate) fn failure(&self, said: &[u8]) -> Option<Failure> {
        let said = str::from_utf8(said).ok()?.trim_end_matches('\n');
        let said = said.strip_prefix(self.0.as_str())?.strip_prefix(' ')?;
        let (what, why) = said.split_once(' ')?;
        match what {
            BECOME => why.parse().ok().map(Failure::Become),
            CONFINE => Some(Failure::Confine(why.to_owned())),
            _ => None,
        }
    }

    /// Says why there is no tool.
    pub(super) fn tell(&self, failure: &Failure) {
        let line = format!("{} {failure}\n", self.0);
        // Whoever asked may be gone.
        drop(io::stderr().write_all(line.as_bytes()));
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Become(errno) => write!(formatter, "{BECOME} {errno}"),
            Self::Confine(why) => write!(formatter, "{CONFINE} {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_with_the_mark_are_those_of_the_step() {
        let mark = Mark::told("5d");
        let cases = [
            ("5d become 2\n", Some(Failure::Become(2))),
            (
                "5d confine no such file\n",
                Some(Failure::Confine("no such file".to_owned())),
            ),
            ("5e become 2\n", None),
            ("become 2\n", None),
            ("5d\n", None),
            ("5d become\n", None),
            ("5d become two\n", None),
            ("x5d become 2\n", None),
            ("", None),
        ];
        for (said, expected) in cases {
            assert_eq!(mark.failure(said.as_bytes()), expected, "{said:?}");
        }
        assert_ne!(Mark::random().unwrap(), Mark::random().unwrap());
    }
}
