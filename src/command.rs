//! What the binary does besides serving: one module for each command.
//!
//! Each uses what serving uses – [`Config`](crate::config::Config), [`Catalog`],
//! [`Executor`](crate::execute::Executor) – so that what it says holds for the server.

mod call;
mod caller;
mod check;
mod init;
mod list;
mod print;
mod result;
mod runner;
mod table;
mod test;
mod token;

use std::path::Path;

use crate::catalog::{Catalog, Environment, Grants, Loaded};
use crate::cli::{self, Command, Parsed};
use crate::console::{self, Console};
use crate::document::LoadError;
use crate::failure::Failure;

/// What every command has to work with.
struct Setup {
    parsed: Parsed,
    environment: Environment,
    console: Console,
}

impl Setup {
    /// The file of definitions.
    fn tools(&self) -> &Path {
        &self.parsed.cli.serve.tools
    }

    /// Reads the definitions, for a server on which these can call.
    fn load(&self, grants: Grants) -> Result<Loaded, LoadError> {
        Catalog::load(self.tools(), &self.environment.clone().granting(grants))
    }

    /// Reads the definitions for a command that uses them, and says what is doubtful.
    fn catalog(&self, grants: Grants) -> Result<Catalog, LoadError> {
        for warning in self.unknown_variables() {
            console::tell(&format!("warning: {warning}"));
        }
        let loaded = self.load(grants)?;
        for warning in &loaded.warnings {
            self.console.diagnostic(warning);
        }
        Ok(loaded.catalog)
    }

    /// What is wrong with the names of our variables.
    fn unknown_variables(&self) -> Vec<String> {
        cli::unknown_variables(self.environment.variables().names())
    }
}

/// Says that the options cannot be read, to whoever asked `check` for JSON.
pub(crate) fn report_unreadable(error: &str) -> anyhow::Result<()> {
    console::print(check::unreadable(error))
}

/// Runs a command and returns its exit code.
pub(crate) fn run(
    command: Command,
    parsed: Parsed,
    environment: Environment,
    console: Console,
) -> Result<u8, Failure> {
    let setup = Setup {
        parsed,
        environment,
        console,
    };
    match command {
        Command::List(options) => list::run(&options, &setup),
        Command::Call(options) => call::run(&options, &setup),
        Command::Check(options) => check::run(&options, setup),
        Command::Test(options) => test::run(&options, &setup),
        Command::Schema(options) => print::schema(&options),
        Command::Init(options) => init::run(&options),
        Command::Token(token) => token::run(token),
        Command::Completions(options) => print::completions(&options),
        Command::Man(options) => print::manual(&options),
    }
}
