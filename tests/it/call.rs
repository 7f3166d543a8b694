//! `call`: one call from the command line, run as the server would run it.

use std::fs;

use serde_json::{Value, json};

use crate::commands::{assert_code, folder_with, run_in, run_with_input};
use crate::support::{command, write_script};

const TOOLS: &str = r#"
tools:
  echo:
    description: Says something.
    exec: echo {text} [{more...}] [loud? --loud] {count}
    params: {text: string, more: string..., loud: boolean = false, count: integer = 1}
  read:
    description: Prints its arguments.
    exec: cat
    stdin: json
    params: {n: number, o: {type: object, optional: true}}
  fails:
    description: Fails.
    exec: sh -c 'echo broken >&2; exit 3'
  picture:
    description: A picture.
    exec: printf 'x'
    output: image/png
  structured:
    description: JSON.
    exec: echo '{"n":1}'
    output: json
  who:
    description: Prints who calls.
    exec: sh -c 'echo "$MCP_CALLER_SUBJECT,$MCP_TOOL_NAME,$SECRET"'
    env: {SECRET: s3cret}
  careful:
    description: Asks first.
    exec: echo done
    confirm: Really?
  curious:
    description: Asks for a value.
    exec: echo {reason}
    ask: {reason: {message: Why?}}
  talks:
    description: Talks.
    exec: |
      sh -c 'echo "{\"mcp\":\"progress\",\"progress\":1,\"total\":2,\"message\":\"copying\"}"; echo "{\"mcp\":\"log\",\"level\":\"info\",\"logger\":\"l\",\"data\":\"connected\"}"; echo result'
    messages: true
  model:
    description: Needs a model.
    exec: echo
    needs: [sampling]
  error:
    description: Ends with an error.
    exec: echo '{"mcp":"error","code":-5,"message":"no such volume"}'
    messages: true
  slow:
    description: Takes long.
    exec: sleep 300
    timeout: 100ms
"#;

#[test]
fn a_result_is_printed_and_its_kind_is_the_exit_code() {
    let folder = folder_with(TOOLS);
    let cases: [(&[&str], i32, &str); 10] = [
        (&["echo", "text=a b"], 0, "a b 1\n"),
        (
            &["echo", "text=x", "more=1", "more=2", "loud=true", "count=3"],
            0,
            "x 1 2 --loud 3\n",
        ),
        (
            &["read", "n=3", "o:={\"a\":[1]}"],
            0,
            "{\"n\":3,\"o\":{\"a\":[1]}}\n",
        ),
        (&["read", "--arguments={\"n\":1}", "n=2"], 0, "{\"n\":2}\n"),
        (
            &["fails"],
            1,
            "the tool failed with exit status 3:\nbroken\n",
        ),
        (&["picture"], 0, "[image/png, 1 bytes]\n"),
        (&["structured"], 0, "{\"n\":1}\n"),
        (&["who"], 0, ",who,s3cret\n"),
        (&["talks"], 0, "result\n"),
        (
            &["slow"],
            1,
            "the tool was stopped after its time limit of 100ms\n",
        ),
    ];
    for (arguments, code, expected) in cases {
        let arguments = [&["call"], arguments].concat();
        let said = assert_code(
            run_in(folder.path(), &arguments),
            code,
            &format!("{arguments:?}"),
        );
        assert_eq!(said.stdout, expected, "{arguments:?}");
    }
}

#[test]
fn what_cannot_be_called_is_a_mistake_in_usage() {
    let folder = folder_with(TOOLS);
    let cases: [(&[&str], &str); 8] = [
        (&["ecko"], "there is no tool `ecko`; did you mean `echo`?"),
        (&["echo"], "/text: is required and missing"),
        (&["echo", "text=x", "txt=y"], "did you mean `text`?"),
        (&["echo", "text=x", "count=many"], "/count: must be"),
        (&["echo", "text=-x"], "/text"),
        (&["echo", "text"], "write NAME=VALUE"),
        (&["echo", "text=x", "text=y"], "`text` is given twice"),
        (
            &["echo", "--arguments=[]"],
            "--arguments must be a JSON object",
        ),
    ];
    for (arguments, expected) in cases {
        let arguments = [&["call"], arguments].concat();
        let said = assert_code(run_in(folder.path(), &arguments), 2, expected);
        assert!(
            said.stderr.contains(expected),
            "{arguments:?}: {}",
            said.stderr
        );
        assert_eq!(said.stdout, "", "{arguments:?}");
    }
    fs::write(
        folder.path().join("tools.yaml"),
        "tools:\n  x: {exec: echo}\n",
    )
    .unwrap();
    let said = assert_code(run_in(folder.path(), &["call", "x"]), 2, "definitions");
    assert!(said.stderr.contains("error[E005]"), "{}", said.stderr);
}

