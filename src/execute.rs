//! From a call to its outcome.
//!
//! A call is a task of its own with a deadline, a permit and one outcome. It does not end because
//! a connection is lost; what that means is for the caller to say through [`Stop`]. The outcome is
//! given at the deadline, and the killing goes on behind it.

mod ask;
mod before;
mod conversation;
mod deadline;
mod discreet;
mod filter;
mod folder;
mod gate;
mod identity;
mod kept;
mod lines;
mod matched;
mod messages;
mod outbound;
mod output;
mod pace;
mod process;
mod report;
mod reporter;
mod stderr;
mod stdin;
mod stdout;
mod tail;

use std::borrow::Cow;
use std::ffi::OsString;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Caller;
use crate::catalog::{self, Arguments, Command, Request, Signal, Tool, Work};
use crate::protocol::capabilities::{Capability, ClientCapabilities};
use crate::protocol::input::InputRequired;
use crate::protocol::jsonrpc::ErrorObject;
use crate::protocol::logging::LogMessage;
use crate::protocol::mcp::CallToolResult;
use crate::protocol::progress::Progress;
use crate::protocol::prompts::PromptMessage;
use crate::protocol::trace::TraceContext;
use crate::protocol::version::ProtocolVersion;
use conversation::{Conversation, Unanswered};
use deadline::Deadline;
use folder::Folder;
use gate::{Entered, Gates, Key, Place};
use outbound::{Errand, Outbound, Sent};
use process::{End, Finished, Process, Spawn};
use reporter::Reporter;
use stderr::Stderr;
use stdout::{Printed, Stdout};

pub use ask::Answer;
pub use conversation::{Client, Input, MAX_ROUNDS};

/// What bounds the calls.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most calls at once, over all tools and callers.
    pub max_calls: usize,
    /// How long a call may take when its tool says nothing.
    pub call_timeout: Duration,
    /// How long a client may take for an answer; the call waits, and that does not count.
    pub ask_timeout: Duration,
}

/// Runs calls.
#[derive(Debug)]
pub struct Executor {
    limits: Limits,
    permits: Arc<Semaphore>,
    gates: Gates,
    outbound: Arc<Outbound>,
    tasks: TaskTracker,
    numbers: AtomicU64,
    /// In milliseconds, over all tools that were ever called.
    longest_grace: AtomicU64,
    stop: CancellationToken,
    kill: CancellationToken,
}

/// A call to run: what, with which arguments, and for whom.
#[derive(Debug)]
pub struct CallRequest {
    /// From [`Executor::number`].
    pub number: u64,
    /// The tool.
    pub tool: Arc<Tool>,
    /// Arguments that passed its schema.
    pub arguments: Arguments,
    /// Who makes this request.
    pub caller: Arc<Caller>,
    /// The client that it comes from.
    pub from: Origin,
    /// How that client is asked.
    pub input: Input,
}

/// What a request says of the client that sent it.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The version of the protocol.
    pub version: ProtocolVersion,
    /// What the client can be asked.
    pub capabilities: ClientCapabilities,
    /// The trace that the request belongs to.
    pub trace: Option<TraceContext>,
}

/// What ends a call early, besides its deadline.
#[derive(Debug, Clone)]
pub struct Stop {
    /// The client gave the call up.
    pub client: CancellationToken,
    /// The session that the call belongs to has ended.
    pub session: CancellationToken,
}

/// Why a call ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The client gave it up.
    ByClient,
    /// Its session ended.
    BySession,
    /// The server is shutting down.
    ByShutdown,
}

/// What came of a call.
#[derive(Debug)]
pub enum Outcome {
    /// The tool has a result, good or bad.
    Result {
        /// What the model is told.
        result: CallToolResult,
        /// How the tool ended, in a few words for the log.
        how: Cow<'static, str>,
    },
    /// The client has to answer before the call can go on: it ended, and starts again with the
    /// answers.
    InputRequired(Box<InputRequired>),
    /// The client cannot be asked what it would have to answer.
    MissingCapabilities(Vec<Capability>),
    /// The tool has said that the call ends with this error.
    Error(ErrorObject),
    /// The messages of a prompt.
    Messages(Vec<PromptMessage>),
    /// What was printed or read, of which whoever asked makes something.
    Bytes(Vec<u8>),
    /// The call ended before the tool did.
    Stopped(Stopped),
    /// The task that ran the call panicked.
    Lost,
}

