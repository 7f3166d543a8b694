//! Watches the files behind resources, as long as somebody is subscribed to them, and those of the
//! definitions.
//!
//! Not the file is watched but its folder, and that of what a link points to: a file that is
//! replaced is another file, and a mounted `ConfigMap` changes by one rename in its folder. What
//! happens in a folder is only the occasion to look whether one of its files is another than before.
//!
//! Files are touched on threads that may block, and with no lock held: a network mount that hangs
//! delays what is told of files, and nothing else.

mod inputs;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::changes::{Change, Changes, Source};
use crate::snapshot::Identity;

pub use inputs::changed;

/// How long is waited for more to happen before the files are looked at.
pub const DEBOUNCE: Duration = Duration::from_millis(100);

/// How long a client that subscribes waits at most for the file to be watched: long for a file
/// system that works, and short for a client.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// The most folders that are watched at once.
pub const MAX_FOLDERS: usize = 1000;

/// Room for what happened, in bytes: some thirty events with long names.
const BUFFER: usize = 8 << 10;

/// How many events are taken out at once: as many as the kernel holds, unless it was told
/// otherwise. More would come if somebody writes faster than we read.
const MAX_EVENTS: usize = 16 << 10;

/// What may mean that a file is another.
const OCCASIONS: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::ONLYDIR);

