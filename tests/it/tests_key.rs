//! `tests` in a definitions file, and `mcp-serve test`.

use std::fs;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::commands::{assert_code, folder_with, run_in};
use crate::support::{command, wait_for_end_of_group, wait_for_line};

const TOOLS: &str = r#"
tools:
  greet:
    description: Says hello.
    exec: echo Hello, {name}!
    params: {name: {type: string, minLength: 2}}
    confirm: Greet {name}?
  quote:
    description: Prices.
    exec: echo '{"total":3}'
    output: json
  who:
    description: Says who calls.
    exec: sh -c 'echo "$MCP_CALLER_SUBJECT/$MCP_CALLER_TENANT/$MCP_CALLER_SCOPES"'
    allow: ["role:dba"]
  absent:
    description: Is not here.
    exec: no-such-program-here
    if_missing: hide
  asks:
    description: Asks.
    exec: echo {why}
    ask: {why: {message: Why?}}
tests:
"#;

fn run_tests(tests: &str, options: &[&str], code: i32) -> String {
    let folder = folder_with(&format!("{TOOLS}{tests}"));
    let arguments = [&["test"], options].concat();
    assert_code(run_in(folder.path(), &arguments), code, tests).stdout
}

#[test]
fn tests_that_hold_pass() {
    let tests = r#"
  - {name: whole, call: greet, arguments: {name: Ann}, expect: {text: "Hello, Ann!"}}
  - {call: greet, arguments: {name: Ann}, expect: {text: {contains: Ann, matches: "^Hello"}}}
  - {name: refused, call: greet, arguments: {name: A}, expect: {is_error: true, text: {contains: /name}}}
  - {call: quote, expect: {structured: {total: 3}}}
  - call: who
    as: {subject: alice, tenant: acme, scopes: [a, b], roles: [dba]}
    expect: {text: alice/acme/a b}
  - {name: nobody else, call: who, as: {subject: bob}, expect: {allowed: false}}
  - {call: absent}
"#;
    let expected = r#"ok whole
ok greet {"name":"Ann"}
ok refused
ok quote
ok who as alice
ok nobody else
skipped absent
6 passed, 1 skipped, since their tools are left out on this machine
"#;
    assert_eq!(run_tests(tests, &[], 0), expected);
    let chosen = "ok whole\n1 passed\n";
    assert_eq!(run_tests(tests, &["--filter=whole"], 0), chosen);
    run_tests(tests, &["--filter=nothing of it"], 2);
}

#[test]
fn what_differs_is_said_and_the_others_run() {
    let tests = r#"
  - {call: greet, arguments: {name: Ann}, expect: {text: "Hi"}}
  - {call: quote, expect: {structured: {total: 4}}}
  - {call: quote, expect: {is_error: true}}
  - {call: who, as: {subject: bob}}
  - {call: who, as: {roles: [dba]}, expect: {allowed: false}}
  - {call: asks}
  - {call: quote}
"#;
    let expected = r#"FAILED greet {"name":"Ann"}
  the text is "Hello, Ann!", and should be "Hi"
FAILED quote
  the structured content is {"total":3}, and should be {"total":4}
FAILED quote
  it is no error: {"total":3}
FAILED who as bob
  the caller may not call it
FAILED who as test
  the caller may call it
FAILED asks
  it is an error: the user must be asked first and was not: a test answers no questions; nothing was run
ok quote
1 passed, 6 failed
"#;
    assert_eq!(run_tests(tests, &[], 1), expected);
}

#[test]
fn a_test_that_could_not_run_keeps_the_file_from_being_served() {
    let folder = folder_with(&format!("{TOOLS}  - {{call: great}}\n"));
    for command in ["test", "check"] {
        let said = assert_code(run_in(folder.path(), &[command]), 2, command);
        assert!(
            said.stderr
                .contains("error[E060]: there is no tool `great`"),
            "{}",
            said.stderr
        );
        assert!(
            said.stderr.contains("did you mean `greet`?"),
            "{}",
            said.stderr
        );
    }
    fs::write(folder.path().join("tools.yaml"), "tools: {}\n").unwrap();
    let said = assert_code(run_in(folder.path(), &["test"]), 0, "no tests");
    assert_eq!(said.stdout, "0 passed\n");
}

#[test]
fn a_signal_ends_a_command_with_all_that_it_runs() {
    let tools = "
tools:
  waits: {description: d, exec: [sh, -c, 'echo $$ > group; sleep 1000 & wait'], workdir: .}
tests: [{call: waits}, {call: waits}]
";
    for (arguments, signal, code) in [
        (&["test"][..], Signal::INT, 130),
        (&["test"], Signal::TERM, 143),
        (&["call", "waits"], Signal::INT, 130),
    ] {
        let folder = folder_with(tools);
        let mut command = command();
        let command = command.current_dir(folder.path()).args(arguments);
        let child = (command.stdout(Stdio::piped()).stderr(Stdio::piped())).spawn();
        let child = child.unwrap();
        let group = wait_for_line(&folder.path().join("group")).parse().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let said = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains("error: stopped by signal"), "{stderr}");
        wait_for_end_of_group(group);
    }
}
