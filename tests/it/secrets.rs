//! What a definition names and does not hold, and that nobody sees it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use mcp_serve::catalog::{Catalog, Environment};
use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{Client, ERAS, TestServer, write_script};

const FROM_FILE: &str = "file-secret with \"quotes\" and {x} | 'more'";
/// Its ends stand in no number, as that of an address.
const FROM_ENVIRONMENT: &str = "env-secret-gulp";
const IN_SECRETS: &str = "named-secret-4711";

const TOOLS: &str = r#"
secrets: {named: "${file:named.secret}"}
defaults:
  effect: read
  env: {A: "${file:file.secret}", B: "x${env:B_SECRET}y", C: "${secret:named}"}
tools:
  prints: {description: d, exec: env}
  prints_json: {description: d, exec: ./json.sh, output: json}
  fails: {description: d, exec: ./fails.sh}
  talks: {description: d, exec: ./talks.sh, messages: true, needs: [elicitation]}
  errs: {description: d, exec: ./errs.sh, messages: true}
  words: {description: d, exec: "echo ${file:file.secret} '${secret:named}' \"-${env:B_SECRET}-\" end"}
  fixed: {description: d, content: "it is ${env:B_SECRET}"}
  confirmed: {description: d, exec: env, confirm: "Use ${secret:named}?"}
prompts:
  fixed_prompt: {description: d, text: "it is ${env:B_SECRET}"}
  run_prompt: {description: d, exec: env}
resources:
  run: {description: d, uri: "x://run", exec: env}
  text: {description: d, uri: "x://text", text: "it is ${env:B_SECRET}"}
"#;

fn start() -> TestServer {
    TestServer::start_with(TOOLS, &["--log-level", "trace"], |prepare| {
        let write = |name: &str, text: &str| {
            let path = prepare.folder.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        };
        write("file.secret", &format!("{FROM_FILE}\n"));
        write("named.secret", IN_SECRETS);
        prepare.command.env("B_SECRET", FROM_ENVIRONMENT);
        let folder = prepare.folder;
        write_script(
            folder,
            "json.sh",
            r#"printf '{"%s":["%s"],"n":1}' "$B" "$C""#,
        );
        write_script(folder, "fails.sh", "env >&2; exit 3");
        write_script(
            folder,
            "errs.sh",
            r#"echo "{\"mcp\":\"error\",\"code\":5,\"message\":\"$B\",\"data\":[\"$C\"]}""#,
        );
        write_script(
            folder,
            "talks.sh",
            r#"
            echo "{\"mcp\":\"progress\",\"progress\":1,\"message\":\"$B\"}"
            echo "{\"mcp\":\"log\",\"level\":\"error\",\"logger\":\"$B\",\"data\":{\"$C\":\"$C\"}}"
            echo "{\"mcp\":\"ask\",\"requests\":{\"k\":{\"method\":\"$B\"}}}"
            read -r refused
            echo "{\"mcp\":\"ask\",\"id\":\"q\",\"message\":\"$B $C\"}"
            read -r answer
            echo "$answer $B""#,
        );
    })
}

/// Everything that a request is answered with, to the end of its stream.
fn answer(client: &Client, method: &str, params: &Value) -> String {
    let mut message = client.message(1, method, params);
    let meta = &mut message["params"]["_meta"];
    meta["progressToken"] = json!("token");
    meta["io.modelcontextprotocol/logLevel"] = json!("debug");
    meta["io.modelcontextprotocol/clientCapabilities"] = json!({"elicitation": {"form": {}}});
    client.post_message(&message).text().to_owned()
}

