//! Whatever the values of a call are, a request stays what its definition says.

mod properties;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

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
"#;

/// The tool `t`.
fn tool(text: &str) -> Arc<Tool> {
    let environment = Environment::default();
    let loaded = Catalog::parse(text, Path::new("tools.yaml"), &environment).unwrap();
    Arc::clone(loaded.catalog.tool("t").unwrap())
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

#[test]
fn what_leads_out_of_its_place_is_refused() {
    let tool = tool(TOOLS);
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
    let request = request(&tool(text), &json!({})).unwrap();
    let printed = format!("{request:?} {:?}", request.api);
    assert!(!printed.contains("s3cr3t"), "{printed}");
}

#[test]
fn credentials_on_an_open_road_are_warned_of() {
    let auth = "auth: {bearer: x}";
    let token = |url: &str| {
        format!("auth: {{oauth2: {{token_url: '{url}', client_id: c, client_secret: s}}}}")
    };
    let cases = [
        ("https://a.example.com", auth.to_owned(), None),
        ("http://a.example.com", "timeout: 1s".to_owned(), None),
        (
            "http://a.example.com",
            auth.to_owned(),
            Some("a.example.com"),
        ),
        (
            "http://93.184.216.34:8080",
            auth.to_owned(),
            Some("93.184.216.34"),
        ),
        (
            "http://a.example.com",
            format!("{auth}, allow_private: true"),
            None,
        ),
        ("http://localhost:8080", auth.to_owned(), None),
        ("http://10.1.2.3", auth.to_owned(), None),
        ("http://[::1]:8080", auth.to_owned(), None),
        (
            "https://a.example.com",
            token("http://id.example.com/t"),
            Some("id.example.com"),
        ),
        (
            "http://a.example.com",
            token("https://id.example.com/t"),
            Some("a.example.com"),
        ),
        ("http://localhost", token("https://id.example.com/t"), None),
    ];
    for (base, settings, expected) in cases {
        let text = format!(
            "apis: {{a: {{base_url: '{base}', {settings}}}}}\n\
             tools: {{t: {{description: d, http: {{api: a, GET: /}}}}}}"
        );
        let environment = Environment::default();
        let loaded = Catalog::parse(&text, Path::new("tools.yaml"), &environment).unwrap();
        let column = text.find("auth").map_or(0, |at| at + 1);
        let warnings = expected.map(|host| {
            format!(
                "warning[E052] 1:{column} credentials go to {host} without encryption\n  \
                 = help: write `https://`, or `allow_private: true` if it is a neighbour"
            )
        });
        let found = loaded.warnings.iter().map(|one| {
            let (line, column) = one.position().unwrap();
            let drawn = one.render(false);
            let kind = drawn.split(':').next().unwrap();
            let help = drawn.lines().last().unwrap();
            format!("{kind} {line}:{column} {}\n{help}", one.message())
        });
        let found: Vec<_> = found.collect();
        assert_eq!(found, Vec::from_iter(warnings), "{text}");
    }
}
