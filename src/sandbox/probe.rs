//! Tries whether a sandbox holds on this machine: a process that is confined must fail where it
//! should, or else a definition would promise what nobody keeps.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use landlock::ABI;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::net::{AddressFamily, SocketType};
use rustix::process::Resource;

use super::policy::{Policy, word};
use super::{PROGRAM, files, limits, step};
use crate::reexec;

/// How long the process that tries may say nothing, in seconds: a thousand times of what it needs.
const PATIENCE: i64 = 10;

/// The word that names what must not be readable.
pub(super) const CANARY: &str = "canary";

/// What the process that tries says, on lines of their own.
const HOLDS: &str = "holds";
const FAILS: &str = "fails ";
const LETS_SIGNALS_OUT: &str = "signals ";
const COUNTS_NO_PROCESSES: &str = "processes";

/// What this machine can hold a tool to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// Why there are no sandboxes here.
    pub(crate) missing: Option<String>,
    /// The version of Landlock, if it is too old to keep signals within a sandbox.
    pub(crate) too_old_for_signals: Option<String>,
    /// Whether the number of processes has no limit here, as it is for root.
    pub(crate) counts_no_processes: bool,
}

impl Abilities {
    fn none(why: impl Into<String>) -> Self {
        Self {
            missing: Some(why.into()),
            ..Self::default()
        }
    }

    fn read(said: &str) -> Self {
        let mut abilities = Self::none("the trial of a sandbox broke off");
        for line in said.lines() {
            if line == HOLDS {
                abilities.missing = None;
            } else if line == COUNTS_NO_PROCESSES {
                abilities.counts_no_processes = true;
            } else if let Some(why) = line.strip_prefix(FAILS) {
                return Self::none(why);
            } else if let Some(version) = line.strip_prefix(LETS_SIGNALS_OUT) {
                abilities.too_old_for_signals = Some(version.to_owned());
            }
        }
        abilities
    }
}

/// Tries a sandbox in a process of its own. Blocks, for a few milliseconds.
pub(crate) fn probe() -> Abilities {
    if !reexec::is_possible() {
        return Abilities::none("this program is not mcp-serve itself, of which a sandbox is made");
    }
    match try_out() {
        Ok(said) => Abilities::read(&said),
        Err(error) => Abilities::none(format!("a sandbox cannot be tried: {error}")),
    }
}

fn try_out() -> io::Result<String> {
    let folder = tempfile::tempdir()?;
    let (allowed, canary) = (folder.path().join("allowed"), folder.path().join("canary"));
    File::create(&allowed)?;
    File::create(&canary)?;
    let policy = Policy {
        read: vec![allowed],
        ..Policy::default()
    };
    let mut words: Vec<OsString> = policy.words();
    words.push(word(CANARY, canary.as_os_str()));
    #[expect(
        clippy::disallowed_methods,
        reason = "it is this program, which ends by itself and leaves nothing behind"
    )]
    let mut command = Command::new(reexec::THIS_PROGRAM);
    command.arg0(PROGRAM).args(words).env_clear();
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let said = child.stdout.take().map(read_within_patience);
    let said = said.unwrap_or_else(|| Ok(String::new()));
    if said.is_err() {
        child.kill()?;
    }
    // Whoever looks for orphans may have taken note of its end. It has said all that matters itself.
    drop(child.wait());
    said
}

/// All that is said, or an error when nothing is for too long.
fn read_within_patience(mut from: impl Read + AsFd) -> io::Result<String> {
    let time = Timespec {
        tv_sec: PATIENCE,
        tv_nsec: 0,
    };
    let mut said = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let is_ready =
            retry_on_intr(|| poll(&mut [PollFd::new(&from, PollFlags::IN)], Some(&time)))?;
        if is_ready == 0 {
            return Err(io::Error::other("it takes too long"));
        }
        let read = match from.read(&mut chunk) {
            Ok(0) => return Ok(String::from_utf8_lossy(&said).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        said.extend(chunk.iter().take(read));
    }
}

/// Confines this process and says what it can still do; returns its exit code.
pub(super) fn answer(policy: &Policy, canary: &Path) -> u8 {
    let said = match tried(policy, canary) {
        Ok(said) => said,
        Err(why) => format!("{FAILS}{why}\n"),
    };
    // Whoever asked may be gone.
    drop(io::stdout().write_all(said.as_bytes()));
    0
}

fn tried(policy: &Policy, canary: &Path) -> Result<String, String> {
    let version = step::confine(policy, None)?;
    for path in &policy.read {
        File::open(path).map_err(|error| format!("what is allowed cannot be read: {error}"))?;
    }
    must_be_refused("a file outside can be read", || File::open(canary))?;
    for family in [
        AddressFamily::INET,
        AddressFamily::INET6,
        AddressFamily::UNIX,
    ] {
        let socket = || Ok(rustix::net::socket(family, SocketType::STREAM, None)?);
        must_be_refused("a socket can be made", socket)?;
    }
    let mut said = format!("{HOLDS}\n");
    said.push_str(&signals(version));
    if !counts_processes() {
        said.push_str(COUNTS_NO_PROCESSES);
        said.push('\n');
    }
    Ok(said)
}

fn must_be_refused<T>(otherwise: &str, work: impl FnOnce() -> io::Result<T>) -> Result<(), String> {
    match work() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(format!("the trial of a sandbox failed: {error}")),
        Ok(_) => Err(otherwise.to_owned()),
    }
}

fn signals(version: ABI) -> String {
    if version >= files::WITH_SIGNALS {
        return String::new();
    }
    format!("{LETS_SIGNALS_OUT}{version}\n")
}

/// Whether the kernel refuses one thread more than there may be. It lets root have all of them.
fn counts_processes() -> bool {
    let is_set = limits::set(Resource::Nproc, Some(0)).is_ok();
    is_set && thread::Builder::new().spawn(|| ()).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_is_read() {
        let holds = Abilities::default();
        let cases = [
            ("holds\n", holds.clone()),
            (
                "holds\nsignals 4\nprocesses\n",
                Abilities {
                    too_old_for_signals: Some("4".to_owned()),
                    counts_no_processes: true,
                    ..holds
                },
            ),
            ("fails no Landlock\n", Abilities::none("no Landlock")),
            ("", Abilities::none("the trial of a sandbox broke off")),
            (
                "processes\n",
                Abilities {
                    counts_no_processes: true,
                    ..Abilities::none("the trial of a sandbox broke off")
                },
            ),
        ];
        for (said, expected) in cases {
            assert_eq!(Abilities::read(said), expected, "{said:?}");
        }
    }

    /// A test program is not mcp-serve.
    #[test]
    fn other_programs_try_nothing() {
        let why = "this program is not mcp-serve itself, of which a sandbox is made";
        assert_eq!(probe(), Abilities::none(why));
    }
}
