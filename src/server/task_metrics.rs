//! The metrics of tasks, read from their store at each scrape.
//!
//! One snapshot per scrape: what was created, less what is forgotten, is always what is kept.

use std::fmt;
use std::sync::Arc;

use prometheus_client::registry::Unit;

use super::page::{self, Page};
use crate::metrics::Metrics;
use crate::task::Tasks;

/// Registers everything that is counted of tasks.
pub(super) fn register(metrics: &mut Metrics, tasks: &Arc<Tasks>) {
    page::register(metrics, Arc::clone(tasks), write);
}

fn write(tasks: &Arc<Tasks>, page: &mut Page<'_>) -> fmt::Result {
    let now = tasks.statistics();
    page.gauges(
        "tasks",
        "Tasks that are kept, by status",
        "status",
        &now.tasks,
    )?;
    page.gauge(
        "tasks_limit",
        "The most tasks at once",
        None,
        &now.max_tasks,
    )?;
    page.gauge(
        "task_results",
        "Results of tasks that are kept",
        Some(&Unit::Bytes),
        &now.bytes,
    )?;
    page.counter("tasks_created", "Tasks created", now.created)?;
    page.counters(
        "tasks_ended",
        "Tasks ended, by status",
        "status",
        &now.ended,
    )?;
    page.counters(
        "tasks_forgotten",
        "Tasks that are not kept any more, by reason",
        "reason",
        &now.forgotten,
    )?;
    page.counters(
        "tasks_rejected",
        "Calls that got no task, by limit",
        "reason",
        &now.rejected,
    )
}
