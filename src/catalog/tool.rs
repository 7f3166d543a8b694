//! A tool as it runs: everything about it is settled, and a call only brings its arguments.

mod digest;
mod exit;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::allow::Allow;
use super::argument_error::ArgumentError;
use super::binding::Bindings;
use super::concurrency::{Concurrency, Rate};
use super::content::{self, Piece};
use super::exec::{Command, Exec};
use super::outbound::{Http, Request};
use super::output::Output;
use super::params::Parameters;
use super::progress::ProgressLines;
use super::question::{Fallback, Question, Questions};
use super::schema::{InputSchema, Mirrored};
use super::template::Renderer;
use crate::auth::Caller;
use crate::protocol::capabilities::Capability;
use crate::protocol::content::{Content, Icon};
use crate::protocol::media::MediaType;
use crate::protocol::texts::Texts as _;
use crate::redact::Redactor;
pub(crate) use digest::ToolDigest;
pub use exit::{ExitMeaning, ExitRules};

/// How much output of a tool is kept when its definition says nothing: 256 KiB, which is more
/// than a model can use.
pub const DEFAULT_MAX_OUTPUT: usize = 256 * 1024;
/// How long a cancelled tool may take to end when its definition says nothing.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);

/// What clients may call.
#[derive(Debug)]
pub struct Tool {
    /// The name that clients call, unique in its catalog and compared by bytes.
    pub name: String,
    /// The name for people.
    pub title: Option<String>,
    /// What the tool does, for the model.
    pub description: String,
    /// What clients are told about its effects.
    pub annotations: Annotations,
    /// The longest time that a call may take; `None` leaves it to the server's own limit.
    pub timeout: Option<Duration>,
    /// How much output is kept, in bytes; default [`DEFAULT_MAX_OUTPUT`].
    pub max_output: usize,
    /// Pictures for people.
    pub icons: Vec<Icon>,
    /// What the standard input holds.
    pub stdin: Stdin,
    /// What the output is.
    pub output: Output,
    /// What a client must be able to do, or the tool does not run.
    pub needs: BTreeSet<Capability>,
    /// Whether a call can be a task; `None` if it never is.
    pub task: Option<Task>,
    /// What a call does when its client cannot ask its user to confirm it.
    pub confirm_fallback: Fallback,
    /// A line of the output that is a JSON object with the key `mcp` is a message to the server;
    /// default false.
    pub messages: bool,
    /// What exit codes mean.
    pub exit: ExitRules,
    /// How a call is ended early.
    pub cancel: Cancel,
    /// How many calls run at once, and how many wait.
    pub concurrency: Concurrency,
    /// How often it may be called; `None` as often as anybody likes.
    pub rate: Option<Rate>,
    /// Which lines of the program say how far it has come.
    pub progress: Option<ProgressLines>,
    /// What nothing else of a catalog is called, tools or not; the same when it is loaded again.
    pub(crate) identity: String,
    /// What tells its definition from others, in other processes too: whoever agreed to a call agreed
    /// to this.
    pub(crate) digest: ToolDigest,
    /// Who may use it.
    pub allow: Allow,
    /// Names for toolsets to choose by; no client sees them.
    pub tags: BTreeSet<String>,
    pub(crate) parts: Parts,
}

/// What a call is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) kind: Kind,
    pub(crate) parameters: Parameters,
    pub(crate) input: Arc<InputSchema>,
    pub(crate) bindings: Bindings,
    pub(crate) questions: Questions,
    pub(crate) secrets: Arc<Redactor>,
}

/// What a call does.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Runs a program.
    Exec(Box<Exec>),
    /// Sends a request.
    Http(Box<Http>),
    /// Answers with content of the definition's own.
    Content(Vec<Piece>),
    /// Answers with what a file holds then. No tool of a list does.
    File(PathBuf),
}

impl Tool {
    /// Returns what nothing else of a catalog is called, also when it is no tool that clients see. It
    /// is the same when a file is loaded again.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Returns the JSON Schema of the arguments, as `tools/list` shows it.
    pub fn input_schema(&self) -> &Map<String, Value> {
        self.parts.input.as_map()
    }

    /// Returns what takes secrets out of all that a call says.
    pub fn secrets(&self) -> &Arc<Redactor> {
        &self.parts.secrets
    }

    /// Returns the parameters that clients repeat in headers.
    pub fn mirrored(&self) -> &[Mirrored] {
        self.parts.input.mirrored()
    }

