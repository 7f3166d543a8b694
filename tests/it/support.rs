//! A server to test against: the real binary over a real socket, or the router in process.

use std::collections::HashSet;
use std::fs;
use std::io::{self, BufRead as _, BufReader, PipeReader, PipeWriter, Read as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

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

/// The living processes below one, read from /proc.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // "PID (name) STATE PPID …", where the name may hold anything.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        if let Some(parent) = after_name
            .split_whitespace()
            .nth(1)
            .and_then(|p| p.parse().ok())
        {
            parents.push((pid, parent));
        }
    }
    let mut found = HashSet::from([root]);
    while let Some((pid, _)) = parents
        .iter()
        .find(|(pid, parent)| found.contains(parent) && !found.contains(pid))
    {
        found.insert(*pid);
    }
    found.remove(&root);
    found.into_iter().collect()
}

/// A response as it came over the socket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// A header by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name);
        values.next().map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The JSON-RPC message of the body; of an event stream, its last.
    pub(crate) fn json(&self) -> Value {
        let text = match self.header("content-type") {
            Some("text/event-stream") => {
                let mut data = self
                    .text()
                    .lines()
                    .filter_map(|line| line.strip_prefix("data: "));
                data.next_back().expect("an event")
            }
            _ => self.text(),
        };
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of the JSON-RPC error in the body.
    pub(crate) fn error_code(&self) -> Option<i64> {
        self.json()["error"]["code"].as_i64()
    }
}

/// One HTTP/1.1 connection, on which the test decides about every byte.
#[derive(Debug)]
pub(crate) struct Http<S = TcpStream> {
    stream: BufReader<S>,
    host: String,
}

impl Http {
    /// Connects.
    pub(crate) fn connect(address: &str) -> Self {
        Self::over(TcpStream::connect(address).unwrap(), address)
    }

    /// Connects as a client that will not read much: four megabytes are more than the sockets between
    /// it and a server hold.
    pub(crate) fn connect_narrow(address: &str) -> Self {
        let http = Self::connect(address);
        rustix::net::sockopt::set_socket_recv_buffer_size(http.socket(), 4096).unwrap();
        http
    }

    /// Talks over a connection to this address.
    pub(crate) fn over(stream: TcpStream, address: &str) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::inside(stream, address)
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}

impl<S: io::Read + io::Write> Http<S> {
    /// Talks to this address inside a stream.
    pub(crate) fn inside(stream: S, address: &str) -> Self {
        Self {
            stream: BufReader::new(stream),
            host: address.to_owned(),
        }
    }

    /// The stream.
    pub(crate) fn stream(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Sends a request without reading its response. Host and Content-Length are added.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            head.extend([*name, ": ", *value, "\r\n"]);
        }
        let length = body.len().to_string();
        head.extend(["Content-Length: ", &length, "\r\n\r\n", body]);
        self.write(head.as_bytes());
    }

    /// Sends a request and reads the whole response.
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        self.send(method, path, headers, body);
        self.read()
    }

    /// Reads a whole response.
    pub(crate) fn read(&mut self) -> Response {
        let mut response = self.read_head();
        response.body = if response.header("transfer-encoding") == Some("chunked") {
            let mut body = Vec::new();
            while let Some(chunk) = self.read_chunk() {
                body.extend(chunk);
            }
            body
        } else {
            let length = response.header("content-length").unwrap_or("0");
            self.read_exactly(length.parse().unwrap())
        };
        response
    }

    /// Reads so many bytes of a body.
    pub(crate) fn read_exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads the status line and the headers.
    pub(crate) fn read_head(&mut self) -> Response {
        let status_line = self.read_line().expect("a response");
        let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.read_line().expect("a header");
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Response {
            status,
            headers,
            body: Vec::new(),
        }
    }

    /// Reads the next message of an event stream, whose chunks are whole events.
    pub(crate) fn read_message(&mut self) -> Value {
        loop {
            let line = self.read_line().expect("a message");
            if let Some(data) = line.strip_prefix("data: ")
                && let Ok(message) = serde_json::from_str(data)
            {
                return message;
            }
        }
    }

    /// Reads one chunk of a chunked body; `None` at its clean end.
    pub(crate) fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let size = self.read_line().expect("a chunk size, not a broken body");
        let size = usize::from_str_radix(&size, 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).unwrap();
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    /// Reads a line without its end; `None` when the server has closed the connection.
    pub(crate) fn read_line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A client of one era that says exactly what the test says.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: String,
    pub(crate) path: String,
    era: Era,
    token: Option<String>,
    session: Option<String>,
}

