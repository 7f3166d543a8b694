//! The folder of a call: private, made before its process starts and removed after its end.

mod removal;

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::catalog::{CallFolder, Command};

/// Nobody but the server's user may enter.
const PRIVATE_FOLDER: u32 = 0o700;
/// Nobody but the server's user may read or write.
const PRIVATE_FILE: u32 = 0o600;

/// The folder of a call. It is removed with what is in it when this is dropped, which blocks.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    workdir: PathBuf,
    is_gone: bool,
}

impl Folder {
    /// Makes the folder that a command needs, and writes its files; `None` if it needs none.
    pub(super) async fn make(command: &mut Command) -> io::Result<Option<Self>> {
        match command.folder.take() {
            // What is confined has no other place to write to.
            None if command.workdir.is_some() && command.sandbox.is_none() => Ok(None),
            None => Self::empty().map(Some),
            // Files take time, and the reactor has none.
            Some(folder) => tokio::task::spawn_blocking(move || Self::filled(&folder))
                .await?
                .map(Some),
        }
    }

    fn empty() -> io::Result<Self> {
        let path = builder().prefix("mcp-serve-").tempdir()?.keep();
        Ok(Self::at(path.clone(), path))
    }

    fn filled(folder: &CallFolder) -> io::Result<Self> {
        let (parent, name) = (folder.path.parent().zip(folder.path.file_name()))
            .ok_or_else(|| io::Error::other("the folder of a call has no name"))?;
        let mut builder = builder();
        let made = builder.prefix(name).rand_bytes(0).tempdir_in(parent)?;
        let made = Self::at(made.keep(), folder.files());
        make_folders(&made.workdir)?;
        for (name, text) in &folder.contents {
            write(&made.path.join(name), text)?;
        }
        Ok(made)
    }

    fn at(path: PathBuf, workdir: PathBuf) -> Self {
        Self {
            path,
            workdir,
            is_gone: false,
        }
    }

    /// All of it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a process runs that has no other place.
    pub(super) fn workdir(&self) -> &Path {
        &self.workdir
    }

    /// Removes the folder if it is empty, as most are; else gives it back.
    pub(super) fn remove_empty(mut self) -> Option<Self> {
        self.is_gone = std::fs::remove_dir(&self.path).is_ok();
        (!self.is_gone).then_some(self)
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
        if let Err(error) = removal::remove(&self.path) {
            let folder = self.path.display();
            tracing::warn!(%folder, %error, "the folder of a call could not be removed");
        }
    }
}

fn builder<'a>() -> tempfile::Builder<'a, 'a> {
    let mut builder = tempfile::Builder::new();
    builder.permissions(Permissions::from_mode(PRIVATE_FOLDER));
    builder
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
