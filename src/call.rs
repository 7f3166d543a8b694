//! Calls of clients, whatever they come over: started, and answered into an outbox.

pub(super) mod asking;
pub(super) mod audit;
pub(super) mod changes;
pub(super) mod legacy;
mod status;

use std::mem;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::StatusCode;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::auth::Permission;
use crate::catalog::{Catalog, Tool};
use crate::changes::Change;
use crate::dispatch::{self, Call, Context, Plan, Purpose, Retry};
use crate::execute::{
    self, Admission, CallRequest, Input, List, Listener, Origin, Outcome, Refusal, Said, Stop,
    Stopped,
};
use crate::metrics::{AuthFailure, ErrorType, MessageKind, OTHER};
use crate::protocol::input::{Answers, MISSING_CLIENT_CAPABILITY, missing_capabilities};
use crate::protocol::jsonrpc::{
    ErrorObject, INTERNAL_ERROR, INVALID_REQUEST, RequestId, UnreadableId, encode_error,
    encode_result,
};
use crate::protocol::logging::Level;
use crate::protocol::mcp::Method;
use crate::protocol::progress::ProgressToken;
use crate::protocol::version::ProtocolVersion;
use crate::session::{Session, SessionGuard};
use crate::stream::{Outbox, Reader, Reply};
use audit::Trail;
use status::ErrorStatus;

/// Who may see what comes of a call: what its tool asks of a caller counts
/// for its task and its stream too.
pub(crate) fn permission(call: &Call) -> Permission {
    let tool = Arc::clone(&call.tool);
    Permission::of_some(&call.caller, move |caller| tool.allow.permits(caller))
}

/// An outbox for the replies to so many requests, and its reader.
pub(super) fn outbox(app: &App, replies: usize) -> (Arc<Outbox>, Reader) {
    let metrics = Arc::clone(&app.metrics);
    let outbox = Outbox::for_replies(replies, app.options.stream_buffer, metrics);
    let reader = outbox.read();
    (outbox, reader)
}

/// Where a call comes from, and where its words and its reply go.
#[derive(Debug)]
pub(super) struct From {
    pub(super) number: u64,
    pub(super) id: RequestId,
    pub(super) version: ProtocolVersion,
    /// The digest of the id of its session.
    pub(super) session: Option<String>,
    pub(super) outbox: Arc<Outbox>,
    /// From which level on the client hears the log; `None` hears nothing.
    pub(super) log_level: Option<Level>,
    /// The client can leave and come back for what is sent meanwhile.
    pub(super) resumes: bool,
    /// What silences the call: the client gave it up, and waits for nothing. `None` where an exchange
    /// must be answered all the same.
    pub(super) given_up: Option<CancellationToken>,
}

impl From {
    fn is_given_up(&self) -> bool {
        let given_up = self.given_up.as_ref();
        given_up.is_some_and(CancellationToken::is_cancelled)
    }
}

/// The answers that a call brings from earlier rounds; `None` if there are no rounds.
pub(super) fn take_answers(call: &mut Call) -> Option<Answers> {
    let retry = call.client.retry.as_mut();
    retry.map(|retry| mem::take(&mut retry.answers))
}

/// What a call of 2026-07-28 is told by its client: what that brings from earlier rounds.
pub(super) fn input_of_retry(call: &mut Call) -> Input {
    match take_answers(call) {
        Some(answers) => Input::Retry(answers),
        None => Input::Nobody("the client cannot be asked: this request cannot be retried"),
    }
}

/// A call that a session knows of, until it is over.
#[derive(Debug)]
pub(super) struct CallInSession {
    number: u64,
    guard: SessionGuard,
}

impl CallInSession {
    pub(super) fn new(number: u64, guard: SessionGuard) -> Arc<Self> {
        Arc::new(Self { number, guard })
    }

    pub(super) fn session(&self) -> &Session {
        self.guard.session()
    }
}

impl Drop for CallInSession {
    fn drop(&mut self) {
        self.session().forget_call(self.number);
    }
}

