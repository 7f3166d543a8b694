//! `script` and `files`: a text for an interpreter, and what a call writes before its program runs.

use std::path::Path;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{ERAS, TestServer, eventually};

const DEFINITIONS: &str = r#"
tools:
  show:
    description: Shows what a script is given.
    script:
      run: |
        printf '%s|' "$INPUT_NAME" "$INPUT_DRY_RUN" "${INPUT_COUNT-unset}" "${INPUT_TAGS-unset}"
        echo "$INPUT_MORE"
        cat
    params:
      name: string
      dry-run: boolean = false
      count: optional integer
      tags: string...
      more: {type: object, optional: true}
  python:
    description: Adds numbers.
    script:
      shell: [python3, -u]
      run: |
        import json, os, sys
        arguments = json.load(sys.stdin)
        total = sum(arguments["numbers"])
        print(f"{total} {os.environ['INPUT_NUMBERS']}")
    params: {numbers: integer...}
  where:
    description: Shows where it is.
    script:
      run: |
        echo "$0"
        pwd
        echo "$(ls -l "$0" | cut -c1-10) $(ls -l b.txt | cut -c1-10)"
        echo *
        tr '\0' ' ' < "/proc/$$/cmdline" | sed 's/ $//'
    files: {conf/a.txt: "a", b.txt: "b"}
  elsewhere:
    description: Runs in the folder of the definitions.
    exec: sh -c 'cat "$1"; ls tools.yaml' sh {file:spec.txt}
    files: {spec.txt: "{text}|{rows}|"}
    max_output: 2MiB
    params: {text: string, rows: integer...}
    workdir: .
  fails:
    description: Has an error in its third line.
    script:
      run: |
        true
        true
        no-such-command
  talks:
    description: Asks in a script.
    messages: true
    script:
      run: |
        read -r arguments
        echo '{"mcp":"progress","progress":1}'
        echo "first: $arguments"
    params: {x: integer}
  maybe:
    description: Writes a file if there is something to write.
    exec: sh -c 'echo "$(ls | wc -l)" "$@"' sh [--notes {file:notes.txt}] end
    files: {notes.txt: "{notes}"}
    params: {notes: optional string}
prompts:
  scripted:
    description: A script writes it.
    script: {run: "echo Review \"$INPUT_FILE\"."}
    params: {file: string, focus: {type: string, default: all}}
    complete:
      file: {script: {run: "printf '%s\\n' alpha beta"}}
      focus: {script: {run: 'echo "$INPUT_VALUE!"'}}
resources:
  scripted: {uri: "host://name", description: A script prints it., script: {run: echo here}}
resource_templates:
  scripted: {uri: "unit://{name}", description: A script prints it., script: {run: 'printf %s "$INPUT_NAME"'}}
"#;

#[test]
fn a_script_gets_its_arguments_as_variables_and_as_json() {
    let server = TestServer::start(DEFINITIONS, &[]);
    for era in ERAS {
        let client = server.client(era);
        let hostile = "$(id); `id` \"; rm -rf / #\n{name} ${IFS} '";
        let arguments = json!({"name": hostile, "more": {"a": [1]}});
        let shown = client.call_text("show", &arguments);
        let (variables, json) = shown.trim_end().rsplit_once('\n').unwrap();
        let expected = format!("{hostile}|false|unset|unset|{{\"a\":[1]}}");
        assert_eq!(variables, expected, "{era:?}");
        let json: Value = serde_json::from_str(json).unwrap();
        let expected = json!({"name": hostile, "dry-run": false, "more": {"a": [1]}});
        assert_eq!(json, expected);

        let added = client.call_text("python", &json!({"numbers": [1, 2.0, 3]}));
        assert_eq!(added.trim_end(), "6.0 [1,2.0,3]");
    }
}

#[test]
fn a_script_is_a_private_file_that_goes_with_its_call() {
    let server = TestServer::start(DEFINITIONS, &[]);
    let client = server.client(Era::Modern);
    let shown = client.call_text("where", &json!({}));
    let lines: Vec<_> = shown.lines().collect();
    let [script, folder, mode, names, words] = lines.as_slice() else {
        panic!("{shown}");
    };
    let root = Path::new(script).parent().unwrap();
    assert_eq!(Path::new(folder), root.join("files"));
    assert_eq!(*mode, "-rw------- -rw-------");
    // Nothing but what the definition says is in the folder it runs in.
    assert_eq!(*names, "b.txt conf");
    assert!(words.ends_with(&format!("sh {script}")), "{words}");
    eventually(|| (!root.exists()).then_some(())).unwrap();
}

#[test]
fn an_error_of_a_script_names_its_line() {
    let server = TestServer::start(DEFINITIONS, &[]);
    let told = server.client(Era::Legacy).call_error("fails", &json!({}));
    assert!(
        told.contains("script: 3:") || told.contains("line 3"),
        "{told}"
    );
}

#[test]
fn a_script_that_talks_reads_its_arguments_first() {
    let server = TestServer::start(DEFINITIONS, &[]);
    let client = server.client(Era::Legacy);
    let said = client.call_text("talks", &json!({"x": 7}));
    assert_eq!(said.trim_end(), "first: {\"x\":7}");
}

#[test]
fn files_hold_values_as_they_are() {
    let server = TestServer::start(DEFINITIONS, &[]);
    let client = server.client(Era::Modern);
    let arguments = json!({"text": "a\"{rows}$(id)\n", "rows": [1, 2]});
    let shown = client.call_text("elsewhere", &arguments);
    assert_eq!(shown, "a\"{rows}$(id)\n|[1,2]|tools.yaml\n");
    let large = "x".repeat(1 << 20);
    let shown = client.call_text("elsewhere", &json!({"text": large}));
    assert_eq!(shown, format!("{large}|[]|tools.yaml\n"));
}

#[test]
fn a_file_without_its_optional_value_is_not_there() {
    let server = TestServer::start(DEFINITIONS, &[]);
    let client = server.client(Era::Modern);
    assert_eq!(client.call_text("maybe", &json!({})).trim_end(), "0 end");
    let shown = client.call_text("maybe", &json!({"notes": "n"}));
    let words: Vec<_> = shown.split_whitespace().collect();
    assert_eq!((words[0], words[1], words[3]), ("1", "--notes", "end"));
    assert!(words[2].ends_with("/files/notes.txt"), "{shown}");
}

#[test]
fn scripts_stand_behind_prompts_resources_and_completions() {
    let server = TestServer::start(DEFINITIONS, &[]);
    for era in ERAS {
        let client = server.client(era);
        let ask =
            |method: &str, params: Value| client.request(method, &params).json()["result"].clone();
        let prompt = ask(
            "prompts/get",
            json!({"name": "scripted", "arguments": {"file": "a b"}}),
        );
        assert_eq!(
            prompt["messages"][0]["content"]["text"], "Review a b.\n",
            "{era:?}"
        );
        let read =
            |uri: &str| ask("resources/read", json!({"uri": uri}))["contents"][0]["text"].clone();
        assert_eq!(read("host://name"), "here\n");
        assert_eq!(read("unit://x%20y"), "x y");
        let reference = json!({"type": "ref/prompt", "name": "scripted"});
        let complete = |name: &str, value: &str| {
            let argument = json!({"name": name, "value": value});
            let params = json!({"ref": reference, "argument": argument});
            ask("completion/complete", params)["completion"]["values"].clone()
        };
        assert_eq!(complete("file", "al"), json!(["alpha"]));
        assert_eq!(complete("focus", "x y"), json!(["x y!"]));
    }
}
