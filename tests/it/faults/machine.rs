//! A machine that has not enough (F20), stops for a while (F23), or is busy with others (F27).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use rustix::thread::CpuSet;
use serde_json::json;

use super::{ALLOWANCE, Watched, tool};
use crate::support::{ERAS, Http, PATIENCE, Prepare, eventually};

/// Has a shell set limits before it becomes the server.
pub(super) fn under(prepare: &mut Prepare<'_>, limits: &str) {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{limits}; exec \"$@\""), "sh"]);
    prepare.start_by(shell);
}

#[test]
fn a_server_with_few_descriptors_takes_on_what_it_can() {
    let tools = tool("sleep", "sleep", "    timeout: 1s\n");
    let watched = Watched::start_with(&tools, &[], |prepare| under(prepare, "ulimit -n 64"));
    let warning = watched
        .server
        .wait_for_log("the limit of open files is too low");
    assert!(warning.contains("\"descriptors\":64"), "{warning}");
    let client = watched.client(Era::Modern);
    let params = json!({"name": "good", "arguments": {"text": "served"}});
    let message = client.message(7, "tools/call", &params);
    let body = message.to_string();
    let mut request = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in client.headers(&message) {
        request.extend([name, ": ", value.as_str(), "\r\n"]);
    }
    request.extend(["\r\n", &body]);
    let crowd: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(watched.server.address()).unwrap())
        .collect();
    let (mut served, mut refused) = (0, 0);
    for mut stream in crowd {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = String::new();
        // One that was refused may be closed already.
        if stream.write_all(request.as_bytes()).is_ok() {
            drop(stream.read_to_string(&mut answer));
        }
        served += usize::from(answer.contains("served"));
        refused += usize::from(answer.starts_with("HTTP/1.1 503"));
    }
    assert!(
        served > 0 && refused > 0,
        "{served} served, {refused} refused"
    );
    watched.calls.set(watched.calls.get() + served);
    let log = watched.server.log().join("\n");
    assert!(!log.contains("could not be accepted"), "{log}");
    assert!(!log.contains("EMFILE"), "{log}");
    watched.check("few descriptors");
}

#[test]
fn the_limit_of_descriptors_is_raised_as_far_as_needed() {
    let watched = Watched::start_with("", &[], |prepare| {
        under(prepare, "ulimit -Hn 20000; ulimit -Sn 64");
    });
    let limits = fs::read_to_string(format!("/proc/{}/limits", watched.server.pid())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft: Vec<_> = line.unwrap().split_whitespace().collect();
    assert_eq!(soft[3..5], ["11640", "20000"], "{limits}");
    let log = watched.server.log().join("\n");
    assert!(!log.contains("the limit of open files"), "{log}");
    watched.check("raised");
}

#[test]
fn a_server_that_was_stopped_goes_on() {
    let limits = "    timeout: 300ms\n";
    let watched = Watched::start(&tool("sleep", "sleep", limits), &[]);
    let client = watched.client(Era::Modern);
    let from = watched.calls.get();
    let mut http = watched.start_call(&client, "sleep", &json!({}));
    let runs = eventually(|| (!watched.server.descendants().is_empty()).then_some(()));
    assert!(runs.is_some(), "it does not start");
    watched.server.freeze();
    // Its time goes by while it cannot see that.
    std::thread::sleep(Duration::from_secs(1));
    watched.server.signal("CONT");
    let result = &http.read().json()["result"];
    assert_eq!(result["isError"], true, "{result}");
    drop(http);
    watched.wait_for_rest("continued");
    assert_eq!(watched.outcomes(from), ["timeout"]);
    watched.check("continued");
}

/// Processes that take all they get of one processor.
struct Neighbours(Vec<Child>);

impl Neighbours {
    fn on(processor: usize) -> Self {
        let start = |_| {
            let mut command = Command::new("taskset");
            command.args([
                "-c",
                &processor.to_string(),
                "sh",
                "-c",
                // Not for ever, should the test be killed.
                "ulimit -t 60; while :; do :; done",
            ]);
            command.spawn().unwrap()
        };
        Self((0..5).map(start).collect())
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        for neighbour in &mut self.0 {
            neighbour.kill().unwrap();
            neighbour.wait().unwrap();
        }
    }
}

#[test]
fn a_server_with_a_sixth_of_a_processor_keeps_its_times() {
    let processors = rustix::thread::sched_getaffinity(None).unwrap();
    let processor = (0..CpuSet::MAX_CPU)
        .find(|number| processors.is_set(*number))
        .unwrap();
    let tools = tool("sleep", "sleep", "    timeout: 300ms\n");
    let watched = Watched::start_with(&tools, &["--keep-alive", "1s"], |prepare| {
        under(prepare, &format!("taskset -cp {processor} $$ > /dev/null"));
    });
    let neighbours = Neighbours::on(processor);
    let started = Instant::now();
    let mut silent = TcpStream::connect(watched.server.address()).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    for era in ERAS {
        let asked = Instant::now();
        let health = Http::connect(watched.server.address()).request("GET", "/healthz", &[], "");
        assert_eq!(health.status, 200, "{era:?}");
        assert!(
            asked.elapsed() < ALLOWANCE,
            "{era:?}: {:?}",
            asked.elapsed()
        );
        let asked = Instant::now();
        let (told, _) = watched.text(&watched.client(era), "sleep", &json!({}));
        assert_eq!(told, "the tool was stopped after its time limit of 300ms");
        assert!(
            asked.elapsed() < ALLOWANCE * 2,
            "{era:?}: {:?}",
            asked.elapsed()
        );
    }
    silent.read_to_end(&mut Vec::new()).unwrap();
    let closed = started.elapsed();
    assert!(
        closed < Duration::from_secs(1) + ALLOWANCE * 4,
        "{closed:?}"
    );
    drop(neighbours);
    watched.check("busy neighbours");
}
