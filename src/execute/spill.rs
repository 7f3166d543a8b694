//! An output that goes on into a file, beyond what a result holds of it.

use std::io;
use std::sync::Arc;

use super::kept::Overflow;
use crate::auth::Caller;
use crate::catalog::Tool;
use crate::outputs::{Outputs, Writer};
use crate::protocol::content::Uri;
use crate::protocol::media::MediaType;
use crate::redact::Redactor;

/// Takes output in parts. Nothing is written before there is more of it than a result holds.
#[derive(Debug)]
pub(super) struct Spill {
    outputs: Arc<Outputs>,
    caller: Arc<Caller>,
    writer: Option<Writer>,
    /// What is not written yet.
    waiting: Vec<u8>,
}

impl Spill {
    /// Nothing has arrived.
    pub(super) fn new(outputs: &Arc<Outputs>, caller: &Arc<Caller>) -> Self {
        Self {
            outputs: Arc::clone(outputs),
            caller: Arc::clone(caller),
            writer: None,
            waiting: Vec::new(),
        }
    }

    /// Takes the next bytes; what came before them, if they are the first.
    ///
    /// # Errors
    ///
    /// [`Overflow`] where they cannot be kept.
    pub(super) fn push(&mut self, before: &[u8], bytes: &[u8]) -> Result<(), Overflow> {
        let (writer, before) = if let Some(writer) = &mut self.writer {
            (writer, [].as_slice())
        } else {
            let begun = self.outputs.begin(&self.caller);
            let begun = begun.map_err(|error| not_kept(&error))?;
            (self.writer.insert(begun), before)
        };
        let reserved = writer.reserve(before.len() + bytes.len());
        reserved.map_err(|_| Overflow)?;
        self.waiting.extend_from_slice(before);
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    /// True if there is something to do for [`Spill::write`].
    pub(super) fn is_due(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Writes a part of what waits.
    ///
    /// # Errors
    ///
    /// [`Overflow`] where it cannot be kept.
    ///
    /// # Cancel safety
    ///
    /// What was not written waits on.
    pub(super) async fn write(&mut self) -> Result<(), Overflow> {
        if let Some(writer) = &mut self.writer {
            let written = writer.write(&self.waiting).await;
            let written = written.map_err(|error| not_kept(&error))?;
            self.waiting.drain(..written);
        }
        Ok(())
    }

    /// True if there is more than a result holds.
    pub(super) fn has_begun(&self) -> bool {
        self.writer.is_some()
    }

    /// Keeps the output of a tool, which is read without these secrets, and returns where it stands and how many bytes it has; `None` where
    /// it cannot be kept.
    pub(super) async fn keep(
        mut self,
        of: (&Arc<Tool>, Arc<Redactor>),
        media: MediaType,
    ) -> Option<(Uri, u64)> {
        while self.is_due() {
            self.write().await.ok()?;
        }
        let writer = self.writer?;
        let bytes = writer.bytes();
        let kept = writer.keep(of, media).await;
        let uri = kept.map_err(|error| not_kept(&error)).ok()?;
        Some((uri, bytes))
    }
}

fn not_kept(error: &io::Error) -> Overflow {
    tracing::error!(%error, "an output could not be kept for its resource");
    Overflow
}
