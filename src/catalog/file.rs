//! Files that a definition names.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::Entry;
use crate::snapshot::Snapshot;

/// The largest file that is served, in bytes: 4 MiB, as much as a request may have.
pub const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The absolute path of the file that an entry names, which can be read now. What it holds may be
/// something else each time.
pub(crate) fn path(entry: &Entry, folder: &Path, report: &mut Report) -> Option<PathBuf> {
    let path = folder.join(reader::text(entry, report)?);
    let seen = Snapshot::of(&path);
    if open(entry, folder, report).is_none() {
        report.depends_on(seen);
        return None;
    }
    Some(std::path::absolute(&path).unwrap_or(path))
}

/// Reads the file that an entry names, which is a part of the definition then; a relative path starts
/// at `folder`.
pub(crate) fn read(entry: &Entry, folder: &Path, report: &mut Report) -> Option<Vec<u8>> {
    let path = folder.join(reader::text(entry, report)?);
    report.depends_on(Snapshot::of(&path));
    open(entry, folder, report)
}

fn open(entry: &Entry, folder: &Path, report: &mut Report) -> Option<Vec<u8>> {
    let path = reader::text(entry, report)?;
    let (message, help) = match bytes(&folder.join(&path)) {
        Ok(Some(bytes)) => return Some(bytes),
        Ok(None) => (
            format!("`{path}` is larger than {} MiB", MAX_BYTES / 1024 / 1024),
            "serve a smaller file, or a link to it",
        ),
        Err(error) => (
            format!("`{path}` cannot be read: {error}"),
            "a path is looked up from the folder of this file",
        ),
    };
    report.add(Problem::error(Code::Unreadable, entry.place(), message).help(help));
    None
}

/// Reads a file; `None` if it has more than [`MAX_BYTES`].
///
/// # Errors
///
/// The operating system's, and one for what is no regular file.
pub fn bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // To open a pipe would otherwise wait for its writer.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MAX_BYTES).then_some(bytes))
}
