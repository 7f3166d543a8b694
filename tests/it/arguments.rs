//! A value reaches the program byte for byte as one word, or is refused by the rules of the
//! template. Nothing else can happen to it.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_serve::auth::{Caller, Principal};
use mcp_serve::catalog::{Catalog, Environment};
use serde_json::{Value, json};

use crate::support::{Client, ERAS, Http, TestServer, write_script};

const TOOLS: &str = r#"
defaults: {max_output: 1MiB}
tools:
  after_dashes:
    description: A value after a literal end of options.
    exec: ./argv.sh -- {text}
    params: {text: string}
  positional:
    description: A value that could be read as an option.
    exec: ./argv.sh {text}
    params: {text: string}
  before_dashes:
    description: An end of options behind the value does not help.
    exec: ./argv.sh {text} --
    params: {text: string}
  leading:
    description: A word that begins with a value.
    exec: ./argv.sh {text}.txt
    params: {text: string}
  inside:
    description: A word that begins with a literal.
    exec: ./argv.sh a{text}b
    params: {text: string}
  option:
    description: The value of an option.
    exec: ./argv.sh --opt={text}
    params: {text: string}
  quoted:
    description: A quoted word.
    exec: ./argv.sh "quoted {text} word"
    params: {text: string}
  twice:
    description: The same value in two words.
    exec: ./argv.sh -- {text} {text}
    params: {text: string}
  allowed:
    description: A parameter that may begin with a dash.
    exec: ./argv.sh {text}
    params: {text: {type: string, allow_dash: true}}
  list:
    description: The list form.
    exec: [./argv.sh, "--", "{text}", "[{text}]"]
    params: {text: string}
  array:
    description: An array after a literal end of options.
    exec: ./argv.sh -- {xs...}
    params: {xs: string...}
  array_positional:
    description: An array whose items could be read as options.
    exec: ./argv.sh {xs...}
    params: {xs: string...}
  group:
    description: An option that may be left out.
    exec: ./argv.sh first [--text={text}] last
    params: {text: optional string}
  group_word:
    description: A word that may be left out.
    exec: ./argv.sh first [{text}] last
    params: {text: optional string}
  group_array:
    description: An array that may be left out.
    exec: ./argv.sh first [--xs {xs...}] last
    params: {xs: string...}
  flag:
    description: A flag.
    exec: ./argv.sh [loud? --loud] [text? --has-text] end
    params: {loud: boolean = false, text: {type: string, optional: true}}
  environment:
    description: A variable.
    exec: ./environ.sh
    env: {VALUE: "{text}"}
    params: {text: optional string}
  integer:
    description: An integer that could be read as an option.
    exec: ./argv.sh {n}
    params: {n: integer}
  integer_after_dashes:
    description: Any integer.
    exec: ./argv.sh -- {n}
    params: {n: integer}
  integer_option:
    description: An integer as the value of an option.
    exec: ./argv.sh --n={n}
    params: {n: integer}
  negative:
    description: An integer that is meant to be negative.
    exec: ./argv.sh {n}
    params: {n: {type: integer, minimum: -10}}
  integers:
    description: Integers.
    exec: ./argv.sh -- {ns...}
    params: {ns: {type: array, items: {type: integer}}}
  number:
    description: A number.
    exec: ./argv.sh -- {n}
    params: {n: number}
  boolean:
    description: A boolean.
    exec: ./argv.sh {b}
    params: {b: boolean}
"#;