/// Where the words of a call and its outcome go. It belongs to the call, and is there also after a
/// connection was lost.
///
/// All functions run in the task of the call, and must not block.
pub trait Listener: Send + 'static {
    /// What the definition asks is answered: its program is started next, or when it is its turn. May
    /// be called again, which means nothing. Not called when there is an outcome before that.
    fn begins(&mut self) {}

    /// The tool said something before its result.
    fn said(&mut self, said: Said);

    /// The call is over. Called exactly once, also when the task of the call panicked. What the
    /// listener holds is dropped with it.
    fn done(self: Box<Self>, outcome: Outcome);
}

/// What a tool says before its result.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// How far it has come. Each is further than the one before, and at most about ten come in a
    /// second: what comes faster is merged into the newest.
    Progress(Progress),
    /// That the call goes on, for whoever waits for it, in the form of progress: the progress that was
    /// told last, if any, and very little more.
    Alive(Progress),
    /// Something for the client's log.
    Log(LogMessage),
    /// A list of the server is not what it was.
    ListChanged(List),
    /// The client may leave and come back for the result.
    CloseStream,
}

/// A list that clients can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// The tools.
    Tools,
    /// The prompts.
    Prompts,
    /// The resources and their templates.
    Resources,
}

/// The server runs as many calls as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

impl Executor {
    /// An executor without calls.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            permits: Arc::new(Semaphore::new(limits.max_calls.min(Semaphore::MAX_PERMITS))),
            // As many wait at most as run.
            gates: Gates::new(limits.max_calls),
            outbound: Arc::new(Outbound::new()),
            tasks: TaskTracker::new(),
            numbers: AtomicU64::new(1),
            longest_grace: AtomicU64::new(0),
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
        }
    }

    /// A number for a call, unique in this process.
    pub fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// How long a call of a tool may take.
    pub fn time_limit(&self, tool: &Tool) -> Duration {
        tool.timeout.unwrap_or(self.limits.call_timeout)
    }

    /// Starts a call in a task of its own.
    ///
    /// # Errors
    ///
    /// [`Busy`] at the limit of calls. The listener is dropped then, and hears of nothing.
    pub fn start(
        &self,
        request: CallRequest,
        stop: Stop,
        listener: Box<dyn Listener>,
    ) -> Result<(), Busy> {
        let permit = Arc::clone(&self.permits)
            .try_acquire_owned()
            .map_err(|_| Busy)?;
        let secrets = Arc::clone(request.tool.secrets());
        let mut listener = discreet::listener(listener, &secrets);
        let grace = u64::try_from(request.tool.cancel.grace.as_millis()).unwrap_or(u64::MAX);
        self.longest_grace.fetch_max(grace, Ordering::Relaxed);
        let call = CallTask {
            number: request.number,
            variables: identity::variables(&request),
            deadline: self.time_limit(&request.tool),
            tool: request.tool,
            caller: request.caller,
            trace: request.from.trace,
            outbound: Arc::clone(&self.outbound),
            stop,
            shutdown: self.stop.clone(),
            kill: self.kill.clone(),
            permits: Arc::clone(&self.permits),
            gates: self.gates.clone(),
            tasks: self.tasks.clone(),
        };
        let conversation = Conversation::new(
            request.from.capabilities,
            request.input,
            self.limits.ask_timeout,
        )
        .hiding(secrets);
        self.tasks.spawn(async move {
            let started = Instant::now();
            let run = call.run(&request.arguments, permit, conversation, &mut *listener);
            let outcome = or_lost(run).await;
            tracing::info!(
                call = call.number,
                tool = call.tool.name,
                principal = %call.caller.principal,
                outcome = report::label(&outcome),
                duration_seconds = started.elapsed().as_secs_f64(),
                "call"
            );
            listener.done(outcome);
        });
        Ok(())
    }

    /// How long the processes of the calls so far may take at most to end when they are asked to.
    pub fn longest_grace(&self) -> Duration {
        Duration::from_millis(self.longest_grace.load(Ordering::Relaxed))
    }

    /// How many calls run now.
    pub fn in_flight(&self) -> usize {
        self.limits
            .max_calls
            .saturating_sub(self.permits.available_permits())
    }

    /// Ends every call, for the end of the drain. Each still gets its outcome.
    pub fn stop_all(&self) {
        self.stop.cancel();
    }

    /// Kills every process without grace, for a second signal.
    pub fn kill_all(&self) {
        self.stop.cancel();
        self.kill.cancel();
    }

    /// Completes when no call runs and every process is gone. No call may start after this.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

