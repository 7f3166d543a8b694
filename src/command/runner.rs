//! One call, run as the server would run it: by the same executor, without a client.

use std::sync::Arc;

use anyhow::Context as _;
use futures_util::{Stream, StreamExt as _};
use serde_json::json;
use tokio::sync::oneshot;

use crate::auth::Caller;
use crate::catalog::{Arguments, Tool};
use crate::cli::{self, Parsed};
use crate::console;
use crate::execute::{
    self, CallRequest, Client, Executor, Input, Limits, Listener, Origin, Outcome, Said, Stop,
};
use crate::failure::Failure;
use crate::logging;
use crate::protocol::capabilities::{Capability, ClientCapabilities};
use crate::protocol::version::ProtocolVersion;
use crate::shutdown::{self, Event};

/// The revision in which a call is made: one in which a program that asks waits for the answer.
const VERSION: ProtocolVersion = ProtocolVersion::V2025_11_25;

/// What is called, and in whose name.
pub(super) struct Call {
    pub(super) tool: Arc<Tool>,
    pub(super) arguments: Arguments,
    pub(super) caller: Arc<Caller>,
    /// Who answers what the tool asks; without one nobody can be asked.
    pub(super) client: Option<Box<dyn Client>>,
    /// Whether progress and the log of the tool are of interest.
    pub(super) listens: bool,
}

/// Runs calls, one at a time.
pub(super) struct Runner {
    runtime: tokio::runtime::Runtime,
    limits: Limits,
    /// The signals, also those that come between two calls.
    events: Box<dyn Stream<Item = Event> + Send + Unpin>,
    _flush: logging::Flush,
}

impl Runner {
    /// Prepares the process for its children, and starts the log.
    pub(super) fn new(parsed: &Parsed, allows_color: bool) -> anyhow::Result<Self> {
        let mut log = parsed.cli.log.clone();
        if !parsed.settings.is_chosen("--log-level") {
            log.log_level = cli::LogLevel::Warn;
        }
        let flush = logging::start(&log, allows_color).context("cannot start the log")?;
        execute::prepare_children().context("cannot set the limits of the tools")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let events = {
            let _inside = runtime.enter();
            shutdown::events().context("cannot listen for signals")?
        };
        let limits = &parsed.cli.limits;
        Ok(Self {
            runtime,
            events: Box::new(events),
            _flush: flush,
            limits: Limits {
                max_calls: 1,
                max_calls_per_principal: None,
                call_timeout: limits.call_timeout,
                ask_timeout: limits.ask_timeout,
            },
        })
    }

    /// Runs a call to its end, and ends what it leaves behind. A signal stops it, and a second one
    /// kills it.
    ///
    /// # Errors
    ///
    /// The signal that stopped it, once nothing of the call runs any more.
    pub(super) fn run(&mut self, call: Call) -> Result<Outcome, Failure> {
        let events = &mut self.events;
        self.runtime.block_on(async {
            let executor = Executor::new(self.limits);
            let (sender, outcome) = oneshot::channel();
            let listener = Speaker {
                outcome: sender,
                listens: call.listens,
            };
            let stop = Stop::default();
            executor.start(request(call, &executor), stop, Box::new(listener));
            let ended = async {
                let outcome = outcome.await.unwrap_or(Outcome::Lost);
                executor.finished().await;
                outcome
            };
            until_stopped(&executor, ended, events).await
        })
    }

    /// Ends without waiting for a terminal on which nobody answers any more.
    pub(super) fn end(self) {
        self.runtime.shutdown_background();
    }
}

/// What a tool needs of its client that there is not; a call from a terminal waits for its result,
/// and needs no tasks for that.
pub(super) fn missing(tool: &Tool, has_user: bool) -> Vec<Capability> {
    let capabilities = capabilities(has_user);
    let lacks = |one: &Capability| *one != Capability::Tasks && !capabilities.has(*one);
    tool.needs.iter().copied().filter(lacks).collect()
}

fn capabilities(has_user: bool) -> ClientCapabilities {
    let object = if has_user {
        json!({"elicitation": {"form": {}, "url": {}}})
    } else {
        json!({})
    };
    let object = object.as_object().cloned().unwrap_or_default();
    ClientCapabilities::read(&object, VERSION)
}

fn request(call: Call, executor: &Executor) -> CallRequest {
    CallRequest {
        number: executor.number(),
        tool: call.tool,
        arguments: call.arguments,
        caller: call.caller,
        from: Origin {
            version: VERSION,
            capabilities: capabilities(call.client.is_some()),
            trace: None,
            session: None,
        },
        input: match call.client {
            Some(client) => Input::Live(client),
            None => Input::Nobody("nobody can be asked here"),
        },
    }
}

async fn until_stopped(
    executor: &Executor,
    ended: impl Future<Output = Outcome>,
    events: &mut (impl Stream<Item = Event> + Unpin),
) -> Result<Outcome, Failure> {
    tokio::pin!(ended);
    let mut stopped_by = None;
    loop {
        tokio::select! {
            biased;
            Some(event) = events.next() => match (event, stopped_by) {
                (Event::Stop(signal), None) => {
                    executor.stop_all();
                    stopped_by = Some(signal);
                }
                (Event::Stop(_), Some(_)) => executor.kill_all(),
                // They are for servers.
                (Event::Report | Event::Reload, _) => {}
            },
            outcome = &mut ended => {
                return stopped_by.map_or(Ok(outcome), |signal| Err(Failure::stopped_by(signal)));
            }
        }
    }
}

/// Tells people what a tool says while it runs.
struct Speaker {
    outcome: oneshot::Sender<Outcome>,
    listens: bool,
}

impl Listener for Speaker {
    fn said(&mut self, said: Said) {
        if self.listens
            && let Some(line) = line_of(said)
        {
            console::tell(&line);
        }
    }

    fn done(self: Box<Self>, outcome: Outcome) {
        // Whoever waits for it is there until it comes.
        drop(self.outcome.send(outcome));
    }
}

fn line_of(said: Said) -> Option<String> {
    match said {
        Said::Progress(progress) => {
            let total = progress.total.map(|total| format!("/{total}"));
            let message = progress.message.map(|message| format!(" {message}"));
            Some(format!(
                "[{}{}]{}",
                progress.progress,
                total.unwrap_or_default(),
                message.unwrap_or_default()
            ))
        }
        Said::Log(log) => {
            let logger = log.logger.map(|logger| format!(" {logger}"));
            let data = match log.data {
                serde_json::Value::String(text) => text,
                data => data.to_string(),
            };
            let level = log.level.as_str();
            Some(format!("{level}{}: {data}", logger.unwrap_or_default()))
        }
        // At a terminal it can be seen that it runs.
        Said::Alive(_) | Said::ListChanged(_) | Said::CloseStream => None,
    }
}