/// The headers that every POST of a client has.
const POST: [(&str, &str); 2] = [
    ("Content-Type", "application/json"),
    ("Accept", "application/json, text/event-stream"),
];

impl Client {
    /// Connects; a legacy client opens a session if the server has sessions.
    pub(crate) fn new(server: &TestServer, era: Era, token: Option<&str>) -> Self {
        Self::at(server, "/mcp", era, token)
    }

    /// The same at another endpoint.
    pub(crate) fn at(server: &TestServer, path: &str, era: Era, token: Option<&str>) -> Self {
        Self::asked(server.address(), path, (era, token), &json!({}))
    }

    /// The same, with these capabilities in a session.
    pub(crate) fn asked(
        address: &str,
        path: &str,
        (era, token): (Era, Option<&str>),
        capabilities: &Value,
    ) -> Self {
        let mut client = Self {
            address: address.to_owned(),
            path: path.to_owned(),
            era,
            token: token.map(str::to_owned),
            session: None,
        };
        if era == Era::Legacy {
            client.initialize("2025-11-25", capabilities);
            let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
            assert_eq!(client.post_message(&initialized).status, 202);
        }
        client
    }

    fn initialize(&mut self, version: &str, capabilities: &Value) {
        let mut message = initialize(version);
        message["params"]["capabilities"] = capabilities.clone();
        let response = self.post_message(&message);
        assert_eq!(response.status, 200, "{response:?}");
        self.session = response.header("mcp-session-id").map(str::to_owned);
    }

    /// Opens a session of this version for a client of these capabilities.
    pub(crate) fn with_capabilities(
        server: &TestServer,
        version: &str,
        capabilities: &Value,
    ) -> Self {
        let mut client = Self {
            address: server.address().to_owned(),
            path: "/mcp".to_owned(),
            era: Era::Legacy,
            token: None,
            session: None,
        };
        client.initialize(version, capabilities);
        client
    }

    /// A connection of its own.
    pub(crate) fn connect(&self) -> Http {
        Http::connect(&self.address)
    }

    /// The same client with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// The same client with another session id.
    pub(crate) fn with_session(&self, id: &str) -> Self {
        Self {
            session: Some(id.to_owned()),
            ..self.clone()
        }
    }

    /// The same client at another endpoint.
    pub(crate) fn with_path(&self, path: &str) -> Self {
        Self {
            path: path.to_owned(),
            ..self.clone()
        }
    }

    /// The id of the session.
    pub(crate) fn session(&self) -> &str {
        self.session.as_deref().expect("a session")
    }

    /// What tools are told of the session.
    pub(crate) fn session_hash(&self) -> String {
        let Some(session) = &self.session else {
            return String::new();
        };
        match self.token {
            Some(_) => sha256(session),
            None => sha256(&format!("{session} anonymous")),
        }
    }

    /// The headers of a message of this client.
    pub(crate) fn headers(&self, message: &Value) -> Vec<(&str, String)> {
        let mut headers: Vec<_> = POST.map(|(name, value)| (name, value.to_owned())).into();
        if let Some(token) = &self.token {
            headers.push(("Authorization", format!("Bearer {token}")));
        }
        if let Some(session) = &self.session {
            headers.push(("Mcp-Session-Id", session.clone()));
        }
        if self.era == Era::Modern {
            headers.push(("MCP-Protocol-Version", "2026-07-28".to_owned()));
            headers.push(("Mcp-Method", text(&message["method"])));
            let mut names = ["name", "uri", "taskId"]
                .map(|key| &message["params"][key])
                .into_iter();
            if let Some(name) = names.find(|name| name.is_string()) {
                headers.push(("Mcp-Name", text(name)));
            }
        }
        headers
    }

    /// A request as this era says it.
    pub(crate) fn message(&self, id: u64, method: &str, params: &Value) -> Value {
        let mut params = params.clone();
        if self.era == Era::Modern {
            params["_meta"] = modern_meta();
        }
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
    }

    /// Sends a message on a connection, without reading its response.
    pub(crate) fn send_on<S: io::Read + io::Write>(&self, http: &mut Http<S>, message: &Value) {
        let headers = self.headers(message);
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        http.send("POST", &self.path, &headers, &message.to_string());
    }

    /// Posts a message on a connection of its own.
    pub(crate) fn post_message(&self, message: &Value) -> Response {
        let mut http = Http::connect(&self.address);
        self.send_on(&mut http, message);
        http.read()
    }

    /// Sends a request and returns the response.
    pub(crate) fn request(&self, method: &str, params: &Value) -> Response {
        self.post_message(&self.message(1, method, params))
    }