/// The files behind resources.
#[derive(Debug, Clone)]
pub struct Files(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` where there is no inotify.
    inotify: Option<AsyncFd<OwnedFd>>,
    wanted: Mutex<Wanted>,
    /// Something else is wanted than before.
    asked: Notify,
    looked: watch::Sender<Looked>,
    warned: AtomicBool,
}

/// What is to be watched.
#[derive(Debug, Default)]
struct Wanted {
    /// The file of each resource.
    paths: HashMap<String, PathBuf>,
    /// The resources that somebody is subscribed to, whether they have files or not.
    subscribed: HashSet<String>,
    /// How often it became something else.
    version: u64,
}

/// How far the looks at files have come.
#[derive(Debug, Default)]
struct Looked {
    /// The version of what was wanted at the last one.
    version: u64,
    /// How many folders are watched.
    folders: usize,
}

/// What is watched.
#[derive(Debug, Default)]
struct Watched {
    files: HashMap<String, Seen>,
    /// The numbers of the watched folders, by their names.
    folders: HashMap<PathBuf, i32>,
}

/// A file that somebody is subscribed to, as it was when it was last looked at.
#[derive(Debug)]
struct Seen {
    path: PathBuf,
    identity: Option<Identity>,
    folders: BTreeSet<PathBuf>,
}

/// Which files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Those that are not watched yet.
    Fresh,
    All,
}

impl Wanted {
    /// The files of the resources that somebody is subscribed to.
    fn files(&self) -> HashMap<String, PathBuf> {
        let paths = self.paths.iter();
        let wanted = paths.filter(|(uri, _)| self.subscribed.contains(*uri));
        wanted
            .map(|(uri, path)| (uri.clone(), path.clone()))
            .collect()
    }
}

impl Files {
    /// Watches nothing yet. Call it inside the runtime.
    pub fn new(paths: HashMap<String, PathBuf>) -> Self {
        let wanted = Wanted {
            paths,
            ..Wanted::default()
        };
        let inner = Inner {
            inotify: None,
            wanted: Mutex::new(wanted),
            asked: Notify::new(),
            looked: watch::Sender::default(),
            warned: AtomicBool::new(false),
        };
        let inotify = open().map_err(|error| inner.warn(error)).ok();
        Self(Arc::new(Inner { inotify, ..inner }))
    }

    /// Watches these files from now on. Returns the resources, among those that somebody is
    /// subscribed to, whose file is another one than before.
    pub fn follow(&self, paths: HashMap<String, PathBuf>) -> Vec<String> {
        let mut wanted = self.0.wanted.lock();
        let before = std::mem::replace(&mut wanted.paths, paths);
        let moved = |uri: &&String| wanted.paths.get(*uri) != before.get(*uri);
        let moved: Vec<_> = wanted.subscribed.iter().filter(moved).cloned().collect();
        self.0.ask(&mut wanted);
        moved
    }

    /// How many folders are watched.
    pub fn folders(&self) -> usize {
        self.0.looked.borrow().folders
    }

    /// Announces which files have changed, until `closing`.
    pub async fn run(self, changes: Changes, closing: CancellationToken) {
        closing.run_until_cancelled(self.0.run(&changes)).await;
        // Nobody waits any more for what is not looked at.
        self.0.is_done();
    }
}

fn open() -> std::io::Result<AsyncFd<OwnedFd>> {
    let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    #[expect(
        deprecated,
        reason = "sound for an OwnedFd, and its successor needs an unsafe block"
    )]
    AsyncFd::with_interest(inotify, Interest::READABLE)
}

/// Takes what happened out. What it was does not matter: the files tell.
fn drain(inotify: &OwnedFd) {
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut events = inotify::Reader::new(inotify, &mut buffer);
    for _ in 0..MAX_EVENTS {
        if !matches!(events.next(), Ok(_) | Err(Errno::INTR)) {
            return;
        }
    }
}

impl Source for Files {
    fn watch(&self, uri: &str) {
        let mut wanted = self.0.wanted.lock();
        wanted.subscribed.insert(uri.to_owned());
        if wanted.paths.contains_key(uri) {
            self.0.ask(&mut wanted);
        }
    }

    fn unwatch(&self, uri: &str) {
        let mut wanted = self.0.wanted.lock();
        wanted.subscribed.remove(uri);
        if wanted.paths.contains_key(uri) {
            self.0.ask(&mut wanted);
        }
    }

    fn settled(&self) -> BoxFuture<'static, ()> {
        let version = self.0.wanted.lock().version;
        let mut looked = self.0.looked.subscribe();
        Box::pin(async move {
            let reached = looked.wait_for(|looked| looked.version >= version);
            // Later is late, and better than never.
            timeout(SETTLE_TIMEOUT, reached).await.ok();
        })
    }
}

impl Inner {
    /// Has what is wanted looked at.
    fn ask(&self, wanted: &mut Wanted) {
        wanted.version += 1;
        self.asked.notify_one();
    }

    async fn run(self: &Arc<Self>, changes: &Changes) {
        let Some(inotify) = &self.inotify else {
            return;
        };
        let mut watched = Watched::default();
        loop {
            let what = tokio::select! {
                ready = inotify.readable() => {
                    match ready {
                        Ok(mut ready) => ready.clear_ready(),
                        Err(error) => return self.warn(error),
                    }
                    sleep(DEBOUNCE).await;
                    drain(inotify.get_ref());
                    Look::All
                }
                () = self.asked.notified() => Look::Fresh,
            };
            let inner = Arc::clone(self);
            let looking = tokio::task::spawn_blocking(move || {
                let updated = inner.look(&mut watched, what);
                (watched, updated)
            });
            let updated;
            (watched, updated) = match looking.await {
                Ok(looked) => looked,
                Err(error) => return self.warn(error),
            };
            for uri in updated {
                changes.announce(Change::Resource(uri.into()));
            }
        }
    }

    /// Nothing is watched any more.
    fn is_done(&self) {
        self.looked.send_replace(Looked {
            version: u64::MAX,
            folders: 0,
        });
    }

    /// Watches what is wanted by now, looks at it, and returns the resources whose files are others
    /// than before. Blocks.
    fn look(&self, watched: &mut Watched, what: Look) -> Vec<String> {
        let (wanted, version) = {
            let wanted = self.wanted.lock();
            (wanted.files(), wanted.version)
        };
        let is_wanted = |uri: &String, seen: &mut Seen| wanted.get(uri) == Some(&seen.path);
        watched.files.retain(is_wanted);
        let mut changed = Vec::new();
        for (uri, path) in wanted {
            let before = watched.files.get(&uri).map(|seen| seen.identity);
            if before.is_some() && what == Look::Fresh {
                continue;
            }
            let seen = self.see(path, watched);
            if before.is_some_and(|before| before != seen.identity) {
                changed.push(uri.clone());
            }
            watched.files.insert(uri, seen);
        }
        self.leave_folders(watched);
        let folders = watched.folders.len();
        self.looked.send_replace(Looked { version, folders });
        changed
    }

    /// Watches a file, and looks at it after that, so that no change is missed.
    fn see(&self, path: PathBuf, watched: &mut Watched) -> Seen {
        let folders = folders_of(&path);
        for folder in &folders {
            self.watch_folder(watched, folder);
        }
        Seen {
            identity: Identity::of(&path),
            folders,
            path,
        }
    }

    fn watch_folder(&self, watched: &mut Watched, folder: &Path) {
        let Some(inotify) = &self.inotify else { return };
        let is_known = watched.folders.contains_key(folder);
        if !is_known && watched.folders.len() >= MAX_FOLDERS {
            return self.warn(format!("more than {MAX_FOLDERS} folders hold their files"));
        }
        // Once more does no harm, and finds a folder again that was replaced.
        match inotify::add_watch(inotify, folder, OCCASIONS) {
            Ok(number) => {
                let before = watched.folders.insert(folder.to_owned(), number);
                let is_left = |before: &i32| !watched.folders.values().any(|other| other == before);
                if let Some(before) = before.filter(is_left) {
                    // The folder was renamed, and another one has its name. It is gone already if
                    // the folder is.
                    inotify::remove_watch(inotify, before).ok();
                }
            }
            Err(error) => self.warn(format!("{}: {error}", folder.display())),
        }
    }

    /// Leaves the folders in which no file is watched any more.
    fn leave_folders(&self, watched: &mut Watched) {
        let Watched { files, folders, .. } = watched;
        let needed: BTreeSet<_> = files.values().flat_map(|seen| &seen.folders).collect();
        let mut left = Vec::new();
        folders.retain(|folder, number| {
            let stays = needed.contains(folder);
            if !stays {
                left.push(*number);
            }
            stays
        });
        let Some(inotify) = &self.inotify else { return };
        for number in left {
            // Two names of one folder have one number.
            if !folders.values().any(|other| *other == number) {
                // It is gone already if the folder is.
                inotify::remove_watch(inotify.get_ref(), number).ok();
            }
        }
    }

    /// Says once that changes may go unnoticed.
    fn warn(&self, reason: impl std::fmt::Display) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %reason,
                "clients are not told of every change of a resource's file: it cannot be watched"
            );
        }
    }
}

/// The folders in which a file can be replaced: its own, those of the links on the way to it, and
/// that of what they lead to.
fn folders_of(path: &Path) -> BTreeSet<PathBuf> {
    let folder = |path: &Path| match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut folders = BTreeSet::from([folder(path)]);
    let links = path.ancestors().filter(|part| part.is_symlink());
    folders.extend(links.map(folder));
    if let Ok(target) = fs::canonicalize(path) {
        folders.insert(folder(&target));
    }
    folders
}

#[cfg(test)]
mod tests;
