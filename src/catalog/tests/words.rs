//! What a template makes of the values of a call.

use serde_json::{Value, json};

use super::{parse, tool, words};

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn templates_become_words() {
    let log = "log -n {count} [--author={author}] [oneline? --oneline --color] -- [{paths...}]";
    let log_params = "{count: integer = 20, author: optional string, oneline: boolean = false, \
                      paths: string...}";
    let cases: &[(&str, &str, &str, Value, &[&str])] = &[
        (
            "defaults",
            log,
            log_params,
            json!({}),
            &["log", "-n", "20", "--"],
        ),
        (
            "everything",
            log,
            log_params,
            json!({"count": 1, "author": "A B", "oneline": true, "paths": ["a", "b c"]}),
            &[
                "log",
                "-n",
                "1",
                "--author=A B",
                "--oneline",
                "--color",
                "--",
                "a",
                "b c",
            ],
        ),
        (
            "an empty array is absent",
            "[--files {xs...}] {xs...} end",
            "{xs: string...}",
            json!({"xs": []}),
            &["end"],
        ),
        (
            "a flag that is a value",
            "[x? --with-x] [--x={x}]",
            "{x: optional string}",
            json!({"x": ""}),
            &["--with-x", "--x="],
        ),
        (
            "a flag that is absent",
            "[x? --with-x]",
            "{x: optional string}",
            json!({}),
            &[],
        ),
        (
            "a group goes with any of its parameters",
            "[{a} {b}] end",
            "{a: optional string, b: optional string}",
            json!({"a": "1"}),
            &["end"],
        ),
        (
            "null is absent",
            "[--a={a}] end",
            "{a: {type: [string, 'null']}}",
            json!({"a": null}),
            &["end"],
        ),
        (
            "the empty string stays",
            "{a} end",
            "{a: string}",
            json!({"a": ""}),
            &["", "end"],
        ),
        (
            "empty words",
            "\"\" '' end",
            "{}",
            json!({}),
            &["", "", "end"],
        ),
        (
            "types",
            "{b} {i} {n} {e} {any}",
            "{b: boolean, i: integer, n: number, e: {enum: [1, 2]}, any: {}}",
            json!({"b": true, "i": 1.0, "n": 2.5, "e": 2, "any": {"k": [1, null]}}),
            &["true", "1", "2.5", "2", r#"{"k":[1,null]}"#],
        ),
        (
            "exact integers",
            "{i} {ids...}",
            "{i: integer, ids: integer...}",
            json!({"i": 9_007_199_254_740_993_i64, "ids": [u64::MAX, 2.0]}),
            &["9007199254740993", "18446744073709551615", "2"],
        ),
        (
            "quotes",
            "\"a {x}\" 'b {x}' --c='d e'\"{x}\"f",
            "{x: string}",
            json!({"x": "1 2"}),
            &["a 1 2", "b {x}", "--c=d e1 2f"],
        ),
        (
            "braces",
            "{{json .}} {.items[*]} {{.A | up}}{x} {x y} {} \"{{x}}\" {{{x}}}",
            "{x: string}",
            json!({"x": "v"}),
            &[
                "{{json .}}",
                "{.items[*]}",
                "{{.A | up}}v",
                "{x",
                "y}",
                "{}",
                "{{x}}",
                "{{{x}}}",
            ],
        ),
        (
            "brackets inside a word",
            "a[0] {.items[*]} [--x=a[{x}]] [{.a[{x}]}]",
            "{x: optional string}",
            json!({"x": "1"}),
            &["a[0]", "{.items[*]}", "--x=a[1]", "{.a[1]}"],
        ),
    ];
    for (name, template, params, arguments, expected) in cases {
        let found = words(&tool(template, params), arguments);
        let expected = expected.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(found, Ok(expected), "{name}");
    }
}

#[test]
fn the_list_form_means_the_same() {
    let text = "
tools:
  t:
    description: d
    exec: [/bin/cat, -n, 5, \"{count}\", [\"--author={author}\"], {if: oneline, then: [--oneline, \"a|b\"]}, --, \"{paths...}\"]
    params: {count: integer, author: optional string, oneline: boolean, paths: string...}
";
    let catalog = parse(text).unwrap();
    let arguments = json!({"count": 2, "oneline": true, "paths": ["-x"]});
    let found = words(catalog.tool("t").unwrap(), &arguments);
    let expected = ["-n", "5", "2", "--oneline", "a|b", "--", "-x"].map(str::to_owned);
    assert_eq!(found, Ok(expected.to_vec()));
}

#[test]
fn hostile_values_arrive_byte_by_byte() {
    let values = [
        "; id",
        "$(id)",
        "`id`",
        "| id",
        "&& id",
        "> /etc/passwd",
        "a\nb",
        "a\r\nb\n",
        "\"'\\",
        "* ? [a-z] ~ !",
        "{x} {{x}} {y...}",
        "%s %n",
        "übergroß → 😀\u{202e}",
        " ",
        "",
        "--output=x",
        "-rf",
        "-",
    ];
    let template = "--v={v} \"a {v}\" -- {v} {vs...}";
    let tool = tool(template, "{v: string, vs: string...}");
    for value in values {
        let found = words(&tool, &json!({"v": value, "vs": [value, value]}));
        let expected = [
            format!("--v={value}"),
            format!("a {value}"),
            "--".to_owned(),
            value.to_owned(),
            value.to_owned(),
            value.to_owned(),
        ];
        assert_eq!(found, Ok(expected.to_vec()), "{value:?}");
    }
}

#[test]
fn values_that_no_program_can_be_given() {
    let tool = tool("--v={v} -- {vs...}", "{v: string = a, vs: string...}");
    let limit = 120 * 1024;
    let cases = [
        (
            "NUL",
            json!({"v": "a\u{0}b"}),
            Err("/v: must not contain NUL, which cannot be passed to a program"),
        ),
        (
            "NUL in an item",
            json!({"vs": ["a", "\u{0}"]}),
            Err("/vs/1: must not contain NUL, which cannot be passed to a program"),
        ),
        (
            "the longest word",
            json!({"v": "a".repeat(limit - 4)}),
            Ok(()),
        ),
        (
            "a longer word",
            json!({"v": "a".repeat(limit - 3)}),
            Err("/v: is longer than 120 KiB; pass less"),
        ),
        (
            "a longer item",
            json!({"vs": ["a".repeat(limit + 1)]}),
            Err("/vs/0: is longer than 120 KiB; pass less"),
        ),
        (
            "many words",
            json!({"vs": vec!["a".repeat(1000); 1000]}),
            Ok(()),
        ),
        (
            "too many words",
            json!({"vs": vec!["a".repeat(1100); 1000]}),
            Err("the arguments are larger than 1 MiB in all; pass less"),
        ),
        (
            "a million empty words",
            json!({"vs": vec![""; 1_000_000]}),
            Err("the arguments are larger than 1 MiB in all; pass less"),
        ),
    ];
    for (name, arguments, expected) in cases {
        let found = words(&tool, &arguments).map(|_| ());
        assert_eq!(found, expected.map_err(str::to_owned), "{name}");
    }
}
