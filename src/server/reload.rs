//! Serving other definitions, without a stop.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Unit;
use tokio::sync::watch::Receiver;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::catalog::{Catalog, Resource};
use crate::changes::Change;
use crate::metrics::{Metrics, PREFIX};
use crate::reload::{self, Definitions, ReloadError};
use crate::session::EndReason;
use crate::snapshot::Snapshot;
use crate::watch::Files;

/// What is known of the reloads.
#[derive(Debug, Clone, Default)]
pub(super) struct Reloads {
    success: Gauge,
    loaded: Gauge<f64, AtomicU64>,
    total: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Reloads {
    /// Registers them. The definitions were loaded just now.
    pub(super) fn register(metrics: &mut Metrics) -> Self {
        let reloads = Self::default();
        let ours = metrics.registry().sub_registry_with_prefix(PREFIX);
        ours.register(
            "reload_success",
            "Whether the definitions that were read last are served",
            reloads.success.clone(),
        );
        ours.register_with_unit(
            "definitions_loaded_timestamp",
            "When the definitions that are served were loaded, in Unix time",
            Unit::Seconds,
            reloads.loaded.clone(),
        );
        ours.register(
            "reloads",
            "How often the definitions were read again, by outcome",
            reloads.total.clone(),
        );
        for outcome in ["ok", "failed"] {
            drop(reloads.total.get_or_create(&[("outcome", outcome)]));
        }
        reloads.is_loaded();
        reloads
    }

    fn is_loaded(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.success.set(1);
        self.loaded.set(now.unwrap_or_default().as_secs_f64());
    }

    fn succeeded(&self) {
        self.total.get_or_create(&[("outcome", "ok")]).inc();
        self.is_loaded();
    }

    fn failed(&self) {
        self.total.get_or_create(&[("outcome", "failed")]).inc();
        self.success.set(0);
    }
}

/// What a reload changes.
#[derive(Debug)]
pub(super) struct Reloading {
    pub(super) app: Arc<App>,
    pub(super) files: Files,
    pub(super) reloads: Reloads,
    pub(super) definitions: Definitions,
    /// What says who may call, as it was read at the start.
    pub(super) credentials: Snapshot,
}

impl Reloading {
    /// Reads the definitions again when they change and when it is `asked`, until `closing`.
    pub(super) async fn run(mut self, mut asked: Receiver<()>, closing: CancellationToken) {
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                // Nobody asks any more when the server ends.
                Ok(()) = asked.changed() => self.check_credentials().await,
                () = self.definitions.changed() => {}
            }
            let loaded = self.definitions.reload().await;
            self.take(loaded).await;
        }
    }

    /// Warns whoever wants everything read again of what is not.
    async fn check_credentials(&self) {
        let seen = self.credentials.clone();
        let look = tokio::task::spawn_blocking(move || seen.again());
        // It fails only where the runtime ends.
        let Ok(now) = look.await else { return };
        for file in self.credentials.changed(&now) {
            let file = file.display();
            tracing::warn!(%file, "the file that says who may call has changed; restart to use it");
        }
    }

    /// Serves what was loaded, or goes on with what is served.
    async fn take(&self, loaded: Result<Catalog, ReloadError>) {
        let file = self.definitions.path().display();
        match loaded {
            Ok(catalog) => {
                self.serve(catalog).await;
                self.reloads.succeeded();
                // Whoever reads this is served by the new definitions.
                let served = self.app.catalog.whole();
                tracing::info!(
                    tools = served.tools().len(),
                    prompts = served.prompts().len(),
                    resources = served.resources().len(),
                    templates = served.templates().len(),
                    %file,
                    "reloaded"
                );
            }
            Err(error) => {
                let reason = match error {
                    ReloadError::Invalid(error) => {
                        reload::log(error.diagnostics());
                        error.summary()
                    }
                    ReloadError::Panicked(error) => error.to_string(),
                };
                tracing::error!(
                    reason,
                    "not reloaded: the definitions from before are served"
                );
                self.reloads.failed();
            }
        }
    }

    /// Serves this from the next request on, and tells whom it concerns.
    async fn serve(&self, catalog: Catalog) {
        let app = &self.app;
        let before = app.catalog.whole();
        let paths = paths(&catalog);
        app.catalog.replace(catalog);
        let now = app.catalog.whole();
        if let Some(sessions) = &app.sessions {
            // A call that runs gets its answer; nobody can begin another where nothing is served.
            sessions.end_resting_where(EndReason::Revoked, |session| {
                let toolset = session.toolset.as_deref();
                toolset.is_some_and(|name| now.toolset(name).is_none())
            });
        }
        app.changes.replaced();
        let moved = self.files.follow(paths);
        app.changes.settled().await;
        let rewritten = now.resources().iter().filter_map(|resource| {
            let uri = resource.uri.as_str();
            let was = before.resources().get(uri)?;
            (resource.fixed() != was.fixed()).then(|| uri.to_owned())
        });
        for uri in rewritten.chain(moved) {
            app.changes.announce(Change::Resource(uri.into()));
        }
    }
}

/// The files behind resources, by their URIs.
pub(super) fn paths(catalog: &Catalog) -> HashMap<String, PathBuf> {
    let of = |resource: &Resource| {
        let file = resource.tool.file()?;
        Some((resource.uri.as_str().to_owned(), file.to_owned()))
    };
    let resources = catalog.resources().iter();
    resources.filter_map(|resource| of(resource)).collect()
}
