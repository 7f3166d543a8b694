//! Accepts connections and serves them.
//!
//! hyper's HTTP/1.1 connection with a timer, bounded headers and a watched socket. An accept loop
//! never ends by an error.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::FLUSH_TIMEOUT;
use super::listener::{Accepted, Listener};
use super::socket::{self, Socket};
use crate::http::Connection;
use crate::tls::Tls;

/// The largest request header, in bytes.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// The most header fields of a request.
const MAX_HEADERS: usize = 64;

/// The most connections beyond the limit that are told so at once; the next is accepted after that, since
/// each takes a descriptor.
const MAX_REFUSALS: usize = 8;

/// How long a client may take to agree on how to encrypt.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a new connection may take to send the whole header of its first request. Clients keep one
/// that they have used; one that is new is there to be used.
const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// How long the accept loop rests after an error such as too many open files.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// The timers of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// How long a connection may take to send the whole header of its next request. It bounds idle
    /// connections too. For the first request see [`FIRST_REQUEST`].
    pub(super) keep_alive: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub(super) tcp_user: Duration,
}

/// What the connections of a listener share. `serve` answers a request.
#[derive(Debug, Clone)]
pub(super) struct Connections<S> {
    serve: S,
    timeouts: Timeouts,
    permits: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    stopping: CancellationToken,
    /// What encrypts those over TCP.
    tls: Option<Tls>,
    pub(super) tasks: TaskTracker,
}

impl<S, F> Connections<S>
where
    S: Fn(Connection, Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, Infallible>> + Send + 'static,
{
    /// At most `limit` connections at once. From `stopping` on each is closed after one response.
    pub(super) fn new(
        serve: S,
        timeouts: Timeouts,
        limit: usize,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            serve,
            timeouts,
            permits: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))),
            refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
            stopping,
            tls: None,
            tasks: TaskTracker::new(),
        }
    }

    /// The same, with connections over TCP encrypted. A Unix socket does not leave the machine.
    pub(super) fn encrypted(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Accepts until `closing`.
    pub(super) async fn accept(self, listener: Listener, closing: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = closing.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(accepted) => self.start(accepted).await,
                Err(error) if concerns_one_connection(&error) => {
                    tracing::debug!(%error, "a client left before it was accepted");
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    async fn start(&self, accepted: Accepted) {
        match accepted {
            Accepted::Tcp(stream, peer) => match socket::prepare(&stream, self.timeouts.tcp_user) {
                Ok(local) => {
                    let tls = self.tls.as_ref().map(Tls::config);
                    let connection = Connection {
                        local: Some(local),
                        peer: Some(peer),
                        is_encrypted: tls.is_some(),
                        ..Connection::default()
                    };
                    self.spawn(stream, connection, tls).await;
                }
                Err(error) => tracing::debug!(%error, "a client left before it was served"),
            },
            Accepted::Unix(stream) => self.spawn(stream, Connection::default(), None).await,
        }
    }

    async fn spawn(
        &self,
        stream: impl AsyncRead + AsyncWrite + AsFd + Send + Unpin + 'static,
        connection: Connection,
        tls: Option<Arc<ServerConfig>>,
    ) {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            // Whoever waits for a handshake could not read an answer.
            if tls.is_some() {
                return;
            }
            let place = Arc::clone(&self.refusals).acquire_owned().await;
            self.tasks.spawn(async move {
                refuse(stream).await;
                drop(place);
            });
            return;
        };
        let link = Arc::clone(&connection.link);
        let socket = Socket::new(stream, link, self.timeouts.tcp_user);
        let connections = self.clone();
        self.tasks.spawn(async move {
            match tls {
                None => connections.serve(socket, connection).await,
                Some(tls) => Box::pin(connections.serve_encrypted(tls, socket, connection)).await,
            }
            drop(permit);
        });
    }

    /// As [`serve`](Self::serve), inside an encrypted stream. A socket is told of bytes that are
    /// encrypted, and so of what the client took.
    async fn serve_encrypted(
        self,
        tls: Arc<ServerConfig>,
        socket: impl AsyncRead + AsyncWrite + Unpin + 'static,
        connection: Connection,
    ) {
        let handshake = TlsAcceptor::from(tls).accept(socket);
        match timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => self.serve(stream, connection).await,
            Ok(Err(error)) => tracing::debug!(%error, "a client could not agree on encryption"),
            Err(_) => tracing::debug!("a client did not agree on encryption in time"),
        }
    }

    async fn serve(
        self,
        socket: impl AsyncRead + AsyncWrite + Unpin + 'static,
        connection: Connection,
    ) {
        let stopping = self.stopping;
        let has_asked = AtomicBool::new(false);
        let service = hyper::service::service_fn(|request: hyper::Request<Incoming>| {
            has_asked.store(true, Ordering::Relaxed);
            // Its connection keeps the place of a future that is over, which this one would need
            // thousands of bytes for.
            Box::pin((self.serve)(connection.clone(), request.map(Body::new)))
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.timeouts.keep_alive)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEADER_BYTES)
            // One request is answered while stopping, such as a probe of /readyz.
            .keep_alive(!stopping.is_cancelled())
            .serve_connection(TokioIo::new(socket), service);
        let mut served = pin!(served);
        let already = stopping.is_cancelled();
        let ended = tokio::select! {
            ended = served.as_mut() => ended,
            () = remains_unused(&has_asked) => {
                return tracing::debug!("a connection sent no request in time");
            }
            () = stopping.cancelled(), if !already => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }
}

/// Completes if a new connection has not asked for anything in time.
async fn remains_unused(has_asked: &AtomicBool) {
    tokio::time::sleep(FIRST_REQUEST).await;
    if has_asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// True for an error that says nothing about the next connection.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
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
