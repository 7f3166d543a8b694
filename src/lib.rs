//! mcp-serve turns a `tools.yaml` into an MCP server over Streamable HTTP, or over standard input and
//! output.
//!
//! `tools.yaml` says what is served; flags and environment say how it is served.
//!
//! # One request
//!
//! ```text
//! bytes → connection → Host, Origin → credential → body → jsonrpc::parse → classify the era
//!    ┬ modern (2026-07-28): _meta against headers  ┬→ dispatch → Plan → execute → Outcome → JSON | SSE
//!    └ legacy (to 2025-11-25): enter the session   ┘
//! ```
//!
//! # The modules, in the order in which they matter to a request
//!
//! - [`server`] binds, accepts and stops; it owns every task.
//! - [`http`] is the router: guards, endpoint, one file per era.
//! - `stdio` serves one client over standard input and output instead.
//! - [`app`] is what both need of the server, and `call` starts the calls for them.
//! - [`auth`] says who calls; [`session`] keeps what legacy clients share between requests; [`stream`]
//!   holds the messages on their way to a client.
//! - [`protocol`] is the vocabulary of both eras. It does no I/O.
//! - [`dispatch`] turns a request into a plan, synchronously and without I/O.
//! - [`catalog`] is what is served: loaded, checked, immutable.
//! - [`document`] reads the YAML files that people write, and says what is wrong with them.
//! - [`task`] keeps what a call that outlives its request has to say.
//! - [`execute`] runs a call as a process that ends with it.
//! - [`seal`] closes what clients carry for the server.
//! - [`changes`] tells those who listen what has changed; [`watch`] finds out about files.
//! - [`metrics`] counts what happens, for a scraper.
//! - [`cli`], [`config`], [`host`], [`logging`], [`shutdown`], [`secret`] and [`units`] are what the binary
//!   needs around them.
//!
//! `ARCHITECTURE.md` has the invariants and the reasons.

pub mod app;
pub mod auth;
mod call;
pub mod catalog;
pub mod changes;
pub mod cli;
pub mod config;
pub mod dispatch;
pub mod document;
pub mod execute;
pub mod host;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod protocol;
pub mod seal;
pub mod secret;
pub mod server;
pub mod session;
pub mod shutdown;
mod stdio;
pub mod stream;
pub mod task;
pub mod units;
pub mod watch;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;

pub use catalog::Catalog;
pub use config::Config;
pub use server::Server;

use catalog::{Environment, Grants, Loaded};
use document::{Diagnostic, LoadError};

/// Exit code of a clean stop.
pub const EXIT_CLEAN: u8 = 0;
/// Exit code of a failure at run time: a port that is taken, a call that was cut.
pub const EXIT_FAILURE: u8 = 1;
/// Exit code of a mistake in usage, configuration or definitions. Starting again does not help.
pub const EXIT_USAGE: u8 = 2;

/// Runs the program to its end and returns its exit code. Errors are written to standard error.
///
/// # Examples
///
/// ```
/// let code = mcp_serve::run(["mcp-serve".into(), "--version".into()]);
/// assert_eq!(code, mcp_serve::EXIT_CLEAN);
/// ```
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let parsed = match cli::parse(arguments) {
        Ok(parsed) => parsed,
        Err(error) => {
            // A closed standard output is no reason to fail on --help.
            drop(error.print());
            return if error.use_stderr() {
                EXIT_USAGE
            } else {
                EXIT_CLEAN
            };
        }
    };
    logging::start(&parsed.cli.log);
    let config = match Config::new(parsed) {
        Ok(config) => config,
        Err(error) => return fail(error, EXIT_USAGE),
    };
    match serve(config) {
        Ok(server::Stopped::Clean) => EXIT_CLEAN,
        Ok(server::Stopped::Cut) => EXIT_FAILURE,
        Ok(server::Stopped::Forced(signal)) => {
            u8::try_from(signal).map_or(EXIT_FAILURE, |signal| 128_u8.saturating_add(signal))
        }
        Err(error) => fail(error, EXIT_FAILURE),
    }
}

fn load(config: &Config) -> Result<Catalog, LoadError> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    log(&config.auth_warnings);
    let environment = Environment::from_process().granting(Grants::of(&config.authenticator));
    let loaded = Catalog::load(&config.tools, &environment)?;
    let Loaded {
        catalog, warnings, ..
    } = loaded;
    log(&warnings);
    if serves_nothing(&catalog) {
        tracing::warn!(file = %config.tools.display(), "nothing is served: the file defines nothing, or all of it is hidden");
    }
    Ok(catalog)
}

fn serves_nothing(catalog: &Catalog) -> bool {
    let has_tools = !catalog.tools().is_empty();
    let has_resources = !catalog.resources().is_empty() || !catalog.templates().is_empty();
    !has_tools && !has_resources && catalog.prompts().is_empty()
}

/// Logs what is doubtful in a file.
fn log(warnings: &[Diagnostic]) {
    for warning in warnings {
        let (line, column) = warning.position().unwrap_or_default();
        tracing::warn!(
            code = warning.code().as_str(),
            place = format!("{}:{line}:{column}", warning.path()),
            "{}",
            warning.message()
        );
    }
}

fn serve(config: Config) -> anyhow::Result<server::Stopped> {
    execute::prepare_children().context("cannot set the limits of the tools")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let stopped = runtime.block_on(async {
        // From here on a signal is an orderly stop, also while the definitions are read.
        let events = shutdown::events().context("cannot listen for signals")?;
        let catalog = load(&config)?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            tools = catalog.tools().len(),
            prompts = catalog.prompts().len(),
            resources = catalog.resources().len(),
            templates = catalog.templates().len(),
            file = %config.tools.display(),
            "starting"
        );
        let server = Server::bind(config, catalog).await?;
        anyhow::Ok(server.serve(events).await)
    });
    runtime.shutdown_background();
    stopped
}

/// Writes an error once, and returns the exit code; `code` unless a file is to blame.
fn fail(error: anyhow::Error, code: u8) -> u8 {
    // There is nobody left to tell when standard error is closed.
    match error.downcast::<LoadError>() {
        Ok(error) => {
            // The rendering says "error" itself, at each of its places.
            let text = error.render(io::stderr().is_terminal());
            drop(writeln!(io::stderr(), "{text}"));
            EXIT_USAGE
        }
        Err(error) => {
            drop(writeln!(io::stderr(), "error: {error:#}"));
            code
        }
    }
}
