//! Who can change a file of a definition. Whoever can, decides what the server runs.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::open::Unreadable;
use crate::document::diagnostic::Code;
use crate::secret::{OTHERS_WRITE, OpenFolder};

/// Refuses a file that others than root and the user of the server can change or replace. The file is
/// judged as it was opened.
pub(super) fn check(path: &Path, file: &Metadata) -> Result<(), Unreadable> {
    let user = rustix::process::geteuid().as_raw();
    let owner = file.uid();
    if owner != 0 && owner != user {
        return Err(refusal(format!(
            "belongs to user {owner}, but must belong to root or to user {user}, whom the server \
             runs as"
        )));
    }
    if file.mode() & OTHERS_WRITE != 0 {
        let mode = file.mode() & 0o7777;
        return Err(refusal(format!(
            "can be changed by anybody: its mode is {mode:04o}; run chmod o-w on it"
        )));
    }
    match OpenFolder::of(path)? {
        Some(folder) => Err(refusal(folder.to_string())),
        None => Ok(()),
    }
}

fn refusal(message: String) -> Unreadable {
    Unreadable {
        code: Code::OpenDefinition,
        message,
        help: Some("it says what runs here; --insecure-permissions accepts it as it is"),
    }
}
