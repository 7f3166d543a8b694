//! What the store counts, and how it is reported.
//!
//! No label and no field holds a session id, a principal or anything else that a client chooses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::histogram::Histogram;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::activity::Millis;
use crate::metrics::OPERATION_BUCKETS;

/// Further bounds for what sessions do: they last longer than operations.
const LONG_SECONDS: [f64; 6] = [600.0, 1800.0, 3600.0, 7200.0, 21_600.0, 86_400.0];

/// The bounds of the number of requests in a session.
const REQUESTS: [f64; 10] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 500.0, 1000.0, 10_000.0,
];

/// Why no session was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The server holds as many sessions as it may.
    MaxSessions,
    /// The principal holds as many sessions as one may.
    PrincipalLimit,
    /// Too many `initialize` requests came in a short time.
    Rate,
    /// The server is stopping.
    Draining,
}

impl Rejection {
    /// Every reason, in the order in which they are reported.
    pub const ALL: [Self; 4] = [
        Self::MaxSessions,
        Self::PrincipalLimit,
        Self::Rate,
        Self::Draining,
    ];

    /// The name in statistics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaxSessions => "max_sessions",
            Self::PrincipalLimit => "principal_limit",
            Self::Rate => "rate",
            Self::Draining => "draining",
        }
    }
}

/// Why a session id found no session. Clients never learn which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupFailure {
    /// The session reached one of its timeouts.
    Expired,
    /// Its client, or the server on purpose, ended it.
    Deleted,
    /// It made room for another.
    Evicted,
    /// There was no such session here within the last hour, as far as is still known: an id of
    /// another replica, from before a restart, or a guess.
    Unknown,
    /// It belongs to somebody else.
    PrincipalMismatch,
}

impl LookupFailure {
    /// Every reason, in the order in which they are reported.
    pub const ALL: [Self; 5] = [
        Self::Expired,
        Self::Deleted,
        Self::Evicted,
        Self::Unknown,
        Self::PrincipalMismatch,
    ];

    /// The name in statistics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Deleted => "deleted",
            Self::Evicted => "evicted",
            Self::Unknown => "unknown",
            Self::PrincipalMismatch => "principal_mismatch",
        }
    }
}

/// Distributions. Their clones share what was observed, so that they can be registered elsewhere.
#[derive(Debug, Clone)]
pub struct Histograms {
    /// How long sessions lasted, in seconds, observed at their end.
    pub duration: Histogram,
    /// How many requests sessions served, observed at their end.
    pub requests: Histogram,
    /// For how long sessions that ended by the idle timeout had been idle, in seconds. Anything
    /// beyond the timeout is lateness.
    pub idle_at_reap: Histogram,
    /// For how long nobody used a session before somebody did again, in seconds.
    pub reuse_gap: Histogram,
    /// How long sweeps took, in seconds.
    pub reaper_run_duration: Histogram,
}

impl Default for Histograms {
    fn default() -> Self {
        let session = || Histogram::new(OPERATION_BUCKETS.into_iter().chain(LONG_SECONDS));
        Self {
            duration: session(),
            requests: Histogram::new(REQUESTS),
            idle_at_reap: session(),
            reuse_gap: session(),
            reaper_run_duration: Histogram::new(OPERATION_BUCKETS),
        }
    }
}

/// Counters that change without a lock, each for itself.
#[derive(Debug, Default)]
pub(super) struct Counters {
    rejected: [AtomicU64; Rejection::ALL.len()],
    lookups_failed: [AtomicU64; LookupFailure::ALL.len()],
    reaped: AtomicU64,
    claimed: AtomicU64,
    reaper_runs: AtomicU64,
    reaper_lag: AtomicU64,
    reaper_last_run: AtomicU64,
}

