//! The keys of an issuer, from its server or from a file, kept while they are good.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::fetch::{self, FetchError, Fetcher};
use super::jwt::{KeySet, KeySetError};

/// How old keys become before they are fetched again, so that what an issuer has withdrawn is not
/// trusted for long.
const REFRESH: Duration = Duration::from_mins(5);
/// How long is waited between two fetches: any stranger can name a key that is not known.
const COOLDOWN: Duration = Duration::from_secs(30);
/// How old keys may become when their server does not answer.
const MAX_STALE: Duration = Duration::from_hours(24);

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// In a file.
    File(PathBuf),
    /// At an address.
    Url(Url),
    /// Where the metadata of the issuer says (RFC 8414, or `OpenID` Connect Discovery).
    Discovery,
}

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Keys {
    issuer: Arc<str>,
    source: Source,
    fetcher: Fetcher,
    current: ArcSwapOption<Fetched>,
    /// Held by the one who fetches; says when the last fetch began.
    turn: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Fetched {
    set: Arc<KeySet>,
    document: Vec<u8>,
    at: Instant,
}

/// Why there are no newer keys.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the file cannot be read: {0}")]
    File(#[from] std::io::Error),
    #[error("the file is larger than {} KiB", fetch::MAX_DOCUMENT / 1024)]
    TooLarge,
    #[error(transparent)]
    KeySet(#[from] KeySetError),
    #[error("the metadata of the issuer is not usable: {0}")]
    Metadata(&'static str),
}

/// What the metadata of an issuer says of its keys (RFC 8414, section 2).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Keys {
    /// There are none yet.
    pub(super) fn new(issuer: Arc<str>, source: Source, fetcher: Fetcher) -> Self {
        Self {
            issuer,
            source,
            fetcher,
            current: ArcSwapOption::empty(),
            turn: Mutex::new(None),
        }
    }

    /// The keys, unless there were none for too long.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        let current = self.current.load();
        let fetched = current.as_ref()?;
        (fetched.at.elapsed() < MAX_STALE).then(|| Arc::clone(&fetched.set))
    }

    /// The keys after a look for newer ones than `known`, which does not have the one that is
    /// wanted. One caller fetches while the others wait, and all that come within the
    /// [`COOLDOWN`] get what there is.
    pub(super) async fn newer_than(&self, known: Option<&Arc<KeySet>>) -> Option<Arc<KeySet>> {
        let mut began = self.turn.lock().await;
        let current = self.current();
        let is_newer = match (&current, known) {
            (Some(current), Some(known)) => !Arc::ptr_eq(current, known),
            (current, _) => current.is_some(),
        };
        if is_newer || began.is_some_and(|began| began.elapsed() < COOLDOWN) {
            return current;
        }
        *began = Some(Instant::now());
        self.fetch().await;
        self.current()
    }

    /// Fetches the keys now and then, for ever.
    pub(super) async fn keep(&self) {
        loop {
            let mut began = self.turn.lock().await;
            *began = Some(Instant::now());
            let pause = if self.fetch().await {
                REFRESH
            } else {
                COOLDOWN
            };
            drop(began);
            tokio::time::sleep(pause.mul_f64(jitter())).await;
        }
    }

    /// Takes over the keys that another had of the same issuer, as after a reload.
    pub(super) fn take_over(&self, other: &Self) {
        if self.issuer == other.issuer && self.source == other.source {
            self.current.store(other.current.load_full());
        }
    }

    /// Says whether there are new keys.
    async fn fetch(&self) -> bool {
        match self.try_fetch().await {
            Ok(()) => true,
            Err(error) => {
                let issuer = &*self.issuer;
                let has_keys = self.current().is_some();
                tracing::warn!(issuer, %error, has_keys, "the keys of an issuer could not be fetched");
                false
            }
        }
    }

    async fn try_fetch(&self) -> Result<(), Failed> {
        let document = self.document().await?;
        let known = self.current.load_full();
        // The same keys stay the same, and what was checked by them stays checked.
        let known = known.filter(|known| known.document == document);
        let set = match known {
            Some(known) => Arc::clone(&known.set),
            None => Arc::new(KeySet::read(&document)?),
        };
        self.current.store(Some(Arc::new(Fetched {
            set,
            document,
            at: Instant::now(),
        })));
        Ok(())
    }

    async fn document(&self) -> Result<Vec<u8>, Failed> {
        match &self.source {
            Source::File(path) => {
                let document = tokio::fs::read(path).await?;
                if document.len() > fetch::MAX_DOCUMENT {
                    return Err(Failed::TooLarge);
                }
                Ok(document)
            }
            Source::Url(url) => Ok(self.fetcher.get(url).await?),
            Source::Discovery => Ok(self.fetcher.get(&self.discover().await?).await?),
        }
    }

    /// Where the issuer says that its keys are.
    async fn discover(&self) -> Result<Url, Failed> {
        let mut failed = Failed::Metadata("its identifier is no URL");
        for url in metadata_urls(&self.issuer) {
            match self.fetcher.get(&url).await {
                Ok(document) => return keys_of(&document, &self.issuer),
                Err(error) => failed = error.into(),
            }
        }
        Err(failed)
    }
}

fn keys_of(metadata: &[u8], issuer: &str) -> Result<Url, Failed> {
    let metadata: Metadata = serde_json::from_slice(metadata)
        .map_err(|_| Failed::Metadata("it has no `issuer` or no `jwks_uri`"))?;
    // Else somebody else vouches for the keys (RFC 8414, section 3.3).
    if metadata.issuer != issuer {
        return Err(Failed::Metadata("it is that of another issuer"));
    }
    let keys = Url::parse(&metadata.jwks_uri).ok();
    let keys = keys.ok_or(Failed::Metadata("its `jwks_uri` is no URL"))?;
    if !fetch::is_safe(&keys) {
        return Err(Failed::Metadata("its `jwks_uri` is not encrypted"));
    }
    Ok(keys)
}

/// Where the metadata of an issuer is: by RFC 8414, section 3.1, then by `OpenID` Connect Discovery.
fn metadata_urls(issuer: &str) -> Vec<Url> {
    let Ok(issuer) = Url::parse(issuer) else {
        return Vec::new();
    };
    let path = issuer.path().trim_end_matches('/');
    let inserted = |name: &str| format!("/.well-known/{name}{path}");
    let mut paths = vec![
        inserted("oauth-authorization-server"),
        inserted("openid-configuration"),
    ];
    if !path.is_empty() {
        paths.push(format!("{path}/.well-known/openid-configuration"));
    }
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    paths.into_iter().map(at).collect()
}

/// Between 0.9 and 1.1, so that many servers do not ask at once.
fn jitter() -> f64 {
    let mut random = [0; 1];
    let random = getrandom::fill(&mut random).map_or(0.5, |()| f64::from(random[0]) / 255.0);
    0.9 + random / 5.0
}
