//! The one place where a process starts.
//!
//! A child is the leader of a process group of its own, and the group is what is signalled; what has
//! left the group is killed as an orphan (see [`orphans`]), so that nothing a tool started outlives its
//! call. The leader is reaped last: until then its number cannot be given to a stranger, and a signal to
//! the group reaches this group only.
//!
//! `std` starts the child by `posix_spawn`, whose cost does not grow with the memory of the server.
//! Anything that would force `fork` instead (`pre_exec`, user ids) is not used.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use tokio::io::AsyncReadExt as _;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep_until};

use super::deadline::Deadline;
use super::kept::Overflow;
use super::memory;
use super::orphans::{self, Leader};
use super::stderr::Stderr;
use super::stdin::{Input, Stdin};
use super::stdout::Stdout;
use super::stuck::Stuck;

/// How long output is still read after the program has ended, when something it left behind keeps
/// its output open.
const PIPE_WINDOW: Duration = Duration::from_secs(1);

/// How readily the kernel ends a process when memory is short, of 1000. The server, at 0, goes on.
const OOM_SCORE: i32 = 500;

/// True if the processes do not inherit that already.
static RAISES_OOM_SCORE: LazyLock<bool> = LazyLock::new(|| {
    let own = std::fs::read_to_string("/proc/self/oom_score_adj");
    let own = own.ok().and_then(|own| own.trim().parse().ok());
    own.is_none_or(|own: i32| own < OOM_SCORE)
});

/// How much of a pipe is read at the very end, in bytes: what it can hold.
const MAX_REST: usize = 64 * 1024;

/// The size of one read, in bytes.
const READ: usize = 16 * 1024;

/// A process to start.
#[derive(Debug)]
pub(super) struct Spawn<'a> {
    /// The number of the call.
    pub(super) call: u64,
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [OsString],
    pub(super) environment: &'a [(OsString, OsString)],
    pub(super) workdir: &'a Path,
    /// The name that it is told; `None` for its own.
    pub(super) name: Option<&'a str>,
    /// It makes a session of its own, and with it a process group, before it does anything else.
    pub(super) makes_session: bool,
    /// What it writes to standard error is in its output.
    pub(super) merges: bool,
    /// What it is given to read, taken when it is started; `None` is an input that is at its end.
    pub(super) input: &'a mut Option<Input>,
}

/// A running process group.
#[derive(Debug)]
pub(super) struct Process {
    leader: Leader,
    pidfd: AsyncFd<OwnedFd>,
    stdin: Stdin,
    stdout: pipe::Receiver,
    /// `None` if it is in the output.
    stderr: Option<pipe::Receiver>,
    /// `None` once its leader has ended.
    writers: Option<Writers>,
    state: State,
}

/// The writing ends of the pipes, which a command holds also when its process was started. While the
/// server has them the pipes cannot end, so that the end of a process wakes it once and not three times.
struct Writers(#[expect(dead_code, reason = "kept for its descriptors")] Command);

/// A command holds values, which may be secret.
impl fmt::Debug for Writers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Writers")
    }
}

/// How far a process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// Its leader has ended, and is not reaped.
    Ended,
    /// Nothing of it is left.
    Gone,
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
    /// It was killed, as the kernel kills what uses most when memory runs out, and memory has run out.
    OutOfMemory(ExitStatus),
    /// It printed more than the limit; it may still be running.
    Overflow,
}

