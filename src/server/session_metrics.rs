//! The metrics of the session store, read from it at each scrape.
//!
//! One snapshot per scrape: what was created, less what ended, is always what lives.

use std::fmt;
use std::sync::Arc;

use prometheus_client::registry::Unit;

use super::page::{self, Page};
use crate::metrics::{Metrics, PREFIX};
use crate::session::SessionStore;

/// Registers everything that the store counts.
pub(super) fn register(metrics: &mut Metrics, sessions: &Arc<SessionStore>) {
    let registry = metrics.registry();
    let histograms = sessions.histograms();
    registry.register_with_unit(
        "mcp_server_session_duration",
        "Time from initialize to the end of the session",
        Unit::Seconds,
        histograms.duration.clone(),
    );
    let ours = registry.sub_registry_with_prefix(PREFIX);
    ours.register(
        "session_requests",
        "Requests of a session, at its end",
        histograms.requests.clone(),
    );
    let durations = [
        (
            "session_idle_at_reap",
            "Time without use of a session that ended by the idle timeout",
            &histograms.idle_at_reap,
        ),
        (
            "session_reuse_gap",
            "Time without use of a session before it was used again",
            &histograms.reuse_gap,
        ),
        (
            "reaper_run_duration",
            "Time that a sweep for sessions to end took",
            &histograms.reaper_run_duration,
        ),
    ];
    for (name, help, histogram) in durations {
        ours.register_with_unit(name, help, Unit::Seconds, histogram.clone());
    }
    page::register(metrics, Arc::clone(sessions), write);
}

fn write(sessions: &Arc<SessionStore>, page: &mut Page<'_>) -> fmt::Result {
    let now = sessions.statistics();
    page.gauges(
        "sessions",
        "Sessions that live, by what they do",
        "state",
        &now.sessions,
    )?;
    page.gauge(
        "sessions_limit",
        "The most sessions at once",
        None,
        &now.max_active_sessions,
    )?;
    if let Some(timeout) = now.session_idle_timeout {
        page.gauge(
            "session_idle_timeout",
            "How long a session may be idle",
            Some(&Unit::Seconds),
            &timeout,
        )?;
    }
    page.counters(
        "sessions_created",
        "Sessions created, by protocol version",
        "protocol",
        &now.sessions_created,
    )?;
    page.counters(
        "sessions_ended",
        "Sessions ended, by reason",
        "reason",
        &now.sessions_ended,
    )?;
    page.counter(
        "sessions_claimed",
        "Sessions that were opened without a credential and claimed with one",
        now.sessions_claimed_total,
    )?;
    page.counters(
        "sessions_rejected",
        "Requests for a session that got none, by reason",
        "reason",
        &now.sessions_rejected,
    )?;
    page.counters(
        "session_lookups_failed",
        "Session ids that found no session, by reason",
        "reason",
        &now.lookups_failed,
    )?;
    page.counter("reaper_runs", "Sweeps for sessions to end", now.reaper_runs)?;
    page.gauge(
        "reaper_lag",
        "How late the last sweep began",
        Some(&Unit::Seconds),
        &now.reaper_lag,
    )?;
    page.gauge(
        "reaper_last_run_timestamp",
        "When the last sweep began",
        Some(&Unit::Seconds),
        &now.reaper_last_run.unwrap_or_default(),
    )?;
    page.gauge(
        "session_oldest_age",
        "Age of the oldest session",
        Some(&Unit::Seconds),
        &now.oldest_session_age,
    )?;
    page.gauge(
        "session_longest_idle",
        "Time without use of the session that is idle for longest",
        Some(&Unit::Seconds),
        &now.longest_idle,
    )
}
