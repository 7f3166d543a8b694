//! How a call asks its client, and what it does until it knows the answers.
//!
//! On a session a request goes out while the program waits. In 2026-07-28 the call ends, and starts
//! from the top when its client comes back with the answers: a program asks the same in the same
//! order, and is told at once what is known already.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, mem};

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use serde_json::{Map, Value, json};

use super::ask::{Answer, Ask};
use crate::catalog::FormSchema;
use crate::protocol::capabilities::{Capability, ClientCapabilities};
use crate::protocol::input::{
    Answers, InputRequest, InputRequired, Kind, MISSING_CLIENT_CAPABILITY, NOT_ANSWERED,
};
use crate::protocol::jsonrpc::{ErrorObject, INVALID_PARAMS};
use crate::protocol::texts::Texts as _;
use crate::redact::Redactor;

/// The most messages of one call that wait for answers at once.
const MAX_OPEN: usize = 16;
/// The most messages of one call that ask something: its deadline stands still while they are open.
const MAX_ASKED: usize = 256;
/// The most lines that wait to be told to a program: one that asks and does not read is stopped.
const MAX_READY: usize = 2 * MAX_ASKED;
/// How often a client may be sent away for answers: more rounds are a program that never has
/// enough, or a client whose answers never fit.
pub const MAX_ROUNDS: u8 = 16;
/// The most bytes of answers that a client carries from one round to the next, as JSON text.
pub(super) const MAX_ANSWERS: usize = 256 << 10;

/// How a call asks its client.
#[derive(Debug)]
pub enum Input {
    /// Not at all, for this reason.
    Nobody(&'static str),
    /// With requests, while it runs.
    Live(Box<dyn Client>),
    /// By ending. These answers are known.
    Retry(Answers),
    /// By ending what the definition asks, of which these answers are known; from then on with
    /// requests.
    RetryThenLive(Answers, Box<dyn Client>),
}

/// A client that takes requests while it waits for a call.
pub trait Client: fmt::Debug + Send + Sync {
    /// Sends a request. The future completes with the answer; dropped before, it withdraws the
    /// request.
    fn ask(&self, request: &InputRequest) -> BoxFuture<'static, Answer>;
}

/// Why a call cannot go on now.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Unanswered {
    /// The client has to answer first.
    Required(Box<InputRequired>),
    /// The client can do nothing of what it would have to.
    Missing(Vec<Capability>),
    /// The client was asked too often.
    TooOften,
    /// The program asks, and reads no answers.
    Unread,
    /// The answers are larger than what a client can carry.
    TooLarge,
}

/// Whose answers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Any that the client brings.
    Anything,
    /// Those that this server has asked for.
    OnlyAsked,
}

/// What a call asks.
pub(super) struct Conversation {
    capabilities: ClientCapabilities,
    input: Input,
    /// What no question may say.
    secrets: Arc<Redactor>,
    /// How long a client may take for an answer.
    bound: Duration,
    asked: usize,
    keys: HashSet<String>,
    used: Map<String, Value>,
    open: FuturesUnordered<BoxFuture<'static, Vec<u8>>>,
    ready: VecDeque<Vec<u8>>,
    unanswered: Option<Unanswered>,
}

/// The answers to one message, in the order of its requests.
type Replies = Vec<Answer>;

/// What became of a question.
enum Started {
    /// The answers are there already.
    Known(Replies),
    /// Somebody has to give them.
    Open(BoxFuture<'static, Replies>),
}

impl Conversation {
    /// Nothing has been asked.
    pub(super) fn new(capabilities: ClientCapabilities, input: Input, bound: Duration) -> Self {
        Self {
            capabilities,
            input,
            secrets: Arc::default(),
            bound,
            asked: 0,
            keys: HashSet::new(),
            used: Map::new(),
            open: FuturesUnordered::new(),
            ready: VecDeque::new(),
            unanswered: None,
        }
    }

    /// The same without these secrets in its questions.
    pub(super) fn hiding(self, secrets: Arc<Redactor>) -> Self {
        Self { secrets, ..self }
    }

