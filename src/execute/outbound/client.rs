//! The client of one API: its connections, which later requests use again.
//!
//! They are on a thread of their own. hyper reads 1xx responses for as long as there are any, tens of
//! megabytes in one go, and whatever shares a thread with that waits: timers and other connections too.
//! Here a server that says nothing else keeps nobody waiting but its own calls, and those until their
//! deadline, which is watched elsewhere.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Identity, Request, Response};
use tokio::runtime::{self, Handle};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::resolver::Resolver;
use crate::catalog::{Api, Redirects};
use crate::tls;

/// How long a connection may take, encryption included.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long a connection waits for another request: less than the minute of common servers.
const IDLE_TIME: Duration = Duration::from_secs(50);
/// How many connections wait for another request.
const MAX_IDLE: usize = 32;
/// How many headers a response may have.
const MAX_HEADERS: usize = 128;
/// How large the headers of a response over HTTP/2 may be, in bytes.
const MAX_HEADER_BYTES: u32 = 64 * 1024;
/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;

/// Which connections a client uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connections {
    /// They wait for another request.
    Kept,
    /// A new one for each request.
    Fresh,
}

/// Sends requests.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    /// Where the connections are.
    thread: Handle,
    /// Ends the thread, and with it the connections.
    _end: DropGuard,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoClient {
    /// The machine has no thread for it.
    #[error("no thread can be started")]
    Thread(#[from] io::Error),
    /// Its certificates cannot be used.
    #[error(transparent)]
    Setup(#[from] reqwest::Error),
}

impl Client {
    /// Makes a client. What the system trusts is read from files, so this blocks.
    pub(super) fn new(
        api: &Api,
        connections: Connections,
        lookups: Arc<Semaphore>,
    ) -> Result<Self, NoClient> {
        let http = build(api, connections, lookups)?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let thread = runtime.handle().clone();
        let end = CancellationToken::new();
        let ended = end.clone().cancelled_owned();
        thread::Builder::new()
            .name("api".to_owned())
            .spawn(move || runtime.block_on(ended))?;
        Ok(Self {
            http,
            thread,
            _end: end.drop_guard(),
        })
    }

    /// Sends a request, and returns once its response begins.
    ///
    /// # Cancel safety
    ///
    /// If this is dropped, the connection is closed.
    pub(super) async fn execute(&self, request: Request) -> reqwest::Result<Response> {
        let sent = self.thread.spawn(self.http.execute(request));
        let sent = AbortOnDropHandle::new(sent).await;
        // Nobody else could have cancelled it.
        sent.unwrap_or_else(|error| resume_unwind(error.into_panic()))
    }
}

fn build(
    api: &Api,
    connections: Connections,
    lookups: Arc<Semaphore>,
) -> reqwest::Result<reqwest::Client> {
    tls::install_provider();
    let max_idle = match connections {
        Connections::Kept => MAX_IDLE,
        Connections::Fresh => 0,
    };
    let mut builder = reqwest::Client::builder()
        // Where requests go is for the definition to say, and not for the environment.
        .no_proxy()
        .referer(false)
        .redirect(policy(api))
        .connect_timeout(CONNECT_TIME)
        .pool_idle_timeout(IDLE_TIME)
        .pool_max_idle_per_host(max_idle)
        .http1_max_headers(MAX_HEADERS)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .tcp_nodelay(true)
        .dns_resolver(Resolver {
            allowed: api.reach,
            lookups,
        });
    if let Some(ca) = &api.tls.ca {
        builder = builder.tls_certs_only(Certificate::from_pem_bundle(ca)?);
    } else if !api.is_encrypted() {
        // A machine without certificates can still send what is not encrypted.
        builder = builder.tls_certs_only([]);
    }
    if let Some(identity) = &api.tls.identity {
        builder = builder.identity(Identity::from_pem(identity)?);
    }
    builder.build()
}

/// Redirects that stay where the credentials belong.
fn policy(api: &Api) -> Policy {
    match api.redirects {
        Redirects::Never => Policy::none(),
        Redirects::SameOrigin => {
            let base = api.base.clone();
            Policy::custom(move |attempt| {
                if is_followed(&attempt, &base) {
                    attempt.follow()
                } else {
                    attempt.stop()
                }
            })
        }
    }
}

/// A redirect leads to where the API is, and to no other part of its host.
fn is_followed(attempt: &Attempt<'_>, base: &str) -> bool {
    let below = attempt.url().as_str().strip_prefix(base);
    let stays = below.is_some_and(|below| below.is_empty() || below.starts_with(['/', '?']));
    stays && attempt.previous().len() <= MAX_REDIRECTS
}
