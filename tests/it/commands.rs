//! The commands beside serving, as a newcomer meets them: what they print, where, and their exit codes.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{Client, Run, TestServer, command, run};

/// Runs the binary in a folder.
pub(crate) fn run_in(folder: &Path, arguments: &[&str]) -> Run {
    run(command().current_dir(folder).args(arguments))
}

/// A folder with a file of definitions.
pub(crate) fn folder_with(tools: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tools.yaml"), tools).unwrap();
    folder
}

/// Asserts an exit code and that nothing panicked, and returns the run.
pub(crate) fn assert_code(run: Run, code: i32, case: &str) -> Run {
    assert_eq!(run.code, Some(code), "{case}: {run:?}");
    assert!(!run.stderr.contains("panicked"), "{case}: {}", run.stderr);
    run
}

/// Runs the binary with an input.
pub(crate) fn run_with_input(command: &mut Command, input: &str) -> Run {
    let command = command.stdin(Stdio::piped());
    let mut child = (command.stdout(Stdio::piped()).stderr(Stdio::piped()))
        .spawn()
        .unwrap();
    // A command that does not read it closes it early.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_newcomer_gets_from_nothing_to_a_served_tool() {
    let folder = tempfile::tempdir().unwrap();
    let said = assert_code(run_in(folder.path(), &["init"]), 0, "init");
    assert_eq!(said.stdout, "", "the file is the result");
    assert!(said.stderr.contains("mcp-serve check"), "{}", said.stderr);

    let file = folder.path().join("tools.yaml");
    let starter = fs::read_to_string(&file).unwrap();
    let edited = starter.replace("echo Hello, {name}!", "echo Good morning, {name}!");
    assert_ne!(starter, edited);
    fs::write(&file, &edited).unwrap();

    let said = assert_code(run_in(folder.path(), &["check", "--strict"]), 0, "check");
    let summary = "tools.yaml: 2 tools, 1 prompt, no problems\n";
    assert_eq!(said.stdout, summary);

    let said = assert_code(
        run_in(folder.path(), &["call", "hello", "name=Ann"]),
        0,
        "call",
    );
    assert_eq!(
        (said.stdout.as_str(), said.stderr.as_str()),
        ("Good morning, Ann!\n", "")
    );

    let server = TestServer::start(&edited, &[]);
    let client = server.client(Era::Modern);
    let said = client.call_text("hello", &json!({"name": "Ann"}));
    assert_eq!(said, "Good morning, Ann!\n");
}

#[test]
fn init_overwrites_nothing() {
    let folder = folder_with("mine");
    let said = assert_code(run_in(folder.path(), &["init"]), 2, "again");
    assert!(
        said.stderr.contains("tools.yaml is there already"),
        "{}",
        said.stderr
    );
    let kept = fs::read_to_string(folder.path().join("tools.yaml")).unwrap();
    assert_eq!(kept, "mine");
    let said = assert_code(run_in(folder.path(), &["init", "other.yaml"]), 0, "another");
    assert!(
        said.stderr.contains("--tools other.yaml check"),
        "{}",
        said.stderr
    );
    let said = assert_code(
        run_in(folder.path(), &["init", "no/such/x.yaml"]),
        1,
        "no folder",
    );
    assert!(
        said.stderr.contains("cannot write no/such/x.yaml"),
        "{}",
        said.stderr
    );
}

#[test]
fn options_stand_before_or_after_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let tools = "tools:\n  x: {description: X., content: hi}\n";
    fs::write(folder.path().join("other.yaml"), tools).unwrap();
    let cases: [&[&str]; 3] = [
        &["--tools", "other.yaml", "call", "x"],
        &["call", "--tools", "other.yaml", "x"],
        &["call", "x", "--tools=other.yaml"],
    ];
    for arguments in cases {
        let said = assert_code(
            run_in(folder.path(), arguments),
            0,
            &format!("{arguments:?}"),
        );
        assert_eq!(said.stdout, "hi\n");
    }
    let mut command = command();
    command.current_dir(folder.path()).args(["call", "x"]);
    let said = run(command.env("MCP_SERVE_TOOLS", "other.yaml"));
    assert_eq!(assert_code(said, 0, "variable").stdout, "hi\n");
}

