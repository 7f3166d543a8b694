//! Programs, clients and machines that fail, and what must hold after each failure: a good call is as
//! quick as ever, descriptors, permits and memory are back, no process is left, each call has one line
//! in the log, a beginning and an end in the audit log, and one answer.

mod children;
mod clients;
mod crash;
mod drain;
mod machine;
mod peers;
mod soak;
pub(crate) mod starts;

use std::cell::Cell;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::audit;
use crate::metrics::{descriptors, memory, monitor_of, scrape, value};
use crate::support::{ALLOWANCE, Client, ERAS, Http, Prepare, Response, TestServer, eventually};

/// Where each server writes down its calls.
const AUDIT_LOG: &str = "audit.log";

/// How much more memory than before may be in use, in KiB: what allocators keep for a while.
const MEMORY: u64 = 16 * 1024;

/// The program that does what is wrong. Cargo builds it for `cargo test`, but not for one test target.
fn fault_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let profile = Path::new(env!("CARGO_BIN_EXE_mcp-serve")).parent().unwrap();
        let program = profile.join("examples/mcp-fault");
        if !program.exists() {
            let name = match profile.file_name().and_then(|name| name.to_str()) {
                Some("debug") => "dev",
                name => name.unwrap(),
            };
            let built = Command::new(env!("CARGO"))
                .args(["build", "--example", "mcp-fault", "--profile", name])
                .arg("--target-dir")
                .arg(profile.parent().unwrap())
                .status();
            assert!(built.unwrap().success());
        }
        program
    })
}

/// A tool that does something wrong, in the folder of the definitions.
fn tool(name: &str, words: &str, settings: &str) -> String {
    let program = fault_program().display();
    format!(
        "  {name}:\n    description: Does something wrong.\n    exec: {program} {words}\n    workdir: .\n{settings}"
    )
}

/// A server, and what it was like before anything went wrong.
struct Watched {
    server: TestServer,
    token: Option<String>,
    monitor: String,
    descriptors: usize,
    memory: u64,
    /// How long a good call took.
    quick: Duration,
    calls: Cell<usize>,
}

impl Watched {
    fn start(tools: &str, options: &[&str]) -> Self {
        Self::start_with(tools, options, |_| {})
    }

