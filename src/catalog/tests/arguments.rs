//! What a tool takes, and what it says of the rest.

use serde_json::{Value, json};

use super::{anonymous, command, parse, tool, words};

#[test]
fn arguments_are_checked_and_explained() {
    let params = "
      count: {type: integer, minimum: 1, maximum: 100, default: 20}
      kind: {enum: [pods, nodes], optional: true}
      name: {type: string, pattern: '^[a-z]+$', maxLength: 5}
      tags: {type: array, items: {type: string, minLength: 2}, optional: true, maxItems: 3}
      mail: {type: string, format: email, optional: true}
      either: {anyOf: [{type: integer}, {type: string, minLength: 3}], optional: true}";
    let exec = "/bin/cat {count} {name} [{kind}] {tags...} [{mail}] [{either}]";
    let text =
        format!("tools:\n  t:\n    description: d\n    exec: {exec}\n    params: {params}\n");
    let catalog = parse(&text).unwrap();
    let tool = catalog.tool("t").unwrap();
    let cases: &[(&str, Value, Option<&str>)] = &[
        ("valid", json!({"name": "a"}), None),
        (
            "1.0 is an integer",
            json!({"name": "a", "count": 1.0}),
            None,
        ),
        ("missing", json!({}), Some("/name: is required and missing")),
        (
            "unknown",
            json!({"name": "a", "cuont": 1, "zzz": 2}),
            Some(
                "/cuont: is not an argument of this tool; did you mean `count`?\n\
                 - /zzz: is not an argument of this tool",
            ),
        ),
        (
            "maximum",
            json!({"name": "a", "count": 101}),
            Some("/count: must be at most 100"),
        ),
        (
            "minimum",
            json!({"name": "a", "count": -0}),
            Some("/count: must be at least 1"),
        ),
        (
            "no coercion",
            json!({"name": "a", "count": "5"}),
            Some("/count: must be an integer"),
        ),
        (
            "null",
            json!({"name": null}),
            Some("/name: must be a string"),
        ),
        (
            "enum",
            json!({"name": "a", "kind": "x"}),
            Some("/kind: must be one of \"pods\", \"nodes\""),
        ),
        (
            "several rules",
            json!({"name": "ABCDEFG"}),
            Some(
                "/name: must have at most 5 characters\n\
                 - /name: must match the pattern `^[a-z]+$`",
            ),
        ),
        (
            "an item",
            json!({"name": "a", "tags": ["ab", "c"]}),
            Some("/tags/1: must have at least 2 characters"),
        ),
        (
            "items",
            json!({"name": "a", "tags": ["ab", "ab", "ab", "ab"]}),
            Some("/tags: must have at most 3 items"),
        ),
        (
            "format",
            json!({"name": "a", "mail": "x"}),
            Some("/mail: must be a valid `email`"),
        ),
        (
            "alternatives",
            json!({"name": "a", "either": "x"}),
            Some("/either: must match one of the alternatives of `anyOf`"),
        ),
    ];
    for (name, arguments, expected) in cases {
        let found = words(tool, arguments).err();
        assert_eq!(found.as_deref(), *expected, "{name}");
    }
}

#[test]
fn errors_hold_no_values_and_end() {
    let tool = tool("{a} {b...}", "{a: integer, b: integer...}");
    let secret = "hunter2".repeat(100);
    let items = vec![secret.clone(); 1000];
    let found = command(&tool, &json!({"a": secret, "b": items})).unwrap_err();
    assert!(!found.contains("hunter2"), "{found}");
    assert_eq!(found.lines().count(), 7, "{found}");

    let long = command(&tool, &json!({"a": 1, "x\u{1b}".repeat(1000): 1})).unwrap_err();
    assert!(long.len() < 400 && !long.contains('\u{1b}'), "{long}");
}

#[test]
fn absent_arguments_are_an_empty_object() {
    let tool = tool("{a}", "{a: string = x}");
    let work = tool
        .work(&tool.arguments(None, &anonymous()).unwrap(), &anonymous())
        .unwrap();
    let command = work.command().unwrap();
    assert_eq!(command.arguments, ["x"]);
}

#[test]
fn the_input_schema_is_what_was_written() {
    let params = "{b: {type: string, x-mcp-header: B, optional: true, allow_dash: true, \
                  description: Text}, a: integer = 5, c: string..., d: number}";
    let tool = tool("[{b}] {a} {c...} {d}", params);
    let found = Value::Object(tool.input_schema().clone()).to_string();
    let expected = concat!(
        r#"{"type":"object","properties":{"#,
        r#""b":{"type":"string","x-mcp-header":"B","description":"Text"},"#,
        r#""a":{"type":"integer","default":5},"#,
        r#""c":{"type":"array","items":{"type":"string"}},"#,
        r#""d":{"type":"number"}},"#,
        r#""required":["d"],"additionalProperties":false}"#
    );
    assert_eq!(found, expected);
}
