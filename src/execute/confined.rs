//! A tool in a sandbox: the step that is started in its place, and becomes it.

use std::ffi::OsString;
use std::io;

use super::folder::Folder;
use super::identity;
use crate::catalog::Command;
use crate::reexec;
use crate::sandbox::{Mark, Policy, Run};

/// Makes a command that is to be confined the one of the step; `None` if it is not. The folder of the
/// call is the one place where it can write anyway, and so it is told to keep its temporary files
/// there.
pub(super) fn wrap(command: &mut Command, folder: Option<&Folder>) -> io::Result<Option<Mark>> {
    let Some(policy) = command.sandbox.take() else {
        return Ok(None);
    };
    if !reexec::is_possible() {
        return Err(io::Error::other(
            "a sandbox is made of mcp-serve itself, which this program is not",
        ));
    }
    let mut policy = Policy::clone(&policy);
    if let Some(folder) = folder {
        policy.write.push(folder.path().to_owned());
        let temporary = (OsString::from("TMPDIR"), folder.workdir().into());
        identity::set(&mut command.environment, &[temporary]);
    }
    let run = Run::new(&policy, &command.program, &command.arguments)?;
    command.program = reexec::THIS_PROGRAM.into();
    command.arguments = run.words;
    Ok(Some(run.mark))
}
