//! The step itself: it confines this process, and becomes the tool.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use landlock::ABI;
use rustix::fs::Mode;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::failure::{EXIT_CODE, Failure, MARK, Mark};
use super::policy::{self, Policy};
use super::{PROGRAM, calls, files, probe};

/// Ends the words of the step: what follows is the program and its own.
const END: &str = "--";

/// A tool to run in a sandbox.
#[derive(Debug)]
pub(crate) struct Run {
    /// Tells the words of the step from those of the tool.
    pub(crate) mark: Mark,
    /// The arguments of the step.
    pub(crate) words: Vec<OsString>,
}

impl Run {
    /// Says which program becomes of the step.
    ///
    /// # Errors
    ///
    /// When the system has no random bits.
    pub(crate) fn new(policy: &Policy, program: &Path, arguments: &[OsString]) -> io::Result<Self> {
        let mark = Mark::random()?;
        let mut words = vec![mark.word()];
        words.extend(policy.words());
        words.extend([OsString::from(END), program.into()]);
        words.extend_from_slice(arguments);
        Ok(Self { mark, words })
    }
}

/// What the step was told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    mark: Option<Mark>,
    policy: Policy,
    /// A file that cannot be read, to try whether that is so.
    canary: Option<PathBuf>,
    command: Vec<OsString>,
}

impl Told {
    fn read(words: &[OsString]) -> Option<Self> {
        let mut told = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == END {
                told.command = words.cloned().collect();
                break;
            }
            let (key, value) = policy::split(word)?;
            if key == MARK.as_bytes() {
                told.mark = Some(Mark::told(value.to_str()?));
            } else if key == probe::CANARY.as_bytes() {
                told.canary = Some(value.into());
            } else if !told.policy.take(key, value) {
                return None;
            }
        }
        Some(told)
    }
}

/// Confines this process and becomes a tool, if these are the arguments of the program that does so;
/// returns the exit code if there is no tool.
pub(crate) fn serve(arguments: &[OsString]) -> Option<u8> {
    let (name, words) = arguments.split_first()?;
    if name != PROGRAM {
        return None;
    }
    let Some(told) = Told::read(words) else {
        drop(writeln!(
            io::stderr(),
            "{PROGRAM}: it is not for people, and this is not how the server calls it"
        ));
        return Some(EXIT_CODE);
    };
    if let Some(canary) = &told.canary {
        return Some(probe::answer(&told.policy, canary));
    }
    let failure = become_tool(&told.policy, &told.command);
    if let Some(mark) = told.mark {
        mark.tell(&failure);
    }
    Some(EXIT_CODE)
}

/// Returns only when there is no tool.
fn become_tool(policy: &Policy, command: &[OsString]) -> Failure {
    let Some((program, arguments)) = command.split_first() else {
        return Failure::Confine("no program is named".to_owned());
    };
    if let Err(why) = confine(policy, Some(program)) {
        return Failure::Confine(why);
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "no process starts: this one becomes the tool"
    )]
    let mut command = Command::new(program);
    command.args(arguments);
    if let Err(error) = policy.limits.set_memory() {
        return Failure::Confine(format!("memory cannot be limited: {error}"));
    }
    // It sets the signals back too.
    let error = command.exec();
    Failure::Become(error.raw_os_error().unwrap_or_default())
}

/// Confines this process as far as it can go on itself, for good; returns the version of Landlock.
pub(super) fn confine(policy: &Policy, program: Option<&OsStr>) -> Result<ABI, String> {
    const FIRST_AFTER_STDERR: i32 = 3;
    close_fds::set_fds_cloexec(FIRST_AFTER_STDERR, &[]);
    rustix::process::setsid().map_err(|error| format!("no session can be made: {error}"))?;
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    (policy.limits.set()).map_err(|error| format!("limits cannot be set: {error}"))?;
    let version = files::confine(policy, program.map(Path::new))?;
    give_up_privileges().map_err(|error| format!("privileges cannot be given up: {error}"))?;
    calls::refuse(policy.net)
        .map_err(|error| format!("system calls cannot be filtered (seccomp): {error}"))?;
    Ok(version)
}

/// With `no_new_privs`, which Landlock has set, none of them comes back.
fn give_up_privileges() -> io::Result<()> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    // A service that has none may not even be let ask for none.
    if rustix::thread::capabilities(None)? != none {
        rustix::thread::set_capabilities(None, none)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_the_tool_are_no_words_of_the_step() {
        let arguments = ["--", "net=allowed", "read=/", "", "a b"].map(OsString::from);
        let run = Run::new(&Policy::default(), Path::new("/bin/x=y"), &arguments).unwrap();
        let told = Told::read(&run.words).unwrap();
        assert_eq!(told.mark, Some(run.mark));
        assert_eq!(told.policy, Policy::default());
        assert_eq!(told.command[0], "/bin/x=y");
        assert_eq!(told.command[1..], arguments);
    }

    #[test]
    fn other_programs_are_not_the_step() {
        for arguments in [&["mcp-serve", "net=none"][..], &[]] {
            let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
            assert_eq!(serve(&arguments), None);
        }
        assert_eq!(Told::read(&["net".into()]), None);
        assert_eq!(Told::read(&["reed=/".into()]), None);
    }
}