    /// Fills in defaults and validates, and adds what is bound to the caller; absent arguments are
    /// an empty object.
    ///
    /// # Errors
    ///
    /// Fails when an argument is unknown, missing or breaks its schema or a rule between several, or
    /// when the caller lacks what is bound to it. The text is for the model: it names the place and
    /// the rule, and no value.
    pub fn arguments(
        &self,
        arguments: Option<Map<String, Value>>,
        caller: &Caller,
    ) -> Result<Arguments, ArgumentError> {
        let mut arguments = self.parts.input.arguments(arguments)?;
        self.parts.bindings.bind(&mut arguments, caller)?;
        Ok(Arguments(arguments))
    }

    /// Renders what the user is asked before a call runs.
    ///
    /// # Errors
    ///
    /// As [`Tool::work`].
    pub fn questions(
        &self,
        arguments: &Arguments,
        caller: &Caller,
    ) -> Result<Vec<Question>, ArgumentError> {
        let renderer = Renderer::new(&self.parts.parameters, &arguments.0, caller);
        self.parts.questions.render(renderer)
    }

    /// True if the user is asked something before a call runs.
    pub fn asks(&self) -> bool {
        !self.parts.questions.is_empty()
    }

    /// True if a call may ask its client for something, before its program runs or while it does.
    pub fn may_ask(&self) -> bool {
        self.asks() || self.messages
    }

    /// True if a call gets values from what the user answers.
    pub fn asks_for_values(&self) -> bool {
        self.parts.questions.give_values()
    }

    /// The arguments with the values from the forms that the user filled in, which are in the order
    /// of the questions and satisfy their schemas.
    #[must_use]
    pub fn filled(&self, arguments: &Arguments, forms: &[Value]) -> Arguments {
        let mut filled = arguments.clone();
        self.parts.questions.fill(&mut filled.0, forms);
        filled
    }

    /// Renders what one call does for a caller. Paths are looked up, so that the program gets
    /// absolute ones.
    ///
    /// # Errors
    ///
    /// Fails when a path leads out of its folder, when a value would be read as an option, holds a NUL, or is larger than a program can
    /// be given: 120 KiB for a word, 1 MiB in all. The same sizes bound the texts of content. The
    /// error is for the model.
    pub fn work(&self, arguments: &Arguments, caller: &Caller) -> Result<Work, ArgumentError> {
        let parameters = &self.parts.parameters;
        let arguments = parameters.resolved(&arguments.0)?;
        let renderer = Renderer::new(parameters, &arguments, caller);
        match &self.parts.kind {
            Kind::Exec(exec) => {
                let command = exec.command(renderer)?;
                let input = (self.stdin == Stdin::Json).then(|| json_line(&arguments));
                Ok(Work::Run(Command { input, ..command }))
            }
            Kind::Http(http) => http.request(renderer).map(Work::Send),
            Kind::Content(pieces) => {
                let mut answer = content::render(pieces, renderer)?;
                answer.each_text(&mut |text| self.parts.secrets.clean(text));
                Ok(Work::Answer(answer))
            }
            Kind::File(path) => Ok(Work::Read(path.clone())),
        }
    }

    /// What tells a call from others that run at the same time; empty if they are all alike.
    pub fn concurrency_key(&self, arguments: &Arguments, caller: &Caller) -> String {
        let key = self.concurrency.key.as_ref();
        let renderer = Renderer::new(&self.parts.parameters, &arguments.0, caller);
        key.map(|key| renderer.key(key)).unwrap_or_default()
    }

    /// Whether [`Tool::work`] looks into the file system, which takes time.
    pub fn looks_up_paths(&self) -> bool {
        self.parts.parameters.have_paths()
    }

    /// True if its definition answers every call: nothing runs, nobody is asked, and no call can be too
    /// early or is kept as a task. Nothing is looked up either: only what runs can take a path.
    pub fn is_fixed(&self) -> bool {
        let is_free = self.rate.is_none() && self.task.is_none() && !self.may_ask();
        self.origin() == Origin::Definition && is_free
    }

    /// Returns where its answers come from.
    pub fn origin(&self) -> Origin {
        match self.parts.kind {
            Kind::Exec(_) | Kind::Http(_) => Origin::Program,
            Kind::Content(_) => Origin::Definition,
            Kind::File(_) => Origin::File,
        }
    }

    /// Returns the file that holds its answers, if one does.
    pub fn file(&self) -> Option<&Path> {
        match &self.parts.kind {
            Kind::File(path) => Some(path),
            Kind::Exec(_) | Kind::Http(_) | Kind::Content(_) => None,
        }
    }

