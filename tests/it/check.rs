//! `check`: everything that is wrong at once, with the verdict of serving.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::commands::{assert_code, folder_with, run_in};
use crate::support::{command, run};

const BROKEN: &str = "\
tools:
  x:
    description: X.
    exce: echo
";

#[test]
fn problems_of_every_kind_are_said_at_once() {
    let folder = folder_with(BROKEN);
    let auth = folder.path().join("auth.yaml");
    fs::write(&auth, "tokens:\n  - {sha256: 12, subject: alice}\n").unwrap();
    fs::set_permissions(&auth, fs::Permissions::from_mode(0o600)).unwrap();
    let arguments = [
        "check",
        "--auth=auth.yaml",
        "--session-unused-timeout=2h",
        "--state-key-file=missing",
    ];
    let said = assert_code(run_in(folder.path(), &arguments), 2, "check");
    for expected in [
        "error[E001]: unknown key `exce` in tool `x`",
        "--> tools.yaml:4:5",
        "error[E033]: `sha256` must be 64 hexadecimal digits",
        "error: --session-unused-timeout 2h would never take effect",
        "error: --state-key-file missing: cannot read it",
    ] {
        assert!(
            said.stderr.contains(expected),
            "{expected}: {}",
            said.stderr
        );
    }
    let summary = "nothing would be served: 4 errors\n";
    assert!(said.stdout.ends_with(summary), "{}", said.stdout);
}

#[test]
fn every_setting_is_shown_with_what_set_it() {
    let folder = folder_with("name: deploys\ntools:\n  x: {description: X., content: hi}\n");
    let mut command = command();
    command.current_dir(folder.path());
    command.env("MCP_SERVE_CALL_TIMEOUT", "5m");
    let arguments = ["check", "--listen=127.0.0.1:1,[::1]:2"];
    let said = assert_code(run(command.args(arguments)), 0, "check");
    let chosen = "\
configuration:
  --listen        127.0.0.1:1,[::1]:2  command line
  --call-timeout  5m                   MCP_SERVE_CALL_TIMEOUT

tools.yaml: 1 tool, no problems
";
    assert_eq!(said.stdout, chosen);
    let said = assert_code(run(command.arg("--verbose")), 0, "check");
    let lines: Vec<Vec<&str>> = (said.stdout.lines())
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    for expected in [
        ["--tools", "tools.yaml", "default"],
        ["--listen", "127.0.0.1:1,[::1]:2", "command line"],
        ["--call-timeout", "5m", "MCP_SERVE_CALL_TIMEOUT"],
        ["--auth", "not set", "default"],
        ["name", "deploys", "tools.yaml"],
    ] {
        assert!(
            lines.iter().any(|line| *line == expected),
            "{expected:?}: {}",
            said.stdout
        );
    }
}

#[test]
fn a_warning_is_an_error_only_when_strict() {
    let folder = folder_with("tools:\n  a.b: {description: X., content: hi}\n");
    let said = assert_code(run_in(folder.path(), &["check"]), 0, "lenient");
    assert!(said.stderr.contains("warning[E004]"), "{}", said.stderr);
    assert_eq!(said.stdout, "tools.yaml: 1 tool, 1 warning\n");
    assert_code(run_in(folder.path(), &["check", "--strict"]), 2, "strict");
    let folder = folder_with("tools: {}\n");
    let said = assert_code(run_in(folder.path(), &["check", "--strict"]), 2, "empty");
    assert!(
        said.stderr.contains("warning: nothing is served"),
        "{}",
        said.stderr
    );
}

#[test]
fn what_may_be_meant_is_no_problem() {
    let folder = folder_with("tools:\n  x: {description: X., content: hi}\n");
    let arguments = [
        "check",
        "--strict",
        "--metrics-listen=0.0.0.0:9090",
        "--format=text",
    ];
    let said = assert_code(run_in(folder.path(), &arguments), 0, "note");
    let note = "note: everybody who can reach 0.0.0.0:9090 may read the metrics";
    assert!(said.stderr.contains(note), "{}", said.stderr);
    let verdict = "\ntools.yaml: 1 tool, no problems\n";
    assert!(said.stdout.ends_with(verdict), "{}", said.stdout);
}