/// Starts a call, and says whether it was taken in. `keep` is dropped when its reply is in the outbox.
pub(super) fn start<K: Send + 'static>(
    app: &Arc<App>,
    from: From,
    (call, input, trail): (Call, Input, Trail),
    stop: Stop,
    keep: K,
) -> bool {
    let (request, listener) = prepare(app, from, (call, input, trail), keep);
    app.executor.start(request, stop, Box::new(listener))
}

/// What the executor is asked to run, and who hears of it.
pub(super) fn prepare<K>(
    app: &Arc<App>,
    mut from: From,
    (call, input, trail): (Call, Input, Trail),
    keep: K,
) -> (CallRequest, Answering<K>) {
    let client = call.client;
    let request = CallRequest {
        number: from.number,
        tool: Arc::clone(&call.tool),
        arguments: call.arguments,
        caller: call.caller,
        from: Origin {
            version: from.version,
            capabilities: client.capabilities,
            trace: client.trace,
            session: from.session.take(),
        },
        input,
    };
    let listener = Answering {
        app: Arc::clone(app),
        // Where nothing can be sent before the reply, nothing needs to be said.
        progress_token: call.progress_token.filter(|_| !app.options.json_response),
        tool: call.tool,
        catalog: call.catalog,
        retry: client.retry,
        purpose: call.purpose,
        started: Instant::now(),
        owes_reply: true,
        trail,
        from,
        keep,
    };
    (request, listener)
}

/// A call on its way to the outbox of its exchange.
pub(super) struct Answering<K> {
    app: Arc<App>,
    from: From,
    tool: Arc<Tool>,
    catalog: Arc<Catalog>,
    purpose: Purpose,
    progress_token: Option<ProgressToken>,
    retry: Option<Retry>,
    started: Instant,
    owes_reply: bool,
    trail: Trail,
    #[expect(dead_code, reason = "kept for its destructor")]
    keep: K,
}

impl<K: Send + 'static> Listener for Answering<K> {
    fn admission(&self) -> Option<Admission> {
        self.trail.admission()
    }

    fn said(&mut self, said: Said) {
        if self.from.is_given_up() {
            return;
        }
        let From {
            outbox,
            log_level,
            resumes,
            ..
        } = &self.from;
        match said {
            Said::Progress(progress) | Said::Alive(progress) => {
                if let Some(token) = &self.progress_token {
                    let message = token.notification(&progress).into();
                    outbox.say(MessageKind::Progress, message);
                }
            }
            Said::Log(log) => {
                let is_heard = log_level.is_some_and(|level| log.level >= level);
                if is_heard && !self.app.options.json_response {
                    outbox.say(MessageKind::Log, log.notification().into());
                }
            }
            Said::ListChanged(list) => self.list_changed(list),
            Said::CloseStream if *resumes && !self.app.options.json_response => outbox.close(),
            Said::CloseStream => {}
        }
    }

    fn done(mut self: Box<Self>, outcome: Outcome) {
        let era = self.from.version.era();
        let status = ErrorStatus::of(era, &outcome);
        let failed = error_type(&outcome);
        let is_own = matches!(outcome, Outcome::Error(_));
        let encoded = self.encoded(outcome);
        let error_type = match &encoded {
            // The code is the tool's own, and no label.
            Err(_) if is_own => Some(ErrorType::Tool),
            Err(error) => Some(ErrorType::JsonRpc(error.code)),
            Ok(_) => failed,
        };
        self.reply(&encoded, status, error_type);
    }
}

impl<K> Answering<K> {
    /// Tells those who see the tool what it says: that a list is not what it was.
    pub(super) fn list_changed(&self, list: List) {
        let change = match list {
            List::Tools => Change::Tools,
            List::Prompts => Change::Prompts,
            List::Resources => Change::Resources,
        };
        self.app.changes.announce_by(self.tool.identity(), change);
    }

