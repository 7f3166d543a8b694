//! Notices when files that were read are others than before.
//!
//! inotify says when to look, and a look every few seconds finds what it cannot see, such as a
//! change on another machine. Each wait watches with a descriptor of its own, so that no watch
//! outlives what it was for. Files are only touched on threads that may block.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tokio::time::{sleep, timeout};

use super::{DEBOUNCE, Identity, OCCASIONS, drain, folders_of, identity, open};

/// How often is looked without an occasion.
const POLL: Duration = Duration::from_secs(10);

/// How many looks are waited at most for a burst of changes to end, [`DEBOUNCE`] apart: two seconds.
const MAX_LOOKS: usize = 20;

/// What files and folders were at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<PathBuf, Option<Identity>>);

impl Snapshot {
    /// Looks now. Blocks.
    pub fn of(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let seen = paths.into_iter().map(|path| {
            let identity = identity(&path);
            (path, identity)
        });
        Self(seen.collect())
    }

    /// What was looked at.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.0.keys().cloned()
    }

    /// The same paths now. Blocks.
    fn again(&self) -> Self {
        Self::of(self.paths())
    }

    /// The same paths, each as it was earlier if that is known: what changed in between counts as
    /// changed since.
    #[must_use]
    pub fn since(mut self, earlier: &Self) -> Self {
        for (path, identity) in &mut self.0 {
            if let Some(before) = earlier.0.get(path) {
                *identity = *before;
            }
        }
        self
    }

    /// Waits until something is not as it was, and for a burst of changes to end.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if this is dropped: a change is one to the next who waits as well.
    pub async fn changed(&self) {
        let inotify = open().map(Arc::new);
        if let Err(error) = &inotify {
            tracing::debug!(%error, "changes of the definitions are noticed late");
        }
        let inotify = inotify.ok();
        let mut now = self.look(inotify.clone()).await;
        while now == *self {
            occasion(inotify.as_deref()).await;
            now = self.look(inotify.clone()).await;
        }
        for _ in 0..MAX_LOOKS {
            sleep(DEBOUNCE).await;
            let before = now;
            now = self.look(inotify.clone()).await;
            if now == before {
                return;
            }
        }
    }

    /// Looks, with every folder watched in which something could change after that.
    async fn look(&self, inotify: Option<Arc<AsyncFd<OwnedFd>>>) -> Self {
        let last = self.clone();
        let looking = tokio::task::spawn_blocking(move || {
            if let Some(inotify) = inotify {
                watch(inotify.get_ref(), last.0.keys());
            }
            last.again()
        });
        // It fails only where the runtime ends.
        looking.await.unwrap_or_else(|_| self.clone())
    }
}

fn watch<'a>(inotify: &OwnedFd, paths: impl Iterator<Item = &'a PathBuf>) {
    let mut folders = BTreeSet::new();
    for path in paths {
        folders.extend(folders_of(path));
        if path.is_dir() {
            folders.insert(path.clone());
        }
    }
    for folder in folders {
        watch_folder(inotify, &folder);
    }
}

fn watch_folder(inotify: &OwnedFd, folder: &Path) {
    if let Err(error) = inotify::add_watch(inotify, folder, OCCASIONS) {
        tracing::debug!(%error, folder = %folder.display(), "cannot be watched");
    }
}

/// Waits for something to happen in a watched folder, or for the time of another look.
async fn occasion(inotify: Option<&AsyncFd<OwnedFd>>) {
    let Some(inotify) = inotify else {
        return sleep(POLL).await;
    };
    // A descriptor that fails leaves the looks without an occasion.
    if let Ok(Ok(mut ready)) = timeout(POLL, inotify.readable()).await {
        ready.clear_ready();
    }
    sleep(DEBOUNCE).await;
    drain(inotify.get_ref());
}
