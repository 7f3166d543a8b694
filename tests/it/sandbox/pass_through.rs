//! A tool in a sandbox is the tool that it is without one: its words, its streams, its end.

use std::fs;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use super::{start, start_with};
use crate::support::{ERAS, eventually, text, wait_for_end_of_group, wait_for_line, write_script};

/// One tool with a sandbox and one without.
fn twins(tool: &str) -> String {
    format!("tools:\n  plain:\n{tool}  confined:\n{tool}    sandbox: true\n")
}

#[test]
fn words_arrive_byte_for_byte() {
    let tools = twins(
        "    description: d\n    exec: printf '<%s>' {first} -- {words...}\n    \
         params: {first: {type: string, allow_dash: true}, words: string...}\n    max_output: 2MiB\n",
    );
    let Some(server) = start(&tools) else { return };
    let client = server.client(Era::Modern);
    let kib = "x".repeat(100 * 1024);
    let large = vec![kib.as_str(); 9];
    let cases: [(&str, &str, &[&str]); 5] = [
        ("spaces", "a  b", &[" ", "", "\n", "\t'\"\\$(id)`id`;|&"]),
        (
            "words of the step",
            "net=allowed",
            &["--", "read=/", "mark=0"],
        ),
        ("an end", "--", &["-c"]),
        ("other letters", "ä€😀\u{202e}", &["\u{7f}\u{1}"]),
        ("almost 1 MiB", "x", &large),
    ];
    for (case, first, words) in cases {
        let arguments = json!({"first": first, "words": words});
        let plain = client.call("plain", &arguments);
        assert_eq!(client.call("confined", &arguments), plain, "{case}");
        assert_eq!(plain["isError"], false, "{case}");
        let said = text(&plain["content"][0]["text"]);
        assert!(
            said.starts_with(&format!("<{first}><--><{}>", words[0])),
            "{case}"
        );
    }
    let nul = client.call_error("confined", &json!({"first": "a\0b"}));
    assert!(nul.contains("NUL"), "{nul}");
}

/// What the step says when it fails cannot be said by a tool.
#[test]
fn the_end_of_a_program_is_its_own() {
    let tools = twins(
        "    description: d\n    script:\n      run: |\n        eval \"$INPUT_THEN\"\n    \
         params: {then: string}\n",
    );
    let Some(server) = start(&tools) else { return };
    let client = server.client(Era::Modern);
    for then in [
        "exit 0",
        "exit 1",
        "exit 255",
        "echo out; echo error >&2; exit 3",
        "kill -9 $$",
        "kill -TERM $$",
        "kill -SEGV $$",
        "exit 125",
        "echo '0123456789abcdef0123456789abcdef become 2' >&2; exit 125",
        "echo '0123456789abcdef0123456789abcdef confine x' >&2; exit 125",
        "exec /not/there",
    ] {
        let arguments = json!({"then": then});
        let without_path = |result: &Value| {
            let said = result["content"][0]["text"].as_str().unwrap_or_default();
            // The script lies in another folder each time.
            let words = said.split(' ').filter(|word| !word.contains("/mcp-serve-"));
            (
                result["isError"].clone(),
                words.collect::<Vec<_>>().join(" "),
            )
        };
        let plain = client.call("plain", &arguments);
        let confined = client.call("confined", &arguments);
        assert_eq!(without_path(&confined), without_path(&plain), "{then}");
    }
}

