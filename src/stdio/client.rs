//! The one client: what its messages ask for, in either era.

use std::io;
use std::sync::Arc;

use http::StatusCode;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::io::AsyncRead;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::MAX_WAITING;
use super::lines::{Line, Lines};
use super::listening::Feed;
use super::running::Running;
use crate::app::App;
use crate::auth::{Caller, Principal};
use crate::call::audit::{Trail, Way};
use crate::call::changes::Eyes;
use crate::call::legacy::{Peer, Planned, answered, cancelled, notified};
use crate::call::{self, changes};
use crate::dispatch::{self, Call, Context, Listening, Plan};
use crate::execute::Stop;
use crate::metrics::{ErrorType, RequestEra};
use crate::protocol::jsonrpc::{
    self, Body, ErrorObject, INTERNAL_ERROR, INVALID_REQUEST, Malformed, Message, Notification,
    Request, RequestId, UnreadableId,
};
use crate::protocol::mcp::{self, Method};
use crate::protocol::modern::check_meta;
use crate::protocol::version::{Era, ProtocolVersion, classify};
use crate::session::{Bucket, Owner, SessionGuard, SessionInfo};
use crate::stream::{Answer, Next, Outbox, Reader, Reply};

/// What a request is answered with.
type Outcome = Result<Box<RawValue>, ErrorObject>;

/// Where the reply to a request goes.
#[derive(Debug)]
struct To {
    outbox: Arc<Outbox>,
    /// The other replies wait for it.
    is_batch: bool,
}

/// The client that started the server.
#[derive(Debug)]
pub(super) struct Client {
    app: Arc<App>,
    caller: Arc<Caller>,
    outbox: Arc<Outbox>,
    /// What still has something to say.
    work: TaskTracker,
    /// What the client opened with `initialize`, if it did.
    session: Option<SessionGuard>,
    running: Running,
}

impl Client {
    pub(super) fn new(app: Arc<App>, outbox: Arc<Outbox>) -> Self {
        Self {
            app,
            caller: Arc::new(Caller::new(Principal::Anonymous)),
            outbox,
            work: TaskTracker::new(),
            session: None,
            running: Running::default(),
        }
    }

    /// Holds whatever still has something to say.
    pub(super) fn work(&self) -> TaskTracker {
        self.work.clone()
    }

    /// Reads and serves messages to the end of the input.
    pub(super) async fn read(&mut self, input: impl AsyncRead + Unpin) -> io::Result<()> {
        let limit = self.app.options.max_body;
        let mut lines = Lines::new(input, limit);
        while let Some(line) = lines.next().await? {
            match line {
                Line::Text(text) => {
                    // A server that stops waits for the answer to what was taken.
                    let _taken = self.work.token();
                    self.take(text.trim_ascii()).await;
                }
                Line::TooLong => {
                    let text = format!("Invalid request: the line is longer than {limit} bytes");
                    self.refuse(None, &ErrorObject::new(INVALID_REQUEST, text));
                }
            }
            self.outbox.room(MAX_WAITING).await;
        }
        Ok(())
    }

    /// The client can answer nothing any more.
    pub(super) fn hang_up(&self) {
        if let Some(session) = &self.session {
            session.session().hang_up();
        }
    }

    async fn take(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        match jsonrpc::parse(line) {
            Ok(Body::Message(message)) => {
                let outbox = Arc::clone(&self.outbox);
                let to = To {
                    outbox,
                    is_batch: false,
                };
                self.serve(message, &to).await;
            }
            Ok(Body::Batch(messages)) => self.serve_batch(messages).await,
            Err(Malformed { id, error }) => self.refuse(id.as_ref(), &error),
        }
    }

    fn refuse(&self, id: Option<&RequestId>, error: &ErrorObject) {
        self.outbox.reply(refusal(id, error));
    }

    async fn serve(&mut self, message: Message, to: &To) {
        match message {
            Message::Request(request) => {
                let id = request.id.clone();
                if let Some(outcome) = self.serve_request(request, to).await {
                    to.outbox.reply(call::reply(&id, &outcome, StatusCode::OK));
                }
            }
            Message::Notification(notification) => self.note(&notification),
            Message::Response(response) => {
                if let Some(session) = &self.session {
                    answered(session, response);
                }
            }
        }
    }

    fn note(&self, notification: &Notification) {
        if let Some(session) = &self.session {
            notified(session, notification);
        }
        if let Some(key) = cancelled(notification) {
            let cancelled = self.running.cancel(&key);
            tracing::debug!(cancelled, "cancelled by the client");
        }
    }