    /// True if nobody can be asked any of this.
    pub(super) fn cannot_ask(&self, ask: &Ask) -> bool {
        let can = |request: &InputRequest| self.capabilities.has(request.capability());
        matches!(self.input, Input::Nobody(_)) || !ask.requests.iter().any(|(_, one)| can(one))
    }

    /// True if the call waits while somebody is asked this.
    pub(super) fn waits_for(&self, ask: &Ask) -> bool {
        matches!(self.input, Input::Live(_)) && !self.cannot_ask(ask)
    }

    /// Asks what a program wants to know.
    pub(super) fn ask(&mut self, ask: Ask) {
        if self.unanswered.is_some() {
            // The call ends. What else it wants to know, it asks when it runs again.
            return;
        }
        self.asked += 1;
        if self.asked > MAX_ASKED || self.open.len() >= MAX_OPEN {
            let text = "the tool asks too much: nobody is asked any more";
            let answers = vec![Err(ErrorObject::new(NOT_ANSWERED, text)); ask.requests.len()];
            return self.tell(ask.line(answers));
        }
        let ask = self.without_secrets(ask);
        match self.start(&ask, Trust::Anything) {
            Ok(Started::Known(replies)) => self.tell(ask.line(replies)),
            Ok(Started::Open(replies)) => self
                .open
                .push(Box::pin(async move { ask.line(replies.await) })),
            Err(unanswered) => self.unanswered = Some(unanswered),
        }
    }

    /// Asks in the name of the definition, and waits for the answers. In a later round only those
    /// count that this server has asked for.
    pub(super) async fn ask_first(&mut self, ask: &Ask) -> Result<Replies, Unanswered> {
        let ask = self.without_secrets(ask.clone());
        match self.start(&ask, Trust::OnlyAsked)? {
            Started::Known(replies) => Ok(replies),
            Started::Open(replies) => Ok(replies.await),
        }
    }

    fn without_secrets(&self, mut ask: Ask) -> Ask {
        if !self.secrets.is_empty() {
            for (_, request) in &mut ask.requests {
                request.each_text(&mut |text| self.secrets.clean(text));
            }
        }
        ask
    }

    /// What the definition asks is answered; what is asked next, the program asks.
    pub(super) fn begin(&mut self) {
        let input = mem::replace(&mut self.input, Input::Nobody("the call has not begun"));
        self.input = match input {
            Input::RetryThenLive(_, client) => Input::Live(client),
            input => input,
        };
    }

    /// Tells a program this line, in place of an answer.
    pub(super) fn tell(&mut self, line: Vec<u8>) {
        if self.ready.len() < MAX_READY {
            self.ready.push_back(line);
        } else {
            self.unanswered.get_or_insert(Unanswered::Unread);
        }
    }

    /// True while somebody is asked.
    pub(super) fn is_asking(&self) -> bool {
        !self.open.is_empty()
    }

    /// True while there is something to tell, or will be.
    pub(super) fn has_answers(&self) -> bool {
        self.is_asking() || !self.ready.is_empty()
    }

    /// The next line for the program. Must only be awaited while [`Conversation::has_answers`].
    ///
    /// # Cancel safety
    ///
    /// No line is lost if this is dropped before it completes.
    pub(super) async fn answered(&mut self) -> Vec<u8> {
        match self.ready.pop_front() {
            Some(line) => line,
            None => self.open.next().await.unwrap_or_default(),
        }
    }

    /// True if the call has to end before it gets an answer.
    pub(super) fn must_end(&self) -> bool {
        self.unanswered.is_some()
    }

    /// Why the call has to end.
    pub(super) fn unanswered(self) -> Option<Unanswered> {
        self.unanswered
    }

    fn start(&mut self, ask: &Ask, trust: Trust) -> Result<Started, Unanswered> {
        let replies = match &self.input {
            Input::Retry(_) | Input::RetryThenLive(..) => {
                return self.replay(ask, trust).map(Started::Known);
            }
            Input::Nobody(reason) => {
                let error = ErrorObject::new(MISSING_CLIENT_CAPABILITY, *reason);
                return Ok(Started::Known(vec![Err(error); ask.requests.len()]));
            }
            Input::Live(client) => (ask.requests.iter()).map(|(_, request)| {
                if !self.capabilities.has(request.capability()) {
                    return cannot(request);
                }
                within(self.bound, request.clone(), client.ask(request))
            }),
        };
        let replies = join_all(replies.collect::<Vec<_>>());
        Ok(Started::Open(Box::pin(replies)))
    }

