//! `init`: a first file of definitions, that works as it is and says what to change.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, anyhow};

use crate::cli::Init;
use crate::console;
use crate::failure::Failure;

/// The file. A test holds it to what `check` accepts.
const STARTER: &str = include_str!("init/tools.yaml");

/// Writes the file, unless there is one.
pub(super) fn run(options: &Init) -> Result<u8, Failure> {
    let path = &options.file;
    match write(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let error = anyhow!(
                "{} is there already, and is left alone; name another file",
                path.display()
            );
            return Err(Failure::usage([error]));
        }
        Err(error) => {
            let written = Err(error).with_context(|| format!("cannot write {}", path.display()));
            return written.map_err(Failure::from);
        }
    }
    let option = if path == Path::new("tools.yaml") {
        String::new()
    } else {
        format!(" --tools {}", path.display())
    };
    console::tell(&format!(
        "{} is written. Change it, then:\n  \
         mcp-serve{option} check\n  \
         mcp-serve{option} call hello name=World\n  \
         mcp-serve{option}",
        path.display()
    ));
    Ok(crate::EXIT_CLEAN)
}

fn write(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(STARTER.as_bytes())
}
