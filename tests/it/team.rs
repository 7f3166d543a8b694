//! The example of roles, scopes, tenants and subjects, with its auth file.

use std::fs;

use mcp_serve::protocol::version::Era;
use serde_json::json;

use crate::support::{Client, ERAS, TestServer, sha256, text};

/// For each entry of the auth file, in its order: a token in the place of the one that nobody has, what
/// it lists, and what comes of opening an issue and of the toolset `ops`.
const CALLERS: [(&str, &str, u16, u16); 4] = [
    (
        "alice-who-may-write-mfZ3b1mXk0Qy7h2V",
        "whoami issue_list issue_create db_restore deploy",
        200,
        200,
    ),
    (
        "alice-who-may-read-mfZ3b1mXk0Qy7h2V",
        "whoami issue_list issue_create",
        403,
        404,
    ),
    ("alice-of-globex-mfZ3b1mXk0Qy7h2V", "whoami", 400, 404),
    ("a-pipeline-mfZ3b1mXk0Qy7h2V", "whoami deploy", 400, 200),
];

/// The auth file of the examples with these tokens.
fn auth() -> String {
    let mut tokens = CALLERS.iter().map(|(token, ..)| sha256(token));
    let file = fs::read_to_string("examples/auth.yaml").unwrap();
    let lines = file.lines().map(|line| match line.split_once("sha256: ") {
        Some((before, _)) => format!("{before}sha256: {}\n", tokens.next().unwrap()),
        None => format!("{line}\n"),
    });
    let text: String = lines.collect();
    assert_eq!(tokens.next(), None, "a caller for each entry");
    text
}

#[test]
fn each_member_of_the_team_sees_and_reaches_what_is_meant_for_it() {
    let definitions = fs::read_to_string("examples/team.yaml").unwrap();
    let server = TestServer::with_auth(&definitions, &auth(), &[]);
    for (token, listed, created, ops) in CALLERS {
        let client = Client::new(&server, Era::Modern, Some(token));
        let list = client.request("tools/list", &json!({})).json();
        let tools = list["result"]["tools"].as_array().unwrap();
        let names: Vec<_> = tools.iter().map(|tool| text(&tool["name"])).collect();
        assert_eq!(names.join(" "), listed, "{token}");

        let issue = json!({"name": "issue_create", "arguments": {"title": "No tea"}});
        let answer = client.request("tools/call", &issue);
        assert_eq!(answer.status, created, "{token}: {answer:?}");
        if created == 403 {
            let challenge = answer.header("www-authenticate").unwrap();
            let scope = "scope=\"issues:read issues:write\"";
            assert!(challenge.contains(scope), "{challenge}");
        }
        let toolset = client.with_path("/mcp/ops");
        let answer = toolset.request("tools/list", &json!({}));
        assert_eq!(answer.status, ops, "{token}: {answer:?}");
    }
    for era in ERAS {
        let alice = Client::new(&server, era, Some(CALLERS[2].0));
        assert_eq!(alice.call_text("whoami", &json!({})), "alice of globex\n");
    }
}
