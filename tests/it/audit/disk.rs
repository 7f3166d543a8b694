//! A disk that takes nothing any more (F08), for which a limit of the size of files stands.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use mcp_serve::protocol::version::Era;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use super::{CLERK, OPS, auth, cases, check, of_event, read, wait_for_ends};
use crate::metrics::{monitor_of, scrape, value};
use crate::support::{Client, ERAS, GATE, Gate, Http, Response, Run, TestServer, eventually, run};
use crate::tasks;

const TOOLS: &str = "
tools:
  fixed:
    description: Says the same each time.
    content: fixed
  mark:
    description: Leaves a mark.
    exec: touch marked
    workdir: .
";

fn serve(log: &Path, mode: &str) -> TestServer {
    let options = ["--metrics-listen", "127.0.0.1:0", "--audit-mode", mode];
    TestServer::start_with(TOOLS, &options, |prepare| {
        prepare.serve_with_auth(&auth());
        prepare.command.arg("--audit").arg(log);
    })
}

/// Lets no file of a server become larger than this.
pub(super) fn limit(server: u32, size: Option<u64>) {
    let pid = Pid::from_raw(server.cast_signed());
    let limit = Rlimit {
        current: size,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, limit).unwrap();
}

/// Leaves room for a part of one line in the audit log.
pub(super) fn fill(server: u32, log: &Path) {
    limit(server, Some(fs::metadata(log).unwrap().len() + 50));
}

/// Checks that a request was not served, since it could not be written down.
pub(super) fn assert_refused(response: &Response, case: &str) {
    let found = (
        response.status,
        response.error_code(),
        response.header("retry-after"),
    );
    let expected = (503, Some(-32603), Some("5"));
    assert_eq!(found, expected, "{case}: {response:?}");
    let text = response.text();
    assert!(text.contains("cannot keep its audit log"), "{case}: {text}");
}

fn call(client: &Client, tool: &str) -> Response {
    client.start_call(1, tool, &json!({})).read()
}

pub(super) fn ready(server: &TestServer) -> (u16, String) {
    let response = Http::connect(server.address()).request("GET", "/readyz", &[], "");
    (response.status, response.text().to_owned())
}

/// Waits until the audit log works again, or does not.
pub(super) fn wait_for_failing(monitor: &str, is_failing: bool) {
    let expected = f64::from(u8::from(is_failing));
    let is_so = || {
        let now = value(&scrape(monitor), "audit_failing");
        ((now - expected).abs() < 0.5).then_some(())
    };
    assert!(eventually(is_so).is_some(), "failing: not {is_failing}");
}

#[test]
fn no_call_runs_whose_beginning_is_not_on_the_disk() {
    for era in ERAS {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.log");
        let server = serve(&log, "required");
        let monitor = monitor_of(&server);
        let client = Client::new(&server, era, Some(OPS));
        assert_eq!(call(&client, "fixed").status, 200);
        assert_eq!(ready(&server), (200, "ready\n".to_owned()));

        fill(server.pid(), &log);
        for tool in ["mark", "mark", "fixed"] {
            assert_refused(&call(&client, tool), tool);
        }
        assert!(!server.folder().join("marked").exists(), "it ran");
        let unready = (503, "the audit log cannot be written\n".to_owned());
        assert_eq!(ready(&server), unready);
        wait_for_failing(&monitor, true);
        server.wait_for_log("the audit log cannot be written");

        limit(server.pid(), None);
        wait_for_failing(&monitor, false);
        server.wait_for_log("the audit log can be written again");
        assert_eq!(ready(&server), (200, "ready\n".to_owned()));
        assert_eq!(call(&client, "mark").status, 200);
        assert!(server.folder().join("marked").exists());
        let records = eventually(|| {
            let records = read(&log);
            (of_event(&records, "end").len() == 3).then_some(records)
        });
        let records = records.unwrap_or_else(|| panic!("{:#?}", read(&log)));
        check(&records);
        let outcomes: Vec<_> = of_event(&records, "end");
        let outcomes: Vec<_> = outcomes.iter().map(|end| &end["outcome"]).collect();
        assert_eq!(outcomes, ["ok", "refused", "ok"]);
        let lost = of_event(&records, "lost");
        assert_eq!(
            lost.iter().map(|line| &line["records"]).collect::<Vec<_>>(),
            [4]
        );
        let counted = |outcome: &str| {
            let series = format!("audit_records_total{{outcome=\"{outcome}\"}}");
            value(&scrape(&monitor), &series)
        };
        let all = eventually(|| (counted("written") > 7.5).then_some(()));
        assert!(all.is_some(), "{}", counted("written"));
        assert_eq!((counted("written"), counted("lost")), (8.0, 4.0));
    }
}

