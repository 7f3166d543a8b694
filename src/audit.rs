//! Who called what, and what came of it: one line of JSON when a call begins, and one when it has ended.
//!
//! Whoever has something to say puts a line into a queue, and goes on. A thread writes what is in the
//! queue, as much of it at once as there is. Each line that gets into the queue has the next number, so
//! that a number that is missing is a line that somebody took out. What finds no room is counted, and a
//! line says how many are missing.
//!
//! In mode `required` nothing begins and nothing is answered before the first line is on the disk, and
//! nothing while none can be written.

mod file;
mod journal;
mod queue;
mod record;
mod tail;
mod target;
mod writer;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::cli::{AuditArguments, AuditMode, AuditTarget};
use crate::logging::Stderr;
use crate::secret::Permissions;
use file::AuditFile;
use journal::Journal;
use queue::Queue;
use target::Target;

pub use file::OpenError;
pub use queue::Statistics;
pub use record::{About, Ending};

/// How long a request of mode `required` waits until its first line is on the disk, and the start of
/// the server for its own.
const MAX_SYNC: Duration = Duration::from_secs(5);

/// How long the end of the server waits for the last lines.
const MAX_FLUSH: Duration = Duration::from_secs(1);

/// What an audit log is to be.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it goes.
    pub target: AuditTarget,
    /// What happens when it cannot be written.
    pub mode: AuditMode,
    /// What it says of arguments.
    pub arguments: AuditArguments,
    /// Whether owner and mode of a file that is there are checked.
    pub permissions: Permissions,
}

impl Settings {
    /// Finds out whether it can be opened, as far as that can be told of one that another server may
    /// have now. Makes no file, and changes none.
    ///
    /// # Errors
    ///
    /// Those of [`Audit::open`].
    pub fn check(&self) -> Result<(), OpenError> {
        match &self.target {
            AuditTarget::File(path) => file::check(path, self.permissions),
            AuditTarget::Stderr => Ok(()),
            AuditTarget::Journald => Journal::open().map(drop),
        }
    }

    /// What messages about it begin with.
    pub fn label(&self) -> String {
        format!("--audit {}", self.target)
    }
}

/// The audit log.
#[derive(Debug)]
pub struct Audit {
    queue: Arc<Queue>,
    arguments: AuditArguments,
    /// Which run of a server a call belongs to: their numbers begin again with each.
    run: Box<str>,
}

impl Audit {
    /// Opens the log and goes on where its last line is. Calls that were never ended there are, with
    /// the outcome `unknown`. To be called where something may block.
    ///
    /// # Errors
    ///
    /// Why it cannot be opened; in mode `required` also that it cannot be written.
    pub async fn open(settings: &Settings) -> Result<Arc<Self>, OpenError> {
        let run = record::run_id()?;
        let (target, past): (Box<dyn Target>, _) = match &settings.target {
            AuditTarget::File(path) => {
                let (file, past) = AuditFile::open(path, settings.permissions)?;
                (Box::new(file), past)
            }
            AuditTarget::Stderr => (Box::new(Stderr), tail::Past::default()),
            AuditTarget::Journald => (Box::new(Journal::open()?), tail::Past::default()),
        };
        let is_required = settings.mode == AuditMode::Required;
        let queue = Arc::new(Queue::new(past.next, is_required));
        for start in past.orphans {
            queue.push(&record::unknown_end(start));
        }
        let opened = queue.push(&record::opened(&run));
        thread::Builder::new().name("audit".to_owned()).spawn({
            let (queue, run) = (Arc::clone(&queue), run.clone());
            move || writer::run(&queue, target, &run)
        })?;
        let audit = Self {
            queue,
            arguments: settings.arguments,
            run: run.into(),
        };
        if is_required && !audit.queue.is_through(opened, MAX_SYNC).await {
            return Err(OpenError::Unwritable);
        }
        Ok(Arc::new(audit))
    }

    /// Whether a request waits for its first line.
    fn is_required(&self) -> bool {
        self.queue.is_required()
    }

    /// Whether new calls are refused now, since nothing can be written.
    pub fn refuses(&self) -> bool {
        self.is_required() && self.queue.is_failing()
    }

    /// Says that a call begins, with these arguments if it has any. That it ends is said by what is returned.
    pub fn begin(
        self: &Arc<Self>,
        about: &About<'_>,
        arguments: Option<&Map<String, Value>>,
    ) -> Open {
        let members = about.members();
        let arguments = arguments.map(|arguments| record::arguments(self.arguments, arguments));
        let line = record::start(&self.run, &members, &arguments.unwrap_or_default());
        Open {
            call: about.call,
            place: self.queue.push_start(&line),
            about: members,
            audit: Arc::clone(self),
            began: Instant::now(),
            if_dropped: Some((Ending::Lost, None)),
        }
    }

