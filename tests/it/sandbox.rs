//! Tools in a sandbox: what they cannot reach, what they can, and that nothing else about them changes.
//!
//! Where a machine can make no sandbox, each test sees instead that nothing is served without one.

mod hosts;
mod limits;
mod pass_through;
mod reach;

use std::fs;
use std::process::Command;

use crate::support::{Prepare, TestServer, command, run};

/// A server with tools in sandboxes; `None` where there are none, after the server has said so.
fn start_with(
    tools: &str,
    options: &[&str],
    change: impl Fn(&mut Prepare<'_>),
) -> Option<TestServer> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tools.yaml");
    fs::write(&file, tools).unwrap();
    let mut command = command();
    change(&mut Prepare {
        command: &mut command,
        folder: folder.path(),
    });
    let check = |command: &mut Command| run(command.arg("check").arg("--tools").arg(&file));
    let checked = check(&mut command);
    if checked.stderr.contains("error[E070]") {
        assert_eq!(checked.code, Some(2), "{checked:?}");
        assert!(
            checked.stderr.contains("would have no sandbox: "),
            "{checked:?}"
        );
        return None;
    }
    Some(TestServer::start_with(tools, options, change))
}

fn start(tools: &str) -> Option<TestServer> {
    start_with(tools, &[], |_| {})
}
