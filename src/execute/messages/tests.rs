use serde_json::json;

use super::*;

/// Reads a line of a tool without secrets.
fn read(line: &[u8]) -> Line {
    super::read(line, &Redactor::default())
}

fn number(text: &str) -> Number {
    serde_json::from_str(text).unwrap()
}

#[test]
fn what_is_no_message_is_output() {
    let cases: [&[u8]; 14] = [
        b"",
        b"{",
        b"{}",
        b"{\"a\": 1}",
        b"{\"MCP\": \"progress\"}",
        b"{\"a\": {\"mcp\": \"progress\", \"progress\": 1}}",
        b"{\"mcp\": \"progress\", \"progress\": 1",
        b"{\"mcp\": \"progress\", \"progress\": 1}}",
        b"{\"mcp\": \"progress\", \"progress\": 01}",
        b"{\"mcp\": \"progress\", \"progress\": NaN}",
        b"{\"mcp\": \"progress\"} {\"mcp\": \"progress\"}",
        b"{\"mcp\": \"progress\", \"message\": \"\xff\"}",
        b"{'mcp': 'progress'}",
        b"[{\"mcp\": \"progress\"}]",
    ];
    for line in cases {
        assert_eq!(read(line), Line::Output, "{}", line.escape_ascii());
    }
}

