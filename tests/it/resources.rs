//! Resources and their templates: listed and read.

use std::fs;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{Client, ERAS, TestServer, write_script};

const DEFINITIONS: &str = "
resources:
  motd:
    uri: docs://motd
    title: Message of the day
    description: What everybody should know.
    mime_type: text/plain
    annotations: {audience: [user], priority: 0.5, last_modified: 2026-01-31T00:00:00Z}
    text: Braces {as} they stand.
  dot:
    uri: docs://dot
    description: A picture.
    mime_type: image/png
    base64: |
      AAEC
      AwQ=
  notes: {uri: 'docs://notes', description: A file., mime_type: text/markdown, file: notes.md}
  load: {uri: 'docs://load', description: A program., exec: ./say.sh load, workdir: .}
  odd: {uri: 'docs://odd', description: Bytes., exec: [printf, '\\377'], mime_type: text/plain}
  broken: {uri: 'docs://broken', description: Fails., exec: [sh, -c, 'echo gone >&2; exit 1']}
  concrete: {uri: 'items://7/data', description: One of many., text: concrete}
resource_templates:
  item:
    uri: items://{id}/data
    title: Item
    description: One item.
    mime_type: application/json
    text: '{\"id\": \"{id}\"}'
    params: {id: {type: string, pattern: '^[0-9a-z. ]+$'}}
  said:
    uri: said:{text}
    description: Says it.
    exec: ./say.sh -- {text}
    workdir: .
";

fn start() -> TestServer {
    TestServer::start_with(DEFINITIONS, &[], |prepare| {
        write_script(
            prepare.folder,
            "say.sh",
            r#"eval "last=\${$#}"; printf %s "$last""#,
        );
        fs::write(prepare.folder.join("notes.md"), "# Notes\n").unwrap();
    })
}

fn read(client: &Client, uri: &str) -> Value {
    client
        .request("resources/read", &json!({"uri": uri}))
        .json()
}

#[test]
fn resources_and_templates_are_listed() {
    let server = start();
    for era in ERAS {
        let client = server.client(era);
        let list = client.request("resources/list", &json!({})).json();
        let resources = list["result"]["resources"].as_array().unwrap();
        assert_eq!(resources.len(), 7, "{era:?}");
        assert_eq!(
            resources[0],
            json!({
                "uri": "docs://motd",
                "name": "motd",
                "title": "Message of the day",
                "description": "What everybody should know.",
                "mimeType": "text/plain",
                "size": 23,
                "annotations": {"audience": ["user"], "priority": 0.5, "lastModified": "2026-01-31T00:00:00Z"}
            })
        );
        assert_eq!(resources[1]["size"], 5);
        assert_eq!(resources[2].get("size"), None);
        let list = client
            .request("resources/templates/list", &json!({}))
            .json();
        let templates = &list["result"]["resourceTemplates"];
        assert_eq!(
            templates[0],
            json!({
                "uriTemplate": "items://{id}/data",
                "name": "item",
                "title": "Item",
                "description": "One item.",
                "mimeType": "application/json"
            })
        );
        assert_eq!(list["result"]["ttlMs"].is_u64(), era == Era::Modern);
    }
}

#[test]
fn a_resource_is_read() {
    let server = start();
    let cases = [
        (
            "docs://motd",
            json!({"mimeType": "text/plain", "text": "Braces {as} they stand."}),
            "public",
        ),
        (
            "docs://dot",
            json!({"mimeType": "image/png", "blob": "AAECAwQ="}),
            "public",
        ),
        (
            "docs://notes",
            json!({"mimeType": "text/markdown", "text": "# Notes\n"}),
            "public",
        ),
        ("docs://load", json!({"text": "load"}), "private"),
        (
            "docs://odd",
            json!({"mimeType": "text/plain", "blob": "/w=="}),
            "private",
        ),
        ("items://7/data", json!({"text": "concrete"}), "public"),
        (
            "items://a%20b/data",
            json!({"mimeType": "application/json", "text": "{\"id\": \"a b\"}"}),
            "public",
        ),
        (
            "items://../data",
            json!({"mimeType": "application/json", "text": "{\"id\": \"..\"}"}),
            "public",
        ),
        ("said:$(id)", json!({"text": "$(id)"}), "private"),
        ("said:a%2Fb", json!({"text": "a/b"}), "private"),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (uri, expected, scope) in &cases {
            let reply = read(&client, uri);
            let mut expected = expected.clone();
            expected["uri"] = json!(uri);
            assert_eq!(
                reply["result"]["contents"],
                json!([expected]),
                "{era:?} {reply}"
            );
            if era == Era::Modern {
                assert_eq!(reply["result"]["resultType"], "complete");
                assert_eq!(reply["result"]["cacheScope"], *scope, "{uri}");
                let is_fresh = reply["result"]["ttlMs"].as_u64().unwrap() > 0;
                let is_fixed = *scope == "public" && *uri != "docs://notes";
                assert_eq!(is_fresh, is_fixed, "{uri}");
            }
        }
    }
}