struct CallTask {
    number: u64,
    /// What the tool is told of the call.
    variables: Vec<(OsString, OsString)>,
    tool: Arc<Tool>,
    caller: Arc<Caller>,
    trace: Option<TraceContext>,
    outbound: Arc<Outbound>,
    deadline: Duration,
    stop: Stop,
    shutdown: CancellationToken,
    kill: CancellationToken,
    permits: Arc<Semaphore>,
    gates: Gates,
    tasks: TaskTracker,
}

/// What a call that runs takes from others, until it is dropped.
#[derive(Debug)]
struct Turn {
    _permit: OwnedSemaphorePermit,
    _place: Place,
}

impl CallTask {
    async fn run(
        &self,
        arguments: &Arguments,
        permit: OwnedSemaphorePermit,
        mut conversation: Conversation,
        listener: &mut dyn Listener,
    ) -> Outcome {
        if self.tool.asks() && !self.tool.asks_for_values() {
            // A call that cannot run anyway is not worth a question.
            if let Err(outcome) = self.work(arguments).await {
                return outcome;
            }
        }
        let asked = tokio::select! {
            asked = before::ask(&self.tool, arguments, &self.caller, &mut conversation) => asked,
            stopped = self.stopped() => Err(Outcome::Stopped(stopped)),
        };
        let arguments = match asked {
            Ok(arguments) => arguments,
            Err(outcome) => return outcome,
        };
        let work = match self.work(&arguments).await {
            Ok(work) => work,
            Err(outcome) => return outcome,
        };
        let mut reporter = Reporter::new(listener);
        let deadline = Deadline::after(self.deadline, Instant::now());
        let turn = self.turn(&arguments, permit, &deadline, &mut reporter);
        let turn = match turn.await {
            Ok(turn) => turn,
            Err(outcome) => return outcome,
        };
        // What a path led to before the wait may be something else now.
        let work = if self.tool.looks_up_paths() {
            self.work(&arguments).await
        } else {
            Ok(work)
        };
        let work = match work {
            Ok(work) => work,
            Err(outcome) => return outcome,
        };
        let mut command = match work {
            Work::Run(command) => command,
            Work::Send(request) => {
                conversation.begin();
                let outcome = self.send(&request, &deadline, reporter).await;
                drop(turn);
                return outcome;
            }
            Work::Answer(content) => return report::answered(content),
            Work::Read(path) => return self.read(path, &deadline, turn).await,
        };
        identity::set(&mut command.environment, &self.variables);
        // A call that was given up already does nothing at all.
        if let Some(stopped) = self.is_stopped() {
            return Outcome::Stopped(stopped);
        }
        conversation.begin();
        reporter.begins();
        let input = input_of(&self.tool, command.input.take());
        let merges = self.tool.output.stderr == catalog::Stderr::Merge;
        let program = command.program.clone();
        let (mut process, folder) = match start(command, input, merges).await {
            Ok(started) => started,
            Err(error) => {
                tracing::warn!(tool = self.tool.name, program = %program.display(), %error, "a tool could not be started");
                return report::not_started(&error);
            }
        };
        // What was started is ended as always, also when its words make something of ours panic.
        let outcome = or_lost(self.listen(&mut process, deadline, conversation, reporter)).await;
        self.clean_up(process, folder, turn);
        outcome
    }

    /// Waits until the call may run, if it has to. Its time goes by meanwhile, but it keeps nobody
    /// else from running: it gives its permit back, and takes another when it is its turn.
    async fn turn(
        &self,
        arguments: &Arguments,
        permit: OwnedSemaphorePermit,
        deadline: &Deadline,
        reporter: &mut Reporter<'_>,
    ) -> Result<Turn, Outcome> {
        let tool = &self.tool;
        let key = Key {
            tool: tool.identity().to_owned(),
            value: tool.concurrency_key(arguments, &self.caller),
        };
        let now = Instant::now();
        let entered = self.gates.enter(key, &tool.concurrency, tool.rate, now);
        let waiting = match entered {
            Ok(Entered::Now(place)) => {
                return Ok(Turn {
                    _permit: permit,
                    _place: place,
                });
            }
            Ok(Entered::Later(waiting)) => waiting,
            Err(refused) => return Err(report::not_let_in(tool, &refused, now)),
        };
        tracing::debug!(
            call = self.number,
            tool = tool.name,
            "a call waits for its turn"
        );
        // Nothing but its turn is missing: a client that comes back for a task need not wait here.
        reporter.begins();
        drop(permit);
        let turn = async {
            let place = waiting.turn().await;
            let permit = Arc::clone(&self.permits).acquire_owned().await;
            permit.map(|permit| Turn {
                _permit: permit,
                _place: place,
            })
        };
        let at = deadline.at().unwrap_or(now);
        tokio::select! {
            // A call whose time is over does not run, also when its turn has come.
            biased;
            stopped = self.stopped() => Err(Outcome::Stopped(stopped)),
            () = tokio::time::sleep_until(at) => Err(report::waited_too_long(self.deadline)),
            turn = reporter.during(turn) => turn.map_err(|_| Outcome::Lost),
        }
    }

