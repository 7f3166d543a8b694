//! Opening one file of a definition.

use std::fs::{Metadata, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use super::trust;
use crate::document::diagnostic::Code;
use crate::document::yaml;
use crate::secret::Permissions;

/// What a file is, by whatever name: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileId(u64, u64);

impl FileId {
    /// The file at a path, if there is one.
    pub(super) fn of_path(path: &Path) -> Option<Self> {
        path.metadata().ok().as_ref().map(Self::of)
    }

    fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

/// A file that is small enough and UTF-8.
pub(super) struct Opened {
    pub(super) text: String,
    pub(super) id: FileId,
}

/// Why a file cannot be used.
pub(super) struct Unreadable {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) help: Option<&'static str>,
}

impl Unreadable {
    fn new(message: impl Into<String>, help: &'static str) -> Self {
        Self {
            code: Code::Unreadable,
            message: message.into(),
            help: Some(help),
        }
    }
}

impl From<std::io::Error> for Unreadable {
    fn from(error: std::io::Error) -> Self {
        Self {
            code: Code::Unreadable,
            message: format!("cannot be read: {error}"),
            help: None,
        }
    }
}

/// Reads a file of at most so many bytes.
pub(super) fn open(path: &Path, permissions: Permissions, most: u64) -> Result<Opened, Unreadable> {
    // To open a pipe would otherwise wait for its writer, and to read it for its end.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(nonblocking).open(path)?;
    let metadata = file.metadata()?;
    let id = FileId::of(&metadata);
    if metadata.is_dir() {
        let help = "name a file; `include` can name those of a folder, as in `tools.d/*.yaml`";
        return Err(Unreadable::new("cannot be read: it is a folder", help));
    }
    // A pipe or a device has no owner who could be asked.
    if permissions == Permissions::Checked && metadata.is_file() {
        trust::check(path, &metadata)?;
    }
    if metadata.len() > most {
        return Err(too_large(most));
    }
    // The length of a pipe or device is not known before it is read.
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(too_large(most));
    }
    if matches!(bytes.get(..2), Some([0xff, 0xfe] | [0xfe, 0xff])) {
        return Err(Unreadable::new("this is UTF-16", "save it as UTF-8"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(valid);
        let line = line.filter(|byte| **byte == b'\n').count() + 1;
        Unreadable::new(format!("line {line} is not UTF-8"), "save it as UTF-8")
    })?;
    Ok(Opened { text, id })
}

fn too_large(most: u64) -> Unreadable {
    let limit = yaml::MAX_BYTES / 1024 / 1024;
    if most == yaml::MAX_BYTES {
        let message = format!("larger than {limit} MiB");
        return Unreadable::new(message, "serve fewer tools from one file");
    }
    let message = format!("with it, the files of this definition are larger than {limit} MiB");
    Unreadable::new(message, "serve fewer tools")
}
