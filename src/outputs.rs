//! Outputs that are larger than a result may be: kept for a while, for those who may read them.
//!
//! Each is a file in a private folder of the server, which is written while the program prints. It
//! has an address that nobody can guess, and is read as a resource by the principal whose call made
//! it, as long as its credential allows the tool. For everybody else there is no such resource.

use std::collections::VecDeque;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::{TempDir, TempPath};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::{Caller, Permission, Principal};
use crate::catalog::{MAX_FILE_BYTES, Tool};
use crate::protocol::content::Uri;
use crate::protocol::media::MediaType;

/// What every address begins with.
pub const ADDRESS: &str = "mcp-serve://outputs/";
/// The largest output, in bytes: 4 MiB, as much as a file that is served may have.
pub const MAX_OUTPUT: u64 = MAX_FILE_BYTES;
/// How long an output is kept after the end of its call.
pub const KEPT_FOR: Duration = Duration::from_mins(15);
/// How often outputs that are too old are forgotten: an upper bound of how long one is kept beyond
/// its time. It cannot be found any more from its time on.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);
/// Nobody but the server's user may enter.
const PRIVATE_FOLDER: u32 = 0o700;

/// What bounds all outputs together.
#[derive(Debug, Clone, Copy)]
struct Limits {
    outputs: usize,
    /// Those that are being written included.
    bytes: u64,
}

/// 1 024 files of 256 MiB in all.
const LIMITS: Limits = Limits {
    outputs: 1024,
    bytes: 256 << 20,
};

/// The outputs that are kept.
#[derive(Debug)]
pub struct Outputs {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Made with the first output.
    folder: Option<TempDir>,
    /// The oldest first.
    kept: VecDeque<Kept>,
    bytes: u64,
}

/// An output that can be read. Its file goes with it.
#[derive(Debug)]
struct Kept {
    uri: Uri,
    permission: Permission,
    reading: Reading,
    bytes: u64,
    expires: Instant,
    _file: TempPath,
}

/// What an output is, and the tool that reads it.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Reads the file.
    pub tool: Arc<Tool>,
    /// What the bytes are.
    pub media: MediaType,
}

/// How many outputs are kept, and how many bytes they have with those that are being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// The outputs that can be read.
    pub outputs: usize,
    /// The bytes of all.
    pub bytes: u64,
}

/// An output that is being written. Dropped before [`Writer::keep`], nothing of it is left.
#[derive(Debug)]
pub struct Writer {
    outputs: Arc<Outputs>,
    principal: Principal,
    file: tokio::fs::File,
    /// Taken when it is kept.
    path: Option<TempPath>,
    bytes: u64,
}

/// There is no room for as much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

impl Default for Outputs {
    fn default() -> Self {
        Self::new(LIMITS)
    }
}