    /// Renders what the call does, off the reactor if paths are looked up.
    async fn work(&self, arguments: &Arguments) -> Result<Work, Outcome> {
        let work = if self.tool.looks_up_paths() {
            let (tool, caller) = (Arc::clone(&self.tool), Arc::clone(&self.caller));
            let arguments = arguments.clone();
            let working = tokio::task::spawn_blocking(move || tool.work(&arguments, &caller));
            working.await.map_err(|_| Outcome::Lost)?
        } else {
            self.tool.work(arguments, &self.caller)
        };
        work.map_err(|error| report::refused(&error))
    }

    /// Sends a request. It is over when it is dropped.
    async fn send(
        &self,
        request: &Request,
        deadline: &Deadline,
        mut reporter: Reporter<'_>,
    ) -> Outcome {
        if let Some(stopped) = self.is_stopped() {
            return Outcome::Stopped(stopped);
        }
        reporter.begins();
        let errand = Errand {
            tool: &self.tool,
            trace: self.trace.as_ref(),
            time: self.deadline,
            deadline: deadline.at().unwrap_or_else(Instant::now),
        };
        let sent = tokio::select! {
            sent = reporter.during(self.outbound.send(request, errand)) => sent,
            stopped = self.stopped() => return Outcome::Stopped(stopped),
        };
        let printed = match sent {
            Sent::Outcome(outcome) => return outcome,
            Sent::Body(output) => Printed {
                output,
                ..Printed::default()
            },
        };
        match self.filtered(printed, deadline).await {
            Ok(printed) => report::of_body(&self.tool, printed),
            Err(outcome) => outcome,
        }
    }

    /// Reads a file, off the reactor. The turn is over when the operating system has answered.
    async fn read(&self, path: PathBuf, deadline: &Deadline, turn: Turn) -> Outcome {
        let reading = tokio::task::spawn_blocking(move || {
            let read = catalog::file_bytes(&path);
            drop(turn);
            (path, read)
        });
        tokio::select! {
            read = reading => match read {
                Ok((path, read)) => report::read(&path, read),
                Err(_) => Outcome::Lost,
            },
            () = deadline.passed() => report::timed_out(self.deadline),
            stopped = self.stopped() => Outcome::Stopped(stopped),
        }
    }

    /// Listens to the process until there is an outcome.
    async fn listen(
        &self,
        process: &mut Process,
        mut deadline: Deadline,
        mut conversation: Conversation,
        reporter: Reporter<'_>,
    ) -> Outcome {
        let mut stdout = Stdout::new(&self.tool, self.number, reporter, &mut conversation);
        let mut stderr = Stderr::new(&self.tool);
        let ended = tokio::select! {
            ended = process.output((&mut stdout, &mut stderr), &mut deadline) => ended,
            stopped = self.stopped() => return Outcome::Stopped(stopped),
        };
        let printed = stdout.printed();
        match ended {
            Ok(Finished::Ended(end)) => match self.select(printed, &end, &deadline).await {
                Ok(printed) => report::outcome(&self.tool, printed, &end, stderr.end()),
                Err(outcome) => outcome,
            },
            Ok(Finished::TimedOut) => report::timed_out(self.deadline),
            Ok(Finished::Asked) => conversation
                .unanswered()
                .map_or(Outcome::Lost, Outcome::from),
            Err(error) => report::unreadable(&error),
        }
    }

    /// What was printed, and what the filter of the definition makes of it if it is a result.
    async fn select(
        &self,
        printed: Printed,
        end: &End,
        deadline: &Deadline,
    ) -> Result<Printed, Outcome> {
        if !report::is_result(&self.tool, &printed, end) {
            return Ok(printed);
        }
        self.filtered(printed, deadline).await
    }

    /// An output, and what the filter of the definition makes of it.
    async fn filtered(&self, printed: Printed, deadline: &Deadline) -> Result<Printed, Outcome> {
        let selection = output::to_select(&self.tool, &printed.output);
        let Some(selection) = selection.map_err(report::not_selected)? else {
            return Ok(printed);
        };
        tokio::select! {
            values = filter::select(&self.tasks, selection) => Ok(Printed {
                selected: Some(values.map_err(report::not_selected)?),
                ..printed
            }),
            () = deadline.passed() => Err(report::timed_out(self.deadline)),
            stopped = self.stopped() => Err(Outcome::Stopped(stopped)),
        }
    }

