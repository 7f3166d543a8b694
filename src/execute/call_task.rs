//! One call from its first question to its outcome, and what is put in order behind that.

use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::conversation::{Conversation, Unanswered};
use super::deadline::Deadline;
use super::folder::Folder;
use super::gate::{Entered, Gates, Key, Place};
use super::outbound::{Errand, Outbound, Sent};
use super::process::{End, Finished, Process, Spawn};
use super::reporter::Reporter;
use super::stderr::Stderr;
use super::stdout::{Printed, Stdout};
use super::{
    Listener, Origin, Outcome, Stop, Stopped, before, filter, identity, output, report, stdin,
};
use crate::auth::Caller;
use crate::catalog::{self, Arguments, Command, Request, Signal, Tool, Work};

/// A call, and what it shares with the others.
pub(super) struct CallTask {
    pub(super) number: u64,
    pub(super) tool: Arc<Tool>,
    pub(super) caller: Arc<Caller>,
    pub(super) from: Origin,
    pub(super) outbound: Arc<Outbound>,
    pub(super) deadline: Duration,
    pub(super) stop: Stop,
    pub(super) shutdown: CancellationToken,
    pub(super) kill: CancellationToken,
    pub(super) permits: Arc<Semaphore>,
    pub(super) gates: Gates,
    pub(super) tasks: TaskTracker,
}

/// What a call that runs takes from others, until it is dropped.
#[derive(Debug)]
struct Turn {
    _permit: OwnedSemaphorePermit,
    _place: Place,
}

impl CallTask {
    /// Runs the call to its outcome.
    pub(super) async fn run(
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
        let variables = identity::variables(self);
        identity::set(&mut command.environment, &variables);
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
            trace: self.from.trace.as_ref(),
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
pub(super) async fn or_lost(part: impl Future<Output = Outcome>) -> Outcome {
    AssertUnwindSafe(part)
        .catch_unwind()
        .await
        .unwrap_or(Outcome::Lost)
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
