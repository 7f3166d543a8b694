//! Programs that fail: F01 to F06, F13 to F16 and F19.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use serde_json::json;

use super::machine::under;
use super::{Watched, fault_program, tool};
use crate::support::{ALLOWANCE, ERAS, Http, eventually, wait_for_line};

const OUT_OF_MEMORY: &str = " when memory ran out";

/// Waits until a process is gone, and reaped.
fn wait_for_reaped(pid: &str, case: &str) {
    let gone = eventually(|| (!Path::new("/proc").join(pid).exists()).then_some(()));
    assert!(gone.is_some(), "{case}: {pid} is left");
}

/// How many processes the kernel of this machine has ended for want of memory.
fn ended_for_memory() -> String {
    let vmstat = fs::read_to_string("/proc/vmstat").unwrap();
    let mut lines = vmstat.lines();
    let line = lines.find(|line| line.starts_with("oom_kill "));
    line.unwrap().to_owned()
}

#[test]
fn a_program_that_is_killed_is_told_so() {
    let ended = ended_for_memory();
    let watched = Watched::start(&tool("killed", "signal KILL", ""), &[]);
    for era in ERAS {
        let client = watched.client(era);
        let started = Instant::now();
        let (told, is_error) = watched.text(&client, "killed", &json!({}));
        // Memory may run out for a neighbour on this machine, and only then that is told.
        let reason = told.contains(OUT_OF_MEMORY) && ended_for_memory() != ended;
        let reason = if reason { OUT_OF_MEMORY } else { "" };
        let expected = format!("the tool was terminated by signal 9{reason} and said nothing");
        assert_eq!((told, is_error), (expected, true), "{era:?}");
        assert!(started.elapsed() < ALLOWANCE, "{era:?}");
        watched.check("killed");
    }
}

#[test]
fn a_tree_that_ignores_signals_is_gone_after_its_grace() {
    // So long that it is deaf before it is asked to end.
    let limits = "    timeout: 2s\n    cancel: {grace: 300ms}\n";
    let tools = tool("deaf", "deaf pid", limits);
    let watched = Watched::start(&tools, &[]);
    for era in ERAS {
        let client = watched.client(era);
        let started = Instant::now();
        let (told, _) = watched.text(&client, "deaf", &json!({}));
        assert_eq!(told, "the tool was stopped after its time limit of 2s");
        let answered = started.elapsed();
        assert!(
            answered < Duration::from_secs(2) + ALLOWANCE,
            "{answered:?}"
        );
        for name in ["pid", "pid.child"] {
            let file = watched.file(name);
            wait_for_reaped(&wait_for_line(&file), name);
            fs::remove_file(file).unwrap();
        }
        let gone = started.elapsed();
        assert!(gone < Duration::from_millis(3300) + ALLOWANCE, "{gone:?}");
        watched.check("deaf");
    }
}

#[test]
fn a_daemon_ends_with_its_call() {
    let hows = [
        ("background", true),
        ("setsid", true),
        ("fork", true),
        ("setsid-fork", true),
        ("closed", false),
        ("closed-setsid", false),
        ("closed-setsid-fork", false),
        ("hidden-closed-setsid-fork", false),
    ];
    let tools = hows.map(|(how, _)| tool(how, &format!("daemon {how} {how}.pid"), ""));
    let watched = Watched::start(&tools.concat(), &[]);
    for (how, is_open) in hows {
        let client = watched.client(Era::Modern);
        let started = Instant::now();
        let (told, is_error) = watched.text(&client, how, &json!({}));
        assert!(told.starts_with("started\n") && !is_error, "{how}: {told}");
        let is_marked = told.contains("the output may be incomplete");
        assert_eq!(is_marked, is_open, "{how}: {told}");
        let took = started.elapsed();
        assert!(took < Duration::from_secs(1) + ALLOWANCE, "{how}: {took:?}");
        let pid = wait_for_line(&watched.file(&format!("{how}.pid")));
        wait_for_reaped(&pid, how);
    }
    watched.check("daemons");
}