#[test]
fn no_secret_leaves_the_server() {
    let server = start();
    let mut seen = Vec::new();
    for era in ERAS {
        let client = server.client(era);
        for tool in ["prints", "prints_json", "fails", "errs", "words", "fixed"] {
            let answer = answer(&client, "tools/call", &json!({"name": tool}));
            assert!(answer.contains("***"), "{era:?} {tool}: {answer}");
            seen.push(answer);
        }
        for prompt in ["fixed_prompt", "run_prompt"] {
            seen.push(answer(&client, "prompts/get", &json!({"name": prompt})));
        }
        for uri in ["x://run", "x://text"] {
            let answer = answer(&client, "resources/read", &json!({"uri": uri}));
            assert!(answer.contains("***"), "{era:?} {uri}: {answer}");
            seen.push(answer);
        }
    }
    let modern = server.client(Era::Modern);
    for tool in ["talks", "confirmed"] {
        let answer = answer(&modern, "tools/call", &json!({"name": tool}));
        assert!(answer.contains("***"), "{tool}: {answer}");
        assert!(answer.contains("input_required"), "{tool}: {answer}");
        seen.push(answer);
    }
    let log = server.log();
    // The reason for which the first question of `talks` cannot be asked.
    assert!(log.iter().any(|line| line.contains("x***y")), "{log:?}");
    seen.extend(log);
    for text in seen {
        for secret in ["file-secret", FROM_ENVIRONMENT, IN_SECRETS] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
}

#[test]
fn questions_on_a_session_hold_no_secret() {
    let server = start();
    let capabilities = json!({"elicitation": {"form": {}}});
    let client = Client::with_capabilities(&server, "2025-11-25", &capabilities);
    let mut stream = client.start_call(7, "talks", &json!({}));
    let mut said = String::new();
    while let Some(line) = stream.read_line() {
        said.push_str(&line);
        if line.contains("elicitation/create") {
            break;
        }
    }
    assert!(said.contains("x***y ***"), "{said}");
    assert!(
        !said.contains(FROM_ENVIRONMENT) && !said.contains(IN_SECRETS),
        "{said}"
    );
}

#[test]
fn a_value_reaches_the_program_as_it_is() {
    // The program compares, since what it prints would be hidden.
    let tools = r#"
tools:
  compare:
    description: d
    exec: ./compare.sh ${env:WORDS} 'in ${env:WORDS}' "{{${env:WORDS}}} {x}" [-${env:WORDS} {y}]
    params: {x: string, y: optional string}
    env: {DEFAULT: "${env:NONE:-d e}", NUMBER: "${env:NUMBER}", LITERAL: "$${env:WORDS}"}
"#;
    let words = "a b{x} | 'q \"r\" ]\n- [y]: {z}";
    let server = TestServer::start_with(tools, &[], |prepare| {
        prepare.command.env("WORDS", words).env("NUMBER", "007");
        let file = prepare.folder.join("words");
        fs::write(&file, words).unwrap();
        let script = format!(
            r#"
            words=$(cat {})
            [ $# = 5 ] && [ "$1" = "$words" ] && [ "$2" = "in $words" ] \
                && [ "$3" = "{{{{$words}}}} value" ] && [ "$4" = "-$words" ] && [ "$5" = other ] \
                && [ "$DEFAULT" = "d e" ] && [ "$NUMBER" = 007 ] \
                && [ "$LITERAL" = '${{env:WORDS}}' ] && echo equal"#,
            file.display()
        );
        write_script(prepare.folder, "compare.sh", &script);
    });
    let client = server.client(Era::Modern);
    let arguments = json!({"x": "value", "y": "other"});
    assert_eq!(client.call_text("compare", &arguments), "equal\n");
}

fn warnings(folder: &Path, text: &str) -> Vec<String> {
    let file = folder.join("tools.yaml");
    fs::write(&file, text).unwrap();
    match Catalog::load(&file, &Environment::default()) {
        Ok(loaded) => loaded
            .warnings
            .iter()
            .map(|one| one.render(false))
            .collect(),
        Err(error) => vec![error.to_string()],
    }
}

#[test]
fn a_secret_file_is_judged() {
    let large = vec![b'x'; 70_000];
    let unsafe_mode = |mode: &str| {
        format!(
            "warning[E041]: `secret` is not safe: its mode is {mode}, but others must have no \
             access and the group may not write; run chmod 0600 on it\n \
             --> FOLDER/tools.yaml:1:40\n  |\n\
             1 | tools: {{t: {{description: d, content: 'x${{file:secret}}'}}}}\n  \
             |                                        ^^^^^^^^^^^^^^"
        )
    };
    let (open, writable) = (unsafe_mode("0604"), unsafe_mode("0620"));
    let cases: [(&str, &[u8], u32, &str); 9] = [
        ("fine", b"secret", 0o600, ""),
        ("short", b"12345\n", 0o600, "E046"),
        ("readable by the group", b"secret", 0o640, ""),
        ("open", b"hunter2", 0o604, &open),
        ("writable by the group", b"hunter2", 0o620, &writable),
        ("empty", b"\n", 0o600, "`${file:secret}` is empty"),
        ("NUL", b"a\0b", 0o600, "`${file:secret}` holds NUL"),
        ("bytes", b"\xff", 0o600, "it is not UTF-8 text"),
        ("large", &large, 0o600, "it is larger than 64 KiB"),
    ];
    for (name, bytes, mode, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        fs::write(&secret, bytes).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
        let text = "tools: {t: {description: d, content: 'x${file:secret}'}}\n";
        let found = warnings(folder.path(), text);
        assert_eq!(found.is_empty(), expected.is_empty(), "{name}: {found:?}");
        let found = (found.concat()).replace(&folder.path().display().to_string(), "FOLDER");
        assert!(found.contains(expected), "{name}: {found}");
    }
}

#[test]
fn the_name_of_a_user_may_be_short() {
    let folder = tempfile::tempdir().unwrap();
    let user = folder.path().join("db-user.txt");
    fs::write(&user, "app\n").unwrap();
    fs::set_permissions(&user, fs::Permissions::from_mode(0o600)).unwrap();
    let text = "tools: {t: {description: d, content: 'x${file:db-user.txt}'}}\n";
    assert_eq!(warnings(folder.path(), text), [""; 0]);
}

#[test]
fn messages_about_a_definition_hold_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tools.yaml");
    let text = "tools: {t: {description: d, exec: /bin/cat, timeout: '${env:A_SECRET}'}}\n";
    fs::write(&file, text).unwrap();
    let environment = Environment::from_iter([("A_SECRET", FROM_ENVIRONMENT)]);
    let error = Catalog::load(&file, &environment).unwrap_err().to_string();
    assert!(error.contains("`***` is not a duration"), "{error}");
}

#[test]
fn no_literal_secret_is_drawn_whatever_is_wrong_with_the_file() {
    let token = "Xk29fLq8Zt1v";
    let github = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let cases = [
        ("syntax", format!("a: b: API_TOKEN={token}\n")),
        (
            "a header",
            format!("a: b: 'Authorization: Bearer {token}'\n"),
        ),
        ("a known token", format!("x: [\"{github}\n")),
        (
            "a flow mapping",
            format!("{{DB_PASSWORD: {token}, b: [}}\n"),
        ),
        ("secrets", "secrets:\n  a: hunter2hunter2: x\n".to_owned()),
        (
            "secrets in a line",
            "secrets: {a: hunter2hunter2, b: ${env:X}}}\n".to_owned(),
        ),
        (
            "two keys",
            format!("API_TOKEN: {token}\nAPI_TOKEN: {token}\n"),
        ),
        ("a tag", format!("API_TOKEN: !{token}\n")),
        (
            "an unknown key",
            format!("tools: {{t: {{password: {token}}}}}\n"),
        ),
        (
            "a default",
            format!("tools: {{t: {{params: {{token: 'integer = {token}'}}}}}}\n"),
        ),
        (
            "a script",
            format!("tools: {{t: {{script: {{run: 'TOKEN={token} x', y: 1}}}}}}\n"),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in cases {
        let shown = warnings(folder.path(), &text).concat();
        assert!(shown.contains("error["), "{name}: {shown}");
        for secret in [token, github, "hunter2"] {
            assert!(!shown.contains(secret), "{name}: {shown}");
        }
    }
}

#[test]
fn a_script_is_the_only_place_that_keeps_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let place = |text: &str| {
        let text = format!("tools: {{t: {{description: d, {text}}}}}\n");
        warnings(folder.path(), &text).concat()
    };
    let kept = place("script: {shell: /bin/sh, run: 'echo ${env:NOT_SET}'}");
    assert_eq!(kept, "");
    let replaced =
        place("http: {POST: 'https://example.com/', json: {script: {run: '${env:NOT_SET}'}}}");
    assert!(
        replaced.contains("`${env:NOT_SET}` is not set"),
        "{replaced}"
    );
}

#[test]
fn values_have_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let text = |uses: usize| {
        let words = "${env:LONG}".repeat(uses);
        format!("tools: {{t: {{description: d, content: '{words}'}}}}\n")
    };
    let cases = [
        (10, 2 << 20, "more than 1024 KiB of text"),
        (100, 100_000, "more than 8 MiB of text"),
    ];
    for (uses, length, expected) in cases {
        let file = folder.path().join("tools.yaml");
        fs::write(&file, text(uses)).unwrap();
        let environment = Environment::from_iter([("LONG", "x".repeat(length))]);
        let error = Catalog::load(&file, &environment).unwrap_err().to_string();
        assert!(error.contains(expected), "{uses}: {error}");
    }
}

#[test]
fn no_part_of_a_secret_stands_where_an_output_is_cut() {
    let printed = format!("say {FROM_ENVIRONMENT}, say no more");
    let mut tools = "
defaults: {effect: read, env: {SECRET: '${env:B_SECRET}'}}
tools:
  error: {description: d, exec: [sh, -c, 'printf \"%s\" \"$SECRET\"; head -c 4090 /dev/zero | tr \"\\0\" x; exit 3']}
"
    .to_owned();
    for most in 1..printed.len() {
        for (name, overflow) in [
            ("stop", ""),
            ("truncate", "on_overflow: truncate"),
            ("link", "on_overflow: resource"),
        ] {
            let tool = format!(
                "  {name}{most}: {{description: d, exec: [sh, -c, 'printf \"say %s, say no more\" \"$SECRET\"'], \
                 max_output: {most}, output: {{{overflow}}}}}\n"
            );
            tools.push_str(&tool);
        }
    }
    let server = TestServer::start_with(&tools, &[], |prepare| {
        prepare.command.env("B_SECRET", FROM_ENVIRONMENT);
        // A test kills its server, which then leaves what it has there.
        prepare.command.env("TMPDIR", prepare.folder);
    });
    let client = server.client(Era::Modern);
    let (first, last) = FROM_ENVIRONMENT.split_at(4);
    let last = last.get(last.len() - 4..).unwrap();
    for most in 1..printed.len() {
        for name in ["stop", "truncate", "link"] {
            let result = client
                .call(&format!("{name}{most}"), &json!({}))
                .to_string();
            assert!(
                !result.contains(first) && !result.contains(last),
                "{name} {most}: {result}"
            );
        }
    }
    let error = client.call_error("error", &json!({}));
    assert!(!error.contains(last), "{error}");
    // All of it is redacted where it is read.
    let result = client.call("link10", &json!({}));
    let uri = json!({"uri": result["content"][1]["uri"]});
    let read = client.request("resources/read", &uri).json();
    assert_eq!(
        read["result"]["contents"][0]["text"],
        "say ***, say no more"
    );
}
