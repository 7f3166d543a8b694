//! The tasks of a process, as plain data: no clock, no lock, nothing that runs.
//!
//! A task that runs is never forgotten: its call ends at its time limit, and what it may ask is
//! bounded. One that has ended is forgotten when its time is over, or before that to make room:
//! first those whose end their client has seen, then those that ended first.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::TaskId;
use super::entry::{Answered, Ending, Entry, New, Place, Refused};
use crate::auth::Caller;
use crate::protocol::input::InputRequest;
use crate::protocol::tasks::{DetailedTask, Status, Task};
use crate::session::Bucket;
use crate::session::statistics::Counts;

/// What bounds the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most tasks at once, those that have ended included.
    pub max_tasks: usize,
    /// The most tasks at once with the same [`Bucket`].
    pub max_tasks_per_principal: Option<NonZeroUsize>,
    /// For how long a task is kept beyond the longest time that it may run.
    pub keep: Duration,
    /// How many bytes of results are kept. The newest one is kept also when it alone is larger.
    pub max_bytes: usize,
    /// How long a client may take to answer.
    pub ask_timeout: Duration,
}

/// Why no task was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// As many tasks run as may.
    Full,
    /// As many tasks of the principal run as may.
    PrincipalFull,
}

/// All tasks.
#[derive(Debug)]
pub(super) struct Store {
    limits: Limits,
    tasks: HashMap<TaskId, Entry>,
    /// How many tasks share a limit.
    buckets: HashMap<Bucket, usize>,
    /// Those that have ended, in the order in which they make room.
    ended: BTreeSet<Place>,
    /// The bytes of their results.
    bytes: usize,
    totals: Totals,
}

/// What happened since the start.
#[derive(Debug, Default)]
struct Totals {
    created: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
    expired: u64,
    evicted: u64,
    not_started: u64,
    refused_all: u64,
    refused_principal: u64,
}

/// A snapshot of the tasks.
///
/// `created` less the sum of `forgotten` is the sum of `tasks`, at every moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statistics {
    /// Tasks that are kept now, by status.
    pub tasks: Counts,
    /// The most tasks at once.
    pub max_tasks: usize,
    /// The bytes of the results that are kept.
    pub bytes: usize,
    /// Tasks created since the start.
    pub created: u64,
    /// Tasks ended since the start, by status.
    pub ended: Counts,
    /// Tasks that are not kept any more, by reason.
    pub forgotten: Counts,
    /// Calls that got no task, by limit.
    pub rejected: Counts,
}

