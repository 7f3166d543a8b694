//! How many instructions the server itself takes for a call, by callgrind: a number that no other
//! load on the machine changes, so that a regression shows. Valgrind has no processor that helps with
//! SHA-256, so that the digest of a token counts many times what it costs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::auth::{checked_jwt, static_token};
use crate::calls::{CALL, MODERN_CALL, MODERN_FIELDS, TOOLS, request, session_fields};
use crate::client::{Client, INITIALIZE};
use crate::server::{await_listener, binary, free_address};
use crate::table::{below, title};
use crate::variants::Setup;

/// The calls of the two runs; the difference leaves out what is done once.
const CALLS: [usize; 2] = [300, 1300];

/// What was counted before: a name and a number on each line, for the profile that it names.
const COUNTED: &str = include_str!("instructions.txt");

/// How much more than before is taken for a regression.
const ALLOWED: f64 = 1.03;

/// Instructions of the server for a call of a tool with a fixed text.
pub(crate) fn instructions(_: f64) {
    title("instructions: of the server for one call of a tool with a fixed text; needs valgrind");
    let counted = [
        (Setup::plain("2025-11-25"), false),
        (Setup::plain("2026-07-28"), true),
        (static_token(), false),
        (checked_jwt(), false),
    ];
    for (setup, is_modern) in counted {
        let name = setup.name;
        let [few, many] = CALLS.map(|calls| count(&setup, calls, is_modern));
        let each = (many - few) / (CALLS[1] - CALLS[0]) as f64;
        let before = COUNTED.lines().find_map(|line| line.strip_prefix(name));
        let before: f64 = before.unwrap().trim().parse().unwrap();
        below(name, each, "instructions", before * ALLOWED);
    }
}

/// Instructions of a server from its start to its end, with so many calls between.
fn count(setup: &Setup, calls: usize, is_modern: bool) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let tools = folder.path().join("tools.yaml");
    let counted = folder.path().join("counted");
    fs::write(&tools, TOOLS).unwrap();
    let address = free_address();
    let server = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", counted.display()))
        .arg(binary())
        .args(["--json-response", "--log-level", "warn"])
        .args(&setup.options)
        .args(["--listen", &address, "--tools"])
        .arg(&tools)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut server = server.unwrap();
    await_listener(&address);
    call(setup, &address, calls, is_modern);
    let id = i32::try_from(server.id()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
    assert!(server.wait().unwrap().success());
    total(&counted)
}

fn call(setup: &Setup, address: &str, calls: usize, is_modern: bool) {
    let mut client = Client::connect(address);
    let request = if is_modern {
        request(address, &setup.fields(&MODERN_FIELDS), MODERN_CALL)
    } else {
        client.send(&request(address, &setup.fields(&[]), INITIALIZE));
        let session = client.receive().session.unwrap();
        request(address, &setup.fields(&session_fields(&session)), CALL)
    };
    for _ in 0..calls {
        client.send(&request);
        client.receive_result();
    }
}

/// The sum in a file of callgrind.
fn total(counted: &Path) -> f64 {
    let text = fs::read_to_string(counted).unwrap();
    let sum = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let sum = sum.or_else(|| text.lines().find_map(|line| line.strip_prefix("summary: ")));
    sum.unwrap().trim().parse().unwrap()
}
