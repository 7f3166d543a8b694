//! Who may call at this moment.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Authenticator;
use super::keys::Keys;

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

    /// Keeps the keys of issuers fresh, for ever: each as long as an issuer has them, and once, also if
    /// another one has them by then.
    pub async fn keep_keys(&self) {
        let mut replacements = self.replacements();
        let mut kept: Vec<(Arc<Keys>, DropGuard)> = Vec::new();
        let mut keepers = FuturesUnordered::new();
        loop {
            let wanted: Vec<_> = (self.whole().issuers().iter())
                .map(|issuer| Arc::clone(issuer.keys()))
                .collect();
            kept.retain(|(keys, _)| wanted.iter().any(|wanted| Arc::ptr_eq(wanted, keys)));
            for keys in wanted {
                if !kept.iter().any(|(kept, _)| Arc::ptr_eq(kept, &keys)) {
                    let given_up = CancellationToken::new();
                    keepers.push(keep(Arc::clone(&keys), given_up.clone()));
                    kept.push((keys, given_up.drop_guard()));
                }
            }
            tokio::select! {
                // There is a sender as long as there is this.
                _ = replacements.changed() => {}
                Some(()) = keepers.next() => {}
            }
        }
    }
}

async fn keep(keys: Arc<Keys>, given_up: CancellationToken) {
    given_up.run_until_cancelled(keys.keep()).await;
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::SystemTime;

    use super::*;
    use crate::auth::Surroundings;
    use crate::secret::Secret;

    /// One that trusts an issuer with these settings.
    fn trusting(more: &str) -> Authenticator {
        let text = format!("jwt: [{{issuer: 'https://id.example', audience: mcp, {more}}}]");
        // Key files are beside it.
        let path = Path::new("tests/it/auth/valid/issuers.yaml");
        let around = Surroundings::default();
        let read = Authenticator::auth_file(&Secret::new(text), path, &around, SystemTime::now());
        read.unwrap().0
    }

    #[tokio::test]
    async fn keys_are_kept_once_and_as_long_as_an_issuer_has_them() {
        let current = Current::new(trusting("jwks: keys/public.json"));
        let keys = Arc::downgrade(current.load().issuers()[0].keys());
        let holders = async |expected: usize| {
            while keys.strong_count() != expected {
                tokio::task::yield_now().await;
            }
        };
        let test = async {
            // The issuer, its keeper, and who knows that there is one.
            holders(3).await;
            for more in ["leeway: 5s", "leeway: 6s", "algorithms: [ES256]"] {
                current.replace(trusting(&format!("jwks: keys/public.json, {more}")));
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(keys.strong_count(), 3, "{more}");
            }
            current.replace(Authenticator::tokens([]));
            holders(0).await;
        };
        tokio::select! {
            () = current.keep_keys() => panic!("nobody keeps keys any more"),
            () = test => {}
        }
    }
}
