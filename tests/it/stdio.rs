//! Standard input and output: the real binary as the child of its client, message by message.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use mcp_serve::protocol::version::Era;
use rmcp::model::{CallToolRequestParams, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, serve_client_with_lifecycle};
use rmcp::transport::TokioChildProcess;
use serde_json::{Value, json};

use crate::support::{
    ERAS, PATIENCE, command, eventually, initialize, modern_meta, run, text, wait_for_end_of_group,
    wait_for_line, write_script,
};

const TOOLS: &str = "
defaults: {messages: true, workdir: .}
tools:
  echo:
    description: Prints its argument.
    exec: printf %s {text}
    params: {text: string}
  gate:
    description: Runs until its gate is opened.
    exec: ./gate.sh {name}
    params: {name: string}
  streams:
    description: Prints what it can read, and what descriptors it has.
    messages: false
    exec: ./streams.sh
  speaks:
    description: Says how far it is, and something for the log.
    exec: ./speaks.sh
  asks:
    description: Asks for a name and prints what it is told.
    exec: ./asks.sh
  changes:
    description: Changes the list of tools.
    exec: ./changes.sh
";

const SCRIPTS: [(&str, &str); 5] = [
    (
        "gate.sh",
        r#"echo $$ >"$1.group"; until [ -e "$1.open" ] || [ ! -e "$1.group" ]; do sleep 0.02; done; printf through"#,
    ),
    (
        "streams.sh",
        "echo by itself; cat; for fd in /proc/self/fd/*; do readlink $fd || true; done",
    ),
    (
        "speaks.sh",
        r#"echo '{"mcp":"progress","progress":1,"total":2}'
        echo '{"mcp":"log","level":"warning","data":"careful"}'; echo done"#,
    ),
    (
        "asks.sh",
        r#"echo '{"mcp":"ask","id":"user_name","message":"Who?","schema":{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}}'
        read -r answer; printf %s "$answer""#,
    ),
    (
        "changes.sh",
        r#"echo '{"mcp":"list_changed","what":"tools"}'; echo done"#,
    ),
];

/// The server as the child of the test.
pub(crate) struct Served {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<String>,
    log: Option<JoinHandle<String>>,
    folder: tempfile::TempDir,
}

/// Writes what [`TOOLS`] needs.
fn write_tools(folder: &Path) -> PathBuf {
    for (name, body) in SCRIPTS {
        write_script(folder, name, body);
    }
    let file = folder.join("tools.yaml");
    fs::write(&file, TOOLS).unwrap();
    file
}

