//! Every option and command, its environment variable, default and help: the only place where they
//! are said.
//!
//! The man page and the table of options in the README are made from [`Cli`], and a test holds
//! them equal. Nothing here does I/O; [`crate::config`] turns a [`Cli`] into checked settings.

mod commands;
mod manual;
mod mistakes;
mod options;
mod settings;
#[cfg(test)]
mod tests;
mod values;

use std::ffi::OsString;

use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches, Parser};

pub use commands::{
    Call, Check, CheckFormat, Command, Completions, Init, List, Man, Schema, SchemaOf, Test, Token,
    TokenOwner,
};
pub use manual::{completions, manual};
pub use mistakes::{unknown_variables, wants_json};
pub use options::{Access, Audit, Limits, Log, Metrics, Network, Serve, Sessions, Streams, Tasks};
pub use settings::{Setting, Settings, Source};
pub use values::{
    AuditArguments, AuditMode, AuditTarget, EndpointPath, Eras, Expiry, ListenAddress, LogFormat,
    LogLevel, OnSessionLimit, Timeout,
};

/// Turns a tools.yaml into a production MCP server.
///
/// Loads tool definitions, serves them over Streamable HTTP to MCP clients of every current
/// protocol revision, or over standard input and output to the client that started it, and runs
/// until it receives SIGTERM or SIGINT. A second of these signals ends
/// it at once. SIGUSR1 writes session statistics to the log, SIGHUP reads its files
/// again.
///
/// With a command it serves nothing, and does what the command says.
#[derive(Debug, Clone, Parser)]
#[command(name = "mcp-serve", version, max_term_width = 100)]
#[command(
    after_help = "Each option can also be set by the environment variable shown with it; \
    an option on the command line wins. An option that takes several values is given several \
    times, or once with commas. Options stand before or after the command."
)]
pub struct Cli {
    /// What to do; without it, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What is served, and where.
    #[command(flatten)]
    pub serve: Serve,
    /// Who may call.
    #[command(flatten)]
    pub access: Access,
    /// How clients reach the server.
    #[command(flatten)]
    pub network: Network,
    /// Sessions.
    #[command(flatten)]
    pub sessions: Sessions,
    /// Tasks.
    #[command(flatten)]
    pub tasks: Tasks,
    /// Event streams.
    #[command(flatten)]
    pub streams: Streams,
    /// What one request or call may use.
    #[command(flatten)]
    pub limits: Limits,
    /// Metrics.
    #[command(flatten)]
    pub metrics: Metrics,
    /// The log.
    #[command(flatten)]
    pub log: Log,
    /// The audit log.
    #[command(flatten)]
    pub audit: Audit,
}

/// A command line that was read, with the sources that later checks need.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The values.
    pub cli: Cli,
    /// The same options, each with where its value came from.
    pub settings: Settings,
}

/// Reads the command line and the environment.
///
/// # Errors
///
/// clap's error, whose text says where a wrong value came from: help and version are "errors" too,
/// with exit code 0.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut command = command();
    let matches: ArgMatches = command
        .try_get_matches_from_mut(&arguments)
        .map_err(|error| mistakes::explain(error, &command, &arguments))?;
    Ok(Parsed {
        settings: Settings::read(command.get_arguments(), &matches),
        cli: Cli::from_arg_matches(&matches)?,
    })
}

/// The command as clap knows it: its options stand before or after a subcommand.
fn command() -> clap::Command {
    let command = Cli::command();
    let is_option = |argument: &&Arg| argument.get_env().is_some();
    let options: Vec<Arg> = (command.get_arguments().filter(is_option))
        .map(|option| option.clone().global(true))
        .collect();
    let with_options = |command: clap::Command| take_options(command, &options);
    command
        .mut_args(|argument| {
            let is_global = argument.get_env().is_some();
            argument.global(is_global)
        })
        .mut_subcommands(with_options)
}

/// Gives a subcommand the options of the whole. Its help shows those that matter to it.
fn take_options(command: clap::Command, options: &[Arg]) -> clap::Command {
    let shown = Command::options(command.get_name());
    let options = options.iter().map(|option| {
        let is_shown = shown.contains(&option.get_id().as_str());
        option.clone().hide(!is_shown)
    });
    let options: Vec<Arg> = options.collect();
    command
        .args(options.clone())
        .mut_subcommands(|inner| take_options(inner, &options))
}