/// The report of `check --format json`.
fn report_of(folder: &Path, arguments: &[&str], code: i32) -> Value {
    let said = assert_code(run_in(folder, arguments), code, "json");
    assert_eq!(said.stderr, "");
    serde_json::from_str(&said.stdout).unwrap()
}

#[test]
fn options_that_cannot_be_read_are_json_too() {
    let folder = folder_with("tools: {}\n");
    for (arguments, reason) in [
        (&["check", "--format=json", "--port=1"][..], "--port"),
        (&["--max-calls=many", "check", "--format", "json"], "many"),
    ] {
        let report = report_of(folder.path(), arguments, 2);
        assert_eq!(
            (&report["ok"], &report["errors"]),
            (&json!(false), &json!(1))
        );
        let message = report["diagnostics"][0]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn a_program_reads_the_same_as_json() {
    let folder = folder_with(BROKEN);
    let arguments = ["check", "--format=json", "--listen=0.0.0.0:1"];
    let report = report_of(folder.path(), &arguments, 2);
    assert_eq!(report["ok"], false);
    assert_eq!(
        (&report["errors"], &report["warnings"]),
        (&json!(2), &json!(0))
    );
    let expected = json!({
        "severity": "error", "code": "E001", "message": "unknown key `exce` in tool `x`",
        "help": "did you mean `exec`?", "path": "tools.yaml",
        "line": 4, "column": 5, "end_line": 4, "end_column": 9, "others": [],
    });
    assert_eq!(report["diagnostics"][0], expected);
    let option = &report["diagnostics"][1];
    assert_eq!(
        (&option["severity"], &option["path"]),
        (&json!("error"), &Value::Null)
    );

    let tools = folder.path().join("tools.yaml");
    fs::write(&tools, "tools: {x: {content: hi}}\ntools: {}\n").unwrap();
    let report = report_of(folder.path(), &["check", "--format=json"], 2);
    let twice = report["diagnostics"].as_array().unwrap().iter();
    let twice = twice.map(|problem| &problem["others"]);
    let expected = json!([{"message": "first defined here", "path": "tools.yaml",
        "line": 1, "column": 1, "end_line": 1, "end_column": 6}]);
    assert!(twice.clone().any(|others| *others == expected), "{report}");

    fs::write(tools, "tools:\n  x: {description: X., content: hi}\n").unwrap();
    let report = report_of(folder.path(), &["check", "--format=json"], 0);
    assert_eq!(report["ok"], true);
    assert_eq!(
        report["served"],
        json!({"tools": 1, "prompts": 0, "resources": 0, "resource_templates": 0})
    );
    let expected = json!({
        "option": "--tools", "variable": "MCP_SERVE_TOOLS", "values": ["tools.yaml"], "source": "default",
    });
    assert_eq!(report["configuration"][0], expected);
}

#[test]
fn every_file_of_the_corpus_gets_the_verdict_of_serving() {
    let mut seen = 0;
    for entry in fs::read_dir("tests/it/tools/invalid").unwrap() {
        let file = entry.unwrap().path();
        if file
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let file = file.display().to_string();
            let mut command = command();
            command.args([
                "--auth",
                "tests/it/tools/auth.yaml",
                "--insecure-permissions",
            ]);
            let said = run(command.args(["check", "--tools", &file]));
            let said = assert_code(said, 2, &file);
            assert!(said.stderr.contains("error["), "{file}: {}", said.stderr);
            seen += 1;
        }
    }
    assert!(seen > 60, "a corpus test checks that it found files");
}

#[test]
fn colors_are_for_terminals() {
    let folder = folder_with(BROKEN);
    let binary = env!("CARGO_BIN_EXE_mcp-serve");
    let typescript = folder.path().join("typescript");
    let on_terminal = |no_color: &str| {
        let command = format!("NO_COLOR={no_color} {binary} check");
        let mut script = std::process::Command::new("script");
        script.args(["-q", "-e", "-c", &command]).arg(&typescript);
        let output = script.current_dir(folder.path()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(on_terminal("").contains("\u{1b}["));
    assert!(!on_terminal("1").contains("\u{1b}["));
    let said = run_in(folder.path(), &["check"]);
    assert!(!said.stderr.contains('\u{1b}'), "{}", said.stderr);
}

/// A folder with definitions and an auth file that only its owner can read.
fn folder_with_auth(tools: &str, auth: &str) -> tempfile::TempDir {
    let folder = folder_with(tools);
    let path = folder.path().join("auth.yaml");
    fs::write(&path, auth).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    folder
}

#[test]
fn who_is_let_in_is_shown_without_any_secret() {
    let auth = "\
tokens:
  - {sha256: c78acef0790c2b42439ad384e838b82679c6827d203ab0c4fc04789fe13acff5, subject: alice, tenant: acme,
     roles: [dba], expires: 2099-01-01T00:00:00Z, metadata: {key: hunter2hunter2}}
jwt: [{issuer: 'https://id.example.com', audience: mcp}]
introspection:
  - {url: 'https://id.example.com/introspect', client_id: me, client_secret: '${env:PLANTED}', audience: [a, b]}
anonymous: {roles: [guest]}
";
    let folder = folder_with_auth("tools:\n  x: {description: X., content: hi}\n", auth);
    let check = |arguments: &[&str]| {
        let mut command = command();
        command.env("PLANTED", "correct-horse-battery");
        command.current_dir(folder.path());
        let said = run(command.args(["check", "--auth=auth.yaml"]).args(arguments));
        let said = assert_code(said, 0, "check");
        for secret in ["correct-horse", "hunter2", "c78acef0"] {
            let is_shown = said.stdout.contains(secret) || said.stderr.contains(secret);
            assert!(!is_shown, "{secret}: {said:?}");
        }
        said.stdout
    };
    let expected = "
callers:
  token          alice (acme)                       roles dba; until 2099-01-01T00:00:00Z
  issuer         https://id.example.com             for mcp; keys from where its metadata says
  introspection  https://id.example.com/introspect  for a or b
  anonymous      everybody                          roles guest
";
    let said = check(&[]);
    assert!(said.contains(expected), "{said}");
    let report: Value = serde_json::from_str(&check(&["--format=json"])).unwrap();
    let anonymous = json!({"kind": "anonymous", "name": "everybody", "about": ["roles guest"]});
    assert_eq!(report["callers"][3], anonymous);
}

#[test]
fn nothing_that_may_change_something_is_for_callers_without_a_credential() {
    let tools = "\
defaults: {allow: [role:staff, role:guest]}
tools:
  write: {description: X., exec: /bin/true, effect: write}
  unsaid: {description: X., exec: /bin/true, allow: [[role:guest]]}
  read: {description: X., exec: /bin/true, effect: read}
  staff: {description: X., exec: /bin/true, allow: [[role:guest, role:staff]]}
prompts: {p: {description: X., text: hi}}
";
    let token = "tokens: [{sha256: c78acef0790c2b42439ad384e838b82679c6827d203ab0c4fc04789fe13acff5, subject: a, roles: [staff, guest]}]";
    let issuer = "jwt: [{issuer: 'https://id.example.com', audience: mcp}]";
    let anonymous = "anonymous: {roles: [guest]}";
    for others in [token, issuer] {
        let folder = folder_with_auth(tools, &format!("{others}\n{anonymous}\n"));
        let auth = ["--auth=auth.yaml", "--listen=127.0.0.1:0"];
        for arguments in [vec!["check"], vec![]] {
            let said = run_in(folder.path(), &[arguments, auth.to_vec()].concat());
            let said = assert_code(said, 2, others);
            let said = format!("{}{}", said.stdout, said.stderr);
            assert_eq!(said.matches("error[E063]").count(), 2, "{others}: {said}");
            for expected in [
                "tools.yaml:1:32",
                "tools.yaml:4:55",
                "everybody has the role `guest` without a credential, and `write` is not `effect: read`",
            ] {
                assert!(said.contains(expected), "{expected}: {said}");
            }
        }
        let folder = folder_with_auth(tools, others);
        let said = run_in(folder.path(), &["check", "--auth=auth.yaml"]);
        assert_code(said, 0, others);
    }
}
