//! How fast the server starts, and how much memory it has then.
//!
//! Run with `cargo bench --bench startup`. Each run starts the release binary with the definitions
//! of this repository, asks for a connection until there is one, and opens a session. Times are of
//! the whole process, from its start to the answer, and depend on what else the machine does.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark starts processes, reads the clock and prints"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 30;
const PATIENCE: Duration = Duration::from_secs(10);
const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn connect(address: &str, started: Instant) -> TcpStream {
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(error) if started.elapsed() > PATIENCE => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}

/// Opens a session and returns the time since the start, and the resident memory after it.
fn run() -> (Duration, u64) {
    let address = free_address();
    let started = Instant::now();
    let child = Command::new(env!("CARGO_BIN_EXE_mcp-serve"))
        .args(["--listen", &address])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Server(child);
    let mut stream = connect(&address, started);
    let length = BODY.len();
    write!(
        stream,
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{BODY}"
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let elapsed = started.elapsed();
    assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
    let status = fs::read_to_string(format!("/proc/{}/status", server.0.id())).unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kib = resident.split_whitespace().next().unwrap().parse().unwrap();
    (elapsed, kib)
}

fn main() {
    let mut runs: Vec<_> = (0..RUNS).map(|_| run()).collect();
    runs.sort();
    let time = |(elapsed, _): &(Duration, u64)| elapsed.as_secs_f64() * 1000.0;
    let times: Vec<f64> = runs.iter().map(time).collect();
    let memory = runs.iter().map(|(_, kib)| *kib).max().unwrap_or_default();
    if let (Some(least), Some(median), Some(most)) =
        (times.first(), times.get(RUNS / 2), times.last())
    {
        println!(
            "start to first initialize, {RUNS} runs: {least:.1} ms least, {median:.1} ms median, {most:.1} ms most"
        );
    }
    println!("resident memory after it: {memory} KiB at most");
}
