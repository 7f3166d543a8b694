//! From a call to its outcome.
//!
//! A call that is not refused is a task of its own with a deadline, a permit and one outcome. It does not end because
//! a connection is lost; what that means is for the caller to say through [`Stop`]. The outcome is
//! given at the deadline, and the killing goes on behind it.

mod admission;
mod ask;
mod before;
mod call_task;
mod confined;
mod conversation;
mod deadline;
mod discreet;
mod filter;
mod folder;
mod gate;
mod identity;
mod intake;
mod kept;
mod lines;
mod matched;
mod memory;
mod messages;
mod orphans;
mod outbound;
mod output;
mod pace;
mod process;
mod refusal;
mod report;
mod reporter;
mod shares;
mod signals;
mod spill;
mod starting;
mod stderr;
mod stdin;
mod stdout;
mod stuck;
mod tail;

use std::borrow::Cow;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Caller;
use crate::catalog::{Arguments, Tool};
use crate::outputs::Outputs;
use crate::protocol::capabilities::{Capability, ClientCapabilities};
use crate::protocol::input::InputRequired;
use crate::protocol::jsonrpc::ErrorObject;
use crate::protocol::logging::LogMessage;
use crate::protocol::mcp::CallToolResult;
use crate::protocol::progress::Progress;
use crate::protocol::prompts::PromptMessage;
use crate::protocol::trace::TraceContext;
use crate::protocol::version::ProtocolVersion;
use folder::Spares;
use gate::Gates;
use outbound::Outbound;
use shares::Shares;
use stuck::Stuck;

pub use admission::Admission;
pub use ask::Answer;
pub use conversation::{Client, Input, MAX_ROUNDS};
pub use intake::log;
pub use refusal::{Limit, Refusal};
pub use report::{INVALID_ARGUMENTS, TIMEOUT, WAITED_TOO_LONG};

/// The most calls that wait at once for a user to answer what their definition asks.
const MAX_QUESTIONS: usize = 1024;
/// The most of them that are calls of one principal.
const MAX_QUESTIONS_OF_ONE: usize = 32;

/// How long is waited from one look to the next for what died after its parent, in a call that goes on,
/// and for what no call needs any more. A signal would tell of each death, also of those that every call
/// waits for anyway, and wake two threads for each.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What bounds the calls.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most calls at once, over all tools and callers.
    pub max_calls: usize,
    /// The most calls of one principal, those that wait included; `None` is no bound.
    pub max_calls_per_principal: Option<NonZeroUsize>,
    /// How long a call may take when its tool says nothing.
    pub call_timeout: Duration,
    /// How long a client may take for an answer; the call waits, and that does not count.
    pub ask_timeout: Duration,
}

/// Runs calls.
#[derive(Debug)]
pub struct Executor {
    limits: Limits,
    load: Load,
    calls: Shares,
    questions: Shares,
    gates: Gates,
    outbound: Arc<Outbound>,
    outputs: Arc<Outputs>,
    spares: Arc<Spares>,
    tasks: TaskTracker,
    numbers: AtomicU64,
    /// In milliseconds, over all tools that were ever called.
    longest_grace: AtomicU64,
    stop: CancellationToken,
    kill: CancellationToken,
}

/// How much an executor has to do.
#[derive(Debug, Clone)]
pub struct Load {
    max_calls: usize,
    permits: Arc<Semaphore>,
    stuck: Stuck,
}

/// A call to run: what, with which arguments, and for whom.
#[derive(Debug)]
pub struct CallRequest {
    /// From [`Executor::number`].
    pub number: u64,
    /// The tool.
    pub tool: Arc<Tool>,
    /// Arguments that passed its schema.
    pub arguments: Arguments,
    /// Who makes this request.
    pub caller: Arc<Caller>,
    /// The client that it comes from.
    pub from: Origin,
    /// How that client is asked.
    pub input: Input,
}

/// What a request says of the client that sent it.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The version of the protocol.
    pub version: ProtocolVersion,
    /// What the client can be asked.
    pub capabilities: ClientCapabilities,
    /// The trace that the request belongs to.
    pub trace: Option<TraceContext>,
    /// The digest of the id of its session.
    pub session: Option<String>,
}

/// What ends a call early, besides its deadline.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// The client gave the call up.
    pub client: CancellationToken,
    /// The client has left, and waits for no answer.
    pub connection: CancellationToken,
    /// The session that the call belongs to has ended.
    pub session: CancellationToken,
}

/// Why a call ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The client gave it up.
    ByClient,
    /// The client has left.
    ByDisconnect,
    /// Its session ended.
    BySession,
    /// The server is shutting down.
    ByShutdown,
}

impl Stopped {
    /// A few words for the log.
    pub fn label(self) -> &'static str {
        match self {
            Self::ByClient => "cancelled by the client",
            Self::ByDisconnect => "cancelled by a lost connection",
            Self::BySession => "cancelled with its session",
            Self::ByShutdown => "cancelled by shutdown",
        }
    }
}

/// What came of a call.
#[derive(Debug)]
pub enum Outcome {
    /// The tool has a result, good or bad.
    Result {
        /// What the model is told.
        result: CallToolResult,
        /// How the tool ended, in a few words for the log.
        how: Cow<'static, str>,
    },
    /// The client has to answer before the call can go on: it ended, and starts again with the
    /// answers.
    InputRequired(Box<InputRequired>),
    /// The client cannot be asked what it would have to answer.
    MissingCapabilities(Vec<Capability>),
    /// The tool has said that the call ends with this error.
    Error(ErrorObject),
    /// The messages of a prompt.
    Messages(Vec<PromptMessage>),
    /// The call is not run: there is too much to do.
    Refused(Refusal),
    /// What was printed or read, of which whoever asked makes something.
    Bytes(Vec<u8>),
    /// The call ended before the tool did.
    Stopped(Stopped),
    /// The task that ran the call panicked.
    Lost,
}

