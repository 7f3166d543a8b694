//! Clients that leave (F09), and how the log tells the ends of calls apart.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use serde_json::json;

use super::{Watched, tool};
use crate::lifecycle::delete;
use crate::support::{ALLOWANCE, Client, ERAS, Http, eventually};

/// How a client leaves.
#[derive(Debug, Clone, Copy)]
enum Leave {
    Close,
    Reset,
    CloseHalf,
    /// hyper does not notice who leaves after a byte more than it has read.
    CloseAfterByte,
}

const LEAVES: [Leave; 4] = [
    Leave::Close,
    Leave::Reset,
    Leave::CloseHalf,
    Leave::CloseAfterByte,
];

/// Leaves; what is returned keeps a half-closed connection half open.
fn leave(mut http: Http, how: Leave) -> Option<Http> {
    match how {
        Leave::Close => None,
        Leave::Reset => {
            rustix::net::sockopt::set_socket_linger(http.socket(), Some(Duration::ZERO)).unwrap();
            None
        }
        Leave::CloseHalf => {
            http.socket().shutdown(Shutdown::Write).unwrap();
            Some(http)
        }
        Leave::CloseAfterByte => {
            http.write(b"P");
            None
        }
    }
}

/// Starts a call and waits until its program runs. Returns how many calls there were before it, too.
fn running(watched: &Watched, client: &Client, tool: &str) -> (Http, usize) {
    let from = watched.calls.get();
    let http = watched.start_call(client, tool, &json!({}));
    let runs = eventually(|| (!watched.server.descendants().is_empty()).then_some(()));
    assert!(runs.is_some(), "{tool} does not start");
    (http, from)
}

/// Waits for the next call in the log, and checks how it ended.
fn assert_ended(watched: &Watched, from: usize, how: &str) {
    let logged = eventually(|| (watched.logged() > from).then_some(()));
    assert!(logged.is_some(), "{how}: the call goes on");
    assert_eq!(watched.outcomes(from), [how]);
}

#[test]
fn a_client_that_leaves_leaves_nothing() {
    let tools = tool("sleep", "sleep", "    timeout: 500ms\n")
        + &tool("gone", "sleep", "    timeout: 1m\n")
        + &tool(
            "one",
            "sleep",
            "    timeout: 1m\n    concurrency: {max: 1, queue: 1}\n",
        );
    let options = ["--heartbeat", "200ms", "--log-level", "debug"];
    let watched = Watched::start(&tools, &options);
    let modern = watched.client(Era::Modern);
    for how in LEAVES {
        // A call of 2026-07-28 ends with its client.
        let (http, from) = running(&watched, &modern, "gone");
        let left = Instant::now();
        let kept = leave(http, how);
        assert_ended(&watched, from, "cancelled by a lost connection");
        assert!(
            left.elapsed() < Duration::from_secs(1) + ALLOWANCE,
            "{how:?}"
        );
        watched.wait_for_rest("left");
        drop(kept);
        // One in a session goes on to its own end.
        let (http, from) = running(&watched, &watched.client(Era::Legacy), "sleep");
        let kept = leave(http, how);
        assert_ended(&watched, from, "timeout");
        watched.wait_for_rest("left");
        drop(kept);
        // Whoever leaves a queue does not wait on.
        let (first, from) = running(&watched, &modern, "one");
        let waiting = || {
            let log = watched.server.log();
            let waits = |line: &&String| line.contains("a call waits for its turn");
            log.iter().filter(waits).count()
        };
        let before = waiting();
        let second = watched.start_call(&modern, "one", &json!({}));
        let waits = eventually(|| (waiting() > before).then_some(()));
        assert!(waits.is_some(), "{how:?}: it does not wait");
        let kept = leave(second, how);
        assert_ended(&watched, from, "cancelled by a lost connection");
        drop((first, kept));
        watched.check(&format!("{how:?}"));
    }
}

#[test]
fn the_log_tells_the_ends_of_calls_apart() {
    let tools = tool("long", "sleep", "    timeout: 1m\n")
        + &tool("short", "sleep", "    timeout: 200ms\n");
    let mut watched = Watched::start(
        &tools,
        &["--heartbeat", "200ms", "--drain-timeout", "100ms"],
    );
    let legacy = watched.client(Era::Legacy);
    let modern = watched.client(Era::Modern);

    let (mut http, from) = running(&watched, &legacy, "long");
    let cancelled = json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}
    });
    assert_eq!(legacy.post_message(&cancelled).status, 202);
    http.read();
    assert_ended(&watched, from, "cancelled by the client");
    watched.wait_for_rest("cancelled");

    let (http, from) = running(&watched, &modern, "long");
    drop(http);
    assert_ended(&watched, from, "cancelled by a lost connection");
    watched.wait_for_rest("lost");

    let (mut http, from) = running(&watched, &legacy, "long");
    assert_eq!(delete(&watched.server, &legacy).status, 204);
    http.read();
    assert_ended(&watched, from, "cancelled with its session");

    for era in ERAS {
        let from = watched.calls.get();
        watched.call(&watched.client(era), "short", &json!({}));
        assert_ended(&watched, from, "timeout");
    }
    watched.check("ends");

    let (mut http, from) = running(&watched, &modern, "long");
    watched.server.signal("TERM");
    http.read();
    assert_eq!(watched.server.wait().code(), Some(0));
    assert_ended(&watched, from, "cancelled by shutdown");
}
