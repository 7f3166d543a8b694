//! How many calls of a tool run at once, how often it is called, and how it says that it goes on.

use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{Client, ERAS, GATE, Gate, Http, TestServer, eventually, text, write_script};

/// A tool that runs until its gate is opened, with these settings.
fn gate(name: &str, settings: &str) -> String {
    let tool = GATE.replace("gate:", &format!("{name}:"));
    let params = "{path: string, db: {enum: [orders, billing], default: orders}}";
    let tool = tool.replace("{path: string}", params);
    format!("{tool}    stdin: json\n{settings}")
}

fn start_backup(client: &Client, gate: &Gate, db: &str) -> Http {
    let mut arguments = gate.arguments();
    arguments["db"] = json!(db);
    client.start_call(1, "backup", &arguments)
}

fn result(mut http: Http) -> Value {
    http.read().json()["result"].clone()
}

#[test]
fn one_backup_of_each_database_runs_at_once() {
    let tools = gate(
        "backup",
        "    concurrency: {max: 1, queue: 0, key: \"{db}\"}\n",
    );
    let server = TestServer::start(&format!("tools:{tools}"), &[]);
    for era in ERAS {
        let client = server.client(era);
        let gates = ["a", "b", "c"].map(|name| Gate::new(&server, &format!("{era:?}{name}")));
        let [a, b, c] = &gates;
        let orders = start_backup(&client, a, "orders");
        a.wait();
        let billing = start_backup(&client, b, "billing");
        b.wait();
        let mut arguments = c.arguments();
        arguments["db"] = json!("orders");
        let why = "The tool is busy: 1 call of this kind at once is the most; nothing was run; try again \
                   when one has ended";
        let refused = client.call_refused(503, "backup", &arguments);
        assert_eq!(refused, (why.to_owned(), 1), "{era:?}");
        a.open();
        assert_eq!(result(orders)["content"][0]["text"], "through", "{era:?}");
        // The place is free when the process is gone, which may be after the answer.
        let again = eventually(|| {
            let gate = Gate::new(&server, &format!("{era:?}a"));
            let again = start_backup(&client, &gate, "orders").read();
            (again.status == 200).then_some(())
        });
        assert!(again.is_some(), "{era:?}");
        b.open();
        result(billing);
    }
}

#[test]
fn calls_that_wait_come_in_order_and_hold_nothing() {
    let backup = gate(
        "backup",
        "    concurrency: {max: 1, queue: 2}\n    timeout: 30s\n",
    );
    let late = gate("late", "    concurrency: {max: 1}\n    timeout: 2s\n");
    let tools = format!("tools:{backup}{late}\n  echo: {{description: d, exec: echo hello}}\n");
    let server = TestServer::start(&tools, &["--max-calls", "2", "--log-level", "debug"]);
    let client = server.client(Era::Modern);
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| Gate::new(&server, name));
    let first = start_backup(&client, &a, "orders");
    a.wait();
    let waiting = |wanted: usize| {
        let count = || {
            server
                .log()
                .iter()
                .filter(|line| line.contains("waits for its turn"))
                .count()
        };
        assert!(
            eventually(|| (count() == wanted).then_some(())).is_some(),
            "{wanted}"
        );
    };
    let second = start_backup(&client, &b, "orders");
    waiting(1);
    let third = start_backup(&client, &c, "orders");
    waiting(2);
    let (why, _) = client.call_refused(503, "backup", &d.arguments());
    assert_eq!(
        why,
        "The tool is busy: 1 call at once is the most, and 2 wait; nothing was run; try again when one \
         has ended"
    );
    // The other tools run as if nobody waited.
    for _ in 0..5 {
        assert_eq!(client.call_text("echo", &json!({})), "hello\n");
    }
    // One that is given up leaves the queue, and never runs.
    drop(second);
    a.open();
    result(first);
    c.wait();
    c.open();
    assert_eq!(result(third)["content"][0]["text"], "through");
    assert!(!server.folder().join("b.started").exists());

    // One whose time is over while it waits never runs either.
    let long = client.start_call(1, "late", &d.arguments());
    d.wait();
    let never = Gate::new(&server, "never");
    let waited = result(client.start_call(1, "late", &never.arguments()));
    let said = text(&waited["content"][0]["text"]);
    let expected = [
        // The first was stopped at its own time limit before, and so it is the second's turn.
        "the tool was stopped after its time limit of 2s",
        "the tool is busy, and this call waited for its whole time limit of 2s; nothing was run; try \
         again later",
    ];
    assert!(expected.contains(&said.as_str()), "{said}");
    result(long);
}

#[test]
fn the_end_of_the_server_ends_those_who_wait() {
    let tools = gate("backup", "    concurrency: {max: 1}\n");
    let mut server = TestServer::start(&format!("tools:{tools}"), &["--drain-timeout", "300ms"]);
    let client = server.client(Era::Modern);
    let [a, b] = ["a", "b"].map(|name| Gate::new(&server, name));
    let mut first = start_backup(&client, &a, "orders");
    a.wait();
    let mut second = start_backup(&client, &b, "orders");
    server.signal("TERM");
    for http in [&mut first, &mut second] {
        let message = text(&http.read().json()["error"]["message"]);
        assert_eq!(
            message,
            "The call was cancelled: the server is shutting down"
        );
    }
    server.wait();
    assert!(!server.folder().join("b.started").exists());
}

