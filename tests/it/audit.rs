//! The audit log: one line when a call begins and one when it has ended, whatever becomes of it.

mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{
    Client, ERAS, GATE, Gate, TestServer, command, eventually, initialize, modern_meta, run, sha256,
};

const OPS: &str = "token-of-ops-mfZ3b1mXk0Qy7h2V";
const CLERK: &str = "token-of-a-clerk-Qy7h2VmfZ3b1mXk0";

fn tools() -> String {
    format!(
        "
tools:{GATE}    task: optional
  echo:
    description: Prints its argument.
    exec: printf %s {{text}}
    params: {{text: string}}
  fixed:
    description: Says the same each time.
    content: fixed
  fails:
    description: Fails.
    exec: sh -c 'exit 3'
  crashes:
    description: Ends by a signal.
    exec: sh -c 'kill -9 $$'
  slow:
    description: Takes too long.
    exec: sleep 60
    timeout: 100ms
  rare:
    description: May be called once.
    exec: printf once
    rate: 1/h
  secret_door:
    description: For those who operate.
    exec: printf open
    allow: [role:ops]
prompts:
  greeting:
    description: Greets.
    text: Hello {{who}}.
    params: {{who: string}}
    complete: {{who: {{exec: printf ann}}}}
resources:
  motd: {{uri: 'x://motd', description: d, text: Hi.}}
  vault: {{uri: 'x://vault', description: d, text: Gold., allow: [role:ops]}}
resource_templates:
  user: {{uri: 'x://users/{{name}}', description: d, exec: 'printf %s {{name}}'}}
toolsets:
  desk: {{match: [echo]}}
"
    )
}

fn auth() -> String {
    format!(
        "tokens:\n  - {{sha256: {}, subject: olga, tenant: acme, roles: [ops]}}\n  \
         - {{sha256: {}, subject: cleo}}\n",
        sha256(OPS),
        sha256(CLERK)
    )
}

/// A server whose audit log is in a folder of the test's own.
fn serve(log: &Path, options: &[&str]) -> TestServer {
    TestServer::start_with(&tools(), options, |prepare| {
        prepare.serve_with_auth(&auth());
        prepare.command.arg("--audit").arg(log);
    })
}

/// The lines of an audit log. The last may not be whole yet.
fn read(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn of_event<'a>(records: &'a [Value], event: &str) -> Vec<&'a Value> {
    let lines = records.iter();
    lines.filter(|line| line["event"] == event).collect()
}

