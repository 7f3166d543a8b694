//! The metrics of calls, read from the executor at each scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::page::Page;
use crate::execute::Load;
use crate::metrics::{Metrics, PREFIX};

/// Registers how much the executor has to do.
pub(super) fn register(metrics: &mut Metrics, load: Load) {
    let ours = metrics.registry().sub_registry_with_prefix(PREFIX);
    ours.register_collector(Box::new(Calls(load)));
}

#[derive(Debug)]
struct Calls(Load);

impl Collector for Calls {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page::new(encoder);
        let gauges = [
            (
                "calls_in_flight",
                "Calls that hold a place of the server, until their last process is gone",
                self.0.in_flight(),
            ),
            ("calls_limit", "The most calls at once", self.0.limit()),
            (
                "calls_stuck",
                "Calls that keep their place since a process of them does not die",
                self.0.stuck(),
            ),
        ];
        for (name, help, count) in gauges {
            page.gauge(name, help, None, &count)?;
        }
        Ok(())
    }
}
