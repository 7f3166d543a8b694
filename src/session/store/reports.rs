//! What is told of the sessions.

use std::hash::BuildHasher as _;

use super::{SessionStore, seconds};
use crate::protocol::mcp::Method;
use crate::protocol::version::ProtocolVersion;
#[cfg(test)]
use crate::session::SessionId;
use crate::session::activity::{Class, Millis};
use crate::session::list::{self, SessionSummary, Sort};
use crate::session::statistics::{Counts, Statistics};
use crate::session::{EndReason, Session};

impl SessionStore {
    /// A snapshot. Costs the same with many sessions as with few.
    pub fn statistics(&self) -> Statistics {
        let now = self.now();
        let mut registry = self.registry.lock();
        let active = registry.len();
        let created = registry.created().to_vec();
        let ended = registry.ended().to_vec();
        let recent = registry.recently_created(now);
        let oldest = registry.oldest();
        let idle_since = registry.idle_since(now);
        drop(registry);
        let age_of = |at: Option<Millis>| at.map_or(0.0, |at| seconds(now.saturating_sub(at)));
        Statistics {
            active_sessions: active,
            max_active_sessions: self.limits.max_sessions,
            total_sessions_created: created.iter().sum(),
            sessions_created: Counts::of(
                ProtocolVersion::ALL.map(ProtocolVersion::as_str),
                &created,
            ),
            sessions_created_last_60s: recent,
            session_idle_timeout: self
                .limits
                .idle_timeout
                .map(|timeout| timeout.as_secs_f64()),
            sessions: self.classes(active),
            sessions_ended: Counts::of(EndReason::ALL.map(EndReason::as_str), &ended),
            sessions_reaped_total: self.counters.reaped(),
            sessions_claimed_total: self.counters.all_claimed(),
            sessions_rejected: self.counters.all_rejected(),
            lookups_failed: self.counters.all_lookups_failed(),
            reaper_runs: self.counters.reaper_runs(),
            reaper_lag: self.counters.lag().as_secs_f64(),
            reaper_last_run: self.counters.last_run().map(|at| at.as_secs_f64()),
            oldest_session_age: age_of(oldest),
            longest_idle: age_of(idle_since),
        }
    }

    /// What `active` sessions are doing. The classes are counted without a lock, so that they are
    /// fitted to the number of sessions that was read under one; idle is the rest.
    fn classes(&self, active: usize) -> Counts {
        let [initializing, busy, streaming] = self.shards.read_classes();
        let mut rest = active;
        let mut fit = |count: usize| {
            let fitted = count.min(rest);
            rest -= fitted;
            fitted as u64
        };
        let (busy, streaming, initializing) = (fit(busy), fit(streaming), fit(initializing));
        Counts::of(
            Class::ALL.map(Class::as_str),
            &[initializing, rest as u64, busy, streaming],
        )
    }

    /// The sessions at `offset` and after it in this order, at most `limit` and at most
    /// [`MAX_PAGE`](list::MAX_PAGE). Walks over all sessions, and takes memory for twice `offset`
    /// and `limit`.
    pub fn list(&self, sort: Sort, offset: usize, limit: usize) -> Vec<SessionSummary> {
        let now = self.now();
        let page = list::page(&self.shards, sort, offset, limit, now);
        page.iter()
            .map(|session| self.summary(session, now))
            .collect()
    }

    fn summary(&self, session: &Session, now: Millis) -> SessionSummary {
        let view = session.activity.view();
        SessionSummary {
            session: session.id.to_string(),
            principal: format!("{:016x}", self.hasher.hash_one(&session.owner().principal)),
            protocol: session.info.version.as_str(),
            client: session.info.client.clone(),
            age: seconds(now.saturating_sub(session.created)),
            idle: seconds(session.idle(now)),
            state: view.class.map_or("ending", Class::as_str),
            in_flight: view.work,
            streams: view.streams,
            requests: session.requests(),
            last_method: session.last_method().map(Method::as_str),
        }
    }

    /// Panics unless nothing is left over and everything adds up. Only while nothing changes.
    #[cfg(test)]
    pub(in crate::session) fn check(&self) {
        let registry = self.registry.lock();
        registry.check();
        assert_eq!(registry.len(), self.shards.len());
        drop(registry);
        let statistics = self.statistics();
        let live = statistics.active_sessions as u64;
        assert_eq!(statistics.sessions.total(), live);
        let created = statistics.total_sessions_created;
        assert_eq!(created - statistics.sessions_ended.total(), live);
        for class in Class::ALL {
            let mut count = 0;
            self.shards.for_each(|session| {
                let found = session.activity.view().class.expect("no session is ending");
                count += u64::from(found == class);
            });
            let name = class.as_str();
            assert_eq!(statistics.sessions.get(name), count, "{name}");
        }
    }

    /// Whether a session can be found, without a use of it.
    #[cfg(test)]
    pub(in crate::session) fn lives(&self, id: SessionId) -> bool {
        self.shards.get(id).is_some()
    }

    /// How many entries of the orders were looked at.
    #[cfg(test)]
    pub(in crate::session) fn examined(&self) -> usize {
        self.registry.lock().examined
    }

    /// For how many sessions there is room in the map already.
    #[cfg(test)]
    pub(in crate::session) fn room(&self) -> usize {
        self.shards.capacity()
    }

    /// How many buckets there are.
    #[cfg(test)]
    pub(in crate::session) fn bucket_count(&self) -> usize {
        self.registry.lock().bucket_count()
    }
}
