//! What the programs of calls leave behind.
//!
//! The server is the subreaper of what it starts: a process that loses its parent becomes a child of
//! the server, also one with a session of its own, or one that was forked twice. So nothing of a call
//! gets away. What such an orphan came from nobody says any more. It belongs to the call whose process
//! group it is in; else to the one whose number is in its environment; else, since it hides that, to the
//! call that ends when no other call is left that could have started it.
//!
//! A process that is no child of ours any more may be a stranger the next moment. So whoever takes the
//! exit status of a child, or signals one, holds [`CHILDREN`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustix::process::{Pid, PidfdFlags, RawPid, Signal, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::identity;

/// How long is waited for a process that cannot be waited for, for want of a descriptor.
const RETRY: Duration = Duration::from_millis(50);

/// How long a look waits for processes that are just being started.
const MAX_WAIT: Duration = Duration::from_millis(50);

/// How many dying orphans are waited for at once, each by a descriptor; those beyond come next.
const MAX_WAITED_FOR: usize = 16;

/// The number of no call, for a process that leaves nothing behind.
pub(super) const NO_CALL: u64 = 0;

/// The most of an environment that is looked at, in bytes: what a process can be started with.
const MAX_ENVIRONMENT: u64 = 6 << 20;

/// Held for reading by whoever changes what is in [`LEADERS`], for writing by whoever looks for
/// orphans.
static CHILDREN: RwLock<()> = RwLock::new(());

/// The children that the server started itself, and the numbers of their calls.
static LEADERS: Mutex<BTreeMap<RawPid, u64>> = Mutex::new(BTreeMap::new());

/// The calls of orphans that live, as far as they have said so: many may live for long, and each end
/// of a call has to do with all of them.
static KNOWN: Mutex<BTreeMap<RawPid, u64>> = Mutex::new(BTreeMap::new());

/// Lists the children of the main thread, to whom the kernel gives the orphans. `None` if this kernel
/// has no such list; not set in a process that does not adopt.
static ADOPTED: OnceLock<Option<File>> = OnceLock::new();

/// A process that the server started itself.
#[derive(Debug)]
pub(super) struct Leader {
    child: Child,
    /// Of itself, and of its process group.
    pub(super) pid: Pid,
    call: u64,
}

/// An orphan that was killed and is not gone yet; an error if that cannot be waited for.
type Dying = io::Result<AsyncFd<OwnedFd>>;

/// Makes the server the parent of all orphans below it.
pub(super) fn adopt() -> io::Result<()> {
    let main = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(main))?;
    ADOPTED.get_or_init(|| File::open(format!("/proc/self/task/{main}/children")).ok());
    Ok(())
}

/// Takes note of the orphans that are dead.
pub(super) fn reap() {
    look(None);
}

impl Leader {
    /// Starts a process for a call.
    pub(super) fn start(
        call: u64,
        spawn: impl FnOnce() -> io::Result<Child>,
    ) -> io::Result<(Self, Option<std::process::ChildStdin>)> {
        let _guard = CHILDREN.read();
        let mut child = spawn()?;
        let pid = Pid::from_child(&child);
        LEADERS.lock().insert(pid.as_raw_pid(), call);
        let stdin = child.stdin.take();
        Ok((Self { child, pid, call }, stdin))
    }

    /// How the process ended, which it must have.
    pub(super) fn status(&self) -> io::Result<ExitStatus> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = rustix::process::waitid(WaitId::Pid(self.pid), options)?
            .ok_or_else(|| io::Error::other("a process has ended without a status"))?;
        let code = status.exit_status().map(|code| code << 8);
        Ok(ExitStatus::from_raw(
            code.or(status.terminating_signal()).unwrap_or_default(),
        ))
    }

    /// Forgets the process, which must have ended, and returns how: its number may be given to a stranger
    /// now.
    pub(super) fn reap(&mut self) -> io::Result<ExitStatus> {
        let _guard = CHILDREN.read();
        LEADERS.lock().remove(&self.pid.as_raw_pid());
        self.child.wait()
    }

    /// Gives up a process that was killed: it is reaped as what is left behind.
    pub(super) fn abandon(&self) {
        LEADERS.lock().remove(&self.pid.as_raw_pid());
    }

    /// Kills the orphans of the call, whose first process has ended; true if there are none.
    pub(super) fn kill_orphans(&self) -> bool {
        look(Some(self)).is_empty()
    }

    /// Kills the orphans of the call, and those that they leave, until all are gone.
    pub(super) async fn end_orphans(&self) {
        loop {
            let dying = look(Some(self));
            if dying.is_empty() {
                return;
            }
            for orphan in dying {
                match orphan {
                    Ok(pidfd) => drop(pidfd.readable().await),
                    Err(error) => {
                        tracing::warn!(%error, "an orphan cannot be waited for");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            }
        }
    }
}

/// A descriptor that is readable when a child has ended.
pub(super) fn open_pidfd(pid: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    #[expect(
        deprecated,
        reason = "sound for an OwnedFd, and its successor needs an unsafe block"
    )]
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