#[test]
fn a_tool_that_is_called_too_often_says_when_to_come_back() {
    let tools = "
tools:
  slow: {description: d, exec: echo slow, rate: 2/h}
  free: {description: d, exec: echo free}
";
    let server = TestServer::start(tools, &[]);
    let client = server.client(Era::Legacy);
    for _ in 0..2 {
        assert_eq!(client.call_text("slow", &json!({})), "slow\n");
    }
    let modern = server.client(Era::Modern);
    for client in [&client, &modern] {
        let (why, seconds) = client.call_refused(429, "slow", &json!({}));
        assert!((1700..=1800).contains(&seconds), "{seconds}");
        let expected =
            format!("The tool may be called 2/h; nothing was run; try again in {seconds} s");
        assert_eq!(why, expected);
        assert_eq!(client.call_text("free", &json!({})), "free\n");
    }
}

/// A call of a tool whose client wants to hear of progress: what it hears, and the result.
fn progress(client: &Client, tool: &str) -> (Vec<(String, Value, Value)>, Value) {
    let mut message = client.message(1, "tools/call", &json!({"name": tool, "arguments": {}}));
    message["params"]["_meta"]["progressToken"] = json!("p");
    let response = client.post_message(&message);
    let events = response
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("data: {"));
    let mut messages: Vec<Value> = events
        .map(|data| serde_json::from_str(&format!("{{{data}")).unwrap())
        .collect();
    let result = messages.pop().map(|message| message["result"].clone());
    let told = messages.into_iter().map(|message| {
        let params = &message["params"];
        (
            params["progress"].to_string(),
            params["total"].clone(),
            params["message"].clone(),
        )
    });
    (told.collect(), result.unwrap_or_default())
}

#[test]
fn lines_of_a_program_are_progress() {
    let tools = r"
defaults: {workdir: .}
tools:
  backup:
    description: Prints its steps to standard error.
    exec: ./backup.sh
    progress: {from: stderr, match: '^(?<done>\d+)/(?<total>\d+) (?<message>.*)$'}
    output: {stderr: always}
  bar:
    description: Draws a progress bar on standard output.
    exec: ./bar.sh
    progress: {from: stdout, match: '(?<done>[\d.]+)%'}
    output: json
  talks:
    description: Sends messages besides.
    exec: ./talks.sh
    messages: true
    progress: {from: stdout, match: '^step: (?<message>.+)'}
";
    let server = TestServer::start_with(tools, &[], |prepare| {
        let backup = "echo 1/3 one >&2; echo other >&2; echo 3/3 '\\033[1mthree\\033[0m' >&2; echo 2/3 two >&2; echo done";
        write_script(prepare.folder, "backup.sh", backup);
        let bar = r#"printf ' 10.5%%\r 50%%\r100%%\r\n{"a":1}\n'"#;
        write_script(prepare.folder, "bar.sh", bar);
        let talks = r#"echo 'step: one'; echo '{"mcp":"progress","progress":5}'; echo out; echo 'step: two'"#;
        write_script(prepare.folder, "talks.sh", talks);
    });
    for era in ERAS {
        let client = server.client(era);
        let (told, result) = progress(&client, "backup");
        let three = json!(3);
        let expected = [
            ("1".to_owned(), three.clone(), json!("one")),
            ("3".to_owned(), three, json!("three")),
        ];
        assert_eq!(told, expected, "{era:?}");
        let pieces = json!([
            {"type": "text", "text": "done\n"},
            {"type": "text", "text": "[standard error]\nother"},
        ]);
        assert_eq!(result["content"], pieces, "{era:?}");

        let (told, result) = progress(&client, "bar");
        let values: Vec<_> = told.iter().map(|(value, ..)| value.as_str()).collect();
        assert_eq!(values, ["10.5", "50", "100"], "{era:?}");
        assert_eq!(result["structuredContent"], json!({"a": 1}), "{era:?}");

        let (told, result) = progress(&client, "talks");
        let values: Vec<_> = told.iter().map(|(value, ..)| value.as_str()).collect();
        assert_eq!(values, ["1", "5"], "{era:?}");
        assert_eq!(result["content"][0]["text"], "out\n", "{era:?}");
    }
}

/// The one test that waits for ten seconds: the others of this have a clock of their own.
#[test]
fn a_silent_tool_says_that_it_goes_on() {
    let tools = "tools: {sleep: {description: d, exec: sleep 11}}";
    let server = TestServer::start(tools, &[]);
    let started = Instant::now();
    let (told, result) = progress(&server.client(Era::Modern), "sleep");
    assert!(started.elapsed() >= Duration::from_secs(11));
    assert_eq!(told, [("0.001".to_owned(), Value::Null, Value::Null)]);
    assert_eq!(result["isError"], false);
}
