use std::path::Path;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::*;
use crate::auth::Principal;
use crate::catalog::Catalog;

/// Tells a test what it hears.
struct Wire {
    said: mpsc::UnboundedSender<Said>,
    done: mpsc::UnboundedSender<Outcome>,
    panics: bool,
}

impl Wire {
    fn new(
        panics: bool,
    ) -> (
        Box<Self>,
        mpsc::UnboundedReceiver<Said>,
        mpsc::UnboundedReceiver<Outcome>,
    ) {
        let (said, heard) = mpsc::unbounded_channel();
        let (done, outcomes) = mpsc::unbounded_channel();
        let wire = Box::new(Self { said, done, panics });
        (wire, heard, outcomes)
    }
}

/// Nothing ends the call early.
fn never() -> Stop {
    Stop::default()
}

impl Listener for Wire {
    fn said(&mut self, said: Said) {
        drop(self.said.send(said));
        assert!(!self.panics, "a listener fails");
    }

    fn done(self: Box<Self>, outcome: Outcome) {
        drop(self.done.send(outcome));
    }
}

const TALKS: &str = r#"
defaults: {messages: true}
tools:
  talks:
    description: Says its process group and its folder, then waits.
    exec: >-
      sh -c 'echo "{\"mcp\":\"progress\",\"progress\":$$,\"message\":\"$PWD\"}"; exec sleep 300'
    timeout: 2s
"#;

fn call(executor: &Executor, tools: &str) -> CallRequest {
    let environment = [("PATH", "/usr/bin:/bin")].into_iter().collect();
    let loaded = Catalog::parse(tools, Path::new("tools.yaml"), &environment).unwrap();
    let tool = Arc::clone(loaded.catalog.tool("talks").unwrap());
    let caller = Arc::new(Caller::new(Principal::Anonymous));
    let arguments = tool
        .arguments(json!({}).as_object().cloned(), &caller)
        .unwrap();
    CallRequest {
        number: executor.number(),
        tool,
        arguments,
        caller,
        from: Origin {
            version: ProtocolVersion::V2025_11_25,
            capabilities: ClientCapabilities::default(),
            trace: None,
            session: None,
        },
        input: Input::Nobody("nobody listens"),
    }
}

/// Session rule D5: nothing that a client sends makes a task panic, so it is provoked here.
#[tokio::test]
async fn a_call_has_one_outcome_and_gives_all_back_also_when_its_task_panics() {
    let limits = Limits {
        max_calls: 1,
        max_calls_per_principal: None,
        call_timeout: Duration::from_secs(30),
        ask_timeout: Duration::from_secs(30),
    };
    for panics in [false, true] {
        let executor = Executor::new(limits);
        let (wire, mut heard, mut outcomes) = Wire::new(panics);
        let stop = never();
        executor.start(call(&executor, TALKS), stop, wire);
        let Some(Said::Progress(progress)) = heard.recv().await else {
            panic!("no progress");
        };
        let outcome = outcomes.recv().await.unwrap();
        assert_eq!(matches!(outcome, Outcome::Lost), panics, "{outcome:?}");
        // The listener is gone, and with it what it held.
        assert!(outcomes.recv().await.is_none());
        assert!(heard.recv().await.is_none());
        executor.finished().await;
        assert_eq!(executor.in_flight(), 0);
        assert!(!Path::new(&progress.message.unwrap()).exists());
        let group = progress
            .progress
            .as_i64()
            .and_then(|group| group.try_into().ok());
        let group = group.and_then(rustix::process::Pid::from_raw).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while rustix::process::test_kill_process_group(group).is_ok() {
            assert!(Instant::now() < deadline, "the group lives");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn progress_is_merged_to_a_pace_that_can_be_read() {
    const FLOOD: &str = r#"
defaults: {messages: true}
tools:
  talks:
    description: Reports many steps at once, waits, and reports more.
    exec: >-
      sh -c 'f="{\"mcp\":\"progress\",\"progress\":%.0f}"; seq -f "$f" 30000; sleep 2; seq -f "$f" 60000'
"#;
    let executor = Executor::new(Limits {
        max_calls: 1,
        max_calls_per_principal: None,
        call_timeout: Duration::from_secs(30),
        ask_timeout: Duration::from_secs(30),
    });
    let (wire, mut heard, mut outcomes) = Wire::new(false);
    let stop = never();
    let started = Instant::now();
    executor.start(call(&executor, FLOOD), stop, wire);
    let mut told = Vec::new();
    let mut idle = None;
    while let Some(Said::Progress(progress)) = heard.recv().await {
        told.push(progress.progress.as_u64().unwrap());
        if told.last() == Some(&30_000) {
            idle = Some(outcomes.try_recv().is_err());
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let most = 2.0 + 10.0 + 10.0 * seconds;
    let count = u32::try_from(told.len()).unwrap();
    assert!(f64::from(count) <= most, "{count} in {seconds} s");
    assert!(told.is_sorted_by(|one, other| one < other), "{told:?}");
    assert_eq!(told.first(), Some(&1));
    // What was held back is told when it is due, and before the outcome.
    assert_eq!(idle, Some(true), "{told:?}");
    assert_eq!(told.last(), Some(&60_000));
}

#[tokio::test]
async fn a_call_beyond_the_limit_is_refused_at_once() {
    let executor = Executor::new(Limits {
        max_calls: 0,
        max_calls_per_principal: None,
        call_timeout: Duration::from_secs(30),
        ask_timeout: Duration::from_secs(30),
    });
    let (wire, mut heard, mut outcomes) = Wire::new(false);
    let stop = never();
    executor.start(call(&executor, TALKS), stop, wire);
    let Ok(Outcome::Refused(refusal)) = outcomes.try_recv() else {
        panic!("it has no outcome, or another");
    };
    assert_eq!((refusal.limit, refusal.retry_after), (Limit::Server, 1));
    assert!(heard.recv().await.is_none());
    assert!(outcomes.recv().await.is_none());
}
