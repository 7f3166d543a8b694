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

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::kept::{Beyond, Kept};
use super::stdout::Printed;
use super::{Outcome, report};
use crate::catalog::{Api, Request, Tool};
use crate::protocol::trace::TraceContext;
use answer::Answer;
use failure::Failure;
use resolver::MAX_LOOKUPS;
use upstream::Upstream;

/// Sends the requests of all calls.
#[derive(Debug)]
pub(super) struct Outbound {
    upstreams: Mutex<Vec<Arc<Upstream>>>,
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

    /// Sends a request and makes something of its response.
    pub(super) async fn send(&self, request: &Request, errand: Errand<'_>) -> Sent {
        let api = &request.api.name;
        let (tool, time) = (errand.tool, errand.time);
        match self.answer(request, errand).await {
            Ok(answer) => answer.sent(tool, api, &request.method),
            Err(failure) => {
                let text = failure.text(api, time);
                Sent::Outcome(report::failed(text, failure.label()))
            }
        }
    }

    async fn answer(&self, request: &Request, errand: Errand<'_>) -> Result<Answer, Failure> {
        let deadline = errand.deadline;
        let upstream = self.upstream(&request.api);
        let response = upstream.send(request, errand.trace, deadline).await?;
        let body = Kept::new(errand.tool.max_output, errand.beyond);
        let read = Answer::read(response, body);
        let read = tokio::time::timeout_at(deadline, read).await;
        read.unwrap_or(Err(Failure::Slow))
    }

    /// What the calls of an API share. That of definitions that are gone goes with them.
    fn upstream(&self, api: &Arc<Api>) -> Arc<Upstream> {
        let mut upstreams = self.upstreams.lock();
        if let Some(known) = upstreams.iter().find(|known| Arc::ptr_eq(&known.api, api)) {
            return Arc::clone(known);
        }
        // The resolver of a client holds its API too, so that nothing but a catalog makes it three.
        upstreams.retain(|known| Arc::strong_count(&known.api) > 2);
        let upstream = Upstream::new(Arc::clone(api), Arc::clone(&self.lookups));
        let upstream = Arc::new(upstream);
        upstreams.push(Arc::clone(&upstream));
        upstream
    }
}
