//! What is asked of authorization servers, by few requests with little in their answers.

use std::net::IpAddr;
use std::sync::Once;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use url::{Host, Url};

/// How long a document may take, with its connection.
const DOCUMENT_TIME: Duration = Duration::from_secs(5);
/// How large a document may be, in bytes.
pub(super) const MAX_DOCUMENT: usize = 256 * 1024;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0} cannot be asked: {1}")]
    NoAnswer(String, #[source] reqwest::Error),
    #[error("{0} answers {1}")]
    Status(String, StatusCode),
    #[error("{0} answers with more than {kib} KiB", kib = MAX_DOCUMENT / 1024)]
    TooLarge(String),
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

/// Asks authorization servers.
#[derive(Debug, Clone)]
pub(super) struct Fetcher(Client);

impl Fetcher {
    /// Reads what the system trusts from files, so this blocks.
    pub(super) fn new() -> reqwest::Result<Self> {
        install_provider();
        let client = Client::builder()
            // Where requests go is for the auth file to say, and not for the environment.
            .no_proxy()
            .referer(false)
            // An answer from elsewhere is not the answer of who was asked.
            .redirect(Policy::none())
            .tcp_nodelay(true)
            .build()?;
        Ok(Self(client))
    }

    /// Gets a document.
    pub(super) async fn get(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let request = self.0.get(url.clone());
        send(request.timeout(DOCUMENT_TIME), url).await
    }

    /// Posts a form, with the value of an `Authorization` header.
    pub(super) async fn post(
        &self,
        url: &Url,
        authorization: &HeaderValue,
        form: String,
        time: Duration,
    ) -> Result<Vec<u8>, FetchError> {
        let request = (self.0.post(url.clone()))
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        send(request.timeout(time), url).await
    }
}

/// The body of a good answer.
async fn send(request: RequestBuilder, url: &Url) -> Result<Vec<u8>, FetchError> {
    let from = url.origin().ascii_serialization();
    let failed = |error: reqwest::Error| FetchError::NoAnswer(from.clone(), error.without_url());
    let request = request.header(ACCEPT, "application/json");
    let mut response = request.send().await.map_err(failed)?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(from, response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_DOCUMENT {
            return Err(FetchError::TooLarge(from));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Chooses the cryptography of the process, once: reqwest takes what it finds.
fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // It fails only if there is one already.
        drop(rustls::crypto::ring::default_provider().install_default());
    });
}
