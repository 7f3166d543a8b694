//! Pages of what sessions there are, for whoever operates the server.

use std::cmp::Reverse;
use std::sync::Arc;

use serde::Serialize;

use super::Session;
use super::activity::Millis;
use super::shards::Shards;

/// The most sessions on a page.
pub const MAX_PAGE: usize = 1000;

/// The order of a list. What ranks highest comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// The oldest first.
    Age,
    /// The longest idle first; those in use come last.
    Idle,
    /// The most requests first.
    Requests,
    /// The most exchanges and calls in flight first.
    InFlight,
}

impl Sort {
    /// Every order.
    pub const ALL: [Self; 4] = [Self::Age, Self::Idle, Self::Requests, Self::InFlight];

    /// The name in a query.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Idle => "idle",
            Self::Requests => "requests",
            Self::InFlight => "in_flight",
        }
    }

    fn rank(self, session: &Session, now: Millis) -> u64 {
        match self {
            Self::Age => now.saturating_sub(session.created),
            Self::Idle => session.idle(now),
            Self::Requests => session.requests(),
            Self::InFlight => session.activity.view().work,
        }
    }
}

/// A session, as far as an operator may see it. Durations are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionSummary {
    /// The beginning of the id, as in the log.
    pub session: String,
    /// A keyed hash of the principal: equal for equal principals until the server stops.
    pub principal: String,
    /// The negotiated version.
    pub protocol: &'static str,
    /// The client's own name and version.
    pub client: Box<str>,
    /// Since its creation.
    pub age: f64,
    /// Since its last use; 0 while it is in use.
    pub idle: f64,
    /// What it is doing: a state of the statistics, or `ending`.
    pub state: &'static str,
    /// Exchanges and calls that use it now.
    pub in_flight: u64,
    /// Event streams that are open now.
    pub streams: u64,
    /// Requests since `initialize`.
    pub requests: u64,
    /// The method of the last request; none before the first.
    pub last_method: Option<&'static str>,
}

/// The sessions at `offset` and after it, at most `limit`, highest rank first. Walks over all
/// sessions, and holds not more than twice `offset` and `limit` of them meanwhile.
pub(super) fn page(
    shards: &Shards,
    sort: Sort,
    offset: usize,
    limit: usize,
    now: Millis,
) -> Vec<Arc<Session>> {
    let wanted = offset.saturating_add(limit.min(MAX_PAGE));
    let mut top: Vec<(Reverse<u64>, Arc<Session>)> = Vec::new();
    shards.for_each(|session| {
        top.push((Reverse(sort.rank(session, now)), Arc::clone(session)));
        if top.len() >= wanted.saturating_mul(2).max(64) {
            top.select_nth_unstable_by_key(wanted, |(rank, _)| *rank);
            top.truncate(wanted);
        }
    });
    top.sort_by_key(|(rank, _)| *rank);
    top.truncate(wanted);
    top.into_iter()
        .skip(offset)
        .map(|(_, session)| session)
        .collect()
}
