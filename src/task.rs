//! Tasks: calls that outlive their requests (MCP extension `io.modelcontextprotocol/tasks`).
//!
//! A client comes back for what its task has to say, as often as it likes, and with answers to what
//! the task asks. A task belongs to the principal that created it; for everybody else there is no
//! such task. The `Store` is plain data that is told the time; this module gives it a lock, a
//! clock, and a hold for the call that a task stands for.

mod entry;
mod store;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::{Caller, Permission};
use crate::protocol::input::InputRequest;
use crate::protocol::tasks::{DetailedTask, Task};
use crate::session::Bucket;
use entry::New;
use store::Store;

pub use entry::{Ending, MAX_ASKED, Refused};
pub use store::{Limits, NoRoom, Statistics};

/// How often tasks that are too old are forgotten: an upper bound of how long one is kept beyond
/// its time. It cannot be found any more from its time on.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);

/// A task id: 128 random bits as hexadecimal digits in lower case, the only form that is ever
/// handed out or accepted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(Uuid);

impl TaskId {
    #[expect(
        clippy::expect_used,
        reason = "without random bits there can be no tasks"
    )]
    fn random() -> Self {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).expect("the system has random bits");
        Self(Uuid::from_bytes(bits))
    }

    /// Reads an id as it was handed out; `None` for every other text.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == uuid::fmt::Simple::LENGTH)
            .then(|| Uuid::try_parse(text).ok())
            .flatten()
            .map(Self)
            .filter(|id| id.expose() == text)
    }

    /// The text for clients. Not for logs: among anonymous callers it is all that protects a task.
    pub fn expose(self) -> String {
        self.0.simple().to_string()
    }
}

/// The first eight digits: enough to follow a task through a log, too few to use it.
impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0.as_fields().0)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whose task it is.
#[derive(Debug, Clone)]
pub struct Owner {
    /// Who may use it.
    pub permission: Permission,
    /// With which other tasks it shares a limit; `None` counts for the limit of all only.
    pub bucket: Option<Bucket>,
}

/// All tasks of the process.
#[derive(Debug)]
pub struct Tasks(Mutex<Store>);

impl Tasks {
    /// No tasks.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Store::new(limits))))
    }

    /// Creates a task for a call of at most this duration. `cancel` is cancelled when the client
    /// wants the call to end.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] at a limit where no task that has ended can make room.
    pub fn create(
        self: &Arc<Self>,
        owner: Owner,
        time_limit: Duration,
        cancel: CancellationToken,
    ) -> Result<(Running, Task), NoRoom> {
        let new = New {
            id: TaskId::random(),
            owner,
            time_limit,
            cancel,
            created: SystemTime::now(),
        };
        let id = new.id;
        let (task, gone) = self.0.lock().create(new, Instant::now())?;
        // Dropped here, outside of the lock.
        drop(gone);
        let running = Running {
            tasks: Arc::clone(self),
            id,
        };
        Ok((running, task))
    }

    /// Forgets a task whose call did not start.
    pub fn forget(&self, id: TaskId) {
        let forgotten = self.0.lock().forget(id);
        // Dropped here, outside of the lock.
        drop(forgotten);
    }

    /// The task of this id, as its owner sees it.
    pub fn get(&self, id: &str, caller: &Caller) -> Option<DetailedTask> {
        let id = TaskId::parse(id)?;
        self.0.lock().get(id, caller, Instant::now())
    }

    /// Takes the answers of a client to what its task has asked.
    ///
    /// # Errors
    ///
    /// [`Refused`], and then nothing is taken.
    pub fn update(
        &self,
        id: &str,
        caller: &Caller,
        responses: Map<String, Value>,
    ) -> Result<(), Refused> {
        let id = TaskId::parse(id).ok_or(Refused::Unknown)?;
        let mut store = self.0.lock();
        let answered = store.answer(id, caller, responses, Instant::now())?;
        drop(store);
        for (sender, answer) in answered {
            // A call that ended meanwhile wants no answer.
            sender.send(answer).ok();
        }
        Ok(())
    }

    /// Tells the call of a task that its client gave it up. One that has ended already stays as it
    /// is.
    ///
    /// # Errors
    ///
    /// [`Refused::Unknown`] for an id that names no task that the caller may use.
    pub fn cancel(&self, id: &str, caller: &Caller) -> Result<(), Refused> {
        let id = TaskId::parse(id).ok_or(Refused::Unknown)?;
        let mut store = self.0.lock();
        let cancel = store.cancel_token(id, caller, Instant::now())?;
        drop(store);
        if let Some(cancel) = cancel {
            cancel.cancel();
        }
        Ok(())
    }

    /// What is counted.
    pub fn statistics(&self) -> Statistics {
        self.0.lock().statistics()
    }

    /// Forgets what is too old, until `closing`.
    pub async fn keep_young(&self, closing: CancellationToken) {
        while timeout(FORGET_INTERVAL, closing.cancelled()).await.is_err() {
            let forgotten = self.0.lock().expire(Instant::now());
            // Dropped here, outside of the lock.
            drop(forgotten);
        }
    }
}

