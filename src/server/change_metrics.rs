//! What is known of those who listen to changes, read at each scrape.

use std::fmt;

use super::page::{self, Page};
use crate::changes::Changes;
use crate::metrics::Metrics;
use crate::watch::Files;

/// Registers how much is listened to.
pub(super) fn register(metrics: &mut Metrics, changes: &Changes, files: &Files) {
    page::register(metrics, (changes.clone(), files.clone()), write);
}

fn write((changes, files): &(Changes, Files), page: &mut Page<'_>) -> fmt::Result {
    let gauges = [
        (
            "subscriptions",
            "Resources that clients are subscribed to, once for each client",
            changes.subscriptions(),
        ),
        (
            "watched_folders",
            "Folders that are watched for changes of files",
            files.folders(),
        ),
    ];
    for (name, help, count) in gauges {
        page.gauge(name, help, None, &i64::try_from(count).unwrap_or(i64::MAX))?;
    }
    Ok(())
}