impl Counters {
    pub(super) fn rejected(&self, why: Rejection) {
        if let Some(count) = self.rejected.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn lookup_failed(&self, why: LookupFailure) {
        if let Some(count) = self.lookups_failed.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn claimed(&self) {
        self.claimed.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a sweep that ended this many sessions and began this late, in milliseconds.
    pub(super) fn swept(&self, ended: usize, lag: Millis) {
        self.reaper_runs.fetch_add(1, Ordering::Relaxed);
        self.reaped.fetch_add(ended as u64, Ordering::Relaxed);
        self.reaper_lag.store(lag, Ordering::Relaxed);
    }

    /// Notes that the reaper ran now, by the wall clock.
    pub(super) fn reaper_ran(&self) {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.reaper_last_run.store(now, Ordering::Relaxed);
    }

    pub(super) fn all_rejected(&self) -> Counts {
        Counts::new(Rejection::ALL.map(Rejection::as_str), &self.rejected)
    }

    pub(super) fn all_lookups_failed(&self) -> Counts {
        Counts::new(
            LookupFailure::ALL.map(LookupFailure::as_str),
            &self.lookups_failed,
        )
    }

    pub(super) fn reaped(&self) -> u64 {
        self.reaped.load(Ordering::Relaxed)
    }

    pub(super) fn all_claimed(&self) -> u64 {
        self.claimed.load(Ordering::Relaxed)
    }

    pub(super) fn reaper_runs(&self) -> u64 {
        self.reaper_runs.load(Ordering::Relaxed)
    }

    pub(super) fn lag(&self) -> Duration {
        Duration::from_millis(self.reaper_lag.load(Ordering::Relaxed))
    }

    /// Since the start of 1970; `None` before the first run.
    pub(super) fn last_run(&self) -> Option<Duration> {
        let at = self.reaper_last_run.load(Ordering::Relaxed);
        (at > 0).then(|| Duration::from_millis(at))
    }
}

/// Counts by name, in the order in which they are reported. Names that do not occur are there, with
/// a zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts(Vec<(&'static str, u64)>);

impl Counts {
    /// These names with these counts.
    pub fn of(names: impl IntoIterator<Item = &'static str>, counts: &[u64]) -> Self {
        Self(names.into_iter().zip(counts.iter().copied()).collect())
    }

    fn new(names: impl IntoIterator<Item = &'static str>, counts: &[AtomicU64]) -> Self {
        let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
        Self(names.into_iter().zip(counts).collect())
    }

    /// The names and their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied()
    }

    /// The count of a name; zero for one that does not exist.
    pub fn get(&self, name: &str) -> u64 {
        let mut found = self.0.iter().filter(|(known, _)| *known == name);
        found.next().map_or(0, |(_, count)| *count)
    }

    /// The sum of all counts.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, count) in &self.0 {
            map.serialize_entry(name, count)?;
        }
        map.end()
    }
}

/// A snapshot of the sessions. Durations are in seconds.
///
/// `total_sessions_created` less the sum of `sessions_ended` is `active_sessions` and the sum of
/// `sessions`, at every moment: they are read under the lock under which they change. What the
/// sessions are doing is counted without a lock, and may be a moment old.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statistics {
    /// Sessions that live now.
    pub active_sessions: usize,
    /// The most sessions that may live at once.
    pub max_active_sessions: usize,
    /// Sessions created since the start.
    pub total_sessions_created: u64,
    /// Sessions created since the start, by protocol version.
    pub sessions_created: Counts,
    /// Sessions created in this second and the 59 before it.
    pub sessions_created_last_60s: u64,
    /// The idle timeout; none when idle sessions do not end.
    pub session_idle_timeout: Option<f64>,
    /// Sessions that live now, by what they do: `initializing`, `idle`, `busy`, `streaming`.
    pub sessions: Counts,
    /// Sessions ended since the start, by reason.
    pub sessions_ended: Counts,
    /// Sessions that the reaper ended, as opposed to a request that found them expired.
    pub sessions_reaped_total: u64,
    /// Sessions that were opened without a credential and came to belong to a principal.
    pub sessions_claimed_total: u64,
    /// `initialize` requests that got no session, by reason.
    pub sessions_rejected: Counts,
    /// Session ids that found no session, by reason.
    pub lookups_failed: Counts,
    /// Sweeps of the reaper.
    pub reaper_runs: u64,
    /// How late the last sweep began.
    pub reaper_lag: f64,
    /// When the last sweep began, from the start of 1970; none before the first.
    pub reaper_last_run: Option<f64>,
    /// The age of the oldest session; 0 if there is none.
    pub oldest_session_age: f64,
    /// For how long nobody has used the session that is idle the longest; 0 if none is idle.
    ///
    /// One look corrects at most a few thousand entries of the order in which sessions were used.
    /// With more than that to correct, it reports the longest that it saw, and the next look
    /// continues.
    pub longest_idle: f64,
}