    /// A tool that reads what a call of this one has left in a file. It tells the same secrets apart,
    /// and is for the same callers.
    #[must_use]
    pub fn reading(&self, file: PathBuf, media: &MediaType, secrets: Arc<Redactor>) -> Self {
        Self {
            name: self.name.clone(),
            title: None,
            description: String::new(),
            annotations: Annotations::new(Effect::Read, None, None),
            timeout: None,
            max_output: self.max_output,
            icons: Vec::new(),
            stdin: Stdin::Empty,
            output: if media.is_text() {
                Output::default()
            } else {
                Output::raw()
            },
            needs: BTreeSet::new(),
            task: None,
            confirm_fallback: Fallback::default(),
            messages: false,
            exit: ExitRules::default(),
            cancel: self.cancel,
            concurrency: Concurrency::default(),
            rate: None,
            progress: None,
            identity: format!("output of {}", self.identity),
            digest: ToolDigest::default(),
            allow: self.allow.clone(),
            tags: BTreeSet::new(),
            parts: Parts {
                kind: Kind::File(file),
                parameters: Parameters::default(),
                input: Arc::clone(&self.parts.input),
                bindings: Bindings::default(),
                questions: Questions::default(),
                secrets,
            },
        }
    }

    /// Whether it runs a program that has no sandbox.
    pub(crate) fn runs_unconfined(&self) -> bool {
        matches!(&self.parts.kind, Kind::Exec(exec) if exec.sandbox.is_none())
    }

    /// Whether the values of a parameter reach the program, or the other server.
    pub(crate) fn uses(&self, parameter: &str) -> bool {
        match &self.parts.kind {
            Kind::Exec(exec) => exec.uses(parameter),
            Kind::Http(http) => http.slots().any(|slot| slot.name == parameter),
            Kind::Content(_) | Kind::File(_) => false,
        }
    }
}

/// Arguments that satisfy a tool's schema, defaults included.
///
/// Debug prints names only: values may be secret.
#[derive(Clone, Default, PartialEq)]
pub struct Arguments(Map<String, Value>);

/// The arguments as one JSON object, on one line.
fn json_line(arguments: &Map<String, Value>) -> String {
    serde_json::to_string(arguments).unwrap_or_default() + "\n"
}

impl fmt::Debug for Arguments {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// Where the answers of a tool come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The definition holds them.
    Definition,
    /// A file holds them.
    File,
    /// A program makes them, or another server.
    Program,
}

/// What a call does.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// It starts a process.
    Run(Command),
    /// It sends a request.
    Send(Request),
    /// It answers at once.
    Answer(Vec<Content>),
    /// It reads this file.
    Read(PathBuf),
}

impl Work {
    /// What its process finds on its standard input, if anything.
    pub fn input(&self) -> Option<&str> {
        match self {
            Self::Run(command) => command.input.as_deref(),
            Self::Send(_) | Self::Answer(_) | Self::Read(_) => None,
        }
    }

    /// The process that is started, if one is.
    pub fn command(self) -> Option<Command> {
        match self {
            Self::Run(command) => Some(command),
            Self::Send(_) | Self::Answer(_) | Self::Read(_) => None,
        }
    }
}

/// What a tool does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Write,
    Destructive,
}

/// Hints about the effects of a tool, in the words of MCP; `None` is not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// `readOnlyHint`: the tool changes nothing.
    pub read_only: Option<bool>,
    /// `destructiveHint`: what it changes may be lost.
    pub destructive: Option<bool>,
    /// `idempotentHint`: a second call with the same arguments changes nothing more.
    pub idempotent: Option<bool>,
    /// `openWorldHint`: it reaches things outside the operator's own.
    pub open_world: Option<bool>,
}

impl Annotations {
    pub(crate) fn new(effect: Effect, idempotent: Option<bool>, open_world: Option<bool>) -> Self {
        Self {
            read_only: Some(effect == Effect::Read),
            destructive: (effect != Effect::Read).then_some(effect == Effect::Destructive),
            idempotent,
            open_world,
        }
    }
}

/// What the standard input of a tool holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stdin {
    /// Nothing, the default.
    #[default]
    Empty,
    /// The arguments, as one JSON object on a line.
    Json,
}

/// Whether a call can be a task, which its client fetches later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// It is one for a client that can do so.
    Optional,
    /// It always is one, and needs a client that can do so.
    Required,
}

/// How a call is ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// The signal that asks the process to end; default TERM.
    pub signal: Signal,
    /// How long it may take before it is killed; default [`DEFAULT_GRACE`].
    pub grace: Duration,
}

/// A signal by its POSIX name, without the `SIG`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are POSIX's own")]
pub enum Signal {
    #[default]
    Term,
    Int,
    Hup,
    Quit,
    Kill,
    Usr1,
    Usr2,
}

impl Signal {
    pub(crate) const NAMES: &[(&str, Self)] = &[
        ("TERM", Self::Term),
        ("INT", Self::Int),
        ("HUP", Self::Hup),
        ("QUIT", Self::Quit),
        ("KILL", Self::Kill),
        ("USR1", Self::Usr1),
        ("USR2", Self::Usr2),
    ];
}
