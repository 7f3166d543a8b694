//! Every flag, its environment variable, default and help: the only place where they are said.
//!
//! The man page and the table of options in the README are made from [`Cli`], and a test holds
//! them equal. Nothing here does I/O; [`crate::config`] turns a [`Cli`] into checked settings.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{BoolishValueParser, NonEmptyStringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, ValueEnum};

use crate::host::{HostName, Origin};
use crate::units;

/// The largest page of a list, in items: a page is one JSON text in memory.
const MAX_PAGE_SIZE: i64 = 10_000;

/// Turns a tools.yaml into a production MCP server.
///
/// Loads tool definitions, serves them over Streamable HTTP to MCP clients of every current
/// protocol revision, or over standard input and output to the client that started it, and runs
/// until it receives SIGTERM or SIGINT. A second of these signals ends
/// it at once. SIGUSR1 writes session statistics to the log.
#[derive(Debug, Clone, Parser)]
#[command(name = "mcp-serve", version, max_term_width = 100)]
#[command(
    after_help = "Each option can also be set by the environment variable shown with it; \
    an option on the command line wins. An option that takes several values is given several \
    times, or once with commas."
)]
pub struct Cli {
    /// What is served, and where.
    #[command(flatten)]
    pub serve: Serve,
    /// Who may call.
    #[command(flatten)]
    pub access: Access,
    /// Sessions.
    #[command(flatten)]
    pub sessions: Sessions,
    /// Tasks.
    #[command(flatten)]
    pub tasks: Tasks,
    /// Event streams.
    #[command(flatten)]
    pub streams: Streams,
    /// What one request or call may use.
    #[command(flatten)]
    pub limits: Limits,
    /// Metrics.
    #[command(flatten)]
    pub metrics: Metrics,
    /// The log.
    #[command(flatten)]
    pub log: Log,
}

/// What is served, and where.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Serving")]
pub struct Serve {
    /// The tool definitions to serve.
    #[arg(
        long,
        env = "MCP_SERVE_TOOLS",
        value_name = "PATH",
        default_value = "tools.yaml"
    )]
    #[arg(value_parser = path())]
    pub tools: PathBuf,

    /// Address to listen on: IP:PORT, or unix:PATH for a Unix socket of mode 0600. May be given
    /// several times. Port 0 takes a free port, which the log names.
    #[arg(
        long,
        env = "MCP_SERVE_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:8080"
    )]
    #[arg(value_delimiter = ',')]
    pub listen: Vec<ListenAddress>,

    /// Serve one client over standard input and output, which starts the server as its child, and
    /// end when it closes standard input. No address is listened on, and no credential is asked for.
    #[arg(long, env = "MCP_SERVE_STDIO", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "false")]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub stdio: bool,

    /// Path of the MCP endpoint.
    #[arg(
        long,
        env = "MCP_SERVE_PATH",
        value_name = "PATH",
        default_value = "/mcp"
    )]
    pub path: EndpointPath,

    /// Protocol revisions to serve: legacy means those up to 2025-11-25, modern means 2026-07-28.
    #[arg(
        long,
        env = "MCP_SERVE_ERAS",
        value_name = "ERAS",
        default_value = "both"
    )]
    pub eras: Eras,
}

/// Who may call.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Access")]
pub struct Access {
    /// File that says who may call: the SHA-256 digests of bearer tokens, each with a subject and
    /// perhaps tenant, scopes, roles and an expiry date. Every request must present one of the
    /// tokens. The same is asked of the file as of a token file, beside which it cannot be set.
    #[arg(long, env = "MCP_SERVE_AUTH", value_name = "FILE", value_parser = path())]
    pub auth: Option<PathBuf>,

    /// File that holds a bearer token on one line, at least 22 characters. Every request must
    /// present it. The file must belong to root or the user of the server, be closed to others
    /// and not be writable by its group.
    #[arg(long, env = "MCP_SERVE_TOKEN_FILE", value_name = "FILE", value_parser = path())]
    pub token_file: Option<PathBuf>,

