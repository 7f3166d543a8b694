//! The metrics of the outputs that are kept, read from their store at each scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::registry::Unit;

use super::page::{self, Page};
use crate::metrics::Metrics;
use crate::outputs::Outputs;

/// Registers what is counted of the outputs.
pub(super) fn register(metrics: &mut Metrics, outputs: &Arc<Outputs>) {
    page::register(metrics, Arc::clone(outputs), write);
}

fn write(outputs: &Arc<Outputs>, page: &mut Page<'_>) -> fmt::Result {
    let now = outputs.statistics();
    page.gauge(
        "outputs",
        "Outputs that can be read as resources",
        None,
        &now.outputs,
    )?;
    page.gauge(
        "outputs_size",
        "Outputs in files, with those that are being written",
        Some(&Unit::Bytes),
        &now.bytes,
    )
}
