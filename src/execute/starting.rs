//! From a command to its process, or to the reason why there is none.

use std::io;
use std::num::NonZero;
use std::path::Path;
use std::sync::LazyLock;
use std::thread::available_parallelism;
use std::time::Duration;

use rustix::io::Errno;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

use super::confined;
use super::folder::Folder;
use super::process::{Process, Spawn};
use super::stdin::Input;
use crate::catalog::Command;
use crate::sandbox::{self, Mark};

/// How long is waited before each further try to start a program that somebody writes.
const BUSY: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(30)];

/// What is started, besides the command.
#[derive(Debug)]
pub(super) struct Start {
    /// The number of the call.
    pub(super) call: u64,
    /// The folder of its own, if it gets one.
    pub(super) folder: io::Result<Option<Folder>>,
    pub(super) input: Option<Input>,
    /// What it writes to standard error is in its output.
    pub(super) merges: bool,
}

/// Why a program does not run.
#[derive(Debug)]
pub(super) struct NotStarted {
    /// In words that name no path.
    pub(super) cause: &'static str,
    /// The name of the error, such as `ENOENT`.
    pub(super) code: &'static str,
    pub(super) error: io::Error,
}

/// A process that was started, and what goes with it.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) process: Process,
    pub(super) folder: Option<Folder>,
    /// Tells what is said in place of a tool that could not be confined.
    pub(super) mark: Option<Mark>,
}

/// Starts the process, in a folder of its own unless the definition names one.
pub(super) async fn start(mut command: Command, start: Start) -> Result<Started, NotStarted> {
    let folder = start.folder.map_err(NotStarted::without_folder)?;
    let mark = confined::wrap(&mut command, folder.as_ref());
    let mark = mark.map_err(NotStarted::without_sandbox)?;
    let workdir = command.workdir.as_deref();
    let workdir = workdir.or(folder.as_ref().map(Folder::workdir));
    let workdir = workdir.unwrap_or(Path::new("/"));
    let mut input = start.input;
    let mut pauses = BUSY.iter();
    loop {
        let started = beside_others(|| {
            Process::start(&mut Spawn {
                call: start.call,
                program: &command.program,
                arguments: &command.arguments,
                environment: &command.environment,
                workdir,
                name: mark.as_ref().map(|_| sandbox::PROGRAM),
                makes_session: mark.is_some(),
                merges: start.merges,
                input: &mut input,
            })
        })
        .await;
        let error = match started {
            Ok(process) => {
                return Ok(Started {
                    process,
                    folder,
                    mark,
                });
            }
            Err(error) => error,
        };
        let pause = pauses.next();
        match pause.filter(|_| error.kind() == io::ErrorKind::ExecutableFileBusy) {
            Some(pause) => tokio::time::sleep(*pause).await,
            None => return Err(NotStarted::new(error, &command.program, workdir)),
        }
    }
}

/// Starts a process, while another thread goes on with the other tasks of this one. The thread that
/// starts one sleeps until the system gives the child a turn to become its program, which on a busy
/// machine takes many milliseconds; a few of them would be all that the server has.
///
/// Few start at once: more than the machine has processors end no sooner, and each holds a thread.
async fn beside_others<T>(start: impl FnOnce() -> T) -> T {
    static TURNS: LazyLock<Semaphore> =
        LazyLock::new(|| Semaphore::new(2 * available_parallelism().map_or(1, NonZero::get)));
    // It is never closed.
    let _turn = TURNS.acquire().await;
    match Handle::current().runtime_flavor() {
        // A runtime of one thread has none to go on with.
        RuntimeFlavor::CurrentThread => start(),
        _ => tokio::task::block_in_place(start),
    }
}

impl NotStarted {
    fn new(error: io::Error, program: &Path, workdir: &Path) -> Self {
        let cause = match errno(&error) {
            Some(Errno::NOENT | Errno::NOTDIR) if !workdir.is_dir() => "its working folder is gone",
            Some(Errno::NOENT | Errno::NOTDIR) if !program.exists() => "its program is gone",
            Some(Errno::NOENT) => "the interpreter of its program is gone",
            Some(Errno::ACCESS | Errno::PERM) => "its program may not be run",
            Some(Errno::NOEXEC) => "its program is not one that this machine can run",
            Some(Errno::TOOBIG) => "its arguments are too long",
            Some(Errno::TXTBSY) => "its program is being written; try again",
            Some(Errno::AGAIN | Errno::NOMEM) => {
                "the machine is out of processes or memory; try again later"
            }
            Some(Errno::MFILE | Errno::NFILE) => {
                "the server has too many files open; try again later"
            }
            _ => "the log of the server says why",
        };
        Self {
            cause,
            code: code(&error),
            error,
        }
    }

