//! What a call costs whose tool is a program, beside a loop that starts it and waits.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::calls::{request, session_fields};
use crate::client::{Client, INITIALIZE};
use crate::peers::Peer;
use crate::server::Server;
use crate::table::{above, number, ratio, row, spread, title};

/// The programs that are run, and the same in a sandbox.
const TOOLS: &str = "
tools:
  'true': {description: Does nothing., exec: /bin/true}
  echo: {description: Says hello., exec: /bin/echo hello}
  confined: {description: Does nothing., exec: /bin/true, sandbox: true, if_missing: hide}
";

/// How often each contestant is measured.
const RUNS: usize = 5;

/// How long each time.
const RUN: Duration = Duration::from_secs(2);

/// Memory of a server that has much to do, in KiB.
const RESIDENT: f64 = 1024.0 * 1024.0;

/// Runs something on so many threads until the time is over, and returns how often in a second.
fn rate<W: FnMut()>(parallel: usize, time: Duration, worker: impl Fn() -> W + Sync) -> f64 {
    let count = AtomicUsize::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..parallel {
            scope.spawn(|| {
                let mut work = worker();
                while began.elapsed() < time {
                    work();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    count.into_inner() as f64 / began.elapsed().as_secs_f64()
}

/// Starts a program as the server does, by `posix_spawn` without an environment, takes what it
/// prints, and waits for it.
fn spawn(program: &str) {
    let mut command = Command::new(format!("/bin/{program}"));
    command.env_clear().stdin(Stdio::null());
    let output = if program == "echo" {
        command.arg("hello").output().unwrap()
    } else {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().unwrap();
        assert!(status.success());
        return;
    };
    assert_eq!(output.stdout, b"hello\n");
}

fn body(tool: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{{"name":"{tool}","arguments":{{}}}}}}"#
    )
}

/// Calls a tool of the server.
fn call(server: &Server, tool: &str, parallel: usize, time: Duration) -> f64 {
    let address = &server.address;
    let session = Client::connect(address).initialize();
    let request = request(address, &session_fields(&session), &body(tool));
    answered(address, &request, parallel, time)
}

/// Sends this request, and the next when it is answered.
fn answered(address: &str, request: &[u8], parallel: usize, time: Duration) -> f64 {
    rate(parallel, time, || {
        let mut client = Client::connect(address);
        move || {
            client.send(request);
            client.receive_result();
        }
    })
}

/// Calls per second of programs that are over at once.
pub(crate) fn programs(scale: f64) {
    title(&format!(
        "programs: calls per second beside a loop of posix_spawn and wait and beside the official Rust SDK, {RUNS} times in turn; median (least to most)"
    ));
    let server = Server::serve(TOOLS, &["--json-response"]);
    let peer = Peer::start("rmcp");
    for program in ["true", "echo"] {
        let of_peer = request(&peer.address, &[], &body(program));
        for parallel in [1, 2, 16] {
            let [mut bare, mut sdk, mut ours] = [const { Vec::new() }; 3];
            for _ in 0..RUNS {
                let time = RUN.mul_f64(scale);
                bare.push(rate(parallel, time, || || spawn(program)));
                sdk.push(answered(&peer.address, &of_peer, parallel, time));
                ours.push(call(&server, program, parallel, time));
            }
            let what = format!("/bin/{program}, {parallel} in parallel");
            above(&format!("{what} / the loop"), ratio(&ours, &bare), "", 0.95);
            above(&format!("{what} / the SDK"), ratio(&ours, &sdk), "", 1.0);
            let [bare, sdk, ours] = [&mut bare, &mut sdk, &mut ours].map(|rates| spread(rates));
            row(
                &what,
                &format!("{ours}/s, the loop {bare}/s, the SDK {sdk}/s"),
            );
        }
    }
}

/// What a sandbox costs a program that is over at once.
pub(crate) fn sandbox(scale: f64) {
    title(&format!(
        "sandbox: calls per second of /bin/true in a sandbox, beside the same without, {RUNS} times in turn; median (least to most)"
    ));
    let server = Server::serve(TOOLS, &["--json-response"]);
    for parallel in [1, 2, 16] {
        let (mut free, mut confined) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let time = RUN.mul_f64(scale);
            free.push(call(&server, "true", parallel, time));
            confined.push(call(&server, "confined", parallel, time));
        }
        let ratio = ratio(&confined, &free);
        let (with, without) = (spread(&mut confined), spread(&mut free));
        row(
            &format!("{parallel} in parallel"),
            &format!("{with}/s, without {without}/s, ratio {ratio:.2}"),
        );
    }
}

/// The same of a server that has a gibibyte of memory in use.
pub(crate) fn resident(scale: f64) {
    let wanted = RESIDENT * scale.min(1.0);
    title(&format!(
        "resident: calls per second of /bin/true with {} MiB in use, beside a new server, {RUNS} times in turn",
        number(wanted / 1024.0)
    ));
    let small = Server::serve(TOOLS, &["--json-response"]);
    let options = ["--json-response", "--max-sessions", "10000000"];
    let large = Server::serve(TOOLS, &options);
    let mut clients = Client::many(&large.address, 32);
    while large.usage().resident < wanted {
        for client in &mut clients {
            client.send_post(None, INITIALIZE);
        }
        for client in &mut clients {
            assert_eq!(client.receive().status, 200);
        }
    }
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        without.push(call(&small, "true", 2, RUN));
        with.push(call(&large, "true", 2, RUN));
    }
    let what = "with much memory / with little";
    above(what, ratio(&with, &without), "", 0.9);
    let (large, small) = (spread(&mut with), spread(&mut without));
    row(
        "2 in parallel",
        &format!("{large}/s, the new one {small}/s"),
    );
}
