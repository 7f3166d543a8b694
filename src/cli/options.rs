//! The options, in the groups of the help.

mod access;
mod audit;
mod network;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

use super::values::{
    EndpointPath, Eras, ListenAddress, LogFormat, LogLevel, OnSessionLimit, Timeout, heartbeat,
    path,
};
use crate::units;
pub use access::Access;
pub use audit::Audit;
pub use network::Network;

/// The largest page of a list, in items: a page is one JSON text in memory.
const MAX_PAGE_SIZE: i64 = 10_000;

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

    /// The most tool calls at once of one principal, those that wait included; beyond it that client is
    /// told to retry later. Who needs no token, and all users of --token-file, have no such limit. 0 is
    /// no limit.
    #[arg(
        long,
        env = "MCP_SERVE_MAX_CALLS_PER_PRINCIPAL",
        value_name = "N",
        default_value = "128"
    )]
    pub max_calls_per_principal: usize,

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
