//! A value that starts with a dash.

use serde_json::json;

use super::{tool, words};

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn a_value_does_not_become_an_option() {
    const REFUSED: Option<&str> = Some("/x");
    let cases = [
        ("a word", "{x}", "{x: string}", json!("-rf"), REFUSED),
        (
            "a long option",
            "{x}",
            "{x: string}",
            json!("--output=y"),
            REFUSED,
        ),
        ("a single dash", "{x}", "{x: string}", json!("-"), REFUSED),
        (
            "the start of a word",
            "{x}.txt",
            "{x: string}",
            json!("-a"),
            REFUSED,
        ),
        (
            "quotes do not hide it",
            "\"\"{x}",
            "{x: string}",
            json!("-a"),
            REFUSED,
        ),
        (
            "after an empty value",
            "{x}-a",
            "{x: string}",
            json!(""),
            REFUSED,
        ),
        (
            "with a dash between",
            "{x}-{y}",
            "{x: string, y: {type: string, default: '', allow_dash: true}}",
            json!(""),
            REFUSED,
        ),
        (
            "in a group",
            "[{x}]",
            "{x: optional string}",
            json!("-a"),
            REFUSED,
        ),
        (
            "an item",
            "{x...}",
            "{x: string...}",
            json!(["a", "-b"]),
            Some("/x/1"),
        ),
        (
            "the value of an option",
            "--o={x}",
            "{x: string}",
            json!("-a"),
            None,
        ),
        ("not at the start", "a{x}", "{x: string}", json!("-a"), None),
        ("after --", "-- {x}", "{x: string}", json!("-a"), None),
        (
            "items after --",
            "-- {x...}",
            "{x: string...}",
            json!(["-a", "--b"]),
            None,
        ),
        (
            "after a quoted --",
            "'--' {x}",
            "{x: string}",
            json!("-a"),
            None,
        ),
        (
            "after a group with --",
            "[b? --] {x}",
            "{x: string, b: boolean = true}",
            json!("-a"),
            None,
        ),
        (
            "without that group",
            "[b? --] {x}",
            "{x: string, b: boolean = false}",
            json!("-a"),
            REFUSED,
        ),
        (
            "allowed",
            "{x}",
            "{x: {type: string, allow_dash: true}}",
            json!("-a"),
            None,
        ),
        (
            "allowed items",
            "{x...}",
            "{x: {type: array, items: {type: string}, allow_dash: true}}",
            json!(["-a"]),
            None,
        ),
        (
            "a negative number",
            "{x}",
            "{x: integer}",
            json!(-9),
            REFUSED,
        ),
        (
            "one that is meant",
            "{x}",
            "{x: {type: integer, minimum: -10}}",
            json!(-9),
            None,
        ),
        (
            "negative items",
            "{x...}",
            "{x: integer...}",
            json!([1, -9]),
            Some("/x/1"),
        ),
        (
            "items that are meant",
            "{x...}",
            "{x: {type: array, items: {type: integer, minimum: -10}}}",
            json!([-9]),
            None,
        ),
        ("minus zero", "{x}", "{x: number}", json!(-0.0), None),
    ];
    for (name, template, params, value, refused_at) in cases {
        let found = words(&tool(template, params), &json!({"x": value}));
        let expected = refused_at.map(|pointer| {
            format!("{pointer}: must not start with `-`, which the program would read as an option")
        });
        assert_eq!(found.err(), expected, "{name}");
    }
}

#[test]
fn a_value_in_front_does_not_lift_the_guard() {
    let tool = tool(
        "{x} {y}",
        "{x: {type: string, allow_dash: true}, y: string}",
    );
    let found = words(&tool, &json!({"x": "--", "y": "-a"}));
    assert!(found.unwrap_err().starts_with("/y: must not start"));
}