/// Whatever it is: answered at once, an error, a challenge, or one call too many.
#[test]
fn nothing_is_answered_whose_beginning_is_not_on_the_disk() {
    for era in ERAS {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.log");
        let options = [
            "--metrics-listen=127.0.0.1:0",
            "--audit-mode=required",
            "--max-calls=1",
        ];
        let server = super::serve(&log, &options);
        let monitor = monitor_of(&server);
        let client = Client::new(&server, era, Some(CLERK));
        let gate = Gate::new(&server, "running");
        let mut running = client.start_call(7, "gate", &gate.arguments());
        gate.wait();

        fill(server.pid(), &log);
        for (case, method, params, _) in cases() {
            let refused = client.request(method, &params);
            assert_refused(&refused, &format!("{case} in {era:?}"));
        }
        if era == Era::Modern {
            let good = client.message(1, "tools/call", &json!({"name": "fixed"}));
            let bad = client.message(1, "tools/call", &json!({"name": "secret_door"}));
            let refused = client.post_under(&client.headers(&good), &bad);
            assert_refused(&refused, "a request that contradicts itself");
        }
        // What runs goes on, and is answered.
        gate.open();
        assert_eq!(running.read().status, 200, "{era:?}");

        limit(server.pid(), None);
        wait_for_failing(&monitor, false);
        assert_eq!(call(&client, "fixed").status, 200);
        let records = wait_for_ends(&log, 3);
        check(&records);
        let ends = of_event(&records, "end");
        let mut ends: Vec<_> = ends
            .iter()
            .map(|end| (end["outcome"].as_str().unwrap(), end["reason"].as_str()))
            .collect();
        ends.sort_unstable();
        let unwritten = ("refused", Some("refused: no audit log"));
        assert_eq!(ends, [("ok", None), ("ok", None), unwritten]);
    }
}

#[test]
fn a_batch_and_a_task_are_not_answered_either() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let options = ["--audit-mode", "required", "--max-tasks", "1"];
    let tools = format!("{TOOLS}{GATE}    task: optional\n");
    let server = TestServer::start_with(&tools, &options, |prepare| {
        prepare.command.arg("--audit").arg(&log);
    });
    let gate = Gate::new(&server, "task");
    let modern = server.client(Era::Modern);
    let as_task = || {
        let params = json!({"name": "gate", "arguments": gate.arguments()});
        tasks::request(&modern, "tools/call", &params)
    };
    let created = as_task().json();
    assert_eq!(created["result"]["resultType"], "task", "{created}");
    gate.wait();
    let legacy = Client::with_capabilities(&server, "2025-03-26", &json!({}));

    fill(server.pid(), &log);
    assert_refused(&as_task(), "one task too many");
    let calls = ["fixed", "nothing", "mark", "gate"].map(|name| {
        let params = json!({"name": name, "arguments": {}});
        legacy.message(1, "tools/call", &params)
    });
    let replies = legacy.post_message(&json!(calls)).json();
    let replies = replies.as_array().unwrap();
    assert_eq!(replies.len(), calls.len());
    for reply in replies {
        assert_eq!(reply["error"]["code"], -32603, "{reply}");
        let message = reply["error"]["message"].as_str().unwrap();
        assert!(message.contains("cannot keep its audit log"), "{reply}");
    }
    gate.open();
}

#[test]
fn at_best_effort_calls_go_on_and_what_waits_is_written_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let server = serve(&log, "best_effort");
    let monitor = monitor_of(&server);
    let client = Client::new(&server, Era::Modern, Some(OPS));
    fill(server.pid(), &log);
    for _ in 0..3 {
        assert_eq!(call(&client, "fixed").status, 200);
    }
    wait_for_failing(&monitor, true);
    assert_eq!(ready(&server).0, 200, "nobody asked for that");
    let text = fs::read_to_string(&log).unwrap();
    assert!(!text.ends_with('\n'), "half a line: {text}");
    limit(server.pid(), None);
    wait_for_failing(&monitor, false);
    check(&wait_for_ends(&log, 3));
}

/// Runs a server that can write no file.
fn run_on_full_disk(log: &Path, way: &[&str], mode: &str) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let tools = folder.path().join("tools.yaml");
    fs::write(&tools, TOOLS).unwrap();
    let mut shell = std::process::Command::new("sh");
    run(shell
        .args(["-c", "ulimit -f 0; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_mcp-serve"))
        .args(way)
        .args(["--audit-mode", mode, "--tools"])
        .arg(tools)
        .arg("--audit")
        .arg(log))
}

#[test]
fn a_full_disk_at_the_start_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    for way in [&["--listen", "127.0.0.1:0"][..], &["--stdio"]] {
        let ended = run_on_full_disk(&log, way, "required");
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let expected = "it cannot be written, which --audit-mode required asks for";
        assert!(ended.stderr.contains(expected), "{ended:?}");
        assert_eq!(fs::read_to_string(&log).unwrap(), "");
    }
}

#[test]
fn half_a_line_on_a_full_disk_keeps_no_server_of_best_effort_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let text = "{\"seq\":1}\n{\"se";
    fs::write(&log, text).unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o600)).unwrap();
    // Its input is at its end.
    let ended = run_on_full_disk(&log, &["--stdio"], "best_effort");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let expected = "the audit log cannot be written";
    assert!(ended.stderr.contains(expected), "{ended:?}");
    assert_eq!(fs::read_to_string(&log).unwrap(), text);
}

#[test]
fn a_file_that_was_moved_away_from_a_full_disk_ends_the_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let server = serve(&log, "required");
    let monitor = monitor_of(&server);
    let client = Client::new(&server, Era::Modern, Some(OPS));
    for _ in 0..20 {
        assert_eq!(call(&client, "fixed").status, 200);
    }
    wait_for_ends(&log, 20);
    fill(server.pid(), &log);
    assert_eq!(call(&client, "mark").status, 503);
    wait_for_failing(&monitor, true);
    let rotated = folder.path().join("rotated");
    fs::rename(&log, &rotated).unwrap();
    server.signal("HUP");
    wait_for_failing(&monitor, false);
    assert_eq!(call(&client, "fixed").status, 200);
    let all = || -> Vec<Value> { [read(&rotated), read(&log)].concat() };
    let ends = eventually(|| (of_event(&all(), "end").len() == 22).then_some(()));
    assert!(ends.is_some(), "{:#?}", all());
    check(&all());
}
