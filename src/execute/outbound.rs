//! Requests to HTTP APIs, for tools of the kind `http`. The server's own HTTP is in `crate::http`.
//!
//! A request has no process to end: to drop it closes its connection. What all calls of an API share
//! – connections, a token, and what is known of an outage – lives as long as the definition of the
//! API; a reload begins anew.

mod answer;
mod breaker;
mod client;
mod failure;
mod resolver;
mod token;
mod upstream;

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::kept::{Beyond, Kept};
use super::stdout::Printed;
use super::{Outcome, report};
use crate::catalog::{Api, Request, Tool};
use crate::protocol::trace::TraceContext;
use crate::redact::Redactor;
use answer::Answer;
use failure::Failure;
use resolver::MAX_LOOKUPS;
use upstream::Upstream;

/// Sends the requests of all calls.
#[derive(Debug)]
pub(super) struct Outbound {
    /// Each as long as its API is part of a catalog.
    upstreams: Mutex<Vec<(Weak<Api>, Arc<Upstream>)>>,
    lookups: Arc<Semaphore>,
}

/// What a request is sent for.
#[derive(Debug)]
pub(super) struct Errand<'a> {
    pub(super) tool: &'a Tool,
    /// What becomes of a body beyond what a result holds.
    pub(super) beyond: Beyond,
    pub(super) trace: Option<&'a TraceContext>,
    /// What the call had when it began.
    pub(super) time: Duration,
    /// When that is over.
    pub(super) deadline: Instant,
}

/// What came of a request.
#[derive(Debug)]
pub(super) enum Sent {
    /// All that is told of it.
    Outcome(Outcome),
    /// A body that is what the definition says.
    Body(Box<Printed>),
}

impl Outbound {
    /// Nothing is connected.
    pub(super) fn new() -> Self {
        Self {
            upstreams: Mutex::default(),
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        }
    }

    /// Sends a request and makes something of its response. What hides the credential that was sent is
    /// for all that is said of that.
    pub(super) async fn send(&self, request: &Request, errand: Errand<'_>) -> (Sent, Redactor) {
        let api = &request.api.name;
        let (tool, time) = (errand.tool, errand.time);
        match self.answer(request, errand).await {
            Ok((answer, redactor)) => {
                let sent = answer.sent(tool, api, &request.method);
                (sent, redactor)
            }
            Err(failure) => {
                let text = failure.text(api, time);
                let outcome = report::failed(text, failure.label());
                (Sent::Outcome(outcome), Redactor::default())
            }
        }
    }

    async fn answer(
        &self,
        request: &Request,
        errand: Errand<'_>,
    ) -> Result<(Answer, Redactor), Failure> {
        let deadline = errand.deadline;
        let upstream = self.upstream(&request.api);
        let response = upstream.send(request, errand.trace, deadline).await?;
        let body = Kept::new(errand.tool.max_output, errand.beyond);
        let redactor = response.redactor.clone();
        let read = Answer::read(response, body);
        let read = tokio::time::timeout_at(deadline, read).await;
        let answer = read.unwrap_or(Err(Failure::Slow))?;
        Ok((answer, redactor))
    }

    /// What the calls of an API share.
    fn upstream(&self, api: &Arc<Api>) -> Arc<Upstream> {
        let mut upstreams = self.upstreams.lock();
        let is_known = |(of, _): &&(Weak<Api>, _)| of.as_ptr() == Arc::as_ptr(api);
        if let Some((_, known)) = upstreams.iter().find(is_known) {
            return Arc::clone(known);
        }
        let upstream = Arc::new(Upstream::new(Arc::clone(&self.lookups)));
        upstreams.push((Arc::downgrade(api), Arc::clone(&upstream)));
        upstream
    }

    /// Lets go of what belongs to definitions that are served no more.
    pub(super) fn forget_unserved(&self) {
        let is_unserved = |(of, _): &mut (Weak<Api>, _)| of.strong_count() == 0;
        let unserved: Vec<_> = self.upstreams.lock().extract_if(.., is_unserved).collect();
        drop(unserved);
    }
}
