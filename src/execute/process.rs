//! The one place where a process starts.
//!
//! A child is the leader of a process group of its own, and the group is what is signalled, so
//! that nothing a tool started outlives its call. The leader is reaped last: until then its number
//! cannot be given to a stranger, and a signal to the group reaches this group only.
//!
//! `std` starts the child by `posix_spawn`, whose cost does not grow with the memory of the server.
//! Anything that would force `fork` instead (`pre_exec`, user ids) is not used.

use std::ffi::OsString;
use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep_until};

use super::deadline::Deadline;
use super::kept::Overflow;
use super::stderr::Stderr;
use super::stdin::{Input, Stdin};
use super::stdout::Stdout;

/// How long output is still read after the program has ended, when something it left behind keeps
/// its output open.
const PIPE_WINDOW: Duration = Duration::from_secs(1);

/// How long a killed process may take to disappear before it is given up; one that waits for a
/// broken disk may never.
const KILL_WINDOW: Duration = Duration::from_secs(10);

/// How much of a pipe is read at the very end, in bytes: what it can hold.
const MAX_REST: usize = 64 * 1024;

/// The size of one read, in bytes.
const READ: usize = 16 * 1024;

/// A process to start.
#[derive(Debug)]
pub(super) struct Spawn<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [OsString],
    pub(super) environment: &'a [(OsString, OsString)],
    pub(super) workdir: &'a Path,
    /// The name that it is told; `None` for its own.
    pub(super) name: Option<&'a str>,
    /// What it writes to standard error is in its output.
    pub(super) merges: bool,
    /// What it is given to read; `None` is an input that is at its end.
    pub(super) input: Option<Input>,
}

/// A running process group.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    group: Pid,
    pidfd: AsyncFd<OwnedFd>,
    stdin: Stdin,
    stdout: pipe::Receiver,
    /// `None` if it is in the output.
    stderr: Option<pipe::Receiver>,
    reaped: bool,
}

/// Why nothing more is read of a process.
#[derive(Debug)]
pub(super) enum Finished {
    /// It ended, or printed too much.
    Ended(End),
    /// It ran for longer than it may, and still does.
    TimedOut,
    /// It asked what is answered to a later call, and may still be running.
    Asked,
}

/// How a process ended.
#[derive(Debug)]
pub(super) enum End {
    /// It exited, or a signal ended it.
    Exited(ExitStatus),
    /// It exited, but something it left behind kept its output open.
    ExitedLeaving(ExitStatus),
    /// It printed more than the limit; it may still be running.
    Overflow,
}