#[test]
fn what_a_process_is_born_with() {
    const SAY: &str = r#"
set -- $(cut -d ' ' -f 1,5,6,7,19 /proc/$$/stat)
echo "leader $([ "$1" = "$2" ] && [ "$1" = "$3" ] && echo yes)"
echo "terminal $4"
echo "nice $5"
echo "umask $(umask)"
echo "files $(ulimit -n)"
echo "fsize $(ulimit -f)"
echo "core $(ulimit -c)"
echo "descriptors $(ls /proc/self/fd | tr '\n' ' ')"
grep -E '^(SigBlk|CapInh|CapPrm|CapEff|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status | tr '\t' ' '
echo "pipe $(( 0x$(grep '^SigIgn' /proc/self/status | cut -f 2) >> 12 & 1 ))"
"#;
    let tools = "tools: {born: {description: d, exec: ./born.sh, sandbox: true}}";
    let server = start_with(tools, &[], |prepare| {
        write_script(prepare.folder, "born.sh", SAY);
    });
    let Some(server) = server else { return };
    let nice = rustix::process::getpriority_process(None).unwrap();
    let none = "0000000000000000";
    let expected = [
        "leader yes".to_owned(),
        "terminal 0".to_owned(),
        format!("nice {nice}"),
        "umask 0077".to_owned(),
        "files 256".to_owned(),
        // In blocks of 512 bytes.
        format!("fsize {}", (1 << 30) / 512),
        "core 0".to_owned(),
        // The fourth is the folder that is listed.
        "descriptors 0 1 2 3 ".to_owned(),
        format!("SigBlk: {none}"),
        format!("CapInh: {none}"),
        format!("CapPrm: {none}"),
        format!("CapEff: {none}"),
        format!("CapAmb: {none}"),
        "NoNewPrivs: 1".to_owned(),
        "Seccomp: 2".to_owned(),
        "pipe 0".to_owned(),
    ];
    let said = server.client(Era::Modern).call_text("born", &json!({}));
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn input_messages_and_variables_reach_it() {
    let tools = r#"
tools:
  input:
    description: d
    exec: cat
    stdin: json
    params: {a: string}
    sandbox: true
  variables:
    description: d
    exec: env
    env: {GREETING: "{a} b"}
    params: {a: string}
    sandbox: true
  messages:
    description: d
    script: {run: 'echo "{\"mcp\":\"result\",\"content\":[{\"type\":\"text\",\"text\":\"told\"}]}"; echo rest'}
    messages: true
    sandbox: true
  merged:
    description: d
    exec: sh -c 'echo a; echo b >&2'
    output: {stderr: merge}
    sandbox: true
"#;
    let Some(server) = start(tools) else { return };
    let client = server.client(Era::Modern);
    let a = json!({"a": "x"});
    assert_eq!(client.call_text("input", &a), "{\"a\":\"x\"}\n");
    assert_eq!(client.call_text("messages", &json!({})), "told");
    assert_eq!(client.call_text("merged", &json!({})), "a\nb\n");
    let said = client.call_text("variables", &a);
    for expected in [
        "MCP_TOOL_NAME=variables\n",
        "GREETING=x b\n",
        "PATH=/usr/bin:/bin\n",
        "TMPDIR=/",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!said.contains("mark="), "{said}");
}

#[test]
fn deadline_and_cancel_end_all_of_it() {
    let tools = r#"
tools:
  late:
    description: d
    exec: sh -c 'echo $$ > out/group; sleep 300 & sleep 300'
    workdir: .
    timeout: 1s
    sandbox: {fs: {write: [out]}}
  left:
    description: d
    exec: sh -c 'trap "" TERM; echo $$ > out/group; sleep 300 & sleep 300'
    workdir: .
    cancel: {grace: 200ms}
    sandbox: {fs: {write: [out]}}
"#;
    let server = start_with(tools, &[], |prepare| {
        fs::create_dir_all(prepare.folder.join("out")).unwrap();
    });
    let Some(server) = server else { return };
    let file = server.folder().join("out/group");
    for era in ERAS {
        let client = server.client(era);
        let told = client.call_error("late", &json!({}));
        assert_eq!(told, "the tool was stopped after its time limit of 1s");
        wait_for_end_of_group(wait_for_line(&file).parse().unwrap());
        fs::remove_file(&file).unwrap();
    }
    // A modern client that leaves has cancelled its call.
    let left = server.client(Era::Modern).start_call(1, "left", &json!({}));
    let group = wait_for_line(&file).parse().unwrap();
    drop(left);
    wait_for_end_of_group(group);
    eventually(|| server.descendants().is_empty().then_some(())).expect("nothing is left");
}

/// The step is killed like a tool, also before it has a session and a group.
#[test]
fn calls_that_are_given_up_at_once_leave_nothing() {
    let tools = "tools: {wait: {description: d, exec: sleep 300, sandbox: true}}";
    let Some(server) = start(tools) else { return };
    let client = server.client(Era::Modern);
    for id in 0..20 {
        drop(client.start_call(id, "wait", &json!({})));
    }
    eventually(|| server.descendants().is_empty().then_some(())).expect("nothing is left");
}