#[test]
fn a_daemon_lives_while_its_call_runs() {
    let script = "'\"$0\" daemon closed-setsid-fork pid; touch runs; until [ -e go ] || [ ! -e runs ]; do sleep 0.02; done; kill -0 $(cat pid) && echo alive'";
    let program = fault_program().display();
    let tools = format!(
        "  needs_one:\n    description: Uses a daemon.\n    exec: sh -c {script} {program}\n    workdir: .\n"
    );
    let watched = Watched::start(&tools, &[]);
    let client = watched.client(Era::Modern);
    let mut http = watched.start_call(&client, "needs_one", &json!({}));
    let runs = eventually(|| watched.file("runs").exists().then_some(()));
    assert!(runs.is_some(), "it does not start");
    // The end of another call must not be its end.
    watched.good(Era::Legacy);
    fs::write(watched.file("go"), "").unwrap();
    let result = &http.read().json()["result"];
    assert_eq!(result["content"][0]["text"], "started\nalive\n", "{result}");
    wait_for_reaped(&wait_for_line(&watched.file("pid")), "its call is over");
    drop(http);
    watched.check("a daemon in use");
}

#[test]
fn orphans_are_reaped_while_their_call_runs() {
    let script = "'for i in 1 2 3 4 5 6 7 8; do (setsid sleep 0.01 &); done; touch runs; until [ -e go ] || [ ! -e runs ]; do sleep 0.02; done'";
    let tools = format!(
        "  orphans:\n    description: Leaves orphans that die.\n    exec: sh -c {script}\n    workdir: .\n"
    );
    let watched = Watched::start(&tools, &[]);
    let client = watched.client(Era::Modern);
    let mut http = watched.start_call(&client, "orphans", &json!({}));
    let runs = eventually(|| watched.file("runs").exists().then_some(()));
    assert!(runs.is_some(), "it does not start");
    // The shell and the sleep that it waits with are all that is left.
    let reaped = eventually(|| (watched.server.descendants().len() <= 2).then_some(()));
    assert!(reaped.is_some(), "{:?}", watched.server.descendants());
    fs::write(watched.file("go"), "").unwrap();
    http.read();
    drop(http);
    watched.check("orphans");
}

/// More of them than the server may have descriptors.
#[test]
fn a_crowd_of_daemons_ends_with_its_call() {
    const CROWD: usize = 200;
    let script = format!(
        "'for i in $(seq {CROWD}); do setsid sleep 300 >/dev/null 2>&1 & done; touch runs; until [ -e go ] || [ ! -e runs ]; do sleep 0.02; done'"
    );
    let tools = format!(
        "  crowd:\n    description: Leaves a crowd.\n    exec: sh -c {script}\n    workdir: .\n    timeout: 2m\n"
    );
    let watched = Watched::start_with(&tools, &[], |prepare| under(prepare, "ulimit -n 64"));
    let client = watched.client(Era::Modern);
    let mut http = watched.start_call(&client, "crowd", &json!({}));
    let runs = eventually(|| watched.file("runs").exists().then_some(()));
    assert!(runs.is_some(), "it does not start");
    // They are of a call that runs: the end of another is not theirs.
    watched.good(Era::Legacy);
    assert!(watched.server.descendants().len() > CROWD);
    fs::write(watched.file("go"), "").unwrap();
    http.read();
    drop(http);
    watched.check("a crowd");
    let log = watched.server.log().join("\n");
    assert!(!log.contains("an orphan cannot be waited for"), "{log}");
}

