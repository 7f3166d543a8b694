//! From a call to its outcome.
//!
//! A call is a task of its own with a deadline, a permit and one outcome. It does not end because
//! a connection is lost; what that means is for the caller to say through [`Stop`]. The outcome is
//! given at the deadline, and the killing goes on behind it.

mod process;
mod report;

use std::borrow::Cow;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};
use tempfile::TempDir;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Caller;
use crate::catalog::{Arguments, Command, Signal, Tool};
use crate::protocol::mcp::CallToolResult;
use crate::protocol::progress::Progress;
use process::{Process, Spawn};

/// What bounds the calls.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most calls at once, over all tools and callers.
    pub max_calls: usize,
    /// How long a call may take when its tool says nothing.
    pub call_timeout: Duration,
}

/// Runs calls.
#[derive(Debug)]
pub struct Executor {
    limits: Limits,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    numbers: AtomicU64,
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
    /// The call ended before the tool did.
    Stopped(Stopped),
    /// The task that ran the call panicked.
    Lost,
}

/// Where the words of a call and its outcome go. It belongs to the call, and is there also after a
/// connection was lost.
///
/// Both functions run in the task of the call, and must not block.
pub trait Listener: Send + 'static {
    /// The tool said something before its result.
    fn said(&mut self, said: Said);

    /// The call is over. Called exactly once, also when the task of the call panicked. What the
    /// listener holds is dropped with it.
    fn done(self: Box<Self>, outcome: Outcome);
}

/// What a tool says before its result.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// How far it has come. Each is further than the one before.
    Progress(Progress),
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
            tasks: TaskTracker::new(),
            numbers: AtomicU64::new(1),
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
        }
    }

    /// A number for a call, unique in this process.
    pub fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
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
        let call = CallTask {
            deadline: request.tool.timeout.unwrap_or(self.limits.call_timeout),
            tool: request.tool,
            stop,
            shutdown: self.stop.clone(),
            kill: self.kill.clone(),
            tasks: self.tasks.clone(),
        };
        self.tasks.spawn(async move {
            let started = Instant::now();
            // A panic ends this call only. Its process is killed, and permit and folder are given
            // back, by what it drops.
            let running = AssertUnwindSafe(call.run(&request.arguments, permit));
            let outcome = running.catch_unwind().await.unwrap_or(Outcome::Lost);
            tracing::info!(
                call = request.number,
                tool = call.tool.name,
                principal = %request.caller.principal,
                outcome = report::label(&outcome),
                duration_seconds = started.elapsed().as_secs_f64(),
                "call"
            );
            listener.done(outcome);
        });
        Ok(())
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
    tool: Arc<Tool>,
    deadline: Duration,
    stop: Stop,
    shutdown: CancellationToken,
    kill: CancellationToken,
    tasks: TaskTracker,
}

impl CallTask {
    async fn run(&self, arguments: &Arguments, permit: OwnedSemaphorePermit) -> Outcome {
        let command = match self.tool.command(arguments) {
            Ok(command) => command,
            Err(error) => return report::refused(&error),
        };
        // A call that was given up already does nothing at all.
        if let Some(stopped) = self.is_stopped() {
            return Outcome::Stopped(stopped);
        }
        let (mut process, folder) = match start(&command) {
            Ok(started) => started,
            Err(error) => {
                tracing::warn!(tool = self.tool.name, program = %command.program.display(), %error, "a tool could not be started");
                return report::not_started(&error);
            }
        };
        let outcome = tokio::select! {
            output = process.output(self.tool.max_output) => match output {
                Ok(output) => report::outcome(&self.tool, &output),
                Err(error) => report::unreadable(&error),
            },
            () = tokio::time::sleep(self.deadline) => report::timed_out(self.deadline),
            stopped = self.stopped() => Outcome::Stopped(stopped),
        };
        self.clean_up(process, folder, permit);
        outcome
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

    /// Ends what still runs, then gives folder and permit back: behind the outcome, not before it.
    fn clean_up(&self, process: Process, folder: Option<TempDir>, permit: OwnedSemaphorePermit) {
        // A process that is being ended may still need the folder it runs in.
        let folder = if process.is_over() {
            folder.and_then(remove_empty)
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
                remove(folder).await;
            }
            drop(permit);
        });
    }
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

/// Starts the process, in a private empty folder unless the definition names one.
fn start(command: &Command) -> io::Result<(Process, Option<TempDir>)> {
    let folder = if command.workdir.is_none() {
        let private = Permissions::from_mode(0o700);
        let mut builder = tempfile::Builder::new();
        Some(
            builder
                .prefix("mcp-serve-")
                .permissions(private)
                .tempdir()?,
        )
    } else {
        None
    };
    let workdir = folder
        .as_ref()
        .map(TempDir::path)
        .or(command.workdir.as_deref());
    let process = Process::start(&Spawn {
        program: &command.program,
        arguments: &command.arguments,
        environment: &command.environment,
        workdir: workdir.unwrap_or(Path::new("/")),
    })?;
    Ok((process, folder))
}

/// Removes a call's folder if it is empty, as most are; else gives it back.
fn remove_empty(folder: TempDir) -> Option<TempDir> {
    if std::fs::remove_dir(folder.path()).is_err() {
        return Some(folder);
    }
    // Nothing is left for the destructor to remove.
    drop(folder.keep());
    None
}

/// Removes a call's folder with what is in it, off the reactor.
async fn remove(folder: TempDir) {
    let removed = tokio::task::spawn_blocking(move || {
        // A folder that its owner may not write keeps what is in it.
        open_folders(folder.path())?;
        folder.close()
    });
    if let Ok(Err(error)) = removed.await {
        tracing::warn!(%error, "the folder of a call could not be removed");
    }
}

/// Lets the owner into every folder below one. Links are not followed.
fn open_folders(folder: &Path) -> io::Result<()> {
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_folders(&entry.path())?;
        }
    }
    Ok(())
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
