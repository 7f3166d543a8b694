//! The file of an audit log: after a crash, moved away, removed, and at a place where it should not be.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::thread;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use super::{OPS, check, of_event, read, serve, tools, wait_for_ends};
use crate::support::{Client, ERAS, Gate, command, eventually, run};

#[test]
fn a_killed_server_leaves_calls_that_the_next_one_ends_as_unknown() {
    for era in ERAS {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.log");
        let first = serve(&log, &[]);
        let client = Client::new(&first, era, Some(OPS));
        client.call("fixed", &json!({}));
        let gate = Gate::new(&first, "killed");
        let _http = client.start_call(7, "gate", &gate.arguments());
        gate.wait();
        eventually(|| (of_event(&read(&log), "start").len() == 2).then_some(())).unwrap();
        first.signal("KILL");
        gate.open();
        drop(first);
        // The end of a crash is anywhere.
        let torn = fs::read_to_string(&log).unwrap() + "{\"seq\":5,\"ti";
        fs::write(&log, torn).unwrap();

        let second = serve(&log, &[]);
        let client = Client::new(&second, era, Some(OPS));
        client.call("fixed", &json!({}));
        let whole = || {
            let text = fs::read_to_string(&log).unwrap();
            text.replace("{\"seq\":5,\"ti\n", "")
        };
        let repaired = folder.path().join("repaired");
        let records = eventually(|| {
            fs::write(&repaired, whole()).unwrap();
            let records = read(&repaired);
            (of_event(&records, "end").len() == 3).then_some(records)
        });
        let records = records.unwrap_or_else(|| panic!("{}", whole()));
        check(&records);
        let [start, unknown] = [&records[3], &records[4]];
        assert_eq!(unknown["outcome"], "unknown", "{unknown}");
        assert_eq!(
            (&unknown["name"], &unknown["subject"]),
            (&json!("gate"), &json!("olga"))
        );
        assert_eq!(
            (&unknown["run"], &unknown["call"]),
            (&start["run"], &start["call"])
        );
        assert_eq!(records[5]["event"], "open");
        assert_ne!(records[5]["run"], start["run"]);
    }
}

#[test]
fn numbers_have_no_gap_while_the_file_is_moved_away_under_load() {
    const CLIENTS: usize = 8;
    const CALLS: usize = 30;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let server = serve(&log, &["--max-calls-per-principal", "0"]);
    let rotated = |number: usize| folder.path().join(format!("audit.log.{number}"));
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let client = Client::new(&server, ERAS[number % 2], Some(OPS));
            scope.spawn(move || {
                for call in 0..CALLS {
                    let (tool, arguments) = if call % 5 == 0 {
                        ("echo", json!({"text": "x"}))
                    } else {
                        ("fixed", json!({}))
                    };
                    client.call(tool, &arguments);
                }
            });
        }
        for number in 1..4 {
            let calls = number * CLIENTS * CALLS / 5;
            let is_filled = || {
                let files = (1..number).map(&rotated).chain([log.clone()]);
                let lines: usize = files.map(|file| read(&file).len()).sum();
                (lines > calls).then_some(())
            };
            assert!(eventually(is_filled).is_some());
            fs::rename(&log, rotated(number)).unwrap();
            server.signal("HUP");
            assert!(eventually(|| log.exists().then_some(())).is_some());
        }
    });
    let all = || -> Vec<Value> {
        let files = (1..4).map(&rotated).chain([log.clone()]);
        files.flat_map(|file| read(&file)).collect()
    };
    eventually(|| (of_event(&all(), "end").len() == CLIENTS * CALLS).then_some(()));
    let records = all();
    assert_eq!(of_event(&records, "end").len(), CLIENTS * CALLS);
    assert_eq!(of_event(&records, "open").len(), 4, "one for each file");
    check(&records);
}

#[test]
fn a_file_that_was_removed_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let server = serve(&log, &[]);
    let client = Client::new(&server, Era::Modern, Some(OPS));
    client.call("fixed", &json!({}));
    wait_for_ends(&log, 1);
    fs::remove_file(&log).unwrap();
    client.call("fixed", &json!({}));
    let records = eventually(|| {
        let records = log.exists().then(|| read(&log))?;
        (of_event(&records, "end").len() == 1).then_some(records)
    });
    assert_eq!(records.unwrap()[0]["seq"], 4);
}

/// What can stand at the path of an audit log, and why it is not used.
fn unusable(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let at = |name: &str| folder.join(name);
    let write = |name: &str, text: &str, mode: u32| {
        fs::write(at(name), text).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        at(name)
    };
    symlink(write("target", "", 0o600), at("link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    vec![
        (at("link"), "it is a symbolic link; name the file itself"),
        (at("pipe"), "it is not a regular file"),
        (
            at("missing/audit.log"),
            "it cannot be opened: No such file or directory",
        ),
        (write("open", "", 0o622), "its mode is 0622"),
        (
            write("tools", "tools:\n", 0o600),
            "it holds something else than an audit log",
        ),
        (folder.to_owned(), "it cannot be opened: Is a directory"),
    ]
}

#[test]
fn a_place_that_is_not_safe_for_an_audit_log_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tools.yaml");
    fs::write(&file, tools()).unwrap();
    let start = |target: &Path| {
        run(command()
            .args(["--listen", "127.0.0.1:0", "--tools"])
            .arg(&file)
            .arg("--audit")
            .arg(target))
    };
    for (path, expected) in unusable(folder.path()) {
        let ended = start(&path);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let message = format!("error: --audit {}: {expected}", path.display());
        assert!(
            ended.stderr.contains(&message),
            "{message}: {}",
            ended.stderr
        );
    }
    let log = folder.path().join("audit.log");
    let _first = serve(&log, &[]);
    let second = start(&log);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(
        second.stderr.contains("another process writes to it"),
        "{second:?}"
    );
}
