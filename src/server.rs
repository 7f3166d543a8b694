//! Binds, accepts, serves, and stops: the owner of every task.
//!
//! The accept loop is ours because `axum::serve` sets no timer, so that half a request header or
//! an idle connection would stay for ever, and because its graceful shutdown waits without limit
//! for an open event stream.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use futures_util::{Stream, StreamExt as _};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::catalog::Catalog;
use crate::cli::{Eras, ListenAddress};
use crate::config::{Config, SessionMode};
use crate::execute::{self, Executor};
use crate::http::{self, App, Connection, Options};
use crate::metrics::Metrics;
use crate::protocol::version::{Era, Served};
use crate::session::{EndReason, SessionStore, reaper};
use crate::shutdown::Event;
use crate::stream::Histories;

/// How long a connection may take to send the whole header of its next request. It bounds idle
/// keep-alive connections too.
const HEADER_TIMEOUT: Duration = Duration::from_mins(1);

/// The largest request header, in bytes.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// The most header fields of a request.
const MAX_HEADERS: usize = 64;

/// How long connections may take to send what they still hold, after the calls are over.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// How long killed processes may take to disappear at the end.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the accept loop rests after an error such as too many open files.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Every call that was taken was answered.
    Clean,
    /// A connection was cut before its answer was sent.
    Cut,
    /// A second signal of this number ended the drain.
    Forced(i32),
}

/// A server that is bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    app: Arc<App>,
    max_connections: usize,
    drain_timeout: Duration,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A socket file that is removed when the server is done with it.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "the socket file could not be removed");
        }
    }
}

impl Server {
    /// Binds every address. The log names them.
    ///
    /// # Errors
    ///
    /// The address that could not be bound, and why.
    pub async fn bind(config: Config, catalog: Catalog) -> anyhow::Result<Self> {
        let mut listeners = Vec::new();
        for address in &config.listen {
            let listener = bind(address)
                .await
                .with_context(|| format!("cannot listen on {address}"))?;
            listeners.push(listener);
        }
        let sessions = match config.sessions {
            SessionMode::Stateless => None,
            SessionMode::Stateful(limits) => Some(SessionStore::new(limits)),
        };
        let app = App {
            catalog: Arc::new(catalog),
            sessions,
            executor: Executor::new(execute::Limits {
                max_calls: config.max_calls,
                call_timeout: config.call_timeout,
            }),
            authenticator: config.authenticator,
            options: Options {
                path: config.path.as_str().to_owned(),
                allowed_hosts: config.allowed_hosts,
                allowed_origins: config.allowed_origins,
                served: match config.eras {
                    Eras::Both => Served::Both,
                    Eras::Legacy => Served::Only(Era::Legacy),
                    Eras::Modern => Served::Only(Era::Modern),
                },
                lenient_sessions: config.lenient_sessions,
                json_response: config.streams.json_response,
                heartbeat: config.streams.heartbeat,
                stream_max_age: config.streams.stream_max_age,
                stream_retry: config.streams.stream_retry,
                stream_buffer: config.streams.stream_buffer,
                resume_buffer: config.streams.resume_buffer,
                max_body: config.max_body,
            },
            metrics: Arc::new(Metrics::new()),
            draining: CancellationToken::new(),
            histories: Histories::default(),
            unanswered: TaskTracker::new(),
        };
        Ok(Self {
            listeners,
            app: Arc::new(app),
            max_connections: config.max_connections,
            drain_timeout: config.drain_timeout,
        })
    }

    /// The bound addresses; a port 0 is the port that was taken.
    pub fn local_addresses(&self) -> Vec<String> {
        self.listeners.iter().map(Listener::address).collect()
    }