    /// Listen beyond loopback although anybody who can connect may call every tool.
    #[arg(long, env = "MCP_SERVE_ALLOW_UNAUTHENTICATED", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "false")]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub allow_unauthenticated: bool,

    /// Listen beyond loopback although the server, and so every tool, runs as root.
    #[arg(long, env = "MCP_SERVE_ALLOW_ROOT", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "false")]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub allow_root: bool,

    /// File that holds a key of 32 bytes, in Base64 or hexadecimal: it seals what a client of
    /// 2026-07-28 carries from one round of a call to the next, when a tool asks it something.
    /// Servers that share the key serve each other's rounds; without one the key is random and
    /// ends with the process. The same is asked of the file as of a token file.
    #[arg(long, env = "MCP_SERVE_STATE_KEY_FILE", value_name = "FILE", value_parser = path())]
    pub state_key_file: Option<PathBuf>,

    /// Accept a token file, an auth file, a key file or a file of definitions whatever its owner and
    /// mode, and those of its folder.
    #[arg(long, env = "MCP_SERVE_INSECURE_PERMISSIONS", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "false")]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub insecure_permissions: bool,

    /// Name that clients may use in the Host header. May be given several times. Always allowed:
    /// localhost, loopback addresses, and the address that the connection came in on. The port is
    /// not compared.
    #[arg(
        long,
        env = "MCP_SERVE_ALLOWED_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub allowed_host: Vec<HostName>,

    /// Origin of a web page that may call, such as <https://app.example.com>. May be given
    /// several times. Always allowed: the origin of the server itself.
    #[arg(
        long,
        env = "MCP_SERVE_ALLOWED_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub allowed_origin: Vec<Origin>,
}

/// Sessions.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sessions")]
pub struct Sessions {
    /// End a session that nobody has used for this long; none keeps it until the server stops.
    /// A running call or an open stream is use.
    #[arg(
        long,
        env = "MCP_SERVE_SESSION_IDLE_TIMEOUT",
        value_name = "DURATION|none"
    )]
    #[arg(default_value = "30m")]
    pub session_idle_timeout: Timeout,

    /// End an idle session that has called, read and subscribed to nothing this long after its
    /// start. Must be shorter than the idle timeout.
    #[arg(
        long,
        env = "MCP_SERVE_SESSION_UNUSED_TIMEOUT",
        value_name = "DURATION|none"
    )]
    #[arg(default_value = "none")]
    pub session_unused_timeout: Timeout,

    /// End an idle session that has sent nothing at all this long after its start. Must be
    /// shorter than the idle timeout.
    #[arg(
        long,
        env = "MCP_SERVE_SESSION_INIT_TIMEOUT",
        value_name = "DURATION|none"
    )]
    #[arg(default_value = "none")]
    pub session_init_timeout: Timeout,

    /// End a session this long after its start, however much it is used. Running calls finish
    /// first.
    #[arg(long, env = "MCP_SERVE_SESSION_MAX_AGE", value_name = "DURATION|none")]
    #[arg(default_value = "none")]
    pub session_max_age: Timeout,

    /// The most sessions at once.
    #[arg(
        long,
        env = "MCP_SERVE_MAX_SESSIONS",
        value_name = "N",
        default_value = "10000"
    )]
    pub max_sessions: NonZeroUsize,

    /// The most sessions at once of one principal, and without authentication of one peer
    /// address; 0 is no limit. Users of one --token-file share a principal, so it has no limit.
    #[arg(
        long,
        env = "MCP_SERVE_MAX_SESSIONS_PER_PRINCIPAL",
        value_name = "N",
        default_value = "100"
    )]
    pub max_sessions_per_principal: usize,

    /// What a new client gets at such a limit: evict ends the session that was idle for longest
    /// to make room, reject tells the client to retry later.
    #[arg(
        long,
        env = "MCP_SERVE_ON_SESSION_LIMIT",
        value_name = "ACTION",
        default_value = "evict"
    )]
    pub on_session_limit: OnSessionLimit,

    /// End no session for another client if it was idle for less than this. A caller with a
    /// credential makes room for itself at its own limit, however short its session was idle.
    #[arg(
        long,
        env = "MCP_SERVE_SESSION_EVICT_MIN_IDLE",
        value_name = "DURATION",
        default_value = "60s"
    )]
    #[arg(value_parser = units::parse_duration)]
    pub session_evict_min_idle: Duration,

    /// Serve revisions up to 2025-11-25 without sessions: no session ids, and GET, DELETE and
    /// batches are refused.
    #[arg(long, env = "MCP_SERVE_STATELESS", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "false")]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub stateless: bool,

    /// Serve a request that names no session without one, for clients that never send the
    /// session id back.
    #[arg(long, env = "MCP_SERVE_LENIENT_SESSIONS", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "false")]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub lenient_sessions: bool,
}

