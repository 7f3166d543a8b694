//! Calls as the audit log knows them: from a request to what came of it.
//!
//! A request that runs or reveals something leaves a [`Trail`], from before it is planned to its end,
//! whatever that is.

use std::borrow::Cow;
use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::app::App;
use crate::audit::{About, Ending, Open};
use crate::dispatch::{Context, Plan, Standing};
use crate::execute::{self, Admission, Limit, Outcome, Refusal, Stopped};
use crate::protocol::jsonrpc::{ErrorObject, INTERNAL_ERROR, Request};
use crate::protocol::mcp::{self, Method};
use crate::session::SessionGuard;

/// When a call may be tried again that could not be written down, in seconds.
const RETRY_AFTER: u64 = 5;

/// Where a request came in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Way<'a> {
    /// The address of the client, where it has one.
    pub(crate) client: Option<IpAddr>,
    /// The toolset at whose endpoint it came.
    pub(crate) toolset: Option<&'a str>,
    /// Its session.
    pub(crate) session: Option<&'a SessionGuard>,
}

/// What the audit log is told of a request: nothing without a log, or if it neither runs nor reveals
/// anything.
#[derive(Debug)]
#[must_use = "a call that is dropped is written down as lost"]
pub(crate) struct Trail(Option<Open>);

/// How a request ended, and the reason in a few words of the log.
type Ended = (Ending, Option<Cow<'static, str>>);

impl Trail {
    /// Begins with what the client says, before anything is made of it.
    pub(crate) fn begin(app: &App, context: &Context<'_>, way: Way<'_>, request: &Request) -> Self {
        let Some(audit) = &app.audit else {
            return Self(None);
        };
        let method = Method::named(&request.method);
        if !is_audited(method) {
            return Self(None);
        }
        let about = About {
            call: app.executor.number(),
            method,
            name: name(method, &request.params),
            toolset: way.toolset,
            caller: &context.caller.principal,
            client: way.client,
            session: way.session.map(|guard| guard.session().id().to_string()),
            version: context.version,
        };
        Self(Some(audit.begin(
            &about,
            arguments(method, &request.params).as_deref(),
        )))
    }

    /// The number of the call that the request becomes.
    pub(crate) fn number(&self, app: &App) -> u64 {
        let open = self.0.as_ref();
        open.map_or_else(|| app.executor.number(), Open::call)
    }

    /// Ends here if the request is answered at once, when it may be.
    ///
    /// # Errors
    ///
    /// What it is answered with if it cannot be written down.
    pub(crate) async fn planned(
        &mut self,
        context: &Context<'_>,
        request: &Request,
        plan: &Plan,
    ) -> Result<(), Refusal> {
        if self.0.is_none() {
            return Ok(());
        }
        match answered(context, request, plan) {
            Some(ended) => self.answer(ended).await,
            None => Ok(()),
        }
    }

    /// As [`Trail::planned`]: the request contradicts itself.
    pub(crate) async fn malformed(mut self, error: &ErrorObject) -> Result<(), Refusal> {
        self.answer((Ending::Invalid, Some(reason_of(error)))).await
    }

    /// As [`Trail::planned`]: there is no room for the call.
    pub(crate) async fn refused(mut self, reason: &'static str) -> Result<(), Refusal> {
        self.answer((Ending::Refused, Some(reason.into()))).await
    }

    /// Ends with an answer that nothing had to run for. In mode `required` that waits until the request
    /// is written down, and its client may leave meanwhile.
    async fn answer(&mut self, (ending, reason): Ended) -> Result<(), Refusal> {
        let Some(open) = &mut self.0 else {
            return Ok(());
        };
        if open.is_required() {
            open.ends_if_dropped(Ending::Cancelled, Stopped::ByDisconnect.label());
            // Boxed, since the future of every request has room for it otherwise.
            if let Err(refusal) = Box::pin(written(open)).await {
                open.end(Ending::Refused, Some(refusal.limit.label()));
                return Err(refusal);
            }
        }
        open.end(ending, reason.as_deref());
        Ok(())
    }

    /// In mode `required` no call begins that is not written down.
    pub(super) fn admission(&self) -> Option<Admission> {
        let open = self.0.as_ref().filter(|open| open.is_required())?;
        Some(Admission::new(written(open)))
    }

    /// Ends with a call that ended like this, unless its client cannot be told what came of it.
    pub(super) fn done<T>(&mut self, ended: Ended, told: &Result<T, ErrorObject>) {
        let Some(open) = &mut self.0 else {
            return;
        };
        let (ending, reason) = match (ended, told) {
            ((Ending::Ok | Ending::InputRequired, _), Err(error)) => {
                (Ending::Error, Some(reason_of(error)))
            }
            (ended, _) => ended,
        };
        open.end(ending, reason.as_deref());
    }
}

/// Waits until the first line of a request is on the disk.
fn written(open: &Open) -> impl Future<Output = Result<(), Refusal>> + Send + use<> {
    let is_written = open.is_written();
    async move { is_written.await.then_some(()).ok_or_else(unwritable) }
}

/// Whether a request runs or reveals something. Lists do not: they say what there is.
fn is_audited(method: Method) -> bool {
    use Method::{CallTool, Complete, GetPrompt, ReadResource};
    matches!(method, CallTool | GetPrompt | ReadResource | Complete)
}

/// What a request names: no other member, which means nothing and could pass for it.
fn name(method: Method, params: &Map<String, Value>) -> Option<&str> {
    let text = |object, name| mcp::member(object, name).and_then(Value::as_str);
    match method {
        Method::ReadResource => text(params, "uri"),
        Method::Complete => {
            let reference = mcp::member(params, "ref")?.as_object()?;
            match text(reference, "type")? {
                "ref/prompt" => text(reference, "name"),
                _ => text(reference, "uri"),
            }
        }
        _ => text(params, "name"),
    }
}

/// The arguments of a request. Where it has none of that name, they are all that it says of what it
/// wants: also a URI, of which its name may be no more than the beginning.
fn arguments(method: Method, params: &Map<String, Value>) -> Option<Cow<'_, Map<String, Value>>> {
    let said = |names: &[&str]| {
        let member = |name: &&str| Some(((*name).to_owned(), mcp::member(params, name)?.clone()));
        Some(Cow::Owned(names.iter().filter_map(member).collect()))
    };
    match method {
        Method::ReadResource => said(&["uri"]),
        Method::Complete => said(&["ref", "argument", "context"]),
        _ => match mcp::member(params, "arguments") {
            None => Some(Cow::Owned(Map::new())),
            Some(arguments) => arguments.as_object().map(Cow::Borrowed),
        },
    }
}