#[test]
fn a_file_is_read_each_time() {
    let server = start();
    let client = server.client(Era::Legacy);
    let file = server.folder().join("notes.md");
    fs::write(&file, "changed").unwrap();
    let reply = read(&client, "docs://notes");
    assert_eq!(reply["result"]["contents"][0]["text"], "changed");

    let too_large = fs::File::create(&file).unwrap();
    too_large.set_len((4 << 20) + 1).unwrap();
    let error = read(&client, "docs://notes")["error"].clone();
    assert_eq!(error["code"], -32603);
    assert!(
        error["message"].as_str().unwrap().contains("4 MiB"),
        "{error}"
    );

    fs::remove_file(&file).unwrap();
    let error = read(&client, "docs://notes")["error"].clone();
    assert_eq!(error["code"], -32603);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("it is gone"), "{message}");
    assert!(!message.contains('/'), "{message}");
}

#[test]
fn what_does_not_exist_is_not_found() {
    let server = start();
    let uris = [
        "docs://unknown",
        "docs://motd/",
        "DOCS://motd",
        "items://A/data",
        "items://a/b/data",
        "items:///data",
        "items://{id}/data",
        "said:",
        "notes.md",
    ];
    for era in ERAS {
        let client = server.client(era);
        for uri in uris {
            let response = client.request("resources/read", &json!({"uri": uri}));
            let error = response.json()["error"].clone();
            let (code, status) = match era {
                Era::Legacy => (-32002, 200),
                Era::Modern => (-32602, 400),
            };
            assert_eq!(error["code"], code, "{era:?} {uri}: {error}");
            assert_eq!(error["message"], "Resource not found");
            assert_eq!(error["data"], json!({"uri": uri}));
            assert_eq!(response.status, status);
        }
        let error = read(&client, "docs://broken")["error"].clone();
        assert_eq!(error["code"], -32603, "{era:?}");
        assert!(
            error["message"].as_str().unwrap().contains("gone"),
            "{error}"
        );
        let error = read(&client, "said:-x%00")["error"].clone();
        assert_eq!(error["code"], -32602, "{era:?} {error}");
    }
}

#[test]
fn capabilities_are_those_of_the_file() {
    let cases = [
        (
            "tools: {t: {description: d, exec: /bin/true}}",
            json!({"tools": {}}),
        ),
        (
            "prompts: {p: {description: d, text: t}}",
            json!({"prompts": {}, "tools": {}}),
        ),
        (
            "resources: {r: {uri: 'a:b', description: d, text: t}}",
            json!({"resources": {}, "tools": {}}),
        ),
        (
            "resource_templates: {r: {uri: 'a:{b}', description: d, text: '{b}', complete: {b: [x]}}}",
            json!({"completions": {}, "resources": {}, "tools": {}}),
        ),
    ];
    for (definitions, expected) in cases {
        let server = TestServer::start(definitions, &[]);
        let client = server.client(Era::Modern);
        let reply = client.request("server/discover", &json!({})).json();
        let capabilities = reply["result"]["capabilities"].as_object().unwrap();
        let names: Vec<_> = expected.as_object().unwrap().keys().collect();
        for name in ["completions", "prompts", "resources", "tools"] {
            let is_offered = capabilities.contains_key(name);
            assert_eq!(
                is_offered,
                names.iter().any(|other| *other == name),
                "{definitions} {name}"
            );
        }
    }
}