/// Tasks: calls that clients of 2026-07-28 come back for.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tasks")]
pub struct Tasks {
    /// The most tasks at once, those that have ended included. At the limit one that has ended is
    /// forgotten before its time; when all of them run, a client is told to retry later.
    #[arg(
        long,
        env = "MCP_SERVE_MAX_TASKS",
        value_name = "N",
        default_value = "1000"
    )]
    pub max_tasks: NonZeroUsize,

    /// The most tasks at once of one principal, and without authentication of one peer address;
    /// 0 is no limit. Users of one --token-file share a principal, so it has no limit.
    #[arg(
        long,
        env = "MCP_SERVE_MAX_TASKS_PER_PRINCIPAL",
        value_name = "N",
        default_value = "100"
    )]
    pub max_tasks_per_principal: usize,

    /// How long a task is kept beyond the longest time that its call may take, so that its client
    /// can fetch the result.
    #[arg(
        long,
        env = "MCP_SERVE_TASK_TTL",
        value_name = "DURATION",
        default_value = "1h"
    )]
    #[arg(value_parser = units::parse_duration)]
    pub task_ttl: Duration,

    /// How much the results of tasks may take that have ended. Beyond it the oldest are forgotten,
    /// first those that their clients have seen.
    #[arg(
        long,
        env = "MCP_SERVE_TASK_BUFFER",
        value_name = "SIZE",
        default_value = "64MiB"
    )]
    #[arg(value_parser = units::parse_size)]
    pub task_buffer: usize,
}

/// Event streams.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Streams")]
pub struct Streams {
    /// Always answer with JSON. Otherwise the answer to a call is an event stream if the call
    /// speaks before its result, or is still running after one heartbeat, so that proxies do not
    /// cut it.
    #[arg(long, env = "MCP_SERVE_JSON_RESPONSE", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "false")]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub json_response: bool,

    /// Send a comment on a silent event stream this often, at least 100ms.
    #[arg(
        long,
        env = "MCP_SERVE_HEARTBEAT",
        value_name = "DURATION",
        default_value = "15s"
    )]
    #[arg(value_parser = heartbeat)]
    pub heartbeat: Duration,

    /// End the event stream of a session, or of `subscriptions/listen`, after this long, give or take a tenth. The session lives
    /// on, and its client opens another stream.
    #[arg(
        long,
        env = "MCP_SERVE_STREAM_MAX_AGE",
        value_name = "DURATION",
        default_value = "30m"
    )]
    #[arg(value_parser = units::parse_duration)]
    pub stream_max_age: Duration,

    /// How long clients are told to wait before they open a stream again that the server ended.
    #[arg(
        long,
        env = "MCP_SERVE_STREAM_RETRY",
        value_name = "DURATION",
        default_value = "3s"
    )]
    #[arg(value_parser = units::parse_duration)]
    pub stream_retry: Duration,

    /// How much may wait for a slow reader of an event stream. Beyond it, and beyond 1024
    /// messages, progress is dropped; results never are.
    #[arg(
        long,
        env = "MCP_SERVE_STREAM_BUFFER",
        value_name = "SIZE",
        default_value = "64KiB"
    )]
    #[arg(value_parser = units::parse_size)]
    pub stream_buffer: usize,

    /// How much each session of 2025-11-25 keeps of what it streamed, up to 100 events and for 5
    /// minutes, so that a client which lost its connection gets the rest; 0 keeps nothing.
    #[arg(
        long,
        env = "MCP_SERVE_RESUME_BUFFER",
        value_name = "SIZE",
        default_value = "256KiB"
    )]
    #[arg(value_parser = units::parse_size_or_zero)]
    pub resume_buffer: usize,
}