impl Served {
    fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = command()
            .arg("--stdio")
            .arg("--tools")
            .arg(write_tools(folder.path()))
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let (lines, output) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        Self {
            input: child.stdin.take(),
            child,
            output,
            log: Some(log),
            folder,
        }
    }

    /// A server that has opened the session of an era, if it has one.
    pub(crate) fn in_era(era: Era, options: &[&str]) -> Self {
        let mut served = Self::start(options);
        if era == Era::Legacy {
            served.initialize("2025-11-25", &json!({}));
        }
        served
    }

    fn initialize(&mut self, version: &str, capabilities: &Value) {
        let mut message = initialize(version);
        message["params"]["capabilities"] = capabilities.clone();
        self.send(&message);
        let reply = self.next();
        assert_eq!(reply["id"], 0, "{reply}");
        assert_eq!(reply["result"]["protocolVersion"], version, "{reply}");
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    }

    fn write(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("standard input is open");
        input.write_all(bytes).unwrap();
        input.flush().unwrap();
    }

    fn send(&mut self, message: &Value) {
        self.write(format!("{message}\n").as_bytes());
    }

    /// Sends a request as an era says it.
    pub(crate) fn request(&mut self, era: Era, id: u64, method: &str, params: &Value) {
        let message = request(era, id, method, params);
        self.send(&message);
    }

    pub(crate) fn call(&mut self, era: Era, id: u64, tool: &str, arguments: &Value) {
        let params = json!({"name": tool, "arguments": arguments});
        self.request(era, id, "tools/call", &params);
    }

    /// The next message of the server.
    pub(crate) fn next(&self) -> Value {
        let line = self.output.recv_timeout(PATIENCE).expect("a message");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Waits for the end, after which nothing more may come.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let ended = eventually(|| self.child.try_wait().unwrap());
        let status = ended.expect("the server ends");
        let left = self.output.iter().next();
        assert_eq!(left, None, "a message at the end");
        status
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn end_of_input(&mut self) {
        drop(self.input.take());
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// The process group of a call of the tool `gate`, once it runs.
    pub(crate) fn group(&self, name: &str) -> u32 {
        let file = self.folder.path().join(format!("{name}.group"));
        wait_for_line(&file).parse().unwrap()
    }

    pub(crate) fn open(&self, name: &str) {
        fs::write(self.folder.path().join(format!("{name}.open")), "").unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if let Some(Ok(log)) = self.log.take().map(JoinHandle::join)
            && std::thread::panicking()
        {
            drop(std::io::stderr().write_all(log.as_bytes()));
        }
    }
}

fn request(era: Era, id: u64, method: &str, params: &Value) -> Value {
    let mut params = params.clone();
    if era == Era::Modern {
        let mut meta = modern_meta();
        meta.as_object_mut()
            .unwrap()
            .extend(params["_meta"].as_object().cloned().unwrap_or_default());
        params["_meta"] = meta;
    }
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

#[test]
fn a_call_beyond_a_limit_gets_an_error() {
    for era in ERAS {
        let mut served = Served::in_era(era, &["--max-calls", "1"]);
        served.call(era, 1, "gate", &json!({"name": "a"}));
        served.group("a");
        served.call(era, 2, "echo", &json!({"text": "x"}));
        let refused = served.next();
        assert_eq!(refused["id"], 2, "{era:?}: {refused}");
        assert_eq!(refused["error"]["code"], -32603, "{era:?}: {refused}");
        let why = "The server is running as many calls as it may; try again later";
        assert_eq!(refused["error"]["message"], why, "{era:?}");
        served.open("a");
        assert_eq!(served.next()["id"], 1, "{era:?}");
        served.end_of_input();
        assert!(served.wait().success());
    }
}

fn cancelled(id: u64) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})
}

fn result_text(reply: &Value) -> String {
    text(&reply["result"]["content"][0]["text"])
}

#[test]
fn both_eras_are_served_by_one_process() {
    let mut served = Served::start(&[]);
    for era in [Era::Modern, Era::Legacy, Era::Modern] {
        if era == Era::Legacy {
            served.initialize("2025-06-18", &json!({}));
        }
        served.request(era, 1, "tools/list", &json!({}));
        let reply = served.next();
        assert_eq!(reply["result"]["tools"][0]["name"], "echo", "{reply}");
        served.call(era, 2, "echo", &json!({"text": "a\nb"}));
        let reply = served.next();
        assert_eq!(reply["id"], 2);
        assert_eq!(result_text(&reply), "a\nb");
        assert_eq!(
            reply["result"].get("resultType").is_some(),
            era == Era::Modern
        );
    }
    served.request(Era::Modern, 3, "server/discover", &json!({}));
    assert!(served.next()["result"]["supportedVersions"].is_array());
    served.end_of_input();
    assert_eq!(served.wait().code(), Some(0));
}

#[test]
fn a_session_is_opened_once_and_first() {
    let mut served = Served::start(&[]);
    served.request(Era::Legacy, 1, "ping", &json!({}));
    assert_eq!(served.next()["result"], json!({}));
    served.request(Era::Legacy, 2, "tools/list", &json!({}));
    let reply = served.next();
    assert_eq!(reply["error"]["code"], -32600);
    assert!(text(&reply["error"]["message"]).contains("call initialize first"));
    served.initialize("2025-11-25", &json!({}));
    served.send(&initialize("2025-11-25"));
    assert_eq!(
        served.next()["error"]["code"],
        -32600,
        "a second initialize"
    );
    let mut unknown = request(Era::Modern, 3, "tools/list", &json!({}));
    unknown["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2099-01-01");
    served.send(&unknown);
    assert_eq!(served.next()["error"]["code"], -32022);
}

