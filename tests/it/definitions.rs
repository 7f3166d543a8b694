//! What a definition says of a tool reaches clients: its schemas as they were written, its icons,
//! fixed content, and its output in the form that was chosen.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{Client, ERAS, Http, Response, TestServer, initialize, write_script};

/// Every word of JSON Schema that matters to a client, in an order that no map would sort.
const SCHEMA: &str = r##"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "$defs": {
    "node": {
      "$anchor": "node",
      "type": "object",
      "required": ["id"],
      "properties": {"id": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#node"}}}
    }
  },
  "properties": {
    "tree": {"$ref": "#/$defs/node"},
    "mode": {"type": "string", "enum": ["fast", "safe"], "default": "fast", "x-mcp-header": "Mode"},
    "reason": {"type": "string"}
  },
  "allOf": [{"anyOf": [{"required": ["tree"]}, {"required": ["reason"]}]}],
  "if": {"properties": {"mode": {"const": "safe"}}, "required": ["mode"]},
  "then": {"required": ["reason"]},
  "else": {"required": ["tree"]},
  "additionalProperties": false
}"##;

const TOOLS: &str = r#"
icons: [{src: "https://example.com/server.svg", mime_type: image/svg+xml, sizes: [any]}]
defaults: {workdir: ., effect: read}
tools:
  whole:
    description: Takes a whole schema.
    icons: [{src: "data:image/png;base64,AA==", mime_type: image/png, sizes: [48x48], theme: dark}]
    exec: printf %s {mode} [{tree}] [{reason}]
    input_schema: SCHEMA
  lines: {description: d, exec: ./print.sh, output: lines}
  auto_object: {description: d, exec: "printf '{\"a\":1}\n'", output: auto}
  auto_text: {description: d, exec: "printf '[1]\n'", output: auto}
  image: {description: d, exec: ./bytes.sh, output: image/png}
  audio: {description: d, exec: ./bytes.sh, output: audio/wav}
  blob: {description: d, exec: ./bytes.sh, output: application/pdf}
  not_text: {description: d, exec: ./bytes.sh, output: text/plain}
  html: {description: d, exec: printf <b>, output: {type: text/html, uri: "page://b"}}
  placed: {description: d, exec: printf x, output: {uri: "note://x"}}
  nothing: {description: d, exec: "true", output: image/png}
  too_much: {description: d, exec: ./bytes.sh, output: image/png, max_output: 100}
  typed:
    description: d
    exec: printf %s {text}
    params: {text: string}
    output: {schema: {type: object, required: [total], properties: {total: {type: number, minimum: 0}}}}
  typed_list:
    description: d
    exec: printf %s {text}
    params: {text: string}
    output: {type: json, schema: {type: array, items: {type: string}}}
  typed_lines:
    description: d
    exec: ./print.sh
    output: {type: lines, schema: {type: object, properties: {lines: {type: array, maxItems: 2}}}}
    max_output: 1KiB
  typed_message:
    description: d
    exec: ./say.sh {line}
    params: {line: {type: string}}
    messages: true
    output: {schema: {type: object, required: [total]}}
  hello:
    description: d
    content:
      - Hello, {name}.
      - {type: image, mimeType: image/png, file: pixel.png}
      - {type: resource, resource: {uri: "note://{name}", mimeType: text/plain, text: "{name} {{name}}"}}
    params: {name: string = you}
"#;

/// Every byte there is, so that any change to one would be seen.
fn bytes() -> Vec<u8> {
    (0..=255).collect()
}

