//! One call from its first question to its outcome, and what is put in order behind that.

mod turn;

use std::borrow::Cow;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::conversation::{Conversation, Unanswered};
use super::deadline::Deadline;
use super::folder::{Ended, Folder, Spares};
use super::gate::Gates;
use super::kept::{Beyond, Rest};
use super::outbound::{Errand, Outbound, Sent};
use super::output::Failed;
use super::process::{End, Finished, Process};
use super::reporter::Reporter;
use super::shares::{Share, Shares};
use super::spill::Spill;
use super::starting::{self, Start, Started};
use super::stderr::Stderr;
use super::stdout::{Printed, Stdout};
use super::stuck::Stuck;
use super::{
    Admission, Listener, Origin, Outcome, Stop, Stopped, before, filter, identity, output, refusal,
    report, stdin,
};
use crate::auth::Caller;
use crate::catalog::{self, Arguments, Command, Overflow, Request, Signal, Tool, Work};
use crate::outputs::Outputs;
use crate::protocol::texts::Texts as _;
use crate::sandbox::Mark;
use turn::Turn;

/// A call, and what it shares with the others.
pub(super) struct CallTask {
    pub(super) number: u64,
    pub(super) tool: Arc<Tool>,
    pub(super) caller: Arc<Caller>,
    pub(super) from: Origin,
    pub(super) outbound: Arc<Outbound>,
    pub(super) outputs: Arc<Outputs>,
    pub(super) spares: Arc<Spares>,
    pub(super) deadline: Duration,
    pub(super) stop: Stop,
    pub(super) shutdown: CancellationToken,
    pub(super) kill: CancellationToken,
    /// One of the calls that its principal may have.
    pub(super) share: Arc<Share>,
    pub(super) permits: Arc<Semaphore>,
    /// Counts the calls that wait for their user.
    pub(super) questions: Shares,
    pub(super) gates: Gates,
    pub(super) tasks: TaskTracker,
    pub(super) stuck: Stuck,
}

impl CallTask {
    /// Waits until the call may begin: also when it is over before that, since it has no outcome until
    /// then.
    pub(super) async fn admitted(&self, admission: Option<Admission>) -> Result<(), Outcome> {
        let Some(Admission(admitted)) = admission else {
            return Ok(());
        };
        admitted.await.map_err(Outcome::Refused)?;
        match self.is_stopped() {
            Some(stopped) => Err(Outcome::Stopped(stopped)),
            None => Ok(()),
        }
    }

    /// Runs the call to its outcome. Returned with it is the folder that the call leaves to a later one.
    pub(super) async fn run(
        &self,
        arguments: &Arguments,
        permit: OwnedSemaphorePermit,
        conversation: Conversation,
        listener: &mut dyn Listener,
    ) -> (Outcome, Option<Folder>) {
        let mut spare = None;
        let running = self.try_run((arguments, permit), conversation, listener, &mut spare);
        let outcome = or_lost(running.map(|ended| ended.unwrap_or_else(|early| early))).await;
        (outcome, spare)
    }

    /// Runs the call; the error is an outcome too, of one that did not come to its work.
    async fn try_run(
        &self,
        (arguments, permit): (&Arguments, OwnedSemaphorePermit),
        mut conversation: Conversation,
        listener: &mut dyn Listener,
        spare: &mut Option<Folder>,
    ) -> Result<Outcome, Outcome> {
        let permit = if self.tool.asks() && !self.tool.asks_for_values() {
            // A call that cannot run anyway is not worth a question.
            self.work(arguments, &self.deadline(), permit).await?.1
        } else {
            permit
        };
        let (arguments, permit) = self.ask(arguments, permit, &mut conversation).await?;
        let deadline = self.deadline();
        let mut reporter = Reporter::new(listener);
        let (work, turn) = self
            .work_in_turn(&arguments, permit, &deadline, &mut reporter)
            .await?;
        let mut command = match work {
            Work::Run(command) => command,
            Work::Send(request) => {
                conversation.begin();
                let outcome = Box::pin(self.send(&request, &deadline, reporter)).await;
                drop(turn);
                return Ok(outcome);
            }
            Work::Answer(content) => return Ok(report::answered(content)),
            Work::Read(path) => return Ok(self.read(path, &deadline, turn).await),
        };
        let variables = identity::variables(self);
        identity::set(&mut command.environment, &variables);
        // A call that was given up already does nothing at all.
        if let Some(stopped) = self.is_stopped() {
            return Err(Outcome::Stopped(stopped));
        }
        conversation.begin();
        reporter.begins();
        let input = input_of(&self.tool, command.input.take());
        let (folder, turn) = self.folder(&mut command, &deadline, turn).await?;
        let start = Start {
            call: self.number,
            folder,
            input,
            merges: self.tool.output.stderr == catalog::Stderr::Merge,
        };
        let program = command.program.clone();
        let Started {
            mut process,
            folder,
            mark,
        } = starting::start(command, start).await.map_err(|reason| {
            let (program, error) = (program.display(), &reason.error);
            tracing::warn!(tool = self.tool.name, %program, %error, "a tool could not be started");
            report::not_started(&reason)
        })?;
        // What was started is ended as always, also when its words make something of ours panic.
        let confined = mark.map(|mark| (mark, program));
        let listening = self.listen((&mut process, confined), deadline, conversation, reporter);
        let outcome = or_lost(Box::pin(listening)).await;
        *spare = self.clean_up(process, folder, turn);
        Ok(outcome)
    }

