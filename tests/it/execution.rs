//! A call ends: by itself, at its deadline, by its client. It leaves nothing behind, and what it
//! was given and what it printed is exactly as promised.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{
    ALLOWANCE, Client, ERAS, Http, Response, TestServer, eventually, group_members, text,
    wait_for_end_of_group, wait_for_line, write_script,
};

/// A tool that runs until the test lets it go on.
const HOLD: &str = "
tools:
  hold:
    description: Says that it runs, and waits until it may end.
    exec: ./hold.sh -- {name}
    params: {name: string}
    workdir: .
  deaf:
    description: Says that it runs, and does not want to end.
    exec: ./deaf.sh {name}
    params: {name: string}
    workdir: .
    cancel: {grace: 500ms}
  echo:
    description: Says something.
    exec: echo {text}
    params: {text: string}
";

/// A server with the tools of [`HOLD`].
fn start_holding(options: &[&str]) -> TestServer {
    TestServer::start_with(HOLD, options, |prepare| {
        let started = r#"shift $(($# - 1)); echo $$ > "started-$1""#;
        let hold = format!(
            "{started}\nuntil [ -e \"go-$1\" ] || [ ! -e hold.sh ]; do sleep 0.02; done\n\
             echo end > \"end-$1\"\necho \"answer of $1\"",
        );
        write_script(prepare.folder, "hold.sh", &hold);
        let deaf = format!("trap '' TERM INT HUP\n{started}\nsleep 300 & sleep 300");
        write_script(prepare.folder, "deaf.sh", &deaf);
    })
}

/// Waits until a holding tool runs, and returns its process group.
fn wait_for_start(server: &TestServer, name: &str) -> u32 {
    let file = server.folder().join(format!("started-{name}"));
    let group = wait_for_line(&file).parse().unwrap();
    fs::remove_file(file).unwrap();
    group
}

/// Lets a holding tool end.
fn release(server: &TestServer, name: &str) {
    fs::write(server.folder().join(format!("go-{name}")), "").unwrap();
}

/// The text of a result, and whether it is an error.
fn outcome(response: &Response) -> (String, bool) {
    let result = &response.json()["result"];
    let is_error = result["isError"].as_bool();
    let text = text(&result["content"][0]["text"]);
    (text, is_error.unwrap_or_else(|| panic!("{response:?}")))
}

/// The sockets that a process has open.
fn sockets(pid: u32) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    descriptors
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

