//! Who may call at this moment.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;

use super::Authenticator;
use super::issuer::TrustedIssuer;

/// Who may call at this moment, for everybody who asks.
#[derive(Debug)]
pub struct Current {
    authenticator: ArcSwap<Authenticator>,
    replaced: watch::Sender<()>,
}

impl Current {
    /// Asks this one first.
    pub fn new(authenticator: Authenticator) -> Self {
        Self {
            authenticator: ArcSwap::from_pointee(authenticator),
            replaced: watch::Sender::default(),
        }
    }

    /// The one to ask now. Not to be held for long.
    pub fn load(&self) -> Guard<Arc<Authenticator>> {
        self.authenticator.load()
    }

    /// The one to ask now, to be held for as long as that takes.
    pub fn whole(&self) -> Arc<Authenticator> {
        self.authenticator.load_full()
    }

    /// Asks another one from now on. What did not change goes on; credentials that are good no more
    /// are taken back, and what they opened with them.
    pub fn replace(&self, mut authenticator: Authenticator) {
        authenticator.succeed(&self.load());
        self.authenticator.store(Arc::new(authenticator));
        self.replaced.send_replace(());
    }

    /// Is told of each replacement from now on.
    pub fn replacements(&self) -> watch::Receiver<()> {
        self.replaced.subscribe()
    }

    /// Keeps the keys of issuers fresh, for ever.
    pub async fn keep_keys(&self) {
        let mut replacements = self.replacements();
        let mut kept: Vec<Arc<TrustedIssuer>> = Vec::new();
        let mut keepers = FuturesUnordered::new();
        loop {
            let trusted = self.whole().issuers().to_vec();
            for issuer in &trusted {
                if !kept.iter().any(|known| Arc::ptr_eq(known, issuer)) {
                    let issuer = Arc::clone(issuer);
                    keepers.push(async move { issuer.keep_keys().await });
                }
            }
            kept = trusted;
            tokio::select! {
                // There is a sender as long as there is this.
                _ = replacements.changed() => {}
                Some(()) = keepers.next() => {}
            }
        }
    }
}