/// What a call holds of its task. Dropped before it has ended, the task has failed.
#[derive(Debug)]
pub struct Running {
    tasks: Arc<Tasks>,
    id: TaskId,
}

impl Running {
    /// The id of the task.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Says how far it has come.
    pub fn note(&self, message: String) {
        self.tasks.0.lock().note(self.id, message, Instant::now());
    }

    /// Asks the client. The future completes with its answer; dropped before, the request is
    /// withdrawn. `None` is no answer: the task has asked too often, or is over.
    pub fn ask(
        &self,
        request: &InputRequest,
    ) -> impl Future<Output = Option<Value>> + Send + use<> {
        let (sender, receiver) = oneshot::channel();
        let mut store = self.tasks.0.lock();
        let number = store.ask(self.id, request.clone(), sender, Instant::now());
        drop(store);
        let asked = Asked {
            tasks: Arc::clone(&self.tasks),
            id: self.id,
            number,
        };
        async move {
            let answer = receiver.await.ok();
            drop(asked);
            answer
        }
    }

    /// The call is over.
    pub fn end(&self, ending: Ending) {
        let evicted = self.tasks.0.lock().end(self.id, ending, Instant::now());
        // Dropped here, outside of the lock.
        drop(evicted);
    }
}

/// The last resort, should a call be lost: its client must not wait for ever.
impl Drop for Running {
    fn drop(&mut self) {
        self.end(Ending::lost());
    }
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Asked {
    tasks: Arc<Tasks>,
    id: TaskId,
    number: Option<u32>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let mut store = self.tasks.0.lock();
            store.withdraw(self.id, number, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::Principal;
    use crate::protocol::tasks::{Detail, Status};

    fn running() -> (Arc<Tasks>, Running, String) {
        let tasks = Tasks::new(Limits {
            max_tasks: 10,
            max_tasks_per_principal: None,
            keep: Duration::from_secs(100),
            max_bytes: 1000,
            ask_timeout: Duration::from_secs(10),
        });
        let owner = Owner {
            permission: Permission::of(&nobody()),
            bucket: None,
        };
        let created = tasks.create(owner, Duration::from_secs(5), CancellationToken::new());
        let (running, task) = created.unwrap();
        (tasks, running, task.task_id)
    }

    fn nobody() -> Caller {
        Caller::new(Principal::Anonymous)
    }

    fn get(tasks: &Tasks, id: &str) -> DetailedTask {
        tasks.get(id, &nobody()).unwrap()
    }

    #[test]
    fn a_call_that_is_lost_fails_its_task() {
        let (tasks, running, id) = running();
        drop(running);
        let task = get(&tasks, &id);
        assert_eq!(task.task.status, Status::Failed);
        assert!(matches!(task.detail, Some(Detail::Error(error)) if error.code == -32603));
    }

    #[test]
    fn a_call_that_did_not_start_leaves_no_task() {
        let (tasks, running, id) = running();
        tasks.forget(running.id());
        drop(running);
        assert!(tasks.get(&id, &nobody()).is_none());
    }

    #[tokio::test]
    async fn an_answer_reaches_the_call_and_a_dropped_request_is_withdrawn() {
        let (tasks, running, id) = running();
        let request = InputRequest::form("Sure?", None).unwrap();
        let asked = running.ask(&request);
        let dropped = running.ask(&request);
        assert_eq!(get(&tasks, &id).task.status, Status::InputRequired);
        let answer = json!({"action": "decline"});
        let responses = json!({"input-1": answer}).as_object().unwrap().clone();
        let updated = tasks.update(&id, &nobody(), responses);
        assert_eq!(updated, Ok(()));
        assert_eq!(asked.await, Some(answer));
        drop(dropped);
        assert_eq!(get(&tasks, &id).task.status, Status::Working);
        let withdrawn = running.ask(&request);
        running.end(Ending::Cancelled);
        assert_eq!(withdrawn.await, None);
    }

    #[test]
    fn cancelling_tells_the_call() {
        let (tasks, running, id) = running();
        assert_eq!(tasks.cancel("x", &nobody()), Err(Refused::Unknown));
        assert_eq!(tasks.cancel(&id, &nobody()), Ok(()));
        running.end(Ending::Cancelled);
        assert_eq!(tasks.cancel(&id, &nobody()), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn old_tasks_are_forgotten_in_time() {
        let (tasks, running, _) = running();
        running.end(Ending::Cancelled);
        let closing = CancellationToken::new();
        let look = async {
            tokio::time::sleep(Duration::from_secs(105) + FORGET_INTERVAL).await;
            assert_eq!(tasks.statistics().forgotten.get("expired"), 1);
            closing.cancel();
        };
        tokio::join!(tasks.keep_young(closing.clone()), look);
    }
}
