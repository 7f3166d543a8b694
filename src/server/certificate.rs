//! Using another certificate, without a stop.

use tokio::sync::watch::Receiver;
use tokio_util::sync::CancellationToken;

use super::reload::Reloads;
use crate::metrics::{Metrics, PREFIX};
use crate::tls::Tls;
use crate::watch;

/// Reads the certificate again when it changes.
#[derive(Debug)]
pub(super) struct Renewal {
    tls: Tls,
    reloads: Reloads,
}

impl Renewal {
    /// Registers what is known of it. The certificate was read just now.
    pub(super) fn register(metrics: &mut Metrics, tls: Tls) -> Self {
        let reloads = Reloads::default();
        reloads.register(
            metrics.registry().sub_registry_with_prefix(PREFIX),
            "certificate_",
            [
                "Whether the certificate that was read last is used",
                "How often the certificate was read again, by outcome",
            ],
        );
        Self { tls, reloads }
    }

    /// What it renews.
    pub(super) fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// Reads it again when it changes and when that is `asked`, until `closing`.
    pub(super) async fn run(mut self, mut asked: Receiver<()>, closing: CancellationToken) {
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                // Nobody asks any more when the server ends.
                Ok(()) = asked.changed() => {}
                _ = watch::changed(self.tls.seen()) => {}
            }
            self.renew().await;
        }
    }

    async fn renew(&mut self) {
        let mut tls = self.tls.clone();
        let renewing = tokio::task::spawn_blocking(move || {
            let renewed = tls.reload();
            (tls, renewed)
        });
        // It fails only where the runtime ends.
        let Ok((tls, renewed)) = renewing.await else {
            return;
        };
        self.tls = tls;
        let file = self.tls.certificate().display();
        // Whoever reads the line finds it counted.
        match renewed {
            Ok(()) => {
                self.reloads.succeeded();
                tracing::info!(%file, "certificate reloaded");
            }
            Err(error) => {
                self.reloads.failed();
                let reason = format!("{:#}", anyhow::Error::from(error));
                tracing::error!(reason, "not reloaded: the certificate from before is used");
            }
        }
    }
}