/// Takes note of the orphans that are dead, and kills those of a call that has `ended`.
fn look(ended: Option<&Leader>) -> Vec<Dying> {
    let Some(list) = ADOPTED.get() else {
        return Vec::new();
    };
    let adopted = || list.as_ref().and_then(|list| read(list).ok());
    // The usual case, which keeps nobody from starting something.
    if adopted().is_some_and(|orphans| orphans.is_empty()) {
        return Vec::new();
    }
    // A program on a file system that does not answer takes for ever to start. Nobody waits for that
    // here: what is left then is found by the next look.
    let Some(_guard) = CHILDREN.try_write_for(MAX_WAIT) else {
        return Vec::new();
    };
    let leaders = LEADERS.lock();
    let children = adopted().unwrap_or_else(children);
    let mut dying = Vec::new();
    for pid in children {
        if leaders.contains_key(&pid.as_raw_pid()) {
            continue;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        // An error is a process that is no child of ours any more.
        if !matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(None)) {
            KNOWN.lock().remove(&pid.as_raw_pid());
            continue;
        }
        let is_to_die = ended.is_some_and(|ended| is_of(pid, ended, &leaders)) && kill(pid);
        if is_to_die && dying.len() < MAX_WAITED_FOR {
            dying.push(open_pidfd(pid));
        }
    }
    dying
}

/// Returns false for a process that cannot be killed, such as one of another user: nobody waits for it.
fn kill(pid: Pid) -> bool {
    let killed = rustix::process::kill_process(pid, Signal::KILL);
    if let Err(error) = killed {
        let pid = pid.as_raw_pid();
        tracing::warn!(pid, %error, "what a call left behind could not be killed");
    }
    killed.is_ok()
}

/// True for an orphan that a call has left behind which has ended.
fn is_of(pid: Pid, ended: &Leader, leaders: &BTreeMap<RawPid, u64>) -> bool {
    // What is not known now is looked at again when the next call ends.
    let Ok(group) = rustix::process::getpgid(Some(pid)) else {
        return false;
    };
    if group == ended.pid {
        return true;
    }
    if leaders.contains_key(&group.as_raw_pid()) {
        return false;
    }
    if let Some(call) = call_of(pid) {
        return call == ended.call || !leaders.values().any(|running| *running == call);
    }
    let Some(stat) = Stat::of(pid) else {
        return false;
    };
    let may_be_of = |(leader, call): (&RawPid, &u64)| {
        let leader = Pid::from_raw(*leader).and_then(Stat::of);
        *call != NO_CALL && leader.is_none_or(|leader| leader.started <= stat.started)
    };
    // While another call may be its own, it is left alone: that one's end is another look.
    let (own, others): (Vec<_>, Vec<_>) = leaders
        .iter()
        .partition(|(leader, _)| **leader == ended.pid.as_raw_pid());
    own.into_iter().any(may_be_of) && !others.into_iter().any(may_be_of)
}

/// The number of the call that an orphan says it belongs to, or once said.
fn call_of(pid: Pid) -> Option<u64> {
    let known = KNOWN.lock().get(&pid.as_raw_pid()).copied();
    known.or_else(|| {
        let call = call_in_environment(pid)?;
        KNOWN.lock().insert(pid.as_raw_pid(), call);
        Some(call)
    })
}

fn call_in_environment(pid: Pid) -> Option<u64> {
    let path = format!("/proc/{pid}/environ");
    let mut environment = Vec::new();
    let mut file = File::open(path).ok()?.take(MAX_ENVIRONMENT);
    file.read_to_end(&mut environment).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let number = variables.find_map(|variable| {
        let value = variable.strip_prefix(identity::CALL_NUMBER.as_bytes())?;
        value.strip_prefix(b"=")
    })?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// The processes in a list of the kernel.
fn read(list: &File) -> io::Result<Vec<Pid>> {
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = list.read_at(&mut chunk, text.len() as u64)?;
        if read == 0 {
            break;
        }
        text.extend(chunk.iter().take(read));
    }
    let text = String::from_utf8_lossy(&text);
    let pids = text.split_ascii_whitespace();
    Ok(pids
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect())
}

/// All children of the server, found the slow way.
fn children() -> Vec<Pid> {
    let own = rustix::process::getpid().as_raw_pid();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = processes.flatten().filter_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        Pid::from_raw(pid)
    });
    pids.filter(|pid| Stat::of(*pid).is_some_and(|stat| stat.parent == own))
        .collect()
}

/// What the kernel says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: RawPid,
    /// In ticks of a clock that starts with the machine.
    started: u64,
}

impl Stat {
    fn of(pid: Pid) -> Option<Self> {
        let path = format!("/proc/{pid}/stat");
        // The name of a program may be anything.
        let text = std::fs::read(path).ok()?;
        Self::read(&String::from_utf8_lossy(&text))
    }

    /// Reads "PID (NAME) STATE PPID PGRP …", see `proc_pid_stat(5)`.
    fn read(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(") ")?;
        let mut fields = rest.split_ascii_whitespace().skip(1);
        Some(Self {
            parent: fields.next()?.parse().ok()?,
            started: fields.nth(17)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pass_for_a_state() {
        let line = "42 (a) S 1 7 (b) c) S 3 5 5 0 -1 4194304 92 0 0 0 0 0 0 0 20 0 1 0 123456 2703360 352\n";
        let expected = Stat {
            parent: 3,
            started: 123_456,
        };
        assert_eq!(Stat::read(line), Some(expected));
        for broken in ["", "42 (a)", "42 (a) S 3 5", "42 (a) S x 5 5 0 0"] {
            assert_eq!(Stat::read(broken), None, "{broken}");
        }
    }
}
