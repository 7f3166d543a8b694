//! What is known of those who listen to changes, read at each scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::page::Page;
use crate::changes::Changes;
use crate::metrics::{Metrics, PREFIX};
use crate::watch::Files;

/// Registers how much is listened to.
pub(super) fn register(metrics: &mut Metrics, changes: &Changes, files: &Files) {
    let ours = metrics.registry().sub_registry_with_prefix(PREFIX);
    ours.register_collector(Box::new(Listening {
        changes: changes.clone(),
        files: files.clone(),
    }));
}

#[derive(Debug)]
struct Listening {
    changes: Changes,
    files: Files,
}

impl Collector for Listening {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page::new(encoder);
        let gauges = [
            (
                "subscriptions",
                "Resources that clients are subscribed to, once for each client",
                self.changes.subscriptions(),
            ),
            (
                "watched_folders",
                "Folders that are watched for changes of files",
                self.files.folders(),
            ),
        ];
        for (name, help, count) in gauges {
            page.gauge(name, help, None, &i64::try_from(count).unwrap_or(i64::MAX))?;
        }
        Ok(())
    }
}