/// What one request or call may use.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// The largest request body, and with --stdio the longest line.
    #[arg(
        long,
        env = "MCP_SERVE_MAX_BODY",
        value_name = "SIZE",
        default_value = "4MiB"
    )]
    #[arg(value_parser = units::parse_size)]
    pub max_body: usize,

    /// The most connections at once.
    #[arg(
        long,
        env = "MCP_SERVE_MAX_CONNECTIONS",
        value_name = "N",
        default_value = "10000"
    )]
    pub max_connections: NonZeroUsize,

    /// Close a connection on which no request has come for this long. It says nothing about the
    /// session.
    #[arg(
        long,
        env = "MCP_SERVE_KEEP_ALIVE",
        value_name = "DURATION",
        default_value = "60s"
    )]
    #[arg(value_parser = units::parse_duration)]
    pub keep_alive: Duration,

    /// Cut a connection whose client has taken nothing of what was sent to it for this long.
    #[arg(
        long,
        env = "MCP_SERVE_TCP_USER_TIMEOUT",
        value_name = "DURATION",
        default_value = "30s"
    )]
    #[arg(value_parser = units::parse_duration)]
    pub tcp_user_timeout: Duration,

    /// The most tools, prompts, resources or templates in one answer to a client that lists them.
    /// Some clients only look at the first page.
    #[arg(
        long,
        env = "MCP_SERVE_PAGE_SIZE",
        value_name = "N",
        default_value = "1000"
    )]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=MAX_PAGE_SIZE))]
    pub page_size: u16,

    /// The most tool calls at once; beyond it a client is told to retry later.
    #[arg(
        long,
        env = "MCP_SERVE_MAX_CALLS",
        value_name = "N",
        default_value = "256"
    )]
    pub max_calls: NonZeroUsize,

    /// How long a call may take, for tools without a timeout of their own.
    #[arg(
        long,
        env = "MCP_SERVE_CALL_TIMEOUT",
        value_name = "DURATION",
        default_value = "60s"
    )]
    #[arg(value_parser = units::parse_duration)]
    pub call_timeout: Duration,

    /// How long a client may take to answer what a tool asks. The call waits meanwhile, and that
    /// does not count as its time. In 2026-07-28 it is how long a client may take to come back.
    #[arg(
        long,
        env = "MCP_SERVE_ASK_TIMEOUT",
        value_name = "DURATION",
        default_value = "10m"
    )]
    #[arg(value_parser = units::parse_duration)]
    pub ask_timeout: Duration,

    /// How long a stopping server waits for running calls.
    #[arg(
        long,
        env = "MCP_SERVE_DRAIN_TIMEOUT",
        value_name = "DURATION",
        default_value = "30s"
    )]
    #[arg(value_parser = units::parse_duration)]
    pub drain_timeout: Duration,
}

/// Metrics.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Metrics")]
pub struct Metrics {
    /// Address to serve /metrics on, and the health checks: IP:PORT, or unix:PATH. No credential
    /// is asked for there, so bind it to a private address. Port 0 takes a free port, which the
    /// log names.
    #[arg(long, env = "MCP_SERVE_METRICS_LISTEN", value_name = "ADDR")]
    pub metrics_listen: Option<ListenAddress>,

    /// Serve /debug/sessions beside /metrics, to clients on this machine.
    #[arg(long, env = "MCP_SERVE_DEBUG_SESSIONS", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "false")]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub debug_sessions: bool,

    /// Write a summary of the sessions to the log this often.
    #[arg(long, env = "MCP_SERVE_STATS_INTERVAL", value_name = "DURATION|none")]
    #[arg(default_value = "5m")]
    pub stats_interval: Timeout,
}

/// The log, on standard error.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log")]
pub struct Log {
    /// Form of the log on standard error.
    #[arg(
        long,
        env = "MCP_SERVE_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,

    /// The least important messages to log.
    #[arg(
        long,
        env = "MCP_SERVE_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info"
    )]
    pub log_level: LogLevel,
}

