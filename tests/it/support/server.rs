//! The server: its process, its folder and its log.

use std::fs;
use std::io::{self, BufRead as _, BufReader, PipeReader, PipeWriter};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use serde_json::Value;

use super::{Client, PATIENCE, command, descendants, eventually, text, write_token};

/// A server process, killed when the test is over.
#[derive(Debug)]
pub(crate) struct TestServer {
    child: Child,
    folder: tempfile::TempDir,
    address: String,
    log: Arc<Log>,
}

#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
    is_closed: AtomicBool,
}

impl TestServer {
    /// Serves these definitions with these options, on a free port.
    pub(crate) fn start(tools: &str, options: &[&str]) -> Self {
        Self::start_with(tools, options, |_| {})
    }

    /// Serves behind [`TOKEN`].
    pub(crate) fn with_token(tools: &str, options: &[&str]) -> Self {
        Self::start_with(tools, options, |prepare| {
            let file = write_token(prepare.folder);
            prepare.command.arg("--token-file").arg(file);
        })
    }

    /// Serves with this auth file.
    pub(crate) fn with_auth(tools: &str, auth: &str, options: &[&str]) -> Self {
        Self::start_with(tools, options, |prepare| prepare.serve_with_auth(auth))
    }

    /// Serves after a change to the command.
    pub(crate) fn start_with(
        tools: &str,
        options: &[&str],
        change: impl FnOnce(&mut Prepare<'_>),
    ) -> Self {
        Self::logging_into(None, tools, options, change)
    }

    /// As [`TestServer::start_with`], with a pipe of the test's own for the log.
    pub(crate) fn logging_into(
        pipe: Option<(PipeReader, PipeWriter)>,
        tools: &str,
        options: &[&str],
        change: impl FnOnce(&mut Prepare<'_>),
    ) -> Self {
        let (pipe, standard_error) = pipe.unzip();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tools.yaml");
        fs::write(&file, tools).unwrap();
        let mut command = command();
        command
            .args(["--listen", "127.0.0.1:0"])
            .arg("--tools")
            .arg(file)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(standard_error.map_or_else(Stdio::piped, Stdio::from));
        let logs_text = options.contains(&"--log-format=text");
        if !logs_text {
            command.arg("--log-format=json");
        }
        change(&mut Prepare {
            command: &mut command,
            folder: folder.path(),
        });
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Log::default());
        let stderr: Box<dyn io::Read + Send> = match pipe {
            Some(pipe) => Box::new(pipe),
            None => Box::new(child.stderr.take().unwrap()),
        };
        let stderr = BufReader::new(stderr);
        let filled = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                filled.lines.lock().unwrap().push(line);
                filled.grown.notify_all();
                if filled.is_closed.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let mut server = Self {
            child,
            folder,
            address: String::new(),
            log,
        };
        server.address = if logs_text {
            let listening = server.wait_for_log(" INFO listening url=");
            listening.rsplit('=').next().unwrap().to_owned()
        } else {
            let listening = server.wait_for_log("\"message\":\"listening\"");
            let listening: Value = serde_json::from_str(&listening).unwrap();
            text(&listening["address"])
        };
        server
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The URL of the endpoint.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A folder of the test's own, where the definitions are too.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().clone()
    }

    /// Nobody reads the log while this lives.
    pub(crate) fn ignore_log(&self) -> impl Sized + '_ {
        self.log.lines.lock().unwrap()
    }

    /// Nobody can read the log any more once its next line was read.
    pub(crate) fn close_log(&self) {
        self.log.is_closed.store(true, Ordering::Relaxed);
    }

    /// Waits for a log line that holds a text, and returns it.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "no {text:?} in the log:\n{}",
                lines.join("\n")
            );
            lines = self.log.grown.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Sends a signal by its name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Stops every thread of the server; the signal `CONT` lets it go on.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
        let is_stopped = |thread: io::Result<fs::DirEntry>| {
            let Ok(stat) = fs::read_to_string(thread.unwrap().path().join("stat")) else {
                return true;
            };
            // The name of the thread before it may hold anything, but is in brackets.
            stat.rsplit_once(") ")
                .is_some_and(|(_, state)| state.starts_with('T'))
        };
        let tasks = format!("/proc/{}/task", self.pid());
        let stopped = eventually(|| {
            let mut threads = fs::read_dir(&tasks).unwrap();
            threads.all(is_stopped).then_some(())
        });
        assert!(stopped.is_some(), "the server does not stop");
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let ended = eventually(|| self.child.try_wait().unwrap());
        ended.unwrap_or_else(|| panic!("the server does not end:\n{}", self.log().join("\n")))
    }

    /// A client of this era, connected as far as the era has a connection.
    pub(crate) fn client(&self, era: Era) -> Client {
        Client::new(self, era, None)
    }

    /// The processes below the server, and theirs.
    pub(crate) fn descendants(&self) -> Vec<u32> {
        descendants(self.pid())
    }

    /// Replaces a file in its folder in one step, as editors do.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        let fresh = self.folder().join("fresh");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.folder().join(name)).unwrap();
    }

    /// The session statistics, as SIGUSR1 has them written to the log.
    pub(crate) fn statistics(&self) -> Value {
        let reports = |lines: Vec<String>| -> Vec<String> {
            let is_report = |line: &String| line.contains("\"message\":\"session statistics\"");
            lines.into_iter().filter(is_report).collect()
        };
        let before = reports(self.log()).len();
        self.signal("USR1");
        let line = eventually(|| reports(self.log()).get(before).cloned());
        statistics_of(&line.expect("statistics in the log"))
    }

    /// Waits for the process to end by itself, for at most this long.
    pub(crate) fn wait_for_at_most(&mut self, most: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + most;
        loop {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || Instant::now() > deadline {
                return ended;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a test may change before the server starts.
#[derive(Debug)]
pub(crate) struct Prepare<'a> {
    pub(crate) command: &'a mut Command,
    pub(crate) folder: &'a Path,
}

impl Prepare<'_> {
    /// Has the server use this auth file.
    pub(crate) fn serve_with_auth(&mut self, auth: &str) {
        let file = self.folder.join("auth.yaml");
        fs::write(&file, auth).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        self.command.arg("--auth").arg(file);
    }

    /// Has another program start the server, whose command comes behind the arguments that it has.
    pub(crate) fn start_by(&mut self, mut other: Command) {
        other
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        *self.command = other;
    }
}

/// The statistics that a line of the log holds.
pub(crate) fn statistics_of(line: &str) -> Value {
    let mut line: Value = serde_json::from_str(line).unwrap();
    line["statistics"].take()
}
