//! The metrics of calls, read from the executor at each scrape.

use std::fmt;

use super::page::{self, Page};
use crate::execute::Load;
use crate::metrics::Metrics;

/// Registers how much the executor has to do.
pub(super) fn register(metrics: &mut Metrics, load: Load) {
    page::register(metrics, load, write);
}

fn write(load: &Load, page: &mut Page<'_>) -> fmt::Result {
    let gauges = [
        (
            "calls_in_flight",
            "Calls that hold a place of the server, until their last process is gone",
            load.in_flight(),
        ),
        ("calls_limit", "The most calls at once", load.limit()),
        (
            "calls_stuck",
            "Calls that keep their place since a process of them does not die",
            load.stuck(),
        ),
    ];
    for (name, help, count) in gauges {
        page.gauge(name, help, None, &count)?;
    }
    Ok(())
}
