//! Answering tool calls, in either era: with JSON, or with an event stream when a call speaks
//! before its result or takes long.

use std::sync::Arc;
use std::time::SystemTime;

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::endpoint::Exchange;
use super::events::{self, Opened};
use super::reply::{self, RetryAfter};
use super::{App, Connection};
use crate::catalog::Tool;
use crate::changes::Change;
use crate::dispatch::{self, Call, Plan, Purpose, Retry};
use crate::execute::{
    Busy, CallRequest, Input, List, Listener, Origin, Outcome, Said, Stop, Stopped,
};
use crate::metrics::{ErrorType, MessageKind, OTHER, StreamKind};
use crate::protocol::input::{MISSING_CLIENT_CAPABILITY, missing_capabilities};
use crate::protocol::jsonrpc::{
    ErrorObject, INTERNAL_ERROR, RequestId, UnreadableId, encode_error,
};
use crate::protocol::logging::Level;
use crate::protocol::mcp::Method;
use crate::protocol::progress::ProgressToken;
use crate::protocol::version::{Era, ProtocolVersion};
use crate::session::{Session, SessionGuard};
use crate::stream::{Answer, History, HistoryLimits, Outbox, Reader, Reply};

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
    pub(super) outbox: Arc<Outbox>,
    /// From which level on the client hears the log; `None` hears nothing.
    pub(super) log_level: Option<Level>,
    /// The client can leave and come back for what is sent meanwhile.
    pub(super) resumes: bool,
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

/// Starts a call. `keep` is dropped when its reply is in the outbox.
///
/// # Errors
///
/// [`Busy`] at the limit of calls.
pub(super) fn start<K: Send + 'static>(
    app: &Arc<App>,
    from: From,
    call: (Call, Input),
    stop: Stop,
    keep: K,
) -> Result<(), Busy> {
    let (request, listener) = prepare(app, from, call, keep);
    app.executor.start(request, stop, Box::new(listener))
}

/// What the executor is asked to run, and who hears of it.
pub(super) fn prepare<K>(
    app: &Arc<App>,
    from: From,
    (call, input): (Call, Input),
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
        },
        input,
    };
    let listener = Answering {
        app: Arc::clone(app),
        // Where nothing can be sent before the reply, nothing needs to be said.
        progress_token: call.progress_token.filter(|_| !app.options.json_response),
        tool: call.tool,
        retry: client.retry,
        purpose: call.purpose,
        started: Instant::now(),
        owes_reply: true,
        from,
        keep,
    };
    (request, listener)
}

/// Tells everybody who wants to know that a list is not what it was.
pub(super) fn announce(app: &App, list: List) {
    app.changes.announce(match list {
        List::Tools => Change::Tools,
        List::Prompts => Change::Prompts,
        List::Resources => Change::Resources,
    });
}

/// A call on its way to the outbox of its exchange.
pub(super) struct Answering<K> {
    app: Arc<App>,
    from: From,
    tool: Arc<Tool>,
    purpose: Purpose,
    progress_token: Option<ProgressToken>,
    retry: Option<Retry>,
    started: Instant,
    owes_reply: bool,
    #[expect(dead_code, reason = "kept for its destructor")]
    keep: K,
}