    async fn stopped(&self) -> Stopped {
        tokio::select! {
            () = self.stop.client.cancelled() => Stopped::ByClient,
            () = self.stop.session.cancelled() => Stopped::BySession,
            () = self.shutdown.cancelled() => Stopped::ByShutdown,
        }
    }

    fn is_stopped(&self) -> Option<Stopped> {
        let reasons = [
            (&self.stop.client, Stopped::ByClient),
            (&self.stop.session, Stopped::BySession),
            (&self.shutdown, Stopped::ByShutdown),
        ];
        let mut stopped = reasons
            .into_iter()
            .filter(|(token, _)| token.is_cancelled());
        stopped.next().map(|(_, reason)| reason)
    }

    /// Ends what still runs, then gives folder and turn back: behind the outcome, not before it.
    fn clean_up(&self, process: Process, folder: Option<Folder>, turn: Turn) {
        // A process that is being ended may still need the folder it runs in.
        let folder = if process.is_over() {
            folder.and_then(Folder::remove_empty)
        } else {
            folder
        };
        if process.is_over() && folder.is_none() {
            return;
        }
        let cancel = self.tool.cancel;
        let kill = self.kill.clone();
        self.tasks.spawn(async move {
            if !process.is_over() {
                let signal = os_signal(cancel.signal);
                process
                    .terminate(signal, cancel.grace, kill.cancelled())
                    .await;
            }
            if let Some(folder) = folder {
                folder.remove().await;
            }
            drop(turn);
        });
    }
}

impl From<Unanswered> for Outcome {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Required(required) => Self::InputRequired(required),
            Unanswered::Missing(missing) => Self::MissingCapabilities(missing),
            Unanswered::TooOften => report::asked_too_often(),
            Unanswered::Unread => report::asked_unread(),
            Unanswered::TooLarge => report::answered_too_much(),
        }
    }
}

/// What a tool is given to read: nothing, unless it wants its arguments or talks.
fn input_of(tool: &Tool, arguments: Option<String>) -> Option<stdin::Input> {
    if arguments.is_none() && !tool.messages {
        return None;
    }
    Some(stdin::Input {
        first: arguments.unwrap_or_default().into_bytes(),
        is_open: tool.messages,
    })
}

/// The outcome of a part of a call; a panic in it ends this call and nothing else.
async fn or_lost(part: impl Future<Output = Outcome>) -> Outcome {
    AssertUnwindSafe(part)
        .catch_unwind()
        .await
        .unwrap_or(Outcome::Lost)
}

/// Sets on the server what every process that it starts inherits: no descriptor that the server
/// was started with, files that are private to its user, and no core dumps, which could hold
/// secrets. To be called before the first process is started.
///
/// # Errors
///
/// The operating system's, when the limit cannot be set.
pub fn prepare_children() -> io::Result<()> {
    const FIRST_AFTER_STDERR: i32 = 3;
    close_fds::set_fds_cloexec(FIRST_AFTER_STDERR, &[]);
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, none)?;
    Ok(())
}

/// Starts the process, in a folder of its own unless the definition names one.
async fn start(
    mut command: Command,
    input: Option<stdin::Input>,
    merges: bool,
) -> io::Result<(Process, Option<Folder>)> {
    let folder = Folder::make(&mut command).await?;
    let workdir = command.workdir.as_deref();
    let workdir = workdir.or(folder.as_ref().map(Folder::workdir));
    let process = Process::start(Spawn {
        program: &command.program,
        arguments: &command.arguments,
        environment: &command.environment,
        workdir: workdir.unwrap_or(Path::new("/")),
        name: None,
        merges,
        input,
    })?;
    Ok((process, folder))
}

fn os_signal(signal: Signal) -> rustix::process::Signal {
    match signal {
        Signal::Term => rustix::process::Signal::TERM,
        Signal::Int => rustix::process::Signal::INT,
        Signal::Hup => rustix::process::Signal::HUP,
        Signal::Quit => rustix::process::Signal::QUIT,
        Signal::Kill => rustix::process::Signal::KILL,
        Signal::Usr1 => rustix::process::Signal::USR1,
        Signal::Usr2 => rustix::process::Signal::USR2,
    }
}

#[cfg(test)]
mod tests;