    /// Starts a tool call whose response the test reads later.
    pub(crate) fn start_call(&self, id: u64, name: &str, arguments: &Value) -> Http {
        let params = json!({"name": name, "arguments": arguments});
        let mut http = Http::connect(&self.address);
        self.send_on(&mut http, &self.message(id, "tools/call", &params));
        http
    }

    /// Calls a tool and returns its result.
    pub(crate) fn call(&self, name: &str, arguments: &Value) -> Value {
        let response = self.start_call(1, name, arguments).read();
        let json = response.json();
        assert!(json["result"].is_object(), "{response:?}");
        json["result"].clone()
    }

    /// Calls a tool that must succeed, and returns its text.
    pub(crate) fn call_text(&self, name: &str, arguments: &Value) -> String {
        let result = self.call(name, arguments);
        assert_eq!(result["isError"], false, "{result}");
        text(&result["content"][0]["text"])
    }

    /// Calls a tool that must be refused under this status; returns why, and after how many seconds
    /// it may be called again.
    pub(crate) fn call_refused(&self, status: u16, name: &str, arguments: &Value) -> (String, u64) {
        let response = self.start_call(1, name, arguments).read();
        let found = (response.status, response.error_code());
        assert_eq!(found, (status, Some(-32603)), "{response:?}");
        let seconds = response.header("retry-after").expect("Retry-After");
        let message = text(&response.json()["error"]["message"]);
        (message, seconds.parse().unwrap())
    }

    /// Calls a tool that must fail, and returns what the model is told.
    pub(crate) fn call_error(&self, name: &str, arguments: &Value) -> String {
        let result = self.call(name, arguments);
        assert_eq!(result["isError"], true, "{result}");
        text(&result["content"][0]["text"])
    }
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

/// The living members of a process group, whoever their parent is by now.
pub(crate) fn group_members(group: u32) -> Vec<u32> {
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        // "PID (name) STATE PPID PGRP …", where the name may hold anything.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<_> = after_name.split_ascii_whitespace().collect();
        if let [state, _, member_of, ..] = fields.as_slice()
            && !["Z", "X"].contains(state)
            && member_of.parse() == Ok(group)
        {
            members.push(pid);
        }
    }
    members
}

/// Waits until nothing lives in a process group.
pub(crate) fn wait_for_end_of_group(group: u32) {
    eventually(|| group_members(group).is_empty().then_some(()))
        .unwrap_or_else(|| panic!("{:?} are left in group {group}", group_members(group)));
}

impl TestServer {
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

/// The statistics that a line of the log holds.
pub(crate) fn statistics_of(line: &str) -> Value {
    let mut line: Value = serde_json::from_str(line).unwrap();
    line["statistics"].take()
}

/// True if a process runs, and is not just waiting to be taken note of.
fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Waits until none of these processes runs. They were killed; the kernel may take a moment.
pub(crate) fn wait_for_ends(processes: &[u32], case: &str) {
    let left = || {
        processes
            .iter()
            .filter(|pid| is_running(**pid))
            .collect::<Vec<_>>()
    };
    let gone = eventually(|| left().is_empty().then_some(()));
    assert!(gone.is_some(), "{case}: {:?} are left", left());
}

/// A tool that runs until a test lets it through: `exec` is [`GATE`], `path` its argument.
#[derive(Debug)]
pub(crate) struct Gate(PathBuf);

/// A tool that makes `PATH.started` and waits for `PATH.open`.
pub(crate) const GATE: &str = "
  gate:
    description: Runs until its gate is opened.
    exec:
      - sh
      - -c
      - 'touch \"$1.started\"; until [ -e \"$1.open\" ] || [ ! -e \"$1.started\" ]; do sleep 0.02; done; printf through'
      - sh
      - '{path}'
    params: {path: string}
";

impl Gate {
    /// A closed gate.
    pub(crate) fn new(server: &TestServer, name: &str) -> Self {
        Self(server.folder().join(name))
    }

    /// The arguments of the call.
    pub(crate) fn arguments(&self) -> Value {
        json!({"path": self.0})
    }

    /// Waits until the tool runs.
    pub(crate) fn wait(&self) {
        let started = self.with(".started");
        let ran = eventually(|| started.exists().then_some(()));
        assert!(ran.is_some(), "{} does not start", self.0.display());
    }

    /// Lets the tool end.
    pub(crate) fn open(&self) {
        fs::write(self.with(".open"), "").unwrap();
    }

    fn with(&self, ending: &str) -> PathBuf {
        let mut path = self.0.clone().into_os_string();
        path.push(ending);
        path.into()
    }
}