#[test]
fn progress_keeps_its_numbers_as_they_are() {
    let cases = [
        (r#"{"mcp":"progress","progress":3}"#, "3", None, None),
        (
            r#" { "progress" : -1, "\u006dcp" : "progress" } "#,
            "-1",
            None,
            None,
        ),
        (
            "{\"mcp\":\"progress\",\"progress\":2.5}\r\n",
            "2.5",
            None,
            None,
        ),
        (
            r#"{"mcp":"progress","progress":18446744073709551615,"total":null,"message":null}"#,
            "18446744073709551615",
            None,
            None,
        ),
        (
            r#"{"mcp":"progress","progress":0,"total":1e3,"message":"a\nb"}"#,
            "0",
            Some("1000.0"),
            Some("a\nb"),
        ),
    ];
    for (line, progress, total, message) in cases {
        let expected = Progress {
            progress: number(progress),
            total: total.map(number),
            message: message.map(str::to_owned),
        };
        assert_eq!(read(line.as_bytes()), Line::Progress(expected), "{line}");
    }
}

#[test]
fn the_text_of_progress_is_bounded() {
    let progress = |text: &str| {
        read(
            json!({"mcp": "progress", "progress": 1, "message": text})
                .to_string()
                .as_bytes(),
        )
    };
    for (text, expected) in [
        ("x".repeat(4096), "x".repeat(4096)),
        ("x".repeat(4097), format!("{}…", "x".repeat(4096))),
        ("€".repeat(4000), format!("{}…", "€".repeat(1365))),
    ] {
        let Line::Progress(progress) = progress(&text) else {
            panic!("no progress");
        };
        assert_eq!(progress.message, Some(expected));
    }
    let too_long = progress(&"x".repeat(MAX_WORDS));
    let reason = format!("it has more than {MAX_WORDS} bytes");
    assert_eq!(too_long, Line::Unusable(reason));
}

#[test]
fn what_cannot_be_used_is_explained() {
    let cases = [
        (r#"{"mcp":"progress"}"#, "missing field `progress`"),
        (
            r#"{"mcp":"progress","progress":"3"}"#,
            "invalid type: string \"3\", expected a JSON number",
        ),
        (
            r#"{"mcp":"progress","progress":null}"#,
            "invalid type: null, expected a JSON number",
        ),
        (
            r#"{"mcp":"progress","progress":1e400}"#,
            "number out of range at line 1 column 34",
        ),
        (
            r#"{"mcp":"progress","progress":1,"total":true}"#,
            "invalid type: boolean `true`, expected a JSON number",
        ),
        (
            r#"{"mcp":"progress","progress":1,"messages":"x"}"#,
            "unknown field `messages`, expected one of `mcp`, `progress`, `total`, `message`",
        ),
        (
            r#"{"mcp":"progress","progress":1,"progress":2}"#,
            "it has the key `progress` twice",
        ),
        (
            r#"{"mcp":"progress","mcp":"result","progress":1}"#,
            "it has the key `mcp` twice",
        ),
        (
            r#"{"mcp":"log","data":1}"#,
            "`level` must be one of debug, info, notice, warning, error, critical, alert and emergency",
        ),
        (r#"{"mcp":"log","level":"info"}"#, "`data` is missing"),
        (
            r#"{"mcp":"log","level":"info","logger":1,"data":1}"#,
            "`logger` must be a text",
        ),
        (
            r#"{"mcp":"log","level":"info","data":1,"x":1}"#,
            "it has the unknown key `x`; known are `level`, `logger` and `data`",
        ),
        (
            r#"{"mcp":"list_changed","what":"roots"}"#,
            "`what` must be `tools`, `prompts` or `resources`",
        ),
        (
            r#"{"mcp":"close_stream","now":true}"#,
            "it has the unknown key `now`; known are none besides `mcp`",
        ),
        (r#"{"mcp":"shout"}"#, "this server knows no message `shout`"),
        (
            r#"{"mcp":"Progress"}"#,
            "this server knows no message `Progress`",
        ),
        (r#"{"mcp":""}"#, "this server knows no message ``"),
        (r#"{"mcp":null}"#, "`mcp` must be the name of a message"),
        (
            r#"{"mcp":{"progress":1}}"#,
            "`mcp` must be the name of a message",
        ),
    ];
    for (line, reason) in cases {
        assert_eq!(
            read(line.as_bytes()),
            Line::Unusable(reason.to_owned()),
            "{line}"
        );
    }
    let long = format!(r#"{{"mcp":"{}"}}"#, "€".repeat(1000));
    let Line::Unusable(reason) = read(long.as_bytes()) else {
        panic!("usable");
    };
    assert!(reason.len() < 400, "{reason}");
}

#[test]
fn what_wants_no_answer_is_said() {
    let log = |level, logger: Option<&str>, data| {
        Said::Log(LogMessage {
            level,
            logger: logger.map(str::to_owned),
            data,
        })
    };
    let cases = [
        (
            r#"{"mcp":"log","level":"info","logger":"backup","data":"connected"}"#,
            log(Level::Info, Some("backup"), json!("connected")),
        ),
        (
            r#"{"data":{"b":1,"a":[null]},"level":"emergency","mcp":"log"}"#,
            log(Level::Emergency, None, json!({"b": 1, "a": [null]})),
        ),
        (
            r#"{"mcp":"log","level":"debug","logger":null,"data":null}"#,
            log(Level::Debug, None, Value::Null),
        ),
        (
            r#"{"mcp":"list_changed","what":"tools"}"#,
            Said::ListChanged(List::Tools),
        ),
        (
            r#"{"mcp":"list_changed","what":"prompts"}"#,
            Said::ListChanged(List::Prompts),
        ),
        (
            r#"{"mcp":"list_changed","what":"resources"}"#,
            Said::ListChanged(List::Resources),
        ),
        (r#"{"mcp":"close_stream"}"#, Said::CloseStream),
    ];
    for (line, expected) in cases {
        assert_eq!(read(line.as_bytes()), Line::Said(expected), "{line}");
    }
    let endless = json!({"mcp": "log", "level": "info", "data": "x".repeat(MAX_WORDS)});
    let reason = format!("it has more than {MAX_WORDS} bytes");
    assert_eq!(read(endless.to_string().as_bytes()), Line::Unusable(reason));
}

#[test]
fn a_question_that_cannot_be_read_is_one_all_the_same() {
    for (line, answer) in [
        (
            r#"{"mcp":"ask","id":"a","id":"b"}"#,
            "it has the key `id` twice",
        ),
        (r#"{"mcp":"ask"}"#, "`id` is missing: it names the question"),
    ] {
        let Line::Ask(Err(unusable)) = read(line.as_bytes()) else {
            panic!("{line}");
        };
        assert_eq!(unusable.reason, answer);
    }
}

#[test]
fn a_result_is_read_as_it_will_be_sent() {
    let text = json!({"type": "text", "text": "hello"});
    let cases = [
        (
            json!({"mcp": "result", "content": [text]}),
            json!({"content": [text], "isError": false}),
        ),
        (
            json!({"mcp": "result", "content": [], "isError": true}),
            json!({"content": [], "isError": true}),
        ),
        (
            json!({"mcp": "result", "content": [text], "structuredContent": {"b": 1, "a": 2}}),
            json!({"content": [text], "structuredContent": {"b": 1, "a": 2}, "isError": false}),
        ),
        (
            json!({"mcp": "result", "content": [text], "structuredContent": null}),
            json!({"content": [text], "structuredContent": null, "isError": false}),
        ),
        (
            json!({"mcp": "result", "structuredContent": [1, "x"]}),
            json!({
                "content": [{"type": "text", "text": "[1,\"x\"]"}],
                "structuredContent": [1, "x"], "isError": false
            }),
        ),
    ];
    for (line, expected) in cases {
        let Line::Result(Ok(result)) = read(line.to_string().as_bytes()) else {
            panic!("{line}");
        };
        assert_eq!(serde_json::to_value(result).unwrap(), expected, "{line}");
    }
}

#[test]
fn a_result_that_is_not_valid_is_explained() {
    let cases = [
        (
            r#"{"mcp":"result"}"#,
            "it has neither `content` nor `structuredContent`",
        ),
        (
            r#"{"mcp":"result","content":"x"}"#,
            "`content` must be an array",
        ),
        (
            r#"{"mcp":"result","content":null,"structuredContent":1}"#,
            "`content` must be an array",
        ),
        (
            r#"{"mcp":"result","content":[],"isError":"no"}"#,
            "`isError` must be true or false",
        ),
        (
            r#"{"mcp":"result","content":[],"is_error":true}"#,
            "it has the unknown key `is_error`; known are `content`, `structuredContent` and `isError`",
        ),
        (
            r#"{"mcp":"result","content":[{"type":"text","text":"x"},{"type":"text"}]}"#,
            "content[1]: missing field `text`",
        ),
        (
            r#"{"mcp":"result","content":["x"]}"#,
            "content[0]: it is no object",
        ),
        (
            r#"{"mcp":"result","content":[],"content":[]}"#,
            "it has the key `content` twice",
        ),
        (
            r#"{"mcp":"result","structuredContent":{"a":1,"a":2}}"#,
            "it has the key `a` twice",
        ),
    ];
    for (line, reason) in cases {
        let expected = Line::Result(Err(reason.to_owned()));
        assert_eq!(read(line.as_bytes()), expected, "{line}");
    }
}

#[test]
fn an_error_is_one_of_json_rpc() {
    let cases = [
        (
            json!({"mcp": "error", "message": "a\nb"}),
            json!({"code": -32603, "message": "a\nb"}),
        ),
        (
            json!({"mcp": "error", "code": -32602, "message": "m", "data": {"a": [1]}}),
            json!({"code": -32602, "message": "m", "data": {"a": [1]}}),
        ),
        (
            json!({"mcp": "error", "code": 7, "message": "m"}),
            json!({"code": 7, "message": "m"}),
        ),
    ];
    for (line, expected) in cases {
        let Line::Error(error) = read(line.to_string().as_bytes()) else {
            panic!("{line}");
        };
        assert_eq!(serde_json::to_value(error).unwrap(), expected, "{line}");
    }
    let bad = [
        (r#"{"mcp":"error"}"#, "missing field `message`"),
        (
            r#"{"mcp":"error","message":"m","text":"x"}"#,
            "unknown field `text`, expected one of `mcp`, `code`, `message`, `data`",
        ),
        (
            r#"{"mcp":"error","message":"m","code":-32001}"#,
            "the code -32001 has a meaning of its own; use -32602, -32603, or one outside of \
                 -32768 to -32000",
        ),
        (
            r#"{"mcp":"error","message":"m","code":1.5}"#,
            "invalid type: floating point `1.5`, expected i32",
        ),
    ];
    for (line, reason) in bad {
        let expected = Line::Result(Err(reason.to_owned()));
        assert_eq!(read(line.as_bytes()), expected, "{line}");
    }
}

#[test]
fn a_line_that_is_cut_can_still_look_like_a_message() {
    for start in [&b"{\"mcp\""[..], b" { \"mcp\": \"result", b"\t{\"mcp\":1}"] {
        assert!(looks_like_one(start), "{}", start.escape_ascii());
    }
    for start in [
        &b""[..],
        b"{",
        b"{\"mc",
        b"{\"a\":\"mcp\"",
        b"\"mcp\"",
        b"x{\"mcp\"",
    ] {
        assert!(!looks_like_one(start), "{}", start.escape_ascii());
    }
}
