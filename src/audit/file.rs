//! An audit log in a file of its own.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FlockOperation, OFlags};
use rustix::io::Errno;

use super::tail::{self, Past};
use super::target::Target;
use crate::secret::{self, Permissions, SecretFileError};

/// Why an audit log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system says so.
    #[error("it cannot be opened")]
    Io(#[from] io::Error),
    /// Its path is a symbolic link, which could lead anywhere.
    #[error("it is a symbolic link; name the file itself")]
    Link,
    /// It is no regular file, or others could change it.
    #[error(transparent)]
    Unsafe(#[from] SecretFileError),
    /// Another server has it, whose numbers would be mixed with ours.
    #[error("another process writes to it; each server needs a file of its own")]
    Taken,
    /// It is something else, such as a file of definitions.
    #[error("it is not an audit log; nothing is added to it")]
    Foreign,
    /// There is no journal.
    #[error("there is no journal on this machine that could take it")]
    NoJournal(#[source] io::Error),
    /// Nothing can be written there.
    #[error("it cannot be written, which --audit-mode required asks for")]
    Unwritable,
}

/// See the module.
#[derive(Debug)]
pub(super) struct AuditFile {
    path: PathBuf,
    permissions: Permissions,
    file: File,
    /// The last line is not whole: a line break comes before the next.
    is_torn: bool,
}

impl AuditFile {
    /// Opens the file at the end of its last whole line, and says what is in it.
    pub(super) fn open(path: &Path, permissions: Permissions) -> Result<(Self, Past), OpenError> {
        // A later change of the working folder should not lead to another file.
        let path = std::path::absolute(path)?;
        let (file, past) = open(&path, permissions)?;
        let file = Self {
            path,
            permissions,
            file,
            is_torn: past.is_torn,
        };
        Ok((file, past))
    }
}

impl Target for AuditFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.is_torn = false;
        }
        self.file.write(lines)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn is_gone(&self) -> bool {
        self.file.metadata().is_ok_and(|file| file.nlink() == 0)
    }

    fn reopen(&mut self) -> io::Result<bool> {
        let identity = |file: Metadata| (file.dev(), file.ino());
        let at_path = std::fs::symlink_metadata(&self.path).ok().map(identity);
        if at_path == Some(identity(self.file.metadata()?)) {
            return Ok(false);
        }
        let (file, past) = open(&self.path, self.permissions).map_err(io::Error::other)?;
        self.file = file;
        self.is_torn = past.is_torn;
        Ok(true)
    }
}

/// Finds out what [`AuditFile::open`] would say of the file, or of a folder without it.
pub(super) fn check(path: &Path, permissions: Permissions) -> Result<(), OpenError> {
    let path = std::path::absolute(path)?;
    match open_safely(&path, &mut File::options(), permissions) {
        Ok((file, metadata)) => read(&file, &metadata).map(drop),
        Err(OpenError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            let may_make = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
            rustix::fs::access(folder_of(&path), may_make)
                .map_err(|errno| OpenError::Io(errno.into()))
        }
        Err(error) => Err(error),
    }
}

fn open(path: &Path, permissions: Permissions) -> Result<(File, Past), OpenError> {
    let mut options = File::options();
    let (file, metadata) = open_safely(path, options.create(true).mode(0o600), permissions)?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|errno| {
        if errno == Errno::WOULDBLOCK {
            OpenError::Taken
        } else {
            OpenError::Io(errno.into())
        }
    })?;
    let past = read(&file, &metadata)?;
    if metadata.len() == 0 {
        // That there is such a file outlives the machine, too.
        File::open(folder_of(path))?.sync_all()?;
    }
    Ok((file, past))
}

/// Opens a file to add to it, if nobody else could have written what is in it.
fn open_safely(
    path: &Path,
    options: &mut OpenOptions,
    permissions: Permissions,
) -> Result<(File, Metadata), OpenError> {
    // Without waiting, should it be a pipe.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options
        .read(true)
        .append(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::LOOP) => OpenError::Link,
            _ => error.into(),
        })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(SecretFileError::NotAFile.into());
    }
    if permissions == Permissions::Checked {
        secret::check_permissions(&metadata)?;
    }
    Ok((file, metadata))
}

fn read(file: &File, metadata: &Metadata) -> Result<Past, OpenError> {
    tail::read(file, metadata.len())?.ok_or(OpenError::Foreign)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
