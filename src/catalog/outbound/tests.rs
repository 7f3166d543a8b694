//! Whatever the values of a call are, a request stays what its definition says.

use std::path::Path;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::Request;
use crate::auth::{Caller, Issuer, Principal};
use crate::catalog::{Catalog, Environment, Tool, Work};

/// A tool whose request holds values at all places.
const TOOLS: &str = r#"
apis: {a: {base_url: "https://a.example.com:8443/base/", headers: {X-Who: "<{caller.subject}>"}}}
tools:
  t:
    description: d
    http:
      api: a
      POST: /one/{p}/two-{q}.json
      query: {fixed: "1", x: "{x}", long: "a&{x}=b", many: "{many...}"}
      headers: {X-Value: "v={h}"}
      json: {whole: "{x}", long: "<{x}>", any: "{any}", many: ["{many}", 7], fixed: {n: null}}
    params:
      p: string
      q: string
      x: optional string
      h: optional string
      many: string...
      any: {optional: true}
  form:
    description: d
    http: {api: a, POST: /form, form: {x: "{x}", many: "{many...}"}}
    params: {x: optional string, many: string...}
"#;

fn tool(name: &str) -> Arc<Tool> {
    let environment = Environment::default();
    let loaded = Catalog::parse(TOOLS, Path::new("tools.yaml"), &environment).unwrap();
    Arc::clone(loaded.catalog.tool(name).unwrap())
}

/// The request of a call; the error is what the model is told.
fn request(tool: &Tool, arguments: &Value) -> Result<Request, String> {
    let caller = Caller::new(Principal::user(Issuer::AuthFile, "alice", None));
    let arguments = tool.arguments(arguments.as_object().cloned(), &caller);
    let work = arguments.and_then(|arguments| tool.work(&arguments, &caller));
    match work.map_err(|error| error.to_string())? {
        Work::Send(request) => Ok(request),
        other => panic!("{other:?}"),
    }
}

/// What means something somewhere.
const PIECES: &[&str] = &[
    "",
    "a",
    "é",
    "\u{202e}",
    " ",
    "..",
    ".",
    "/",
    "\\",
    "%",
    "%2e",
    "%2F",
    "%00",
    "?",
    "#",
    "&",
    "=",
    "+",
    ";",
    "@",
    ":",
    "//",
    "http://evil",
    "\r\n",
    "\n",
    "\t",
    "\0",
    "\u{7f}",
    "\"",
    "{x}",
    "{",
    "}",
    "'",
    "<",
    "[",
    "]",
    "$",
    "`",
    "|",
    "-",
    "\u{feff}",
];

/// Texts of such pieces and others, in any order.
fn hostile() -> impl Strategy<Value = String> {
    let known = prop::sample::select(PIECES).prop_map(str::to_owned);
    let piece = prop_oneof![known, ".*"];
    vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

/// Any JSON, of some depth.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        hostile().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let members = vec((hostile(), inner.clone()), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::from),
            members.prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn arguments() -> impl Strategy<Value = Value> {
    let texts = (
        hostile(),
        hostile(),
        prop::option::of(hostile()),
        prop::option::of(hostile()),
    );
    (texts, vec(hostile(), 0..4), prop::option::of(any_json())).prop_map(
        |((p, q, x, h), many, any)| {
            let mut arguments = json!({"p": p, "q": q, "many": many});
            let given = [
                ("x", x.map(Value::from)),
                ("h", h.map(Value::from)),
                ("any", any),
            ];
            for (name, value) in given {
                if let Some(value) = value {
                    arguments[name] = value;
                }
            }
            arguments
        },
    )
}

/// The pairs of a query or form, in order, decoded.
fn pairs(text: &str) -> Vec<(String, String)> {
    let parts = text.split('&').filter(|part| !part.is_empty());
    let pairs = parts.map(|part| part.split_once('=').unwrap());
    pairs
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            let digits = std::str::from_utf8(&digits).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn text<'a>(arguments: &'a Value, name: &str) -> Option<&'a str> {
    arguments.get(name)?.as_str()
}

fn many(arguments: &Value) -> Vec<String> {
    let items = arguments["many"].as_array().unwrap().iter();
    items
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}

/// The query that is meant.
fn expected_query(arguments: &Value) -> Vec<(String, String)> {
    let mut expected = vec![("fixed".to_owned(), "1".to_owned())];
    if let Some(x) = text(arguments, "x") {
        expected.push(("x".to_owned(), x.to_owned()));
        expected.push(("long".to_owned(), format!("a&{x}=b")));
    }
    let many = many(arguments).into_iter();
    expected.extend(many.map(|item| ("many".to_owned(), item)));
    expected
}

/// The body that is meant.
fn expected_json(arguments: &Value) -> Value {
    let mut expected = Map::new();
    if let Some(x) = text(arguments, "x") {
        expected.insert("whole".to_owned(), json!(x));
        expected.insert("long".to_owned(), json!(format!("<{x}>")));
    }
    if let Some(any) = arguments.get("any") {
        expected.insert("any".to_owned(), any.clone());
    }
    expected.insert("many".to_owned(), json!([arguments["many"], 7]));
    expected.insert("fixed".to_owned(), json!({"n": null}));
    Value::Object(expected)
}