    /// Serves until the first [`Event::Stop`], then drains.
    ///
    /// While draining, running calls finish and get their answers, streams end, and new work is
    /// refused with 503. At the drain timeout the calls that still run are answered with an error
    /// and their processes ended. A second [`Event::Stop`] ends the drain at once.
    pub async fn serve(self, mut events: impl Stream<Item = Event> + Unpin) -> Stopped {
        let tasks = TaskTracker::new();
        let closing = CancellationToken::new();
        let connections = Connections {
            app: Arc::clone(&self.app),
            router: http::router(Arc::clone(&self.app)),
            permits: Arc::new(Semaphore::new(
                self.max_connections.min(Semaphore::MAX_PERMITS),
            )),
            tasks: TaskTracker::new(),
        };
        for address in self.local_addresses() {
            let path = &self.app.options.path;
            if address.starts_with("unix:") {
                tracing::info!(%address, path, "listening");
            } else {
                tracing::info!(url = format!("http://{address}{path}"), %address, "listening");
            }
        }
        for listener in self.listeners {
            tasks.spawn(accept(listener, connections.clone(), closing.clone()));
        }
        if let Some(sessions) = &self.app.sessions {
            tasks.spawn(reaper::run(Arc::clone(sessions), closing.clone()));
        }

        wait_for_stop(&mut events, &self.app).await;
        let drained = tokio::select! {
            cut = drain(&self.app, &connections.tasks, self.drain_timeout) => {
                if cut == 0 { Stopped::Clean } else { Stopped::Cut }
            }
            signal = wait_for_stop(&mut events, &self.app) => {
                tracing::warn!("second signal: every call is killed");
                kill_processes(&self.app).await;
                Stopped::Forced(signal)
            }
        };
        closing.cancel();
        tasks.close();
        tasks.wait().await;
        if let Some(sessions) = &self.app.sessions {
            sessions.end_all(EndReason::Shutdown);
        }
        report(&self.app, "final session statistics");
        drained
    }
}

/// Waits for the signal to stop, and writes statistics meanwhile when asked.
async fn wait_for_stop(events: &mut (impl Stream<Item = Event> + Unpin), app: &App) -> i32 {
    loop {
        match events.next().await {
            Some(Event::Stop(signal)) => return signal,
            Some(Event::Report) => report(app, "session statistics"),
            // Nobody can stop the server any more, which is what a test may want.
            None => std::future::pending().await,
        }
    }
}

/// Writes the session statistics to the log.
fn report(app: &App, what: &'static str) {
    let calls = app.executor.in_flight();
    match app
        .sessions
        .as_ref()
        .map(|sessions| serde_json::to_string(&sessions.statistics()))
    {
        Some(Ok(statistics)) => tracing::info!(calls_in_flight = calls, statistics, "{what}"),
        Some(Err(error)) => tracing::error!(%error, "the statistics could not be encoded"),
        None => tracing::info!(calls_in_flight = calls, "{what}: serving without sessions"),
    }
}

/// Lets running calls finish, for at most `timeout`; then ends them. Returns how many clients were
/// left without an answer.
async fn drain(app: &App, connections: &TaskTracker, timeout: Duration) -> usize {
    let in_flight = app.executor.in_flight();
    let sessions = app
        .sessions
        .as_ref()
        .map_or(0, |sessions| sessions.statistics().active_sessions);
    tracing::info!(in_flight, sessions, "shutdown");
    app.draining.cancel();
    app.unanswered.close();
    // A call whose client is gone finishes too: what it does may matter as much as its answer.
    let finished = async { tokio::join!(app.unanswered.wait(), app.executor.finished()) };
    let mut stopped = 0;
    if tokio::time::timeout(timeout, finished).await.is_err() {
        stopped = app.executor.in_flight();
        tracing::warn!(
            stopped,
            "the drain timeout is over; the calls that still run are ended"
        );
        app.executor.stop_all();
        if tokio::time::timeout(FLUSH_TIMEOUT, app.unanswered.wait())
            .await
            .is_err()
        {
            tracing::warn!("some clients did not take their answer in time");
        }
        end_processes(app).await;
    }
    // What is left now are connections that are silent, or stuck.
    connections.close();
    if tokio::time::timeout(FLUSH_TIMEOUT, connections.wait())
        .await
        .is_err()
    {
        tracing::debug!("some connections are still open");
    }
    let cut = app.unanswered.len();
    let drained = in_flight.saturating_sub(stopped);
    tracing::info!(drained, stopped, cut, "shutdown complete");
    cut
}