#[test]
fn a_flood_takes_neither_memory_nor_time() {
    let cut = "    max_output: 64KiB\n";
    let mut tools = String::new();
    for form in ["lines", "one"] {
        for streams in ["stdout", "stderr", "both"] {
            let words = format!("flood {streams} {form} 1073741824");
            tools += &tool(&format!("{streams}_{form}"), &words, cut);
        }
    }
    let watched = Watched::start(&tools, &[]);
    let client = watched.client(Era::Legacy);
    for form in ["lines", "one"] {
        for streams in ["stdout", "both", "stderr"] {
            let name = format!("{streams}_{form}");
            let (told, is_error) = watched.text(&client, &name, &json!({}));
            assert!(!is_error, "{name}: {told:.200}");
            assert!(told.len() < 65 * 1024, "{name}: {}", told.len());
            let is_cut = told.contains("[output cut: ");
            assert_eq!(is_cut, streams != "stderr", "{name}: {told:.200}");
        }
    }
    watched.check("floods");
}

#[test]
fn input_that_nobody_reads_holds_nothing_up() {
    let takes = "    stdin: json\n    params: {text: string}\n";
    let tools = [
        ("unread", "    timeout: 1s\n"),
        ("closed", ""),
        ("ignored", ""),
    ];
    let tools =
        tools.map(|(how, time)| tool(how, &format!("stdin {how}"), &format!("{takes}{time}")));
    let watched = Watched::start(&tools.concat(), &[]);
    let arguments = json!({"text": "x".repeat(1 << 20)});
    for era in ERAS {
        let client = watched.client(era);
        for how in ["unread", "closed", "ignored"] {
            let told = watched.text(&client, how, &arguments);
            let expected = match how {
                "unread" => ("the tool was stopped after its time limit of 1s", true),
                _ => ("done without reading", false),
            };
            assert_eq!(told, (expected.0.to_owned(), expected.1), "{era:?} {how}");
        }
    }
    watched.check("input");
}

#[test]
fn a_program_that_cannot_start_says_why_and_costs_nothing() {
    let mut temporary = std::path::PathBuf::new();
    let exec = "  written:\n    description: Is being written.\n    exec: ./written\n    workdir: .\n  homeless:\n    description: Has no folder.\n    exec: echo x\n  long:\n    description: Takes too much.\n    exec: echo {texts...}\n    workdir: .\n    params: {texts: string...}\n";
    let watched = Watched::start_with(exec, &[], |prepare| {
        temporary = prepare.folder.join("temporary");
        fs::create_dir(&temporary).unwrap();
        prepare.command.env("TMPDIR", &temporary);
        let written = prepare.folder.join("written");
        fs::copy("/bin/true", &written).unwrap();
        fs::set_permissions(&written, fs::Permissions::from_mode(0o755)).unwrap();
    });
    let client = watched.client(Era::Modern);
    let mut options = fs::OpenOptions::new();
    let writing = options.append(true).open(watched.file("written"));
    let (told, is_error) = watched.text(&client, "written", &json!({}));
    assert!(
        is_error && told.ends_with("being written; try again (ETXTBSY)"),
        "{told}"
    );
    drop(writing.unwrap());
    assert!(!watched.text(&client, "written", &json!({})).1);
    fs::remove_dir(&temporary).unwrap();
    let (told, is_error) = watched.text(&client, "homeless", &json!({}));
    let expected =
        "the tool could not be started: there is no place for its folder on this machine (ENOENT)";
    assert_eq!((told.as_str(), is_error), (expected, true));
    fs::create_dir(&temporary).unwrap();
    assert!(!watched.text(&client, "homeless", &json!({})).1);
    let texts = vec!["x".repeat(100 << 10); 30];
    let (told, is_error) = watched.text(&client, "long", &json!({"texts": texts}));
    assert!(
        is_error && told.contains("larger than 1 MiB in all"),
        "{told:.300}"
    );
    watched.check("no start");
}

#[test]
fn a_program_is_ended_before_the_server_when_memory_is_short() {
    let script = "'until [ \"$(cat /proc/self/oom_score_adj)\" = 500 ] || [ ! -e tools.yaml ]; do sleep 0.01; done; echo so'";
    let tools = format!(
        "  score:\n    description: Waits for its score.\n    exec: sh -c {script}\n    workdir: .\n"
    );
    let watched = Watched::start(&tools, &[]);
    let client = watched.client(Era::Modern);
    let told = watched.text(&client, "score", &json!({}));
    assert_eq!(told, ("so\n".to_owned(), false));
    watched.check("score");
}

