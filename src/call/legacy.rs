//! Requests of legacy clients, planned and run: in a session, or over HTTP perhaps without.

use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::time::Instant;

use super::asking::Asking;
use super::audit::{Trail, Way};
use super::{Asked, CallInSession, changes};
use crate::app::App;
use crate::call;
use crate::dispatch::{self, Call, Context, InsufficientScope, Plan};
use crate::execute::{Input, Refusal, Stop};
use crate::protocol::jsonrpc::{
    ErrorObject, INTERNAL_ERROR, Notification, Request, RequestId, RequestKey, Response,
};
use crate::protocol::mcp::Method;
use crate::session::{Refused, SessionGuard};
use crate::stream::{Outbox, Reply};

/// What a client is told whose session is used as often at once as it can be.
pub(crate) const CROWDED: &str = "Too many requests of this session are open; try again later";

/// What a client is told whose principal has as many sessions as one may.
pub(crate) const TOO_MANY_SESSIONS: &str =
    "Too many sessions are open already; end some, or try again later";

/// The error of a call that its session refuses, where that has no status of its own; `gone` if the
/// session ended meanwhile.
pub(crate) fn refused(refused: Refused, gone: impl FnOnce() -> ErrorObject) -> ErrorObject {
    match refused {
        Refused::Crowded => ErrorObject::new(INTERNAL_ERROR, CROWDED),
        Refused::PrincipalFull => ErrorObject::new(INTERNAL_ERROR, TOO_MANY_SESSIONS),
        Refused::NotFound => gone(),
    }
}

/// Takes note of a notification. Those that mean nothing here are ignored.
pub(crate) fn notified(session: &SessionGuard, notification: &Notification) {
    let Some(key) = cancelled(notification) else {
        return;
    };
    let cancelled = session.session().cancel_calls(&key);
    tracing::debug!(session = %session.session().id(), cancelled, "cancelled by the client");
}

/// The request that a notification gives up, if it does that.
pub(crate) fn cancelled(notification: &Notification) -> Option<RequestKey> {
    if notification.method != "notifications/cancelled" {
        return None;
    }
    let id = notification.params.get("requestId")?;
    RequestKey::from_value(id)
}

/// Hands the answer to whoever asked. One that nobody waits for is ignored.
pub(crate) fn answered(session: &SessionGuard, response: Response) {
    let session = session.session();
    let is_awaited = session.answer_request(&response.id.key(), response.outcome);
    tracing::debug!(session = %session.id(), is_awaited, "answered by the client");
}

/// What is left to do about a request.
pub(crate) enum Planned {
    Answer(Result<Box<RawValue>, ErrorObject>),
    Call(Box<Call>, Trail),
    StepUp(InsufficientScope),
    /// It is not served now.
    Refused(Reply),
}

/// The client of one request, as far as that is known.
#[derive(Debug)]
pub(crate) struct Peer<'a> {
    pub(crate) app: &'a Arc<App>,
    pub(crate) session: Option<&'a SessionGuard>,
    pub(crate) context: Context<'a>,
    pub(crate) way: Way<'a>,
    /// When the request came.
    pub(crate) started: Instant,
    /// It can leave and come back for what is sent meanwhile.
    pub(crate) resumes: bool,
    /// Something waits for the reply to a call although the client gave the call up.
    pub(crate) awaits_cancelled: bool,
}

