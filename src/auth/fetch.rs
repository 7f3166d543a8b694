//! What is asked of authorization servers, by few requests with little in their answers.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use tokio::sync::OnceCell;
use tokio::task::JoinError;
use url::{Host, Url};

use crate::tls;

/// How long an answer may take, with its connection.
const MAX_TIME: Duration = Duration::from_secs(5);
/// How many connections to a server are kept when nothing is asked.
const MAX_IDLE: usize = 2;
/// How large an answer may be, in bytes.
pub(super) const MAX_DOCUMENT: usize = 256 * 1024;
/// How large an answer about one token may be, in bytes: thousands of them are remembered.
const MAX_TOKEN_ANSWER: usize = 16 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0} does not answer: {1}")]
    NoAnswer(String, String),
    #[error("{0} answers {1}")]
    Status(String, StatusCode),
    #[error("{0} answers with more than {kib} KiB", kib = .1 / 1024)]
    TooLarge(String, usize),
    #[error("nobody can be asked: {0}")]
    NoClient(#[from] reqwest::Error),
    #[error("nobody can be asked: {0}")]
    Panicked(#[from] JoinError),
}

/// How often keys were fetched, by whether that went well.
static KEY_FETCHES: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// How often the keys of issuers were fetched since the start, with success and without.
pub fn key_fetches() -> [u64; 2] {
    KEY_FETCHES
        .each_ref()
        .map(|count| count.load(Ordering::Relaxed))
}

/// Counts a fetch of keys.
pub(super) fn count_keys<T, E>(fetched: &Result<T, E>) {
    let [good, failed] = &KEY_FETCHES;
    let count = if fetched.is_ok() { good } else { failed };
    count.fetch_add(1, Ordering::Relaxed);
}

/// Whether it is safe to ask there for what decides who somebody is: nobody between may change it.
pub(super) fn is_safe(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
            None => false,
        },
        _ => false,
    }
}

/// Asks authorization servers. Its client is made when the first one is asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Fetcher(Arc<OnceCell<Client>>);

impl Fetcher {
    /// Gets a document.
    pub(super) async fn get(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let request = self.client().await?.get(url.clone());
        send(request, url, MAX_DOCUMENT).await
    }

    /// Posts a form about a token, with the value of an `Authorization` header.
    pub(super) async fn post(
        &self,
        url: &Url,
        authorization: &HeaderValue,
        form: String,
    ) -> Result<Vec<u8>, FetchError> {
        let request = (self.client().await?.post(url.clone()))
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        send(request, url, MAX_TOKEN_ANSWER).await
    }

    async fn client(&self) -> Result<&Client, FetchError> {
        // What the system trusts is read from files.
        let made = || async { Ok(tokio::task::spawn_blocking(client).await??) };
        self.0.get_or_try_init(made).await
    }
}

fn client() -> reqwest::Result<Client> {
    tls::install_provider();
    Client::builder()
        // Where requests go is for the auth file to say, and not for the environment.
        .no_proxy()
        .referer(false)
        // An answer from elsewhere is not the answer of who was asked.
        .redirect(Policy::none())
        .tcp_nodelay(true)
        .pool_max_idle_per_host(MAX_IDLE)
        .timeout(MAX_TIME)
        .build()
}

/// The body of a good answer, of this many bytes at most.
async fn send(request: RequestBuilder, url: &Url, most: usize) -> Result<Vec<u8>, FetchError> {
    let from = url.origin().ascii_serialization();
    let failed = |error| FetchError::NoAnswer(from.clone(), cause(&error));
    let request = request.header(ACCEPT, "application/json");
    let mut response = request.send().await.map_err(failed)?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(from, response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > most {
            return Err(FetchError::TooLarge(from, most));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What is behind an error, which says little itself.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