impl Outcome {
    /// What the log calls it, in a few words.
    pub fn label(&self) -> &str {
        report::label(self)
    }
}

/// Where the words of a call and its outcome go. It belongs to the call, and is there also after a
/// connection was lost.
///
/// All functions run in the task of the call, or of whoever starts it if it is refused, and must not
/// block.
pub trait Listener: Send + 'static {
    /// What has to happen before anything of the call runs, and before it is refused at a limit; `None`
    /// if nothing has. Asked once.
    fn admission(&self) -> Option<Admission> {
        None
    }

    /// What the definition asks is answered: its program is started next, or when it is its turn. May
    /// be called again, which means nothing. Not called when there is an outcome before that.
    fn begins(&mut self) {}

    /// The tool said something before its result.
    fn said(&mut self, said: Said);

    /// The call is over. Called exactly once, also when the task of the call panicked. What the
    /// listener holds is dropped with it.
    fn done(self: Box<Self>, outcome: Outcome);
}

/// What a tool says before its result.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// How far it has come. Each is further than the one before, and at most about ten come in a
    /// second: what comes faster is merged into the newest.
    Progress(Progress),
    /// That the call goes on, for whoever waits for it, in the form of progress: the progress that was
    /// told last, if any, and very little more.
    Alive(Progress),
    /// Something for the client's log.
    Log(LogMessage),
    /// A list of the server is not what it was.
    ListChanged(List),
    /// The client may leave and come back for the result.
    CloseStream,
}

/// A list that clients can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// The tools.
    Tools,
    /// The prompts.
    Prompts,
    /// The resources and their templates.
    Resources,
}

impl Executor {
    /// An executor without calls.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            load: Load {
                max_calls: limits.max_calls,
                permits: Arc::new(Semaphore::new(limits.max_calls.min(Semaphore::MAX_PERMITS))),
                stuck: Stuck::default(),
            },
            calls: Shares::new(None, limits.max_calls_per_principal),
            questions: Shares::new(Some(MAX_QUESTIONS), NonZeroUsize::new(MAX_QUESTIONS_OF_ONE)),
            // As many wait at most as run.
            gates: Gates::new(limits.max_calls),
            outbound: Arc::new(Outbound::new()),
            outputs: Arc::default(),
            spares: Arc::default(),
            tasks: TaskTracker::new(),
            numbers: AtomicU64::new(1),
            longest_grace: AtomicU64::new(0),
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
        }
    }

    /// A number for a call, unique in this process.
    pub fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The outputs that are larger than a result may be.
    pub fn outputs(&self) -> &Arc<Outputs> {
        &self.outputs
    }

    /// How long a call of a tool may take.
    pub fn time_limit(&self, tool: &Tool) -> Duration {
        tool.timeout.unwrap_or(self.limits.call_timeout)
    }

    /// How long the processes of the calls so far may take at most to end when they are asked to.
    pub fn longest_grace(&self) -> Duration {
        Duration::from_millis(self.longest_grace.load(Ordering::Relaxed))
    }

    /// How much there is to do, now and later.
    pub fn load(&self) -> Load {
        self.load.clone()
    }

    /// How many calls run now.
    pub fn in_flight(&self) -> usize {
        self.load.in_flight()
    }

    /// Takes note of what dies after its parent, for a process that has called [`prepare_children`], and of
    /// memory that runs out, and removes folders that no call needs, until `closing`.
    pub async fn keep_order(&self, closing: CancellationToken) {
        while timeout(LOOK_INTERVAL, closing.cancelled()).await.is_err() {
            orphans::reap();
            memory::look();
            self.outbound.forget_unserved();
            let unneeded = self.spares.unneeded();
            if !unneeded.is_empty() {
                // Nothing here waits for a file system.
                tokio::task::spawn_blocking(move || drop(unneeded));
            }
        }
    }

    /// Ends every call, for the end of the drain. Each still gets its outcome.
    pub fn stop_all(&self) {
        self.stop.cancel();
    }

    /// Kills every process without grace, for a second signal.
    pub fn kill_all(&self) {
        self.stop.cancel();
        self.kill.cancel();
    }

    /// Completes when no call runs and every process is gone. No call may start after this.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Load {
    /// The most calls at once.
    pub fn limit(&self) -> usize {
        self.max_calls
    }

    /// How many calls run now, with those that have been answered while a process of them is not gone.
    pub fn in_flight(&self) -> usize {
        self.max_calls
            .saturating_sub(self.permits.available_permits())
    }

    /// How many of them have a process that does not die.
    pub fn stuck(&self) -> usize {
        self.stuck.count()
    }
}

/// Sets on the server what every process that it starts inherits: no descriptor that the server
/// was started with, files that are private to its user, no core dumps, which could hold
/// secrets, and no signals that are ignored. What they start in turn becomes a child of the server
/// when it loses its parent; none of them can look into the server. To be called in the main thread,
/// before the first process is started.
///
/// # Errors
///
/// The operating system's, when one of it cannot be set.
pub fn prepare_children() -> io::Result<()> {
    const FIRST_AFTER_STDERR: i32 = 3;
    close_fds::set_fds_cloexec(FIRST_AFTER_STDERR, &[]);
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, none)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    signals::handle_ignored()?;
    memory::look();
    orphans::adopt()
}

#[cfg(test)]
mod tests;
