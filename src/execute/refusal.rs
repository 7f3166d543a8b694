//! A call that is not run, since there is too much to do or it was asked for too often.

use std::borrow::Cow;
use std::time::Duration;

use tokio::time::Instant;

use super::Outcome;
use super::gate::Refused;
use super::shares::Full;
use crate::catalog::{Concurrency, Rate, Tool};

/// When a call may be tried again that found no room, in seconds: another may end at any time.
const SOON: u64 = 1;

/// Why a call is not run now. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is exhausted.
    pub limit: Limit,
    /// What the client is told.
    pub message: Cow<'static, str>,
    /// When it may be tried again, in whole seconds from now, of which there is at least one.
    pub retry_after: u64,
}

/// What a call was too much for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// What the server does at once.
    Server,
    /// What a tool does at once.
    Tool,
    /// What one caller may have at once.
    Principal,
    /// How often a tool may be called.
    Rate,
    /// What can be written down of calls.
    Audit,
}

impl Limit {
    /// A few words for the log.
    pub fn label(self) -> &'static str {
        match self {
            Self::Server => "refused: the server is busy",
            Self::Tool => "refused: the tool is busy",
            Self::Principal => "refused: too many of one caller",
            Self::Rate => "refused: too often",
            Self::Audit => "refused: no audit log",
        }
    }
}

/// The outcome of a call beyond what may run at once.
pub(super) fn too_many_calls(full: Full) -> Outcome {
    match full {
        Full::All => soon(
            Limit::Server,
            "The server is running as many calls as it may; try again later",
        ),
        Full::Own => soon(
            Limit::Principal,
            "As many calls of yours are running as may; try again when one has ended",
        ),
    }
}

/// The outcome of a call that would have to ask its user, and may not now.
pub(super) fn too_many_questions(full: Full) -> Outcome {
    match full {
        Full::All => soon(
            Limit::Server,
            "The user must be asked first, and so many calls wait for answers in this server that no \
             more may; nothing was run; try again later",
        ),
        Full::Own => soon(
            Limit::Principal,
            "The user must be asked first, and so many calls of this user wait for answers that no more \
             may; nothing was run; answer them, or cancel them, and call again",
        ),
    }
}

/// The outcome of a call that its tool does not take now.
pub(super) fn not_let_in(tool: &Tool, refused: &Refused, now: Instant) -> Outcome {
    match refused {
        Refused::Full => soon(Limit::Tool, busy(&tool.concurrency)),
        Refused::NobodyWaits => soon(
            Limit::Server,
            "The tool is busy, and so many calls wait in this server that no more may; nothing was run; \
             try again later",
        ),
        Refused::TooOften(again) => too_often(tool.rate, again.saturating_duration_since(now)),
    }
}

fn busy(concurrency: &Concurrency) -> String {
    let Concurrency { max, queue, key } = concurrency;
    let calls = if *max == 1 { "call" } else { "calls" };
    let alike = if key.is_some() { " of this kind" } else { "" };
    let waiting = match queue {
        0 => String::new(),
        queue => format!(", and {queue} wait"),
    };
    format!(
        "The tool is busy: {max} {calls}{alike} at once is the most{waiting}; nothing was run; try \
         again when one has ended"
    )
}

fn too_often(rate: Option<Rate>, wait: Duration) -> Outcome {
    let rate = rate.map(|rate| rate.to_string()).unwrap_or_default();
    let retry_after = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Outcome::Refused(Refusal {
        limit: Limit::Rate,
        message: format!(
            "The tool may be called {rate}; nothing was run; try again in {retry_after} s"
        )
        .into(),
        retry_after,
    })
}

fn soon(limit: Limit, message: impl Into<Cow<'static, str>>) -> Outcome {
    Outcome::Refused(Refusal {
        limit,
        message: message.into(),
        retry_after: SOON,
    })
}
