//! A disk that takes nothing any more (F08), for which a limit of the size of files stands.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use mcp_serve::protocol::version::Era;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use super::{OPS, auth, check, of_event, read, wait_for_ends};
use crate::metrics::{monitor_of, scrape, value};
use crate::support::{Client, ERAS, Http, Response, Run, TestServer, eventually, run};

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

/// Lets no file of the server become larger than this.
fn limit(server: &TestServer, size: Option<u64>) {
    let pid = Pid::from_raw(server.pid().cast_signed());
    let limit = Rlimit {
        current: size,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, limit).unwrap();
}

fn length(log: &Path) -> u64 {
    fs::metadata(log).unwrap().len()
}

fn call(client: &Client, tool: &str) -> Response {
    client.start_call(1, tool, &json!({})).read()
}

fn ready(server: &TestServer) -> (u16, String) {
    let response = Http::connect(server.address()).request("GET", "/readyz", &[], "");
    (response.status, response.text().to_owned())
}

/// Waits until the audit log works again, or does not.
fn wait_for_failing(monitor: &str, is_failing: bool) {
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

        // Room for a part of one line.
        limit(&server, Some(length(&log) + 50));
        for tool in ["mark", "mark", "fixed"] {
            let refused = call(&client, tool);
            let found = (
                refused.status,
                refused.error_code(),
                refused.header("retry-after"),
            );
            assert_eq!(found, (503, Some(-32603), Some("5")), "{refused:?}");
            assert!(
                refused.text().contains("cannot keep its audit log"),
                "{refused:?}"
            );
        }
        assert!(!server.folder().join("marked").exists(), "it ran");
        let unready = (503, "the audit log cannot be written\n".to_owned());
        assert_eq!(ready(&server), unready);
        wait_for_failing(&monitor, true);
        server.wait_for_log("the audit log cannot be written");

        limit(&server, None);
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

#[test]
fn at_best_effort_calls_go_on_and_what_waits_is_written_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let server = serve(&log, "best_effort");
    let monitor = monitor_of(&server);
    let client = Client::new(&server, Era::Modern, Some(OPS));
    limit(&server, Some(length(&log) + 50));
    for _ in 0..3 {
        assert_eq!(call(&client, "fixed").status, 200);
    }
    wait_for_failing(&monitor, true);
    assert_eq!(ready(&server).0, 200, "nobody asked for that");
    let text = fs::read_to_string(&log).unwrap();
    assert!(!text.ends_with('\n'), "half a line: {text}");
    limit(&server, None);
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
    let ended = run_on_full_disk(&log, &["--listen", "127.0.0.1:0"], "required");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let expected = "it cannot be written, which --audit-mode required asks for";
    assert!(ended.stderr.contains(expected), "{ended:?}");
    assert_eq!(fs::read_to_string(&log).unwrap(), "");
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
    limit(&server, Some(length(&log) + 50));
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