#[test]
fn slips_of_the_command_line_are_explained() {
    let folder = folder_with("tools: {}");
    let cases: [(&[&str], &str); 5] = [
        (&["tools.yaml"], "did you mean `--tools tools.yaml`?"),
        (&["conf/my"], "did you mean `--tools conf/my`?"),
        (&["chek"], "'check'"),
        (&["call"], "TOOL"),
        (&["check", "--format=xml"], "possible values: text, json"),
    ];
    for (arguments, expected) in cases {
        let said = assert_code(run_in(folder.path(), arguments), 2, expected);
        assert!(
            said.stderr.contains(expected),
            "{arguments:?}: {}",
            said.stderr
        );
        assert_eq!(said.stdout, "", "{arguments:?}");
    }
}

#[test]
fn a_misspelt_variable_is_a_warning() {
    let folder = folder_with("tools:\n  x: {description: X., content: hi}\n");
    let mut command = command();
    command.current_dir(folder.path()).args(["check"]);
    let said = assert_code(run(command.env("MCP_SERVE_LISTN", "x")), 0, "check");
    let expected = "warning: `MCP_SERVE_LISTN` is not a variable of mcp-serve, and sets nothing; \
                    did you mean `MCP_SERVE_LISTEN`?";
    assert!(said.stderr.contains(expected), "{}", said.stderr);
    assert!(said.stdout.contains("1 tool, 1 warning"), "{}", said.stdout);
    assert_code(run(command.arg("--strict")), 2, "check --strict");
    let server = TestServer::start_with("tools: {}", &[], |prepare| {
        prepare.command.env("MCP_SERVE_LISTN", "x");
    });
    server.wait_for_log("did you mean `MCP_SERVE_LISTEN`?");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in ["man", "completions bash", "schema"] {
        let mut command = command();
        command
            .current_dir(folder.path())
            .args(arguments.split(' '));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command
            .stdout(writer)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), said.as_str()),
            (Some(0), ""),
            "{arguments}"
        );
    }
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = command().arg("man").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_new_token_lets_its_owner_in() {
    let folder = tempfile::tempdir().unwrap();
    let made = run_in(
        folder.path(),
        &[
            "token",
            "new",
            "--subject=alice",
            "--tenant=null",
            "--scope=issues:read,b",
            "--role=dba",
        ],
    );
    let made = assert_code(made, 0, "new");
    let token = made.stderr.trim_end();
    assert_eq!(token.len(), 43, "32 bytes in Base64");
    assert!(!made.stdout.contains(token), "{}", made.stdout);
    let tools = "tools:\n  env: {description: X., exec: env}\n";
    let server = TestServer::with_auth(tools, &made.stdout, &[]);
    let client = Client::new(&server, Era::Modern, Some(token));
    let printed = client.call_text("env", &json!({}));
    for expected in ["SUBJECT=alice\n", "TENANT=null\n", "SCOPES=issues:read b\n"] {
        assert!(printed.contains(expected), "{printed}");
    }

    let arguments = ["token", "hash", "--subject=alice", "--tenant=null"];
    let hashed = run_with_input(command().args(arguments), &format!("{token}\n"));
    let hashed = assert_code(hashed, 0, "hash");
    assert!(
        made.stdout.starts_with(&hashed.stdout),
        "{}{}",
        made.stdout,
        hashed.stdout
    );
    assert!(!hashed.stdout.contains(token) && !hashed.stderr.contains(token));
}

#[test]
fn what_token_new_prints_is_an_auth_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth.yaml");
    for options in ["--subject=alice", "--expires=90d", "--expires=2030-01-01"] {
        let mut opened = OpenOptions::new();
        let opened = opened.create(true).append(true).mode(0o600).open(&file);
        let mut child = command();
        child
            .args(["token", "new", options])
            .stdout(opened.unwrap());
        let output = child.output().unwrap();
        assert!(output.status.success(), "{options}: {output:?}");
    }
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches("tokens:").count(), 1, "{text}");
    assert!(text.contains("expires: 2030-01-01T00:00:00Z"), "{text}");
    let tools = folder.path().join("tools.yaml");
    fs::write(&tools, "tools: {t: {description: T., content: x}}\n").unwrap();
    let checked = run_in(folder.path(), &["check", "--auth", "auth.yaml"]);
    assert_code(checked, 0, &text);
}