impl Process {
    /// Starts a process in a group of its own, with exactly this environment and input.
    pub(super) fn start(spawn: Spawn<'_>) -> io::Result<Self> {
        let stdin = match &spawn.input {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        };
        let output = Outputs::open(spawn.merges)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where a process starts"
        )]
        let mut command = std::process::Command::new(spawn.program);
        if let Some(name) = spawn.name {
            command.arg0(name);
        }
        let mut child = command
            .args(spawn.arguments)
            .env_clear()
            .envs(spawn.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(spawn.workdir)
            .stdin(stdin)
            .stdout(output.stdout.1)
            .stderr(output.stderr.1)
            .process_group(0)
            .spawn()?;
        // It holds the writing ends too.
        drop(command);
        let group = Pid::from_child(&child);
        let stdin = Stdin::open(child.stdin.take(), spawn.input.unwrap_or_default());
        let opened = stdin.and_then(|stdin| Ok((stdin, open_pidfd(group)?)));
        match opened {
            Ok((stdin, pidfd)) => Ok(Self {
                child,
                group,
                pidfd,
                stdin,
                stdout: output.stdout.0,
                stderr: output.stderr.0,
                reaped: false,
            }),
            Err(error) => {
                signal_group(group, Signal::KILL);
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Reads the output until the process has ended and nothing holds its output open, for at most
    /// [`PIPE_WINDOW`] after its end, or until it printed more than it may, ran for longer than it
    /// may, or has to end because of what it asks. Its input is written meanwhile.
    ///
    /// # Errors
    ///
    /// The operating system's, when a pipe cannot be read.
    ///
    /// # Cancel safety
    ///
    /// The process goes on; what was read of standard error is lost. Follow with
    /// [`Process::terminate`].
    pub(super) async fn output(
        &mut self,
        (stdout, stderr): (&mut Stdout<'_>, &mut Stderr<'_>),
        deadline: &mut Deadline,
    ) -> io::Result<Finished> {
        let mut stdout_chunk = Vec::with_capacity(READ);
        let mut stderr_chunk = Vec::with_capacity(READ);
        let (mut stdout_open, mut stderr_open) = (true, self.stderr.is_some());
        let mut window: Option<Instant> = None;
        while stdout_open || stderr_open || window.is_none() {
            if stdout.must_end() {
                return Ok(Finished::Asked);
            }
            deadline.set_paused(stdout.is_asking(), Instant::now());
            let (is_behind, has_work) = (stdout.is_behind(), stdout.has_work());
            let due = stdout.due();
            tokio::select! {
                read = self.stdout.read_buf(&mut stdout_chunk), if stdout_open && !is_behind => {
                    stdout_open = read? > 0;
                    if stdout.push(&stdout_chunk) == Err(Overflow) {
                        return Ok(Finished::Ended(End::Overflow));
                    }
                    stdout_chunk.clear();
                }
                read = read(&mut self.stderr, &mut stderr_chunk), if stderr_open => {
                    stderr_open = read? > 0;
                    stderr.push(&stderr_chunk, |progress| stdout.report(progress));
                    stderr_chunk.clear();
                }
                exited = self.pidfd.readable(), if window.is_none() => {
                    // The flag stays set: a process that ended stays ended.
                    exited?.retain_ready();
                    window = Some(Instant::now() + PIPE_WINDOW);
                }
                () = sleep_until(window.unwrap_or_else(Instant::now)), if window.is_some() => break,
                line = stdout.proceed(), if has_work => match line {
                    Ok(line) => self.stdin.push(&line),
                    Err(Overflow) => return Ok(Finished::Ended(End::Overflow)),
                },
                () = self.stdin.write(), if self.stdin.is_due() => {}
                () = sleep_until(deadline.at().unwrap_or_else(Instant::now)), if deadline.at().is_some() => {
                    return Ok(Finished::TimedOut);
                }
                () = sleep_until(due) => stdout.tell_due(),
            }
        }
        // On a busy machine the window may be over before what came in it was looked at.
        if stdout_open {
            let rest = rest(&self.stdout)?;
            stdout_open = rest.is_open;
            if stdout.push(&rest.bytes) == Err(Overflow) {
                return Ok(Finished::Ended(End::Overflow));
            }
        }
        if let Some(pipe) = self.stderr.as_ref().filter(|_| stderr_open) {
            let rest = rest(pipe)?;
            stderr_open = rest.is_open;
            stderr.push(&rest.bytes, |progress| stdout.report(progress));
        }
        stderr.finish(|progress| stdout.report(progress));
        let status = self.reap()?;
        let end = if stdout.finish() == Err(Overflow) {
            End::Overflow
        } else if stdout.must_end() {
            return Ok(Finished::Asked);
        } else if stdout_open || stderr_open {
            End::ExitedLeaving(status)
        } else {
            End::Exited(status)
        };
        Ok(Finished::Ended(end))
    }

    /// True when the process ended and nothing of its group is left.
    pub(super) fn is_over(&self) -> bool {
        self.reaped
    }

    /// Kills what is left of the group, then takes the exit status of its leader, which must have
    /// ended.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        signal_group(self.group, Signal::KILL);
        let status = self.child.wait()?;
        self.reaped = true;
        Ok(status)
    }

    /// Ends the group: `signal`, then KILL when `grace` is over or `now` completes, or when the
    /// leader has ended and nobody holds its output open. A shell often dies of the signal before
    /// the program that it runs has put its affairs in order.
    pub(super) async fn terminate(
        mut self,
        signal: Signal,
        grace: Duration,
        now: impl Future<Output = ()>,
    ) {
        signal_group(self.group, signal);
        tokio::select! {
            () = self.closed() => {}
            () = tokio::time::sleep(grace) => {}
            () = now => {}
        }
        signal_group(self.group, Signal::KILL);
        match tokio::time::timeout(KILL_WINDOW, self.exited()).await {
            Ok(Ok(())) => {
                if let Err(error) = self.reap() {
                    tracing::error!(%error, "a process could not be reaped");
                }
            }
            Ok(Err(error)) => tracing::error!(%error, "a process could not be waited for"),
            Err(_) => tracing::error!(
                pid = self.group.as_raw_nonzero().get(),
                "a process does not die, although it was killed; it is given up"
            ),
        }
    }

    /// Completes when the leader has ended.
    async fn exited(&self) -> io::Result<()> {
        self.pidfd.readable().await?.retain_ready();
        Ok(())
    }

    /// Completes when the leader has ended and every pipe is closed. What is still printed is read
    /// and dropped, so that a program which says goodbye is not killed by that.
    async fn closed(&mut self) {
        let stderr = async {
            if let Some(stderr) = &mut self.stderr {
                drain(stderr).await;
            }
        };
        tokio::join!(drain(&mut self.stdout), stderr, async {
            if let Err(error) = self.pidfd.readable().await {
                tracing::error!(%error, "a process could not be waited for");
            }
        });
    }
}

/// The pipes that a process writes into: the reading end, and what the child gets.
struct Outputs {
    stdout: (pipe::Receiver, Stdio),
    stderr: (Option<pipe::Receiver>, Stdio),
}

impl Outputs {
    fn open(merges: bool) -> io::Result<Self> {
        let (stdout, writer) = pipe()?;
        let stderr = if merges {
            (None, writer.try_clone()?.into())
        } else {
            let (stderr, writer) = pipe()?;
            (Some(stderr), writer.into())
        };
        let stdout = (stdout, writer.into());
        Ok(Self { stdout, stderr })
    }
}

/// A pipe that the server reads from.
fn pipe() -> io::Result<(pipe::Receiver, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    let reader = pipe::Receiver::from_owned_fd(reader.into())?;
    Ok((reader, writer))
}

fn open_pidfd(pid: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    #[expect(
        deprecated,
        reason = "sound for an OwnedFd, and its successor needs an unsafe block"
    )]
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