/// Checks that the numbers have no gap and that each call has one start and then one end.
fn check(records: &[Value]) {
    let numbers: Vec<_> = records
        .iter()
        .map(|line| line["seq"].as_u64().unwrap())
        .collect();
    let expected: Vec<_> = (1..).take(records.len()).collect();
    assert_eq!(numbers, expected);
    let times: Vec<_> = records
        .iter()
        .map(|line| line["time"].as_str().unwrap())
        .collect();
    assert!(times.iter().all(|time| time.ends_with('Z')), "{times:?}");
    let mut open = BTreeMap::new();
    let mut ended = BTreeSet::new();
    for line in records {
        let call = (line["run"].to_string(), line["call"].to_string());
        match line["event"].as_str().unwrap() {
            "start" => {
                assert!(!ended.contains(&call), "begins again: {line}");
                assert!(open.insert(call, line).is_none(), "begins twice: {line}");
            }
            "end" => {
                let start = open
                    .remove(&call)
                    .unwrap_or_else(|| panic!("ends alone: {line}"));
                for (name, value) in line.as_object().unwrap() {
                    let own = [
                        "seq",
                        "time",
                        "event",
                        "outcome",
                        "reason",
                        "duration_seconds",
                    ];
                    assert!(
                        own.contains(&name.as_str()) || start[name] == *value,
                        "{line}"
                    );
                }
                ended.insert(call);
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "without an end: {open:?}");
}

/// Waits until so many calls have ended, and returns all lines.
fn wait_for_ends(log: &Path, count: usize) -> Vec<Value> {
    let records = eventually(|| {
        let records = read(log);
        (of_event(&records, "end").len() >= count).then_some(records)
    });
    let records = records.unwrap_or_else(|| panic!("{:#?}", read(log)));
    assert_eq!(of_event(&records, "end").len(), count, "{records:#?}");
    check(&records);
    records
}

/// What is tried, and the outcome and reason in the log.
type Case = (
    &'static str,
    &'static str,
    Value,
    (&'static str, Option<&'static str>),
);

fn cases() -> Vec<Case> {
    let call = |name: &str| json!({"name": name});
    let with = |name: &str, arguments: Value| json!({"name": name, "arguments": arguments});
    let not_there = Some("JSON-RPC error -32602");
    vec![
        (
            "ok",
            "tools/call",
            with("echo", json!({"text": "x"})),
            ("ok", None),
        ),
        ("fixed", "tools/call", call("fixed"), ("ok", None)),
        (
            "fails",
            "tools/call",
            call("fails"),
            ("error", Some("exit status 3")),
        ),
        (
            "crash",
            "tools/call",
            call("crashes"),
            ("error", Some("signal 9")),
        ),
        (
            "timeout",
            "tools/call",
            call("slow"),
            ("timeout", Some("timeout")),
        ),
        (
            "arguments",
            "tools/call",
            with("echo", json!({"text": 1})),
            ("invalid", Some("invalid arguments")),
        ),
        (
            "unknown",
            "tools/call",
            call("nothing"),
            ("not_found", not_there),
        ),
        (
            "denied",
            "tools/call",
            call("secret_door"),
            ("denied", not_there),
        ),
        (
            "malformed",
            "tools/call",
            with("echo", json!(7)),
            ("invalid", not_there),
        ),
        (
            "prompt",
            "prompts/get",
            with("greeting", json!({"who": "ann"})),
            ("ok", None),
        ),
        (
            "no prompt",
            "prompts/get",
            call("nothing"),
            ("not_found", not_there),
        ),
        (
            "resource",
            "resources/read",
            json!({"uri": "x://motd"}),
            ("ok", None),
        ),
        (
            "template",
            "resources/read",
            json!({"uri": "x://users/ann"}),
            ("ok", None),
        ),
        (
            "completion",
            "completion/complete",
            json!({
                "ref": {"type": "ref/prompt", "name": "greeting"},
                "argument": {"name": "who", "value": "a"}
            }),
            ("ok", None),
        ),
    ]
}

#[test]
fn each_call_has_a_beginning_and_an_end_that_says_what_came_of_it() {
    for era in ERAS {
        for mode in ["best_effort", "required"] {
            let folder = tempfile::tempdir().unwrap();
            let log = folder.path().join("audit.log");
            let server = serve(&log, &["--audit-mode", mode]);
            let client = Client::new(&server, era, Some(CLERK));
            let mut count = 0;
            for (case, method, params, (outcome, reason)) in cases() {
                client.request(method, &params);
                count += 1;
                let records = wait_for_ends(&log, count);
                let end = of_event(&records, "end")[count - 1].clone();
                assert_eq!(end["outcome"], outcome, "{case} in {era:?}, {mode}: {end}");
                assert_eq!(
                    end["reason"].as_str(),
                    reason,
                    "{case} in {era:?}, {mode}: {end}"
                );
                assert_eq!(end["method"], method, "{case}");
                assert!(end["duration_seconds"].as_f64().unwrap() >= 0.0, "{end}");
            }
            // Lists reveal no more than what there is.
            client.request("tools/list", &json!({}));
            let refused = json!({"uri": "x://vault"});
            client.request("resources/read", &refused);
            let records = wait_for_ends(&log, count + 1);
            let end = of_event(&records, "end")[count];
            assert_eq!(end["outcome"], "denied", "{end}");
        }
    }
}

#[test]
fn a_line_says_who_called_what_from_where() {
    for era in ERAS {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.log");
        let server = serve(&log, &[]);
        let client = Client::at(&server, "/mcp/desk", era, Some(OPS));
        let result = client.call("echo", &json!({"text": "from ann"}));
        assert_eq!(result["isError"], false, "{result}");
        let records = wait_for_ends(&log, 1);
        let mut start = of_event(&records, "start")[0].clone();
        // printf %s '{"text":"from ann"}' | sha256sum
        let digest = sha256(r#"{"text":"from ann"}"#);
        for (name, expected) in [
            ("method", "tools/call"),
            ("name", "echo"),
            ("toolset", "desk"),
            ("issuer", "auth_file"),
            ("subject", "olga"),
            ("tenant", "acme"),
            ("client", "127.0.0.1"),
            ("arguments_sha256", &digest),
        ] {
            assert_eq!(start[name].take(), expected, "{name}");
        }
        let number = start["call"].take().to_string();
        let session = start["session"].take();
        match era {
            Era::Legacy => {
                let session = session.as_str().unwrap();
                assert!(client.session().starts_with(session) && session.len() == 8);
                assert_eq!(start["protocol"], "2025-11-25");
            }
            Era::Modern => assert_eq!(
                (session, &start["protocol"]),
                (Value::Null, &json!("2026-07-28"))
            ),
        }
        let logged = server.wait_for_log("\"message\":\"call\"");
        assert!(logged.contains(&format!("\"call\":{number},")), "{logged}");
        let mode = fs::metadata(&log).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_call_that_is_given_up_refused_or_cut_off_says_by_whom() {
    for era in ERAS {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.log");
        let options = ["--drain-timeout", "100ms", "--max-calls", "1"];
        let mut server = serve(&log, &options);
        let client = Client::new(&server, era, Some(OPS));
        let outcome = |count: usize| {
            let records = wait_for_ends(&log, count);
            let end = of_event(&records, "end")[count - 1].clone();
            let text = |name: &str| end[name].as_str().unwrap().to_owned();
            (text("outcome"), text("reason"))
        };
        let expected = |outcome: &str, reason: &str| (outcome.to_owned(), reason.to_owned());

        let gate = Gate::new(&server, "cancelled");
        let http = client.start_call(7, "gate", &gate.arguments());
        gate.wait();
        let busy = client.start_call(8, "echo", &json!({"text": "x"})).read();
        assert!(busy.error_code().is_some(), "{busy:?}");
        assert_eq!(
            outcome(1),
            expected("refused", "refused: the server is busy")
        );
        let how = match era {
            Era::Legacy => {
                let params = json!({"requestId": 7});
                let message = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
                assert_eq!(client.post_message(&message).status, 202);
                "cancelled by the client"
            }
            Era::Modern => "cancelled by a lost connection",
        };
        drop(http);
        assert_eq!(outcome(2), expected("cancelled", how));
        // Its place is free when its process is gone.
        let called = eventually(|| {
            let response = client.start_call(1, "rare", &json!({})).read();
            (response.error_code().is_none()).then_some(())
        });
        assert!(called.is_some());
        let before = of_event(&read(&log), "end").len();
        client.start_call(1, "rare", &json!({})).read();
        assert_eq!(
            outcome(before + 1),
            expected("refused", "refused: too often")
        );

        let gate = Gate::new(&server, "shutdown");
        let _http = client.start_call(9, "gate", &gate.arguments());
        gate.wait();
        server.signal("TERM");
        server.wait();
        assert_eq!(
            outcome(before + 2),
            expected("cancelled", "cancelled by shutdown")
        );
        let records = read(&log);
        assert_eq!(records.last().unwrap()["event"], "close");
    }
}

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
fn a_task_ends_when_its_call_does_and_not_with_its_request() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let server = serve(&log, &["--audit-mode", "required", "--max-tasks", "1"]);
    let client = Client::new(&server, Era::Modern, Some(OPS));
    let call = |gate: &Gate| {
        let params = json!({"name": "gate", "arguments": gate.arguments()});
        let mut message = client.message(1, "tools/call", &params);
        let capabilities = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
        message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
        client.post_message(&message)
    };
    let gate = Gate::new(&server, "task");
    let created = call(&gate).json();
    assert_eq!(created["result"]["resultType"], "task", "{created}");
    gate.wait();
    assert_eq!(call(&gate).status, 503, "there is no room for another");
    let records = eventually(|| {
        let records = read(&log);
        (of_event(&records, "end").len() == 1).then_some(records)
    });
    let records = records.unwrap();
    let end = of_event(&records, "end")[0];
    assert_eq!(end["reason"], "refused: too many tasks", "{end}");
    gate.open();
    let records = wait_for_ends(&log, 2);
    let end = of_event(&records, "end")[1];
    assert_eq!(
        (&end["name"], &end["outcome"]),
        (&json!("gate"), &json!("ok"))
    );
}

#[test]
fn calls_of_a_batch_and_over_standard_input_are_written_down_too() {
    let folder = tempfile::tempdir().unwrap();
    let (log, input) = (folder.path().join("audit.log"), folder.path().join("input"));
    let tools = folder.path().join("tools.yaml");
    fs::write(&tools, super::audit::tools()).unwrap();
    let call = |id: u64, name: &str, meta: Option<Value>| {
        let mut params = json!({"name": name, "arguments": {}});
        params["_meta"] = meta.unwrap_or_else(|| json!({}));
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
    };
    let batch = json!([
        call(1, "fixed", None),
        call(2, "fails", None),
        call(3, "nothing", None)
    ]);
    let modern = [
        call(4, "fixed", Some(modern_meta())),
        call(5, "fails", Some(modern_meta())),
    ];
    let lines = [initialize("2025-03-26"), batch].into_iter().chain(modern);
    let lines: Vec<_> = lines.map(|line| line.to_string()).collect();
    fs::write(&input, lines.join("\n") + "\n").unwrap();
    let output = command()
        .args(["--stdio", "--audit-mode", "required", "--tools"])
        .arg(tools)
        .arg("--audit")
        .arg(&log)
        .stdin(File::open(&input).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let records = wait_for_ends(&log, 5);
    let ends = of_event(&records, "end");
    let mut outcomes: Vec<_> = ends
        .iter()
        .map(|end| end["outcome"].as_str().unwrap())
        .collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["error", "error", "not_found", "ok", "ok"]);
    assert!(
        ends.iter()
            .all(|end| end["client"].is_null() && end["subject"].is_null())
    );
    let in_session = ends.iter().filter(|end| end["session"].is_string()).count();
    assert_eq!(in_session, 3);
}

#[test]
fn a_request_that_contradicts_itself_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let server = serve(&log, &[]);
    let client = Client::new(&server, Era::Modern, Some(CLERK));
    let good = client.message(1, "tools/call", &json!({"name": "echo"}));
    let bad = client.message(1, "tools/call", &json!({"name": "secret_door"}));
    let headers = client.headers(&good);
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let response = client
        .connect()
        .request("POST", "/mcp", &headers, &bad.to_string());
    assert_eq!(
        (response.status, response.error_code()),
        (400, Some(-32020))
    );
    let records = wait_for_ends(&log, 1);
    let end = of_event(&records, "end")[0];
    assert_eq!(
        (&end["name"], &end["outcome"]),
        (&json!("secret_door"), &json!("invalid"))
    );
    assert_eq!(end["reason"], "JSON-RPC error -32020");
}

#[test]
fn what_a_client_writes_breaks_no_line_and_shows_no_secret() {
    const SECRET: &str = "planted-secret-0815";
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let tools = "tools:\n  env: {description: d, exec: env, env: {A: '${env:PLANTED}'}}\n  \
                 echo: {description: d, exec: 'printf %s {text}', params: {text: string}}\n";
    let server = TestServer::start_with(tools, &["--audit-arguments", "redacted"], |prepare| {
        prepare.serve_with_auth(&auth());
        prepare
            .command
            .env("PLANTED", SECRET)
            .arg("--audit")
            .arg(&log);
    });
    let client = Client::new(&server, Era::Legacy, Some(OPS));
    let hostile = "a\nb\r\u{1b}[31m\u{2028}\u{202e}\u{9b}\"}";
    let long = "x".repeat(1 << 20);
    let calls = [
        json!({"name": hostile}),
        json!({"name": long}),
        json!({"name": SECRET}),
        json!({"name": "echo", "arguments": {"text": hostile}}),
        json!({"name": "echo", "arguments": {"text": "x".repeat(100_000)}}),
        json!({"name": "echo", "arguments": {"text": format!("it is {SECRET} and {OPS}")}}),
        json!({"name": "env"}),
    ];
    for params in &calls {
        client.request("tools/call", params);
    }
    let records = wait_for_ends(&log, calls.len());
    let text = fs::read_to_string(&log).unwrap();
    let is_odd = |c: char| c != '\n' && (c.is_control() || matches!(c, '\u{2028}' | '\u{202e}'));
    assert!(!text.contains(is_odd), "{text}");
    assert!(
        !text.contains(SECRET) && !text.contains(client.session()),
        "{text}"
    );
    assert!(
        text.lines().all(|line| line.len() < 16 << 10),
        "lines are bounded"
    );
    let starts = of_event(&records, "start");
    assert_eq!(starts[0]["name"], hostile);
    assert_eq!(starts[1]["name"], format!("{}…", "x".repeat(256)));
    assert_eq!(starts[2]["name"], "***");
    assert_eq!(starts[3]["arguments"], json!({"text": hostile}).to_string());
    assert!(starts[4]["arguments"].as_str().unwrap().ends_with('…'));
    assert!(
        starts[5]["arguments"]
            .as_str()
            .unwrap()
            .contains("it is ***")
    );
    assert_eq!(starts[6]["arguments"], "{}");
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
fn standard_error_takes_it_among_the_lines_of_the_log() {
    let server = TestServer::start(&tools(), &["--audit", "stderr", "--audit-mode", "required"]);
    server.client(Era::Modern).call("fixed", &json!({}));
    let end = server.wait_for_log("\"event\":\"end\"");
    let end: Value = serde_json::from_str(&end).unwrap();
    assert_eq!((&end["seq"], &end["outcome"]), (&json!(3), &json!("ok")));
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
    let tools = folder.path().join("tools.yaml");
    fs::write(&tools, super::audit::tools()).unwrap();
    let start = |target: &Path| {
        run(command()
            .args(["--listen", "127.0.0.1:0", "--tools"])
            .arg(&tools)
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
