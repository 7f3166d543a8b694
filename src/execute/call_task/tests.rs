use std::path::Path;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::oneshot;

use super::*;
use crate::auth::Principal;
use crate::catalog::{Catalog, Environment};
use crate::execute::{Answer, Client, Executor, Input, Limit, Limits, Refusal, Said};
use crate::protocol::capabilities::ClientCapabilities;
use crate::protocol::input::InputRequest;
use crate::protocol::version::ProtocolVersion;

const TOOLS: &str = "
tools:
  wipe:
    description: Asks first if it can.
    exec: /bin/true
    confirm: Wipe it?
    confirm_fallback: allow
";

const PATIENCE: Duration = Duration::from_secs(30);

/// A user who thinks.
#[derive(Debug)]
struct Silent;

impl Client for Silent {
    fn ask(&self, _: &InputRequest) -> BoxFuture<'static, Answer> {
        Box::pin(std::future::pending())
    }
}

/// While its user is asked, the file that the call is for goes, and another call takes the one permit.
#[derive(Debug)]
struct Meanwhile {
    file: PathBuf,
    permits: Arc<Semaphore>,
    taken: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Client for Arc<Meanwhile> {
    fn ask(&self, _: &InputRequest) -> BoxFuture<'static, Answer> {
        std::fs::remove_file(&self.file).unwrap();
        *self.taken.lock() = Arc::clone(&self.permits).try_acquire_owned().ok();
        let agreed = json!({"action": "accept", "content": {"confirm": true}});
        Box::pin(std::future::ready(Ok(agreed)))
    }
}

/// When nothing but its turn is missing, both come back.
impl Listener for Arc<Meanwhile> {
    fn begins(&mut self) {
        if let Some(permit) = self.taken.lock().take() {
            std::fs::write(&self.file, "").unwrap();
            drop(permit);
        }
    }

    fn said(&mut self, _: Said) {}

    fn done(self: Box<Self>, _: Outcome) {}
}

fn executor() -> Executor {
    Executor::new(Limits {
        max_calls: 1,
        max_calls_per_principal: None,
        call_timeout: PATIENCE,
        ask_timeout: PATIENCE,
    })
}

fn task(executor: &Executor, tools: &str, stop: Stop) -> (CallTask, OwnedSemaphorePermit) {
    let loaded = Catalog::parse(tools, Path::new("tools.yaml"), &Environment::default()).unwrap();
    let caller = Arc::new(Caller::new(Principal::Anonymous));
    let permits = &executor.load.permits;
    let task = CallTask {
        number: executor.number(),
        tool: Arc::clone(loaded.catalog.tool("wipe").unwrap()),
        share: Arc::new(executor.calls.take(&caller.principal).unwrap()),
        caller,
        from: Origin {
            version: ProtocolVersion::V2025_11_25,
            capabilities: ClientCapabilities::default(),
            trace: None,
            session: None,
        },
        outbound: Arc::clone(&executor.outbound),
        outputs: Arc::clone(&executor.outputs),
        spares: Arc::clone(&executor.spares),
        deadline: PATIENCE,
        stop,
        shutdown: executor.stop.clone(),
        kill: executor.kill.clone(),
        permits: Arc::clone(permits),
        questions: executor.questions.clone(),
        gates: executor.gates.clone(),
        tasks: executor.tasks.clone(),
        stuck: executor.load.stuck.clone(),
    };
    (task, Arc::clone(permits).try_acquire_owned().unwrap())
}

/// No file system here can be made to hang, so something else does.
#[tokio::test]
async fn a_file_system_that_does_not_answer_holds_no_call_up() {
    for (stops, expected) in [(true, "cancelled by the client"), (false, "timeout")] {
        let executor = executor();
        let stop = Stop::default();
        let (task, permit) = task(&executor, TOOLS, stop.clone());
        let (answer, answers) = std::sync::mpsc::channel::<()>();
        let hangs = move || answers.recv().is_ok();
        let time = if stops { PATIENCE } else { Duration::ZERO };
        let deadline = Deadline::after(time, Instant::now());
        if stops {
            stop.client.cancel();
        }
        let outcome = task.off_reactor(hangs, &deadline, permit).await;
        assert_eq!(report::label(&outcome.unwrap_err()), expected);
        assert_eq!(executor.in_flight(), 1, "a thread still waits");
        answer.send(()).unwrap();
        assert!(executor.load.permits.acquire().await.is_ok());
    }
}