    /// Serves a batch: each message as if it had come alone. Their replies come together, unless a
    /// call of it speaks before.
    async fn serve_batch(&mut self, messages: Vec<Result<Message, Malformed>>) {
        let session = self.session.as_ref();
        let version = session.map(|session| session.session().info().version);
        if version != Some(ProtocolVersion::V2025_03_26) {
            return self.refuse(None, &call::no_batch());
        }
        let is_answered = |message: &&Result<Message, Malformed>| {
            matches!(message, Ok(Message::Request(_)) | Err(_))
        };
        let replies = messages.iter().filter(is_answered).count();
        let (outbox, reader) = call::outbox(&self.app, replies);
        let to = To {
            outbox,
            is_batch: true,
        };
        for message in messages {
            match message {
                Ok(message) => self.serve(message, &to).await,
                Err(Malformed { id, error }) => to.outbox.reply(refusal(id.as_ref(), &error)),
            }
        }
        if replies > 0 {
            let outbox = Arc::clone(&self.outbox);
            self.work.spawn(forward(reader, outbox));
        }
    }

    /// Serves a request; `None` if its reply comes later.
    async fn serve_request(&mut self, request: Request, to: &To) -> Option<Outcome> {
        if self.app.draining.is_cancelled() {
            return Some(Err(call::stopping_error()));
        }
        // There are no headers here that could say something else.
        let version = stated_version(&request.params);
        let served = self.app.options.served;
        let method = Some(request.method.as_str());
        match classify(served, version, method, &request.params) {
            Err(error) => Some(Err(error)),
            Ok(Era::Modern) => self.serve_modern(request, to).await,
            Ok(Era::Legacy) => self.serve_legacy(request, to).await,
        }
    }