impl<K: Send + 'static> Listener for Answering<K> {
    fn said(&mut self, said: Said) {
        let From {
            outbox,
            log_level,
            resumes,
            ..
        } = &self.from;
        match said {
            Said::Progress(progress) => {
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
            Said::ListChanged(list) => announce(&self.app, list),
            Said::CloseStream if *resumes && !self.app.options.json_response => outbox.close(),
            Said::CloseStream => {}
        }
    }

    fn done(mut self: Box<Self>, outcome: Outcome) {
        let era = self.from.version.era();
        let status = error_status(era, &outcome);
        let failed = error_type(&outcome);
        let is_own = matches!(outcome, Outcome::Error(_));
        let encoded = self.encoded(era, outcome);
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
    /// Answers the exchange, and counts that.
    pub(super) fn reply(
        &mut self,
        outcome: &Result<Box<RawValue>, ErrorObject>,
        error_status: StatusCode,
        error_type: Option<ErrorType>,
    ) {
        let is_tool = matches!(self.purpose, Purpose::Tool);
        let (status, data) = reply::encode(&self.from.id, outcome, error_status);
        self.app.metrics.operation(
            self.purpose.method().as_str(),
            is_tool.then_some(self.tool.name.as_str()),
            error_type,
            self.from.version.as_str(),
            self.started.elapsed(),
        );
        self.owes_reply = false;
        self.from.outbox.reply(Reply {
            status,
            data: data.into(),
        });
    }

    /// What the client is told of an outcome.
    pub(super) fn encoded(&self, era: Era, outcome: Outcome) -> Result<Box<RawValue>, ErrorObject> {
        let app = &self.app;
        let finish = |answer| dispatch::finish(era, &self.purpose, answer, &app.catalog);
        let message = match outcome {
            Outcome::Result { result, .. } => return finish(dispatch::Answer::Result(result)),
            Outcome::Messages(messages) => return finish(dispatch::Answer::Messages(messages)),
            Outcome::Bytes(bytes) => return finish(dispatch::Answer::Bytes(bytes)),
            Outcome::InputRequired(required) => {
                let sealing = (&app.seal, SystemTime::now());
                let lifetime = app.options.ask_timeout;
                return match &self.retry {
                    Some(retry) => {
                        dispatch::input_required(sealing, lifetime, retry, *required, &app.catalog)
                    }
                    // Only where there is a retry is a client sent away.
                    None => Err(ErrorObject::new(INTERNAL_ERROR, LOST)),
                };
            }
            Outcome::MissingCapabilities(missing) => return Err(missing_capabilities(&missing)),
            Outcome::Error(error) => return Err(error),
            Outcome::Stopped(Stopped::ByClient) => "The call was cancelled",
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
        if !self.owes_reply {
            return;
        }
        let error = ErrorObject::new(INTERNAL_ERROR, LOST);
        let message = encode_error(Some(&self.from.id), UnreadableId::Null, &error);
        self.from.outbox.reply(Reply {
            status: error_status(self.from.version.era(), &Outcome::Lost),
            data: message.into(),
        });
    }
}

/// Counts a request that was answered at once.
pub(super) fn count(exchange: &Exchange, method: Method, version: ProtocolVersion, plan: &Plan) {
    let (tool, error_type) = match plan {
        Plan::Call(_) | Plan::Task(_) => return,
        Plan::Remember(_) | Plan::Listen(_) => (None, None),
        Plan::Refused(tool, _) => (Some(tool.name.as_str()), Some(ErrorType::Tool)),
        Plan::Reply(outcome) => {
            let error = outcome.as_ref().err();
            (
                (method == Method::CallTool).then_some(OTHER),
                error.map(|error| ErrorType::JsonRpc(error.code)),
            )
        }
    };
    count_answer(exchange, method, version, (tool, error_type));
}

/// Counts what was answered at once, with the tool and the error if there are.
pub(super) fn count_answer(
    exchange: &Exchange,
    method: Method,
    version: ProtocolVersion,
    (tool, error_type): (Option<&str>, Option<ErrorType>),
) {
    exchange.app.metrics.operation(
        method.as_str(),
        tool,
        error_type,
        version.as_str(),
        exchange.started.elapsed(),
    );
}

/// How an exchange may be answered.
#[derive(Debug)]
pub(super) struct Exchanged<'a> {
    pub(super) app: &'a App,
    pub(super) connection: &'a Connection,
    /// The session, which keeps what is streamed if the client can come back for it.
    pub(super) session: Option<SessionGuard>,
    /// True if the replies go into one JSON array.
    pub(super) is_batch: bool,
}

/// Answers with what comes out of the outbox: plain JSON when nothing is said before the replies
/// and they are there within one heartbeat, else an event stream, which keeps proxies from cutting
/// it. `keep` is dropped when the response was sent, or the connection was lost.
pub(super) async fn answer<K: Send + Unpin + 'static>(
    exchanged: Exchanged<'_>,
    mut reader: Reader,
    keep: K,
) -> Response {
    let app = exchanged.app;
    let keep = (exchanged.session, keep);
    tokio::select! {
        answer = reader.answer() => if let Answer::Replies(replies) = answer {
            return whole(replies, exchanged.is_batch, keep);
        },
        () = becomes_stream(app) => {}
    }
    let history = keep.0.as_ref().and_then(|session| history(app, session));
    let beginning = history.map(|history| reader.keep_in(&history));
    let opened = Opened::new(app, StreamKind::Post, exchanged.connection);
    let timing = events::Timing::of(app);
    reply::event_stream(events::of_replies(
        opened, reader, beginning, timing, None, keep,
    ))
}

