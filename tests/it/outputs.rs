//! Outputs that are too large for a result: a link, and what it leads to.

use std::fs;
use std::path::PathBuf;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{Client, ERAS, TestServer, command, run, sha256, text, write_script};

const TOOLS: &str = "
defaults: {workdir: ., max_output: 20, output: {on_overflow: resource}}
tools:
  text: {description: d, exec: ./print.sh}
  fits: {description: d, exec: [printf, '0123456789']}
  fails: {description: d, exec: [./print.sh, '1']}
  latin: {description: d, exec: [printf, 'gr\\374\\337e an alle, die das lesen']}
  always: {description: d, exec: ./print.sh, output: {stderr: always, on_overflow: resource}}
  json: {description: d, exec: [printf, '[1, 2, 3, 4, 5, 6, 7, 8, 9]'], output: {type: json, on_overflow: resource}}
  lines: {description: d, exec: ./print.sh, output: {type: lines, select: '.[0]', on_overflow: resource}}
  schema:
    description: d
    exec: [printf, '{\"all\": \"0123456789012\"}']
    output: {schema: {type: object}, on_overflow: resource}
  image: {description: d, exec: [printf, '\\211PNG with more than 20 bytes'], output: {type: image/png, on_overflow: resource}}
  endless: {description: d, effect: read, exec: [sh, -c, 'exec head -c 5000000 /dev/zero']}
";

fn serve(tools: &str, auth: Option<&str>) -> TestServer {
    TestServer::start_with(tools, &[], |prepare| {
        let print =
            "for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done; echo done >&2; exit ${1:-0}";
        write_script(prepare.folder, "print.sh", print);
        fs::create_dir(prepare.folder.join("tmp")).unwrap();
        let folder = prepare.folder.join("tmp");
        prepare.command.env("TMPDIR", folder);
        if let Some(auth) = auth {
            prepare.serve_with_auth(auth);
        }
    })
}

/// The link in a result.
pub(crate) fn link(result: &Value) -> &Value {
    let pieces = result["content"].as_array().unwrap();
    let mut links = pieces
        .iter()
        .filter(|piece| piece["type"] == "resource_link");
    let link = links.next().unwrap();
    assert!(links.next().is_none(), "{result}");
    link
}

fn read(client: &Client, uri: &str) -> Value {
    client
        .request("resources/read", &json!({"uri": uri}))
        .json()
}

