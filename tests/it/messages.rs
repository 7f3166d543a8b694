//! A tool with `messages: true` talks: lines that are messages, and lines that are output.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::metrics::memory;
use crate::support::{
    ALLOWANCE, Client, ERAS, TestServer, eventually, wait_for_end_of_group, wait_for_line,
    write_script,
};

const TOOLS: &str = "
defaults:
  messages: true
  workdir: .
  exit: {3: Unknown customer., 4: ok}
tools:
  say:
    description: Prints a text, then ends as it is told.
    exec: ./say.sh -- {text} {end}
    params: {text: string, end: string = exit 0}
    max_output: 4KiB
  read:
    description: Prints a text, and changes nothing.
    effect: read
    exec: ./say.sh -- {text} {end}
    params: {text: string, end: string = exit 0}
    max_output: 4KiB
  json:
    description: Prints JSON, and may talk before.
    exec: ./say.sh -- {text} {end}
    params: {text: string, end: string = exit 0}
    output: json
  silent:
    description: Prints what would be messages of another tool.
    messages: false
    exec: ./say.sh -- {text} {end}
    params: {text: string, end: string = exit 0}
";

/// A server with the tools of [`TOOLS`].
fn start_saying() -> TestServer {
    TestServer::start_with(TOOLS, &[], |prepare| {
        write_script(prepare.folder, "say.sh", r#"printf %s "$2"; eval "$3""#);
    })
}

/// A line with a result of one text.
fn result(text: &str, is_error: bool) -> String {
    let piece = json!({"type": "text", "text": text});
    let line = json!({"mcp": "result", "content": [piece], "isError": is_error});
    format!("{line}\n")
}

/// The result of a call without what only one era has.
fn call(client: &Client, tool: &str, text: &str, end: &str) -> Value {
    let mut result = client.call(tool, &json!({"text": text, "end": end}));
    result.as_object_mut().unwrap().remove("resultType");
    result.as_object_mut().unwrap().remove("_meta");
    result
}

fn text_result(text: &str, is_error: bool) -> Value {
    json!({"content": [{"type": "text", "text": text}], "isError": is_error})
}

#[test]
fn a_result_message_is_the_result() {
    let server = start_saying();
    let image = json!({"type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png"});
    let all = json!([
        {"type": "text", "text": "a\nb", "annotations": {"audience": ["user"], "priority": 0.5}},
        image,
        {"type": "audio", "data": "UklGRg==", "mimeType": "audio/wav"},
        {"type": "resource_link", "uri": "file:///a/b", "name": "b", "size": 3},
        {"type": "resource", "resource": {"uri": "file:///c", "text": "x", "mimeType": "text/plain"}},
        {"type": "resource", "resource": {"uri": "file:///d", "blob": "AA=="}},
    ]);
    let cases = [
        (
            "text",
            json!([{"type": "text", "text": "hello"}]),
            None,
            false,
        ),
        ("image", json!([image]), None, false),
        ("nothing", json!([]), None, false),
        (
            "an error",
            json!([{"type": "text", "text": "no"}]),
            None,
            true,
        ),
        (
            "structured",
            json!([image]),
            Some(json!({"b": [1, 2.5, null], "a": {}})),
            false,
        ),
        ("everything", all, Some(json!({})), true),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (name, content, structured, is_error) in &cases {
            let mut message = json!({"mcp": "result", "content": content});
            let mut expected = json!({"content": content, "isError": is_error});
            if let Some(structured) = structured {
                message["structuredContent"] = structured.clone();
                expected["structuredContent"] = structured.clone();
            }
            if *is_error {
                message["isError"] = json!(true);
            }
            // With and without a line break, and whatever the tool prints around it.
            for text in [
                format!("{message}"),
                format!("{message}\r\n"),
                format!("before\n  {message}\nafter\n"),
            ] {
                assert_eq!(
                    call(&client, "say", &text, "exit 0"),
                    expected,
                    "{era:?} {name}"
                );
                assert_eq!(
                    call(&client, "json", &text, "exit 4"),
                    expected,
                    "{era:?} {name}"
                );
            }
        }
        // Clients that do not look at structured content get it as text.
        let structured = call(
            &client,
            "say",
            r#"{"mcp":"result","structuredContent":{"a":1}}"#,
            "exit 0",
        );
        let mut expected = text_result(r#"{"a":1}"#, false);
        expected["structuredContent"] = json!({"a": 1});
        assert_eq!(structured, expected, "{era:?}");
    }
}

#[test]
fn what_is_no_message_is_output() {
    let server = start_saying();
    let progress = r#"{"mcp":"progress","progress":1,"total":2,"message":"half"}"#;
    let lines = concat!(
        "{}\n",
        "{\"mcp\":\"progress\"\n",
        "x {\"mcp\":\"progress\",\"progress\":1}\n",
        "[{\"mcp\":\"progress\",\"progress\":1}]\n",
        "{\"a\":{\"mcp\":\"progress\",\"progress\":1}}\n",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n",
        "\n",
        "last {\"mcp\":",
    );
    let cases = [
        ("say", progress.to_owned(), String::new()),
        ("say", format!("a\n{progress}\nb"), "a\nb".to_owned()),
        (
            "say",
            format!("a\n{progress}\r\n\r\nb\r\n"),
            "a\n\r\nb\r\n".to_owned(),
        ),
        ("say", lines.to_owned(), lines.to_owned()),
        (
            "say",
            "{\"mcp\":\"log\",\"data\":1}\nend".to_owned(),
            "end".to_owned(),
        ),
        (
            "silent",
            format!("{progress}\nend"),
            format!("{progress}\nend"),
        ),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (tool, printed, expected) in &cases {
            let found = call(&client, tool, printed, "exit 0");
            assert_eq!(
                found,
                text_result(expected, false),
                "{era:?} {tool} {printed}"
            );
        }
        let found = call(
            &client,
            "json",
            &format!("{progress}\n{{\"a\":1}}\n{progress}"),
            "exit 0",
        );
        let mut expected = text_result("{\"a\":1}", false);
        expected["structuredContent"] = json!({"a": 1});
        assert_eq!(found, expected, "{era:?}");
        // Bytes that are no text are no message either.
        let found = call(&client, "say", "", r#"printf '{"mcp":"\377"}'"#);
        let text = "{\"mcp\":\"\u{fffd}\"}\n[some bytes were not UTF-8 and are shown as \u{fffd}]";
        assert_eq!(found, text_result(text, false), "{era:?}");
    }
    for warning in [
        "`level` must be one of debug, info,",
        "looks like a message but is not valid JSON",
    ] {
        server.wait_for_log(warning);
    }
}

#[test]
fn the_exit_status_decides_whether_a_result_counts() {
    let server = start_saying();
    let good = result("good", false);
    let bad = result("no such database", true);
    let failed = "the tool failed with exit status";
    let cases = [
        (&good, "exit 0", "good".to_owned(), false),
        (&good, "exit 4", "good".to_owned(), false),
        (&good, "exit 3", "Unknown customer.".to_owned(), true),
        (
            &good,
            "exit 1",
            format!("{failed} 1 and said nothing"),
            true,
        ),
        (
            &good,
            "echo why >&2; exit 1",
            format!("{failed} 1:\nwhy"),
            true,
        ),
        (
            &good,
            "echo output; exit 1",
            format!("{failed} 1:\noutput"),
            true,
        ),
        (
            &good,
            "kill -TERM $$",
            "the tool was terminated by signal 15 and said nothing".to_owned(),
            true,
        ),
        (&bad, "exit 0", "no such database".to_owned(), true),
        (
            &bad,
            "echo why >&2; exit 1",
            "no such database".to_owned(),
            true,
        ),
        (&bad, "exit 3", "Unknown customer.".to_owned(), true),
        (&bad, "exit 4", "no such database".to_owned(), true),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (printed, end, text, is_error) in &cases {
            let found = call(&client, "say", printed, end);
            assert_eq!(
                found,
                text_result(text, *is_error),
                "{era:?} {printed} {end}"
            );
        }
    }
}

#[test]
fn a_result_that_cannot_be_sent_is_an_error_that_says_why() {
    let server = start_saying();
    let not_valid = |line: u64, reason: &str| {
        format!("the tool gave a result that is not valid, on line {line} of its output: {reason}")
    };
    let cases = [
        (
            "{\"mcp\":\"result\",\"content\":[{\"type\":\"image\",\"data\":\"AA==\"}]}",
            not_valid(1, "content[0]: missing field `mimeType`"),
        ),
        (
            "one\n{\"mcp\":\"progress\",\"progress\":1}\n{\"mcp\":\"result\",\"contents\":[]}\n",
            not_valid(3, "it has neither `content` nor `structuredContent`"),
        ),
        (
            "{\"mcp\":\"result\",\"content\":[],\"is_error\":true}\n",
            not_valid(
                1,
                "it has the unknown key `is_error`; known are `content`, `structuredContent` and \
                 `isError`",
            ),
        ),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (printed, expected) in &cases {
            let found = call(&client, "say", printed, "exit 0");
            assert_eq!(found, text_result(expected, true), "{era:?}");
            // The first result counts, also when a second one would do.
            let both = format!("{}\n{}", printed.trim_end(), result("good", false));
            let found = call(&client, "say", &both, "exit 0");
            assert_eq!(found, text_result(expected, true), "{era:?}");
        }
        let both = result("first", false) + &result("second", false);
        let found = call(&client, "say", &both, "exit 0");
        assert_eq!(found, text_result("first", false), "{era:?}");
    }
    server.wait_for_log("a tool gave a second result, which was dropped");
    server.wait_for_log("\"outcome\":\"invalid result\"");
}

#[test]
fn messages_are_no_output_but_each_has_its_bound() {
    let server = start_saying();
    let output_cut = "[output cut: the tool printed more than 4096 bytes, and was stopped]";
    let too_long = |line: u64| {
        format!(
            "the tool sent a message of more than 4096 bytes, on line {line} of its output, and \
             was stopped; ask for less"
        )
    };
    let progress = |from: u64, to: u64| -> String {
        let line = |n| format!("{{\"mcp\":\"progress\",\"progress\":{n}}}\n");
        (from..to).map(line).collect()
    };
    let fits = result(&"x".repeat(4000), false);
    let long = result(&"x".repeat(5000), false);
    let plain = |bytes: usize| format!("{}\n", "y".repeat(bytes - 1));
    for era in ERAS {
        let client = server.client(era);
        let printed = progress(0, 1000) + &plain(4096) + &progress(1000, 2000);
        let found = call(&client, "say", &printed, "exit 0");
        assert_eq!(found, text_result(&plain(4096), false), "{era:?}");
        let found = call(&client, "say", &(plain(4096) + &fits), "exit 0");
        assert_eq!(found, text_result(&"x".repeat(4000), false), "{era:?}");
        for tool in ["say", "read"] {
            let case = format!("{era:?} {tool}");
            let found = call(&client, tool, &long, "yes");
            assert_eq!(found, text_result(&too_long(1), true), "{case}");
            let found = call(&client, tool, "a\n{\"mcp\": ", "cat /dev/zero");
            assert_eq!(found, text_result(&too_long(2), true), "{case}");
            let found = call(&client, tool, &fits, "yes");
            let text = "the tool printed more than 4096 bytes besides its result, and was stopped";
            assert_eq!(found, text_result(text, true), "{case}");
            // A line without an end that only looks like JSON is output.
            let found = call(&client, tool, "{\"a\": \"", "yes | tr -d '\\n'");
            let text = found["content"][0]["text"].as_str().unwrap();
            assert!(text.starts_with("{\"a\": \"yy"), "{case}");
            assert!(text.ends_with(output_cut), "{case}");
            assert_eq!(found["isError"], tool == "say", "{case}");
        }
    }
    let gone = eventually(|| server.descendants().is_empty().then_some(()));
    gone.expect("no process is left");
}

#[test]
fn a_tool_that_has_spoken_still_ends_at_its_deadline() {
    const TOOLS: &str = "
defaults: {messages: true, workdir: .}
tools:
  slow:
    description: Talks, and does not end.
    exec: sh -c 'echo $$ > group; cat messages; sleep 300'
    timeout: 1s
";
    let server = TestServer::start(TOOLS, &[]);
    let messages = server.folder().join("messages");
    let progress = "{\"mcp\":\"progress\",\"progress\":1}\n";
    for era in ERAS {
        let client = server.client(era);
        for text in [
            progress.to_owned(),
            progress.to_owned() + &result("done", false),
        ] {
            fs::write(&messages, text).unwrap();
            let started = Instant::now();
            let told = client.call_error("slow", &json!({}));
            assert_eq!(
                told, "the tool was stopped after its time limit of 1s",
                "{era:?}"
            );
            assert!(
                started.elapsed() < Duration::from_secs(1) + ALLOWANCE,
                "{era:?}"
            );
            let group = wait_for_line(&server.folder().join("group"));
            wait_for_end_of_group(group.parse().unwrap());
        }
    }
}

#[test]
fn a_million_messages_take_no_memory_and_no_time_of_others() {
    const TOOLS: &str = r#"
defaults: {messages: true, timeout: 2m}
tools:
  flood:
    description: Reports every step of a million.
    exec: seq -f '{"mcp":"progress","progress":%.0f,"message":"step"}' 1000000
  stutter:
    description: Reports the same step again and again.
    exec: sh -c 'yes "{\"mcp\":\"progress\",\"progress\":1}" | head -n 200000; echo end'
  echo:
    description: Says something.
    exec: echo {text}
    params: {text: string}
"#;
    let server = TestServer::start(TOOLS, &[]);
    for era in ERAS {
        let client = server.client(era);
        assert_eq!(client.call_text("echo", &json!({"text": "a"})), "a\n");
        let before = memory(&server, "VmHWM");
        let mut floods = [
            client.start_call(1, "flood", &json!({})),
            client.start_call(2, "stutter", &json!({})),
        ];
        for _ in 0..10 {
            let started = Instant::now();
            assert_eq!(client.call_text("echo", &json!({"text": "a"})), "a\n");
            let elapsed = started.elapsed();
            // Two floods and this call share the processors with other tests; without fairness it
            // would wait for the floods, which take minutes then.
            assert!(elapsed < Duration::from_secs(15), "{era:?}: {elapsed:?}");
        }
        let texts = floods.each_mut().map(|flood| {
            let response = flood.read();
            let result = &response.json()["result"];
            assert_eq!(result["isError"], false, "{era:?} {response:?}");
            result["content"][0]["text"].clone()
        });
        assert_eq!(texts, [json!(""), json!("end\n")], "{era:?}");
        let grown = memory(&server, "VmHWM").saturating_sub(before);
        assert!(grown < 8 * 1024, "{era:?}: {grown} KiB");
    }
}

#[test]
fn the_examples_work_as_written() {
    let text = fs::read_to_string("examples/messages.yaml").unwrap();
    let server = TestServer::start_with(&text, &[], |prepare| {
        let copied = std::process::Command::new("cp")
            .args(["-R", "examples/messages"])
            .arg(prepare.folder)
            .status();
        assert!(copied.unwrap().success());
        fs::write(prepare.folder.join("a file"), "abc").unwrap();
        let bin = prepare.folder.join("bin");
        fs::create_dir(&bin).unwrap();
        write_script(&bin, "qrencode", r#"printf "picture of $4""#);
        let path = format!("{}:/usr/bin:/bin", bin.display());
        prepare.command.env("PATH", path);
    });
    for era in ERAS {
        let client = server.client(era);
        let found = client.call_text("checksums", &json!({"name": "a*"}));
        assert_eq!(
            found, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  ./a file\n",
            "{era:?}"
        );
        assert_eq!(
            client.call_text("checksums", &json!({"name": "none"})),
            "",
            "{era:?}"
        );
        assert!(
            client.call_text("checksums", &json!({})).lines().count() >= 4,
            "{era:?}"
        );

        let result = client.call("qr_code", &json!({"text": "a"}));
        assert_eq!(
            result["content"],
            json!([{"type": "image", "data": "cGljdHVyZSBvZiBh", "mimeType": "image/png"}]),
            "{era:?}"
        );
    }
}