fn names_in(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_call_is_answered_at_its_deadline_and_its_processes_end_behind_it() {
    const TOOLS: &str = r#"
tools:
  stubborn:
    description: Ignores every request to end, as do its children.
    exec: sh -c 'trap "" TERM INT HUP; echo $$ > group; sleep 300 & sleep 300'
    workdir: .
    timeout: 1s
    # Longer than an answer may take on a busy machine.
    cancel: {grace: 12s}
  willing:
    description: Ends when it is asked to.
    exec: sh -c 'echo $$ > group; sleep 300 & sleep 300'
    workdir: .
    timeout: 1s
  endless_errors:
    description: Prints errors for ever.
    exec: sh -c 'echo $$ > group; yes error >&2'
    workdir: .
    timeout: 1s
"#;
    let deadline = Duration::from_secs(1);
    for era in ERAS {
        let server = TestServer::start(TOOLS, &[]);
        let client = server.client(era);
        for tool in ["stubborn", "willing", "endless_errors"] {
            let case = format!("{era:?} {tool}");
            let started = Instant::now();
            let told = client.call_error(tool, &json!({}));
            let elapsed = started.elapsed();
            assert_eq!(
                told, "the tool was stopped after its time limit of 1s",
                "{case}"
            );
            assert!(elapsed >= deadline, "{case}: {elapsed:?}");
            assert!(elapsed < deadline + ALLOWANCE, "{case}: {elapsed:?}");
            let group = wait_for_line(&server.folder().join("group"));
            wait_for_end_of_group(group.parse().unwrap());
            eventually(|| server.descendants().is_empty().then_some(())).expect(&case);
            fs::remove_file(server.folder().join("group")).unwrap();
        }
    }
}

#[test]
fn every_process_of_a_call_may_use_the_grace() {
    const TOOLS: &str = "
tools:
  polite:
    description: Runs a program that says goodbye, in a shell that does not wait for it.
    exec: ./polite.sh
    workdir: .
    timeout: 1s
";
    let server = TestServer::start_with(TOOLS, &[], |prepare| {
        let polite = "(trap 'sleep 0.3; echo goodbye > goodbye; exit' TERM\n\
            echo $$ > group; while [ -e polite.sh ]; do sleep 0.05; done) &\nwait";
        write_script(prepare.folder, "polite.sh", polite);
    });
    for era in ERAS {
        server.client(era).call_error("polite", &json!({}));
        let goodbye = server.folder().join("goodbye");
        assert_eq!(wait_for_line(&goodbye), "goodbye", "{era:?}");
        fs::remove_file(goodbye).unwrap();
        let group = wait_for_line(&server.folder().join("group"));
        wait_for_end_of_group(group.parse().unwrap());
    }
}

#[test]
fn the_default_deadline_is_the_servers() {
    const TOOLS: &str = "
tools:
  slow:
    description: Takes its time.
    exec: sleep 300
  patient:
    description: Has a timeout of its own.
    exec: sh -c 'sleep 0.5; echo done'
    timeout: 1m
";
    let server = TestServer::start(TOOLS, &["--call-timeout", "250ms"]);
    for era in ERAS {
        let client = server.client(era);
        let told = client.call_error("slow", &json!({}));
        assert!(told.ends_with("its time limit of 250ms"), "{era:?}: {told}");
        assert_eq!(client.call_text("patient", &json!({})), "done\n", "{era:?}");
    }
}

#[test]
fn what_a_program_leaves_behind_is_killed() {
    const NOTE: &str = "[the program left processes behind that kept its output open; the \
        output may be incomplete]";
    const TOOLS: &str = r#"
# Longer than an answer may take on a busy machine.
defaults: {cancel: {grace: 12s}}
tools:
  open:
    description: Leaves a child that holds its output open.
    exec: sh -c 'sleep 300 & echo $$'
  deaf:
    description: Leaves a child that ignores signals.
    exec: sh -c 'trap "" TERM HUP INT; sleep 300 & echo $$'
  stderr:
    description: Leaves a child that holds its error output open.
    exec: sh -c 'sleep 300 >/dev/null & echo $$'
  closed:
    description: Leaves a child that holds nothing open.
    exec: sh -c 'sleep 300 >/dev/null 2>&1 & echo $$'
  failed:
    description: Leaves a child, and fails.
    exec: sh -c 'sleep 300 & echo $$ >&2; exit 1'
"#;
    let server = TestServer::start(TOOLS, &[]);
    let cases = [
        ("open", true, false),
        ("deaf", true, false),
        ("stderr", true, false),
        ("closed", false, false),
        ("failed", false, true),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (tool, is_noted, is_error) in cases {
            let case = format!("{era:?} {tool}");
            let started = Instant::now();
            let response = client.start_call(1, tool, &json!({})).read();
            let elapsed = started.elapsed();
            let (text, failed) = outcome(&response);
            assert_eq!(failed, is_error, "{case}: {text}");
            assert!(elapsed < ALLOWANCE, "{case}: {elapsed:?}");
            assert_eq!(text.contains(NOTE), is_noted, "{case}: {text}");
            let group = text.lines().find_map(|line| line.parse().ok());
            wait_for_end_of_group(group.expect(&case));
        }
    }
}

#[test]
fn output_is_cut_at_its_limit() {
    const TOOLS: &str = r"
defaults: {effect: read}
tools:
  digits:
    description: Prints digits.
    exec: printf %s {text}
    params: {text: string}
    max_output: 10
  endless:
    description: Prints for ever.
    exec: yes
    max_output: 4KiB
  endless_line:
    description: Prints one line for ever.
    exec: cat /dev/zero
    max_output: 4KiB
  deaf:
    description: Prints for ever and does not want to end.
    exec: ./deaf.sh
    workdir: .
    max_output: 4KiB
    cancel: {grace: 300ms}
  default:
    description: Prints for ever.
    exec: yes
  changes_things:
    description: Prints for ever while it changes things.
    effect: write
    exec: yes
    max_output: 4KiB
";
    let server = TestServer::start_with(TOOLS, &[], |prepare| {
        let deaf = "trap '' TERM\necho $$ > group\nyes";
        write_script(prepare.folder, "deaf.sh", deaf);
    });
    for era in ERAS {
        let client = server.client(era);
        let digits = |text| client.call_text("digits", &json!({"text": text}));
        assert_eq!(digits("0123456789"), "0123456789", "{era:?}");
        assert_eq!(
            digits("0123456789x"),
            "0123456789\n[output cut: the tool printed more than 10 bytes, and was stopped]",
            "{era:?}"
        );
        let cases = [
            ("endless", 4096, "y\ny\n"),
            ("endless_line", 4096, "\0\0"),
            ("deaf", 4096, "y\ny\n"),
            ("default", 256 * 1024, "y\ny\n"),
        ];
        for (tool, limit, start) in cases {
            let case = format!("{era:?} {tool}");
            let started = Instant::now();
            let text = client.call_text(tool, &json!({}));
            let elapsed = started.elapsed();
            assert!(elapsed < ALLOWANCE, "{case}: {elapsed:?}");
            let note =
                format!("[output cut: the tool printed more than {limit} bytes, and was stopped]");
            let kept = text.strip_suffix(&note).expect(&case);
            assert!(kept.starts_with(start), "{case}: {kept:.20?}");
            assert_eq!(
                kept.trim_end_matches('\n').len().next_multiple_of(2),
                limit,
                "{case}"
            );
        }
        // What it left undone, nobody knows: that is no success.
        let told = client.call_error("changes_things", &json!({}));
        assert!(
            told.starts_with("y\n") && told.ends_with("and was stopped]"),
            "{era:?}"
        );
        let group = wait_for_line(&server.folder().join("group"));
        wait_for_end_of_group(group.parse().unwrap());
        eventually(|| server.descendants().is_empty().then_some(())).expect("no process is left");
    }
}

#[test]
fn exit_codes_have_their_meaning() {
    const TOOLS: &str = "
defaults:
  exit: {1: ok, 3: Unknown customer.}
tools:
  run:
    description: Ends as it is told.
    exec: ./end.sh -- {out} {err} {end}
    params: {out: string, err: string, end: string}
";
    let server = TestServer::start_with(TOOLS, &[], |prepare| {
        let end = r#"printf %s "$2"; printf %s "$3" >&2; eval "$4""#;
        write_script(prepare.folder, "end.sh", end);
    });
    let cases = [
        ("0", "out", "err", "exit 0", "out", false),
        ("0 without a word", "", "", "exit 0", "", false),
        ("a rule: ok", "out", "err", "exit 1", "out", false),
        (
            "a rule: message",
            "out",
            "err",
            "exit 3",
            "Unknown customer.",
            true,
        ),
        (
            "another",
            "out",
            "line 1\nline 2\n",
            "exit 7",
            "the tool failed with exit status 7:\nline 1\nline 2",
            true,
        ),
        (
            "only standard output",
            "out\n",
            " \n",
            "exit 255",
            "the tool failed with exit status 255:\nout",
            true,
        ),
        (
            "nothing said",
            "",
            "",
            "exit 2",
            "the tool failed with exit status 2 and said nothing",
            true,
        ),
        (
            "killed",
            "out",
            "err",
            "kill -TERM $$",
            "the tool was terminated by signal 15:\nerr",
            true,
        ),
        (
            "aborted",
            "",
            "",
            "ulimit -c 0; kill -ABRT $$",
            "the tool was terminated by signal 6 and said nothing",
            true,
        ),
        (
            // Not exit status 1, which is ok here.
            "hung up",
            "out",
            "",
            "kill -HUP $$",
            "the tool was terminated by signal 1:\nout",
            true,
        ),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (name, out, err, end, expected, is_error) in &cases {
            let arguments = json!({"out": out, "err": err, "end": end});
            let response = client.start_call(1, "run", &arguments).read();
            let expected = ((*expected).to_owned(), *is_error);
            assert_eq!(outcome(&response), expected, "{era:?} {name}");
        }
    }
}

#[test]
fn an_error_holds_the_end_of_a_long_error_output() {
    const TOOLS: &str = r#"
tools:
  lines:
    description: Complains a lot.
    exec: sh -c 'yes "the same complaint" | head -n 60000 >&2; echo the last words >&2; exit 1'
  line:
    description: Complains in one line.
    exec: sh -c 'head -c 1000000 /dev/zero | tr "\0" x >&2; printf end >&2; exit 1'
  fine:
    description: Complains a lot and succeeds.
    exec: sh -c 'yes "the same complaint" | head -n 60000 >&2; echo fine'
  output:
    description: Says it on the wrong output.
    exec: sh -c 'yes "the same complaint" | head -n 10000; echo the last words; exit 1'
"#;
    let server = TestServer::start(TOOLS, &[]);
    for era in ERAS {
        let client = server.client(era);
        for tool in ["lines", "output"] {
            let told = client.call_error(tool, &json!({}));
            let start = "the tool failed with exit status 1:\n…\nthe same complaint\n";
            assert!(told.starts_with(start), "{era:?} {tool}: {told:.200}");
            assert!(told.ends_with("\nthe last words"), "{era:?} {tool}");
            assert!(
                (3000..4200).contains(&told.len()),
                "{era:?} {tool}: {}",
                told.len()
            );
        }
        let told = client.call_error("line", &json!({}));
        assert!(told.ends_with("xxxend"), "{era:?}");
        assert!(
            (3000..4200).contains(&told.len()),
            "{era:?}: {}",
            told.len()
        );
        assert_eq!(client.call_text("fine", &json!({})), "fine\n", "{era:?}");
    }
}

#[test]
fn json_output_is_structured() {
    const TOOLS: &str = r"
tools:
  json:
    description: Prints JSON.
    exec: printf %s {text}
    params: {text: string}
    output: json
    max_output: 100
";
    let server = TestServer::start(TOOLS, &[]);
    let good = [
        ("object", r#" {"a": [1, 9007199254740993], "b": null}"#),
        ("array", "[1, 2]\n"),
        ("string", r#""text""#),
        ("null", "null"),
    ];
    let bad = [
        ("empty", String::new(), "no valid JSON"),
        ("cut", r#"{"a": "#.to_owned(), "no valid JSON"),
        ("two", "{} {}".to_owned(), "no valid JSON"),
        ("text", "no json at all".to_owned(), "no json at all"),
        (
            "overflow",
            format!("[{}1]", "1, ".repeat(100)),
            "the tool printed more than 100 bytes of JSON, and was stopped; ask for less",
        ),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (name, printed) in good {
            let result = client.call("json", &json!({"text": printed}));
            let value: Value = serde_json::from_str(printed).unwrap();
            assert_eq!(result["isError"], false, "{era:?} {name}: {result}");
            assert_eq!(
                result["content"][0]["text"],
                printed.trim(),
                "{era:?} {name}"
            );
            let expected = (era == Era::Modern || value.is_object()).then_some(&value);
            let structured = result.get("structuredContent");
            assert_eq!(structured, expected, "{era:?} {name}");
        }
        for (name, printed, expected) in &bad {
            let result = client.call("json", &json!({"text": printed}));
            assert_eq!(result["isError"], true, "{era:?} {name}: {result}");
            assert_eq!(result.get("structuredContent"), None, "{era:?} {name}");
            let told = text(&result["content"][0]["text"]);
            assert!(told.contains(expected), "{era:?} {name}: {told}");
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_marked() {
    const MARK: &str = "[some bytes were not UTF-8 and are shown as \u{fffd}]";
    const TOOLS: &str = r"
tools:
  bytes:
    description: Prints bytes.
    effect: read
    exec: printf {bytes}
    params: {bytes: string}
    max_output: 8
";
    let server = TestServer::start(TOOLS, &[]);
    let cut = "[output cut: the tool printed more than 8 bytes, and was stopped]";
    let cases = [
        ("text", r"\303\244", "ä".to_owned()),
        ("NUL", r"a\0b", "a\0b".to_owned()),
        ("invalid", r"a\377b", format!("a\u{fffd}b\n{MARK}")),
        ("invalid line", r"\377\n", format!("\u{fffd}\n{MARK}")),
        ("half a character", r"\303", format!("\u{fffd}\n{MARK}")),
        (
            "surrogate",
            r"\355\240\200",
            format!("\u{fffd}\u{fffd}\u{fffd}\n{MARK}"),
        ),
        (
            "cut within a character",
            r"1234567ä",
            format!("1234567\n{cut}"),
        ),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (name, bytes, expected) in &cases {
            let text = client.call_text("bytes", &json!({"bytes": bytes}));
            assert_eq!(&text, expected, "{era:?} {name}");
        }
    }
}

/// One event of a stream.
#[derive(Debug, PartialEq)]
struct Event {
    name: String,
    data: String,
}

/// Reads an event stream as the specification says, and takes nothing that we do not send.
fn events(stream: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let (mut name, mut data) = (None, Vec::new());
    let unified = stream.replace("\r\n", "\n").replace('\r', "\n");
    let unfinished = unified.rsplit_once('\n').map_or("", |(_, rest)| rest);
    assert_eq!(unfinished, "", "the stream ends with a line");
    for line in unified.lines() {
        match line.split_once(": ") {
            None if line == ":" => {}
            None if line.is_empty() => {
                if let Some(name) = name.take() {
                    let data = std::mem::take(&mut data).join("\n");
                    events.push(Event { name, data });
                }
            }
            // A beginning that the client can come back to carries nothing.
            Some(("id", _) | ("data", "")) if name.is_none() => {}
            Some(("event", value)) if name.is_none() => name = Some(value.to_owned()),
            Some(("data", value)) if name.is_some() => data.push(value),
            _ => panic!("an unexpected line in {stream:?}: {line:?}"),
        }
    }
    assert!(name.is_none() && data.is_empty(), "the last event is whole");
    events
}

#[test]
fn output_cannot_break_the_event_stream() {
    const TOOLS: &str = "
tools:
  print:
    description: Prints, when it may.
    exec: ./print.sh -- {text}
    params: {text: string}
    workdir: .
";
    let server = TestServer::start_with(TOOLS, &["--heartbeat", "100ms"], |prepare| {
        let print = "until [ -e go ] || [ ! -e print.sh ]; do sleep 0.02; done\nprintf %s \"$2\"";
        write_script(prepare.folder, "print.sh", print);
    });
    let look_alike = r#"{"jsonrpc":"2.0","id":5,"result":{"content":[]}}"#;
    let printed = [
        format!("\r\n\r\ndata: {look_alike}\r\n\r\n"),
        format!("\n\nevent: message\ndata: {look_alike}\n\n"),
        format!("\r\revent: message\rdata: {look_alike}\r\r"),
        format!("{look_alike}\n{look_alike}"),
        "\u{2028}data: x\u{2029}\u{85}data: y\u{b}\u{c}".to_owned(),
        ":\n\nretry: 1\n\nid: 7\n\n".to_owned(),
        "0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n".to_owned(),
        "\u{202e}\u{e0041}\u{feff}".to_owned(),
        "\"}]}}\n".to_owned(),
    ];
    for era in ERAS {
        let client = server.client(era);
        for printed in &printed {
            let mut http = client.start_call(5, "print", &json!({"text": printed}));
            let head = http.read_head();
            let content_type = head.header("content-type");
            assert_eq!(
                content_type,
                Some("text/event-stream"),
                "{era:?} {printed:?}"
            );
            let mut stream = http.read_chunk().expect("a heartbeat");
            fs::write(server.folder().join("go"), "").unwrap();
            while let Some(chunk) = http.read_chunk() {
                stream.extend(chunk);
            }
            let events = events(std::str::from_utf8(&stream).unwrap());
            assert_eq!(events.len(), 1, "{era:?} {printed:?}: {events:?}");
            assert_eq!(events[0].name, "message", "{era:?} {printed:?}");
            let message: Value = serde_json::from_str(&events[0].data).unwrap();
            assert_eq!(message["id"], 5, "{era:?} {printed:?}");
            let result = &message["result"];
            assert_eq!(result["isError"], false, "{era:?} {printed:?}");
            let content = json!([{"type": "text", "text": printed}]);
            assert_eq!(result["content"], content, "{era:?} {printed:?}");
            fs::remove_file(server.folder().join("go")).unwrap();
        }
    }
}

/// A tool that prints its environment.
const ENV: &str = r#"
defaults:
  env: {SHARED: of all tools, LANG: C.UTF-8}
  inherit_env: [KEPT]
tools:
  env:
    description: Prints its environment.
    exec: env -0
    env: {OWN: "{text}", SHARED: of this tool, ABSENT: "{absent}"}
    inherit_env: [ALSO_KEPT, NOT_SET]
    params: {text: string, absent: optional string}
"#;

#[test]
fn a_program_gets_no_environment_but_the_promised() {
    let others = [
        ("HOME", "/home/of the server"),
        ("TZ", "Europe/Vienna"),
        ("LANG", "de_AT.UTF-8"),
        ("KEPT", "kept"),
        ("ALSO_KEPT", ""),
        ("OWN", "of the server"),
        ("SECRET", "a-secret"),
        ("AWS_SECRET_ACCESS_KEY", "a-secret"),
        ("MCP_SERVE_LOG_LEVEL", "info"),
        ("MCP_SERVE_CALL_TIMEOUT", "30s"),
        ("LD_LIBRARY_PATH", "/nonexistent"),
        ("LD_BIND_NOW", "1"),
        ("NOTIFY_SOCKET", "/nonexistent"),
        ("WATCHDOG_USEC", "1000000"),
        ("LISTEN_FDS", "1"),
        ("CREDENTIALS_DIRECTORY", "/nonexistent"),
        ("RUST_LOG", "trace"),
        ("RUST_BACKTRACE", "1"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("https_proxy", "http://127.0.0.1:1"),
        ("USER", "somebody"),
        ("PWD", "/"),
        ("LC_ALL", "C"),
    ];
    let mut temporary = PathBuf::new();
    let server = TestServer::start_with(ENV, &[], |prepare| {
        temporary = prepare.folder.join("temporary");
        fs::create_dir(&temporary).unwrap();
        prepare.command.envs(others).env("TMPDIR", &temporary);
    });
    for (era, number) in ERAS.into_iter().zip(1..) {
        let number = format!("MCP_REQUEST_ID={number}");
        let client = server.client(era);
        let session = format!("MCP_SESSION_HASH={}", client.session_hash());
        let printed = client.call_text("env", &json!({"text": "of the caller"}));
        let variables: BTreeSet<_> = printed.split_terminator('\0').collect();
        let temporary = format!("TMPDIR={}", temporary.display());
        let version = match era {
            Era::Legacy => "MCP_PROTOCOL_VERSION=2025-11-25",
            Era::Modern => "MCP_PROTOCOL_VERSION=2026-07-28",
        };
        let expected = BTreeSet::from([
            "PATH=/usr/bin:/bin",
            "HOME=/home/of the server",
            "LANG=C.UTF-8",
            "TZ=Europe/Vienna",
            &temporary,
            "KEPT=kept",
            "ALSO_KEPT=",
            "SHARED=of this tool",
            "OWN=of the caller",
            "MCP_CALLER_ISSUER=",
            "MCP_CALLER_SUBJECT=",
            "MCP_CALLER_TENANT=",
            "MCP_CALLER_SCOPES=",
            &number,
            &session,
            "MCP_TOOL_NAME=env",
            version,
            "MCP_CLIENT_CAPABILITIES={}",
        ]);
        assert_eq!(variables, expected, "{era:?}");
    }
}

#[test]
fn what_is_not_set_is_not_made_up() {
    let server = TestServer::start(ENV, &[]);
    let printed = server
        .client(Era::Modern)
        .call_text("env", &json!({"text": ""}));
    let variables: BTreeSet<_> = printed.split_terminator('\0').collect();
    let expected = [
        "PATH=/usr/bin:/bin",
        "LANG=C.UTF-8",
        "OWN=",
        "SHARED=of this tool",
        "MCP_CALLER_ISSUER=",
        "MCP_CALLER_SUBJECT=",
        "MCP_CALLER_TENANT=",
        "MCP_CALLER_SCOPES=",
        "MCP_REQUEST_ID=1",
        "MCP_SESSION_HASH=",
        "MCP_TOOL_NAME=env",
        "MCP_PROTOCOL_VERSION=2026-07-28",
        "MCP_CLIENT_CAPABILITIES={}",
    ];
    assert_eq!(variables, BTreeSet::from(expected));
}

#[test]
fn a_call_has_a_private_empty_folder_for_as_long_as_it_runs() {
    const TOOLS: &str = "
tools:
  folder:
    description: Describes its folder, and fills it.
    exec: ./folder.sh {end}
    params: {end: string}
    timeout: 1s
    cancel: {grace: 100ms}
";
    let mut temporary = PathBuf::new();
    let server = TestServer::start_with(TOOLS, &[], |prepare| {
        temporary = prepare.folder.join("temporary");
        fs::create_dir(&temporary).unwrap();
        prepare.command.env("TMPDIR", &temporary);
        let body = "pwd\nstat -c '%a %u' .\nls -A | wc -l\n\
            [ \"$1\" = empty ] && exit 0\n\
            mkdir -p a/b && echo x > a/b/c && ln -s \"${0%/*}/precious\" link\n\
            [ \"$1\" = slow ] && exec sleep 300\n[ \"$1\" = bad ] && exit 1\nexit 0";
        write_script(prepare.folder, "folder.sh", body);
        fs::create_dir(prepare.folder.join("precious")).unwrap();
        fs::write(prepare.folder.join("precious/file"), "kept").unwrap();
    });
    let user = rustix::process::geteuid().as_raw();
    for era in ERAS {
        let client = server.client(era);
        let mut seen = BTreeSet::new();
        for end in ["empty", "empty", "full", "bad", "slow"] {
            let case = format!("{era:?} {end}");
            let (text, is_error) =
                outcome(&client.start_call(1, "folder", &json!({"end": end})).read());
            assert_eq!(is_error, ["bad", "slow"].contains(&end), "{case}: {text}");
            if end != "slow" {
                let described = text.trim_start_matches("the tool failed with exit status 1:\n");
                let described: Vec<_> = described.lines().collect();
                let folder = Path::new(described[0]);
                assert_eq!(folder.parent(), Some(temporary.as_path()), "{case}");
                assert_eq!(
                    described[1..],
                    [format!("700 {user}"), "0".to_owned()],
                    "{case}"
                );
                assert!(
                    seen.insert(folder.to_owned()),
                    "{case}: the folder was used before"
                );
            }
            eventually(|| names_in(&temporary).is_empty().then_some(()))
                .unwrap_or_else(|| panic!("{case}: {:?} is left", names_in(&temporary)));
        }
    }
    let precious = fs::read_to_string(server.folder().join("precious/file"));
    assert_eq!(precious.unwrap(), "kept", "links are not followed");
}

#[test]
fn a_working_folder_is_the_one_that_is_named() {
    const TOOLS: &str = "
tools:
  here:
    description: The folder of the definitions.
    exec: pwd -P
    workdir: .
  below:
    description: A folder below it.
    exec: pwd -P
    workdir: sub/folder
  link:
    description: A link to a folder.
    exec: pwd -P
    workdir: link
  root:
    description: An absolute folder.
    exec: pwd -P
    workdir: /
";
    let server = TestServer::start_with(TOOLS, &[], |prepare| {
        fs::create_dir_all(prepare.folder.join("sub/folder")).unwrap();
        symlink("sub/folder", prepare.folder.join("link")).unwrap();
    });
    let folder = server.folder().canonicalize().unwrap();
    let below = folder.join("sub/folder");
    let cases = [
        ("here", folder.as_path()),
        ("below", &below),
        ("link", &below),
        ("root", Path::new("/")),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (tool, expected) in cases {
            let printed = client.call_text(tool, &json!({}));
            assert_eq!(
                printed,
                format!("{}\n", expected.display()),
                "{era:?} {tool}"
            );
        }
    }
    assert!(below.exists(), "a named folder is not removed");
}

const INSIDE: &str = "
tools:
  descriptors:
    description: Lists its open descriptors.
    exec: ls /proc/self/fd
  targets:
    description: Says what its open descriptors are.
    exec: readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3
    exit: {1: ok}
  stat:
    description: Prints its state.
    exec: cat /proc/self/stat
  status:
    description: Prints its status.
    exec: cat /proc/self/status
  signals:
    description: Prints which signals it ignores.
    exec: sed -n 's/^SigIgn://p' /proc/self/status
  limits:
    description: Prints its limits.
    exec: cat /proc/self/limits
  input:
    description: Prints its input.
    exec: cat
";

#[test]
fn a_program_has_three_open_descriptors() {
    let server = TestServer::start(INSIDE, &[]);
    // What the server has open besides: connections, and the pipes of calls.
    let _connections: Vec<_> = (0..5).map(|_| Http::connect(server.address())).collect();
    for era in ERAS {
        let client = server.client(era);
        let descriptors = client.call_text("descriptors", &json!({}));
        let descriptors: BTreeSet<u32> = descriptors.lines().map(|n| n.parse().unwrap()).collect();
        // The fourth is the folder that ls itself has open.
        assert_eq!(descriptors, BTreeSet::from([0, 1, 2, 3]), "{era:?}");
        let targets = client.call_text("targets", &json!({}));
        let targets: Vec<_> = targets.lines().collect();
        assert_eq!(targets.len(), 3, "{era:?}: {targets:?}");
        assert_eq!(targets[0], "/dev/null", "{era:?}");
        assert!(targets[1].starts_with("pipe:["), "{era:?}: {targets:?}");
        assert!(targets[2].starts_with("pipe:["), "{era:?}: {targets:?}");
        assert_ne!(targets[1], targets[2], "{era:?}");
        assert_eq!(client.call_text("input", &json!({})), "", "{era:?}");
    }
}

#[test]
fn a_program_leads_a_group_of_its_own() {
    fn fields(stat: &str) -> Vec<u32> {
        let (before_name, rest) = stat.rsplit_once(')').unwrap();
        let pid = before_name.split(' ').next().unwrap();
        let rest = rest.split_ascii_whitespace().skip(1).take(2);
        [pid]
            .into_iter()
            .chain(rest)
            .map(|field| field.parse().unwrap())
            .collect()
    }
    let server = TestServer::start(INSIDE, &[]);
    let own = fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let [_, _, server_group] = fields(&own)[..] else {
        panic!("{own}");
    };
    for era in ERAS {
        let stat = server.client(era).call_text("stat", &json!({}));
        let [pid, parent, group] = fields(&stat)[..] else {
            panic!("{era:?}: {stat}");
        };
        assert_eq!(parent, server.pid(), "{era:?}");
        assert_eq!(group, pid, "{era:?}");
        assert_ne!(group, server_group, "{era:?}");
    }
}

#[test]
fn a_program_starts_with_signals_as_usual_and_keeps_its_files_private() {
    const SIGPIPE: u64 = 1 << 12;
    let server = TestServer::start(INSIDE, &[]);
    for era in ERAS {
        let status = server.client(era).call_text("status", &json!({}));
        let mask = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
        };
        assert_eq!(mask("SigBlk:"), 0, "{era:?}: nothing is blocked");
        assert_eq!(
            mask("SigIgn:") & SIGPIPE,
            0,
            "{era:?}: a closed pipe ends it"
        );
    }
}

#[test]
fn a_program_that_cannot_start_is_a_failed_call() {
    const TOOLS: &str = "
tools:
  program:
    description: Its program changes.
    exec: ./program.sh
  folder:
    description: Its folder changes.
    exec: pwd
    workdir: sub
  good:
    description: Is not concerned.
    exec: echo good
";
    let server = TestServer::start_with(TOOLS, &[], |prepare| {
        write_script(prepare.folder, "program.sh", "echo first");
        fs::create_dir(prepare.folder.join("sub")).unwrap();
    });
    let file = server.folder().join("program.sh");
    let folder = server.folder().to_owned();
    let chmod = |mode: &str| {
        let status = Command::new("chmod").arg(mode).arg(&file).status();
        assert!(status.unwrap().success());
    };
    for era in ERAS {
        let client = server.client(era);
        assert_eq!(
            client.call_text("program", &json!({})),
            "first\n",
            "{era:?}"
        );
        let fails = |tool: &str, case: &str, cause: &str| {
            let told = client.call_error(tool, &json!({}));
            let expected = format!("the tool could not be started: {cause}");
            assert_eq!(told, expected, "{era:?} {case}");
            assert_eq!(
                client.call_text("good", &json!({})),
                "good\n",
                "{era:?} {case}"
            );
        };
        chmod("0644");
        fails(
            "program",
            "not executable",
            "its program may not be run (EACCES)",
        );
        write_script(&folder, "program.sh", "echo second");
        assert_eq!(
            client.call_text("program", &json!({})),
            "second\n",
            "{era:?}"
        );
        fs::write(&file, "no program\n").unwrap();
        fails(
            "program",
            "no program",
            "its program is not one that this machine can run (ENOEXEC)",
        );
        fs::write(&file, "#!/no/such/interpreter\n").unwrap();
        fails(
            "program",
            "no interpreter",
            "the interpreter of its program is gone (ENOENT)",
        );
        fs::remove_file(&file).unwrap();
        fails("program", "removed", "its program is gone (ENOENT)");
        fs::create_dir(&file).unwrap();
        fails("program", "a folder", "its program may not be run (EACCES)");
        fs::remove_dir(&file).unwrap();
        fs::remove_dir(folder.join("sub")).unwrap();
        fails(
            "folder",
            "working folder removed",
            "its working folder is gone (ENOENT)",
        );
        fs::create_dir(folder.join("sub")).unwrap();
        write_script(&folder, "program.sh", "echo first");
        assert_eq!(
            client.call_text("program", &json!({})),
            "first\n",
            "{era:?}"
        );
    }
    assert!(server.descendants().is_empty(), "no process is left");
}

/// The notification by which a legacy client gives up a request.
fn cancelled(id: &Value) -> Value {
    json!({
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": id, "reason": "not needed any more"}
    })
}

#[test]
fn a_legacy_client_cancels_by_notification() {
    // The answer is plain JSON before the first heartbeat, and an event stream after it.
    for (heartbeat, streams) in [("1m", false), ("100ms", true)] {
        let server = start_holding(&["--heartbeat", heartbeat]);
        let client = server.client(Era::Legacy);
        for tool in ["hold", "deaf"] {
            let case = format!("{tool}, heartbeat {heartbeat}");
            let mut http = client.start_call(7, tool, &json!({"name": "x"}));
            let group = wait_for_start(&server, "x");
            let mut response = None;
            if streams {
                let head = http.read_head();
                assert_eq!(
                    head.header("content-type"),
                    Some("text/event-stream"),
                    "{case}"
                );
                response = Some(head);
            }
            assert_eq!(
                client.post_message(&cancelled(&json!(7))).status,
                202,
                "{case}"
            );
            let response = match response {
                None => http.read(),
                Some(head) => {
                    let mut body = Vec::new();
                    while let Some(chunk) = http.read_chunk() {
                        body.extend(chunk);
                    }
                    Response { body, ..head }
                }
            };
            assert_eq!(response.status, 200, "{case}");
            let message = response.json();
            assert_eq!(message["id"], 7, "{case}: {message}");
            assert_eq!(
                message["error"]["message"], "The call was cancelled",
                "{case}"
            );
            assert_eq!(message.get("result"), None, "{case}");
            wait_for_end_of_group(group);
        }
        assert_eq!(client.call_text("echo", &json!({"text": "x"})), "x\n");
    }
}

#[test]
fn only_its_own_call_is_cancelled() {
    let server = start_holding(&[]);
    let client = server.client(Era::Legacy);
    let other = server.client(Era::Legacy);
    let mut http = client.start_call(7, "hold", &json!({"name": "x"}));
    let group = wait_for_start(&server, "x");
    let strangers = [
        ("another id", &client, json!(8)),
        ("the same digits as a string", &client, json!("7")),
        ("no id", &client, Value::Null),
        ("an impossible id", &client, json!({"id": 7})),
        ("another session", &other, json!(7)),
    ];
    for (name, client, id) in &strangers {
        assert_eq!(client.post_message(&cancelled(id)).status, 202, "{name}");
        assert!(!group_members(group).is_empty(), "{name}");
    }
    release(&server, "x");
    assert_eq!(outcome(&http.read()), ("answer of x\n".to_owned(), false));
    // Too late is nothing.
    assert_eq!(client.post_message(&cancelled(&json!(7))).status, 202);
    assert_eq!(client.call_text("echo", &json!({"text": "x"})), "x\n");
}

/// Session rule A6.
#[test]
fn a_lost_connection_does_not_cancel_a_legacy_call() {
    for heartbeat in ["1m", "100ms"] {
        let server = start_holding(&["--heartbeat", heartbeat]);
        let unconnected = sockets(server.pid());
        let client = server.client(Era::Legacy);
        let mut http = client.start_call(7, "hold", &json!({"name": "x"}));
        let group = wait_for_start(&server, "x");
        if heartbeat == "100ms" {
            http.read_head();
        }
        drop(http);
        // The server has noticed.
        eventually(|| (sockets(server.pid()) == unconnected).then_some(()))
            .expect("the server closes the connection");
        assert!(!group_members(group).is_empty(), "heartbeat {heartbeat}");
        release(&server, "x");
        assert_eq!(wait_for_line(&server.folder().join("end-x")), "end");
        let logged = server.wait_for_log("\"tool\":\"hold\"");
        assert!(logged.contains("\"outcome\":\"ok\""), "{logged}");
    }
}

/// Session rule A7.
#[test]
fn a_lost_connection_cancels_a_modern_call() {
    for heartbeat in ["1m", "100ms"] {
        let server = start_holding(&["--heartbeat", heartbeat]);
        let client = server.client(Era::Modern);
        let mut other = client.start_call(7, "hold", &json!({"name": "other"}));
        wait_for_start(&server, "other");
        for tool in ["hold", "deaf"] {
            let case = format!("{tool}, heartbeat {heartbeat}");
            let mut http = client.start_call(7, tool, &json!({"name": "x"}));
            let group = wait_for_start(&server, "x");
            if heartbeat == "100ms" {
                http.read_head();
            }
            let lost = Instant::now();
            drop(http);
            wait_for_end_of_group(group);
            let elapsed = lost.elapsed();
            assert!(elapsed < ALLOWANCE, "{case}: {elapsed:?}");
        }
        server.wait_for_log("\"outcome\":\"cancelled by a lost connection\"");
        assert!(!server.folder().join("end-x").exists());
        release(&server, "other");
        let answer = outcome(&other.read());
        assert_eq!(answer, ("answer of other\n".to_owned(), false));
    }
}

/// Session rule F1.
#[test]
fn calls_with_the_same_id_each_get_their_own_answer() {
    let server = start_holding(&[]);
    for era in ERAS {
        let client = server.client(era);
        let names = ["a", "b", "c"].map(|name| format!("{name} {era:?}"));
        let mut calls: Vec<_> = (names.iter())
            .map(|name| client.start_call(1, "hold", &json!({"name": name})))
            .collect();
        for name in &names {
            wait_for_start(&server, name);
        }
        for (name, http) in names.iter().zip(&mut calls).rev() {
            release(&server, name);
            let response = http.read();
            assert_eq!(response.json()["id"], 1, "{name}");
            assert_eq!(outcome(&response), (format!("answer of {name}\n"), false));
        }
    }
}

/// Session rule F1.
#[test]
fn cancelling_an_id_that_stands_twice_ends_both_calls() {
    let server = start_holding(&[]);
    let client = server.client(Era::Legacy);
    let mut calls = ["a", "b"].map(|name| client.start_call(1, "hold", &json!({"name": name})));
    let groups = ["a", "b"].map(|name| wait_for_start(&server, name));
    assert_eq!(client.post_message(&cancelled(&json!(1))).status, 202);
    for (http, group) in calls.iter_mut().zip(groups) {
        let message = http.read().json();
        assert_eq!(
            message["error"]["message"], "The call was cancelled",
            "{message}"
        );
        wait_for_end_of_group(group);
    }
}

/// Asserts that a call was refused because there are too many.
fn assert_busy(response: &Response, id: u64, case: &str) {
    assert_eq!(response.status, 503, "{case}: {response:?}");
    let seconds = response.header("retry-after").expect("Retry-After");
    assert!(seconds.parse::<u64>().unwrap() > 0, "{case}: {seconds}");
    let message = response.json();
    assert_eq!(message["jsonrpc"], "2.0", "{case}: {message}");
    assert_eq!(message["id"], id, "{case}: {message}");
    assert_eq!(message["error"]["code"], -32603, "{case}: {message}");
}

#[test]
fn calls_beyond_the_limit_are_told_to_come_back() {
    let server = start_holding(&["--max-calls", "1"]);
    for era in ERAS {
        let case = format!("{era:?}");
        let client = server.client(era);
        let echo = |client: &Client| client.start_call(2, "echo", &json!({"text": "x"})).read();
        let name = format!("x {era:?}");
        let mut first = client.start_call(1, "hold", &json!({"name": name}));
        wait_for_start(&server, &name);
        for _ in 0..3 {
            assert_busy(&echo(&client), 2, &case);
        }
        // What starts no process goes on.
        assert_eq!(
            client.request("tools/list", &json!({})).status,
            200,
            "{case}"
        );
        let mut health = Http::connect(server.address());
        assert_eq!(
            health.request("GET", "/readyz", &[], "").status,
            200,
            "{case}"
        );
        release(&server, &name);
        assert_eq!(
            outcome(&first.read()),
            (format!("answer of {name}\n"), false)
        );
        for _ in 0..3 {
            assert_eq!(outcome(&echo(&client)), ("x\n".to_owned(), false), "{case}");
        }
    }
}

#[test]
fn a_process_that_does_not_end_counts_until_it_is_gone() {
    const TOOLS: &str = r#"
tools:
  deaf:
    description: Does not want to end.
    exec: sh -c 'trap "" TERM; echo $$ > group; sleep 300 & sleep 300'
    workdir: .
    timeout: 2s
    cancel: {grace: 3s}
  echo:
    description: Says something.
    exec: echo x
"#;
    let server = TestServer::start(TOOLS, &["--max-calls", "1"]);
    let client = server.client(Era::Modern);
    client.call_error("deaf", &json!({}));
    let echo = || client.start_call(2, "echo", &json!({})).read();
    assert_busy(&echo(), 2, "while it is being ended");
    let group = wait_for_line(&server.folder().join("group"));
    let answer = eventually(|| Some(echo()).filter(|response| response.status == 200));
    assert_eq!(outcome(&answer.unwrap()), ("x\n".to_owned(), false));
    wait_for_end_of_group(group.parse().unwrap());
}

#[test]
fn a_program_does_not_get_what_the_server_inherited() {
    let server = TestServer::start_with(INSIDE, &[], |prepare| {
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            "trap '' HUP INT QUIT USR2 CHLD; exec 7</etc/passwd; exec \"$0\" \"$@\"",
        ]);
        prepare.start_by(shell);
    });
    for era in ERAS {
        // The fourth is the folder that ls itself has open.
        let descriptors = server.client(era).call_text("descriptors", &json!({}));
        assert_eq!(descriptors, "0\n1\n2\n3\n", "{era:?}");
        let signals = server.client(era).call_text("signals", &json!({}));
        let ignored = u64::from_str_radix(signals.trim(), 16).unwrap();
        // Those of real time are not looked at: glibc ignores two of them in what it starts.
        assert_eq!(ignored & 0x7fff_ffff, 0, "{era:?}: {signals}");
    }
}

#[test]
fn a_private_folder_is_removed_whatever_its_modes_are() {
    const TOOLS: &str = "
tools:
  lock:
    description: Fills its folder, and takes its own rights away.
    exec: sh -c 'mkdir -p a/b && echo x > a/b/c && chmod 0500 a/b && chmod 0000 a'
";
    let mut temporary = PathBuf::new();
    let server = TestServer::start_with(TOOLS, &[], |prepare| {
        temporary = prepare.folder.join("temporary");
        fs::create_dir(&temporary).unwrap();
        prepare.command.env("TMPDIR", &temporary);
    });
    for era in ERAS {
        server.client(era).call_text("lock", &json!({}));
        eventually(|| names_in(&temporary).is_empty().then_some(()))
            .unwrap_or_else(|| panic!("{era:?}: {:?} is left", names_in(&temporary)));
    }
}

#[test]
fn the_log_says_how_each_call_ended() {
    const TOOLS: &str = r"
tools:
  fine:
    description: Ends well.
    exec: echo x
  five:
    description: Fails.
    exec: sh -c 'exit 5'
  killed:
    description: Is killed.
    exec: sh -c 'kill -KILL $$'
  slow:
    description: Takes too long.
    exec: sleep 300
    timeout: 100ms
  loud:
    description: Prints too much.
    exec: yes
    max_output: 100
  no_json:
    description: Prints no JSON.
    exec: echo x
    output: json
  typed:
    description: Takes an argument.
    exec: echo {x}
    params: {x: string}
  known:
    description: Says what its definition says.
    content: x
  asks:
    description: Has to ask its client.
    content: x
    needs: [sampling]
";
    let server = TestServer::start(TOOLS, &[]);
    let client = server.client(Era::Legacy);
    let mut numbers = BTreeSet::new();
    let cases = [
        ("fine", json!({}), "ok"),
        ("five", json!({}), "exit status 5"),
        ("killed", json!({}), "signal 9"),
        ("slow", json!({}), "timeout"),
        ("loud", json!({}), "too much output"),
        ("no_json", json!({}), "invalid JSON"),
        ("typed", json!({"x": 7}), "invalid arguments"),
        ("typed", json!({"x": "-x"}), "invalid arguments"),
        ("known", json!({}), "ok"),
        ("asks", json!({}), "missing client capability"),
    ];
    for (tool, arguments, how) in cases {
        let before = server.log().len();
        client.call(tool, &arguments);
        let line = eventually(|| {
            let log = server.log();
            let call = |line: &&String| line.contains("\"message\":\"call\"");
            log.iter().skip(before).find(call).cloned()
        });
        let line: Value = serde_json::from_str(&line.expect(tool)).unwrap();
        assert_eq!(
            (&line["tool"], &line["outcome"]),
            (&json!(tool), &json!(how)),
            "{line}"
        );
        assert_eq!(line["principal"], "anonymous", "{line}");
        assert!(line["duration_seconds"].is_f64(), "{line}");
        let number = line["call"].as_u64();
        assert!(numbers.insert(number.expect(tool)), "{line}");
    }
}