impl Process {
    /// Starts a process in a group of its own, with exactly this environment and input.
    pub(super) fn start(spawn: &mut Spawn<'_>) -> io::Result<Self> {
        let stdin = match spawn.input {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        };
        let output = Outputs::open(spawn.merges)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where a process starts"
        )]
        let mut command = Command::new(spawn.program);
        if let Some(name) = spawn.name {
            command.arg0(name);
        }
        command
            .args(spawn.arguments)
            .env_clear()
            .envs(spawn.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(spawn.workdir)
            .stdin(stdin)
            .stdout(output.stdout.1)
            .stderr(output.stderr.1);
        // The leader of a group can make no session.
        if !spawn.makes_session {
            command.process_group(0);
        }
        let (mut leader, stdin) = Leader::start(spawn.call, || command.spawn())?;
        offer_to_oom_killer(leader.pid);
        let stdin = Stdin::open(stdin, spawn.input.take().unwrap_or_default());
        let opened = stdin.and_then(|stdin| Ok((stdin, orphans::open_pidfd(leader.pid)?)));
        match opened {
            Ok((stdin, pidfd)) => Ok(Self {
                leader,
                pidfd,
                stdin,
                stdout: output.stdout.0,
                stderr: output.stderr.0,
                writers: Some(Writers(command)),
                state: State::Running,
            }),
            Err(error) => {
                signal_group(leader.pid, Signal::KILL);
                leader.reap()?;
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
        let mut open = Open {
            stdout: true,
            stderr: self.stderr.is_some(),
        };
        let mut window: Option<Instant> = None;
        while open.has_one() || window.is_none() {
            if stdout.must_end() {
                return Ok(Finished::Asked);
            }
            deadline.set_paused(stdout.is_asking(), Instant::now());
            let (is_behind, has_work) = (stdout.is_behind(), stdout.has_work());
            let due = stdout.due();
            tokio::select! {
                read = self.stdout.read_buf(&mut stdout_chunk), if open.stdout && !is_behind => {
                    open.stdout = read? > 0;
                    if stdout.push(&stdout_chunk) == Err(Overflow) {
                        return Ok(Finished::Ended(End::Overflow));
                    }
                    stdout_chunk.clear();
                }
                read = read(&mut self.stderr, &mut stderr_chunk), if open.stderr => {
                    open.stderr = read? > 0;
                    stderr.push(&stderr_chunk, |progress| stdout.report(progress));
                    stderr_chunk.clear();
                }
                exited = self.pidfd.readable(), if window.is_none() => {
                    // The flag stays set: a process that ended stays ended.
                    exited?.retain_ready();
                    window = Some(Instant::now() + PIPE_WINDOW);
                    self.writers = None;
                    if self.take_rest((stdout, stderr), &mut open)? == Err(Overflow) {
                        return Ok(Finished::Ended(End::Overflow));
                    }
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
        if self.take_rest((stdout, stderr), &mut open)? == Err(Overflow) {
            return Ok(Finished::Ended(End::Overflow));
        }
        stderr.finish(|progress| stdout.report(progress));
        let status = self.end()?;
        let end = if stdout.finish() == Err(Overflow) {
            End::Overflow
        } else if stdout.must_end() {
            return Ok(Finished::Asked);
        } else if memory::has_ended(status) {
            let pid = self.leader.pid.as_raw_pid();
            tracing::warn!(pid, "a program was killed when memory ran out");
            End::OutOfMemory(status)
        } else if open.has_one() {
            End::ExitedLeaving(status)
        } else {
            End::Exited(status)
        };
        Ok(Finished::Ended(end))
    }

    /// Takes what is in the pipes that are open now, without waiting for more.
    fn take_rest(
        &self,
        (stdout, stderr): (&mut Stdout<'_>, &mut Stderr<'_>),
        open: &mut Open,
    ) -> io::Result<Result<(), Overflow>> {
        if open.stdout {
            let rest = rest(&self.stdout)?;
            open.stdout = rest.is_open;
            if stdout.push(&rest.bytes) == Err(Overflow) {
                return Ok(Err(Overflow));
            }
        }
        if let Some(pipe) = self.stderr.as_ref().filter(|_| open.stderr) {
            let rest = rest(pipe)?;
            open.stderr = rest.is_open;
            stderr.push(&rest.bytes, |progress| stdout.report(progress));
        }
        Ok(Ok(()))
    }

    /// True when the process ended and nothing of it is left.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Gone
    }

    /// Kills what the leader, which must have ended, has left behind, and says how it ended.
    fn end(&mut self) -> io::Result<ExitStatus> {
        self.state = State::Ended;
        signal_group(self.leader.pid, Signal::KILL);
        if !self.leader.kill_orphans() {
            return self.leader.status();
        }
        let status = self.leader.reap()?;
        self.state = State::Gone;
        Ok(status)
    }

    /// Ends the group: `signal`, then KILL when `grace` is over or `now` completes, or when the
    /// leader has ended and nobody holds its output open. A shell often dies of the signal before
    /// the program that it runs has put its affairs in order. Then what has left the group is killed.
    /// Of one that does not die `stuck` is told.
    pub(super) async fn terminate(
        mut self,
        signal: Signal,
        grace: Duration,
        now: impl Future<Output = ()>,
        stuck: &Stuck,
    ) {
        if self.state == State::Running {
            signal_group(self.leader.pid, signal);
            // One that is stopped could not hear it.
            signal_group(self.leader.pid, Signal::CONT);
            tokio::select! {
                () = self.closed() => {}
                () = tokio::time::sleep(grace) => {}
                () = now => {}
            }
            signal_group(self.leader.pid, Signal::KILL);
        }
        let pid = self.leader.pid.as_raw_pid();
        stuck.watch(pid, self.gone()).await;
        self.state = State::Gone;
        if let Err(error) = self.leader.reap() {
            tracing::error!(%error, "a process could not be reaped");
        }
    }

    /// Completes when the leader has ended and its orphans are gone.
    async fn gone(&self) {
        if let Err(error) = self.exited().await {
            tracing::error!(%error, "a process could not be waited for");
        }
        self.leader.end_orphans().await;
    }

    /// Completes when the leader has ended.
    async fn exited(&self) -> io::Result<()> {
        self.pidfd.readable().await?.retain_ready();
        Ok(())
    }

    /// Completes when the leader has ended and every pipe is closed. What is still printed is read
    /// and dropped, so that a program which says goodbye is not killed by that.
    async fn closed(&mut self) {
        self.writers = None;
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

/// Has the kernel end a process, and what it starts, before the server.
fn offer_to_oom_killer(pid: Pid) {
    if !*RAISES_OOM_SCORE {
        return;
    }
    let file = format!("/proc/{pid}/oom_score_adj");
    if let Err(error) = std::fs::write(file, OOM_SCORE.to_string()) {
        tracing::debug!(%pid, %error, "a process dies no sooner than the server when memory is short");
    }
}

/// A pipe that the server reads from.
fn pipe() -> io::Result<(pipe::Receiver, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    let reader = pipe::Receiver::from_owned_fd(reader.into())?;
    Ok((reader, writer))
}

/// Reads from a pipe that is there.
async fn read(pipe: &mut Option<pipe::Receiver>, chunk: &mut Vec<u8>) -> io::Result<usize> {
    match pipe {
        Some(pipe) => pipe.read_buf(chunk).await,
        None => std::future::pending().await,
    }
}

/// The pipes that have not come to their end.
#[derive(Debug, Clone, Copy)]
struct Open {
    stdout: bool,
    stderr: bool,
}

impl Open {
    fn has_one(self) -> bool {
        self.stdout || self.stderr
    }
}

/// What is in a pipe now.
struct Rest {
    bytes: Vec<u8>,
    is_open: bool,
}

/// Reads what is in a pipe, without waiting for more: at most what a pipe holds.
fn rest(pipe: &pipe::Receiver) -> io::Result<Rest> {
    let mut bytes = Vec::new();
    // One byte more tells a full pipe that is closed from one that goes on.
    let is_open = loop {
        if bytes.len() > MAX_REST {
            break true;
        }
        bytes.reserve(READ);
        match rustix::io::read(pipe, spare_capacity(&mut bytes)) {
            Ok(0) => break false,
            Ok(_) => {}
            Err(Errno::AGAIN) => break true,
            Err(error) => return Err(error.into()),
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
        if self.state != State::Gone {
            signal_group(self.leader.pid, Signal::KILL);
            self.leader.kill_orphans();
            self.leader.abandon();
        }
    }
}

/// Signals every member of a group. A group that is gone needs no signal; one that is not there yet has
/// its leader alone, which is not reaped before the last signal.
fn signal_group(group: Pid, signal: Signal) {
    let to_group = rustix::process::kill_process_group(group, signal);
    let signalled = match to_group {
        Err(Errno::SRCH) => rustix::process::kill_process(group, signal),
        signalled => signalled,
    };
    if let Err(error) = signalled
        && error != Errno::SRCH
    {
        tracing::warn!(%error, "a process group could not be signalled");
    }
}