#[test]
fn an_era_that_is_not_served_is_refused() {
    for (eras, refused) in [("legacy", Era::Modern), ("modern", Era::Legacy)] {
        let mut served = Served::start(&["--eras", eras]);
        served.request(refused, 1, "tools/list", &json!({}));
        assert_eq!(served.next()["error"]["code"], -32022, "{eras}");
    }
}

#[test]
fn what_is_no_message_is_answered_without_an_id_and_the_next_line_is_served() {
    let mut served = Served::start(&["--max-body", "1KiB"]);
    let long = format!("{{\"long\":\"{}\"}}", "x".repeat(2000));
    let cases: [(&[u8], i64); 6] = [
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b"7", -32600),
        (b"{\"jsonrpc\":\"1.0\"}", -32600),
        (long.as_bytes(), -32600),
        (
            b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]",
            -32600,
        ),
    ];
    for (line, code) in cases {
        served.write(line);
        served.write(b"\n");
        let reply = served.next();
        let line = String::from_utf8_lossy(line);
        assert_eq!(reply["error"]["code"], code, "{line}: {reply}");
        assert_eq!(reply.get("id"), Some(&Value::Null), "{line}: {reply}");
        served.write(b"\n \r\n{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\"}\r\n");
        assert_eq!(served.next()["id"], 7, "{line}");
    }
    served.write(b"{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"ping\"}");
    served.end_of_input();
    assert_eq!(served.next()["id"], 8, "the last line needs no line break");
    assert_eq!(served.wait().code(), Some(0));
}

#[test]
fn requests_run_beside_each_other() {
    for era in ERAS {
        let mut served = Served::in_era(era, &[]);
        served.call(era, 1, "gate", &json!({"name": "one"}));
        served.call(era, 2, "gate", &json!({"name": "two"}));
        served.group("one");
        served.open("two");
        assert_eq!(served.next()["id"], 2, "{era:?}");
        served.request(era, 3, "tools/list", &json!({}));
        assert_eq!(served.next()["id"], 3, "{era:?}");
        served.open("one");
        assert_eq!(result_text(&served.next()), "through", "{era:?}");
    }
}

#[test]
fn a_call_speaks_before_its_result() {
    for era in ERAS {
        // Standard output knows no answers but messages.
        let mut served = Served::in_era(era, &["--json-response"]);
        let meta = json!({"progressToken": "p", "io.modelcontextprotocol/logLevel": "info"});
        let params = json!({"name": "speaks", "arguments": {}, "_meta": meta});
        served.request(era, 1, "tools/call", &params);
        let [progress, log, reply] = [(); 3].map(|()| served.next());
        assert_eq!(progress["method"], "notifications/progress", "{era:?}");
        assert_eq!(progress["params"]["progressToken"], "p", "{era:?}");
        assert_eq!(log["method"], "notifications/message", "{era:?}");
        assert_eq!(result_text(&reply), "done\n", "{era:?}");
    }
}

#[test]
fn a_cancelled_call_ends_without_another_word() {
    for era in ERAS {
        let mut served = Served::in_era(era, &[]);
        served.call(era, 1, "gate", &json!({"name": "one"}));
        let group = served.group("one");
        served.send(&cancelled(99));
        served.send(&cancelled(1));
        wait_for_end_of_group(group);
        served.request(era, 2, "tools/list", &json!({}));
        assert_eq!(served.next()["id"], 2, "{era:?}");
        served.end_of_input();
        assert_eq!(served.wait().code(), Some(0), "{era:?}");
    }
}

