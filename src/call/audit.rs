//! Calls as the audit log knows them: from a request to what came of it.
//!
//! A request that runs or reveals something leaves a [`Trail`], from before it is planned to its end,
//! whatever that is.

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::app::App;
use crate::audit::{About, Ending, Open};
use crate::dispatch::{Context, Plan, Standing};
use crate::execute::{self, Admission, Limit, Listener, Outcome, Refusal, Said};
use crate::protocol::jsonrpc::{ErrorObject, Request};
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
        let none = Map::new();
        let arguments = match method {
            Method::ReadResource => None,
            Method::Complete => mcp::member(&request.params, "argument").and_then(Value::as_object),
            _ => match mcp::member(&request.params, "arguments") {
                None => Some(&none),
                Some(arguments) => arguments.as_object(),
            },
        };
        Self(Some(audit.begin(&about, arguments)))
    }

    /// The number of the call that the request becomes.
    pub(crate) fn number(&self, app: &App) -> u64 {
        let open = self.0.as_ref();
        open.map_or_else(|| app.executor.number(), Open::call)
    }

    /// Ends here if the request was answered at once.
    pub(crate) fn planned(mut self, context: &Context<'_>, request: &Request, plan: &Plan) -> Self {
        let (ending, reason) = match plan {
            Plan::Call(_) => return self,
            Plan::Answered {
                is_error: true,
                how,
                ..
            } => (Ending::Invalid, Some(*how)),
            Plan::Reply(Err(error)) => {
                let ending = why_refused(context, request);
                self.end(ending, Some(&reason_of(error)));
                return self;
            }
            Plan::StepUp(_) => (Ending::Denied, Some("insufficient_scope")),
            _ => (Ending::Ok, None),
        };
        self.end(ending, reason);
        self
    }

    /// Ends here: the request contradicts itself.
    pub(crate) fn malformed(mut self, error: &ErrorObject) {
        self.end(Ending::Invalid, Some(&reason_of(error)));
    }

    /// Ends here: there is no room for the call.
    pub(crate) fn refused(mut self, reason: &str) {
        self.end(Ending::Refused, Some(reason));
    }

    /// Ends with the call whose listener this is.
    pub(super) fn follow(self, listener: Box<dyn Listener>) -> Box<dyn Listener> {
        match self.0 {
            Some(open) => Box::new(Followed { open, listener }),
            None => listener,
        }
    }

    fn end(&mut self, ending: Ending, reason: Option<&str>) {
        if let Some(open) = self.0.take() {
            open.end(ending, reason);
        }
    }
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

/// As the metrics have it: the code says enough, and no text of a client.
fn reason_of(error: &ErrorObject) -> String {
    format!("JSON-RPC error {}", error.code)
}

/// Why a request got an error: the client sees less.
fn why_refused(context: &Context<'_>, request: &Request) -> Ending {
    let method = Method::named(&request.method);
    let name = name(method, &request.params).unwrap_or_default();
    match context.standing(method, name) {
        Standing::Usable => Ending::Invalid,
        Standing::Hidden => Ending::Denied,
        Standing::Absent => Ending::NotFound,
    }
}

/// Why a call is not run that could not be written down.
fn unwritable() -> Refusal {
    const MESSAGE: &str = "The server cannot keep its audit log; nothing was run; try again later";
    Refusal {
        limit: Limit::Audit,
        message: MESSAGE.into(),
        retry_after: RETRY_AFTER,
    }
}

/// The listener of a call, and its place in the audit log.
struct Followed {
    open: Open,
    listener: Box<dyn Listener>,
}

impl Listener for Followed {
    /// In mode `required` no call begins that is not written down.
    fn admission(&self) -> Option<Admission> {
        let is_written = self.open.is_required().then(|| self.open.is_written())?;
        Some(Admission::new(async move {
            if is_written.await {
                Ok(())
            } else {
                Err(unwritable())
            }
        }))
    }

    fn begins(&mut self) {
        self.listener.begins();
    }

    fn said(&mut self, said: Said) {
        self.listener.said(said);
    }

    fn done(self: Box<Self>, outcome: Outcome) {
        let ending = ending(&outcome);
        let reason = (ending != Ending::Ok).then(|| outcome.label());
        self.open.end(ending, reason);
        self.listener.done(outcome);
    }
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
