//! Letting in others than before.

use anyhow::Context as _;

use super::Reloading;
use crate::auth::Authenticator;
use crate::catalog::Grants;
use crate::config::Credentials;
use crate::document::{Diagnostic, LoadError};
use crate::snapshot::Snapshot;
use crate::{logging, reload, watch};

/// Waits until what says who may call is not as it was read, and returns what is there then.
///
/// # Cancel safety
///
/// Nothing is lost if this is dropped before it completes.
pub(super) async fn changed(credentials: &Credentials) -> Snapshot {
    if credentials.path().is_none() {
        std::future::pending::<()>().await;
    }
    watch::changed(credentials.seen()).await
}

impl Reloading {
    /// Lets in whom the file names by now, or goes on with those of before.
    pub(super) async fn reload_credentials(&mut self) {
        if self.credentials.path().is_none() {
            return;
        }
        match self.load_credentials().await {
            Ok((authenticator, warnings)) => {
                reload::log(&warnings);
                self.admit(authenticator);
            }
            Err(error) => {
                let reason = match error.downcast_ref::<LoadError>() {
                    Some(error) => {
                        reload::log(error.diagnostics());
                        error.summary()
                    }
                    None => format!("{error:#}"),
                };
                self.counts.credentials.failed();
                tracing::error!(reason, "not reloaded: those may call who could before");
            }
        }
    }

    /// Reads the file on a thread that may block.
    async fn load_credentials(&mut self) -> anyhow::Result<(Authenticator, Vec<Diagnostic>)> {
        let mut credentials = self.credentials.clone();
        let loading = tokio::task::spawn_blocking(move || {
            let loaded = credentials.load();
            (credentials, loaded)
        });
        let loaded;
        (self.credentials, loaded) = loading.await.context("reading it panicked")?;
        loaded
    }

    fn admit(&mut self, authenticator: Authenticator) {
        if let Some(secrets) = authenticator.secrets() {
            logging::hide(secrets);
        }
        self.definitions.grant(Grants::of(&authenticator));
        self.app.authenticator.replace(authenticator);
        self.counts.credentials.succeeded();
        let file = self.credentials.path().map(|path| path.display());
        let file = file.map(tracing::field::display);
        // Whoever reads this is judged by the new credentials.
        tracing::info!(file, "credentials reloaded");
    }
}