    /// What the call was found in.
    pub(super) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Answers the exchange, and counts that.
    pub(super) fn reply(
        &mut self,
        outcome: &Result<Box<RawValue>, ErrorObject>,
        error_status: ErrorStatus,
        error_type: Option<ErrorType>,
    ) {
        let is_tool = matches!(self.purpose, Purpose::Tool);
        self.app.metrics.operation(
            self.purpose.method().as_str(),
            is_tool.then_some(self.tool.name.as_str()),
            error_type,
            self.from.version.as_str(),
            self.started.elapsed(),
        );
        self.owes_reply = false;
        if !self.from.is_given_up() {
            let reply = reply(&self.from.id, outcome, error_status);
            self.from.outbox.reply(reply);
        }
    }

    /// What the client is told of an outcome, when the audit log knows it.
    pub(super) fn encoded(&mut self, outcome: Outcome) -> Result<Box<RawValue>, ErrorObject> {
        let ended = audit::ended(&outcome);
        let told = self.told(outcome);
        self.trail.done(ended, &told);
        told
    }

    fn told(&self, outcome: Outcome) -> Result<Box<RawValue>, ErrorObject> {
        let app = &self.app;
        let version = self.from.version;
        let finish = |answer| dispatch::finish(version, &self.purpose, answer, &self.catalog);
        let message = match outcome {
            Outcome::Result { result, .. } => {
                return finish(dispatch::Answer::Result(result));
            }
            Outcome::Messages(messages) => {
                return finish(dispatch::Answer::Messages(messages));
            }
            Outcome::Bytes(bytes) => return finish(dispatch::Answer::Bytes(bytes)),
            Outcome::InputRequired(required) => {
                let sealing = (&app.seal, SystemTime::now());
                let lifetime = app.options.ask_timeout;
                return match &self.retry {
                    Some(retry) => {
                        dispatch::input_required(sealing, lifetime, retry, *required, &self.catalog)
                    }
                    // Only where there is a retry is a client sent away.
                    None => Err(ErrorObject::new(INTERNAL_ERROR, LOST)),
                };
            }
            Outcome::MissingCapabilities(missing) => return Err(missing_capabilities(&missing)),
            Outcome::Error(error) => return Err(error),
            Outcome::Refused(refusal) => {
                return Err(ErrorObject::new(INTERNAL_ERROR, refusal.message));
            }
            Outcome::Stopped(Stopped::ByClient | Stopped::ByDisconnect) => "The call was cancelled",
            Outcome::Stopped(Stopped::BySession) => "The call was cancelled: its session ended",
            Outcome::Stopped(Stopped::ByShutdown) => {
                "The call was cancelled: the server is shutting down"
            }
            Outcome::Lost => LOST,
        };
        Err(ErrorObject::new(INTERNAL_ERROR, message))
    }
}

/// The last resort, should there be no encoding an outcome: the exchange must not wait for ever.
impl<K> Drop for Answering<K> {
    fn drop(&mut self) {
        if !self.owes_reply || self.from.is_given_up() {
            return;
        }
        let error = ErrorObject::new(INTERNAL_ERROR, LOST);
        let message = encode_error(Some(&self.from.id), UnreadableId::Null, &error);
        let status = ErrorStatus::of(self.from.version.era(), &Outcome::Lost).status;
        self.from.outbox.reply(Reply::new(status, message));
    }
}

/// The reply to a request: a result, or an error under its status.
pub(super) fn reply(
    id: &RequestId,
    outcome: &Result<Box<RawValue>, ErrorObject>,
    error_status: impl Into<ErrorStatus>,
) -> Reply {
    match outcome {
        Ok(result) => Reply::new(StatusCode::OK, encode_result(id, result)),
        Err(error) => {
            let ErrorStatus {
                status,
                retry_after,
            } = error_status.into();
            let data = encode_error(Some(id), UnreadableId::Null, error);
            Reply {
                retry_after,
                ..Reply::new(status, data)
            }
        }
    }
}

/// The replies to a batch, as one JSON array.
pub(super) fn array(replies: Vec<Reply>) -> Vec<u8> {
    let messages: Vec<Bytes> = replies.into_iter().map(|reply| reply.data).collect();
    [b"[", messages.join(&b',').as_slice(), b"]"].concat()
}