impl Store {
    /// An empty store.
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            tasks: HashMap::new(),
            buckets: HashMap::new(),
            ended: BTreeSet::new(),
            bytes: 0,
            totals: Totals::default(),
        }
    }

    /// Creates a task, and returns with it those that made room.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] at a limit where no task that has ended can make room. A principal at its own
    /// limit costs nobody else a task.
    pub(super) fn create(&mut self, new: New, now: Instant) -> Result<(Task, Vec<Entry>), NoRoom> {
        let gone = self.make_room(new.owner.bucket.as_ref(), now)?;
        let id = new.id;
        let entry = Entry::new(new, self.limits.keep, now);
        let task = entry.task(id, now);
        if let Some(bucket) = &entry.owner.bucket {
            *self.buckets.entry(bucket.clone()).or_default() += 1;
        }
        self.tasks.insert(id, entry);
        self.totals.created += 1;
        Ok((task, gone))
    }

    /// Makes room for one more task, at both limits if need be.
    fn make_room(&mut self, bucket: Option<&Bucket>, now: Instant) -> Result<Vec<Entry>, NoRoom> {
        let mut gone = Vec::new();
        if self.is_crowded(bucket) || self.is_full() {
            gone = self.expire(now);
        }
        if self.is_crowded(bucket) {
            let mine = |entry: &Entry| entry.owner.bucket.as_ref() == bucket;
            let Some(entry) = self.evict(mine) else {
                self.totals.refused_principal += 1;
                return Err(NoRoom::PrincipalFull);
            };
            gone.push(entry);
        }
        if self.is_full() {
            let Some(entry) = self.evict(|_| true) else {
                self.totals.refused_all += 1;
                return Err(NoRoom::Full);
            };
            gone.push(entry);
        }
        Ok(gone)
    }

    fn is_crowded(&self, bucket: Option<&Bucket>) -> bool {
        let tasks = bucket.and_then(|bucket| self.buckets.get(bucket));
        let most = self.limits.max_tasks_per_principal;
        matches!((tasks, most), (Some(tasks), Some(most)) if *tasks >= most.get())
    }

    fn is_full(&self) -> bool {
        self.tasks.len() >= self.limits.max_tasks
    }

    /// Forgets the ended task that makes room first.
    fn evict(&mut self, may_go: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let mut places = self.ended.iter();
        let id = places
            .find(|place| self.tasks.get(&place.id).is_some_and(&may_go))?
            .id;
        self.totals.evicted += 1;
        self.remove(id)
    }

    fn remove(&mut self, id: TaskId) -> Option<Entry> {
        let entry = self.tasks.remove(&id)?;
        if let Some((place, bytes)) = entry.ended() {
            self.ended.remove(&place);
            self.bytes -= bytes;
        }
        if let Some(bucket) = &entry.owner.bucket
            && let Some(tasks) = self.buckets.get_mut(bucket)
        {
            *tasks -= 1;
            if *tasks == 0 {
                self.buckets.remove(bucket);
            }
        }
        Some(entry)
    }

    /// Forgets a task whose call did not start.
    pub(super) fn forget(&mut self, id: TaskId) -> Option<Entry> {
        let entry = self.remove(id)?;
        self.totals.not_started += 1;
        Some(entry)
    }

    /// Forgets every task whose time is over.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Entry> {
        let places = self.ended.iter().map(|place| place.id);
        let is_over = |id: &TaskId| self.tasks.get(id).is_some_and(|entry| entry.is_over(now));
        let over: Vec<_> = places.filter(is_over).collect();
        self.totals.expired += over.len() as u64;
        over.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// A task, for its owner.
    fn find(&mut self, id: TaskId, caller: &Caller, now: Instant) -> Option<&mut Entry> {
        let entry = self.tasks.get_mut(&id)?;
        (entry.owner.permission.permits(caller) && !entry.is_over(now)).then_some(entry)
    }

    /// A task as its owner sees it.
    pub(super) fn get(
        &mut self,
        id: TaskId,
        caller: &Caller,
        now: Instant,
    ) -> Option<DetailedTask> {
        let entry = self.find(id, caller, now)?;
        let moved = entry.see();
        let task = entry.detailed(id, now);
        if let Some((before, after)) = moved {
            self.ended.remove(&before);
            self.ended.insert(after);
        }
        Some(task)
    }

    /// Takes the answers of an owner out of `responses`, for those who wait for them.
    ///
    /// # Errors
    ///
    /// [`Refused`], and then nothing is taken.
    pub(super) fn answer(
        &mut self,
        id: TaskId,
        caller: &Caller,
        responses: Map<String, Value>,
        now: Instant,
    ) -> Result<Vec<Answered>, Refused> {
        let entry = self.find(id, caller, now).ok_or(Refused::Unknown)?;
        entry.answer(responses, now)
    }

    /// What tells the call of a task to end; `None` when it has ended.
    ///
    /// # Errors
    ///
    /// [`Refused::Unknown`] for an id that names no task that the caller may use.
    pub(super) fn cancel_token(
        &mut self,
        id: TaskId,
        caller: &Caller,
        now: Instant,
    ) -> Result<Option<CancellationToken>, Refused> {
        let entry = self.find(id, caller, now).ok_or(Refused::Unknown)?;
        Ok(entry.cancel_token())
    }

    /// Says how far a task has come.
    pub(super) fn note(&mut self, id: TaskId, message: String, now: Instant) {
        if let Some(entry) = self.tasks.get_mut(&id) {
            entry.note(message, now);
        }
    }

    /// Asks the client of a task, and returns the number of the request; `None` when it asked too
    /// often, or has ended.
    pub(super) fn ask(
        &mut self,
        id: TaskId,
        request: InputRequest,
        reply: oneshot::Sender<Value>,
        now: Instant,
    ) -> Option<u32> {
        let bound = self.limits.ask_timeout;
        self.tasks.get_mut(&id)?.ask(request, reply, bound, now)
    }

    /// Withdraws a request, unless it was answered.
    pub(super) fn withdraw(&mut self, id: TaskId, number: u32, now: Instant) {
        if let Some(entry) = self.tasks.get_mut(&id) {
            entry.withdraw(number, now);
        }
    }

    /// Ends a task, and returns those that made room for its result. Only the first end counts.
    pub(super) fn end(&mut self, id: TaskId, ending: Ending, now: Instant) -> Vec<Entry> {
        let (status, bytes) = (ending.status(), ending.bytes());
        let Some(entry) = self.tasks.get_mut(&id) else {
            return Vec::new();
        };
        let Some(place) = entry.end(id, ending, now) else {
            return Vec::new();
        };
        self.ended.insert(place);
        self.bytes += bytes;
        match status {
            Status::Completed => self.totals.completed += 1,
            Status::Cancelled => self.totals.cancelled += 1,
            Status::Failed | Status::Working | Status::InputRequired => self.totals.failed += 1,
        }
        let mut gone = Vec::new();
        while self.bytes > self.limits.max_bytes && self.ended.len() > 1 {
            let others = self.ended.iter().find(|place| place.id != id);
            let Some(other) = others.map(|place| place.id) else {
                break;
            };
            self.totals.evicted += 1;
            gone.extend(self.remove(other));
        }
        gone
    }

    /// What is counted.
    pub(super) fn statistics(&self) -> Statistics {
        let Totals {
            created,
            completed,
            failed,
            cancelled,
            expired,
            evicted,
            not_started,
            refused_all,
            refused_principal,
        } = self.totals;
        let with = |status: Status| {
            let tasks = self.tasks.values();
            tasks.filter(|entry| entry.status() == status).count() as u64
        };
        Statistics {
            tasks: Counts::of(Status::ALL.map(Status::as_str), &Status::ALL.map(with)),
            max_tasks: self.limits.max_tasks,
            bytes: self.bytes,
            created,
            ended: Counts::of(
                ["completed", "failed", "cancelled"],
                &[completed, failed, cancelled],
            ),
            forgotten: Counts::of(
                ["expired", "evicted", "not_started"],
                &[expired, evicted, not_started],
            ),
            rejected: Counts::of(
                ["max_tasks", "principal_limit"],
                &[refused_all, refused_principal],
            ),
        }
    }
}

#[cfg(test)]
mod tests;
