//! The folder of a call: private, made before its process starts and removed after its end.

mod removal;
mod spares;

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::RenameFlags;

use crate::auth::Principal;
use crate::catalog::{CallFolder, Command};
pub(super) use spares::Spares;

/// Nobody but the server's user may enter.
const PRIVATE_FOLDER: u32 = 0o700;
/// Nobody but the server's user may read or write.
const PRIVATE_FILE: u32 = 0o600;

/// The folder of a call that is over.
#[derive(Debug)]
pub(super) enum Ended {
    /// A later call may have it.
    Spare(Folder),
    /// It was empty, and is removed.
    Gone,
    /// There is something in it.
    Full(Folder),
}

/// The folder of a call. It is removed with what is in it when this is dropped, which blocks.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    workdir: PathBuf,
    /// Where it goes after the call, and for whom, if another call may have it.
    spares: Option<(Arc<Spares>, Principal)>,
    is_gone: bool,
}

impl Folder {
    /// The empty folder of a call without files; `None` if it runs elsewhere.
    pub(super) fn empty(
        command: &Command,
        spares: &Arc<Spares>,
        principal: &Principal,
    ) -> io::Result<Option<Self>> {
        let parent = std::env::temp_dir();
        // What is confined has no other place to write to, and shares that with no other call.
        if command.sandbox.is_some() {
            return Self::new(&parent).map(Some);
        }
        if command.workdir.is_some() {
            return Ok(None);
        }
        // Somebody may have tidied up meanwhile.
        let spare = spares.take(principal);
        let spare = spare.filter(Self::is_there);
        let mut folder = spare.map_or_else(|| Self::new(&parent), Ok)?;
        folder.spares = Some((Arc::clone(spares), principal.clone()));
        Ok(Some(folder))
    }

    /// A folder with the files of a call, which take time to write.
    pub(super) fn filled(folder: &CallFolder) -> io::Result<Self> {
        let made = Self::made(&folder.path, folder.files())?;
        make_folders(&made.workdir)?;
        for (name, text) in &folder.contents {
            write(&made.path.join(name), text)?;
        }
        Ok(made)
    }

    fn new(parent: &Path) -> io::Result<Self> {
        let path = CallFolder::new(parent).path;
        Self::made(&path, path.clone())
    }

    fn made(path: &Path, workdir: PathBuf) -> io::Result<Self> {
        let (parent, name) = (path.parent().zip(path.file_name()))
            .ok_or_else(|| io::Error::other("the folder of a call has no name"))?;
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(name).rand_bytes(0);
        let builder = builder.permissions(Permissions::from_mode(PRIVATE_FOLDER));
        Ok(Self {
            path: builder.tempdir_in(parent)?.keep(),
            workdir,
            spares: None,
            is_gone: false,
        })
    }

    /// Whether there is a folder in its place, and no link to one.
    fn is_there(&self) -> bool {
        let found = std::fs::symlink_metadata(&self.path);
        found.is_ok_and(|found| found.is_dir())
    }

    /// Gives the folder a name that nobody knows yet.
    fn rename(&mut self) -> io::Result<()> {
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        let path = CallFolder::new(parent).path;
        let here = rustix::fs::CWD;
        rustix::fs::renameat_with(here, &self.path, here, &path, RenameFlags::NOREPLACE)?;
        self.workdir.clone_from(&path);
        self.path = path;
        Ok(())
    }

    /// All of it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a process runs that has no other place.
    pub(super) fn workdir(&self) -> &Path {
        &self.workdir
    }

    /// Removes the folder of a call that is over if it is empty, as most are, unless a later call may have
    /// it.
    pub(super) fn ended(mut self) -> Ended {
        if self.spares.is_some() && spares::is_as_made(&self).unwrap_or(false) {
            return Ended::Spare(self);
        }
        self.is_gone = std::fs::remove_dir(&self.path).is_ok();
        if self.is_gone {
            Ended::Gone
        } else {
            Ended::Full(self)
        }
    }

    /// Leaves a spare folder to a later call, or removes it if there are enough.
    pub(super) async fn leave(self) {
        if let Some(superfluous) = self.keep() {
            superfluous.remove().await;
        }
    }

    /// Keeps a spare folder for a later call; returns it if there are enough.
    fn keep(mut self) -> Option<Self> {
        let spares = self.spares.take().filter(|(spares, _)| spares.has_room());
        let Some((spares, principal)) = spares else {
            return Some(self);
        };
        match self.rename() {
            Ok(()) => spares.keep(principal, self),
            Err(_) => Some(self),
        }
    }

    /// Removes the folder with what is in it, off the reactor.
    pub(super) async fn remove(self) {
        let removing = tokio::task::spawn_blocking(move || drop(self));
        // A panic was logged, and there is nothing else to tell.
        drop(removing.await);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_gone {
            return;
        }
        // Somebody may have tidied up meanwhile.
        if let Err(error) = removal::remove(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            let folder = self.path.display();
            tracing::warn!(%folder, %error, "the folder of a call could not be removed");
        }
    }
}

