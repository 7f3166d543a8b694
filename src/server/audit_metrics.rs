//! The metrics of the audit log, read from it at each scrape.

use std::fmt;
use std::sync::Arc;

use super::page::{self, Page};
use crate::audit::Audit;
use crate::metrics::Metrics;
use crate::session::statistics::Counts;

/// Registers what was written and what was lost.
pub(super) fn register(metrics: &mut Metrics, audit: &Arc<Audit>) {
    page::register(metrics, Arc::clone(audit), write);
}

fn write(audit: &Arc<Audit>, page: &mut Page<'_>) -> fmt::Result {
    let now = audit.statistics();
    page.counters(
        "audit_records",
        "Lines of the audit log, by what became of them",
        "outcome",
        &Counts::of(["written", "lost"], &[now.written, now.lost]),
    )?;
    page.gauge(
        "audit_failing",
        "Whether the audit log cannot be written",
        None,
        &u64::from(now.is_failing),
    )
}
