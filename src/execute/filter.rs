//! What a call printed, through the jq filter of its definition.
//!
//! The filter runs in a process of its own (see [`crate::select`]), since nothing else can be stopped
//! for certain, whatever the filter does.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;
use std::{fmt, io};

use rustix::process::Signal;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::deadline::Deadline;
use super::output::Failed;
use super::process::{End, Finished, Process, Spawn};
use super::reporter::Reporter;
use super::stderr::Stderr;
use super::stdin::Input;
use super::stdout::Stdout;
use super::stuck::Stuck;
use super::{Listener, Outcome, Said, orphans};
use crate::redact::Redactor;
use crate::{reexec, select};

/// How long a filter may take.
const MAX_TIME: Duration = Duration::from_secs(10);
/// How much is told of what a filter complains about, in bytes.
const MAX_COMPLAINT: usize = 1024;

/// A filter and what it is given.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) filter: String,
    /// A JSON text.
    pub(super) input: Vec<u8>,
    /// The most that it may give, in bytes.
    pub(super) limit: usize,
    /// What it may not say.
    pub(super) secrets: Redactor,
}

/// Runs a filter, and returns what it gives. Dropped before, the filter is stopped.
pub(super) async fn select(
    tasks: &TaskTracker,
    stuck: &Stuck,
    selection: Selection,
) -> Result<Vec<Value>, Failed> {
    if !reexec::is_possible() {
        return Err(failed("cannot run: this program is not mcp-serve itself"));
    }
    let (mut wanted, given) = oneshot::channel();
    let stuck = stuck.clone();
    // A filter that nobody waits for any more is still ended and reaped.
    tasks.spawn(async move {
        let mut process = match start(selection.filter, selection.input) {
            Ok(process) => process,
            Err(error) => {
                tracing::error!(%error, "a filter could not be started");
                drop(wanted.send(Err(failed("could not be started"))));
                return;
            }
        };
        let result = tokio::select! {
            result = values(&mut process, selection.limit, &selection.secrets) => Some(result),
            () = wanted.closed() => None,
        };
        if let Some(result) = result {
            drop(wanted.send(result));
        }
        if !process.is_over() {
            let now = std::future::ready(());
            let kill = process.terminate(Signal::KILL, Duration::ZERO, now, &stuck);
            kill.await;
        }
    });
    given.await.unwrap_or_else(|_| Err(failed("was lost")))
}

fn start(filter: String, input: Vec<u8>) -> io::Result<Process> {
    Process::start(&mut Spawn {
        call: orphans::NO_CALL,
        program: Path::new(reexec::THIS_PROGRAM),
        arguments: &[OsString::from(filter)],
        environment: &[],
        workdir: Path::new("/"),
        name: Some(select::PROGRAM),
        makes_session: false,
        merges: false,
        input: &mut Some(Input {
            first: input,
            is_open: false,
        }),
    })
}

/// What a filter gives.
async fn values(
    process: &mut Process,
    limit: usize,
    secrets: &Redactor,
) -> Result<Vec<Value>, Failed> {
    let mut nobody = Nobody;
    let mut stdout = Stdout::unheard(limit, Reporter::new(&mut nobody));
    let mut stderr = Stderr::unheard();
    let mut deadline = Deadline::after(MAX_TIME, Instant::now());
    let finished = process
        .output((&mut stdout, &mut stderr), &mut deadline)
        .await;
    let finished = finished.map_err(|error| {
        tracing::error!(%error, "the output of a filter could not be read");
        failed("could not be read")
    })?;
    match finished {
        Finished::Ended(End::Exited(status) | End::ExitedLeaving(status)) => match status.code() {
            Some(0) => read(&stdout.printed().output),
            Some(_) => Err(complaint(stderr.end(secrets), secrets)),
            None => {
                let most = select::MAX_MEMORY >> 20;
                Err(failed(format!(
                    "needs more than {most} MiB of memory, or calls itself without end"
                )))
            }
        },
        Finished::Ended(End::OutOfMemory(_)) => {
            Err(failed("was ended by the kernel: memory ran out"))
        }
        Finished::Ended(End::Overflow) => Err(failed(format!(
            "gives more than {limit} bytes; select less, or ask for less"
        ))),
        Finished::TimedOut | Finished::Asked => {
            let most = MAX_TIME.as_secs();
            Err(failed(format!("takes longer than {most} seconds")))
        }
    }
}

/// Reads a value from each line.
fn read(output: &[u8]) -> Result<Vec<Value>, Failed> {
    let lines = output.split_inclusive(|byte| *byte == b'\n');
    let values = lines.map(serde_json::from_slice).collect::<Result<_, _>>();
    values.map_err(|error| failed(format!("gives no valid JSON ({error})")))
}

fn complaint(said: &[u8], secrets: &Redactor) -> Failed {
    let said = String::from_utf8_lossy(said).into_owned();
    let said = secrets.cut(said, MAX_COMPLAINT);
    failed(format!("failed: {said}"))
}

fn failed(what: impl fmt::Display) -> Failed {
    Failed {
        text: format!("the filter for the output of the tool {what}"),
        how: "filter failed",
    }
}

/// Hears nothing: a filter has nothing to say but its output.
struct Nobody;

impl Listener for Nobody {
    fn said(&mut self, _: Said) {}

    fn done(self: Box<Self>, _: Outcome) {}
}
