//! A server to test against: the real binary over a real socket, and what a test needs around it.

mod client;
mod gate;
mod http;
mod processes;
mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) use client::Client;
pub(crate) use gate::{GATE, Gate};
pub(crate) use http::{Http, Response};
pub(crate) use processes::{descendants, group_members, wait_for_end_of_group, wait_for_ends};
pub(crate) use server::{Prepare, TestServer, statistics_of};

/// How long a test waits for what must happen, on a slow and busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How much later than it should a thing may happen on a slow and busy machine. It is less than a
/// heartbeat and a drain take by default, so that a test can tell that nobody waited for one.
pub(crate) const ALLOWANCE: Duration = Duration::from_secs(10);

/// A token that is long enough.
pub(crate) const TOKEN: &str = "test-token-mfZ3b1mXk0Qy7h2Vn5cR8w";

/// Both eras, for a test body that runs in each.
pub(crate) const ERAS: [Era; 2] = [Era::Legacy, Era::Modern];

/// Starts the binary with a clean environment.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-serve"));
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command
}

/// What a run that ended by itself printed.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the binary to its end.
pub(crate) fn run(command: &mut Command) -> Run {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Writes [`TOKEN`] into a file that only its owner can read.
pub(crate) fn write_token(folder: &Path) -> PathBuf {
    let file = folder.join("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// The digest of a token, as an auth file has it.
pub(crate) fn sha256(token: &str) -> String {
    let digest = Sha256::digest(token.as_bytes());
    let hex = |text: String, byte: &u8| text + &format!("{byte:02x}");
    digest.iter().fold(String::new(), hex)
}

/// Asks again and again until there is an answer, for at most [`PATIENCE`].
pub(crate) fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// The text of a JSON string.
pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not a string"))
        .to_owned()
}

/// The `initialize` of a legacy client.
pub(crate) fn initialize(version: &str) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {
            "protocolVersion": version,
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"}
        }
    })
}

/// The `_meta` of a modern request.
pub(crate) fn modern_meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {}
    })
}

/// Writes a shell script that can be executed, for `exec: ./NAME`.
pub(crate) fn write_script(folder: &Path, name: &str, body: &str) {
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Waits for a file with a whole line, and returns the line.
pub(crate) fn wait_for_line(file: &Path) -> String {
    let line = eventually(|| {
        let text = fs::read_to_string(file).ok()?;
        Some(text.strip_suffix('\n')?.to_owned())
    });
    line.unwrap_or_else(|| panic!("no line in {}", file.display()))
}