/// Writes a file that is not there yet: what stands in its place, a link too, is an error.
fn write(path: &Path, text: &str) -> io::Result<()> {
    path.parent().map_or(Ok(()), make_folders)?;
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(PRIVATE_FILE);
    options.open(path)?.write_all(text.as_bytes())
}

fn make_folders(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(PRIVATE_FOLDER).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call_folder(path: PathBuf, name: &str) -> CallFolder {
        CallFolder {
            path,
            contents: vec![(PathBuf::from(name), "text\n".to_owned())],
        }
    }

    #[test]
    fn files_are_private_and_go_with_their_folder() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("call");
        let folder = Folder::filled(&call_folder(path.clone(), "files/a/b.txt")).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let modes = ["", "files", "files/a", "files/a/b.txt"].map(|name| mode(&path.join(name)));
        assert_eq!(modes, [0o700, 0o700, 0o700, 0o600]);
        assert_eq!(folder.workdir(), path.join("files"));
        assert_eq!(
            std::fs::read_to_string(path.join("files/a/b.txt")).unwrap(),
            "text\n"
        );
        drop(folder);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn the_folder_of_a_call_that_is_over_gets_another_name() {
        let parent = tempfile::tempdir().unwrap();
        let spares = Arc::new(Spares::default());
        let mut folder = Folder::new(parent.path()).unwrap();
        folder.spares = Some((Arc::clone(&spares), Principal::Anonymous));
        let old = folder.path().to_owned();
        folder.leave().await;
        let folder = spares.take(&Principal::Anonymous).unwrap();
        assert!(folder.workdir().is_dir() && !old.exists());
        assert_eq!(folder.workdir(), folder.path());
        drop(folder);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_folder_that_no_call_will_need_is_removed_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        let spares = Arc::new(Spares::default());
        let spare = || {
            let mut folder = Folder::new(parent.path()).unwrap();
            folder.spares = Some((Arc::clone(&spares), Principal::Anonymous));
            folder
        };
        while spares.has_room() {
            spare().leave().await;
        }
        let folder = spare();
        let path = folder.path.clone();
        let folder = folder.keep().unwrap();
        assert_eq!(folder.path, path);
        assert!(path.exists());
        drop(folder);
        let folder = spare();
        let path = folder.path.clone();
        folder.leave().await;
        assert!(!path.exists());
    }

    #[test]
    fn a_spare_folder_that_somebody_tidied_up_is_no_place_for_a_call() {
        let parent = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let folder = Folder::new(parent.path()).unwrap();
        assert!(folder.is_there());
        std::fs::remove_dir(&folder.path).unwrap();
        assert!(!folder.is_there());
        std::os::unix::fs::symlink(elsewhere.path(), &folder.path).unwrap();
        assert!(!folder.is_there());
        assert!(elsewhere.path().exists());
    }

    type Change = fn(&Path, &Path);

    #[test]
    fn a_folder_that_a_call_has_changed_is_not_for_another() {
        let parent = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let cases: [(&str, Change, &str); 6] = [
            ("nothing", |_, _| (), "spare"),
            (
                "a file",
                |path, _| std::fs::write(path.join("x"), "").unwrap(),
                "full",
            ),
            (
                "a hidden folder",
                |path, _| std::fs::create_dir(path.join(".x")).unwrap(),
                "full",
            ),
            (
                "its mode",
                |path, _| std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap(),
                "gone",
            ),
            (
                "a link in its place",
                |path, elsewhere| {
                    std::fs::remove_dir(path).unwrap();
                    std::os::unix::fs::symlink(elsewhere, path).unwrap();
                },
                "full",
            ),
            (
                "it is gone",
                |path, _| std::fs::remove_dir(path).unwrap(),
                "full",
            ),
        ];
        for (name, change, expected) in cases {
            let mut folder = Folder::new(parent.path()).unwrap();
            folder.spares = Some((Arc::default(), Principal::Anonymous));
            change(&folder.path, elsewhere.path());
            let found = match folder.ended() {
                Ended::Spare(_) => "spare",
                Ended::Gone => "gone",
                Ended::Full(_) => "full",
            };
            assert_eq!(found, expected, "{name}");
        }
        let unshared = Folder::new(parent.path()).unwrap();
        assert!(matches!(unshared.ended(), Ended::Gone));
    }

    #[test]
    fn what_stands_in_the_way_is_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let path = parent.path().join("call");
        std::os::unix::fs::symlink(elsewhere.path(), &path).unwrap();
        assert!(Folder::filled(&call_folder(path.clone(), "files/x")).is_err());
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);

        let target = elsewhere.path().join("target");
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(write(&link, "text").is_err());
        assert!(!target.exists());
    }
}