/// A cgroup with little memory, until it is dropped.
struct Poor(PathBuf);

impl Poor {
    /// The error is why this machine has none.
    fn new() -> std::io::Result<Self> {
        let (version_1, version_2) = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup");
        let is_old = Path::new(version_1).join("memory.limit_in_bytes").exists();
        let (root, limit) = if is_old {
            (version_1, "memory.limit_in_bytes")
        } else {
            (version_2, "memory.max")
        };
        let name = format!("mcp-serve-test-{}", std::process::id());
        let group = Self(Path::new(root).join(name));
        fs::create_dir(&group.0)?;
        fs::write(group.0.join(limit), "64M")?;
        if !is_old {
            // A machine without swap has no such file.
            drop(fs::write(group.0.join("memory.swap.max"), "0"));
        }
        Ok(group)
    }
}

impl Drop for Poor {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0));
    }
}

/// Says, also where the output of tests that pass is not shown, why this is not tested: only root can
/// make a cgroup, and not in every container.
fn say_untested(error: &std::io::Error) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let line = format!("{name}: not tested, for want of a cgroup with a limit: {error}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// The program is in a cgroup with little memory, so that the machine has enough.
#[test]
fn a_program_that_takes_all_memory_is_told_so() {
    let group = match Poor::new() {
        Ok(group) => group,
        Err(error) => return say_untested(&error),
    };
    let script = format!(
        "'echo $$ > {}/cgroup.procs && exec \"$0\" memory 256'",
        group.0.display()
    );
    let program = fault_program().display();
    let tools = format!(
        "  hungry:\n    description: Takes all memory.\n    exec: sh -c {script} {program}\n"
    );
    let watched = Watched::start(&tools, &[]);
    for era in ERAS {
        let told = watched.text(&watched.client(era), "hungry", &json!({}));
        let expected =
            format!("the tool was terminated by signal 9{OUT_OF_MEMORY} and said nothing");
        assert_eq!(told, (expected, true), "{era:?}");
        watched.check("hungry");
    }
}

#[test]
fn a_program_that_stops_itself_ends_at_its_deadline() {
    let limits = "    timeout: 300ms\n    cancel: {grace: 30s}\n";
    let watched = Watched::start(&tool("stopped", "signal STOP", limits), &[]);
    for era in ERAS {
        let client = watched.client(era);
        let started = Instant::now();
        let (told, _) = watched.text(&client, "stopped", &json!({}));
        assert_eq!(told, "the tool was stopped after its time limit of 300ms");
        watched.wait_for_rest("stopped");
        // It heard the request to end, and did not take the grace.
        let took = started.elapsed();
        assert!(took < Duration::from_secs(20), "{era:?}: {took:?}");
    }
    watched.check("stopped");
}

#[test]
fn progress_without_end_is_ten_lines_a_second() {
    let tools = tool(
        "steps",
        "progress 300000",
        "    messages: true\n    timeout: 2m\n",
    );
    let watched = Watched::start(&tools, &[]);
    let client = watched.client(Era::Modern);
    let mut message = client.message(7, "tools/call", &json!({"name": "steps", "arguments": {}}));
    message["params"]["_meta"]["progressToken"] = json!("steps");
    watched.calls.set(watched.calls.get() + 1);
    let started = Instant::now();
    let mut http = Http::connect(watched.server.address());
    client.send_on(&mut http, &message);
    let response = http.read();
    let took = started.elapsed().as_secs_f64();
    let count = response.text().matches("notifications/progress").count();
    assert_eq!(response.json()["result"]["content"][0]["text"], "end");
    // The first ten may come at once.
    let most = 10.0 * took + 12.0;
    let count = u32::try_from(count).unwrap();
    assert!(count > 0 && f64::from(count) <= most, "{count} in {took} s");
    drop(http);
    watched.check("progress");
}