    fn start_with(tools: &str, options: &[&str], change: impl FnOnce(&mut Prepare<'_>)) -> Self {
        Self::with_token(tools, options, None, change)
    }

    fn with_token(
        tools: &str,
        options: &[&str],
        token: Option<String>,
        change: impl FnOnce(&mut Prepare<'_>),
    ) -> Self {
        let good = tool("good", "echo {text}", "    params: {text: string}\n");
        let tools = format!("defaults: {{effect: read}}\ntools:\n{good}{tools}");
        let all = ["--metrics-listen", "127.0.0.1:0"];
        let server = TestServer::start_with(&tools, &[&all, options].concat(), |prepare| {
            let log = prepare.folder.join(AUDIT_LOG);
            prepare.command.arg("--audit").arg(log);
            change(prepare);
        });
        let monitor = monitor_of(&server);
        let mut watched = Self {
            server,
            token,
            monitor,
            descriptors: 0,
            memory: 0,
            quick: Duration::ZERO,
            calls: Cell::new(0),
        };
        for era in ERAS.repeat(3) {
            watched.quick = watched.quick.max(watched.good(era));
        }
        watched.wait_for_rest("the start");
        watched.descriptors = watched.settled();
        watched.memory = watched.resident();
        watched
    }

    fn client(&self, era: Era) -> Client {
        Client::new(&self.server, era, self.token.as_deref())
    }

    /// Makes a call that must succeed, and returns how long it took.
    fn good(&self, era: Era) -> Duration {
        let client = self.client(era);
        let started = Instant::now();
        let result = self.call(&client, "good", &json!({"text": "fine"}));
        assert_eq!(result["content"][0]["text"], "fine", "{era:?}: {result}");
        started.elapsed()
    }

    /// Makes a call that has exactly one answer, and returns the result in it.
    fn call(&self, client: &Client, tool: &str, arguments: &Value) -> Value {
        let mut http = self.start_call(client, tool, arguments);
        let response = http.read();
        assert_only_answer(&mut http, tool);
        let json = response.json();
        assert!(json["result"].is_object(), "{tool}: {response:?}");
        json["result"].clone()
    }

    /// The text of a result, and whether it is an error.
    fn text(&self, client: &Client, tool: &str, arguments: &Value) -> (String, bool) {
        let result = self.call(client, tool, arguments);
        let text = result["content"][0]["text"].as_str().unwrap().to_owned();
        (text, result["isError"] == true)
    }

    /// Starts a call whose answer may never be read.
    fn start_call(&self, client: &Client, tool: &str, arguments: &Value) -> Http {
        self.calls.set(self.calls.get() + 1);
        client.start_call(7, tool, arguments)
    }

    /// Checks what must hold after every failure.
    fn check(&self, case: &str) {
        for era in ERAS {
            let took = self.good(era);
            let rule = self.quick * 2;
            assert!(took < rule + ALLOWANCE, "{case}, {era:?}: {took:?}");
        }
        self.wait_for_rest(case);
        let most = self.descriptors + 2;
        let returned = eventually(|| (descriptors(&self.server) <= most).then_some(()));
        let (now, before) = (descriptors(&self.server), self.descriptors);
        assert!(
            returned.is_some(),
            "{case}: {now} descriptors, not {before}"
        );
        let most = self.memory * 11 / 10 + MEMORY;
        let returned = eventually(|| (self.resident() <= most).then_some(()));
        let (now, before) = (self.resident(), self.memory);
        assert!(returned.is_some(), "{case}: {now} KiB, not {before}");
    }

    /// Waits until no call takes anything, no process is left, and each call is in the log.
    fn wait_for_rest(&self, case: &str) {
        let rests = eventually(|| {
            let samples = scrape(&self.monitor);
            let left = value(&samples, "calls_in_flight") + value(&samples, "calls_stuck");
            (left < 0.5).then_some(())
        });
        assert!(rests.is_some(), "{case}: calls are left");
        // A process that is dead and not reaped counts too.
        let gone = eventually(|| self.server.descendants().is_empty().then_some(()));
        assert!(gone.is_some(), "{case}: {:?}", self.server.descendants());
        let calls = self.calls.get();
        eventually(|| (self.logged() >= calls).then_some(()));
        assert_eq!(self.logged(), calls, "{case}: lines in the log");
        let audited = || {
            let records = audit::read(&self.file(AUDIT_LOG));
            let ends = audit::of_event(&records, "end").len();
            (ends >= calls).then_some(records)
        };
        let records = eventually(audited).unwrap_or_else(|| panic!("{case}: ends are missing"));
        audit::check(&records);
    }

    /// How many calls are in the log.
    fn logged(&self) -> usize {
        let log = self.server.log();
        let is_call = |line: &&String| line.contains("\"message\":\"call\"");
        log.iter().filter(is_call).count()
    }

    /// How many calls have ended for the audit log.
    fn ended(&self) -> usize {
        let records = audit::read(&self.file(AUDIT_LOG));
        audit::of_event(&records, "end").len()
    }

    /// The outcomes in the log, from the call of this number on.
    fn outcomes(&self, from: usize) -> Vec<String> {
        let log = self.server.log();
        let calls = log
            .iter()
            .filter(|line| line.contains("\"message\":\"call\""));
        let outcome = |line: &String| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["outcome"].as_str().unwrap().to_owned()
        };
        calls.skip(from).map(outcome).collect()
    }

    /// How many descriptors are open, when that does not change any more.
    fn settled(&self) -> usize {
        let mut same = (0, 0);
        let settled = eventually(|| {
            let now = descriptors(&self.server);
            same = if same.0 == now {
                (now, same.1 + 1)
            } else {
                (now, 0)
            };
            (same.1 == 20).then_some(now)
        });
        settled.unwrap()
    }

    /// The memory of the server, in KiB.
    fn resident(&self) -> u64 {
        memory(&self.server, "VmRSS")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.server.folder().join(name)
    }
}

/// Checks that nothing but the answer that was read came over a connection.
fn assert_only_answer(http: &mut Http, case: &str) {
    let next = http.request("GET", "/healthz", &[], "");
    assert_eq!(next.status, 200, "{case}: {next:?}");
}

/// The text of an error reply.
fn error(response: &Response) -> String {
    let json = response.json();
    let message = json["error"]["message"].as_str();
    message.unwrap_or_else(|| panic!("{response:?}")).to_owned()
}

/// The same tool under many names, with a number in each.
fn numbered(count: usize, tool: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut all, number| {
        write!(all, "{}", tool(number)).unwrap();
        all
    })
}
