//! Why the program ends without having done what it was asked.

use crate::document::LoadError;

/// Errors to be shown, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) errors: Vec<anyhow::Error>,
    pub(crate) code: u8,
}

impl Failure {
    /// Mistakes of whoever started the program: starting again does not help.
    pub(crate) fn usage(errors: impl IntoIterator<Item = anyhow::Error>) -> Self {
        Self {
            errors: errors.into_iter().collect(),
            code: crate::EXIT_USAGE,
        }
    }

    /// A signal of this number came, and what ran is ended.
    pub(crate) fn stopped_by(signal: i32) -> Self {
        Self {
            errors: vec![anyhow::anyhow!("stopped by signal {signal}")],
            code: code_of_signal(signal),
        }
    }
}

/// The exit code of what a signal ended, as shells have it.
pub(crate) fn code_of_signal(signal: i32) -> u8 {
    let signal = u8::try_from(signal);
    signal.map_or(crate::EXIT_FAILURE, |signal| 128_u8.saturating_add(signal))
}

/// A failure at run time, unless a file is to blame.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let code = if error.is::<LoadError>() {
            crate::EXIT_USAGE
        } else {
            crate::EXIT_FAILURE
        };
        Self {
            errors: vec![error],
            code,
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::usage([error.into()])
    }
}
