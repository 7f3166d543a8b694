//! The file of an audit log: after a crash, moved away, removed, and at a place where it should not be.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use mcp_serve::protocol::version::Era;
use rustix::process::getuid;
use serde_json::{Value, json};

use super::disk::assert_refused;
use super::{OPS, check, of_event, read, serve, tools, wait_for_ends};
use crate::faults::starts::setpriv;
use crate::support::{Client, ERAS, Gate, Run, command, eventually, run};

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

#[test]
fn a_folder_that_is_gone_ends_calls_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("place");
    fs::create_dir(&place).unwrap();
    let log = place.join("audit.log");
    let server = serve(&log, &["--audit-mode", "required"]);
    let client = Client::new(&server, Era::Modern, Some(OPS));
    let call = || client.request("tools/call", &json!({"name": "fixed"}));
    assert_eq!(call().status, 200);
    wait_for_ends(&log, 1);
    let before = read(&log);
    fs::remove_dir_all(&place).unwrap();
    assert_refused(&call(), "without its folder");
    fs::create_dir(&place).unwrap();
    let recovered = eventually(|| (call().status == 200).then_some(()));
    assert!(recovered.is_some());
    let all = eventually(|| {
        let all = [before.clone(), read(&log)].concat();
        let ends = of_event(&all, "end");
        (ends.last()?["outcome"] == "ok" && ends.len() > 2).then_some(all)
    });
    check(&all.unwrap());
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
            "it is not an audit log; nothing is added to it",
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
        assert_eq!(
            ended.code,
            Some(2),
            "a start would end like this again: {ended:?}"
        );
        let message = format!("error: --audit {}: {expected}", path.display());
        let said = complaint(&ended);
        assert!(said.starts_with(&message), "{message}: {ended:?}");
        let checked = run(command()
            .args(["check", "--tools"])
            .arg(&file)
            .arg("--audit")
            .arg(&path));
        assert_eq!(checked.code, Some(2), "{checked:?}");
        assert_eq!(complaint(&checked), said);
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

#[test]
fn a_check_of_the_place_makes_no_file_and_bears_with_the_server_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(folder.path(), 0o755);
    let file = folder.path().join("tools.yaml");
    fs::write(&file, tools()).unwrap();
    let check = |mut command: Command, log: &Path| {
        run(command
            .arg("check")
            .arg("--tools")
            .arg(&file)
            .arg("--audit")
            .arg(log))
    };
    let log = folder.path().join("audit.log");
    let checked = check(command(), &log);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(!log.exists());
    // Its first line is there when it serves.
    let _server = serve(&log, &["--audit-mode", "required"]);
    let text = fs::read(&log).unwrap();
    let checked = check(command(), &log);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert_eq!(fs::read(&log).unwrap(), text);

    let sealed = folder.path().join("sealed");
    fs::create_dir(&sealed).unwrap();
    set_mode(&sealed, 0o555);
    let log = sealed.join("audit.log");
    // Nothing is sealed for root.
    let mut other = setpriv();
    other.arg(env!("CARGO_BIN_EXE_mcp-serve"));
    let command = if getuid().is_root() { other } else { command() };
    let checked = check(command, &log);
    let message = format!(
        "error: --audit {}: it cannot be opened: Permission denied (os error 13)",
        log.display()
    );
    assert_eq!(complaint(&checked), message, "{checked:?}");
}

/// What a command says of the audit log.
fn complaint(run: &Run) -> String {
    let mut lines = run.stderr.lines();
    let line = lines.find(|line| line.starts_with("error: --audit"));
    line.unwrap_or_else(|| panic!("{run:?}")).to_owned()
}
