//! Watches the files behind resources, as long as somebody is subscribed to them, and those of the
//! definitions.
//!
//! Not the file is watched but its folder, and that of what a link points to: a file that is
//! replaced is another file, and a mounted `ConfigMap` changes by one rename in its folder. What
//! happens in a folder is only the occasion to look whether one of its files is another than before.

mod inputs;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::changes::{Change, Changes, Source};

pub use inputs::Snapshot;

/// How long is waited for more to happen before the files are looked at.
pub const DEBOUNCE: Duration = Duration::from_millis(100);

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
    watched: Mutex<Watched>,
    warned: AtomicBool,
}

#[derive(Debug, Default)]
struct Watched {
    /// The file of each resource.
    paths: HashMap<String, PathBuf>,
    /// The resources that somebody is subscribed to, whether they have files or not.
    subscribed: HashSet<String>,
    files: HashMap<String, Seen>,
    /// The numbers of the watched folders, by their names.
    folders: HashMap<PathBuf, i32>,
}

/// A file that somebody is subscribed to, as it was when it was last looked at.
#[derive(Debug)]
struct Seen {
    identity: Option<Identity>,
    folders: BTreeSet<PathBuf>,
}

/// What differs if a file was written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Files {
    /// Watches nothing yet. Call it inside the runtime.
    pub fn new(paths: HashMap<String, PathBuf>) -> Self {
        let watched = Watched {
            paths,
            ..Watched::default()
        };
        let inner = Inner {
            inotify: None,
            watched: Mutex::new(watched),
            warned: AtomicBool::new(false),
        };
        let inotify = open().map_err(|error| inner.warn(error)).ok();
        Self(Arc::new(Inner { inotify, ..inner }))
    }

    /// Watches these files from now on. Returns the resources, among those that somebody is
    /// subscribed to, whose file is another one than before.
    pub fn follow(&self, paths: HashMap<String, PathBuf>) -> Vec<String> {
        let mut watched = self.0.watched.lock();
        let before = std::mem::replace(&mut watched.paths, paths);
        let subscribed: Vec<_> = watched.subscribed.iter().cloned().collect();
        let moved = |uri: &String| watched.paths.get(uri) != before.get(uri);
        let moved: Vec<_> = subscribed.into_iter().filter(moved).collect();
        for uri in &moved {
            watched.files.remove(uri);
            self.0.watch(&mut watched, uri);
        }
        self.0.leave_folders(&mut watched);
        moved
    }

    /// How many folders are watched.
    pub fn folders(&self) -> usize {
        self.0.watched.lock().folders.len()
    }

    /// Announces which files have changed, until `closing`.
    pub async fn run(self, changes: Changes, closing: CancellationToken) {
        let Some(inotify) = &self.0.inotify else {
            return;
        };
        let watching = async {
            loop {
                match inotify.readable().await {
                    Ok(mut ready) => ready.clear_ready(),
                    Err(error) => return self.0.warn(error),
                }
                sleep(DEBOUNCE).await;
                drain(inotify.get_ref());
                for uri in self.0.changed() {
                    changes.announce(Change::Resource(uri.into()));
                }
            }
        };
        closing.run_until_cancelled(watching).await;
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
        let mut watched = self.0.watched.lock();
        watched.subscribed.insert(uri.to_owned());
        self.0.watch(&mut watched, uri);
    }

    fn unwatch(&self, uri: &str) {
        let mut watched = self.0.watched.lock();
        watched.subscribed.remove(uri);
        if watched.files.remove(uri).is_some() {
            self.0.leave_folders(&mut watched);
        }
    }
}

impl Inner {
    /// Watches the file of a resource, if it has one.
    fn watch(&self, watched: &mut Watched, uri: &str) {
        let path = watched.paths.get(uri).cloned();
        let Some((path, inotify)) = path.zip(self.inotify.as_ref()) else {
            return;
        };
        let folders = folders_of(&path);
        for folder in &folders {
            self.watch_folder(watched, folder, inotify.get_ref());
        }
        // After the folders are watched, so that no change is missed.
        let identity = identity(&path);
        watched
            .files
            .insert(uri.to_owned(), Seen { identity, folders });
    }

    fn watch_folder(&self, watched: &mut Watched, folder: &Path, inotify: &OwnedFd) {
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

    /// Looks at every watched file, and returns those that are others than before.
    fn changed(&self) -> Vec<String> {
        let Some(inotify) = &self.inotify else {
            return Vec::new();
        };
        let mut watched = self.watched.lock();
        let mut changed = Vec::new();
        let mut files = std::mem::take(&mut watched.files);
        for (uri, seen) in &mut files {
            let Some(path) = watched.paths.get(uri).cloned() else {
                continue;
            };
            seen.folders = folders_of(&path);
            for folder in &seen.folders {
                self.watch_folder(&mut watched, folder, inotify.get_ref());
            }
            let now = identity(&path);
            if now != seen.identity {
                seen.identity = now;
                changed.push(uri.clone());
            }
        }
        watched.files = files;
        self.leave_folders(&mut watched);
        changed
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

/// What a file is now; `None` if there is none.
fn identity(path: &Path) -> Option<Identity> {
    let file = fs::metadata(path).ok()?;
    Some(Identity {
        device: file.dev(),
        inode: file.ino(),
        size: file.size(),
        modified: (file.mtime(), file.mtime_nsec()),
        changed: (file.ctime(), file.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests;