/// A heartbeat that does not keep the server busy.
fn heartbeat(text: &str) -> Result<Duration, String> {
    match units::parse_duration(text)? {
        short if short < Duration::from_millis(100) => {
            Err("a heartbeat must be at least 100ms, try 15s".to_owned())
        }
        heartbeat => Ok(heartbeat),
    }
}

/// A path that is not empty: an empty variable is a mistake, not a wish for the default.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    NonEmptyStringValueParser::new().map(PathBuf::from)
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket, made with mode 0600.
    Unix(PathBuf),
}

impl ListenAddress {
    /// True if only this machine can connect.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            format!("\"{text}\" is not an address, try 127.0.0.1:8080, [::1]:8080 or unix:/run/mcp-serve.sock")
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The path of the MCP endpoint: absolute, of plain characters, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPath(String);

impl EndpointPath {
    /// The path, such as `/mcp`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EndpointPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let segments = text.strip_prefix('/').map(|rest| rest.split('/'));
        let valid = segments.is_some_and(|mut segments| {
            segments.all(|segment| {
                !segment.is_empty()
                    && segment != "."
                    && segment != ".."
                    && segment.chars().all(plain)
            })
        });
        let reserved = ["/healthz", "/readyz"].contains(&text) || text.starts_with("/.well-known");
        match (valid, reserved) {
            (true, false) => Ok(Self(text.to_owned())),
            (true, true) => Err(format!(
                "\"{text}\" is taken by the server itself, try /mcp"
            )),
            (false, _) => Err(format!("\"{text}\" is not a plain absolute path, try /mcp")),
        }
    }
}

/// Protocol revisions to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Eras {
    /// All of them.
    Both,
    /// Those up to 2025-11-25.
    Legacy,
    /// 2026-07-28.
    Modern,
}

/// What a new client gets at a limit of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnSessionLimit {
    /// The place of the session that was idle for longest.
    Evict,
    /// A refusal.
    Reject,
}

/// A duration that may be off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// After this long.
    After(Duration),
    /// Never.
    Never,
}

impl Timeout {
    /// The duration, if there is one.
    pub fn duration(self) -> Option<Duration> {
        match self {
            Self::After(duration) => Some(duration),
            Self::Never => None,
        }
    }
}

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::Never);
        }
        units::parse_duration(text)
            .map(Self::After)
            .map_err(|message| format!("{message}, or none"))
    }
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Importance of a log message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// What may become an error.
    Warn,
    /// Starts, stops, sessions and calls.
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

/// Sections of the manual that are not options: a heading, and terms with their meaning.
const SECTIONS: [(&str, &[(&str, &str)]); 3] = [
    (
        "SIGNALS",
        &[
            (
                "SIGTERM, SIGINT",
                "Refuse new work with 503, let running calls finish for --drain-timeout, answer the \
                 rest with an error, and end. A second one kills every call and ends at once.",
            ),
            ("SIGUSR1", "Write session statistics to the log."),
        ],
    ),
    (
        "EXIT STATUS",
        &[
            (
                "0",
                "A clean stop: every call that was taken got an answer.",
            ),
            (
                "1",
                "A failure at run time: an address that is taken, a call that was cut without an \
                 answer.",
            ),
            (
                "2",
                "A mistake in the options, the token file, the auth file or the definitions. \
                 Starting again does not help.",
            ),
            ("128 + n", "A second signal of number n."),
        ],
    ),
    (
        "FILES",
        &[(
            "tools.yaml",
            "The definitions that are served when --tools names no others.",
        )],
    ),
];

/// The manual page mcp-serve(1), in roff.
///
/// # Errors
///
/// None in practice: writing to memory does not fail.
pub fn manual() -> io::Result<Vec<u8>> {
    let command = Cli::command();
    let man = clap_mangen::Man::new(command);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for (heading, terms) in SECTIONS {
        writeln!(page, ".SH \"{heading}\"")?;
        for (term, meaning) in terms {
            let meaning = meaning.replace('-', "\\-");
            writeln!(page, ".TP\n\\fB{term}\\fR\n{meaning}")?;
        }
    }
    Ok(page)
}

