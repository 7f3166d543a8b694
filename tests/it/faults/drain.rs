//! The end of a server with much to do (F10, F11).

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Watched, error, numbered, tool};
use crate::metrics::{value, wait_for};
use crate::support::{ALLOWANCE, ERAS, Http, wait_for_ends, wait_for_line};

const DRAIN: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(1);

/// 60 calls that end when they are let, 20 that take too long, 20 that do not want to end.
fn tools() -> String {
    let fits = tool("fits", "wait go result", "");
    let long = tool("long", "sleep", "    cancel: {grace: 1s}\n");
    let deaf = |number| {
        tool(
            &format!("deaf{number}"),
            &format!("linger background deaf{number}.pid"),
            "    cancel: {grace: 1s}\n",
        )
    };
    fits + &long + &numbered(20, deaf)
}

/// Starts all calls, half of them in each era, and waits until they run.
fn start(watched: &Watched) -> (Vec<Http>, Vec<Http>) {
    let clients = ERAS.map(|era| watched.client(era));
    let call =
        |number: usize, tool: &str| watched.start_call(&clients[number % 2], tool, &json!({}));
    let fit = (0..60).map(|number| call(number, "fits")).collect();
    let long = (0..20).map(|number| call(number, "long"));
    let mut not = long.collect::<Vec<_>>();
    not.extend((0..20).map(|number| call(number, &format!("deaf{number}"))));
    for number in 0..20 {
        wait_for_line(&watched.file(&format!("deaf{number}.pid")));
    }
    wait_for(&watched.monitor, "in flight", |samples| {
        (value(samples, "calls_in_flight") - 100.0).abs() < 0.5
    });
    (fit, not)
}

#[test]
fn a_drain_answers_a_hundred_calls() {
    let drain = ["--drain-timeout", "5s"];
    let mut watched = Watched::start(&tools(), &drain);
    let (fit, not) = start(&watched);
    let processes = watched.server.descendants();
    let stopped = Instant::now();
    watched.server.signal("TERM");
    watched.server.wait_for_log("\"message\":\"shutdown\"");
    let ready = Http::connect(watched.server.address()).request("GET", "/readyz", &[], "");
    assert_eq!(ready.status, 503);
    fs::write(watched.file("go"), "").unwrap();
    for (number, mut http) in fit.into_iter().enumerate() {
        let response = http.read();
        let result = &response.json()["result"];
        assert_eq!(
            result["content"][0]["text"], "result",
            "{number}: {response:?}"
        );
    }
    for (number, mut http) in not.into_iter().enumerate() {
        let told = error(&http.read());
        assert!(
            told.contains("the server is shutting down"),
            "{number}: {told}"
        );
        assert_eq!(http.read_line(), None, "{number}: one answer");
    }
    assert_eq!(watched.server.wait().code(), Some(0));
    let took = stopped.elapsed();
    assert!(
        took < DRAIN + GRACE + Duration::from_secs(1) + ALLOWANCE,
        "{took:?}"
    );
    wait_for_ends(&processes, "drain");
    assert_eq!(watched.logged(), watched.calls.get());
}

#[test]
fn a_second_signal_kills_a_hundred_calls() {
    let mut watched = Watched::start(&tools(), &["--drain-timeout", "1m"]);
    let (fit, not) = start(&watched);
    let processes = watched.server.descendants();
    watched.server.signal("TERM");
    watched.server.wait_for_log("\"message\":\"shutdown\"");
    let again = Instant::now();
    watched.server.signal("TERM");
    assert_eq!(watched.server.wait().code(), Some(143));
    let took = again.elapsed();
    assert!(took < Duration::from_secs(3) + ALLOWANCE, "{took:?}");
    wait_for_ends(&processes, "second signal");
    drop((fit, not));
}
