//! Files that a definition names, read once, when it is loaded.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::Entry;

/// The largest file that is served, in bytes: 4 MiB, as much as a request may have.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Reads the file that an entry names; a relative path starts at `folder`.
pub(crate) fn read(entry: &Entry, folder: &Path, report: &mut Report) -> Option<Vec<u8>> {
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

/// The bytes of a file; `None` if they are too many.
fn bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // To open a pipe would wait for its writer.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MAX_BYTES).then_some(bytes))
}
