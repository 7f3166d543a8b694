use super::*;
use crate::protocol::jsonrpc::PARSE_ERROR;

fn outcome(body: &str) -> String {
    match parse(body.as_bytes()) {
        Ok(Body::Message(message)) => told(Ok(message)),
        Ok(Body::Batch(messages)) => {
            let told: Vec<_> = messages.into_iter().map(told).collect();
            format!("[{}]", told.join(", "))
        }
        Err(malformed) => told(Err(malformed)),
    }
}

fn told(message: Result<Message, Malformed>) -> String {
    match message {
        Ok(Message::Request(request)) => format!("request {} {}", request.id, request.method),
        Ok(Message::Notification(notification)) => {
            format!("notification {}", notification.method)
        }
        Ok(Message::Response(response)) => format!("response {}", response.id),
        Err(malformed) => format!(
            "{} {}",
            malformed.id.map_or("-".to_owned(), |id| id.to_string()),
            malformed.error.code
        ),
    }
}

#[test]
fn an_object_is_read_strictly_whatever_its_size() {
    let deepest = |levels: usize| {
        let inside = levels - 1;
        format!(r#"{{"a":{}{}}}"#, "[".repeat(inside), "]".repeat(inside))
    };
    let many: Vec<_> = (0..=MAX_VALUES).map(|n| format!(r#""{n}":{n}"#)).collect();
    let many = format!("{{{}}}", many.join(","));
    for text in ["{}", r#" {"a": {"b": [1]}} "#, &many, &deepest(MAX_DEPTH)] {
        let read = read_object(text).map(Value::Object);
        assert_eq!(read, Ok(serde_json::from_str(text).unwrap()));
    }
    let too_deep = format!("it nests deeper than {MAX_DEPTH} levels");
    let cases = [
        (deepest(MAX_DEPTH + 1), too_deep.as_str()),
        (r#"{"a":1,"a":2}"#.to_owned(), "it has the key `a` twice"),
        (
            r#"{"b":{"a":1,"\u0061":2}}"#.to_owned(),
            "it has the key `a` twice",
        ),
        ("[1]".to_owned(), "it is no object"),
        ("{} {}".to_owned(), "trailing characters at line 1 column 4"),
        ("{\"a\":}".to_owned(), "expected value at line 1 column 6"),
    ];
    for (text, expected) in cases {
        assert_eq!(read_object(&text).unwrap_err(), expected, "{text}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn messages_are_told_apart() {
    let long_id = format!(
        r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#,
        "x".repeat(256)
    );
    let longer_id = format!(
        r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#,
        "x".repeat(257)
    );
    let long_outcome = format!(r#"request "{}" ping"#, "x".repeat(256));
    let cases = [
        (
            "request",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            "request 1 ping",
        ),
        (
            "id is echoed as written",
            r#"{"jsonrpc":"2.0","id":"\u0041","method":"ping"}"#,
            r#"request "\u0041" ping"#,
        ),
        (
            "largest id",
            r#"{"jsonrpc":"2.0","id":9223372036854775807,"method":"ping"}"#,
            "request 9223372036854775807 ping",
        ),
        (
            "smallest id",
            r#"{"jsonrpc":"2.0","id":-9223372036854775808,"method":"ping"}"#,
            "request -9223372036854775808 ping",
        ),
        (
            "empty string id",
            r#"{"jsonrpc":"2.0","id":"","method":"ping"}"#,
            r#"request "" ping"#,
        ),
        ("longest id", &long_id, &long_outcome),
        ("longer id", &longer_id, "- -32600"),
        (
            "2^63",
            r#"{"jsonrpc":"2.0","id":9223372036854775808,"method":"ping"}"#,
            "- -32600",
        ),
        (
            "id of half a character",
            r#"{"jsonrpc":"2.0","id":"\ud800","method":"ping"}"#,
            "- -32600",
        ),
        (
            "null id",
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            "- -32600",
        ),
        (
            "true id",
            r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#,
            "- -32600",
        ),
        (
            "fractional id",
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            "- -32600",
        ),
        (
            "exponent id",
            r#"{"jsonrpc":"2.0","id":1e2,"method":"ping"}"#,
            "- -32600",
        ),
        (
            "object id",
            r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
            "- -32600",
        ),
        (
            "notification",
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            "notification notifications/initialized",
        ),
        (
            "notification with id",
            r#"{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}"#,
            "1 -32600",
        ),
        (
            "null params",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#,
            "request 1 ping",
        ),
        (
            "array params",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
            "1 -32602",
        ),
        (
            "string params",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}"#,
            "1 -32602",
        ),
        (
            "response",
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            "response 1",
        ),
        (
            "error response",
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}"#,
            "response 1",
        ),
        (
            "response without id",
            r#"{"jsonrpc":"2.0","result":{}}"#,
            "- -32600",
        ),
        ("no version", r#"{"id":1,"method":"ping"}"#, "1 -32600"),
        (
            "old version",
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            "1 -32600",
        ),
        ("no method", r#"{"jsonrpc":"2.0","id":1}"#, "1 -32600"),
        (
            "method is a number",
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            "1 -32600",
        ),
        (
            "unknown member",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}"#,
            "request 1 ping",
        ),
        (
            "case-folded member",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"x"}"#,
            "1 -32600",
        ),
        (
            "long s",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","paramſ":{}}"#,
            "1 -32600",
        ),
        (
            "duplicate member",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"x"}"#,
            "- -32600",
        ),
        (
            "duplicate deep key",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":[{"b":1,"b":2}]}}"#,
            "- -32600",
        ),
        (
            "duplicate after escape",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1,"\u0061":2}}"#,
            "- -32600",
        ),
        (
            "batch",
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"n"},7,[[]]]"#,
            "[request 1 ping, notification n, - -32600, - -32600]",
        ),
        (
            "nested batch",
            r#"[[{"jsonrpc":"2.0","id":1,"method":"ping"}]]"#,
            "[- -32600]",
        ),
        (
            "duplicate key in a batch",
            r#"[{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}]"#,
            "- -32600",
        ),
        ("empty batch", "[]", "- -32600"),
        ("number", "7", "- -32600"),
        ("null", "null", "- -32600"),
        ("empty", "", "- -32700"),
        ("cut", r#"{"jsonrpc":"2.0""#, "- -32700"),
        (
            "trailing data",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#,
            "- -32700",
        ),
        (
            "two documents",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}{}"#,
            "- -32700",
        ),
        ("byte order mark", "\u{feff}{}", "- -32700"),
        (
            "lone surrogate",
            r#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#,
            "- -32700",
        ),
        (
            "infinite number",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1e999}}"#,
            "- -32700",
        ),
        (
            "NaN",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}"#,
            "- -32700",
        ),
    ];
    for (name, body, expected) in cases {
        assert_eq!(outcome(body), expected, "{name}: {body}");
    }
}

