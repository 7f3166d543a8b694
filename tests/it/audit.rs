//! The audit log: one line when a call begins and one when it has ended, whatever becomes of it.

mod disk;
mod files;
mod lines;
mod outcomes;
mod pipes;
mod stdio;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{
    Client, ERAS, GATE, Gate, TestServer, command, eventually, initialize, modern_meta, sha256,
};
use crate::tasks;

const OPS: &str = "token-of-ops-mfZ3b1mXk0Qy7h2V";
const CLERK: &str = "token-of-a-clerk-Qy7h2VmfZ3b1mXk0";

fn tools() -> String {
    format!(
        "
tools:{GATE}    task: optional
  echo:
    description: Prints its argument.
    exec: printf %s {{text}}
    params: {{text: string}}
  fixed:
    description: Says the same each time.
    content: fixed
  fails:
    description: Fails.
    exec: sh -c 'exit 3'
  crashes:
    description: Ends by a signal.
    exec: sh -c 'kill -9 $$'
  slow:
    description: Takes too long.
    exec: sleep 60
    timeout: 100ms
  rare:
    description: May be called once.
    content: once
    rate: 1/h
  secret_door:
    description: For those who operate.
    exec: printf open
    allow: [role:ops]
  scoped:
    description: Asks for more scopes.
    exec: printf open
    allow: ['scope:write']
    step_up: true
prompts:
  greeting:
    description: Greets.
    text: Hello {{who}}.
    params: {{who: string}}
    complete: {{who: {{exec: printf ann}}}}
resources:
  motd: {{uri: 'x://motd', description: d, text: Hi.}}
  vault: {{uri: 'x://vault', description: d, text: Gold., allow: [role:ops]}}
resource_templates:
  user: {{uri: 'x://users/{{name}}', description: d, exec: 'printf %s {{name}}'}}
  room: {{uri: 'x://rooms/{{at}}', description: d, text: 'Room {{at}}.', params: {{at: {{enum: [a, b]}}}}}}
toolsets:
  desk: {{match: [echo]}}
"
    )
}

fn auth() -> String {
    format!(
        "tokens:\n  - {{sha256: {}, subject: olga, tenant: acme, roles: [ops], scopes: [write]}}\n  \
         - {{sha256: {}, subject: cleo}}\n",
        sha256(OPS),
        sha256(CLERK)
    )
}

/// A server whose audit log is in a folder of the test's own.
fn serve(log: &Path, options: &[&str]) -> TestServer {
    TestServer::start_with(&tools(), options, |prepare| {
        prepare.serve_with_auth(&auth());
        prepare.command.arg("--audit").arg(log);
    })
}

/// The lines of an audit log. The last may not be whole yet.
pub(crate) fn read(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

pub(crate) fn of_event<'a>(records: &'a [Value], event: &str) -> Vec<&'a Value> {
    let lines = records.iter();
    lines.filter(|line| line["event"] == event).collect()
}

