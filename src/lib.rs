//! mcp-serve turns a `tools.yaml` into an MCP server over Streamable HTTP, or over standard input and
//! output.
//!
//! `tools.yaml` says what is served; flags and environment say how it is served.
//!
//! # One request
//!
//! ```text
//! bytes → connection → framing, Host, Origin → credential → body → jsonrpc::parse → classify the era
//!    ┬ modern (2026-07-28): _meta against headers  ┬→ dispatch → Plan → execute → Outcome → JSON | SSE
//!    └ legacy (to 2025-11-25): enter the session   ┘
//! ```
//!
//! # The modules, in the order in which they matter to a request
//!
//! - [`server`] binds, accepts and stops; it owns every task.
//! - [`http`] answers requests: guards, endpoint, one file per era.
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
//! - [`outputs`] keeps what is too large for a result.
//! - `sandbox` is what stands between the server and a tool that is confined, and `select` runs the jq
//!   filters of definitions; each is a process of its own, which `reexec` makes of this program.
//! - [`seal`] closes what clients carry for the server.
//! - [`changes`] tells those who listen what has changed; [`watch`] finds out about files by a
//!   [`snapshot`], and [`reload`] reads the definitions again.
//! - [`metrics`] counts what happens, for a scraper; [`audit`] writes down who called what.
//! - `language` is the table of all keys, from which editors get their JSON Schema.
//! - `command` is what the binary does besides serving: check, list, call and so on.
//! - [`redact`] keeps secrets out of what others see; [`pace`] keeps what strangers cause out of the log.
//! - [`cli`], [`config`], [`environment`], [`host`], [`logging`], [`shutdown`], [`secret`], [`tls`], [`units`], `console` and `failure`
//!   are what the binary needs around them.
//!
//! `ARCHITECTURE.md` has the invariants and the reasons.

pub mod app;
pub mod audit;
pub mod auth;
mod call;
pub mod catalog;
pub mod changes;
pub mod cli;
mod command;
pub mod config;
mod console;
pub mod dispatch;
pub mod document;
pub mod environment;
pub mod execute;
mod failure;
pub mod host;
pub mod http;
mod language;
pub mod logging;
pub mod metrics;
pub mod outputs;
pub mod pace;
pub mod protocol;
pub mod redact;
mod reexec;
pub mod reload;
mod sandbox;
pub mod seal;
pub mod secret;
mod select;
pub mod server;
pub mod session;
pub mod shutdown;
pub mod snapshot;
mod stdio;
pub mod stream;
pub mod task;
pub mod tls;
pub mod units;
pub mod watch;

use std::ffi::OsString;

use anyhow::Context as _;

pub use catalog::Catalog;
pub use config::Config;
pub use server::Server;

use catalog::{Environment, Grants};
use cli::Parsed;
use console::Console;
use document::LoadError;
use failure::Failure;
use reload::Definitions;

/// Exit code of a clean stop.
pub const EXIT_CLEAN: u8 = 0;
/// Exit code of a failure at run time: a port that is taken, a call that was cut.
pub const EXIT_FAILURE: u8 = 1;
/// Exit code of a mistake in usage, configuration or definitions. Starting again does not help.
pub const EXIT_USAGE: u8 = 2;

/// What is said of a file that is valid and of no use.
const SERVES_NOTHING: &str = "nothing is served: the file defines nothing, or all of it is hidden";

/// Runs the program to its end and returns its exit code. Errors are written to standard error.
///
/// # Examples
///
/// ```
/// let code = mcp_serve::run(["mcp-serve".into(), "--version".into()]);
/// assert_eq!(code, mcp_serve::EXIT_CLEAN);
/// ```
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<_> = arguments.into_iter().collect();
    reexec::is_here();
    if let Some(code) = sandbox::serve(&arguments).or_else(|| select::serve(&arguments)) {
        return code;
    }
    let mut parsed = match cli::parse(arguments.clone()) {
        Ok(parsed) => parsed,
        Err(error) if error.use_stderr() && cli::wants_json(&arguments) => {
            // A closed standard output is no other reason to fail.
            drop(command::report_unreadable(error.to_string().trim()));
            return EXIT_USAGE;
        }
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
    let permissions = config::permissions(&parsed.cli.access);
    let environment = Environment::from_process()
        .permitting(permissions)
        .trying_sandboxes();
    let console = Console::new(environment.variables());
    let done = match parsed.cli.command.take() {
        None => run_server(parsed, environment),
        Some(command) => command::run(command, parsed, environment, console),
    };
    done.unwrap_or_else(|failure| {
        for error in &failure.errors {
            console.error(error);
        }
        failure.code
    })
}

fn run_server(parsed: Parsed, environment: Environment) -> Result<u8, Failure> {
    let _flush = logging::start(&parsed.cli.log, environment.variables().allows_color())
        .context("cannot start the log")?;
    for warning in cli::unknown_variables(environment.variables().names()) {
        tracing::warn!("{warning}");
    }
    let config = Config::new(parsed, environment.variables()).map_err(Failure::usage)?;
    match serve(config, environment) {
        Ok(server::Stopped::Clean) => Ok(EXIT_CLEAN),
        Ok(server::Stopped::Cut) => Ok(EXIT_FAILURE),
        Ok(server::Stopped::Forced(signal)) => Ok(failure::code_of_signal(signal)),
        Err(error) => Err(error.into()),
    }
}

fn load(config: &Config, environment: Environment) -> Result<(Definitions, Catalog), LoadError> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(secrets) = config.authenticator.secrets() {
        logging::hide(secrets);
    }
    reload::log(&config.auth_warnings);
    let environment = environment.granting(Grants::of(&config.authenticator));
    let mut definitions = Definitions::new(config.tools.clone(), environment);
    let catalog = definitions.load()?;
    Ok((definitions, catalog))
}

fn serve(config: Config, environment: Environment) -> anyhow::Result<server::Stopped> {
    execute::prepare_children().context("cannot set the limits of the tools")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let stopped = runtime.block_on(async {
        // From here on a signal is an orderly stop, also while the definitions are read.
        let events = shutdown::events().context("cannot listen for signals")?;
        let (definitions, catalog) = load(&config, environment)?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            tools = catalog.tools().len(),
            prompts = catalog.prompts().len(),
            resources = catalog.resources().len(),
            templates = catalog.templates().len(),
            file = %config.tools.display(),
            "starting"
        );
        let server = Server::bind(config, definitions, catalog).await?;
        anyhow::Ok(server.serve(events).await)
    });
    runtime.shutdown_background();
    stopped
}
