//! Where the lines go.

use std::fmt;
use std::io;

use crate::logging::Stderr;

/// Something that takes lines.
pub(super) trait Target: fmt::Debug + Send {
    /// Writes a part of these lines, from their first byte; returns how many bytes.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize>;

    /// Returns when what was written outlives the machine, as far as that can be known.
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// True if nobody will find what is written.
    fn is_gone(&self) -> bool {
        false
    }

    /// Goes on with what is at the same place now; returns whether that is another file, which has none
    /// of the lines.
    fn reopen(&mut self) -> io::Result<bool> {
        Ok(false)
    }
}

/// Among the lines of the log.
impl Target for Stderr {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        io::Write::write(self, lines)
    }
}