/// Waits for stopped calls to be gone: for the longest grace of a tool, then without.
async fn end_processes(app: &App) {
    let grace = app.catalog.tools().map(|tool| tool.cancel.grace).max();
    let grace = grace.unwrap_or_default();
    if tokio::time::timeout(grace, app.executor.finished())
        .await
        .is_err()
    {
        kill_processes(app).await;
    }
}

/// Kills what is left, and waits a moment for it to be gone.
async fn kill_processes(app: &App) {
    app.executor.kill_all();
    if tokio::time::timeout(KILL_TIMEOUT, app.executor.finished())
        .await
        .is_err()
    {
        tracing::error!("some processes are still there; they are left behind");
    }
}

async fn bind(address: &ListenAddress) -> io::Result<Listener> {
    match address {
        ListenAddress::Tcp(address) => TcpListener::bind(address).await.map(Listener::Tcp),
        ListenAddress::Unix(path) => {
            remove_stale_socket(path)?;
            let listener = UnixListener::bind(path)?;
            let file = SocketFile(path.clone());
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
            Ok(Listener::Unix(listener, file))
        }
    }
}

/// Removes the socket that a killed server left behind, but nothing else, and no socket that
/// somebody listens on.
fn remove_stale_socket(path: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if metadata.file_type().is_socket()
        && std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    {
        return std::fs::remove_file(path);
    }
    Err(io::ErrorKind::AddrInUse.into())
}

impl Listener {
    fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|error| error.to_string(), |address| address.to_string()),
            Self::Unix(_, file) => format!("unix:{}", file.0.display()),
        }
    }
}

/// What connections share.
#[derive(Clone)]
struct Connections {
    app: Arc<App>,
    router: Router,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// Accepts until `closing`. An error never ends the loop.
async fn accept(listener: Listener, connections: Connections, closing: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => return,
            accepted = async {
                match &listener {
                    Listener::Tcp(listener) => {
                        let (stream, _) = listener.accept().await?;
                        // Without this a streamed reply waits for a delayed acknowledgement.
                        stream.set_nodelay(true)?;
                        let local = stream.local_addr()?;
                        connections.start(stream, Some(local));
                    }
                    Listener::Unix(listener, _) => {
                        let (stream, _) = listener.accept().await?;
                        connections.start(stream, None);
                    }
                }
                io::Result::Ok(())
            } => accepted,
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_BACKOFF).await;
        }
    }
}

impl Connections {
    fn start(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        local: Option<SocketAddr>,
    ) {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            self.tasks.spawn(refuse(stream));
            return;
        };
        let connections = self.clone();
        self.tasks.spawn(async move {
            connections
                .serve(
                    stream,
                    Connection {
                        local,
                        ..Connection::default()
                    },
                )
                .await;
            drop(permit);
        });
    }

    async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        connection: Connection,
    ) {
        let draining = self.app.draining.clone();
        let service = hyper::service::service_fn(|mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(connection.clone());
            self.router.clone().oneshot(request.map(Body::new))
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEADER_BYTES)
            // One request is answered while draining, such as a probe of /readyz.
            .keep_alive(!draining.is_cancelled())
            .serve_connection(TokioIo::new(stream), service);
        let mut served = pin!(served);
        let already = draining.is_cancelled();
        let ended = tokio::select! {
            ended = served.as_mut() => ended,
            () = draining.cancelled(), if !already => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }
}

/// Tells a client beyond the limit of connections to come back.
async fn refuse(mut stream: impl AsyncWrite + Unpin) {
    const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\
        Retry-After: 1\r\nContent-Length: 0\r\n\r\n";
    let written = timeout_at(Instant::now() + FLUSH_TIMEOUT, stream.write_all(BUSY)).await;
    if !matches!(written, Ok(Ok(()))) {
        tracing::debug!("a refused connection did not take its answer");
    }
}
