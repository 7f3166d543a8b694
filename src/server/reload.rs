//! Serving other definitions, and letting in others, without a stop.

mod counts;
mod credentials;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch::Receiver;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::catalog::{Catalog, Resource};
use crate::changes::Change;
use crate::config::Credentials;
use crate::reload::{self, Definitions, ReloadError};
use crate::session::EndReason;
use crate::watch::Files;

pub(super) use counts::{Counts, Reloads};
use credentials::changed;

/// What a reload changes.
#[derive(Debug)]
pub(super) struct Reloading {
    pub(super) app: Arc<App>,
    pub(super) files: Files,
    pub(super) counts: Counts,
    pub(super) definitions: Definitions,
    pub(super) credentials: Credentials,
}

impl Reloading {
    /// Reads what says who may call and the definitions again when they change and when it is
    /// `asked`, until `closing`.
    pub(super) async fn run(mut self, mut asked: Receiver<()>, closing: CancellationToken) {
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                // Nobody asks any more when the server ends.
                Ok(()) = asked.changed() => self.reload_credentials().await,
                seen = changed(&self.credentials) => {
                    self.credentials.saw(seen);
                    self.reload_credentials().await;
                }
                () = self.definitions.changed() => {}
            }
            // They are held against who may call.
            let loaded = self.definitions.reload().await;
            self.take(loaded).await;
        }
    }

    /// Serves what was loaded, or goes on with what is served.
    async fn take(&self, loaded: Result<Catalog, ReloadError>) {
        let file = self.definitions.path().display();
        match loaded {
            Ok(catalog) => {
                self.serve(catalog).await;
                self.counts.definitions.succeeded();
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
                self.counts.definitions.failed();
                tracing::error!(
                    reason,
                    "not reloaded: the definitions from before are served"
                );
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
                let toolset = session.info().toolset.as_deref();
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