    async fn serve_modern(&self, mut request: Request, to: &To) -> Option<Outcome> {
        if to.is_batch {
            let text = "Invalid request: a request of 2026-07-28 cannot be part of a batch";
            return Some(Err(ErrorObject::new(INVALID_REQUEST, text)));
        }
        let started = Instant::now();
        let in_flight = self.app.metrics.request_started(RequestEra::Stateless);
        let catalog = self.app.catalog.whole();
        let context = Context {
            // The one client of a process has nowhere to come back to.
            keeps_tasks: false,
            ..self
                .app
                .context(ProtocolVersion::V2026_07_28, &self.caller, &catalog)
        };
        let method = Method::named(&request.method);
        let mut trail = Trail::begin(&self.app, &context, Way::default(), &request);
        let id = request.id.clone();
        let refuse = |asked: call::Asked<'_>, refusal| {
            let counted = (self.app.as_ref(), started);
            let refused = call::refuse(counted, asked, context.version, (&id, refusal));
            to.outbox.reply(refused);
            None
        };
        if let Err(error) = check_meta(&request.params) {
            return match trail.malformed(&error).await {
                Ok(()) => Some(Err(error)),
                Err(refusal) => refuse((method, None), refusal),
            };
        }
        let plan = dispatch::plan(&context, &mut request);
        if let Err(refusal) = trail.planned(&context, &request, &plan).await {
            return refuse(call::asked(method, &plan), refusal);
        }
        call::note((&self.app, started), method, &context, (&plan, &trail));
        match plan {
            Plan::Reply(outcome) | Plan::Answered { outcome, .. } => Some(outcome),
            Plan::Call(call) => {
                self.run(request.id, (*call, trail), in_flight);
                None
            }
            Plan::StepUp(needed) => Some(Err(needed.error())),
            Plan::Listen(listening) => self.listen(listening).await.err().map(Err),
            Plan::Remember(_) | Plan::Task(_) => {
                Some(Err(ErrorObject::method_not_found(&request.method)))
            }
        }
    }

    /// Runs a call of 2026-07-28. `keep` is dropped when its reply is in the outbox.
    fn run<K: Send + 'static>(&self, id: RequestId, (mut call, trail): (Call, Trail), keep: K) {
        let number = trail.number(&self.app);
        let stop = Stop::default();
        let noted = self.running.note(number, id.key(), stop.client.clone());
        let from = call::From {
            number,
            id,
            version: ProtocolVersion::V2026_07_28,
            session: None,
            outbox: Arc::clone(&self.outbox),
            log_level: call.client.log_level,
            resumes: false,
            given_up: Some(stop.client.clone()),
        };
        let input = call::input_of_retry(&mut call);
        let keep = (noted, self.work.token(), keep);
        call::start(&self.app, from, (call, input, trail), stop, keep);
    }

    async fn listen(&self, listening: Listening) -> Result<(), ErrorObject> {
        let place = self.app.listeners.enter(Some(Bucket::Address(None)));
        let place =
            place.ok_or_else(|| ErrorObject::new(INTERNAL_ERROR, changes::TOO_MANY_LISTENERS))?;
        let eyes = Eyes::new(&self.app, &None, &self.caller);
        let listener = changes::filtered(&self.app, &listening.filter, eyes).await;
        let given_up = CancellationToken::new();
        let number = self.app.executor.number();
        let noted = self
            .running
            .note(number, listening.id.key(), given_up.clone());
        let keep = (place, noted);
        let telling = self
            .feed()
            .tell_listener(listener, listening, given_up, keep);
        self.work.spawn(telling);
        Ok(())
    }

    fn feed(&self) -> Feed {
        Feed {
            app: Arc::clone(&self.app),
            outbox: Arc::clone(&self.outbox),
        }
    }

    async fn serve_legacy(&mut self, request: Request, to: &To) -> Option<Outcome> {
        let refuse = |text: &'static str| Some(Err(ErrorObject::new(INVALID_REQUEST, text)));
        let Some(session) = &self.session else {
            return match request.method.as_str() {
                "initialize" => {
                    self.initialize(&request);
                    None
                }
                "ping" => Some(dispatch::empty()),
                _ => refuse(NOT_INITIALIZED),
            };
        };
        if request.method == "initialize" {
            return refuse("Invalid request: the client has called initialize already");
        }
        let in_flight = self.app.metrics.request_started(RequestEra::Session);
        let info = session.session().info();
        let catalog = self.app.catalog.whole();
        let mut context = self.app.context(info.version, &self.caller, &catalog);
        context.capabilities = Some(&info.capabilities);
        let peer = Peer {
            app: &self.app,
            session: Some(session),
            context,
            way: Way {
                session: Some(session),
                ..Way::default()
            },
            started: Instant::now(),
            resumes: false,
            awaits_cancelled: to.is_batch,
        };
        let id = request.id.clone();
        let (call, trail) = match peer.plan(request).await {
            Planned::Answer(outcome) => return Some(outcome),
            Planned::StepUp(needed) => return Some(Err(needed.error())),
            Planned::Refused(refused) => {
                to.outbox.reply(refused);
                return None;
            }
            Planned::Call(call, trail) => (*call, trail),
        };
        let keep = (self.work.token(), in_flight);
        let run = peer.run(id, (call, trail), Arc::clone(&to.outbox), keep);
        match Box::pin(run).await {
            Ok(()) => None,
            Err(refused) => Some(Err(call::legacy::refused(refused, call::stopping_error))),
        }
    }

    /// Answers `initialize`. What changes is told after that.
    fn initialize(&mut self, request: &Request) {
        let started = Instant::now();
        let opened = self.open(&request.params);
        let version = opened.as_ref().map_or(ProtocolVersion::UNSTATED, |opened| {
            opened.0.session().info().version
        });
        let error = opened.as_ref().err();
        self.app.metrics.operation(
            Method::Initialize.as_str(),
            None,
            error.map(|error| ErrorType::JsonRpc(error.code)),
            version.as_str(),
            started.elapsed(),
        );
        match opened {
            Err(error) => self.refuse(Some(&request.id), &error),
            Ok((session, result)) => {
                let reply = call::reply(&request.id, &Ok(result), StatusCode::OK);
                self.outbox.reply(reply);
                let listener = changes::listener(&self.app, session.session(), &self.caller);
                self.work.spawn(self.feed().tell_session(listener));
                self.session = Some(session);
            }
        }
    }

    /// Opens the session of the process, and says so.
    fn open(
        &self,
        params: &Map<String, Value>,
    ) -> Result<(SessionGuard, Box<RawValue>), ErrorObject> {
        let since = changes::mark(&self.app, &None, &self.caller);
        let catalog = self.app.catalog.whole();
        let context = self
            .app
            .context(ProtocolVersion::UNSTATED, &self.caller, &catalog);
        let (params, result) = dispatch::initialize(&context, params)?;
        let info = SessionInfo {
            opener: Owner {
                principal: self.caller.principal.clone(),
                bucket: None,
            },
            toolset: None,
            version: params.version,
            client: params.client.into(),
            capabilities: params.capabilities,
            since,
        };
        let sessions = self.app.sessions.as_ref();
        let session = sessions.and_then(|sessions| sessions.create(info).ok());
        let session = session
            .ok_or_else(|| ErrorObject::new(INTERNAL_ERROR, "There is no room for a session"))?;
        let info = session.session().info();
        tracing::info!(version = %info.version, client = info.client, "session started");
        Ok((session, result))
    }
}

const NOT_INITIALIZED: &str = "Invalid request: call initialize first, or name the protocol version \
                               2026-07-28 in _meta";

/// The version that the `_meta` of a request names.
fn stated_version(params: &Map<String, Value>) -> Option<&str> {
    mcp::in_meta(params, mcp::META_PROTOCOL_VERSION)?.as_str()
}

/// The reply to what cannot be served. Without an id it is `null` in every revision, so that a client
/// sees that it is a reply.
fn refusal(id: Option<&RequestId>, error: &ErrorObject) -> Reply {
    Reply::new(
        StatusCode::OK,
        jsonrpc::encode_error(id, UnreadableId::Null, error),
    )
}

/// Hands the replies to a batch on: as one array, or as they come after somebody spoke before.
async fn forward(mut reader: Reader, outbox: Arc<Outbox>) {
    if let Answer::Replies(replies) = reader.answer().await {
        return outbox.reply(Reply::new(StatusCode::OK, call::array(replies)));
    }
    while let Next::Event(event) = reader.next().await {
        outbox.room(MAX_WAITING).await;
        outbox.demand(event.data);
    }
}