    /// Answers with what is known, if it is all known.
    fn replay(&mut self, ask: &Ask, trust: Trust) -> Result<Replies, Unanswered> {
        let (Input::Retry(answers) | Input::RetryThenLive(answers, _)) = &self.input else {
            return Ok(Vec::new());
        };
        let can = |request: &InputRequest| self.capabilities.has(request.capability());
        if !ask.requests.iter().any(|(_, request)| can(request)) {
            let mut missing: Vec<_> = (ask.requests.iter())
                .map(|(_, request)| request.capability())
                .collect();
            missing.sort_unstable();
            missing.dedup();
            return Err(Unanswered::Missing(missing));
        }
        let mut replies = Vec::with_capacity(ask.requests.len());
        let mut required = Map::new();
        for (key, request) in &ask.requests {
            let key = unused(&mut self.keys, key);
            if !can(request) {
                replies.push(Err(cannot_error(request)));
                continue;
            }
            let known = answers.known.get(&key).filter(|known| {
                (known.was_asked || trust == Trust::Anything)
                    && check(request, &known.answer).is_ok()
            });
            if let Some(known) = known {
                self.used.insert(key, known.answer.clone());
                replies.push(Ok(known.answer.clone()));
            } else {
                required.insert(key, request.to_value());
            }
        }
        if required.is_empty() {
            return Ok(replies);
        }
        if answers.round >= MAX_ROUNDS {
            return Err(Unanswered::TooOften);
        }
        if Value::Object(self.used.clone()).to_string().len() > MAX_ANSWERS {
            return Err(Unanswered::TooLarge);
        }
        Err(Unanswered::Required(Box::new(InputRequired {
            requests: required,
            round: answers.round + 1,
            answers: self.used.clone(),
        })))
    }
}

/// A key that was not used in this call: a program may ask the same twice, and means it.
fn unused(keys: &mut HashSet<String>, key: &str) -> String {
    let mut unused = key.to_owned();
    let mut number = 2_u32;
    while !keys.insert(unused.clone()) {
        unused = format!("{key}#{number}");
        number += 1;
    }
    unused
}

fn cannot_error(request: &InputRequest) -> ErrorObject {
    let name = request.capability().as_str();
    let text = format!("the client cannot be asked: it lacks the capability {name}");
    ErrorObject::new(MISSING_CLIENT_CAPABILITY, text)
}

fn cannot(request: &InputRequest) -> BoxFuture<'static, Answer> {
    let error = cannot_error(request);
    Box::pin(async move { Err(error) })
}

/// An answer that is valid and comes in time.
fn within(
    bound: Duration,
    request: InputRequest,
    answer: BoxFuture<'static, Answer>,
) -> BoxFuture<'static, Answer> {
    Box::pin(async move {
        let Ok(answer) = tokio::time::timeout(bound, answer).await else {
            return too_late(request.kind());
        };
        let answer = answer?;
        check(&request, &answer).map_err(|reason| {
            let text = format!("the answer of the client is not valid: {reason}");
            ErrorObject::new(INVALID_PARAMS, text)
        })?;
        Ok(answer)
    })
}

/// Nobody answered in time: a user who does not look has not decided.
fn too_late(kind: Kind) -> Answer {
    match kind {
        Kind::Form | Kind::Url => Ok(json!({"action": "cancel"})),
        Kind::Sampling | Kind::Roots => Err(ErrorObject::new(
            NOT_ANSWERED,
            "the client did not answer in time",
        )),
    }
}

/// Checks an answer, and what a form was filled in with.
fn check(request: &InputRequest, answer: &Value) -> Result<(), String> {
    request.check(answer)?;
    match (request.schema(), request.accepted(answer)) {
        (Some(schema), Some(content)) => FormSchema::compile(schema)?.check(&content),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