/// Starts a server whose programs show what the kernel gave them, and count their runs.
fn start() -> TestServer {
    TestServer::start_with(TOOLS, &[], |prepare| {
        let show = |what: &str| {
            format!(r#"printf x >> "${{0%/*}}/runs"; base64 -w0 /proc/$$/{what}; exit 0"#)
        };
        write_script(prepare.folder, "argv.sh", &show("cmdline"));
        write_script(prepare.folder, "environ.sh", &show("environ"));
    })
}

fn runs(server: &TestServer) -> usize {
    fs::read(server.folder().join("runs")).map_or(0, |runs| runs.len())
}

/// Texts that mean something to a shell, to a program, to a terminal or to our template.
fn hostile_values() -> Vec<(&'static str, String)> {
    let values = [
        ("plain", "plain"),
        ("empty", ""),
        ("space", " "),
        ("spaces", "  two  words  "),
        ("command", "; id"),
        ("and", "&& id"),
        ("pipe", "| id"),
        ("substitution", "$(id)"),
        ("backticks", "`id`"),
        ("variable", "$HOME ${IFS} %PATH%"),
        ("redirection", "> out < in"),
        ("long option", "--output=x"),
        ("short option", "-rf"),
        ("dash", "-"),
        ("dashes", "--"),
        ("dash after a space", " -rf"),
        ("dash on a second line", "x\n-rf"),
        ("newline", "a\nb\n"),
        ("carriage return", "a\rb\r\n"),
        ("tab", "\ta\tb"),
        ("other controls", "\u{1}\u{7f}\u{1b}[31m\u{8}"),
        ("quotes", "\"'\\"),
        ("format", "%s%n%d\\0\\x41"),
        ("placeholder", "{text}"),
        ("spread", "{xs...}"),
        ("double braces", "{{text}}"),
        ("group", "[text? --x]"),
        ("glob", "* ? [a-z] ~"),
        ("comment", "#x"),
        ("assignment", "LD_PRELOAD=x"),
        ("path", "../../etc/passwd"),
        ("umlauts", "äöüß"),
        ("emoji", "👩\u{200d}👩\u{200d}👧 🇦🇹"),
        ("combining marks", "e\u{301} a\u{30a}\u{323}"),
        ("line separators", "a\u{2028}b\u{2029}c\u{85}d"),
        ("right-to-left override", "a\u{202e}txt.exe"),
        ("byte order mark", "\u{feff}x"),
        ("invisible tags", "\u{e0041}\u{e007f}"),
        ("noncharacters", "\u{ffff}\u{10ffff}"),
        ("fullwidth dash", "\u{ff0d}rf"),
    ];
    let mut values: Vec<_> = values
        .map(|(name, value)| (name, value.to_owned()))
        .into_iter()
        .collect();
    values.push(("100 KiB", "x".repeat(100 * 1024)));
    values
}

/// A place for a value in a command.
struct Slot {
    tool: &'static str,
    arguments: fn(&str) -> Value,
    /// The words that a value must become.
    words: fn(&str) -> Vec<String>,
    /// Where an error message sees the value.
    place: &'static str,
    /// Whether a value that begins with a dash is refused.
    is_guarded: bool,
}

const SLOTS: &[Slot] = &[
    slot("after_dashes", |v| words(&["--", v])),
    guarded(slot("positional", |v| words(&[v]))),
    guarded(slot("before_dashes", |v| words(&[v, "--"]))),
    guarded(slot("leading", |v| words(&[&format!("{v}.txt")]))),
    slot("inside", |v| words(&[&format!("a{v}b")])),
    slot("option", |v| words(&[&format!("--opt={v}")])),
    slot("quoted", |v| words(&[&format!("quoted {v} word")])),
    slot("twice", |v| words(&["--", v, v])),
    slot("allowed", |v| words(&[v])),
    slot("list", |v| words(&["--", v, &format!("[{v}]")])),
    slot("group", |v| {
        words(&["first", &format!("--text={v}"), "last"])
    }),
    guarded(slot("group_word", |v| words(&["first", v, "last"]))),
    items(slot("array", |v| words(&["--", v, "", v]))),
    guarded(items(slot("array_positional", |v| words(&[v, "", v])))),
    guarded(items(slot("group_array", |v| {
        words(&["first", "--xs", v, "", v, "last"])
    }))),
];

const fn slot(tool: &'static str, words: fn(&str) -> Vec<String>) -> Slot {
    Slot {
        tool,
        arguments: |value| json!({"text": value}),
        words,
        place: "/text",
        is_guarded: false,
    }
}

/// The value is passed as two of three items.
const fn items(mut slot: Slot) -> Slot {
    slot.arguments = |value| json!({"xs": [value, "", value]});
    slot.place = "/xs/0";
    slot
}

const fn guarded(mut slot: Slot) -> Slot {
    slot.is_guarded = true;
    slot
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// The arguments that the program got.
/// What a program shows, which comes in Base64: text for a model is without what moves a terminal.
fn shown(client: &Client, tool: &str, arguments: &Value) -> String {
    let bytes = STANDARD.decode(client.call_text(tool, arguments)).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn argv(client: &Client, tool: &str, arguments: &Value) -> Vec<String> {
    let text = shown(client, tool, arguments);
    let mut words: Vec<_> = text.split_terminator('\0').map(str::to_owned).collect();
    assert!(words[1].ends_with("/argv.sh"), "{words:?}");
    words.drain(..2);
    words
}

/// What the model is told about one argument.
fn refusal(place: &str, rule: &str) -> String {
    format!("the arguments are not valid; correct them and call again\n- {place}: {rule}")
}

const DASH: &str = "must not start with `-`, which the program would read as an option";
const NUL: &str = "must not contain NUL, which cannot be passed to a program";
const LONG: &str = "is longer than 120 KiB; pass less";

#[test]
fn every_value_is_one_word_or_refused() {
    let server = start();
    for era in ERAS {
        let client = server.client(era);
        for slot in SLOTS {
            for (name, value) in hostile_values() {
                let case = format!("{era:?} {}, {name}", slot.tool);
                let arguments = (slot.arguments)(&value);
                let before = runs(&server);
                if slot.is_guarded && value.starts_with('-') {
                    let told = client.call_error(slot.tool, &arguments);
                    assert!(
                        told.starts_with(&refusal(slot.place, DASH)),
                        "{case}: {told}"
                    );
                    assert_eq!(runs(&server), before, "{case}: it ran");
                } else {
                    let argv = argv(&client, slot.tool, &arguments);
                    assert!(argv == (slot.words)(&value), "{case}: {argv:.300?}");
                    assert_eq!(runs(&server), before + 1, "{case}: runs");
                }
            }
        }
    }
}

#[test]
fn what_a_program_cannot_be_given_is_refused() {
    let server = start();
    let refused = [
        ("NUL", "\0".to_owned(), NUL),
        ("NUL inside", "a\0b".to_owned(), NUL),
        ("121 KiB", "x".repeat(121 * 1024), LONG),
        // 41 KiB characters, but too many bytes.
        ("123 KiB of UTF-8", "€".repeat(41 * 1024), LONG),
    ];
    for era in ERAS {
        let client = server.client(era);
        for slot in SLOTS {
            for (name, value, rule) in &refused {
                let told = client.call_error(slot.tool, &(slot.arguments)(value));
                let expected = refusal(slot.place, rule);
                assert!(
                    told.starts_with(&expected) && told.len() < 400,
                    "{era:?} {}, {name}: {told:.400}",
                    slot.tool
                );
            }
        }
        for (name, value, rule) in &refused {
            let told = client.call_error("environment", &json!({"text": value}));
            assert_eq!(told, refusal("/text", rule), "{era:?} environment, {name}");
        }
        let much = vec!["x".repeat(110 * 1024); 10];
        let told = client.call_error("array", &json!({"xs": much}));
        assert!(told.contains("larger than 1 MiB in all"), "{era:?}: {told}");
        let many = vec!["xxx"; 90_000];
        let told = client.call_error("array", &json!({"xs": many}));
        assert!(told.contains("larger than 1 MiB in all"), "{era:?}: {told}");
    }
    assert_eq!(runs(&server), 0, "nothing ran");
}

#[test]
fn one_bad_item_refuses_the_call_and_is_named() {
    let server = start();
    for era in ERAS {
        let client = server.client(era);
        let cases = [
            ("dash", json!(["a", "", "--output=x"]), "/xs/2", DASH),
            ("NUL", json!(["a", "b\0"]), "/xs/1", NUL),
            ("number", json!(["a", 5]), "/xs/1", "must be a string"),
            ("null", json!([null]), "/xs/0", "must be a string"),
            (
                "array",
                json!([["--output=x"]]),
                "/xs/0",
                "must be a string",
            ),
        ];
        for (name, items, place, rule) in cases {
            let told = client.call_error("array_positional", &json!({"xs": items}));
            assert_eq!(told, refusal(place, rule), "{era:?} {name}");
        }
    }
    assert_eq!(runs(&server), 0, "nothing ran");
}

/// The variables in order, but for those of the server's own that every tool gets.
fn variables(environ: &str) -> Vec<&str> {
    let mut variables: Vec<_> = environ.split_terminator('\0').collect();
    variables.retain(|variable| !variable.starts_with("MCP_"));
    variables.sort_unstable();
    variables
}

#[test]
fn a_variable_holds_the_value_and_no_other_variable_changes() {
    let server = start();
    for era in ERAS {
        let client = server.client(era);
        for (name, value) in hostile_values() {
            let environ = shown(&client, "environment", &json!({"text": value}));
            let variables = variables(&environ);
            let expected = ["PATH=/usr/bin:/bin", &format!("VALUE={value}")];
            assert!(variables == expected, "{era:?} {name}: {variables:.300?}");
        }
        let environ = shown(&client, "environment", &json!({}));
        let expected = ["PATH=/usr/bin:/bin"];
        assert_eq!(variables(&environ), expected, "{era:?}: absent is unset");
    }
}

#[test]
fn what_is_absent_makes_no_word() {
    let server = start();
    let cases = [
        ("array", json!({}), words(&["--"])),
        ("array", json!({"xs": []}), words(&["--"])),
        ("array", json!({"xs": [""]}), words(&["--", ""])),
        ("array", json!({"xs": ["", ""]}), words(&["--", "", ""])),
        (
            "array",
            json!({"xs": ["a b", "c"]}),
            words(&["--", "a b", "c"]),
        ),
        ("group", json!({}), words(&["first", "last"])),
        (
            "group",
            json!({"text": ""}),
            words(&["first", "--text=", "last"]),
        ),
        ("group_word", json!({}), words(&["first", "last"])),
        (
            "group_word",
            json!({"text": ""}),
            words(&["first", "", "last"]),
        ),
        ("group_array", json!({}), words(&["first", "last"])),
        ("group_array", json!({"xs": []}), words(&["first", "last"])),
        ("flag", json!({}), words(&["end"])),
        ("flag", json!({"loud": false}), words(&["end"])),
        ("flag", json!({"loud": true}), words(&["--loud", "end"])),
        ("flag", json!({"text": ""}), words(&["--has-text", "end"])),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (tool, arguments, expected) in &cases {
            let argv = argv(&client, tool, arguments);
            assert_eq!(&argv, expected, "{era:?} {tool} {arguments}");
        }
    }
}

#[test]
fn numbers_and_booleans_are_exact() {
    let server = start();
    let dash = |place| Err(refusal(place, DASH));
    let cases = [
        ("integer", json!({"n": 0}), Ok(words(&["0"]))),
        ("integer", json!({"n": 1.0}), Ok(words(&["1"]))),
        ("integer", json!({"n": -0.0}), Ok(words(&["0"]))),
        (
            "integer",
            json!({"n": 9_007_199_254_740_993_i64}),
            Ok(words(&["9007199254740993"])),
        ),
        (
            "integer",
            json!({"n": u64::MAX}),
            Ok(words(&["18446744073709551615"])),
        ),
        ("integer", json!({"n": -5}), dash("/n")),
        ("integer", json!({"n": -5.0}), dash("/n")),
        ("negative", json!({"n": -5}), Ok(words(&["-5"]))),
        ("negative", json!({"n": -5.0}), Ok(words(&["-5"]))),
        (
            "integer_after_dashes",
            json!({"n": -5}),
            Ok(words(&["--", "-5"])),
        ),
        (
            "integer_after_dashes",
            json!({"n": i64::MIN}),
            Ok(words(&["--", "-9223372036854775808"])),
        ),
        ("integer_option", json!({"n": -5}), Ok(words(&["--n=-5"]))),
        (
            "integers",
            json!({"ns": [9_007_199_254_740_993_i64, 2.0, -5]}),
            Ok(words(&["--", "9007199254740993", "2", "-5"])),
        ),
        ("number", json!({"n": 1.5}), Ok(words(&["--", "1.5"]))),
        ("number", json!({"n": -1.5}), Ok(words(&["--", "-1.5"]))),
        ("number", json!({"n": 3}), Ok(words(&["--", "3"]))),
        (
            "number",
            json!({"n": 9_007_199_254_740_993_i64}),
            Ok(words(&["--", "9007199254740993"])),
        ),
        ("boolean", json!({"b": true}), Ok(words(&["true"]))),
        ("boolean", json!({"b": false}), Ok(words(&["false"]))),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (tool, arguments, expected) in &cases {
            let case = format!("{era:?} {tool} {arguments}");
            match expected {
                Ok(words) => assert_eq!(&argv(&client, tool, arguments), words, "{case}"),
                Err(told) => assert_eq!(&client.call_error(tool, arguments), told, "{case}"),
            }
        }
    }
}

#[test]
fn nothing_is_coerced_or_added() {
    let server = start();
    let cases = [
        ("integer", json!({"n": "5"}), "/n: must be an integer"),
        ("integer", json!({"n": 1.5}), "/n: must be an integer"),
        ("integer", json!({"n": null}), "/n: must be an integer"),
        ("integer", json!({"n": true}), "/n: must be an integer"),
        (
            "integer",
            json!({"n": 1e300}),
            "/n: is an integer too large to be exact",
        ),
        ("integer", json!({}), "/n: is required and missing"),
        ("negative", json!({"n": -11}), "/n: must be at least -10"),
        ("negative", json!({"n": "-5"}), "/n: must be an integer"),
        ("boolean", json!({"b": "true"}), "/b: must be a boolean"),
        ("boolean", json!({"b": 1}), "/b: must be a boolean"),
        ("positional", json!({"text": 5}), "/text: must be a string"),
        (
            "positional",
            json!({"text": ["--x"]}),
            "/text: must be a string",
        ),
        (
            "positional",
            json!({"text": {"a": 1}}),
            "/text: must be a string",
        ),
        ("array", json!({"xs": "a"}), "/xs: must be an array"),
        (
            "positional",
            json!({"text": "x", "txet": "y"}),
            "/txet: is not an argument",
        ),
        (
            "positional",
            json!({"text": "x", "PATH": "y"}),
            "/PATH: is not an argument",
        ),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (tool, arguments, expected) in &cases {
            let told = client.call_error(tool, arguments);
            assert!(
                told.contains(expected),
                "{era:?} {tool} {arguments}: {told}"
            );
        }
    }
    assert_eq!(runs(&server), 0, "nothing ran");
}

#[test]
fn half_a_character_is_no_text() {
    let server = start();
    for era in ERAS {
        let client = server.client(era);
        let params = json!({"name": "positional", "arguments": {"text": "x"}});
        let message = client.message(1, "tools/call", &params);
        let headers = client.headers(&message);
        let headers: Vec<_> = (headers.iter())
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        for surrogate in [r"\ud800", r"\udc00", r"\udc00\ud800"] {
            let body = message
                .to_string()
                .replace(r#""text":"x""#, &format!(r#""text":"{surrogate}""#));
            assert!(body.contains(surrogate));
            let mut http = Http::connect(server.address());
            let response = http.request("POST", "/mcp", &headers, &body);
            assert_eq!(response.status, 400, "{era:?} {surrogate}: {response:?}");
            assert_eq!(response.error_code(), Some(-32700), "{era:?} {surrogate}");
        }
    }
    assert_eq!(runs(&server), 0, "nothing ran");
}

#[test]
fn each_wrapper_has_a_separator_of_its_own() {
    // Templates, and whether a value that looks like an option may fill the place.
    let cases = [
        ("tool {x}", false),
        ("tool -- {x}", true),
        ("sudo -- tool {x}", false),
        ("sudo -- tool -- {x}", true),
        ("sudo -n -- env -- tool {x}", false),
        ("sudo -n -- env -- tool -- {x}", true),
        ("kubectl exec pod -- ls {x}", false),
        ("kubectl exec pod -- ls -- {x}", true),
        ("kubectl get pod -- {x}", true),
        ("docker inspect -- {x}", true),
        ("docker run image -- {x}", false),
        ("uv run -- tool {x}", false),
        ("/usr/bin/sudo -- tool {x}", false),
    ];
    let folder = tempfile::tempdir().unwrap();
    let programs = ["tool", "sudo", "env", "kubectl", "docker", "uv"];
    for program in programs {
        write_script(folder.path(), program, "exit 0");
    }
    let environment: Environment = [("PATH", folder.path())].into_iter().collect();
    let caller = Caller::new(Principal::Anonymous);
    for (template, allowed) in cases {
        let template = template.replace(
            "/usr/bin/sudo",
            &folder.path().join("sudo").display().to_string(),
        );
        let tools = format!(
            "tools:\n  t:\n    description: x\n    exec: {template}\n    params: {{x: string}}\n"
        );
        let loaded = Catalog::parse(&tools, Path::new("tools.yaml"), &environment).unwrap();
        let tool = loaded.catalog.tool("t").unwrap();
        for (value, expected) in [("plain", true), ("--output=x", allowed), ("-rf", allowed)] {
            let arguments = json!({"x": value}).as_object().cloned();
            let work = tool.work(&tool.arguments(arguments, &caller).unwrap(), &caller);
            assert_eq!(work.is_ok(), expected, "{template} with {value}");
        }
    }
}
