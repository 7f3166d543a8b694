//! The metrics of reloads.

use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::{Metrics, PREFIX};

/// What is known of the reloads.
#[derive(Debug, Clone)]
pub(in crate::server) struct Counts {
    pub(super) definitions: Reloads,
    pub(super) credentials: Reloads,
}

/// What is known of the reloads of one thing.
#[derive(Debug, Clone, Default)]
pub(in crate::server) struct Reloads {
    success: Gauge,
    loaded: Gauge<f64, AtomicU64>,
    total: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Counts {
    /// Registers them. Everything was loaded just now.
    pub(in crate::server) fn register(metrics: &mut Metrics) -> Self {
        let ours = metrics.registry().sub_registry_with_prefix(PREFIX);
        let definitions = Reloads::default();
        definitions.register(
            ours,
            "",
            [
                "Whether the definitions that were read last are served",
                "How often the definitions were read again, by outcome",
            ],
        );
        ours.register_with_unit(
            "definitions_loaded_timestamp",
            "When the definitions that are served were loaded, in Unix time",
            Unit::Seconds,
            definitions.loaded.clone(),
        );
        let credentials = Reloads::default();
        credentials.register(
            ours,
            "auth_",
            [
                "Whether those are let in whom the auth file or token file named when it was read last",
                "How often the auth file or token file was read again, by outcome",
            ],
        );
        ours.register_with_unit(
            "auth_loaded_timestamp",
            "When the auth file or token file was loaded that says who is let in, in Unix time",
            Unit::Seconds,
            credentials.loaded.clone(),
        );
        Self {
            definitions,
            credentials,
        }
    }
}

impl Reloads {
    /// Registers them below a prefix. It was loaded just now.
    pub(in crate::server) fn register(
        &self,
        ours: &mut Registry,
        prefix: &str,
        [success, total]: [&str; 2],
    ) {
        ours.register(
            format!("{prefix}reload_success"),
            success,
            self.success.clone(),
        );
        ours.register(format!("{prefix}reloads"), total, self.total.clone());
        for outcome in ["ok", "failed"] {
            drop(self.total.get_or_create(&[("outcome", outcome)]));
        }
        self.is_loaded();
    }

    fn is_loaded(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.success.set(1);
        self.loaded.set(now.unwrap_or_default().as_secs_f64());
    }

    pub(in crate::server) fn succeeded(&self) {
        self.total.get_or_create(&[("outcome", "ok")]).inc();
        self.is_loaded();
    }

    pub(in crate::server) fn failed(&self) {
        self.total.get_or_create(&[("outcome", "failed")]).inc();
        self.success.set(0);
    }
}
