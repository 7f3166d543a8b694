//! The metrics of the log, read from it at each scrape.

use super::page;
use crate::logging;
use crate::metrics::Metrics;

/// Registers what the log has lost.
pub(super) fn register(metrics: &mut Metrics) {
    page::register(metrics, (), |(), page| {
        let help = "Lines of the log that were lost since standard error took none";
        page.counter("log_lines_lost", help, logging::lost())
    });
}
