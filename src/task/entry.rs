//! One task, as the store keeps it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Owner, TaskId};
use crate::protocol::input::InputRequest;
use crate::protocol::jsonrpc::{ErrorObject, INTERNAL_ERROR};
use crate::protocol::tasks::{Detail, DetailedTask, Status, Task};

/// How often a task may ask: more is a program that never has enough, and with nobody to answer it
/// would never end.
pub const MAX_ASKED: u32 = 1000;
/// How soon a client should look at a young task again.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How soon a client should look at an old task again.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(10);
/// A look is due after one part in so many of a task's age.
const POLLS: u32 = 16;

/// How a task ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// Its call has a result, good or bad.
    Completed(Arc<RawValue>),
    /// A JSON-RPC error ended it.
    Failed(ErrorObject),
    /// Its client cancelled it.
    Cancelled,
}

impl Ending {
    /// The call of the task was lost.
    pub fn lost() -> Self {
        let text = "Internal error: the call was lost";
        Self::Failed(ErrorObject::new(INTERNAL_ERROR, text))
    }

    /// The status of a task that ended so.
    pub fn status(&self) -> Status {
        match self {
            Self::Completed(_) => Status::Completed,
            Self::Failed(_) => Status::Failed,
            Self::Cancelled => Status::Cancelled,
        }
    }

    /// About how many bytes it takes to keep.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Completed(result) => result.get().len(),
            Self::Failed(error) => {
                let data = error.data.as_ref().map(ToString::to_string);
                error.message.len() + data.map_or(0, |data| data.len())
            }
            Self::Cancelled => 0,
        }
    }
}

/// Why answers were not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The id is unknown, expired, or belongs to another principal. Nobody outside can tell which.
    Unknown,
    /// An answer is not of the form that its request calls for.
    Malformed {
        /// The key of the request.
        key: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

/// Who waits for an answer, and the answer.
pub(super) type Answered = (oneshot::Sender<Value>, Value);

/// A task.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) owner: Owner,
    created: Instant,
    created_wall: SystemTime,
    updated: Instant,
    /// For how long it may run from the last answer on, and is kept then.
    spare: Duration,
    ttl: Duration,
    note: Option<String>,
    asked: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Running {
        cancel: CancellationToken,
        open: BTreeMap<u32, Question>,
    },
    Ended {
        ending: Ending,
        place: Place,
    },
}

#[derive(Debug)]
struct Question {
    request: InputRequest,
    reply: oneshot::Sender<Value>,
}

/// The place of an ended task in the order in which tasks make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Its client has not seen yet that it ended.
    pub(super) is_news: bool,
    ended: Instant,
    pub(super) id: TaskId,
}

/// A task to create.
#[derive(Debug)]
pub(super) struct New {
    /// A random id.
    pub(super) id: TaskId,
    /// Whose it is.
    pub(super) owner: Owner,
    /// The longest time that its call may take, without what its client takes to answer.
    pub(super) time_limit: Duration,
    /// Cancelled when the client gives it up.
    pub(super) cancel: CancellationToken,
    /// When it is created, by the wall clock.
    pub(super) created: SystemTime,
}

impl Entry {
    /// A task that runs, and is kept for so long beyond its time limit.
    pub(super) fn new(new: New, keep: Duration, now: Instant) -> Self {
        let spare = new.time_limit.saturating_add(keep);
        Self {
            owner: new.owner,
            created: now,
            created_wall: new.created,
            updated: now,
            spare,
            ttl: spare,
            note: None,
            asked: 0,
            state: State::Running {
                cancel: new.cancel,
                open: BTreeMap::new(),
            },
        }
    }