#[test]
fn what_a_tool_says_before_its_result_goes_to_standard_error() {
    let folder = folder_with(TOOLS);
    let said = run_in(folder.path(), &["call", "talks"]);
    assert_eq!(said.stderr, "[1/2] copying\ninfo l: connected\n");
    let said = assert_code(run_in(folder.path(), &["call", "error"]), 1, "error");
    assert_eq!(said.stdout, "");
    assert!(
        said.stderr.contains("no such volume (-5)"),
        "{}",
        said.stderr
    );
}

#[test]
fn the_whole_result_is_json() {
    let folder = folder_with(TOOLS);
    let said = assert_code(
        run_in(folder.path(), &["call", "structured", "--json"]),
        0,
        "json",
    );
    let result: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(result["structuredContent"], json!({"n": 1}));
    let said = assert_code(
        run_in(folder.path(), &["call", "fails", "--json"]),
        1,
        "error",
    );
    let result: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(result["isError"], true);
}

#[test]
fn arguments_can_come_over_standard_input() {
    let folder = folder_with(TOOLS);
    let mut command = command();
    command
        .current_dir(folder.path())
        .args(["call", "read", "--arguments=-"]);
    let said = run_with_input(&mut command, "{\"n\": 1.5}");
    assert_eq!(assert_code(said, 0, "stdin").stdout, "{\"n\":1.5}\n");
}

#[test]
fn without_a_terminal_nobody_is_asked_and_nothing_runs() {
    let folder = folder_with(TOOLS);
    for tool in ["careful", "curious"] {
        let said = assert_code(run_in(folder.path(), &["call", tool]), 1, tool);
        assert!(
            said.stdout
                .contains("nobody can be asked here; nothing was run"),
            "{}",
            said.stdout
        );
    }
    let said = assert_code(run_in(folder.path(), &["call", "model"]), 1, "needs");
    assert!(
        said.stderr.contains("the capability sampling"),
        "{}",
        said.stderr
    );
}

#[test]
fn on_a_terminal_the_user_is_asked() {
    let folder = folder_with(TOOLS);
    let binary = env!("CARGO_BIN_EXE_mcp-serve");
    let cases = [
        ("careful", "y\n", "done"),
        ("careful", "n\n", "declined; nothing was run"),
        ("curious", "because\n", "because"),
    ];
    for (tool, typed, expected) in cases {
        let mut script = std::process::Command::new("script");
        let call = format!("{binary} call {tool}");
        script
            .args(["-q", "-e", "-c", &call, "/dev/null"])
            .current_dir(folder.path());
        let said = run_with_input(&mut script, typed);
        assert!(said.stdout.contains(expected), "{tool}: {said:?}");
    }
}

#[test]
fn a_dry_run_says_what_would_run_and_runs_nothing() {
    let folder = folder_with(TOOLS);
    write_script(folder.path(), "touch.sh", "touch ran");
    let touch = folder.path().join("touch.sh");
    let tools = format!(
        "{TOOLS}  touches:\n    description: Leaves a file.\n    exec: {} {{name}}\n    params: {{name: string}}\n    workdir: .\n    stdin: json\n    env: {{SECRET: s3cret}}\n    confirm: Touch {{name}}?\n",
        touch.display()
    );
    fs::write(folder.path().join("tools.yaml"), tools).unwrap();
    let arguments = ["call", "touches", "name=it's $HOME", "--dry-run"];
    let said = assert_code(run_in(folder.path(), &arguments), 0, "text");
    let here = fs::canonicalize(folder.path()).unwrap();
    let expected = format!(
        "ask: Touch it's $HOME?\n{} 'it'\\''s $HOME'\nworkdir: {}\nstdin: {{\"name\":\"it's $HOME\"}}\nenvironment: PATH SECRET\n",
        touch.display(),
        here.display()
    );
    assert_eq!(said.stdout, expected);
    assert!(!folder.path().join("ran").exists());

    let arguments = [&arguments[..], &["--json"]].concat();
    let said = assert_code(run_in(folder.path(), &arguments), 0, "json");
    let plan: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(plan["argv"], json!([touch, "it's $HOME"]));
    assert_eq!(plan["environment"], json!(["PATH", "SECRET"]));
    assert!(!said.stdout.contains("s3cret"));

    let said = run_in(folder.path(), &["call", "curious", "--dry-run"]);
    let said = assert_code(said, 0, "a value that is asked for");
    assert!(said.stdout.contains("'<reason>'"), "{}", said.stdout);
}