/// Counts a request that was answered at once, and logs it if it was a call of a tool.
pub(super) fn note(
    (app, started): (&App, Instant),
    method: Method,
    context: &Context<'_>,
    (plan, trail): (&Plan, &Trail),
) {
    let (tool, error_type) = match plan {
        Plan::Call(_) | Plan::Task(_) => return,
        Plan::Remember(_) | Plan::Listen(_) => (None, None),
        Plan::StepUp(needed) => {
            app.metrics.auth_failure(AuthFailure::Scope);
            let error = ErrorType::JsonRpc(needed.error().code);
            ((method == Method::CallTool).then_some(OTHER), Some(error))
        }
        Plan::Answered {
            tool,
            is_error,
            how,
            ..
        } => {
            let call = (trail.number(app), tool.as_ref(), context.caller.as_ref());
            execute::log(call, started.elapsed(), how);
            let error_type = is_error.then_some(ErrorType::Tool);
            (Some(tool.name.as_str()), error_type)
        }
        Plan::Reply(outcome) => {
            let error = outcome.as_ref().err();
            (
                (method == Method::CallTool).then_some(OTHER),
                error.map(|error| ErrorType::JsonRpc(error.code)),
            )
        }
    };
    let version = context.version;
    count_answer((app, started), method, version, (tool, error_type));
}

/// Answers a request that is not served now, and counts that.
pub(super) fn refuse(
    counted: (&App, Instant),
    (method, tool): Asked<'_>,
    version: ProtocolVersion,
    (id, refusal): (&RequestId, Refusal),
) -> Reply {
    let tool = (method == Method::CallTool).then_some(tool.unwrap_or(OTHER));
    let error_type = ErrorType::JsonRpc(INTERNAL_ERROR);
    count_answer(counted, method, version, (tool, Some(error_type)));
    let status = ErrorStatus::from(&refusal);
    let error = ErrorObject::new(INTERNAL_ERROR, refusal.message);
    reply(id, &Err(error), status)
}

/// What was asked for: the method, and the tool if that is known.
pub(super) type Asked<'a> = (Method, Option<&'a str>);

/// What was asked for by a request that is answered at once.
pub(super) fn asked(method: Method, plan: &Plan) -> Asked<'_> {
    match plan {
        Plan::Answered { tool, .. } => (method, Some(&tool.name)),
        _ => (method, None),
    }
}

/// Counts what was answered at once, with the tool and the error if there are.
pub(super) fn count_answer(
    (app, started): (&App, Instant),
    method: Method,
    version: ProtocolVersion,
    (tool, error_type): (Option<&str>, Option<ErrorType>),
) {
    app.metrics.operation(
        method.as_str(),
        tool,
        error_type,
        version.as_str(),
        started.elapsed(),
    );
}

/// The error of what comes when the server stops already.
pub(super) fn stopping_error() -> ErrorObject {
    ErrorObject::new(INTERNAL_ERROR, STOPPING)
}

/// The error of a batch outside the sessions that have them.
pub(super) fn no_batch() -> ErrorObject {
    ErrorObject::new(
        INVALID_REQUEST,
        "Invalid request: batches are served in sessions of 2025-03-26 only",
    )
}

const LOST: &str = "Internal error: the call was lost";

pub(super) const STOPPING: &str = "The server is shutting down";

/// What the metrics call the error of a call.
fn error_type(outcome: &Outcome) -> Option<ErrorType> {
    match outcome {
        Outcome::Result { result, .. } => result.is_error.then_some(ErrorType::Tool),
        Outcome::Error(_) => Some(ErrorType::Tool),
        Outcome::Messages(_) | Outcome::Bytes(_) | Outcome::InputRequired(_) => None,
        Outcome::MissingCapabilities(_) => Some(ErrorType::JsonRpc(MISSING_CLIENT_CAPABILITY)),
        Outcome::Refused(_) | Outcome::Stopped(_) | Outcome::Lost => {
            Some(ErrorType::JsonRpc(INTERNAL_ERROR))
        }
    }
}