/// As the metrics have it: the code says enough, and no text of a client.
fn reason_of(error: &ErrorObject) -> Cow<'static, str> {
    format!("JSON-RPC error {}", error.code).into()
}

/// How a request ended that is answered at once; `None` for one that runs.
fn answered(context: &Context<'_>, request: &Request, plan: &Plan) -> Option<Ended> {
    let ended = match plan {
        Plan::Call(_) => return None,
        Plan::Reply(Err(error)) => (why_refused(context, request, error), Some(reason_of(error))),
        Plan::Answered {
            outcome: Err(error),
            ..
        } => (Ending::Error, Some(reason_of(error))),
        Plan::Answered {
            is_error: true,
            how,
            ..
        } => (Ending::Invalid, Some((*how).into())),
        Plan::StepUp(_) => (Ending::Denied, Some("insufficient_scope".into())),
        _ => (Ending::Ok, None),
    };
    Some(ended)
}

/// Why a request got an error: the client sees less.
fn why_refused(context: &Context<'_>, request: &Request, error: &ErrorObject) -> Ending {
    let method = Method::named(&request.method);
    let name = name(method, &request.params).unwrap_or_default();
    match context.standing(method, name) {
        Standing::Usable if error.code == INTERNAL_ERROR => Ending::Error,
        Standing::Usable => Ending::Invalid,
        Standing::Hidden => Ending::Denied,
        Standing::Absent => Ending::NotFound,
    }
}

/// Why a request is not served that could not be written down.
fn unwritable() -> Refusal {
    const MESSAGE: &str = "The server cannot keep its audit log; nothing was run; try again later";
    Refusal {
        limit: Limit::Audit,
        message: MESSAGE.into(),
        retry_after: RETRY_AFTER,
    }
}

/// How a call with this outcome ended.
pub(super) fn ended(outcome: &Outcome) -> Ended {
    let ending = ending(outcome);
    let reason = (ending != Ending::Ok).then(|| outcome.label().to_owned().into());
    (ending, reason)
}

fn ending(outcome: &Outcome) -> Ending {
    match outcome {
        Outcome::Result { result, .. } if !result.is_error => Ending::Ok,
        Outcome::Result { how, .. } => match how.as_ref() {
            execute::TIMEOUT | execute::WAITED_TOO_LONG => Ending::Timeout,
            execute::INVALID_ARGUMENTS => Ending::Invalid,
            _ => Ending::Error,
        },
        Outcome::Messages(_) | Outcome::Bytes(_) => Ending::Ok,
        Outcome::InputRequired(_) => Ending::InputRequired,
        Outcome::MissingCapabilities(_) => Ending::Invalid,
        Outcome::Error(_) => Ending::Error,
        Outcome::Refused(_) => Ending::Refused,
        Outcome::Stopped(_) => Ending::Cancelled,
        Outcome::Lost => Ending::Lost,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_names_what_it_is_about_and_nothing_else() {
        let both = json!({"name": "a", "uri": "x://a"});
        let reference =
            |kind: &str| json!({"name": "b", "ref": {"type": kind, "name": "a", "uri": "x://a"}});
        let cases = [
            (Method::CallTool, both.clone(), Some("a")),
            (Method::GetPrompt, both.clone(), Some("a")),
            (Method::ReadResource, both, Some("x://a")),
            (Method::Complete, reference("ref/prompt"), Some("a")),
            (Method::Complete, reference("ref/resource"), Some("x://a")),
            (Method::Complete, json!({"name": "b"}), None),
            (Method::CallTool, json!({"name": 7}), None),
        ];
        for (method, params, expected) in cases {
            let found = name(method, params.as_object().unwrap());
            assert_eq!(found, expected, "{method:?} {params}");
        }
    }
}