fn start() -> TestServer {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let tools = TOOLS
        .replace("SCHEMA", &schema.to_string())
        .replace("printf <b>", "printf '<b>'");
    TestServer::start_with(&tools, &[], |prepare| {
        let folder = prepare.folder;
        std::fs::write(folder.join("pixel.png"), b"\x89PNG").unwrap();
        std::fs::write(folder.join("bytes"), bytes()).unwrap();
        write_script(folder, "bytes.sh", "cat bytes");
        write_script(folder, "print.sh", r"printf 'one\r\n\ntwo\n'");
        write_script(folder, "say.sh", r#"printf '%s\n' "$1""#);
    })
}

fn listed(client: &Client, name: &str) -> Value {
    let list = client.request("tools/list", &json!({})).json();
    let tools = list["result"]["tools"].as_array().unwrap().clone();
    let mut tools = tools.into_iter();
    tools.find(|tool| tool["name"] == name).unwrap()
}

#[test]
fn a_schema_is_listed_as_it_was_written() {
    let server = start();
    let expected: Value = serde_json::from_str(SCHEMA).unwrap();
    for era in ERAS {
        let tool = listed(&server.client(era), "whole");
        // As texts, so that the order counts.
        assert_eq!(tool["inputSchema"].to_string(), expected.to_string());
        let icon = json!({
            "src": "data:image/png;base64,AA==", "mimeType": "image/png", "sizes": ["48x48"], "theme": "dark"
        });
        assert_eq!(tool["icons"], json!([icon]));
        assert!(tool.get("outputSchema").is_none());
    }
}

#[test]
fn a_whole_schema_decides_what_is_accepted() {
    let server = start();
    let tree = json!({"id": 1, "children": [{"id": 2, "children": [{"id": 3}]}]});
    let broken = json!({"id": 1, "children": [{"id": 2, "children": [{"id": "3"}]}]});
    for era in ERAS {
        let client = server.client(era);
        let text = client.call_text("whole", &json!({"tree": tree}));
        assert_eq!(text, format!("fast{tree}"));
        let cases = [
            (
                json!({"tree": broken}),
                "/tree/children/0/children/0/id: must be an integer",
            ),
            (json!({}), "/tree: is required and missing"),
            (
                json!({"tree": tree, "other": 1}),
                "other: is not an argument of this tool",
            ),
        ];
        for (arguments, expected) in cases {
            let error = client.call_error("whole", &arguments);
            assert!(error.contains(expected), "{error}");
        }
        let absent = client.request("tools/call", &json!({"name": "whole"}));
        assert_eq!(absent.json()["result"]["isError"], true, "{absent:?}");
    }
}

#[test]
fn the_server_is_introduced_with_its_icons_and_repeats_only_its_name() {
    let server = start();
    let icons = json!([{
        "src": "https://example.com/server.svg", "mimeType": "image/svg+xml", "sizes": ["any"]
    }]);
    let legacy = server.client(Era::Legacy);
    let initialized = legacy.post_message(&initialize("2025-11-25"));
    assert_eq!(initialized.json()["result"]["serverInfo"]["icons"], icons);
    let modern = server.client(Era::Modern);
    for (method, expected) in [("server/discover", &icons), ("tools/list", &Value::Null)] {
        let result = modern.request(method, &json!({})).json();
        let server = &result["result"]["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert_eq!(&server["icons"], expected, "{method}");
        assert!(server["name"].is_string());
    }
}

#[test]
fn content_is_the_answer() {
    let server = start();
    for era in ERAS {
        let client = server.client(era);
        for (arguments, name) in [(json!({}), "you"), (json!({"name": "a&b"}), "a&b")] {
            let result = client.call("hello", &arguments);
            assert_eq!(result["isError"], false);
            assert_eq!(
                result["content"],
                json!([
                    {"type": "text", "text": format!("Hello, {name}.")},
                    {"type": "image", "data": "iVBORw==", "mimeType": "image/png"},
                    {"type": "resource", "resource": {
                        "uri": format!("note://{name}"), "mimeType": "text/plain",
                        "text": format!("{name} {{{{name}}}}")
                    }},
                ])
            );
        }
        let error = client.call_error("hello", &json!({"name": "a b"}));
        assert!(
            error.ends_with("/name: does not make a valid URI"),
            "{error}"
        );
        let hints = &listed(&client, "hello")["annotations"];
        assert_eq!(hints, &json!({"readOnlyHint": true}));
    }
}

#[test]
fn an_output_has_the_form_that_was_chosen() {
    let server = start();
    let blob = STANDARD.encode(bytes());
    let text = |text: &str| json!([{"type": "text", "text": text}]);
    let resource = |resource: Value| json!([{"type": "resource", "resource": resource}]);
    let printed = "one\r\n\ntwo\n";
    let cases = [
        ("lines", text(printed), json!({"lines": ["one", "", "two"]})),
        ("auto_object", text("{\"a\":1}"), json!({"a": 1})),
        ("auto_text", text("[1]\n"), Value::Null),
        (
            "image",
            json!([{"type": "image", "data": blob, "mimeType": "image/png"}]),
            Value::Null,
        ),
        (
            "audio",
            json!([{"type": "audio", "data": blob, "mimeType": "audio/wav"}]),
            Value::Null,
        ),
        (
            "blob",
            resource(json!({"uri": "tool:blob", "mimeType": "application/pdf", "blob": blob})),
            Value::Null,
        ),
        (
            "not_text",
            resource(json!({"uri": "tool:not_text", "mimeType": "text/plain", "blob": blob})),
            Value::Null,
        ),
        (
            "html",
            resource(json!({"uri": "page://b", "mimeType": "text/html", "text": "<b>"})),
            Value::Null,
        ),
        (
            "placed",
            resource(json!({"uri": "note://x", "mimeType": "text/plain", "text": "x"})),
            Value::Null,
        ),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (tool, content, structured) in &cases {
            let result = client.call(tool, &json!({}));
            assert_eq!(&result["content"], content, "{tool}");
            assert_eq!(&result["structuredContent"], structured, "{tool}");
            assert_eq!(result["isError"], false, "{tool}");
        }
        let nothing = client.call_error("nothing", &json!({}));
        assert_eq!(nothing, "the tool printed no image/png");
        let too_much = client.call_error("too_much", &json!({}));
        assert_eq!(
            too_much,
            "the tool printed more than 100 bytes of image/png, and was stopped; ask for less"
        );
    }
}

#[test]
fn structured_content_matches_its_schema_or_is_an_error() {
    const MISMATCH: &str = "what the tool gave does not match its output schema\n- ";
    let server = start();
    let message = |value: Value| json!({"line": value.to_string()});
    let text = |text: &str| json!({"text": text});
    let cases = [
        ("typed", text("{\"total\": 3}"), None),
        (
            "typed",
            text("{\"total\": -1}"),
            Some("/total: must be at least 0"),
        ),
        (
            "typed",
            text("{}"),
            Some("must have the property \"total\""),
        ),
        ("typed", text("[]"), Some("must be an object")),
        (
            "typed_lines",
            json!({}),
            Some("/lines: must have at most 2 items"),
        ),
        (
            "typed_message",
            message(json!({"mcp": "result", "structuredContent": {"total": 1}})),
            None,
        ),
        (
            "typed_message",
            message(json!({"mcp": "result", "structuredContent": {}})),
            Some("must have the property \"total\""),
        ),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (tool, arguments, expected) in &cases {
            match expected {
                None => drop(client.call_text(tool, arguments)),
                Some(expected) => {
                    let error = client.call_error(tool, arguments);
                    assert_eq!(error, format!("{MISMATCH}{expected}"), "{tool}");
                }
            }
        }
        let piece = json!({"type": "text", "text": "x"});
        let unstructured = message(json!({"mcp": "result", "content": [piece]}));
        let error = client.call_error("typed_message", &unstructured);
        let expected = "the tool gave no structured content, which its output schema asks for";
        assert_eq!(error, expected);
        let failed = message(json!({"mcp": "result", "content": [piece], "isError": true}));
        assert_eq!(client.call_error("typed_message", &failed), "x");
    }
}

#[test]
fn older_clients_see_output_schemas_of_objects_only() {
    let server = start();
    for (era, is_listed) in [(Era::Legacy, false), (Era::Modern, true)] {
        let client = server.client(era);
        assert_eq!(listed(&client, "typed")["outputSchema"]["type"], "object");
        let list = listed(&client, "typed_list");
        assert_eq!(list.get("outputSchema").is_some(), is_listed, "{list}");
        let result = client.call("typed_list", &json!({"text": "[\"a\"]"}));
        assert_eq!(result["content"][0]["text"], "[\"a\"]");
        assert_eq!(result.get("structuredContent").is_some(), is_listed);
    }
}

/// Calls `whole` with these headers besides the usual ones.
fn call_with(server: &TestServer, client: &Client, mode: &Value, extra: &[&str]) -> Response {
    let arguments = json!({"tree": {"id": 1}, "reason": "r", "mode": mode});
    let message = client.message(
        1,
        "tools/call",
        &json!({"name": "whole", "arguments": arguments}),
    );
    let headers = client.headers(&message);
    let extra = extra.iter().map(|value| ("mcp-param-MODE", *value));
    let headers: Vec<_> = (headers.iter())
        .map(|(name, value)| (*name, value.as_str()))
        .chain(extra)
        .collect();
    let mut http = Http::connect(server.address());
    http.request("POST", "/mcp", &headers, &message.to_string())
}

#[test]
fn headers_repeat_arguments_in_the_modern_era() {
    let server = start();
    let modern = server.client(Era::Modern);
    let cases: [(&str, Value, &[&str], bool); 8] = [
        ("same", json!("safe"), &["safe"], true),
        ("encoded", json!("safe"), &["=?base64?c2FmZQ==?="], true),
        (
            "badly encoded",
            json!("safe"),
            &["=?base64?c2FmZQ=?="],
            false,
        ),
        ("other", json!("safe"), &["fast"], false),
        ("missing", json!("safe"), &[], false),
        ("twice", json!("safe"), &["safe", "safe"], false),
        ("not ASCII", json!("safe"), &["s\u{e4}fe"], false),
        ("null", Value::Null, &["null"], false),
    ];
    for (name, mode, headers, is_good) in cases {
        let response = call_with(&server, &modern, &mode, headers);
        let expected = if is_good {
            (200, None)
        } else {
            (400, Some(-32020))
        };
        assert_eq!((response.status, response.error_code()), expected, "{name}");
    }
    // Null is no argument, so no header is expected; the schema has its own opinion.
    let null = call_with(&server, &modern, &Value::Null, &[]);
    assert_eq!(null.json()["result"]["isError"], true, "{null:?}");
    let legacy = server.client(Era::Legacy);
    let ignored = call_with(&server, &legacy, &json!("safe"), &["fast"]);
    assert_eq!(ignored.json()["result"]["isError"], false, "{ignored:?}");
}