/// The folders of outputs that a server has made.
fn folders(server: &TestServer) -> Vec<PathBuf> {
    let entries = fs::read_dir(server.folder().join("tmp")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_ours = |path: &PathBuf| path.to_str().unwrap().contains("mcp-serve-outputs-");
    paths.filter(is_ours).collect()
}

#[test]
fn the_whole_output_is_a_resource() {
    let server = serve(TOOLS, None);
    let whole = "line 1\nline 2\nline 3\nline 4\nline 5\nline 6\nline 7\nline 8\nline 9\n";
    let beginning = "line 1\nline 2\nline 3\n[output cut: it has 63 bytes, and this is the beginning; \
                     all of it is in the resource that is linked, for 15 minutes]";
    let cut = |size: usize, media: &str| {
        format!(
            "the tool printed {size} bytes of {media}, and a result holds 20 at most; all of it is in \
             the resource that is linked, for 15 minutes"
        )
    };
    let cases = [
        ("text", beginning, false, "text/plain", 63, whole),
        ("always", beginning, false, "text/plain", 63, whole),
        ("lines", beginning, false, "text/plain", 63, whole),
        (
            "json",
            &cut(27, "application/json"),
            false,
            "application/json",
            27,
            "[1, 2, 3, 4, 5, 6, 7, 8, 9]",
        ),
        (
            "schema",
            &cut(24, "application/json"),
            true,
            "application/json",
            24,
            "{\"all\": \"0123456789012\"}",
        ),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (tool, told, is_error, media, size, whole) in cases {
            let result = client.call(tool, &json!({}));
            assert_eq!(result["content"][0]["text"], told, "{era:?} {tool}");
            assert_eq!(result["isError"], is_error, "{era:?} {tool}");
            assert_eq!(result.get("structuredContent"), None, "{era:?} {tool}");
            let link = link(&result);
            let name = format!("output of {tool}");
            assert_eq!((&link["name"], &link["size"]), (&json!(name), &json!(size)));
            assert_eq!(link["mimeType"], media);
            let uri = text(&link["uri"]);
            let read = read(&client, &uri);
            let contents = json!([{"uri": uri, "mimeType": media, "text": whole}]);
            assert_eq!(read["result"]["contents"], contents, "{era:?} {tool}");
        }
        let said = client.call("always", &json!({}))["content"][2].clone();
        assert_eq!(said["text"], "[standard error]\ndone", "{era:?}");

        let result = client.call("image", &json!({}));
        assert_eq!(
            result["content"][0]["text"],
            cut(28, "image/png"),
            "{era:?}"
        );
        let link = link(&result);
        let read = read(&client, &text(&link["uri"]));
        let blob = "iVBORyB3aXRoIG1vcmUgdGhhbiAyMCBieXRlcw==";
        assert_eq!(read["result"]["contents"][0]["blob"], blob, "{era:?}");

        let result = client.call("latin", &json!({}));
        let uri = text(&self::link(&result)["uri"]);
        let latin = self::read(&client, &uri)["result"]["contents"][0]["text"].clone();
        assert!(
            text(&latin).starts_with("gr\u{fffd}\u{fffd}e an alle, die das lesen\n["),
            "{latin}"
        );

        assert_eq!(client.call_text("fits", &json!({})), "0123456789");
        let failed = client.call_error("fails", &json!({}));
        assert_eq!(failed, "the tool failed with exit status 1:\ndone");
        let result = client.call("endless", &json!({}));
        let pieces = result["content"].as_array().unwrap();
        assert_eq!(pieces.len(), 1, "{era:?}");
        assert!(
            text(&pieces[0]["text"]).ends_with(
                "[output cut: the tool printed more than 20 bytes, and more than the server could \
                 keep, and was stopped]"
            ),
            "{era:?} {}",
            pieces[0]
        );
    }
}

#[test]
fn clients_are_told_that_there_can_be_resources_and_find_none_in_the_list() {
    let server = serve(TOOLS, None);
    for era in ERAS {
        let client = server.client(era);
        let result = client.call("text", &json!({}));
        link(&result);
        let listed = client.request("resources/list", &json!({})).json();
        assert_eq!(listed["result"]["resources"], json!([]), "{era:?}");
        let introduction = match era {
            Era::Legacy => client.post_message(&crate::support::initialize("2025-11-25")),
            Era::Modern => client.request("server/discover", &json!({})),
        };
        let capabilities = introduction.json()["result"]["capabilities"].clone();
        assert!(
            capabilities["resources"].is_object(),
            "{era:?} {capabilities}"
        );
    }
}

#[test]
fn others_find_no_such_resource() {
    let tools = "
defaults: {workdir: ., max_output: 20, output: {on_overflow: resource}}
tools:
  text: {description: d, exec: ./print.sh, allow: [role:reader]}
";
    let token = |name: &str| format!("{name}-token-of-a-sufficient-length-0123456789");
    let entry = |name: &str, subject: &str, role: &str| {
        let digest = sha256(&token(name));
        format!("- {{sha256: {digest}, subject: {subject}, roles: [{role}]}}\n")
    };
    let auth = format!(
        "tokens:\n{}{}{}",
        entry("alice", "alice", "reader"),
        entry("clerk", "alice", "clerk"),
        entry("bob", "bob", "reader"),
    );
    let server = serve(tools, Some(&auth));
    for era in ERAS {
        let client = |name: &str| Client::new(&server, era, Some(&token(name)));
        let alice = client("alice");
        let result = alice.call("text", &json!({}));
        let uri = text(&link(&result)["uri"]);
        assert!(read(&alice, &uri)["result"].is_object(), "{era:?}");
        let unknown = "mcp-serve://outputs/00000000000000000000000000000000";
        let of = |client: &Client, uri: &str| {
            let error = read(client, uri)["error"].to_string();
            error.replace(uri, "URI")
        };
        let expected = of(&alice, unknown);
        assert!(expected.contains("Resource not found"), "{expected}");
        for name in ["clerk", "bob"] {
            assert_eq!(of(&client(name), &uri), expected, "{era:?} {name}");
        }
    }
}

#[test]
fn nothing_is_left_when_the_server_stops() {
    let mut server = serve(TOOLS, None);
    assert_eq!(folders(&server), Vec::<PathBuf>::new());
    link(&server.client(Era::Modern).call("text", &json!({})));
    let folders_now = folders(&server);
    assert_eq!(folders_now.len(), 1);
    assert_eq!(fs::read_dir(&folders_now[0]).unwrap().count(), 1);
    server.signal("TERM");
    assert!(server.wait().success());
    assert_eq!(folders(&server), Vec::<PathBuf>::new());
}

#[test]
fn a_command_says_that_the_link_is_gone_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let tools = folder.path().join("tools.yaml");
    let definition = "
tools:
  json: {description: d, exec: [printf, '[1, 2]'], max_output: 4, output: {type: json, on_overflow: resource}}
";
    fs::write(&tools, definition).unwrap();
    let called = run(command()
        .args(["call", "json", "--tools"])
        .arg(&tools)
        .env("TMPDIR", folder.path()));
    assert_eq!(called.code, Some(0), "{}", called.stderr);
    assert!(
        called
            .stdout
            .contains("[output of json: mcp-serve://outputs/"),
        "{}",
        called.stdout
    );
    assert_eq!(
        called.stderr,
        "what the link leads to is kept by a server, and is gone with this command\n"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