impl Outputs {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: Mutex::default(),
        }
    }

    /// Begins an output of a call of this principal.
    ///
    /// # Errors
    ///
    /// The operating system's, when there can be no file.
    pub fn begin(self: &Arc<Self>, principal: &Principal) -> io::Result<Writer> {
        let (file, path) = self.state.lock().file()?.into_parts();
        Ok(Writer {
            outputs: Arc::clone(self),
            principal: principal.clone(),
            file: tokio::fs::File::from_std(file),
            path: Some(path),
            bytes: 0,
        })
    }

    /// Finds what stands at a URI, for a caller that may read it.
    pub fn find(&self, uri: &str, caller: &Caller, now: Instant) -> Option<Reading> {
        let state = self.state.lock();
        let kept = state.kept.iter().find(|kept| kept.uri.as_str() == uri)?;
        (now < kept.expires && kept.permission.permits(caller)).then(|| kept.reading.clone())
    }

    /// Forgets what is too old, from time to time, until `closing`.
    pub async fn keep_young(&self, closing: CancellationToken) {
        while timeout(FORGET_INTERVAL, closing.cancelled()).await.is_err() {
            self.expire(Instant::now());
        }
    }

    fn expire(&self, now: Instant) {
        let mut gone = Vec::new();
        let mut state = self.state.lock();
        while let Some(oldest) = state.kept.front()
            && oldest.expires <= now
        {
            gone.extend(state.remove(0));
        }
        drop(state);
    }

    /// Forgets all outputs, and the folder that they are in.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        let gone = std::mem::take(&mut state.kept);
        state.bytes -= gone.iter().map(|kept| kept.bytes).sum::<u64>();
        let folder = state.folder.take();
        drop(state);
        drop((gone, folder));
    }

    /// What is kept now.
    pub fn statistics(&self) -> Statistics {
        let state = self.state.lock();
        Statistics {
            outputs: state.kept.len(),
            bytes: state.bytes,
        }
    }

    /// Takes room for so many bytes more. The oldest outputs make it: those of the same principal, and
    /// those of others only where it has none.
    fn reserve(&self, principal: &Principal, bytes: u64) -> Result<(), NoRoom> {
        let mut gone = Vec::new();
        let mut state = self.state.lock();
        while state.bytes + bytes > self.limits.bytes {
            gone.push(state.evict(principal).ok_or(NoRoom)?);
        }
        state.bytes += bytes;
        drop(state);
        Ok(())
    }

    fn add(&self, principal: &Principal, kept: Kept) {
        let mut gone = None;
        let mut state = self.state.lock();
        if state.kept.len() >= self.limits.outputs {
            gone = state.evict(principal);
        }
        state.kept.push_back(kept);
        drop(state);
        drop(gone);
    }
}

impl State {
    /// A new file in the folder, which is made again should it have been removed.
    fn file(&mut self) -> io::Result<tempfile::NamedTempFile> {
        let folder = match self.folder.take() {
            Some(folder) if folder.path().is_dir() => folder,
            _ => tempfile::Builder::new()
                .prefix("mcp-serve-outputs-")
                .permissions(Permissions::from_mode(PRIVATE_FOLDER))
                .tempdir()?,
        };
        tempfile::NamedTempFile::new_in(self.folder.insert(folder))
    }

    fn evict(&mut self, principal: &Principal) -> Option<Kept> {
        let own = |kept: &Kept| kept.permission.is_of(principal);
        self.remove(self.kept.iter().position(own).unwrap_or(0))
    }

    fn remove(&mut self, index: usize) -> Option<Kept> {
        let kept = self.kept.remove(index)?;
        self.bytes -= kept.bytes;
        Some(kept)
    }
}

impl Writer {
    /// Takes room for so many bytes more.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] beyond [`MAX_OUTPUT`], and where the others leave no room.
    pub fn reserve(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let bytes = bytes as u64;
        if self.bytes + bytes > MAX_OUTPUT {
            return Err(NoRoom);
        }
        self.outputs.reserve(&self.principal, bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// How many bytes the output has.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes some of the bytes that there is room for, and returns how many.
    ///
    /// # Errors
    ///
    /// The operating system's.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it completes, it has written nothing.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).await
    }

    /// Keeps the output of a call of this tool for its principal, and returns where it stands.
    ///
    /// # Errors
    ///
    /// The operating system's, when it could not be written.
    pub async fn keep(mut self, tool: &Arc<Tool>, media: MediaType) -> io::Result<Uri> {
        self.file.flush().await?;
        let uri = address()?;
        let Some(file) = self.path.take() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let permission = {
            let tool = Arc::clone(tool);
            let allows = move |caller: &Caller| tool.allow.permits(caller);
            Permission::of_some(self.principal.clone(), allows)
        };
        let kept = Kept {
            uri: uri.clone(),
            permission,
            reading: Reading {
                tool: Arc::new(tool.reading(file.to_path_buf(), &media)),
                media,
            },
            // From here on they are those of the output.
            bytes: std::mem::take(&mut self.bytes),
            expires: Instant::now() + KEPT_FOR,
            _file: file,
        };
        self.outputs.add(&self.principal, kept);
        Ok(uri)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.outputs.state.lock().bytes -= self.bytes;
    }
}

/// An address of 128 random bits.
fn address() -> io::Result<Uri> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(io::Error::other)?;
    let id = Uuid::from_bytes(bits);
    Uri::try_from(format!("{ADDRESS}{}", id.simple())).map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
