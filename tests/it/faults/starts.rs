//! Programs that cannot start because the machine has not enough (F13): provoked, not made up.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;

use mcp_serve::protocol::version::Era;
use rustix::process::getuid;
use serde_json::json;

use super::machine::under;
use super::{Watched, tool};
use crate::support::{ERAS, Prepare, TestServer, eventually};

/// A user that nobody is: the kernel counts the processes of every user but root.
const NOBODY: u32 = 61_999;

/// Has the server run as a user whose processes are counted, if this is root.
fn as_nobody(prepare: &mut Prepare<'_>) {
    if !getuid().is_root() {
        return;
    }
    let mut files = vec![prepare.folder.to_owned()];
    files.extend(
        fs::read_dir(prepare.folder)
            .unwrap()
            .map(|file| file.unwrap().path()),
    );
    for file in files {
        chown(file, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    prepare.start_by(setpriv());
}

/// Runs what is added to it as that user.
pub(crate) fn setpriv() -> Command {
    let id = NOBODY.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]);
    command
}

/// Lets the server have no more than so much, by an option of prlimit.
fn limit(server: &TestServer, most: &str) {
    let mut command = if getuid().is_root() {
        let mut command = setpriv();
        command.arg("prlimit");
        command
    } else {
        Command::new("prlimit")
    };
    command.args(["--pid", &server.pid().to_string()]);
    let limited = command.arg(most).status().unwrap();
    assert!(limited.success());
}

/// The most processes that it could be allowed.
fn most_processes(server: &TestServer) -> String {
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max processes"));
    let hard = line.unwrap().split_whitespace().nth(3).unwrap();
    hard.to_owned()
}

#[test]
fn a_machine_out_of_processes_fails_the_call_and_no_other_later() {
    let tools = "  homeless:\n    description: Has a folder of its own.\n    exec: echo x\n  scripted:\n    description: Has a file of its own.\n    script: {run: echo x}\n";
    let watched = Watched::start_with(tools, &[], as_nobody);
    let most = most_processes(&watched.server);
    for era in ERAS {
        let client = watched.client(era);
        limit(&watched.server, "--nproc=1:");
        for (name, arguments) in [
            ("good", json!({"text": "x"})),
            ("homeless", json!({})),
            ("scripted", json!({})),
        ] {
            let told = watched.text(&client, name, &arguments);
            let expected = "the tool could not be started: the machine is out of processes or \
                memory; try again later (EAGAIN)";
            assert_eq!(told, (expected.to_owned(), true), "{era:?} {name}");
        }
        limit(&watched.server, &format!("--nproc={most}:"));
        assert_eq!(
            watched.text(&client, "homeless", &json!({})),
            ("x\n".to_owned(), false)
        );
        watched.check("no processes");
    }
}

/// A process starts on a stack of its own, which is new memory.
#[test]
fn a_server_that_gets_no_more_memory_fails_the_call_and_no_other_later() {
    let watched = Watched::start_with("", &[], as_nobody);
    let pid = watched.server.pid();
    for era in ERAS {
        let client = watched.client(era);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let mut lines = status.lines();
        let size = lines.find_map(|line| line.strip_prefix("VmSize:")?.strip_suffix("kB"));
        let bytes = size.unwrap().trim().parse::<u64>().unwrap() * 1024;
        limit(&watched.server, &format!("--as={bytes}:"));
        let told = watched.text(&client, "good", &json!({"text": "x"}));
        let expected = "the tool could not be started: the machine is out of processes or memory; try \
            again later (ENOMEM)";
        assert_eq!(told, (expected.to_owned(), true), "{era:?}");
        limit(&watched.server, "--as=unlimited:");
        watched.check("no memory");
    }
}

/// What the server takes, the kernel may still find too long.
#[test]
fn words_that_are_too_long_for_the_kernel_fail_the_call() {
    let tools = tool("long", "exit 0", "    params: {texts: string...}\n")
        .replace("exit 0", "echo {texts...}");
    // It gives a program's words a quarter of this.
    let watched = Watched::start_with(&tools, &[], |prepare| under(prepare, "ulimit -s 1024"));
    let client = watched.client(Era::Modern);
    let texts = vec!["x".repeat(100 << 10); 5];
    let told = watched.text(&client, "long", &json!({"texts": texts}));
    let expected = "the tool could not be started: its arguments are too long (E2BIG)";
    assert_eq!(told, (expected.to_owned(), true));
    watched.check("too long");
}

/// A script that is a program is read by its interpreter while it runs.
#[test]
fn a_program_that_is_replaced_while_it_runs_is_what_it_was() {
    let body = |word: &str| {
        format!(
            "#!/bin/sh\ntouch runs\nuntil [ -e go ] || [ ! -e runs ]; do sleep 0.02; done\necho {word}\n"
        )
    };
    let tools = "  replaced:\n    description: Is replaced.\n    exec: ./program\n    workdir: .\n";
    let watched = Watched::start_with(tools, &[], |prepare| {
        let program = prepare.folder.join("program");
        fs::write(&program, body("old")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    });
    let client = watched.client(Era::Modern);
    let mut running = watched.start_call(&client, "replaced", &json!({}));
    let runs = eventually(|| watched.file("runs").exists().then_some(()));
    assert!(runs.is_some(), "it does not start");
    watched.server.replace("program", &body("new"));
    let program = watched.file("program");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(watched.file("go"), "").unwrap();
    let result = &running.read().json()["result"];
    assert_eq!(result["content"][0]["text"], "old\n", "{result}");
    drop(running);
    let told = watched.text(&client, "replaced", &json!({}));
    assert_eq!(told, ("new\n".to_owned(), false));
    watched.check("replaced");
}