proptest! {
    #[test]
    fn no_value_changes_anything_but_its_own_place(arguments in arguments()) {
        let tool = tool("t");
        let Ok(request) = request(&tool, &arguments) else {
            return Ok(());
        };
        prop_assert_eq!(request.method, http::Method::POST);
        let url = &request.url;
        prop_assert_eq!(url.origin().ascii_serialization(), "https://a.example.com:8443");
        prop_assert_eq!((url.username(), url.password(), url.fragment()), ("", None, None));
        let segments: Vec<_> = url.path_segments().unwrap().map(decoded).collect();
        let last = format!("two-{}.json", text(&arguments, "q").unwrap());
        let value = text(&arguments, "p").unwrap();
        prop_assert_eq!(segments, ["base", "one", value, last.as_str()]);
        prop_assert_eq!(pairs(url.query().unwrap()), expected_query(&arguments));

        let names: Vec<_> = request.headers.keys().map(http::HeaderName::as_str).collect();
        let mut expected = vec!["user-agent", "accept", "content-type", "x-who"];
        expected.extend(text(&arguments, "h").map(|_| "x-value"));
        prop_assert_eq!(names, expected);
        let value = request.headers.get("x-value").map(|value| value.to_str().unwrap().to_owned());
        prop_assert_eq!(value, text(&arguments, "h").map(|h| format!("v={h}")));
        prop_assert_eq!(request.headers.get("x-who").unwrap(), "<alice>");

        let body: Value = serde_json::from_str(&request.body.unwrap()).unwrap();
        prop_assert_eq!(body, expected_json(&arguments));
    }

    #[test]
    fn no_value_changes_another_field_of_a_form(
        x in prop::option::of(hostile()),
        many in vec(hostile(), 0..4),
    ) {
        let tool = tool("form");
        let mut arguments = json!({"many": many});
        if let Some(x) = &x {
            arguments["x"] = json!(x);
        }
        let Ok(request) = request(&tool, &arguments) else {
            return Ok(());
        };
        let fields = x.into_iter().map(|x| ("x".to_owned(), x));
        let fields = fields.chain(many.into_iter().map(|item| ("many".to_owned(), item)));
        prop_assert_eq!(pairs(&request.body.unwrap()), fields.collect::<Vec<_>>());
    }
}

#[test]
fn what_leads_out_of_its_place_is_refused() {
    let tool = tool("t");
    let long = "x".repeat(20_000);
    let cases = [
        (json!({"p": "..", "q": "x"}), Some("/p: must not be empty")),
        (json!({"p": ".", "q": "x"}), Some("/p: must not be empty")),
        (json!({"p": "", "q": "x"}), Some("/p: must not be empty")),
        (
            json!({"p": "../admin", "q": "x"}),
            Some("/p: must not be empty"),
        ),
        (
            json!({"p": "a\\b", "q": "x"}),
            Some("/p: must not be empty"),
        ),
        (
            json!({"p": "a\nb", "q": "x"}),
            Some("/p: must not be empty"),
        ),
        (
            json!({"p": "//evil", "q": "x"}),
            Some("/p: must not be empty"),
        ),
        (json!({"p": "%2e%2e", "q": "%2F"}), None),
        (json!({"p": "a?x=1", "q": "a#f;x"}), None),
        (
            json!({"p": "a", "q": "b", "h": "x\r\nX-Evil: 1"}),
            Some("/h: must be printable"),
        ),
        (
            json!({"p": "a", "q": "b", "h": "ä"}),
            Some("/h: must be printable"),
        ),
        (
            json!({"p": "a", "q": "b", "h": "x "}),
            Some("/h: must not begin or end"),
        ),
        (
            json!({"p": "a", "q": "b", "h": long}),
            Some("/h: is longer than 8 KiB"),
        ),
        (
            json!({"p": "a", "q": "b", "x": long}),
            Some("a URL of more than 16 KiB"),
        ),
        (
            json!({"p": "a", "q": "b", "any": [long.repeat(60)]}),
            Some("larger than 1 MiB"),
        ),
    ];
    for (arguments, expected) in cases {
        let found = request(&tool, &arguments).err();
        match expected {
            None => assert_eq!(found, None, "{arguments}"),
            Some(expected) => {
                let found = found.unwrap();
                assert!(found.contains(expected), "{found}");
                assert!(found.len() < 400, "{}", found.len());
            }
        }
    }
}

#[test]
fn two_values_make_no_dots_together() {
    let text = "
tools:
  t:
    description: d
    http: {GET: 'https://a.example.com/x/.{p}'}
    params: {p: string}
  u:
    description: d
    http: {GET: 'https://a.example.com/x/%2e{p}{q}'}
    params: {p: string, q: string}
";
    let environment = Environment::default();
    let loaded = Catalog::parse(text, Path::new("tools.yaml"), &environment).unwrap();
    let cases = [
        ("t", json!({"p": "."}), false),
        ("t", json!({"p": "a"}), true),
        ("u", json!({"p": ".", "q": "a"}), false),
        ("u", json!({"p": "a", "q": "b"}), true),
    ];
    for (name, arguments, expected) in cases {
        let tool = loaded.catalog.tool(name).unwrap();
        assert_eq!(
            request(tool, &arguments).is_ok(),
            expected,
            "{name} {arguments}"
        );
    }
}

#[test]
fn what_is_printed_holds_no_secret() {
    let text = "
apis: {a: {base_url: 'https://a.example.com', auth: {bearer: s3cr3t}}}
tools: {t: {description: d, http: {api: a, POST: /, headers: {X-A: s3cr3t}, body: s3cr3t}}}
";
    let environment = Environment::default();
    let loaded = Catalog::parse(text, Path::new("tools.yaml"), &environment).unwrap();
    let tool = loaded.catalog.tool("t").unwrap();
    let request = request(tool, &json!({})).unwrap();
    let printed = format!("{request:?} {:?}", request.api);
    assert!(!printed.contains("s3cr3t"), "{printed}");
}
