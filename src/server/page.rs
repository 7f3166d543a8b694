//! Writes what somebody else counts, at each scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::metrics::{Metrics, PREFIX};
use crate::session::statistics::Counts;

/// Writes what a source counts.
pub(super) type Write<T> = fn(&T, &mut Page<'_>) -> fmt::Result;

/// Has what a source counts written at each scrape.
pub(super) fn register<T: fmt::Debug + Send + Sync + 'static>(
    metrics: &mut Metrics,
    source: T,
    write: Write<T>,
) {
    let ours = metrics.registry().sub_registry_with_prefix(PREFIX);
    ours.register_collector(Box::new(Counted { source, write }));
}

#[derive(Debug)]
struct Counted<T> {
    source: T,
    write: Write<T>,
}

impl<T: fmt::Debug + Send + Sync + 'static> Collector for Counted<T> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        (self.write)(&self.source, &mut Page(encoder))
    }
}

/// The metrics of one source, on their way to a scraper.
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    /// A value that goes up and down.
    pub(super) fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: &impl EncodeGaugeValue,
    ) -> fmt::Result {
        self.0
            .encode_descriptor(name, &format!("{help}."), unit, MetricType::Gauge)?
            .encode_gauge(value)
    }

    /// Such values, one for each value of a label.
    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        counts: &Counts,
    ) -> fmt::Result {
        let help = format!("{help}.");
        let mut family = self
            .0
            .encode_descriptor(name, &help, None, MetricType::Gauge)?;
        for (value, count) in counts.iter() {
            family
                .encode_family(&[(label, value)])?
                .encode_gauge(&count)?;
        }
        Ok(())
    }

    /// A value that goes up.
    pub(super) fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        self.0
            .encode_descriptor(name, &format!("{help}."), None, MetricType::Counter)?
            .encode_counter::<[(&str, &str); 0], _, u64>(&count, None)
    }

    /// Such values, one for each value of a label.
    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        counts: &Counts,
    ) -> fmt::Result {
        let help = format!("{help}.");
        let mut family = self
            .0
            .encode_descriptor(name, &help, None, MetricType::Counter)?;
        for (value, count) in counts.iter() {
            family
                .encode_family(&[(label, value)])?
                .encode_counter::<[(&str, &str); 0], _, u64>(&count, None)?;
        }
        Ok(())
    }
}