/// What keeps the messages of a session for a client that comes back; `None` in sessions where
/// that cannot be.
pub(super) fn history(app: &App, session: &SessionGuard) -> Option<Arc<History>> {
    let create = || {
        let limits = HistoryLimits::of_bytes(app.options.resume_buffer);
        app.histories.create(limits)
    };
    resumes(app, session).then(|| session.session().history(create))
}

/// True if the client of a session can come back for what it missed.
pub(super) fn resumes(app: &App, session: &SessionGuard) -> bool {
    let options = &app.options;
    let version = session.session().info().version;
    options.resume_buffer > 0 && version == ProtocolVersion::V2025_11_25
}

/// The replies as one JSON body.
fn whole<K: Send + Unpin + 'static>(replies: Vec<Reply>, is_batch: bool, keep: K) -> Response {
    if is_batch {
        let messages: Vec<Bytes> = replies.into_iter().map(|reply| reply.data).collect();
        let array = [b"[", messages.join(&b',').as_slice(), b"]"].concat();
        return reply::json(StatusCode::OK, array, keep);
    }
    match replies.into_iter().next() {
        Some(Reply { status, data }) => reply::json(status, data, keep),
        // An exchange has at least one request.
        None => reply::empty(StatusCode::ACCEPTED),
    }
}

/// Completes when an answer must not stay silent any longer.
async fn becomes_stream(app: &App) {
    if app.options.json_response {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(app.options.heartbeat).await;
}

/// 503 for a call beyond the limit.
pub(super) fn busy(id: &RequestId) -> Response {
    reply::unavailable(Some(id), BUSY, RetryAfter::Busy)
}

/// The error of a call beyond the limit, in a batch.
pub(super) fn busy_error() -> ErrorObject {
    ErrorObject::new(INTERNAL_ERROR, BUSY)
}

const LOST: &str = "Internal error: the call was lost";

const BUSY: &str = "The server is running as many calls as it may; try again later";

/// What the metrics call the error of a call.
fn error_type(outcome: &Outcome) -> Option<ErrorType> {
    match outcome {
        Outcome::Result { result, .. } => result.is_error.then_some(ErrorType::Tool),
        Outcome::Error(_) => Some(ErrorType::Tool),
        Outcome::Messages(_) | Outcome::Bytes(_) | Outcome::InputRequired(_) => None,
        Outcome::MissingCapabilities(_) => Some(ErrorType::JsonRpc(MISSING_CLIENT_CAPABILITY)),
        Outcome::Stopped(_) | Outcome::Lost => Some(ErrorType::JsonRpc(INTERNAL_ERROR)),
    }
}

/// The status of a reply without a result. A legacy client sees every reply to a valid request as
/// 200, and so does every client the error of a tool: the request was good, and the server works.
fn error_status(era: Era, outcome: &Outcome) -> StatusCode {
    match (era, outcome) {
        (Era::Legacy, _) | (Era::Modern, Outcome::Error(_)) => StatusCode::OK,
        (Era::Modern, Outcome::MissingCapabilities(_)) => StatusCode::BAD_REQUEST,
        (Era::Modern, Outcome::Stopped(_)) => StatusCode::SERVICE_UNAVAILABLE,
        (Era::Modern, _) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
