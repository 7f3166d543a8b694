//! Machines that can make no sandbox, and sandboxes that cannot be made any more.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::fs;
use std::os::unix::fs::symlink;
use std::thread;

use mcp_serve::protocol::version::Era;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use serde_json::json;

use super::{start, start_with};
use crate::support::{Run, TestServer, command, eventually, run, write_script};

const LANDLOCK: [i64; 3] = [
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
];

/// Runs mcp-serve where the kernel refuses these calls, as a unit with `SystemCallFilter` would.
fn run_without(calls: &[i64], arguments: &[&str], folder: &std::path::Path) -> Run {
    let rules: BTreeMap<_, _> = calls.iter().map(|call| (*call, Vec::new())).collect();
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        ARCH.try_into().unwrap(),
    );
    let filter = BpfProgram::try_from(filter.unwrap()).unwrap();
    thread::scope(|scope| {
        let confined = scope.spawn(|| {
            // For this thread, and what it starts.
            apply_filter(&filter).unwrap();
            run(command().current_dir(folder).args(arguments))
        });
        confined.join().unwrap()
    })
}

const TOOLS: &str = "\
tools:
  confined: {description: d, exec: cat, sandbox: true}
  plain: {description: d, exec: cat}
";

#[test]
fn a_machine_without_landlock_or_seccomp_serves_no_tool_that_asks_for_them() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tools.yaml"), TOOLS).unwrap();
    let cases: [(&[i64], &str); 2] = [
        (
            &LANDLOCK,
            "this kernel has no Landlock, or a filter of system calls hides it",
        ),
        (
            &[libc::SYS_seccomp],
            "system calls cannot be filtered (seccomp): ",
        ),
    ];
    for (calls, why) in cases {
        for arguments in [&["check"][..], &["--listen", "127.0.0.1:0"]] {
            let refused = run_without(calls, arguments, folder.path());
            assert_eq!(refused.code, Some(2), "{refused:?}");
            let expected = format!("error[E070]: `confined` would have no sandbox: {why}");
            assert!(refused.stderr.contains(&expected), "{refused:?}");
            assert!(refused.stderr.contains("tools.yaml:2:41"), "{refused:?}");
        }
    }
}

#[test]
fn a_tool_without_its_sandbox_can_be_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let tools = format!("defaults: {{if_missing: hide}}\n{TOOLS}");
    fs::write(folder.path().join("tools.yaml"), tools).unwrap();
    let checked = run_without(&LANDLOCK, &["check"], folder.path());
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let expected = "warning[E070]: `confined` is left out, since it would have no sandbox: ";
    assert!(checked.stderr.contains(expected), "{checked:?}");
    assert!(
        checked.stdout.starts_with("tools.yaml: 1 tool, 1 warning"),
        "{checked:?}"
    );
    let listed = run_without(&LANDLOCK, &["list"], folder.path());
    assert!(
        listed.stdout.contains("plain") && !listed.stdout.contains("confined"),
        "{listed:?}"
    );
}

#[test]
fn the_log_says_what_runs_without_a_sandbox() {
    let tools = "
defaults: {sandbox: true}
tools:
  confined: {description: d, exec: cat}
  plain: {description: d, exec: cat, sandbox: false}
  fixed: {description: d, content: hello}
resources:
  motd: {uri: 'docs://motd', description: d, exec: cat, sandbox: false}
";
    let Some(server) = start(tools) else { return };
    let line = server.wait_for_log("without a sandbox: ");
    let names = "without a sandbox: tool `plain`, resource `motd`; ";
    assert!(line.contains(names), "{line}");
}

#[test]
fn a_reload_brings_sandboxes() {
    let tools = "\
tools:
  read:
    description: d
    exec: cat -- {file}
    params: {file: string}
";
    let confined = format!("{tools}    sandbox: true\n");
    if start(&confined).is_none() {
        return;
    }
    let server = TestServer::start(tools, &[]);
    let client = server.client(Era::Modern);
    let file = server.folder().join("tools.yaml");
    let arguments = json!({"file": file});
    assert_eq!(client.call_text("read", &arguments), tools);
    fs::write(&file, confined).unwrap();
    server.wait_for_log("\"message\":\"reloaded\"");
    let told = client.call_error("read", &arguments);
    assert!(told.contains("Permission denied"), "{told}");
}

/// What was there when the definitions were loaded may be gone.
#[test]
fn a_sandbox_that_cannot_be_made_is_an_error_of_the_call() {
    let tools = "
tools:
  path: {description: d, exec: cat, sandbox: {fs: {read: [data]}}}
  program: {description: d, exec: ./program.sh, sandbox: true}
  interpreter: {description: d, exec: ./foreign, sandbox: true}
  turned: {description: d, exec: cat, sandbox: {fs: {read: [out/here], write: [out]}}}
  merged: {description: d, exec: ./program.sh, output: {stderr: merge}, sandbox: true}
";
    let server = start_with(tools, &[], |prepare| {
        fs::create_dir_all(prepare.folder.join("data")).unwrap();
        fs::create_dir_all(prepare.folder.join("out/here")).unwrap();
        write_script(prepare.folder, "program.sh", "echo ran");
        write_script(prepare.folder, "interpreter", "echo ran");
        write_script(prepare.folder, "foreign", "");
        let interpreter = prepare.folder.join("interpreter");
        fs::write(
            prepare.folder.join("foreign"),
            format!("#!{}\n", interpreter.display()),
        )
        .unwrap();
    });
    let Some(server) = server else { return };
    let client = server.client(Era::Modern);
    assert_eq!(client.call_text("program", &json!({})), "ran\n");
    assert_eq!(client.call_text("turned", &json!({})), "");
    fs::remove_dir(server.folder().join("data")).unwrap();
    // As a call could do that writes there.
    fs::remove_dir(server.folder().join("out/here")).unwrap();
    symlink("/etc", server.folder().join("out/here")).unwrap();
    fs::remove_file(server.folder().join("program.sh")).unwrap();
    let gone = "the tool could not be started: its program is gone (ENOENT)";
    let not_made = "the tool could not be started: its sandbox could not be made; the log of the server \
                    says why";
    let cases = [
        ("path", not_made),
        ("turned", not_made),
        ("program", gone),
        ("merged", gone),
        (
            "interpreter",
            "the tool could not be started: its program may not be run (EACCES)",
        ),
    ];
    for (tool, expected) in cases {
        assert_eq!(client.call_error(tool, &json!({})), expected, "{tool}");
    }
    let line = server.wait_for_log("a sandbox could not be made");
    assert!(
        line.contains("/data") && line.contains("No such file"),
        "{line}"
    );
    eventually(|| server.descendants().is_empty().then_some(())).expect("nothing is left");
}
