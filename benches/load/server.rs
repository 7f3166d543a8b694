//! The server under test: the release binary in a process of its own, and what the kernel and its
//! metrics say about it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::Client;

/// A tool that costs little more than its process.
pub(crate) const TOOLS: &str =
    "tools:\n  hello:\n    description: Says hello.\n    exec: /bin/echo hello\n";

/// What is started.
static BINARY: OnceLock<String> = OnceLock::new();

/// Measures another build than the one of this benchmark.
pub(crate) fn use_binary(path: &str) {
    BINARY.set(path.to_owned()).unwrap();
}

const PATIENCE: Duration = Duration::from_secs(10);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    monitor: String,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Memory, descriptors and threads of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Resident memory in KiB, now and at its peak.
    pub(crate) resident: f64,
    pub(crate) peak: f64,
    pub(crate) descriptors: usize,
    pub(crate) threads: f64,
}

/// What is started.
pub(crate) fn binary() -> &'static str {
    BINARY.get_or_init(|| env!("CARGO_BIN_EXE_mcp-serve").to_owned())
}

/// Waits until something listens.
pub(crate) fn await_listener(address: &str) {
    let started = Instant::now();
    while let Err(error) = TcpStream::connect(address) {
        assert!(started.elapsed() < PATIENCE, "{error}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

impl Server {
    /// Starts a server without a limit of sessions per principal.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::serve(TOOLS, options)
    }

    /// Starts a server with these definitions.
    pub(crate) fn serve(definitions: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tools = folder.path().join("tools.yaml");
        fs::write(&tools, definitions).unwrap();
        let (address, monitor) = (free_address(), free_address());
        let child = Command::new(binary())
            .arg("--tools")
            .arg(&tools)
            .args(["--listen", &address, "--metrics-listen", &monitor])
            .args(["--log-level", "warn", "--keep-alive", "1h"])
            .args(["--max-sessions-per-principal", "0"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            child,
            address,
            monitor,
            _folder: folder,
        };
        await_listener(&server.address);
        server
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    pub(crate) fn usage(&self) -> Usage {
        let status = self.proc("status");
        let number = |name: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.unwrap().split_whitespace().next().unwrap();
            number.parse().unwrap()
        };
        Usage {
            resident: number("VmRSS:"),
            peak: number("VmHWM:"),
            descriptors: fs::read_dir(format!("/proc/{}/fd", self.child.id()))
                .unwrap()
                .count(),
            threads: number("Threads:"),
        }
    }

    /// Time on a processor so far, in seconds, without that of the tools.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = self.proc("stat");
        let fields = stat.rsplit_once(") ").unwrap().1;
        let ticks = |at: usize| -> f64 { fields.split(' ').nth(at).unwrap().parse().unwrap() };
        // The unit of this file is the same on every Linux: USER_HZ.
        (ticks(11) + ticks(12)) / 100.0
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// A connection to the listener for metrics.
    pub(crate) fn monitor(&self) -> Client {
        Client::connect(&self.monitor)
    }
}

/// The sum of the samples of a metric whose lines begin so.
pub(crate) fn metric(monitor: &mut Client, name: &str) -> f64 {
    let page = monitor.page("/metrics");
    let samples = page
        .lines()
        .filter(|line| {
            line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}{{"))
        })
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap());
    samples.sum()
}