    /// Asks what the definition wants to know. A user takes long: while somebody is asked, the permit is
    /// given back.
    async fn ask<'a>(
        &self,
        arguments: &'a Arguments,
        permit: OwnedSemaphorePermit,
        conversation: &mut Conversation,
    ) -> Result<(Cow<'a, Arguments>, Option<OwnedSemaphorePermit>), Outcome> {
        let ask = before::to_ask(&self.tool, arguments, &self.caller, conversation);
        let Some(ask) = ask.map_err(|outcome| *outcome)? else {
            return Ok((Cow::Borrowed(arguments), Some(permit)));
        };
        let (question, permit) = if conversation.waits_for(&ask) {
            drop(permit);
            let taken = self.questions.take(&self.caller.principal);
            (Some(taken.map_err(refusal::too_many_questions)?), None)
        } else {
            (None, Some(permit))
        };
        let forms = tokio::select! {
            forms = before::ask(&ask, conversation) => forms?,
            stopped = self.stopped() => return Err(Outcome::Stopped(stopped)),
        };
        drop(question);
        Ok((Cow::Owned(self.tool.filled(arguments, &forms)), permit))
    }

    /// From now on.
    fn deadline(&self) -> Deadline {
        Deadline::after(self.deadline, Instant::now())
    }

    /// Renders what the call does, off the reactor if paths are looked up.
    async fn work<H: Send + 'static>(
        &self,
        arguments: &Arguments,
        deadline: &Deadline,
        held: H,
    ) -> Result<(Work, H), Outcome> {
        let (work, held) = if self.tool.looks_up_paths() {
            let (tool, caller) = (Arc::clone(&self.tool), Arc::clone(&self.caller));
            let arguments = arguments.clone();
            let work = move || tool.work(&arguments, &caller);
            self.off_reactor(work, deadline, held).await?
        } else {
            (self.tool.work(arguments, &self.caller), held)
        };
        let work = work.map_err(|error| report::refused(&error))?;
        Ok((work, held))
    }

    /// Makes the folder that a command needs.
    async fn folder(
        &self,
        command: &mut Command,
        deadline: &Deadline,
        turn: Turn,
    ) -> Result<(io::Result<Option<Folder>>, Turn), Outcome> {
        let Some(folder) = command.folder.take() else {
            let folder = Folder::empty(command, &self.spares, &self.caller.principal);
            return Ok((folder, turn));
        };
        let fill = move || Folder::filled(&folder).map(Some);
        self.off_reactor(fill, deadline, turn).await
    }

    /// Does what takes time on a file system, which for one that does not answer has no end: the call
    /// has. What it holds is given back when the operating system has answered.
    async fn off_reactor<T: Send + 'static, H: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        deadline: &Deadline,
        held: H,
    ) -> Result<(T, H), Outcome> {
        let share = Arc::clone(&self.share);
        let working = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(share);
            (done, held)
        });
        tokio::select! {
            done = working => done.map_err(|_| Outcome::Lost),
            () = deadline.passed() => Err(report::timed_out(self.deadline)),
            stopped = self.stopped() => Err(Outcome::Stopped(stopped)),
        }
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
            beyond: match self.tool.output.on_overflow {
                Overflow::Resource => self.spill(),
                // A body is not read beyond what is used of it.
                Overflow::Stop | Overflow::Truncate | Overflow::Error => Beyond::Nothing,
            },
            trace: self.from.trace.as_ref(),
            time: self.deadline,
            deadline: deadline.at().unwrap_or_else(Instant::now),
        };
        let (sent, redactor) = tokio::select! {
            sent = reporter.during(self.outbound.send(request, errand)) => sent,
            stopped = self.stopped() => return Outcome::Stopped(stopped),
        };
        let mut outcome = match sent {
            Sent::Outcome(outcome) => outcome,
            Sent::Body(printed) => self.of_body(*printed, deadline).await,
        };
        outcome.each_text(&mut |text| redactor.clean(text));
        outcome
    }

    /// What the definition makes of a body.
    async fn of_body(&self, printed: Printed, deadline: &Deadline) -> Outcome {
        match self.settled(printed, deadline).await {
            Ok(printed) => report::of_body(&self.tool, printed),
            Err(outcome) => outcome,
        }
    }

    /// Reads a file.
    async fn read(&self, path: PathBuf, deadline: &Deadline, turn: Turn) -> Outcome {
        let read = move || {
            let read = catalog::file_bytes(&path);
            (path, read)
        };
        match self.off_reactor(read, deadline, turn).await {
            Ok(((path, read), _turn)) => report::read(&self.tool, &path, read),
            Err(outcome) => outcome,
        }
    }

    /// Listens to the process until there is an outcome.
    async fn listen(
        &self,
        (process, confined): (&mut Process, Option<(Mark, PathBuf)>),
        mut deadline: Deadline,
        mut conversation: Conversation,
        reporter: Reporter<'_>,
    ) -> Outcome {
        let tool = (&*self.tool, self.beyond());
        let mut stdout = Stdout::new(tool, self.number, reporter, &mut conversation);
        let mut stderr = Stderr::new(&self.tool);
        let ended = tokio::select! {
            ended = process.output((&mut stdout, &mut stderr), &mut deadline) => ended,
            stopped = self.stopped() => return Outcome::Stopped(stopped),
        };
        let printed = stdout.printed();
        if let Some((mark, program)) = confined {
            let said = [stderr.end(self.tool.secrets()), &printed.output];
            if let Some(failure) = said.into_iter().find_map(|said| mark.failure(said)) {
                return report::not_confined(&self.tool, &program, &failure);
            }
        }
        match ended {
            Ok(Finished::Ended(end)) => match self.select(printed, &end, &deadline).await {
                Ok(printed) => {
                    report::outcome(&self.tool, printed, &end, stderr.end(self.tool.secrets()))
                }
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
        Box::pin(self.settled(printed, deadline)).await
    }

    /// A good output: kept if it is too large, or with what the filter of the definition makes of it.
    async fn settled(&self, printed: Printed, deadline: &Deadline) -> Result<Printed, Outcome> {
        let settled = async {
            match printed.rest {
                Rest::Spill(_) => output::kept(&self.tool, printed).await,
                Rest::Nothing | Rest::End(_) => self.filtered(printed).await,
            }
        };
        tokio::select! {
            settled = settled => settled.map_err(report::not_usable),
            () = deadline.passed() => Err(report::timed_out(self.deadline)),
            stopped = self.stopped() => Err(Outcome::Stopped(stopped)),
        }
    }

    async fn filtered(&self, printed: Printed) -> Result<Printed, Failed> {
        let Some(selection) = output::to_select(&self.tool, &printed)? else {
            return Ok(printed);
        };
        let values = filter::select(&self.tasks, &self.stuck, selection).await?;
        Ok(Printed {
            selected: Some(values),
            ..printed
        })
    }

    /// What becomes of output beyond what a result holds.
    fn beyond(&self) -> Beyond {
        match self.tool.output.on_overflow {
            Overflow::Stop | Overflow::Error => Beyond::Nothing,
            Overflow::Truncate => Beyond::tail(self.tool.max_output),
            Overflow::Resource => self.spill(),
        }
    }

    /// All of an output goes into a file beyond what a result holds.
    fn spill(&self) -> Beyond {
        Beyond::Spill(Spill::new(&self.outputs, &self.caller))
    }

    async fn stopped(&self) -> Stopped {
        tokio::select! {
            () = self.stop.client.cancelled() => Stopped::ByClient,
            () = self.stop.connection.cancelled() => Stopped::ByDisconnect,
            () = self.stop.session.cancelled() => Stopped::BySession,
            () = self.shutdown.cancelled() => Stopped::ByShutdown,
        }
    }

    fn is_stopped(&self) -> Option<Stopped> {
        let reasons = [
            (&self.stop.client, Stopped::ByClient),
            (&self.stop.connection, Stopped::ByDisconnect),
            (&self.stop.session, Stopped::BySession),
            (&self.shutdown, Stopped::ByShutdown),
        ];
        let mut stopped = reasons
            .into_iter()
            .filter(|(token, _)| token.is_cancelled());
        stopped.next().map(|(_, reason)| reason)
    }

    /// Ends what still runs, then gives folder and turn back: behind the outcome, not before it. Returns a
    /// folder that a later call may have.
    fn clean_up(&self, process: Process, folder: Option<Folder>, turn: Turn) -> Option<Folder> {
        // A process that is being ended may still need the folder it runs in.
        let folder = if process.is_over() {
            match folder.map(Folder::ended) {
                Some(Ended::Spare(folder)) => return Some(folder),
                None | Some(Ended::Gone) => return None,
                Some(Ended::Full(folder)) => Some(folder),
            }
        } else {
            folder
        };
        let cancel = self.tool.cancel;
        let kill = self.kill.clone();
        let stuck = self.stuck.clone();
        self.tasks.spawn(async move {
            if !process.is_over() {
                let signal = os_signal(cancel.signal);
                process
                    .terminate(signal, cancel.grace, kill.cancelled(), &stuck)
                    .await;
            }
            if let Some(folder) = folder {
                folder.remove().await;
            }
            drop(turn);
        });
        None
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
