//! The keys of an issuer, from its server or from a file, kept while they are good.

mod discovery;
#[cfg(test)]
pub(super) mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
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
/// How long a request waits at most for a fetch that may bring its key.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// In a file that was read.
    File(Document),
    /// At an address.
    Url(Url),
    /// Where the metadata of the issuer says.
    Discovery,
}

/// For those who run the server.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(_) => f.write_str("a file"),
            Self::Url(url) => url.fmt(f),
            Self::Discovery => f.write_str("where its metadata says"),
        }
    }
}

/// A JSON Web Key Set, as it was read.
#[derive(Debug, Clone)]
pub(super) struct Document {
    bytes: Vec<u8>,
    set: Arc<KeySet>,
}

/// The keys of one issuer. Somebody has to [`keep`](Self::keep) them.
#[derive(Debug)]
pub(super) struct Keys {
    issuer: Arc<str>,
    source: Source,
    fetcher: Fetcher,
    current: ArcSwapOption<Fetched>,
    fetches: watch::Sender<Fetches>,
    /// Somebody needs newer keys.
    asked: Notify,
}

#[derive(Debug)]
struct Fetched {
    document: Document,
    /// `None` for those that never become old.
    at: Option<Instant>,
}

/// What was fetched so far.
#[derive(Debug, Clone, Copy, Default)]
struct Fetches {
    /// When the last one began.
    began: Option<Instant>,
    is_running: bool,
    has_failed: bool,
}

/// Why there are no newer keys.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    KeySet(#[from] KeySetError),
    #[error("the metadata of the issuer is not usable: {0}")]
    Metadata(&'static str),
}

impl Document {
    pub(super) fn read(bytes: Vec<u8>) -> Result<Self, KeySetError> {
        let set = Arc::new(KeySet::read(&bytes)?);
        Ok(Self { bytes, set })
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Document {}

impl Fetches {
    /// Whether a fetch may begin.
    fn has_cooled_down(&self) -> bool {
        self.began.is_none_or(|began| began.elapsed() >= COOLDOWN)
    }

    /// When the next one begins if nobody asks for it.
    fn next(&self) -> Instant {
        let pause = if self.has_failed { COOLDOWN } else { REFRESH };
        let began = self.began.map(|began| began + pause.mul_f64(jitter()));
        began.unwrap_or_else(Instant::now)
    }
}

impl Keys {
    /// There are none yet, unless they are in a file.
    pub(super) fn new(issuer: Arc<str>, source: Source, fetcher: Fetcher) -> Self {
        let known = match &source {
            Source::File(document) => Some(Fetched {
                document: document.clone(),
                at: None,
            }),
            Source::Url(_) | Source::Discovery => None,
        };
        Self {
            issuer,
            source,
            fetcher,
            current: ArcSwapOption::from_pointee(known),
            fetches: watch::Sender::default(),
            asked: Notify::new(),
        }
    }

    /// The keys, unless there were none for too long.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        self.if_good(|fetched| Arc::clone(&fetched.document.set))
    }

    /// Whether these are the keys still.
    pub(super) fn are(&self, known: &Arc<KeySet>) -> bool {
        self.if_good(|fetched| Arc::ptr_eq(&fetched.document.set, known)) == Some(true)
    }

    fn if_good<T>(&self, look: impl FnOnce(&Fetched) -> T) -> Option<T> {
        let current = self.current.load();
        let fetched = current.as_ref()?;
        let is_good = fetched.at.is_none_or(|at| at.elapsed() < MAX_STALE);
        is_good.then(|| look(fetched))
    }

    /// Whether the last fetch failed, so that there may be keys which are not known here.
    pub(super) fn may_be_old(&self) -> bool {
        self.fetches.borrow().has_failed
    }

    /// The keys after a look for newer ones than `known`, which does not have the one that is wanted.
    /// All who ask wait for one fetch, and who comes within the [`COOLDOWN`] gets what there is.
    pub(super) async fn newer_than(&self, known: Option<&Arc<KeySet>>) -> Option<Arc<KeySet>> {
        // Before the look, so that no keys are missed that come after it.
        let mut fetches = self.fetches.subscribe();
        let then = *fetches.borrow_and_update();
        let current = self.current();
        let is_newer = match (&current, known) {
            (Some(current), Some(known)) => !Arc::ptr_eq(current, known),
            (current, _) => current.is_some(),
        };
        if is_newer || self.is_fixed() || !(then.is_running || then.has_cooled_down()) {
            return current;
        }
        if !then.is_running {
            self.asked.notify_one();
        }
        let ended =
            fetches.wait_for(|now| !now.is_running && (then.is_running || now.began != then.began));
        // Who waits for too long does with what there is.
        timeout(MAX_WAIT, ended).await.ok();
        self.current()
    }

    /// Fetches the keys now and then, and when somebody needs newer ones, for ever.
    pub(super) async fn keep(&self) {
        match &self.source {
            // It does not change: a file with other keys is another source.
            Source::File(_) => std::future::pending().await,
            Source::Url(url) => self.keep_by(|| self.fetch(url)).await,
            Source::Discovery => self.keep_by(|| self.discover()).await,
        }
    }

    async fn keep_by<F: Future<Output = Result<Vec<u8>, Failed>>>(&self, fetch: impl Fn() -> F) {
        loop {
            let next = self.fetches.borrow().next();
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.is_asked() => {}
            }
            self.fetches.send_modify(|fetches| {
                fetches.began = Some(Instant::now());
                fetches.is_running = true;
            });
            let taken = fetch().await.and_then(|bytes| self.take(bytes));
            fetch::count_keys(&taken);
            if let Err(error) = &taken {
                let issuer = &*self.issuer;
                let has_keys = self.current().is_some();
                tracing::warn!(issuer, %error, has_keys, "the keys of an issuer could not be fetched");
            }
            self.fetches.send_modify(|fetches| {
                fetches.has_failed = taken.is_err();
                fetches.is_running = false;
            });
        }
    }

    async fn is_asked(&self) {
        loop {
            self.asked.notified().await;
            if self.fetches.borrow().has_cooled_down() {
                return;
            }
        }
    }

    fn is_fixed(&self) -> bool {
        matches!(self.source, Source::File(_))
    }

    async fn fetch(&self, url: &Url) -> Result<Vec<u8>, Failed> {
        Ok(self.fetcher.get(url).await?)
    }

    async fn discover(&self) -> Result<Vec<u8>, Failed> {
        let url = discovery::keys_of(&self.issuer, &self.fetcher).await?;
        self.fetch(&url).await
    }

    /// Goes on with the keys of a document.
    fn take(&self, bytes: Vec<u8>) -> Result<(), Failed> {
        let known = self.current.load_full();
        // The same keys stay the same, and what was checked by them stays checked.
        let known = known.filter(|known| known.document.bytes == bytes);
        let document = if let Some(known) = known {
            known.document.clone()
        } else {
            let document = Document::read(bytes)?;
            tracing::info!(issuer = &*self.issuer, "the issuer has new keys");
            document
        };
        self.current.store(Some(Arc::new(Fetched {
            document,
            at: Some(Instant::now()),
        })));
        Ok(())
    }
}

/// Between 1 and 1.2, so that many servers do not ask at once, and none too early.
fn jitter() -> f64 {
    let mut random = [0; 1];
    let random = getrandom::fill(&mut random).map_or(0.5, |()| f64::from(random[0]) / 255.0);
    1.0 + random / 5.0
}
