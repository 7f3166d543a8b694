//! What the log says of an answer is what its client was told – and of what is hidden, more.

use serde_json::{Value, json};

use super::{CLERK, OPS, auth, check, of_event, wait_for_ends};
use crate::outputs::link;
use crate::support::{Client, ERAS, TestServer, sha256, text, write_script};

const TOOLS: &str = "
tools:
  large: {description: d, exec: 'printf 0123456789', max_output: 4, output: {on_overflow: resource}}
resources:
  hollow: {uri: 'x://hollow', description: d, exec: ./hollow.sh, workdir: ., messages: true}
prompts:
  greeting: {description: d, text: 'Hello {who}.', params: {who: {enum: [ann, bob]}}}
resource_templates:
  user: {uri: 'x://users/{name}', description: d, text: 'It is {name}.'}
";

/// A server, and the folder of its audit log.
fn serve() -> (TestServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start_with(TOOLS, &[], |prepare| {
        // A result, but nothing that could be the content of a resource.
        let hollow = r#"echo '{"mcp":"result","content":[]}'"#;
        write_script(prepare.folder, "hollow.sh", hollow);
        prepare.serve_with_auth(&auth());
        prepare
            .command
            .arg("--audit")
            .arg(folder.path().join("log"));
    });
    (server, folder)
}

/// The end of the last of so many requests.
fn last_end(folder: &tempfile::TempDir, count: usize) -> Value {
    let records = wait_for_ends(&folder.path().join("log"), count);
    check(&records);
    of_event(&records, "end")[count - 1].clone()
}

#[test]
fn a_result_that_cannot_be_told_is_an_error() {
    for era in ERAS {
        let (server, folder) = serve();
        let client = Client::new(&server, era, Some(OPS));
        let told = client.request("resources/read", &json!({"uri": "x://hollow"}));
        assert_eq!(told.error_code(), Some(-32603), "{told:?}");
        let end = last_end(&folder, 1);
        assert_eq!(end["outcome"], "error", "{end}");
        assert_eq!(end["reason"], "JSON-RPC error -32603", "{end}");
    }
}

#[test]
fn what_is_kept_for_somebody_else_is_denied_and_the_client_learns_nothing() {
    for era in ERAS {
        let (server, folder) = serve();
        let [owner, other] = [OPS, CLERK].map(|token| Client::new(&server, era, Some(token)));
        let result = owner.call("large", &json!({}));
        let uri = text(&link(&result)["uri"]);
        let guess = format!("mcp-serve://outputs/{}", "0".repeat(32));
        let read = |client: &Client, uri: &str| {
            let response = client.request("resources/read", &json!({"uri": uri}));
            (response.status, response.text().replace(uri, "URI"))
        };
        assert_eq!(read(&other, &uri), read(&other, &guess), "{era:?}");
        assert_eq!(read(&owner, &uri).0, 200);
        let records = wait_for_ends(&folder.path().join("log"), 4);
        let ends = of_event(&records, "end");
        let outcomes: Vec<_> = ends.iter().map(|end| text(&end["outcome"])).collect();
        assert_eq!(outcomes, ["ok", "denied", "not_found", "ok"], "{era:?}");
        assert_eq!(ends[1]["reason"], ends[2]["reason"]);
    }
}

#[test]
fn the_digest_is_of_all_that_a_request_asks_about() {
    let complete = |chosen: &str| {
        json!({
            "ref": {"type": "ref/prompt", "name": "greeting"},
            "argument": {"name": "who", "value": "a"},
            "context": {"arguments": {"mood": chosen}}
        })
    };
    let canonical = |chosen: &str| {
        format!(
            r#"{{"argument":{{"name":"who","value":"a"}},"context":{{"arguments":{{"mood":"{chosen}"}}}},"ref":{{"name":"greeting","type":"ref/prompt"}}}}"#
        )
    };
    let uri = |end: &str| format!("x://users/{}{end}", "x".repeat(300));
    let read = |end: &str| json!({"uri": uri(end)});
    let cases = [
        ("completion/complete", complete("good"), canonical("good")),
        ("completion/complete", complete("bad"), canonical("bad")),
        ("resources/read", read("1"), read("1").to_string()),
        ("resources/read", read("2"), read("2").to_string()),
    ];
    for era in ERAS {
        let (server, folder) = serve();
        let client = Client::new(&server, era, Some(OPS));
        for (method, params, _) in &cases {
            let response = client.request(method, params);
            assert_eq!(response.error_code(), None, "{response:?}");
        }
        let records = wait_for_ends(&folder.path().join("log"), cases.len());
        let starts = of_event(&records, "start");
        for ((_, params, canonical), start) in cases.iter().zip(starts) {
            assert_eq!(start["arguments_sha256"], sha256(canonical), "{params}");
        }
    }
}
