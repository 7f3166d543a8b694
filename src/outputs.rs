//! Outputs that are larger than a result may be: kept for a while, for those who may read them.
//!
//! Each is a file in a private folder of the server, which is written while the program prints. It
//! has an address that nobody can guess, and is read as a resource by the principal whose call made
//! it, as long as its credential allows the tool. For everybody else there is no such resource.
//!
//! Where there is no room, whoever has most makes it: so nobody pushes out what all others have.

use std::collections::{HashMap, VecDeque};
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
use crate::redact::Redactor;

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
    /// Made with the first output. Its lock is held while it is made, which nobody waits for but who
    /// begins another.
    folder: Mutex<Option<Arc<TempDir>>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The oldest first.
    kept: VecDeque<Kept>,
    /// What each principal has of it.
    shares: HashMap<Principal, Share>,
    bytes: u64,
}

/// What a principal has.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    /// Its outputs that can be read.
    outputs: u64,
    /// The bytes of all its outputs, with those that are being written.
    bytes: u64,
}

/// An output that can be read. Its file goes with it.
#[derive(Debug)]
struct Kept {
    uri: Uri,
    principal: Principal,
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
            folder: Mutex::default(),
            state: Mutex::default(),
        }
    }

    /// Begins an output of a call of this principal.
    ///
    /// # Errors
    ///
    /// The operating system's, when there can be no file.
    pub fn begin(self: &Arc<Self>, principal: &Principal) -> io::Result<Writer> {
        let folder = self.folder()?;
        let (file, path) = tempfile::NamedTempFile::new_in(folder.path())?.into_parts();
        Ok(Writer {
            outputs: Arc::clone(self),
            principal: principal.clone(),
            file: tokio::fs::File::from_std(file),
            path: Some(path),
            bytes: 0,
        })
    }

    /// The folder of the outputs, which is made again should it have been removed.
    fn folder(&self) -> io::Result<Arc<TempDir>> {
        let mut folder = self.folder.lock();
        let known = folder.take().filter(|folder| folder.path().is_dir());
        let there = match known {
            Some(there) => there,
            None => Arc::new(
                tempfile::Builder::new()
                    .prefix("mcp-serve-outputs-")
                    .permissions(Permissions::from_mode(PRIVATE_FOLDER))
                    .tempdir()?,
            ),
        };
        Ok(Arc::clone(folder.insert(there)))
    }

    /// Finds what stands at a URI, for a caller that may read it.
    pub fn find(&self, uri: &str, caller: &Caller, now: Instant) -> Option<Reading> {
        let state = self.state.lock();
        let kept = state.find(uri, now)?;
        kept.permission
            .permits(caller)
            .then(|| kept.reading.clone())
    }

    /// Whether anything stands at a URI, for anybody. For whoever keeps watch over callers, and not for
    /// them.
    pub fn has(&self, uri: &str, now: Instant) -> bool {
        self.state.lock().find(uri, now).is_some()
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
        let mut gone = Vec::new();
        let mut state = self.state.lock();
        while let Some(kept) = state.remove(0) {
            gone.push(kept);
        }
        drop(state);
        let folder = self.folder.lock().take();
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

    /// Takes room for so many bytes more. The outputs of whoever has most bytes make it, the one who asks
    /// included with what it asks for.
    fn reserve(&self, principal: &Principal, bytes: u64) -> Result<(), NoRoom> {
        let mut gone = Vec::new();
        let mut state = self.state.lock();
        while state.bytes + bytes > self.limits.bytes {
            let evicted = state.evict(principal, bytes, |share| share.bytes);
            gone.push(evicted.ok_or(NoRoom)?);
        }
        state.take(principal, bytes);
        drop(state);
        Ok(())
    }

    fn add(&self, kept: Kept) {
        let mut gone = None;
        let mut state = self.state.lock();
        if state.kept.len() >= self.limits.outputs {
            gone = state.evict(&kept.principal, 1, |share| share.outputs);
        }
        state.add(kept);
        drop(state);
        drop(gone);
    }
}

impl State {
    fn find(&self, uri: &str, now: Instant) -> Option<&Kept> {
        let kept = self.kept.iter().find(|kept| kept.uri.as_str() == uri)?;
        (now < kept.expires).then_some(kept)
    }

    /// Takes out the oldest output of whoever has most, for a principal that wants so much more; one of
    /// its own if it would then have most itself.
    fn evict(
        &mut self,
        principal: &Principal,
        wanted: u64,
        size: impl Fn(&Share) -> u64,
    ) -> Option<Kept> {
        let has = |principal| self.shares.get(principal).map_or(0, &size);
        let of_each = self.kept.iter().map(|kept| has(&kept.principal));
        // Of those who have as much, the one with the oldest.
        let (oldest, most) = of_each.enumerate().rev().max_by_key(|(_, has)| *has)?;
        if most >= has(principal) + wanted {
            return self.remove(oldest);
        }
        let mut kept = self.kept.iter();
        let own = kept.position(|kept| kept.principal == *principal)?;
        self.remove(own)
    }

    fn add(&mut self, kept: Kept) {
        self.shares
            .entry(kept.principal.clone())
            .or_default()
            .outputs += 1;
        self.kept.push_back(kept);
    }

    fn remove(&mut self, index: usize) -> Option<Kept> {
        let kept = self.kept.remove(index)?;
        if let Some(share) = self.shares.get_mut(&kept.principal) {
            share.outputs -= 1;
        }
        self.give_back(&kept.principal, kept.bytes);
        Some(kept)
    }

    fn take(&mut self, principal: &Principal, bytes: u64) {
        self.bytes += bytes;
        self.shares.entry(principal.clone()).or_default().bytes += bytes;
    }

    fn give_back(&mut self, principal: &Principal, bytes: u64) {
        self.bytes -= bytes;
        let Some(share) = self.shares.get_mut(principal) else {
            return;
        };
        share.bytes -= bytes;
        if share.bytes == 0 && share.outputs == 0 {
            self.shares.remove(principal);
        }
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

    /// Keeps the output of a call of this tool for its principal, who reads it without these secrets, and
    /// returns where it stands.
    ///
    /// # Errors
    ///
    /// The operating system's, when it could not be written.
    pub async fn keep(
        mut self,
        (tool, secrets): (&Arc<Tool>, Arc<Redactor>),
        media: MediaType,
    ) -> io::Result<Uri> {
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
            principal: self.principal.clone(),
            permission,
            reading: Reading {
                tool: Arc::new(tool.reading(file.to_path_buf(), &media, secrets)),
                media,
            },
            // From here on they are those of the output.
            bytes: std::mem::take(&mut self.bytes),
            expires: Instant::now() + KEPT_FOR,
            _file: file,
        };
        self.outputs.add(kept);
        Ok(uri)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.outputs.state.lock();
        state.give_back(&self.principal, self.bytes);
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
