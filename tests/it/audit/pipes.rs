//! An audit log on standard error that nobody reads: a pipe that is full, as a FIFO would be.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_setfl};
use serde_json::{Value, json};

use super::disk::{assert_refused, ready, wait_for_failing};
use super::{CLERK, auth, cases, check, of_event, serve, tools};
use crate::metrics::{monitor_of, scrape, value};
use crate::support::{Client, ERAS, Http, TestServer, eventually, text};

/// More calls than fill a pipe, with the two lines of each.
const MANY: usize = 400;

/// A call whose lines are long.
fn long() -> Value {
    json!({"name": "x".repeat(300)})
}

/// The lines of the audit log, when so many calls have ended. No line is torn, whosever it is.
fn records(server: &TestServer, ends: usize) -> Vec<Value> {
    let read = || {
        let log = server.log();
        let lines = log.iter().map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        });
        let records: Vec<Value> = lines.filter(|line: &Value| line["seq"].is_u64()).collect();
        (of_event(&records, "end").len() >= ends).then_some(records)
    };
    eventually(read).unwrap_or_else(|| panic!("ends are missing: {:#?}", server.log()))
}

#[test]
fn a_pipe_that_nobody_reads_holds_nothing_up_for_long() {
    let options = ["--audit-mode=required", "--metrics-listen=127.0.0.1:0"];
    let server = serve(Path::new("stderr"), &options);
    let monitor = monitor_of(&server);
    let clients = ERAS.map(|era| Client::new(&server, era, Some(CLERK)));
    let unread = server.ignore_log();
    let mut answers = (0..MANY).map(|at| clients[at % 2].request("tools/call", &long()));
    let refused = answers.find(|answer| answer.status == 503);
    assert_refused(&refused.expect("the pipe is full"), "the first");
    wait_for_failing(&monitor, true);
    for client in &clients {
        for (case, method, params, _) in cases() {
            assert_refused(&client.request(method, &params), case);
        }
        let listed = client.request("tools/list", &json!({}));
        assert_eq!(listed.status, 200, "what is not written down is served");
    }
    assert_eq!(ready(&server).0, 503);

    drop(unread);
    wait_for_failing(&monitor, false);
    for client in &clients {
        let answer = client.request("tools/call", &json!({"name": "fixed"}));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let fixed = |records: &[Value]| {
        let ends = of_event(records, "end");
        ends.iter().filter(|end| end["outcome"] == "ok").count()
    };
    let all = eventually(|| Some(records(&server, 1)).filter(|all| fixed(all) == 2));
    check(&all.unwrap());
}

/// Waits until a request is answered, or until nothing can be written down.
fn is_answered(server: &TestServer, http: &Http) -> bool {
    let pause = Duration::from_millis(10);
    http.socket().set_read_timeout(Some(pause)).unwrap();
    let answered = eventually(|| match http.socket().peek(&mut [0]) {
        Ok(_) => Some(true),
        Err(_) => (ready(server).0 == 503).then_some(false),
    });
    answered.expect("an answer, or none for long")
}

#[test]
fn a_client_that_leaves_before_its_request_is_written_down_has_ended_it() {
    for era in ERAS {
        let options = ["--audit-mode=required", "--metrics-listen=127.0.0.1:0"];
        let server = serve(Path::new("stderr"), &options);
        let monitor = monitor_of(&server);
        let client = Client::new(&server, era, Some(CLERK));
        let unread = server.ignore_log();
        let has_left = (0..MANY).any(|_| {
            let mut http = client.connect();
            client.send_on(&mut http, &client.message(1, "tools/call", &long()));
            !is_answered(&server, &http)
        });
        assert!(has_left, "{era:?}: the pipe is not full");
        let is_noticed = || {
            let samples = scrape(&monitor);
            let eras = ["session", "stateless"].into_iter();
            let series = eras.map(|era| format!("requests_in_flight{{era=\"{era}\"}}"));
            let open: f64 = series.map(|series| value(&samples, &series)).sum();
            (open < 0.5).then_some(())
        };
        assert!(eventually(is_noticed).is_some(), "{era:?}");
        drop(unread);
        let ended = || {
            let records = records(&server, 1);
            let mut ends = of_event(&records, "end").into_iter();
            ends.find(|end| end["outcome"] != "not_found").cloned()
        };
        let end = eventually(ended).expect("an end of the request");
        // A slow machine may notice so late that the wait is over already.
        let ends = [
            ("cancelled", "cancelled by a lost connection"),
            ("refused", "refused: no audit log"),
        ];
        let end = (text(&end["outcome"]), text(&end["reason"]));
        assert!(ends.contains(&(&end.0, &end.1)), "{era:?}: {end:?}");
    }
}

#[test]
fn a_pipe_that_blocks_nobody_gets_each_line_whole_and_once() {
    let pipe = io::pipe().unwrap();
    fcntl_setfl(&pipe.1, OFlags::NONBLOCK).unwrap();
    let options = ["--audit=stderr", "--metrics-listen=127.0.0.1:0"];
    let server = TestServer::logging_into(Some(pipe), &tools(), &options, |prepare| {
        prepare.serve_with_auth(&auth());
    });
    let monitor = monitor_of(&server);
    let clients = ERAS.map(|era| Client::new(&server, era, Some(CLERK)));
    let unread = server.ignore_log();
    for at in 0..MANY / 2 {
        let client = &clients[at % 2];
        client.request("tools/call", &long());
        // The log has a line for it, too.
        client.call("fixed", &json!({}));
    }
    wait_for_failing(&monitor, true);
    drop(unread);
    let records = records(&server, MANY);
    check(&records);
    assert_eq!(of_event(&records, "lost").len(), 0);
}
