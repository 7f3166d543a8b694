//! The metrics of the outputs that are kept, read from their store at each scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::page::Page;
use crate::metrics::{Metrics, PREFIX};
use crate::outputs;

/// Registers what is counted of the outputs.
pub(super) fn register(metrics: &mut Metrics, outputs: &Arc<outputs::Outputs>) {
    let ours = metrics.registry().sub_registry_with_prefix(PREFIX);
    ours.register_collector(Box::new(Outputs(Arc::clone(outputs))));
}

#[derive(Debug)]
struct Outputs(Arc<outputs::Outputs>);

impl Collector for Outputs {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = self.0.statistics();
        let mut page = Page::new(encoder);
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
}
