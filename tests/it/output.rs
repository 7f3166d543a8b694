//! What becomes of the output of a tool: filters, standard error, limits, and text that is safe.

use serde_json::{Value, json};

use crate::support::{ERAS, TestServer, eventually, write_script};

#[test]
fn a_filter_chooses_what_the_model_gets() {
    let tools = r#"
defaults: {workdir: .}
tools:
  pods:
    description: Names and phases.
    exec: ./say.sh -- {text}
    params: {text: string}
    output: {select: "if .items then [.items[] | {name: .metadata.name, phase: .status.phase}] else . end"}
  errors:
    description: Lines with an error in them.
    exec: ./say.sh -- {text}
    params: {text: string}
    output: {type: lines, select: '.[] | select(test("ERROR"))'}
  auto:
    description: A part of what may be JSON.
    exec: ./say.sh -- {text}
    params: {text: string}
    output: {type: auto, select: ".a"}
  checked:
    description: The first item, which must have a name.
    exec: ./say.sh -- {text}
    params: {text: string}
    output:
      select: .[0]
      schema: {type: object, required: [name]}
"#;
    let server = TestServer::start_with(tools, &[], |prepare| {
        write_script(prepare.folder, "say.sh", r#"printf %s "$2""#);
    });
    let pods = r#"{"items":[{"metadata":{"name":"a"},"status":{"phase":"b"}}]}"#;
    let cases = [
        (
            "pods",
            pods,
            Ok((
                r#"[{"name":"a","phase":"b"}]"#,
                json!([{"name": "a", "phase": "b"}]),
            )),
        ),
        (
            "pods",
            "\u{feff}{\"x\":1}\n",
            Ok((r#"{"x":1}"#, json!({"x": 1}))),
        ),
        (
            "pods",
            "no JSON",
            Err("the tool printed no valid JSON (expected ident at line 1 column 2):\nno JSON"),
        ),
        (
            "pods",
            "1",
            Err("the filter for the output of the tool failed: cannot index 1 with \"items\""),
        ),
        (
            "errors",
            "a\nERROR \u{1b}[31mb\u{1b}[0m\r\nERROR c",
            Ok(("ERROR b\nERROR c", json!({"lines": ["ERROR b", "ERROR c"]}))),
        ),
        ("errors", "", Ok(("", json!({"lines": []})))),
        (
            "auto",
            r#"{"a":{"b":1}}"#,
            Ok((r#"{"b":1}"#, json!({"b": 1}))),
        ),
        ("auto", r#"{"a":"text"}"#, Ok(("text", Value::Null))),
        ("auto", "[1]", Ok(("[1]", Value::Null))),
        (
            "checked",
            r#"[{"name":"x"}]"#,
            Ok((r#"{"name":"x"}"#, json!({"name": "x"}))),
        ),
        (
            "checked",
            "[{}]",
            Err("the output of the tool breaks its schema: \"name\" is a required property"),
        ),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (tool, text, expected) in &cases {
            let result = client.call(tool, &json!({"text": text}));
            let said = result["content"][0]["text"].as_str().unwrap();
            match expected {
                Ok((text, structured)) => {
                    assert_eq!(result["isError"], false, "{tool} {text}: {result}");
                    assert_eq!(said, *text, "{tool}");
                    // Up to 2025-11-25 structured content is an object.
                    if structured.is_object() || result.get("structuredContent").is_some() {
                        assert_eq!(&result["structuredContent"], structured, "{tool} {text}");
                    }
                }
                Err(error) => {
                    assert_eq!(result["isError"], true, "{tool} {text}: {result}");
                    if *tool != "checked" {
                        assert_eq!(said, *error, "{tool} {text}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_filter_that_does_not_end_or_takes_too_much_hurts_nobody() {
    let filters = [
        (
            "recursion",
            "def f: 1 + f; f",
            "needs more than 512 MiB of memory, or calls itself without end",
        ),
        (
            "items",
            "[range(1e9) | \"x\" * 10000]",
            "needs more than 512 MiB of memory, or calls itself without end",
        ),
        (
            "text",
            "\"x\" * 1000000000",
            "needs more than 512 MiB of memory, or calls itself without end",
        ),
        (
            "doubled",
            "reduce range(60) as $i (\"x\"; . + .)",
            "needs more than 512 MiB of memory, or calls itself without end",
        ),
        (
            "far",
            ".[1000000000] = 1",
            "failed: index 1000000000 out of bounds",
        ),
        (
            "outputs",
            "repeat(.)",
            "gives more than 262144 bytes; select less, or ask for less",
        ),
        (
            "two",
            "1, 2",
            "gives 2 values where one belongs; in the definition, write `[…]` around it",
        ),
        (
            "none",
            "empty",
            "gives 0 values where one belongs; in the definition, write `[…]` around it",
        ),
        (
            "bytes",
            "tobytes",
            "failed: it gives bytes, which JSON has not",
        ),
    ];
    let tool = |(name, filter, _): &(&str, &str, &str)| {
        let input = if *name == "far" { "[]" } else { r#""a""# };
        let output = json!({"type": "json", "select": filter});
        format!("  {name}: {{description: d, exec: [echo, '{input}'], output: {output}}}\n")
    };
    let tools: String = filters.iter().map(tool).collect();
    let endless = "  endless: {description: d, exec: echo 1, output: {select: 'def f: f; f'}}\n";
    let tools = format!("tools:\n{tools}{endless}");
    let server = TestServer::start(&tools, &["--heartbeat", "100ms"]);
    // The longest runs while the others do.
    let mut endless = server.client(ERAS[0]).start_call(9, "endless", &json!({}));
    for era in ERAS {
        let client = server.client(era);
        for (name, _, expected) in filters {
            let expected = format!("the filter for the output of the tool {expected}");
            assert_eq!(
                client.call_error(name, &json!({})),
                expected,
                "{era:?} {name}"
            );
        }
    }
    let result = endless.read().json();
    assert_eq!(
        result["result"]["content"][0]["text"],
        "the filter for the output of the tool takes longer than 10 seconds"
    );
    // Nothing is left of the filters.
    let gone = eventually(|| server.descendants().is_empty().then_some(()));
    assert!(gone.is_some(), "{:?}", server.descendants());
}

#[test]
fn a_call_that_is_cancelled_takes_its_filter_along() {
    let tools = "tools: {endless: {description: d, exec: echo 1, output: {select: 'def f: f; f'}}}";
    let server = TestServer::start(tools, &[]);
    let http = server.client(ERAS[1]).start_call(9, "endless", &json!({}));
    let is_running = || server.descendants().first().map(|_| ());
    assert!(eventually(is_running).is_some());
    drop(http);
    let gone = eventually(|| server.descendants().is_empty().then_some(()));
    assert!(gone.is_some(), "{:?}", server.descendants());
}

#[test]
fn standard_error_goes_where_the_definition_says() {
    let tools = "
defaults: {workdir: .}
tools:
  on_error: {description: d, exec: [./both.sh, '{code}'], params: {code: integer}}
  always: {description: d, exec: [./both.sh, '{code}'], params: {code: integer}, output: {stderr: always}}
  never: {description: d, exec: [./both.sh, '{code}'], params: {code: integer}, output: {stderr: never}}
  merge: {description: d, exec: [./both.sh, '{code}'], params: {code: integer}, output: {stderr: merge}}
";
    let server = TestServer::start_with(tools, &[], |prepare| {
        let both = "echo one; echo two >&2; echo three; printf '\\033[31mfour' >&2; exit $1";
        write_script(prepare.folder, "both.sh", both);
    });
    let failed = "the tool failed with exit status 7:\n";
    let cases = [
        ("on_error", vec!["one\nthree\n"], "two\nfour"),
        (
            "always",
            vec!["one\nthree\n", "[standard error]\ntwo\nfour"],
            "two\nfour",
        ),
        ("never", vec!["one\nthree\n"], "one\nthree"),
        (
            "merge",
            vec!["one\ntwo\nthree\nfour"],
            "one\ntwo\nthree\nfour",
        ),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (tool, texts, error) in &cases {
            let result = client.call(tool, &json!({"code": 0}));
            let pieces: Vec<_> = texts
                .iter()
                .map(|text| json!({"type": "text", "text": text}))
                .collect();
            assert_eq!(result["content"], json!(pieces), "{era:?} {tool}");
            let text = client.call_error(tool, &json!({"code": 7}));
            assert_eq!(text, format!("{failed}{error}"), "{era:?} {tool}");
        }
    }
}

#[test]
fn output_beyond_the_limit_is_what_the_definition_says() {
    let tools = "
defaults: {workdir: ., max_output: 10}
tools:
  stop: {description: d, effect: read, exec: ./count.sh}
  error: {description: d, effect: read, exec: ./count.sh, output: {on_overflow: error}}
  truncate: {description: d, exec: ./count.sh, output: {on_overflow: truncate}}
  truncate_auto: {description: d, exec: ./count.sh, output: {type: auto, on_overflow: truncate}}
  truncate_text: {description: d, exec: [printf, 'äöüäöüäöü'], output: {on_overflow: truncate}}
  fits: {description: d, exec: [printf, '0123456789'], output: {on_overflow: truncate}}
";
    let server = TestServer::start_with(tools, &[], |prepare| {
        let count =
            "for i in 1 2 3 4 5 6 7 8 9; do echo $i$i$i; done; echo done >&2; touch \"$0.done\"";
        write_script(prepare.folder, "count.sh", count);
    });
    let cut = "111\n2\n[… 26 bytes left out …]\n\n999\n";
    let cases = [
        (
            "stop",
            false,
            "111\n222\n33\n[output cut: the tool printed more than 10 bytes, and was stopped]",
        ),
        (
            "error",
            true,
            "the tool printed more than 10 bytes, and was stopped; ask for less",
        ),
        ("truncate", false, cut),
        ("truncate_auto", false, cut),
        ("truncate_text", false, "äö\n[… 8 bytes left out …]\nöü"),
        ("fits", false, "0123456789"),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (tool, is_error, text) in cases {
            let result = client.call(tool, &json!({}));
            assert_eq!(result["content"][0]["text"], text, "{era:?} {tool}");
            assert_eq!(result["isError"], is_error, "{era:?} {tool}");
        }
    }
    // A program that goes on has come to its end.
    assert!(server.folder().join("count.sh.done").exists());
}

#[test]
fn text_has_no_sequences_for_terminals() {
    let tools = "
defaults: {workdir: .}
tools:
  text: {description: d, exec: [./say.sh, '{text}'], params: {text: string}}
  lines: {description: d, exec: [./say.sh, '{text}'], params: {text: string}, output: lines}
  fails: {description: d, exec: [./fail.sh, '{text}'], params: {text: string}}
  bytes: {description: d, exec: [./say.sh, '{text}'], params: {text: string}, output: text/plain}
prompts:
  say: {description: d, exec: [./say.sh, '{text}'], params: {text: string}}
";
    let server = TestServer::start_with(tools, &[], |prepare| {
        write_script(prepare.folder, "say.sh", r#"printf %b "$1""#);
        write_script(prepare.folder, "fail.sh", r#"printf %b "$1" >&2; exit 1"#);
    });
    let cases = [
        (r"\033[1;31mred\033[0m", "red"),
        (
            r"\033]0;title\007\033]8;;https://a.example\033\\link\033]8;;\033\\",
            "link",
        ),
        (r"a\033[2J\033[Hb\0302\02332Jc", "abc"),
        (r"\0357\0273\0277mark", "mark"),
        (r"kept\ta\rb\0000c", "kept\ta\rb\0c"),
        (r"cut\033[3", "cut"),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (printed, text) in cases {
            let arguments = json!({"text": printed});
            assert_eq!(
                client.call_text("text", &arguments),
                text,
                "{era:?} {printed}"
            );
            let result = client.call("lines", &arguments);
            assert_eq!(
                result["structuredContent"]["lines"],
                json!([text]),
                "{era:?} {printed}"
            );
            let error = format!("the tool failed with exit status 1:\n{text}");
            assert_eq!(
                client.call_error("fails", &arguments),
                error,
                "{era:?} {printed}"
            );
            let prompt = json!({"name": "say", "arguments": arguments});
            let prompt = client.request("prompts/get", &prompt).json();
            assert_eq!(
                prompt["result"]["messages"][0]["content"]["text"], text,
                "{era:?} {printed}"
            );
        }
        // What is of a media type is what the program made.
        let result = client.call("bytes", &json!({"text": r"\033[1mbold"}));
        assert_eq!(
            result["content"][0]["resource"]["text"], "\u{1b}[1mbold",
            "{era:?}"
        );
    }
}