#[test]
fn a_token_that_serving_would_refuse_is_refused_at_once() {
    let cases: [(&str, &[&str], &str); 5] = [
        ("", &[], "standard input holds no token"),
        ("short\n", &[], "needs at least 22"),
        ("two words that are long enough\n", &[], "may hold only"),
        ("mfZ3b1mXk0Qy7h2Vn5cR8w", &["--subject= "], "`subject`"),
        (
            "mfZ3b1mXk0Qy7h2Vn5cR8w",
            &["--expires=soon"],
            "\"soon\" is no date and no duration, try 2027-01-01",
        ),
    ];
    for (token, options, expected) in cases {
        let said = run_with_input(command().args(["token", "hash"]).args(options), token);
        let said = assert_code(said, 2, expected);
        assert!(
            said.stderr.contains(expected),
            "{expected}: {}",
            said.stderr
        );
        assert_eq!(said.stdout, "", "{expected}");
    }
    // Never from the command line, which every user of the machine can read.
    let said = run(command().args(["token", "hash", "mfZ3b1mXk0Qy7h2Vn5cR8w"]));
    assert_code(said, 2, "an argument");
}

#[test]
fn what_is_served_is_listed() {
    let folder = folder_with(
        "tools:
  look: {description: \"Looks.\\nMore of it.\", effect: read, content: x}
  change: {description: Changes., effect: write, exec: echo}
  remove: {description: Removes., exec: echo}
prompts:
  review: {description: Reviews., text: Review it.}
resources:
  notes: {uri: \"docs://notes\", description: Notes., text: x}
resource_templates:
  page: {uri: \"docs://{name}\", description: A page., text: \"{name}\"}
",
    );
    let said = assert_code(run_in(folder.path(), &["list"]), 0, "list");
    let expected = "\
tool      look           read         Looks.
tool      change         write        Changes.
tool      remove         destructive  Removes.
prompt    review         -            Reviews.
resource  docs://notes   -            Notes.
template  docs://{name}  -            A page.
";
    assert_eq!(said.stdout, expected);
    let said = assert_code(run_in(folder.path(), &["list", "--json"]), 0, "json");
    let items: Value = serde_json::from_str(&said.stdout).unwrap();
    let first = json!({
        "kind": "tool", "name": "look", "effect": "read", "description": "Looks.\nMore of it."
    });
    assert_eq!((items.as_array().unwrap().len(), &items[0]), (6, &first));
    assert!(items[3].get("effect").is_none());
}

#[test]
fn who_is_meant_by_as_is_a_subject_of_the_auth_file() {
    let folder = folder_with("tools:\n  x: {description: X., content: hi}\n");
    let auth = folder.path().join("auth.yaml");
    let digest = |digit: &str| digit.repeat(64);
    let text = format!(
        "tokens:\n  - {{sha256: {}, subject: alice}}\n  - {{sha256: {}, subject: alice, roles: [a]}}\n  - {{sha256: {}, subject: carol, expires: 2020-01-01T00:00:00Z}}\n",
        digest("1"),
        digest("2"),
        digest("3")
    );
    fs::write(&auth, text).unwrap();
    fs::set_permissions(&auth, fs::Permissions::from_mode(0o600)).unwrap();
    let cases: [(&[&str], i32, &str); 5] = [
        (
            &["--auth=auth.yaml", "--as=alice"],
            0,
            "tokens of `alice` differ",
        ),
        (
            &["--auth=auth.yaml", "--as=alise"],
            2,
            "did you mean `alice`?",
        ),
        (
            &["--auth=auth.yaml", "--as=carol"],
            2,
            "no token that is good now",
        ),
        (&["--auth=missing.yaml", "--as=alice"], 2, "cannot read it"),
        (&["--as=alice"], 2, "set --auth"),
    ];
    for (options, code, expected) in cases {
        for command in [&["list"][..], &["call", "x"]] {
            let arguments = [command, options].concat();
            let said = assert_code(run_in(folder.path(), &arguments), code, expected);
            assert!(
                said.stderr.contains(expected),
                "{arguments:?}: {}",
                said.stderr
            );
        }
    }
}

#[test]
fn completions_are_there_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let said = assert_code(run(command().args(["completions", shell])), 0, shell);
        assert!(
            said.stdout.contains("--tools") || said.stdout.contains("tools"),
            "{shell}"
        );
        assert!(said.stdout.contains("check"), "{shell}");
    }
    let said = assert_code(run(command().arg("man")), 0, "man");
    assert_eq!(said.stdout, fs::read_to_string("man/mcp-serve.1").unwrap());
    let said = assert_code(run(command().args(["man", "--section=5"])), 0, "man");
    assert_eq!(said.stdout, fs::read_to_string("man/tools.yaml.5").unwrap());
}

#[test]
fn the_help_of_a_command_shows_what_matters_to_it() {
    let said = assert_code(run(command().args(["call", "--help"])), 0, "help");
    assert!(said.stdout.contains("--dry-run") && said.stdout.contains("--call-timeout"));
    assert!(!said.stdout.contains("--max-sessions"), "{}", said.stdout);
}