    /// Opens the file at its path again, for whoever has moved it away.
    pub fn reopen(&self) {
        self.queue.reopen();
    }

    /// Says that the server ends, and waits for the last lines, but not for long.
    pub async fn close(&self) {
        self.queue.close(&self.run);
        if !self.queue.is_finished(MAX_FLUSH).await {
            tracing::error!("the end of the audit log could not be written");
        }
    }

    /// What was written, and whether anything can be.
    pub fn statistics(&self) -> Statistics {
        self.queue.statistics()
    }
}

/// A server that never served is no reason for its thread to stay.
impl Drop for Audit {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

/// A call that has begun and not ended.
#[derive(Debug)]
pub struct Open {
    audit: Arc<Audit>,
    call: u64,
    /// The number of its first line; `None` if that was lost, and so the other will be.
    place: Option<u64>,
    about: String,
    began: Instant,
    /// How it ends when it is dropped; `None` if it has ended.
    if_dropped: Option<(Ending, Option<&'static str>)>,
}

impl Open {
    /// The number of the call.
    pub fn call(&self) -> u64 {
        self.call
    }

    /// Waits for the first line to be on the disk, in mode `required`; returns whether it is.
    pub fn is_written(&self) -> impl Future<Output = bool> + Send + use<> {
        let (queue, place) = (Arc::clone(&self.audit.queue), self.place);
        async move {
            match place {
                Some(place) => queue.is_through(place, MAX_SYNC).await,
                None => false,
            }
        }
    }

    /// Whether the call waits for that.
    pub fn is_required(&self) -> bool {
        self.audit.is_required()
    }

    /// From now on somebody waits who may leave, which would be this end.
    pub fn ends_if_dropped(&mut self, ending: Ending, reason: &'static str) {
        self.if_dropped = Some((ending, Some(reason)));
    }

    /// Says that the call has ended: how, and the reason in a few words of the log. It ends once.
    pub fn end(&mut self, ending: Ending, reason: Option<&str>) {
        if self.if_dropped.take().is_some() && self.place.is_some() {
            let run = &self.audit.run;
            let line = record::end(run, &self.about, (ending, reason), self.began.elapsed());
            self.audit.queue.push(&line);
        }
    }
}

/// Whatever became of the call: it is over.
impl Drop for Open {
    fn drop(&mut self) {
        if let Some((ending, reason)) = self.if_dropped {
            self.end(ending, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::auth::Principal;
    use crate::protocol::mcp::Method;
    use crate::protocol::version::ProtocolVersion;

    async fn open(path: &Path) -> Arc<Audit> {
        let settings = Settings {
            target: AuditTarget::File(path.to_owned()),
            mode: AuditMode::Required,
            arguments: AuditArguments::None,
            permissions: Permissions::Checked,
        };
        Audit::open(&settings).await.unwrap()
    }

    fn begin(audit: &Arc<Audit>, call: u64) -> Open {
        let about = About {
            call,
            method: Method::CallTool,
            name: Some("deploy"),
            toolset: None,
            caller: &Principal::Anonymous,
            client: None,
            session: None,
            version: ProtocolVersion::V2026_07_28,
        };
        audit.begin(&about, None)
    }

    #[tokio::test]
    async fn each_call_ends_once_whatever_becomes_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let audit = open(&path).await;
        let mut ended = begin(&audit, 1);
        assert!(ended.is_written().await);
        ended.end(Ending::Ok, None);
        ended.end(Ending::Error, Some("again"));
        drop(ended);
        drop(begin(&audit, 2));
        let mut left = begin(&audit, 3);
        left.ends_if_dropped(Ending::Cancelled, "its client has left");
        drop(left);
        let mut stayed = begin(&audit, 4);
        stayed.ends_if_dropped(Ending::Cancelled, "its client has left");
        stayed.end(Ending::NotFound, None);
        drop(stayed);
        audit.close().await;
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let ends: Vec<_> = lines
            .filter(|line: &Value| line["event"] == "end")
            .map(|line| json!([line["call"], line["outcome"], line["reason"]]))
            .collect();
        let expected = [
            json!([1, "ok", null]),
            json!([2, "lost", null]),
            json!([3, "cancelled", "its client has left"]),
            json!([4, "not_found", null]),
        ];
        assert_eq!(ends, expected);
    }
}