/// Where the value of a flag came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Somebody chose it, by the command line or the environment.
    Explicit,
    /// It is the default.
    Default,
}

/// A command line that was read, with the sources that later checks need.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The values.
    pub cli: Cli,
    /// Where the idle timeout came from.
    pub idle_timeout_source: Source,
    /// Where the addresses to listen on came from.
    pub listen_source: Source,
}

/// Reads the command line and the environment.
///
/// # Errors
///
/// clap's error, whose text says where a wrong value came from: help and version are "errors" too,
/// with exit code 0.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut command = Cli::command();
    let matches = command
        .try_get_matches_from_mut(&arguments)
        .map_err(|error| name_source(error, &command, &arguments))?;
    Ok(Parsed {
        idle_timeout_source: source(&matches, "session_idle_timeout"),
        listen_source: source(&matches, "listen"),
        cli: Cli::from_arg_matches(&matches)?,
    })
}

fn source(matches: &ArgMatches, id: &str) -> Source {
    match matches.value_source(id) {
        Some(ValueSource::CommandLine | ValueSource::EnvVariable) => Source::Explicit,
        _ => Source::Default,
    }
}

/// Adds to a value error the variable the value came from, unless it came from the command line.
fn name_source(
    mut error: clap::Error,
    command: &clap::Command,
    arguments: &[OsString],
) -> clap::Error {
    let value_error = matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    );
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let flag = shown
        .split(['=', ' ', '['])
        .next()
        .unwrap_or_default()
        .to_owned();
    let on_command_line = arguments.iter().any(|argument| {
        let argument = argument.to_string_lossy();
        argument.split('=').next() == Some(flag.as_str())
    });
    let variable = command
        .get_arguments()
        .find(|argument| {
            argument.get_long().map(|long| format!("--{long}")).as_ref() == Some(&flag)
        })
        .and_then(clap::Arg::get_env);
    if let (true, false, Some(variable)) = (value_error, on_command_line, variable) {
        let tip = format!(
            "the value comes from the environment variable {}",
            variable.display()
        );
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![tip.into()]),
        );
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Parsed, String> {
        let arguments = ["mcp-serve"].iter().chain(arguments).map(OsString::from);
        super::parse(arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_has_help_and_its_variable() {
        let command = Cli::command();
        let mut seen = 0;
        for argument in command.get_arguments() {
            let Some(long) = argument
                .get_long()
                .filter(|long| !["help", "version"].contains(long))
            else {
                continue;
            };
            let variable = format!("MCP_SERVE_{}", long.to_uppercase().replace('-', "_"));
            let env = argument
                .get_env()
                .map(|env| env.to_string_lossy().into_owned());
            assert_eq!(env, Some(variable), "--{long}");
            assert!(argument.get_help().is_some(), "--{long} has no help");
            assert!(
                argument.get_help_heading().is_some(),
                "--{long} has no heading"
            );
            seen += 1;
        }
        assert!(seen >= 20, "{seen} options");
    }

    #[test]
    fn defaults_are_as_documented() {
        let Parsed {
            cli,
            idle_timeout_source,
            listen_source,
        } = parse(&[]).unwrap();
        assert_eq!(cli.serve.tools, PathBuf::from("tools.yaml"));
        assert_eq!(cli.serve.listen, ["127.0.0.1:8080".parse().unwrap()]);
        assert_eq!(cli.serve.path.as_str(), "/mcp");
        assert_eq!(cli.sessions.session_idle_timeout, "30m".parse().unwrap());
        assert_eq!(idle_timeout_source, Source::Default);
        assert_eq!(listen_source, Source::Default);
        assert!(!cli.serve.stdio);
        assert!(!cli.sessions.stateless && !cli.streams.json_response);
    }

    #[test]
    fn values_are_read() {
        let parsed = parse(&[
            "--listen=[::1]:0,unix:/run/x.sock",
            "--listen=0.0.0.0:80",
            "--session-idle-timeout=90",
            "--stateless",
            "--json-response=false",
            "--allowed-host=MCP.example.com,[::1]",
            "--allowed-origin=https://App.example.com:443",
        ])
        .unwrap();
        let listen: Vec<String> = parsed
            .cli
            .serve
            .listen
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(listen, ["[::1]:0", "unix:/run/x.sock", "0.0.0.0:80"]);
        let local: Vec<bool> = parsed
            .cli
            .serve
            .listen
            .iter()
            .map(ListenAddress::is_local)
            .collect();
        assert_eq!(local, [true, true, false]);
        let sessions = parsed.cli.sessions;
        assert_eq!(
            sessions.session_idle_timeout.duration(),
            Some(Duration::from_secs(90))
        );
        assert_eq!(parsed.idle_timeout_source, Source::Explicit);
        assert!(sessions.stateless && !parsed.cli.streams.json_response);
        let hosts = ["mcp.example.com", "[::1]"].map(|host| host.parse().unwrap());
        assert_eq!(parsed.cli.access.allowed_host, hosts);
        let origin = parsed.cli.access.allowed_origin[0].to_string();
        assert_eq!(origin, "https://app.example.com");
    }

    #[test]
    fn wrong_values_say_what_is_right() {
        let cases = [
            ("--session-idle-timeout=0", "try 30s, 5m or 1h, or none"),
            ("--session-idle-timeout=-5m", "try 30s, 5m or 1h, or none"),
            (
                "--session-idle-timeout=5 parsecs",
                "try 30s, 5m or 1h, or none",
            ),
            ("--session-idle-timeout=NaN", "try 30s, 5m or 1h, or none"),
            ("--call-timeout=none", "try 30s, 5m or 1h"),
            ("--drain-timeout=0", "try 30s, 5m or 1h"),
            ("--heartbeat=0s", "try 30s, 5m or 1h"),
            ("--heartbeat=99ms", "try 15s"),
            ("--max-body=0", "try 64KiB or 4MiB"),
            ("--max-body=4MB", "try 65536, 64KiB or 4MiB"),
            ("--max-sessions=0", "number would be zero"),
            ("--max-sessions=-1", "invalid digit"),
            ("--session-unused-timeout=0", "or none"),
            ("--max-sessions-per-principal=-1", "invalid digit"),
            ("--on-session-limit=wait", "possible values: evict, reject"),
            ("--session-evict-min-idle=none", "try 30s, 5m or 1h"),
            ("--stream-max-age=none", "try 30s, 5m or 1h"),
            ("--stream-buffer=0", "try 64KiB or 4MiB"),
            ("--resume-buffer=none", "try 65536, 64KiB or 4MiB"),
            ("--eras=old", "possible values: both, legacy, modern"),
            ("--metrics-listen=9090", "try 127.0.0.1:8080"),
            ("--stats-interval=0", "or none"),
            ("--listen=8080", "try 127.0.0.1:8080"),
            ("--listen=localhost:8080", "try 127.0.0.1:8080"),
            ("--listen=unix:", "try 127.0.0.1:8080"),
            ("--path=mcp", "try /mcp"),
            ("--path=/mcp/", "try /mcp"),
            ("--path=/a/../b", "try /mcp"),
            ("--path=/a b", "try /mcp"),
            ("--path=/healthz", "is taken by the server itself"),
            ("--path=/.well-known/x", "is taken by the server itself"),
            ("--allowed-host=example.com:80", "try mcp.example.com"),
            ("--allowed-host=*", "try mcp.example.com"),
            (
                "--allowed-origin=example.com",
                "try https://app.example.com",
            ),
            (
                "--allowed-origin=https://example.com/x",
                "try https://app.example.com",
            ),
            ("--allowed-origin=null", "try https://app.example.com"),
            ("--log-format=xml", "possible values: text, json"),
            (
                "--log-level=loud",
                "possible values: error, warn, info, debug, trace",
            ),
            ("--tools=", "a value is required"),
            ("--stateless=maybe", "invalid value"),
            ("--tool=x", "--tools"),
        ];
        for (argument, expected) in cases {
            let message = parse(&[argument]).unwrap_err();
            assert!(message.contains(expected), "{argument}: {message}");
        }
    }
}
