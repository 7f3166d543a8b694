//! What the server holds for its requests, whatever they come over.

mod listeners;
mod refusals;
mod throttle;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderName;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::Audit;
use crate::auth::{self, Caller};
use crate::catalog::{Catalog, Current};
use crate::changes::Changes;
use crate::dispatch::Context;
use crate::execute::Executor;
use crate::host::{Cidr, HostName, Origin, PublicUrl};
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::protocol::logging::Level;
use crate::protocol::version::{Era, ProtocolVersion, Served};
use crate::seal::Seal;
use crate::session::SessionStore;
use crate::stream::Histories;
use crate::task::Tasks;

pub use listeners::{Listeners, Place};
pub use refusals::Refusals;
pub use throttle::Throttle;

/// Everything a request may need.
#[derive(Debug)]
pub struct App {
    /// What is served.
    pub catalog: Current,
    /// Sessions of legacy clients; `None` serves them without.
    pub sessions: Option<Arc<SessionStore>>,
    /// Runs the calls.
    pub executor: Executor,
    /// Who may call.
    pub authenticator: auth::Current,
    /// How requests are answered.
    pub options: Options,
    /// Writes down who calls what; `None` does not.
    pub audit: Option<Arc<Audit>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// New sessions that were refused because the server is full.
    pub refusals: Refusals,
    /// What the log says of credentials that were refused.
    pub strangers: Pace,
    /// What the log says of requests that were refused by their Host or Origin.
    pub foreign: Pace,
    /// What the log says of good credentials at endpoints that they are not for.
    pub misdirected: Pace,
    /// How often each client was wrong about its credential.
    pub throttle: Throttle,
    /// Cancelled when the server stops: no new work is taken.
    pub draining: CancellationToken,
    /// What the sessions sent lately.
    pub histories: Histories,
    /// Calls that outlive their requests.
    pub tasks: Arc<Tasks>,
    /// What has changed.
    pub changes: Changes,
    /// Closes what clients of 2026-07-28 carry from one round of a call to the next.
    pub seal: Seal,
    /// Who listens to changes without a session.
    pub listeners: Listeners,
    /// Holds a token for each request whose client still waits for the answer.
    pub unanswered: TaskTracker,
}

/// How requests are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Path of the endpoint, without a trailing slash.
    pub path: String,
    /// The URL of the endpoint as clients know it.
    pub public_url: Option<PublicUrl>,
    /// Hosts allowed beside the local ones.
    pub allowed_hosts: Vec<HostName>,
    /// Origins allowed beside the server's own.
    pub allowed_origins: Vec<Origin>,
    /// Headers that may hold a token, beside `Authorization`.
    pub credential_headers: Vec<HeaderName>,
    /// Whose word counts for where a request comes from.
    pub trusted_proxies: Vec<Cidr>,
    /// Never answer with an event stream.
    pub json_response: bool,
    /// Which eras are served.
    pub served: Served,
    /// Serve a legacy request that names no session without one.
    pub lenient_sessions: bool,
    /// How often a silent event stream gets a comment, and how long a call may be silent before
    /// its answer becomes an event stream.
    pub heartbeat: Duration,
    /// When the stream of a session ends, give or take a tenth.
    pub stream_max_age: Duration,
    /// How long a client is told to wait before it opens a stream again that the server ended.
    pub stream_retry: Duration,
    /// How many bytes may wait for the reader of a stream, replies aside.
    pub stream_buffer: usize,
    /// How many bytes a session of 2025-11-25 keeps of what it sent; 0 keeps nothing.
    pub resume_buffer: usize,
    /// How long a client may take to answer what a call asks.
    pub ask_timeout: Duration,
    /// The largest body in bytes.
    pub max_body: usize,
    /// The most items in one answer to a client that lists them.
    pub page_size: usize,
}

/// The defaults of the command line.
impl Default for Options {
    fn default() -> Self {
        Self {
            path: "/mcp".to_owned(),
            public_url: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            credential_headers: Vec::new(),
            trusted_proxies: Vec::new(),
            json_response: false,
            served: Served::Both,
            lenient_sessions: false,
            heartbeat: Duration::from_secs(15),
            stream_max_age: Duration::from_mins(30),
            stream_retry: Duration::from_secs(3),
            stream_buffer: 64 << 10,
            resume_buffer: 256 << 10,
            ask_timeout: Duration::from_mins(10),
            max_body: 4 << 20,
            page_size: 1000,
        }
    }
}

impl App {
    /// What a request is read against, as far as nothing else is known of its client.
    pub fn context<'a>(
        &'a self,
        version: ProtocolVersion,
        caller: &'a Arc<Caller>,
        catalog: &'a Arc<Catalog>,
    ) -> Context<'a> {
        Context {
            version,
            served: self.options.served,
            catalog,
            caller,
            capabilities: None,
            traceparent: None,
            outputs: self.executor.outputs(),
            seal: &self.seal,
            now: SystemTime::now(),
            page_size: self.options.page_size,
            legacy_level: Level::DEFAULT,
            hears_changes: version.era() == Era::Modern || self.sessions.is_some(),
            keeps_tasks: version.era() == Era::Modern,
        }
    }
}
