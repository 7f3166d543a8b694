//! `mcp-fault MODE`: a program that does one thing wrong, for the tests of the server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::exit,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it is a test"
)]

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process, setsid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Longer than any test.
const LONG: Duration = Duration::from_mins(5);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["echo", text] => print!("{text}"),
        ["exit", code] => std::process::exit(code.parse().unwrap()),
        ["signal", "KILL"] => kill_process(getpid(), Signal::KILL).unwrap(),
        ["signal", "STOP"] => {
            println!("before");
            kill_process(getpid(), Signal::STOP).unwrap();
            println!("after");
        }
        ["wait", file, text] => {
            wait_for(Path::new(file));
            print!("{text}");
        }
        ["sleep"] | ["stdin", "unread"] => thread::sleep(LONG),
        ["deaf", file] => deaf(Path::new(file)),
        ["linger", how, file] => linger(how, Path::new(file)),
        ["daemon", how, file] => daemon(how, Path::new(file)),
        ["fork", how, file] => drop(spawn(how, Path::new(file))),
        ["flood", streams, form, bytes] => flood(streams, form, bytes.parse().unwrap()),
        ["stdin", "closed"] => {
            rustix::stdio::dup2_stdin(File::open("/dev/null").unwrap()).unwrap();
            thread::sleep(Duration::from_millis(200));
            print!("done without reading");
        }
        ["stdin", "ignored"] => print!("done without reading"),
        ["progress", count] => progress(count.parse().unwrap()),
        ["memory", mebibytes] => drop(vec![1_u8; mebibytes.parse::<usize>().unwrap() << 20]),
        other => panic!("there is no mode {other:?}"),
    }
}

/// Ignores every request to end, as does its child.
fn deaf(file: &Path) {
    ignore_signals();
    let child = file.with_extension("child");
    let mut child = spawn("background", &child);
    note(file);
    child.wait().unwrap();
}

/// Runs on, in the way of a daemon.
fn linger(how: &str, file: &Path) {
    if how.contains("setsid") {
        setsid().unwrap();
    }
    ignore_signals();
    note(file);
    thread::sleep(LONG);
}

/// Leaves a daemon behind, and ends well when that runs.
fn daemon(how: &str, file: &Path) {
    if how.contains("fork") {
        // Whoever starts the daemon ends at once.
        let mut between = fault(how, &["fork", how, file.to_str().unwrap()]);
        between.spawn().unwrap().wait().unwrap();
    } else {
        drop(spawn(how, file));
    }
    wait_for(file);
    println!("started");
}

/// Waits for a file, but not longer than any test.
fn wait_for(file: &Path) {
    const LOOK: Duration = Duration::from_millis(5);
    let mut waited = Duration::ZERO;
    while !file.exists() && waited < LONG {
        thread::sleep(LOOK);
        waited += LOOK;
    }
}

fn spawn(how: &str, file: &Path) -> std::process::Child {
    fault(how, &["linger", how, file.to_str().unwrap()])
        .spawn()
        .unwrap()
}

fn fault(how: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(arguments).stdin(Stdio::null());
    if how.contains("closed") {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    }
    if how.contains("hidden") {
        command.env_clear();
    }
    command
}

fn ignore_signals() {
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false))).unwrap();
    }
}

/// Says that it runs. The file is whole when it is there.
fn note(file: &Path) {
    let pid = std::process::id();
    let unfinished = file.with_extension(format!("{pid}.new"));
    fs::write(&unfinished, format!("{pid}\n")).unwrap();
    fs::rename(unfinished, file).unwrap();
}

/// Prints so many bytes to one stream or both.
fn flood(streams: &str, form: &str, bytes: u64) {
    let mut chunk = vec![b'x'; 1 << 16];
    if form == "lines" {
        chunk
            .iter_mut()
            .skip(99)
            .step_by(100)
            .for_each(|byte| *byte = b'\n');
    }
    let mut left = bytes;
    while left > 0 {
        let part = chunk
            .get(..chunk.len().min(usize::try_from(left).unwrap()))
            .unwrap();
        // The server may close its end; there is nobody then whom it could matter to.
        if streams != "stderr" && io::stdout().write_all(part).is_err() {
            return;
        }
        if streams != "stdout" && io::stderr().write_all(part).is_err() {
            return;
        }
        left -= u64::try_from(part.len()).unwrap();
    }
}

fn progress(count: u64) {
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    for step in 1..=count {
        writeln!(stdout, r#"{{"mcp":"progress","progress":{step}}}"#).unwrap();
    }
    drop(stdout);
    print!("end");
}