/// Reads from a pipe that is there.
async fn read(pipe: &mut Option<pipe::Receiver>, chunk: &mut Vec<u8>) -> io::Result<usize> {
    match pipe {
        Some(pipe) => pipe.read_buf(chunk).await,
        None => std::future::pending().await,
    }
}

/// What is in a pipe now.
struct Rest {
    bytes: Vec<u8>,
    is_open: bool,
}

/// Reads what is in a pipe, without waiting for more: at most what a pipe holds.
fn rest(pipe: &pipe::Receiver) -> io::Result<Rest> {
    let mut bytes = Vec::with_capacity(MAX_REST);
    let is_open = loop {
        match pipe.try_read_buf(&mut bytes) {
            Ok(0) => break bytes.len() == MAX_REST,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
            Err(error) => return Err(error),
        }
    };
    Ok(Rest { bytes, is_open })
}

/// Reads a pipe to its end and drops what was read.
async fn drain(pipe: &mut pipe::Receiver) {
    let mut dropped = vec![0; READ];
    while pipe.read(&mut dropped).await.is_ok_and(|bytes| bytes > 0) {}
}

/// The last resort, for a call whose task was dropped: nothing may outlive the call.
impl Drop for Process {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        signal_group(self.group, Signal::KILL);
        if let Err(error) = self.child.try_wait() {
            tracing::error!(%error, "a process could not be reaped");
        }
    }
}

/// Signals every member of a group. A group that is gone needs no signal.
fn signal_group(group: Pid, signal: Signal) {
    if let Err(error) = rustix::process::kill_process_group(group, signal)
        && error != rustix::io::Errno::SRCH
    {
        tracing::warn!(%error, "a process group could not be signalled");
    }
}