    /// For a program that was not started where it is confined.
    pub(super) fn in_sandbox(errno: i32, program: &Path) -> Self {
        let error = io::Error::from_raw_os_error(errno);
        Self::new(error, program, Path::new("/"))
    }

    fn without_sandbox(error: io::Error) -> Self {
        Self {
            cause: "it cannot be confined, and the log of the server says why",
            code: code(&error),
            error,
        }
    }

    fn without_folder(error: io::Error) -> Self {
        let cause = match errno(&error) {
            Some(Errno::NOSPC | Errno::DQUOT) => {
                "there is no room for its folder on this machine; try again later"
            }
            Some(Errno::NOENT) => "there is no place for its folder on this machine",
            _ => "it gets no folder of its own, and the log of the server says why",
        };
        Self {
            cause,
            code: code(&error),
            error,
        }
    }
}

/// The number of an error. One that was wrapped to say which path it is about has only its kind left.
fn errno(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error).or(match error.kind() {
        io::ErrorKind::NotFound => Some(Errno::NOENT),
        io::ErrorKind::PermissionDenied => Some(Errno::ACCESS),
        io::ErrorKind::StorageFull => Some(Errno::NOSPC),
        io::ErrorKind::QuotaExceeded => Some(Errno::DQUOT),
        io::ErrorKind::ReadOnlyFilesystem => Some(Errno::ROFS),
        _ => None,
    })
}

/// The name of an error, which stays the same whatever is said about it.
fn code(error: &io::Error) -> &'static str {
    let codes = [
        (Errno::ACCESS, "EACCES"),
        (Errno::AGAIN, "EAGAIN"),
        (Errno::DQUOT, "EDQUOT"),
        (Errno::IO, "EIO"),
        (Errno::ISDIR, "EISDIR"),
        (Errno::LOOP, "ELOOP"),
        (Errno::MFILE, "EMFILE"),
        (Errno::NFILE, "ENFILE"),
        (Errno::NOENT, "ENOENT"),
        (Errno::NOEXEC, "ENOEXEC"),
        (Errno::NOMEM, "ENOMEM"),
        (Errno::NOSPC, "ENOSPC"),
        (Errno::NOTDIR, "ENOTDIR"),
        (Errno::PERM, "EPERM"),
        (Errno::ROFS, "EROFS"),
        (Errno::TOOBIG, "E2BIG"),
        (Errno::TXTBSY, "ETXTBSY"),
    ];
    let errno = errno(error);
    let named = codes.into_iter().find(|(known, _)| Some(*known) == errno);
    named.map_or("EUNKNOWN", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_words_and_its_code() {
        let here = Path::new("/proc/self/exe");
        let folder = Path::new("/");
        let gone = Path::new("/proc/self/gone");
        let cases = [
            (Errno::NOENT, here, gone, "working folder is gone", "ENOENT"),
            (Errno::NOENT, gone, folder, "its program is gone", "ENOENT"),
            (Errno::NOENT, here, folder, "the interpreter", "ENOENT"),
            (Errno::ACCESS, here, folder, "may not be run", "EACCES"),
            (Errno::NOEXEC, here, folder, "not one that", "ENOEXEC"),
            (Errno::TOOBIG, here, folder, "too long", "E2BIG"),
            (Errno::TXTBSY, here, folder, "being written", "ETXTBSY"),
            (Errno::AGAIN, here, folder, "out of processes", "EAGAIN"),
            (Errno::NOMEM, here, folder, "out of processes", "ENOMEM"),
            (Errno::MFILE, here, folder, "too many files", "EMFILE"),
            (Errno::XDEV, here, folder, "the log", "EUNKNOWN"),
        ];
        for (errno, program, workdir, words, code) in cases {
            let told = NotStarted::new(errno.into(), program, workdir);
            assert!(told.cause.contains(words), "{errno:?}: {told:?}");
            assert_eq!(told.code, code, "{errno:?}");
        }
        let cases = [
            (Errno::NOSPC, "no room", "ENOSPC"),
            (Errno::NOENT, "no place", "ENOENT"),
            (Errno::ROFS, "the log", "EROFS"),
        ];
        for (errno, words, code) in cases {
            let told = NotStarted::without_folder(errno.into());
            assert!(told.cause.contains(words), "{errno:?}: {told:?}");
            assert_eq!(told.code, code, "{errno:?}");
        }
    }
}