#[test]
fn a_tool_asks_the_client() {
    let answer = json!({"action": "accept", "content": {"name": "Ada"}});
    let mut served = Served::start(&[]);
    served.initialize("2025-11-25", &json!({"elicitation": {}}));
    served.call(Era::Legacy, 1, "asks", &json!({}));
    let asked = served.next();
    assert_eq!(asked["method"], "elicitation/create", "{asked}");
    served.send(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": answer}));
    assert!(result_text(&served.next()).contains("Ada"));

    let capabilities = json!({"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}});
    let params = json!({"name": "asks", "arguments": {}, "_meta": capabilities});
    served.request(Era::Modern, 2, "tools/call", &params);
    let result = served.next()["result"].take();
    assert_eq!(result["resultType"], "input_required", "{result}");
    let mut params = params;
    params["requestState"] = result["requestState"].clone();
    params["inputResponses"] = json!({"user_name": answer});
    served.request(Era::Modern, 3, "tools/call", &params);
    assert!(result_text(&served.next()).contains("Ada"));
}

#[test]
fn whoever_waits_for_an_answer_is_told_when_the_client_leaves() {
    let mut served = Served::start(&[]);
    served.initialize("2025-11-25", &json!({"elicitation": {}}));
    served.call(Era::Legacy, 1, "asks", &json!({}));
    assert_eq!(served.next()["method"], "elicitation/create");
    served.end_of_input();
    let reply = served.next();
    assert_eq!(reply["id"], 1, "{reply}");
    assert!(result_text(&reply).contains("not there"), "{reply}");
    assert_eq!(served.wait().code(), Some(0));
}

#[test]
fn calls_finish_after_the_end_of_the_input_or_a_signal() {
    for era in ERAS {
        for signal in [None, Some("TERM"), Some("INT")] {
            let mut served = Served::in_era(era, &[]);
            served.call(era, 1, "gate", &json!({"name": "one"}));
            served.group("one");
            match signal {
                None => served.end_of_input(),
                Some(signal) => {
                    served.signal(signal);
                    let refused = eventually(|| {
                        served.request(era, 2, "tools/list", &json!({}));
                        served.next().get("error").cloned()
                    });
                    let message = text(&refused.expect("an error")["message"]);
                    assert!(message.contains("shutting down"), "{message}");
                }
            }
            served.open("one");
            let reply = served.next();
            assert_eq!(result_text(&reply), "through", "{era:?} {signal:?}");
            assert_eq!(served.wait().code(), Some(0), "{era:?} {signal:?}");
        }
    }
}

#[test]
fn calls_that_take_too_long_are_ended_with_an_answer() {
    for era in ERAS {
        let mut served = Served::in_era(era, &["--drain-timeout", "100ms"]);
        served.call(era, 1, "gate", &json!({"name": "one"}));
        let group = served.group("one");
        served.end_of_input();
        let reply = served.next();
        assert_eq!(reply["error"]["code"], -32603, "{era:?}: {reply}");
        assert_eq!(served.wait().code(), Some(0), "{era:?}");
        wait_for_end_of_group(group);
    }
}

#[test]
fn a_tool_has_streams_of_its_own() {
    let mut served = Served::start(&[]);
    let theirs = |fd: u32| {
        let link = format!("/proc/{}/fd/{fd}", served.child.id());
        fs::read_link(link).unwrap().to_string_lossy().into_owned()
    };
    // Asked while the server runs: what it took is not under its numbers any more.
    let taken = eventually(|| (theirs(0) == "/dev/null" && theirs(1) == theirs(2)).then_some(()));
    assert!(taken.is_some(), "{} {} {}", theirs(0), theirs(1), theirs(2));
    let all = (3..64).filter_map(|fd| {
        let link = format!("/proc/{}/fd/{fd}", served.child.id());
        let link = fs::read_link(link).ok()?.to_string_lossy().into_owned();
        link.starts_with("pipe:").then_some(link)
    });
    let pipes: Vec<_> = all.collect();
    served.call(Era::Modern, 1, "streams", &json!({}));
    let printed = result_text(&served.next());
    assert!(printed.starts_with("by itself\n"), "{printed}");
    for pipe in pipes {
        assert!(!printed.contains(&pipe), "{pipe} in {printed}");
    }
}

#[test]
fn changes_are_told_in_the_session_and_to_who_listens() {
    let mut served = Served::start(&[]);
    let filter = json!({"notifications": {"toolsListChanged": true}});
    for id in [10, 11] {
        served.request(Era::Modern, id, "subscriptions/listen", &filter);
        let first = served.next();
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    }
    served.send(&cancelled(10));
    served.call(Era::Modern, 1, "changes", &json!({}));
    let mut messages = [served.next(), served.next()];
    messages.sort_by_key(|message| message["id"].is_number());
    let [change, reply] = messages;
    assert_eq!(reply["id"], 1);
    let tag = "io.modelcontextprotocol/subscriptionId";
    assert_eq!(change["method"], "notifications/tools/list_changed");
    assert_eq!(change["params"]["_meta"][tag], 11, "{change}");

    served.initialize("2025-11-25", &json!({}));
    served.call(Era::Legacy, 2, "changes", &json!({}));
    let messages = [(); 3].map(|()| served.next());
    let untagged = messages.iter().filter(|message| {
        message["method"] == "notifications/tools/list_changed"
            && message
                .get("params")
                .is_none_or(|params| params.get("_meta").is_none())
    });
    assert_eq!(untagged.count(), 1, "{messages:?}");

    served.end_of_input();
    let [closed, torn_down] = [(); 2].map(|()| served.next());
    assert_eq!(closed["id"], 11, "{closed}");
    assert_eq!(closed["result"]["_meta"][tag], 11, "{closed}");
    assert_eq!(torn_down["method"], "notifications/cancelled");
    assert_eq!(torn_down["params"]["requestId"], 11);
    assert_eq!(served.wait().code(), Some(0));
}

#[test]
fn the_revision_with_batches_has_them() {
    let batch = json!([
        request(Era::Legacy, 1, "ping", &json!({})),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        request(Era::Legacy, 2, "tools/call", &json!({"name": "echo", "arguments": {"text": "x"}})),
        request(Era::Modern, 3, "tools/list", &json!({})),
        7,
    ]);
    let mut served = Served::start(&[]);
    served.initialize("2025-03-26", &json!({}));
    served.send(&batch);
    let replies = served.next();
    let replies = replies.as_array().expect("one array");
    assert_eq!(replies.len(), 4, "{replies:?}");
    let of = |id: Value| replies.iter().find(|reply| reply["id"] == id).unwrap();
    assert_eq!(of(json!(1))["result"], json!({}));
    assert_eq!(result_text(of(json!(2))), "x");
    assert_eq!(of(json!(3))["error"]["code"], -32600);
    assert_eq!(of(Value::Null)["error"]["code"], -32600);

    let mut served = Served::in_era(Era::Legacy, &[]);
    served.send(&batch);
    assert_eq!(served.next()["error"]["code"], -32600);
}

#[test]
fn what_is_for_clients_that_connect_cannot_be_set() {
    let cases = [
        (["--listen", "127.0.0.1:8080"], "--listen"),
        (["--token-file", "x"], "--token-file"),
        (["--auth", "x"], "--auth"),
    ];
    for (options, named) in cases {
        let run = run(command().arg("--stdio").args(options));
        assert_eq!(run.code, Some(2), "{options:?}");
        assert!(run.stderr.contains(named), "{}", run.stderr);
        assert!(run.stderr.contains("--stdio"), "{}", run.stderr);
    }
}

#[tokio::test]
async fn the_official_sdk_is_served_in_both_eras() {
    let modes = [
        (
            ClientLifecycleMode::Initialize,
            ProtocolVersion::V_2025_11_25,
        ),
        (
            ClientLifecycleMode::Discover {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            },
            ProtocolVersion::V_2026_07_28,
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = write_tools(folder.path());
    for (mode, version) in modes {
        let mut command = tokio::process::Command::from(command());
        command.arg("--stdio").arg("--tools").arg(&file);
        let transport = TokioChildProcess::new(command).unwrap();
        let client = serve_client_with_lifecycle((), transport, mode)
            .await
            .unwrap();
        assert_eq!(client.peer_info().unwrap().protocol_version, version);
        assert_eq!(client.list_all_tools().await.unwrap().len(), 6);
        let arguments = json!({"text": "hello"}).as_object().unwrap().clone();
        let call = CallToolRequestParams::new("echo").with_arguments(arguments);
        let result = client.call_tool(call).await.unwrap();
        assert_eq!(result.content[0].as_text().unwrap().text, "hello");
        client.cancel().await.unwrap();
    }
}
