//! The metrics of the log, read from it at each scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::page::Page;
use crate::logging;
use crate::metrics::{Metrics, PREFIX};

/// Registers what the log has lost.
pub(super) fn register(metrics: &mut Metrics) {
    let ours = metrics.registry().sub_registry_with_prefix(PREFIX);
    ours.register_collector(Box::new(Log));
}

#[derive(Debug)]
struct Log;

impl Collector for Log {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Lines of the log that were lost since standard error took none";
        Page::new(encoder).counter("log_lines_lost", help, logging::lost())
    }
}
