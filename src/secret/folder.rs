//! Who can put another file in the place of one.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The permission to write that everybody has.
pub(crate) const OTHERS_WRITE: u32 = 0o002;
/// In a folder with this bit everybody may write, but only replace what is their own.
const STICKY: u32 = 0o1000;

/// A folder in which everybody can put another file in the place of one. Its text follows the name of
/// the file.
#[derive(Debug, thiserror::Error)]
#[error(
    "can be replaced by anybody: the mode of {} is {mode:04o}; run chmod o-w on it",
    .folder.display()
)]
pub struct OpenFolder {
    folder: PathBuf,
    mode: u32,
}

impl OpenFolder {
    /// Looks at the folder of a file, and at the one that it is really in: a mounted file is often a link.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn of(file: &Path) -> io::Result<Option<Self>> {
        for path in [std::path::absolute(file)?, file.canonicalize()?] {
            let Some(folder) = path.parent() else {
                continue;
            };
            let mode = folder.metadata()?.mode() & 0o7777;
            if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
                let folder = folder.to_owned();
                return Ok(Some(Self { folder, mode }));
            }
        }
        Ok(None)
    }
}
