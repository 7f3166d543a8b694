//! Notices when files that were read are others than before.
//!
//! inotify says when to look, and a look every few seconds finds what it cannot see, such as a
//! change on another machine. Each wait watches with a descriptor of its own, so that no watch
//! outlives what it was for. Files are only touched on threads that may block.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tokio::time::{sleep, timeout};

use super::{DEBOUNCE, OCCASIONS, drain, folders_of, open};
use crate::snapshot::Snapshot;

/// How often is looked without an occasion.
const POLL: Duration = Duration::from_secs(10);

/// How many looks are waited at most for a burst of changes to end, [`DEBOUNCE`] apart: two seconds.
const MAX_LOOKS: usize = 20;

/// Waits until something is not as it was `seen`, and for a burst of changes to end. Returns what is
/// there then.
///
/// # Cancel safety
///
/// Nothing is lost if this is dropped: a change is one to the next who waits as well.
pub async fn changed(seen: &Snapshot) -> Snapshot {
    let inotify = open().map(Arc::new);
    if let Err(error) = &inotify {
        tracing::debug!(%error, "changes of the definitions are noticed late");
    }
    let inotify = inotify.ok();
    let mut now = look(seen, inotify.clone()).await;
    while now == *seen {
        occasion(inotify.as_deref()).await;
        now = look(seen, inotify.clone()).await;
    }
    for _ in 0..MAX_LOOKS {
        sleep(DEBOUNCE).await;
        let before = now;
        now = look(seen, inotify.clone()).await;
        if now == before {
            break;
        }
    }
    now
}

/// Looks, with every folder watched in which something could change after that.
async fn look(seen: &Snapshot, inotify: Option<Arc<AsyncFd<OwnedFd>>>) -> Snapshot {
    let last = seen.clone();
    let looking = tokio::task::spawn_blocking(move || {
        if let Some(inotify) = inotify {
            watch(inotify.get_ref(), last.paths());
        }
        last.again()
    });
    // It fails only where the runtime ends.
    looking.await.unwrap_or_else(|_| seen.clone())
}

fn watch<'a>(inotify: &OwnedFd, paths: impl Iterator<Item = &'a Path>) {
    let mut folders = BTreeSet::new();
    for path in paths {
        folders.extend(folders_of(path));
        if path.is_dir() {
            folders.insert(path.to_owned());
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
