//! Where people and scripts read what the program says: results on standard output, everything else
//! on standard error.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;

use crate::document::{Diagnostic, LoadError};
use crate::environment::Variables;

/// Standard output and standard error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    allows_color: bool,
}

impl Console {
    /// Colors are for terminals, unless the environment says otherwise.
    pub(crate) fn new(variables: &Variables) -> Self {
        Self {
            allows_color: variables.allows_color(),
        }
    }

    /// Shows what is wrong with a file.
    pub(crate) fn diagnostic(self, diagnostic: &Diagnostic) {
        let text = diagnostic.render(self.colors_errors());
        tell(&format!("{text}\n"));
    }

    /// Shows an error. What is wrong with a file says "error" itself, at each of its places.
    pub(crate) fn error(self, error: &anyhow::Error) {
        match error.downcast_ref::<LoadError>() {
            Some(error) => tell(&error.render(self.colors_errors())),
            None => tell(&format!("error: {error:#}")),
        }
    }

    fn colors_errors(self) -> bool {
        self.allows_color && io::stderr().is_terminal()
    }
}

/// Writes a result to standard output. That nobody reads it any more is no error.
pub(crate) fn print(bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes.as_ref()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error. There is nobody left to tell when that is closed.
pub(crate) fn tell(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}