    /// True if it is not to be found any more. One that runs always is.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        matches!(self.state, State::Ended { .. })
            && now.saturating_duration_since(self.created) >= self.ttl
    }

    pub(super) fn status(&self) -> Status {
        match &self.state {
            State::Running { open, .. } if open.is_empty() => Status::Working,
            State::Running { .. } => Status::InputRequired,
            State::Ended { ending, .. } => ending.status(),
        }
    }

    /// Its place among those that have ended, and its bytes.
    pub(super) fn ended(&self) -> Option<(Place, usize)> {
        match &self.state {
            State::Running { .. } => None,
            State::Ended { ending, place } => Some((*place, ending.bytes())),
        }
    }

    /// What tells its call to end; `None` when it has.
    pub(super) fn cancel_token(&self) -> Option<CancellationToken> {
        match &self.state {
            State::Running { cancel, .. } => Some(cancel.clone()),
            State::Ended { .. } => None,
        }
    }

    /// Says how far it has come.
    pub(super) fn note(&mut self, message: String, now: Instant) {
        if matches!(self.state, State::Running { .. }) {
            self.note = Some(message);
            self.updated = now;
        }
    }

    /// Asks its client, who may take so long, and returns the number of the request.
    pub(super) fn ask(
        &mut self,
        request: InputRequest,
        reply: oneshot::Sender<Value>,
        bound: Duration,
        now: Instant,
    ) -> Option<u32> {
        let State::Running { open, .. } = &mut self.state else {
            return None;
        };
        let number = self.asked.checked_add(1).filter(|at| *at <= MAX_ASKED)?;
        open.insert(number, Question { request, reply });
        self.asked = number;
        self.updated = now;
        // While its client is asked, the time of its call stands still.
        let age = now.saturating_duration_since(self.created);
        let latest = age.saturating_add(bound).saturating_add(self.spare);
        self.ttl = self.ttl.max(latest);
        Some(number)
    }

    /// Withdraws a request, unless it was answered.
    pub(super) fn withdraw(&mut self, number: u32, now: Instant) {
        if let State::Running { open, .. } = &mut self.state
            && open.remove(&number).is_some()
        {
            self.updated = now;
        }
    }

    /// Takes the answers to open requests. What is not open is ignored: it was answered before, or
    /// never asked.
    pub(super) fn answer(
        &mut self,
        mut responses: Map<String, Value>,
        now: Instant,
    ) -> Result<Vec<Answered>, Refused> {
        let State::Running { open, .. } = &mut self.state else {
            return Ok(Vec::new());
        };
        for (number, question) in &*open {
            let key = key(*number);
            if let Some(answer) = responses.get(&key)
                && let Err(reason) = question.request.check(answer)
            {
                return Err(Refused::Malformed { key, reason });
            }
        }
        let answered: Vec<_> = open
            .extract_if(.., |number, _| responses.contains_key(&key(*number)))
            .collect();
        if !answered.is_empty() {
            self.updated = now;
        }
        let answered = answered.into_iter().filter_map(|(number, question)| {
            Some((question.reply, responses.remove(&key(number))?))
        });
        Ok(answered.collect())
    }

    /// Ends it; `None` if it had ended before.
    pub(super) fn end(&mut self, id: TaskId, ending: Ending, now: Instant) -> Option<Place> {
        if matches!(self.state, State::Ended { .. }) {
            return None;
        }
        let place = Place {
            is_news: true,
            ended: now,
            id,
        };
        self.note = match &ending {
            Ending::Completed(_) => None,
            Ending::Failed(error) => Some(error.message.to_string()),
            Ending::Cancelled => Some("The client cancelled the task.".to_owned()),
        };
        self.updated = now;
        self.state = State::Ended { ending, place };
        Some(place)
    }

    /// Notes that its client sees it now. Returns the place that it had, and has, if that changes.
    pub(super) fn see(&mut self) -> Option<(Place, Place)> {
        match &mut self.state {
            State::Ended { place, .. } if place.is_news => {
                let before = *place;
                place.is_news = false;
                Some((before, *place))
            }
            _ => None,
        }
    }

    /// The task, as the answer to its call has it.
    pub(super) fn task(&self, id: TaskId, now: Instant) -> Task {
        let age = now.saturating_duration_since(self.created);
        let until_updated = self.updated.saturating_duration_since(self.created);
        Task {
            task_id: id.expose(),
            status: self.status(),
            status_message: self.note.clone(),
            created_at: iso_8601(self.created_wall),
            last_updated_at: iso_8601(self.created_wall + until_updated),
            ttl_ms: millis(self.ttl),
            poll_interval_ms: millis((age / POLLS).clamp(MIN_POLL_INTERVAL, MAX_POLL_INTERVAL)),
        }
    }

    /// The task, as `tasks/get` has it.
    pub(super) fn detailed(&self, id: TaskId, now: Instant) -> DetailedTask {
        let detail = match &self.state {
            State::Running { open, .. } => (!open.is_empty()).then(|| requests(open)),
            State::Ended { ending, .. } => match ending {
                Ending::Completed(result) => Some(Detail::Result(Arc::clone(result))),
                Ending::Failed(error) => Some(Detail::Error(error.clone())),
                Ending::Cancelled => None,
            },
        };
        DetailedTask {
            task: self.task(id, now),
            detail,
        }
    }
}

fn requests(open: &BTreeMap<u32, Question>) -> Detail {
    let requests = open.iter();
    let requests = requests.map(|(number, question)| (key(*number), question.request.to_value()));
    Detail::InputRequests(requests.collect())
}

/// The key of a request. Each is used once in the life of a task.
fn key(number: u32) -> String {
    format!("input-{number}")
}

fn iso_8601(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
