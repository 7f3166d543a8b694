use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::super::{MAX_ASKED, Owner};
use super::*;
use crate::auth::{Issuer, Permission, Principal};
use crate::protocol::jsonrpc::ErrorObject;
use crate::protocol::tasks::Detail;

const LIMITS: Limits = Limits {
    max_tasks: 4,
    max_tasks_per_principal: NonZeroUsize::new(2),
    keep: Duration::from_secs(100),
    max_bytes: 100,
    ask_timeout: Duration::from_secs(30),
};

/// A store with a clock.
struct Stage {
    store: Store,
    now: Instant,
}

impl Stage {
    fn new(limits: Limits) -> Self {
        let store = Store::new(limits);
        let now = Instant::now();
        Self { store, now }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn create(&mut self, number: u128, owner: &str) -> Result<Task, NoRoom> {
        let new = New {
            id: id(number),
            owner: Owner {
                permission: Permission::of(&Caller::new(user(owner))),
                bucket: Some(Bucket::Principal(user(owner))),
            },
            time_limit: Duration::from_secs(10),
            cancel: CancellationToken::new(),
            created: SystemTime::UNIX_EPOCH,
        };
        self.store.create(new, self.now).map(|(task, _)| task)
    }

    fn get(&mut self, number: u128, owner: &str) -> Option<DetailedTask> {
        self.store
            .get(id(number), &Caller::new(user(owner)), self.now)
    }

    fn status(&mut self, number: u128, owner: &str) -> Option<Status> {
        self.get(number, owner).map(|task| task.task.status)
    }

    fn complete(&mut self, number: u128, bytes: usize) {
        let result = RawValue::from_string(format!("\"{}\"", "x".repeat(bytes - 2)));
        let ending = Ending::Completed(Arc::from(result.unwrap()));
        self.store.end(id(number), ending, self.now);
    }

    fn ask(&mut self, number: u128) -> Option<(u32, oneshot::Receiver<Value>)> {
        let (reply, answer) = oneshot::channel();
        let request = InputRequest::form("Sure?", None).unwrap();
        let number = self.store.ask(id(number), request, reply, self.now)?;
        Some((number, answer))
    }

    /// Answers, and returns what reaches those who wait.
    fn answer(&mut self, number: u128, responses: &Value) -> Result<Vec<Value>, Refused> {
        let responses = responses.as_object().unwrap().clone();
        let answered =
            self.store
                .answer(id(number), &Caller::new(user("a")), responses, self.now)?;
        Ok(answered.into_iter().map(|(_, answer)| answer).collect())
    }

    /// The keys of what a task asks.
    fn keys(&mut self, number: u128) -> Vec<String> {
        match self.get(number, "a").and_then(|task| task.detail) {
            Some(Detail::InputRequests(requests)) => requests.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }
}

fn id(number: u128) -> TaskId {
    TaskId(Uuid::from_u128(number))
}

fn user(name: &str) -> Principal {
    Principal::user(Issuer::AuthFile, name, None)
}

fn accept() -> Value {
    json!({"action": "accept", "content": {}})
}

#[test]
fn an_id_has_one_form() {
    let good = TaskId::random();
    assert_eq!(TaskId::parse(&good.expose()), Some(good));
    let text = "0123456789abcdef0123456789abcdef";
    assert!(TaskId::parse(text).is_some());
    for bad in [
        "",
        "0123456789abcdef0123456789abcde",
        "0123456789ABCDEF0123456789ABCDEF",
        "01234567-89ab-cdef-0123-456789abcdef",
        "0123456789abcdef0123456789abcdeg",
        "{0123456789abcdef0123456789abcd}",
    ] {
        assert_eq!(TaskId::parse(bad), None, "{bad}");
    }
    assert_eq!(TaskId::parse(text).unwrap().to_string(), "01234567");
}

#[test]
fn a_task_says_when_it_was_made_and_how_long_it_is_kept() {
    let mut stage = Stage::new(LIMITS);
    let task = stage.create(1, "a").unwrap();
    let expected = Task {
        task_id: "00000000000000000000000000000001".to_owned(),
        status: Status::Working,
        status_message: None,
        created_at: "1970-01-01T00:00:00.000Z".to_owned(),
        last_updated_at: "1970-01-01T00:00:00.000Z".to_owned(),
        ttl_ms: 110_000,
        poll_interval_ms: 500,
    };
    assert_eq!(task, expected);
    stage.pass(5);
    stage.store.note(id(1), "copying".to_owned(), stage.now);
    stage.pass(1);
    let noted = stage.get(1, "a").unwrap().task;
    assert_eq!(noted.status_message.as_deref(), Some("copying"));
    assert_eq!(noted.last_updated_at, "1970-01-01T00:00:05.000Z");
    for (seconds, interval) in [(2, 500), (16, 1500), (1000, 10_000)] {
        stage.pass(seconds);
        let task = stage.get(1, "a").unwrap().task;
        assert_eq!(task.poll_interval_ms, interval, "after {seconds} more");
    }
}

#[test]
fn only_its_owner_finds_a_task() {
    let mut stage = Stage::new(LIMITS);
    stage.create(1, "a").unwrap();
    assert!(stage.get(1, "a").is_some());
    assert!(stage.get(1, "b").is_none());
    assert!(stage.get(2, "a").is_none());
    let stranger = Caller::new(user("b"));
    let cancel = stage.store.cancel_token(id(1), &stranger, stage.now);
    assert_eq!(cancel.unwrap_err(), Refused::Unknown);
    let answered = stage.store.answer(id(1), &stranger, Map::new(), stage.now);
    assert_eq!(answered.unwrap_err(), Refused::Unknown);
    let cancel = stage
        .store
        .cancel_token(id(1), &Caller::new(user("a")), stage.now);
    assert!(cancel.unwrap().is_some());
}

#[test]
fn a_task_ends_once() {
    let error = || ErrorObject::new(-7, "no");
    let endings = [
        (Ending::Failed(error()), Status::Failed, Some("no")),
        (
            Ending::Cancelled,
            Status::Cancelled,
            Some("The client cancelled the task."),
        ),
        (
            Ending::lost(),
            Status::Failed,
            Some("Internal error: the call was lost"),
        ),
    ];
    for (ending, status, message) in endings {
        let mut stage = Stage::new(LIMITS);
        stage.create(1, "a").unwrap();
        let (number, _answer) = stage.ask(1).unwrap();
        stage.store.end(id(1), ending, stage.now);
        stage.complete(1, 10);
        stage.store.note(id(1), "late".to_owned(), stage.now);
        stage.store.withdraw(id(1), number, stage.now);
        assert!(stage.ask(1).is_none());
        assert_eq!(stage.answer(1, &json!({"input-1": accept()})), Ok(vec![]));
        let task = stage.get(1, "a").unwrap();
        assert_eq!(task.task.status, status);
        assert_eq!(task.task.status_message.as_deref(), message);
        let cancel = stage
            .store
            .cancel_token(id(1), &Caller::new(user("a")), stage.now);
        assert!(cancel.unwrap().is_none());
    }
    let mut stage = Stage::new(LIMITS);
    stage.create(1, "a").unwrap();
    stage.complete(1, 10);
    stage.store.end(id(1), Ending::Cancelled, stage.now);
    let detail = stage.get(1, "a").unwrap().detail;
    assert!(matches!(detail, Some(Detail::Result(result)) if result.get().len() == 10));
}

#[test]
fn a_task_that_has_ended_is_kept_for_its_time() {
    let mut stage = Stage::new(LIMITS);
    stage.create(1, "a").unwrap();
    stage.create(2, "a").unwrap();
    stage.complete(1, 10);
    stage.pass(109);
    assert_eq!(stage.status(1, "a"), Some(Status::Completed));
    stage.pass(1);
    assert_eq!(stage.status(1, "a"), None);
    // One that runs is always found.
    assert_eq!(stage.status(2, "a"), Some(Status::Working));
    assert_eq!(stage.store.expire(stage.now).len(), 1);
    assert_eq!(stage.store.expire(stage.now).len(), 0);
    assert_eq!(stage.store.statistics().forgotten.get("expired"), 1);
    assert_eq!(stage.store.bytes, 0);
}

#[test]
fn what_a_client_takes_to_answer_makes_its_task_live_longer() {
    let mut stage = Stage::new(LIMITS);
    stage.create(1, "a").unwrap();
    let ttl = |stage: &mut Stage| stage.get(1, "a").unwrap().task.ttl_ms;
    stage.pass(5);
    stage.ask(1).unwrap();
    assert_eq!(ttl(&mut stage), 145_000);
    stage.ask(1).unwrap();
    assert_eq!(ttl(&mut stage), 145_000);
    stage.pass(20);
    stage.ask(1).unwrap();
    assert_eq!(ttl(&mut stage), 165_000);
}

#[test]
fn a_client_answers_one_by_one_and_each_request_once() {
    let mut stage = Stage::new(LIMITS);
    stage.create(1, "a").unwrap();
    let first = stage.ask(1).unwrap();
    let second = stage.ask(1).unwrap();
    assert_eq!(stage.status(1, "a"), Some(Status::InputRequired));
    assert_eq!(stage.keys(1), ["input-1", "input-2"]);

    let stray = json!({"input-01": accept(), "input-3": accept(), "x": 7});
    assert_eq!(stage.answer(1, &stray), Ok(vec![]));
    let decline = json!({"action": "decline"});
    let partial = json!({"input-2": decline, "x": 7});
    assert_eq!(stage.answer(1, &partial), Ok(vec![decline]));
    assert_eq!(stage.keys(1), ["input-1"]);
    assert_eq!(stage.answer(1, &partial), Ok(vec![]));
    assert_eq!(stage.status(1, "a"), Some(Status::InputRequired));

    stage.store.withdraw(id(1), first.0, stage.now);
    assert_eq!(stage.status(1, "a"), Some(Status::Working));
    assert_eq!(stage.answer(1, &json!({"input-1": accept()})), Ok(vec![]));
    assert_eq!(second.0, 2);
    // A key is not used a second time.
    assert_eq!(stage.ask(1).unwrap().0, 3);
}

#[test]
fn a_malformed_answer_takes_nothing() {
    let mut stage = Stage::new(LIMITS);
    stage.create(1, "a").unwrap();
    let _first = stage.ask(1).unwrap();
    let _second = stage.ask(1).unwrap();
    for bad in [json!(null), json!(7), json!({"action": "yes"})] {
        let answers = json!({"input-1": accept(), "input-2": bad});
        let refused = stage.answer(1, &answers).unwrap_err();
        assert!(matches!(refused, Refused::Malformed { key, .. } if key == "input-2"));
        assert_eq!(stage.keys(1), ["input-1", "input-2"]);
    }
}

#[test]
fn a_task_asks_only_so_often() {
    let mut stage = Stage::new(LIMITS);
    stage.create(1, "a").unwrap();
    for expected in 1..=MAX_ASKED {
        let (number, _answer) = stage.ask(1).unwrap();
        assert_eq!(number, expected);
        stage.store.withdraw(id(1), number, stage.now);
    }
    assert!(stage.ask(1).is_none());
    assert_eq!(stage.status(1, "a"), Some(Status::Working));
}

#[test]
fn a_principal_at_its_limit_makes_room_for_itself() {
    let mut stage = Stage::new(LIMITS);
    stage.create(1, "b").unwrap();
    stage.complete(1, 10);
    stage.create(2, "a").unwrap();
    stage.create(3, "a").unwrap();
    assert_eq!(stage.create(4, "a"), Err(NoRoom::PrincipalFull));
    stage.complete(3, 10);
    stage.create(4, "a").unwrap();
    assert_eq!(stage.status(3, "a"), None);
    assert_eq!(stage.status(2, "a"), Some(Status::Working));
    assert_eq!(stage.status(1, "b"), Some(Status::Completed));
}

#[test]
fn a_full_store_forgets_what_was_seen_and_ended_first() {
    let limits = Limits {
        max_tasks_per_principal: None,
        ..LIMITS
    };
    let mut stage = Stage::new(limits);
    for number in 1..=4 {
        stage.create(number, "a").unwrap();
    }
    assert_eq!(stage.create(5, "b"), Err(NoRoom::Full));
    for number in [2, 1, 3] {
        stage.complete(number, 10);
        stage.pass(1);
    }
    assert_eq!(stage.status(3, "a"), Some(Status::Completed));
    for (new, gone) in [(5, 3), (6, 2), (7, 1)] {
        stage.create(new, "b").unwrap();
        assert!(!stage.store.tasks.contains_key(&id(gone)), "{gone}");
    }
    assert_eq!(stage.create(8, "b"), Err(NoRoom::Full));
    assert_eq!(stage.status(4, "a"), Some(Status::Working));
}

#[test]
fn a_limit_counts_nothing_that_has_expired() {
    let mut stage = Stage::new(LIMITS);
    stage.create(1, "a").unwrap();
    stage.create(2, "a").unwrap();
    stage.complete(1, 10);
    stage.pass(200);
    stage.create(3, "a").unwrap();
    let statistics = stage.store.statistics();
    assert_eq!(statistics.forgotten.get("expired"), 1);
    assert_eq!(statistics.forgotten.get("evicted"), 0);
}

#[test]
fn callers_without_a_bucket_share_the_limit_of_all_only() {
    let mut stage = Stage::new(LIMITS);
    for number in 1..=5 {
        let new = New {
            id: id(number),
            owner: Owner {
                permission: Permission::of(&Caller::new(Principal::Anonymous)),
                bucket: None,
            },
            time_limit: Duration::MAX,
            cancel: CancellationToken::new(),
            created: SystemTime::UNIX_EPOCH,
        };
        let created = stage.store.create(new, stage.now);
        assert_eq!(created.err(), (number == 5).then_some(NoRoom::Full));
    }
    let address = Bucket::Address(Some(IpAddr::from([127, 0, 0, 1])));
    assert!(!stage.store.is_crowded(Some(&address)));
}

#[test]
fn what_an_error_carries_takes_room() {
    let mut stage = Stage::new(LIMITS);
    stage.create(1, "a").unwrap();
    let error = ErrorObject::new(1, "no").with_data(json!("why"));
    stage.store.end(id(1), Ending::Failed(error), stage.now);
    assert_eq!(stage.store.bytes, 2 + 5);
}

#[test]
fn results_make_room_for_newer_ones() {
    let mut stage = Stage::new(LIMITS);
    for (number, owner) in [(1, "a"), (2, "a"), (3, "b"), (4, "b")] {
        stage.create(number, owner).unwrap();
    }
    stage.complete(1, 40);
    stage.complete(2, 40);
    stage.status(2, "a");
    stage.complete(3, 40);
    assert_eq!(stage.status(2, "a"), None);
    assert_eq!(stage.store.bytes, 80);
    // The newest is kept, however large it is.
    stage.complete(4, 1000);
    assert_eq!(stage.store.bytes, 1000);
    assert_eq!(stage.status(1, "a"), None);
    assert_eq!(stage.status(3, "b"), None);
    assert_eq!(stage.status(4, "b"), Some(Status::Completed));
}

#[test]
fn every_task_is_counted() {
    let mut stage = Stage::new(LIMITS);
    for (number, owner) in [(1, "a"), (2, "a"), (3, "b"), (4, "b")] {
        stage.create(number, owner).unwrap();
    }
    assert!(stage.create(5, "a").is_err());
    assert!(stage.create(5, "c").is_err());
    stage.ask(1).unwrap();
    stage.complete(2, 10);
    stage.store.end(id(3), Ending::Cancelled, stage.now);
    stage.store.forget(id(4)).unwrap();
    assert!(stage.store.forget(id(4)).is_none());
    stage.create(5, "c").unwrap();
    stage.create(6, "c").unwrap();
    let expected = json!({
        "tasks": {"working": 2, "input_required": 1, "completed": 0, "failed": 0, "cancelled": 1},
        "max_tasks": 4,
        "bytes": 0,
        "created": 6,
        "ended": {"completed": 1, "failed": 0, "cancelled": 1},
        "forgotten": {"expired": 0, "evicted": 1, "not_started": 1},
        "rejected": {"max_tasks": 1, "principal_limit": 1},
    });
    let statistics = serde_json::to_value(stage.store.statistics()).unwrap();
    assert_eq!(statistics, expected);
}
