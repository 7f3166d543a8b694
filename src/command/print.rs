//! What is printed as it stands: completions for a shell, the page of the manual, and
//! schemas for editors.

use anyhow::Context as _;

use crate::cli::{self, Completions, Man, Schema, SchemaOf};
use crate::console;
use crate::failure::Failure;
use crate::language;

pub(super) fn completions(options: &Completions) -> Result<u8, Failure> {
    console::print(cli::completions(options.shell))?;
    Ok(crate::EXIT_CLEAN)
}

pub(super) fn schema(options: &Schema) -> Result<u8, Failure> {
    let schema = match options.of {
        SchemaOf::Tools => language::tools_schema(),
        SchemaOf::Auth => language::auth_schema(),
    };
    let text = serde_json::to_string_pretty(&schema).context("cannot make the schema")?;
    console::print(text + "\n")?;
    Ok(crate::EXIT_CLEAN)
}

/// The page about the language.
const LANGUAGE: &str = include_str!("../../man/tools.yaml.5");

pub(super) fn manual(options: &Man) -> Result<u8, Failure> {
    let page = match options.section.as_str() {
        "5" => LANGUAGE.into(),
        _ => cli::manual().context("cannot make the page")?,
    };
    console::print(page)?;
    Ok(crate::EXIT_CLEAN)
}
