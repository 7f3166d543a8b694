//! What is printed as it stands: completions for a shell, and the page of the manual.

use anyhow::Context as _;

use crate::cli::{self, Completions};
use crate::console;
use crate::failure::Failure;

pub(super) fn completions(options: &Completions) -> Result<u8, Failure> {
    console::print(cli::completions(options.shell))?;
    Ok(crate::EXIT_CLEAN)
}

pub(super) fn manual() -> Result<u8, Failure> {
    let page = cli::manual().context("cannot make the page")?;
    console::print(page)?;
    Ok(crate::EXIT_CLEAN)
}
