//! Empty folders of calls that are over, for the next ones of the same principal.
//!
//! On a disk it takes ten times as long, and often a hundred times, to make a folder and to remove it
//! as to rename one: a journal has to be written, and some file systems pass over all that was removed
//! in the last seconds. So a folder that is found as it was made gets a new name, which the call that it
//! was of cannot have told anybody, and becomes that of a later call. What an earlier call has left
//! running unseen may still be in it, so that nobody gets the folder of somebody else. Nothing is kept
//! for long.

use std::io;

use parking_lot::Mutex;
use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Folder, PRIVATE_FOLDER};
use crate::auth::Principal;

/// The most folders that wait: more calls at once make their own.
const MAX_SPARES: usize = 64;

/// Empty folders that no call uses.
#[derive(Debug, Default)]
pub(in super::super) struct Spares(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    folders: Vec<(Principal, Folder)>,
    /// How many of them, from the first, were not needed since they were last looked at.
    unneeded: usize,
}

impl State {
    fn has_room(&self) -> bool {
        self.folders.len() < MAX_SPARES
    }
}

impl Spares {
    /// One of this principal.
    pub(super) fn take(&self, principal: &Principal) -> Option<Folder> {
        let mut state = self.0.lock();
        let newest = (state.folders.iter()).rposition(|(of, _)| of == principal)?;
        if newest < state.unneeded {
            state.unneeded -= 1;
        }
        Some(state.folders.remove(newest).1)
    }

    /// Whether another one would be kept.
    pub(super) fn has_room(&self) -> bool {
        self.0.lock().has_room()
    }

    /// Keeps a folder for this principal; returns it if there are enough.
    pub(super) fn keep(&self, principal: Principal, folder: Folder) -> Option<Folder> {
        let mut state = self.0.lock();
        if !state.has_room() {
            return Some(folder);
        }
        state.folders.push((principal, folder));
        None
    }

    /// Those that were not needed since this was called last. Dropping them removes them.
    pub(in super::super) fn unneeded(&self) -> Vec<Folder> {
        let mut state = self.0.lock();
        let unneeded = state.unneeded;
        let unneeded = state.folders.drain(..unneeded);
        let unneeded = unneeded.map(|(_, folder)| folder).collect();
        state.unneeded = state.folders.len();
        unneeded
    }
}

/// True for an empty folder that only the server's user may enter, without any mark of a program.
pub(super) fn is_as_made(folder: &Folder) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&folder.path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&opened)?;
    let is_private = stat.st_mode == FileType::Directory.as_raw_mode() | PRIVATE_FOLDER;
    let is_ours = stat.st_uid == rustix::process::geteuid().as_raw();
    // Among them are rules for the rights of new files.
    let has_attributes = match rustix::fs::flistxattr_query(&opened) {
        Ok(bytes) => bytes > 0,
        Err(Errno::NOTSUP) => false,
        Err(error) => return Err(error.into()),
    };
    if !is_private || !is_ours || has_attributes {
        return Ok(false);
    }
    for entry in Dir::new(opened)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    use crate::auth::Issuer;

    fn folder(path: &Path) -> Folder {
        Folder::new(path).unwrap()
    }

    fn user(name: &str) -> Principal {
        Principal::user(Issuer::AuthFile, name, None)
    }

    fn keep(spares: &Spares, folder: Folder) {
        assert!(spares.keep(user("alice"), folder).is_none());
    }

    fn take(spares: &Spares) -> Option<Folder> {
        spares.take(&user("alice"))
    }

    #[test]
    fn a_spare_folder_is_kept_as_long_as_it_is_needed() {
        let parent = tempfile::tempdir().unwrap();
        let count = || fs::read_dir(parent.path()).unwrap().count();
        let spares = Spares::default();
        for _ in 0..3 {
            keep(&spares, folder(parent.path()));
        }
        assert_eq!(spares.unneeded().len(), 0, "they are young");
        let (first, second) = (take(&spares), take(&spares));
        assert!(first.is_some() && second.is_some());
        keep(&spares, second.unwrap());
        assert_eq!(spares.unneeded().len(), 1, "two at once were needed");
        assert_eq!(count(), 2);
        assert_eq!(spares.unneeded().len(), 1, "nobody needs it any more");
        drop(first);
        assert_eq!(count(), 0);
    }

    #[test]
    fn nobody_gets_the_folder_of_somebody_else() {
        let parent = tempfile::tempdir().unwrap();
        let spares = Spares::default();
        for name in ["alice", "bob", "carol"] {
            let folder = folder(parent.path());
            assert!(spares.keep(user(name), folder).is_none());
        }
        assert!(spares.take(&user("dave")).is_none());
        assert!(spares.take(&user("bob")).is_some());
        assert!(spares.take(&user("bob")).is_none());
        assert_eq!(spares.unneeded().len(), 0);
        assert!(spares.take(&user("alice")).is_some());
        assert_eq!(spares.unneeded().len(), 1, "that of carol");
    }

    #[test]
    fn there_are_only_so_many_spare_folders_and_they_go_with_the_server() {
        let parent = tempfile::tempdir().unwrap();
        let count = || fs::read_dir(parent.path()).unwrap().count();
        let spares = Spares::default();
        for _ in 0..MAX_SPARES {
            keep(&spares, folder(parent.path()));
        }
        let superfluous = spares.keep(user("alice"), folder(parent.path()));
        assert!(superfluous.is_some());
        drop(superfluous);
        assert_eq!(count(), MAX_SPARES);
        drop(spares);
        assert_eq!(count(), 0);
    }
}