#[tokio::test]
async fn a_call_has_no_outcome_before_it_is_admitted() {
    let refusal = Refusal {
        limit: Limit::Audit,
        message: "It cannot be written down".into(),
        retry_after: 1,
    };
    let cases = [
        (false, Ok(()), None),
        (true, Ok(()), Some("cancelled by the client")),
        (true, Err(refusal), Some("refused: no audit log")),
    ];
    for (stops, admission, expected) in cases {
        let executor = executor();
        let (mut task, _permit) = task(&executor, TOOLS, Stop::default());
        task.deadline = Duration::ZERO;
        if stops {
            task.stop.client.cancel();
        }
        let (admit, admitted) = oneshot::channel();
        let admitted = Admission::new(async { admitted.await.unwrap() });
        let mut waiting = Box::pin(task.admitted(Some(admitted)));
        assert!(waiting.as_mut().now_or_never().is_none(), "{expected:?}");
        admit.send(admission).unwrap();
        let outcome = waiting.await.err();
        assert_eq!(outcome.as_ref().map(report::label), expected);
    }
}

#[tokio::test]
async fn only_a_call_that_waits_for_its_user_gives_its_permit_back() {
    let object = json!({"elicitation": {"form": {}}});
    let read = |object| ClientCapabilities::read(object, ProtocolVersion::V2025_11_25);
    let can_be_asked = read(object.as_object().unwrap());
    for (capabilities, keeps) in [(ClientCapabilities::default(), true), (can_be_asked, false)] {
        let executor = executor();
        let (task, permit) = task(&executor, TOOLS, Stop::default());
        let arguments = task.tool.arguments(None, &task.caller).unwrap();
        let input = Input::Live(Box::new(Silent));
        let mut conversation = Conversation::new(capabilities, input, PATIENCE);
        let mut asking = Box::pin(task.ask(&arguments, permit, &mut conversation));
        let asked = asking.as_mut().now_or_never();
        assert_eq!(asked.is_some(), keeps);
        let (_, permit) = asked.map(Result::unwrap).unzip();
        assert_eq!(permit.flatten().is_some(), keeps);
        assert_eq!(executor.in_flight(), 0, "while it waits");
    }
}

#[tokio::test]
async fn no_path_is_looked_up_without_a_permit() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display();
    let tools = format!(
        "tools: {{wipe: {{description: d, exec: '/bin/true {{file}}', confirm: Wipe it?, \
         params: {{file: {{type: path, root: {root}}}}}}}}}"
    );
    let executor = executor();
    let (task, permit) = task(&executor, &tools, Stop::default());
    let meanwhile = Arc::new(Meanwhile {
        file: folder.path().join("x"),
        permits: Arc::clone(&task.permits),
        taken: Mutex::default(),
    });
    std::fs::write(&meanwhile.file, "").unwrap();
    let arguments = json!({"file": "x"});
    let arguments = task
        .tool
        .arguments(arguments.as_object().cloned(), &task.caller)
        .unwrap();
    let object = json!({"elicitation": {"form": {}}});
    let version = ProtocolVersion::V2025_11_25;
    let capabilities = ClientCapabilities::read(object.as_object().unwrap(), version);
    let input = Input::Live(Box::new(Arc::clone(&meanwhile)));
    let conversation = Conversation::new(capabilities, input, PATIENCE);
    let mut listener = Arc::clone(&meanwhile);
    let run = task.run(&arguments, permit, conversation, &mut listener);
    let (outcome, _) = run.await;
    assert_eq!(report::label(&outcome), "ok", "{outcome:?}");
}