impl Peer<'_> {
    /// Plans a request, and does at once what needs no waiting.
    pub(crate) async fn plan(&self, mut request: Request) -> Planned {
        let mut context = self.context;
        let method = Method::named(&request.method);
        if let Some(session) = self.session {
            context.legacy_level = session.session().log_level();
            session.session().note_request(method);
        }
        let mut trail = Trail::begin(self.app, &context, self.way, &request);
        let mut plan = dispatch::plan(&context, &mut request);
        if let Plan::Remember(wish) = plan {
            let who = (self.app.as_ref(), self.context.caller);
            plan = Plan::Reply(Box::pin(changes::remember(who, self.session, wish)).await);
        }
        if let Err(refusal) = trail.planned(&context, &request, &plan).await {
            let asked = call::asked(method, &plan);
            return Planned::Refused(self.refuse(asked, (&request.id, refusal)));
        }
        if let Some(session) = self.session.filter(|_| is_use(method, &plan)) {
            session.session().note_call();
        }
        call::note((self.app, self.started), method, &context, (&plan, &trail));
        match plan {
            Plan::Call(call) => Planned::Call(call, trail),
            Plan::StepUp(needed) => Planned::StepUp(needed),
            Plan::Reply(outcome) | Plan::Answered { outcome, .. } => Planned::Answer(outcome),
            Plan::Remember(_) | Plan::Listen(_) | Plan::Task(_) => {
                Planned::Answer(Err(ErrorObject::method_not_found(&request.method)))
            }
        }
    }

    fn refuse(&self, asked: Asked<'_>, refused: (&RequestId, Refusal)) -> Reply {
        let counted = (self.app.as_ref(), self.started);
        call::refuse(counted, asked, self.context.version, refused)
    }

    /// Starts a call. `keep` is dropped when its reply is in the outbox.
    ///
    /// # Errors
    ///
    /// [`Refused`] by a session that ended meanwhile, or is used too often at once.
    pub(crate) async fn run<K: Send + 'static>(
        &self,
        id: RequestId,
        (call, trail): (Call, Trail),
        outbox: Arc<Outbox>,
        keep: K,
    ) -> Result<(), Refused> {
        let app = self.app;
        let number = trail.number(app);
        let ended = self.session.map(|guard| guard.session().ended());
        let stop = Stop {
            session: ended.unwrap_or_default(),
            ..Stop::default()
        };
        let registered = match self.session {
            None => None,
            Some(guard) => {
                let session = guard.session();
                let Some(another) = guard.another() else {
                    let reason = "refused: too many requests of the session";
                    if let Err(refusal) = trail.refused(reason).await {
                        let asked = (call.purpose.method(), Some(call.tool.name.as_str()));
                        outbox.reply(self.refuse(asked, (&id, refusal)));
                        return Ok(());
                    }
                    return Err(if session.ended().is_cancelled() {
                        Refused::NotFound
                    } else {
                        Refused::Crowded
                    });
                };
                if session.register_call(number, id.key(), stop.client.clone()) {
                    app.metrics.duplicate_request_id();
                }
                Some(CallInSession::new(number, another))
            }
        };
        let input = match &registered {
            _ if app.options.json_response => {
                Input::Nobody("the client cannot be asked: this server answers with JSON alone")
            }
            None => Input::Nobody("the client cannot be asked: it has no session"),
            Some(call) => Input::Live(Box::new(Asking {
                call: Arc::clone(call),
                outbox: Arc::clone(&outbox),
            })),
        };
        let log_level = call.client.log_level;
        let from = call::From {
            number,
            id,
            version: self.context.version,
            session: self.session.map(|guard| {
                let id = guard.session().id();
                id.digest(&self.context.caller.principal)
            }),
            outbox,
            log_level,
            resumes: self.resumes,
            given_up: (!self.awaits_cancelled).then(|| stop.client.clone()),
        };
        let is_taken = call::start(app, from, (call, input, trail), stop, (registered, keep));
        if let Some(session) = self.session.filter(|_| is_taken) {
            session.session().note_call();
        }
        Ok(())
    }
}

/// True for what was answered at once, though it might have been a call.
fn is_use(method: Method, plan: &Plan) -> bool {
    let is_use = matches!(
        method,
        Method::GetPrompt | Method::ReadResource | Method::Complete | Method::Subscribe
    );
    match plan {
        Plan::Answered { is_error, .. } => !is_error,
        plan => is_use && matches!(plan, Plan::Reply(Ok(_))),
    }
}