/// Checks that the numbers have no gap and that each call has one start and then one end.
pub(crate) fn check(records: &[Value]) {
    let numbers: Vec<_> = records
        .iter()
        .map(|line| line["seq"].as_u64().unwrap())
        .collect();
    let expected: Vec<_> = (1..).take(records.len()).collect();
    assert_eq!(numbers, expected);
    let times: Vec<_> = records
        .iter()
        .map(|line| line["time"].as_str().unwrap())
        .collect();
    assert!(times.iter().all(|time| time.ends_with('Z')), "{times:?}");
    let mut open = BTreeMap::new();
    let mut ended = BTreeSet::new();
    for line in records {
        let call = (line["run"].to_string(), line["call"].to_string());
        match line["event"].as_str().unwrap() {
            "start" => {
                assert!(!ended.contains(&call), "begins again: {line}");
                assert!(open.insert(call, line).is_none(), "begins twice: {line}");
            }
            "end" => {
                let start = open
                    .remove(&call)
                    .unwrap_or_else(|| panic!("ends alone: {line}"));
                for (name, value) in line.as_object().unwrap() {
                    let own = [
                        "seq",
                        "time",
                        "event",
                        "outcome",
                        "reason",
                        "duration_seconds",
                    ];
                    assert!(
                        own.contains(&name.as_str()) || start[name] == *value,
                        "{line}"
                    );
                }
                ended.insert(call);
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "without an end: {open:?}");
}

/// Waits until so many calls have ended, and returns all lines.
fn wait_for_ends(log: &Path, count: usize) -> Vec<Value> {
    let ended = |records: &[Value]| of_event(records, "end").len();
    let records = eventually(|| Some(read(log)).filter(|records| ended(records) >= count));
    let records = records.unwrap_or_else(|| panic!("{:#?}", read(log)));
    assert_eq!(ended(&records), count, "{records:#?}");
    records
}

/// What is tried, and the outcome and reason in the log.
type Case = (
    &'static str,
    &'static str,
    Value,
    (&'static str, Option<&'static str>),
);

fn completed(reference: &Value, argument: &str) -> Value {
    json!({"ref": reference, "argument": {"name": argument, "value": ""}})
}

fn cases() -> Vec<Case> {
    let call = |name: &str| json!({"name": name});
    let with = |name: &str, arguments: Value| json!({"name": name, "arguments": arguments});
    let not_there = Some("JSON-RPC error -32602");
    vec![
        (
            "ok",
            "tools/call",
            with("echo", json!({"text": "x"})),
            ("ok", None),
        ),
        ("fixed", "tools/call", call("fixed"), ("ok", None)),
        (
            "fails",
            "tools/call",
            call("fails"),
            ("error", Some("exit status 3")),
        ),
        (
            "crash",
            "tools/call",
            call("crashes"),
            ("error", Some("signal 9")),
        ),
        (
            "timeout",
            "tools/call",
            call("slow"),
            ("timeout", Some("timeout")),
        ),
        (
            "arguments",
            "tools/call",
            with("echo", json!({"text": 1})),
            ("invalid", Some("invalid arguments")),
        ),
        (
            "unknown",
            "tools/call",
            call("nothing"),
            ("not_found", not_there),
        ),
        (
            "denied",
            "tools/call",
            call("secret_door"),
            ("denied", not_there),
        ),
        (
            "challenged",
            "tools/call",
            call("scoped"),
            ("denied", Some("insufficient_scope")),
        ),
        (
            "malformed",
            "tools/call",
            with("echo", json!(7)),
            ("invalid", not_there),
        ),
        (
            "prompt",
            "prompts/get",
            with("greeting", json!({"who": "ann"})),
            ("ok", None),
        ),
        (
            "no prompt",
            "prompts/get",
            call("nothing"),
            ("not_found", not_there),
        ),
        (
            "resource",
            "resources/read",
            json!({"uri": "x://motd"}),
            ("ok", None),
        ),
        (
            "template",
            "resources/read",
            json!({"uri": "x://users/ann"}),
            ("ok", None),
        ),
        (
            "completion",
            "completion/complete",
            completed(&json!({"type": "ref/prompt", "name": "greeting"}), "who"),
            ("ok", None),
        ),
        (
            "listed",
            "completion/complete",
            completed(
                &json!({"type": "ref/resource", "uri": "x://rooms/{at}"}),
                "at",
            ),
            ("ok", None),
        ),
    ]
}

#[test]
fn each_call_has_a_beginning_and_an_end_that_says_what_came_of_it() {
    for era in ERAS {
        for mode in ["best_effort", "required"] {
            let folder = tempfile::tempdir().unwrap();
            let log = folder.path().join("audit.log");
            let server = serve(&log, &["--audit-mode", mode]);
            let client = Client::new(&server, era, Some(CLERK));
            let mut count = 0;
            for (case, method, params, (outcome, reason)) in cases() {
                client.request(method, &params);
                count += 1;
                if mode == "required" {
                    let starts = of_event(&read(&log), "start").len();
                    assert_eq!(starts, count, "{case} in {era:?}: answered before");
                }
                let records = wait_for_ends(&log, count);
                let end = of_event(&records, "end")[count - 1].clone();
                assert_eq!(end["outcome"], outcome, "{case} in {era:?}, {mode}: {end}");
                assert_eq!(
                    end["reason"].as_str(),
                    reason,
                    "{case} in {era:?}, {mode}: {end}"
                );
                assert_eq!(end["method"], method, "{case}");
                assert!(end["duration_seconds"].as_f64().unwrap() >= 0.0, "{end}");
            }
            // Lists reveal no more than what there is.
            client.request("tools/list", &json!({}));
            let refused = json!({"uri": "x://vault"});
            client.request("resources/read", &refused);
            let records = wait_for_ends(&log, count + 1);
            let end = of_event(&records, "end")[count];
            assert_eq!(end["outcome"], "denied", "{end}");
            check(&records);
        }
    }
}

#[test]
fn a_call_that_is_given_up_refused_or_cut_off_says_by_whom() {
    for era in ERAS {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.log");
        let options = ["--drain-timeout", "100ms", "--max-calls", "1"];
        let mut server = serve(&log, &options);
        let client = Client::new(&server, era, Some(OPS));
        let wait_for = |name: &str, outcome: &str, reason: &str| {
            let is_it = |end: &&Value| {
                end["name"] == name && end["outcome"] == outcome && end["reason"] == reason
            };
            let ended = || {
                of_event(&read(&log), "end")
                    .into_iter()
                    .find(is_it)
                    .map(drop)
            };
            let found = eventually(ended);
            assert!(found.is_some(), "{name}, {reason}: {:#?}", read(&log));
        };

        let gate = Gate::new(&server, "cancelled");
        let http = client.start_call(7, "gate", &gate.arguments());
        gate.wait();
        let busy = client.start_call(8, "echo", &json!({"text": "x"})).read();
        assert!(busy.error_code().is_some(), "{busy:?}");
        wait_for("echo", "refused", "refused: the server is busy");
        let how = match era {
            Era::Legacy => {
                let params = json!({"requestId": 7});
                let message = json!({
                    "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params
                });
                assert_eq!(client.post_message(&message).status, 202);
                "cancelled by the client"
            }
            Era::Modern => "cancelled by a lost connection",
        };
        drop(http);
        wait_for("gate", "cancelled", how);
        // Its place is free when its process is gone.
        let called = eventually(|| {
            let response = client.start_call(1, "rare", &json!({})).read();
            response.error_code().is_none().then_some(())
        });
        assert!(called.is_some());
        client.start_call(1, "rare", &json!({})).read();
        wait_for("rare", "refused", "refused: too often");

        let gate = Gate::new(&server, "shutdown");
        let _http = client.start_call(9, "gate", &gate.arguments());
        gate.wait();
        server.signal("TERM");
        server.wait();
        wait_for("gate", "cancelled", "cancelled by shutdown");
        let records = read(&log);
        assert_eq!(records.last().unwrap()["event"], "close");
        check(&records);
    }
}

#[test]
fn a_task_ends_when_its_call_does_and_not_with_its_request() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let server = serve(&log, &["--audit-mode", "required", "--max-tasks", "1"]);
    let client = Client::new(&server, Era::Modern, Some(OPS));
    let call = |gate: &Gate| {
        let params = json!({"name": "gate", "arguments": gate.arguments()});
        tasks::request(&client, "tools/call", &params)
    };
    let gate = Gate::new(&server, "task");
    let created = call(&gate).json();
    assert_eq!(created["result"]["resultType"], "task", "{created}");
    gate.wait();
    assert_eq!(call(&gate).status, 503, "there is no room for another");
    let records = wait_for_ends(&log, 1);
    let end = of_event(&records, "end")[0];
    assert_eq!(end["reason"], "refused: too many tasks", "{end}");
    gate.open();
    let records = wait_for_ends(&log, 2);
    let end = of_event(&records, "end")[1];
    assert_eq!(
        (&end["name"], &end["outcome"]),
        (&json!("gate"), &json!("ok"))
    );
    check(&records);
}

#[test]
fn calls_of_a_batch_and_over_standard_input_are_written_down_too() {
    let folder = tempfile::tempdir().unwrap();
    let (log, input) = (folder.path().join("audit.log"), folder.path().join("input"));
    let file = folder.path().join("tools.yaml");
    fs::write(&file, tools()).unwrap();
    let call = |id: u64, name: &str, meta: Option<Value>| {
        let mut params = json!({"name": name, "arguments": {}});
        params["_meta"] = meta.unwrap_or_else(|| json!({}));
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
    };
    let batch = json!([
        call(1, "fixed", None),
        call(2, "fails", None),
        call(3, "nothing", None)
    ]);
    let mut half = modern_meta();
    half.as_object_mut()
        .unwrap()
        .remove("io.modelcontextprotocol/clientCapabilities");
    let modern = [
        call(4, "fixed", Some(modern_meta())),
        call(5, "fails", Some(modern_meta())),
        call(6, "fixed", Some(half)),
    ];
    let lines = [initialize("2025-03-26"), batch].into_iter().chain(modern);
    let lines: Vec<_> = lines.map(|line| line.to_string()).collect();
    fs::write(&input, lines.join("\n") + "\n").unwrap();
    let output = command()
        .args(["--stdio", "--audit-mode", "required", "--tools"])
        .arg(file)
        .arg("--audit")
        .arg(&log)
        .stdin(File::open(&input).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let records = wait_for_ends(&log, 6);
    check(&records);
    let ends = of_event(&records, "end");
    let mut outcomes: Vec<_> = ends
        .iter()
        .map(|end| end["outcome"].as_str().unwrap())
        .collect();
    outcomes.sort_unstable();
    let expected = ["error", "error", "invalid", "not_found", "ok", "ok"];
    assert_eq!(outcomes, expected);
    assert!(
        ends.iter()
            .all(|end| end["client"].is_null() && end["subject"].is_null())
    );
    let in_session = ends.iter().filter(|end| end["session"].is_string()).count();
    assert_eq!(in_session, 3);
}
