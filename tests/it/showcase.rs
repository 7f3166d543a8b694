//! Six tools as people would write them, each called in both eras: one of every kind of work that the
//! language was made for.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::cookbook::talk::Talk;
use crate::cookbook::upstream::{TRACKER_TOKEN, Upstream};
use crate::cookbook::{STAND_INS, token_of};
use crate::support::{ERAS, TestServer, sha256, write_script};

const FILE: &str = "tests/it/showcase/tools.yaml";

/// What is called, and what comes of it.
const CALLS: &str = r#"
alice: tools/call {"name": "git_log", "arguments": {"count": 1, "author": "ann"}}
server: {"content": [{"type": "text", "text": "4d07e3c Add the health check\n"}], "isError": false}
alice: tools/call {"name": "git_log", "arguments": {"paths": ["--output=x"], "count": 1}}
server: {"content": [{"type": "text", "text": "9f2c1ab Raise the memory of the worker\n"}], "isError": false}
alice: tools/call {"name": "git_log", "arguments": {"count": "1"}}
server: {"isError": true}
alice: tools/call {"name": "k8s_get", "arguments": {"kind": "pods", "namespace": "shop"}}
server: {"content": [{"type": "text", "text": "[{\"name\":\"web-7d9c\",\"phase\":\"Running\"},{\"name\":\"worker-5b21\",\"phase\":\"Pending\"}]"}], "isError": false}
alice: tools/call {"name": "k8s_get", "arguments": {"kind": "pods", "namespace": "shop", "all_namespaces": true}}
server: {"isError": true}
alice: tools/call {"name": "k8s_get", "arguments": {"kind": "pods", "namespace": "shop", "all_namespaces": false}}
server: {"isError": false}
alice: tools/call {"name": "k8s_get", "arguments": {"kind": "secrets"}}
server: {"isError": true}
alice: tools/call {"name": "db_backup", "arguments": {"db": "orders"}, "_meta": {"progressToken": "p"}}
server: notifications/progress {"progressToken": "p", "progress": 1, "total": 2, "message": "dumping"}
server: notifications/progress {"progressToken": "p", "progress": 2, "total": 2, "message": "packing"}
server: {"content": [{"type": "text", "text": "orders is safe\n"}], "isError": false}
bob: tools/call {"name": "db_backup", "arguments": {"db": "orders"}}
server: error {"code": -32602}
alice: tools/call {"name": "pricing_quote", "arguments": {"customer": "ann", "items": [{"sku": "tea", "qty": 2}]}}
server: {"structuredContent": {"total": 5.0, "currency": "EUR"}, "isError": false}
alice: tools/call {"name": "pricing_quote", "arguments": {"customer": "nobody", "items": [{"sku": "tea", "qty": 2}]}}
server: {"content": [{"type": "text", "text": "Unknown customer."}], "isError": true}
alice: tools/call {"name": "load_graph", "arguments": {"host": "web"}}
server: {"content": [{"type": "image", "mimeType": "image/png", "data": "iVBORw0KGgo="}], "isError": false}
alice: tools/call {"name": "load_graph", "arguments": {"host": "../web"}}
server: {"isError": true}
"#;

/// The tracker is told who reports by a claim, which a static token does not have.
const ISSUE: &str = r#"
alice: tools/call {"name": "issue_create", "arguments": {"project": "kitchen", "title": "No tea", "labels": ["urgent"]}}
server: {"isError": true}
bob: tools/call {"name": "issue_create", "arguments": {"project": "kitchen", "title": "No tea"}}
server: error {"code": -32602}
"#;

/// The same with an address that the server itself knows.
const ISSUE_WITH_REPORTER: &str = r#"
alice: tools/call {"name": "issue_create", "arguments": {"project": "kitchen", "title": "No tea", "labels": ["urgent"]}}
server: elicitation/create {"message": "Create \"No tea\" in kitchen?"}
alice: {"action": "accept", "content": {}}
server: {"structuredContent": {"number": 8, "received": {"title": "No tea", "labels": ["urgent"], "reporter": "alice"}}, "isError": false}
"#;

const BACKUP: &str =
    "echo '1/2 dumping' >&2; sleep 0.2; echo '2/2 packing' >&2; echo \"${1#--db=} is safe\"";

const QUOTE: &str = r#"#!/usr/bin/env python3
import json
import sys

cart = json.load(sys.stdin)
if cart["customer"] == "nobody":
    sys.exit(3)
print(json.dumps({"total": 2.5 * sum(item["qty"] for item in cart["items"]), "currency": "EUR"}))
"#;

fn auth() -> String {
    format!(
        "tokens:
  - {{sha256: {}, subject: alice, scopes: ['issues:write'], roles: [dba]}}
  - {{sha256: {}, subject: bob}}
",
        sha256(&token_of("alice")),
        sha256(&token_of("bob"))
    )
}

/// Serves the file; only where its programs, secrets and hosts are is another place.
fn serve(definitions: &str, upstream: &Upstream) -> TestServer {
    TestServer::start_with("", &[], |prepare| {
        let folder = prepare.folder;
        fs::create_dir_all(folder.join("opt/jobs")).unwrap();
        write_script(&folder.join("opt/jobs"), "backup.sh", BACKUP);
        fs::create_dir_all(folder.join("opt/pricing")).unwrap();
        let quote = folder.join("opt/pricing/quote.py");
        fs::write(&quote, QUOTE).unwrap();
        fs::set_permissions(&quote, fs::Permissions::from_mode(0o755)).unwrap();
        let token = folder.join("tracker.token");
        fs::write(&token, TRACKER_TOKEN).unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
        let here = folder.display().to_string();
        let definitions = definitions
            .replace("/opt/", &format!("{here}/opt/"))
            .replace("/etc/mcp-serve/", &format!("{here}/"));
        let definitions = upstream.instead_of_hosts(&definitions);
        fs::write(folder.join("tools.yaml"), definitions).unwrap();
        prepare.serve_with_auth(&auth());
        let stand_ins = fs::canonicalize(STAND_INS).unwrap();
        let path = format!("{}:/usr/bin:/bin", stand_ins.display());
        prepare.command.env("PATH", path);
    })
}

fn hold(definitions: &str, calls: &str) {
    let upstream = Upstream::start();
    let server = serve(definitions, &upstream);
    let talk = Talk::parse(calls.trim());
    for era in ERAS {
        if let Err(difference) = talk.hold(&server, era) {
            panic!("{era:?}: {difference}\n{}", server.log().join("\n"));
        }
    }
}

#[test]
fn six_tools_work_as_they_are_written() {
    hold(&fs::read_to_string(FILE).unwrap(), CALLS);
}

#[test]
fn an_issue_is_reported_by_whoever_calls() {
    let definitions = fs::read_to_string(FILE).unwrap();
    hold(&definitions, ISSUE);
    let subject = definitions.replace("claims.email", "claims.sub");
    assert_ne!(subject, definitions);
    hold(&subject, ISSUE_WITH_REPORTER);
}