#[test]
fn invalid_utf8_is_a_parse_error() {
    let malformed = parse(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}").unwrap_err();
    assert_eq!(malformed.error.code, PARSE_ERROR);
}

#[test]
fn depth_is_bounded_exactly() {
    // The message and its params are levels 1 and 2.
    let nested = |levels: usize| {
        let arrays = levels - 2;
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{}{}}}}}"#,
            "[".repeat(arrays),
            "]".repeat(arrays)
        )
    };
    assert_eq!(outcome(&nested(MAX_DEPTH)), "request 1 ping");
    assert_eq!(outcome(&nested(MAX_DEPTH + 1)), "- -32700");
    assert_eq!(outcome(&nested(100_000)), "- -32700");
}

#[test]
fn keys_are_bounded_exactly() {
    // jsonrpc, id, method and params count too.
    let with_keys = |keys: usize| {
        let params: Vec<String> = (0..keys - 4).map(|key| format!(r#""{key}":0"#)).collect();
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{{}}}}}"#,
            params.join(",")
        )
    };
    assert_eq!(outcome(&with_keys(MAX_KEYS)), "request 1 ping");
    assert_eq!(outcome(&with_keys(MAX_KEYS + 1)), "- -32600");
}

#[test]
fn batches_are_bounded_exactly() {
    let batch = |messages: usize| format!("[{}]", vec!["7"; messages].join(","));
    assert_eq!(
        outcome(&batch(MAX_BATCH)),
        format!("[{}]", vec!["- -32600"; MAX_BATCH].join(", "))
    );
    assert_eq!(outcome(&batch(MAX_BATCH + 1)), "- -32600");
    assert_eq!(outcome(&batch(50_000)), "- -32600");
}

#[test]
fn values_are_bounded_exactly() {
    // The version, the method, the params, the array in them and its items.
    let with_values = |values: usize| {
        let items = vec!["0"; values - 4].join(",");
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":[{items}]}}}}"#)
    };
    assert_eq!(outcome(&with_values(MAX_VALUES)), "request 1 ping");
    assert_eq!(outcome(&with_values(MAX_VALUES + 1)), "- -32600");
}

#[test]
fn integers_keep_their_digits() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":9007199254740993,"b":18446744073709551615}}"#;
    let Ok(Body::Message(Message::Request(request))) = parse(body.as_bytes()) else {
        panic!("a request");
    };
    assert_eq!(request.params["a"].to_string(), "9007199254740993");
    assert_eq!(request.params["b"].to_string(), "18446744073709551615");
}
