//! From names to addresses: a connection is made to no address that was not judged.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::catalog::AllowedReach;

/// How long a look-up may take: less than a connection, so that the cause can be told.
const LOOKUP_TIME: Duration = Duration::from_secs(4);
/// How many look-ups may wait for the operating system at once, each in a thread.
pub(super) const MAX_LOOKUPS: usize = 8;
/// How many addresses of a name are tried.
const MAX_ADDRESSES: usize = 16;

/// Resolves names for one API.
pub(super) struct Resolver {
    pub(super) allowed: AllowedReach,
    /// Shared by all APIs.
    pub(super) lookups: Arc<Semaphore>,
}

/// Why a name leads nowhere.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unresolved {
    /// It leads to an address that the definition does not allow.
    #[error("it leads to {0}, which the definition does not allow")]
    Forbidden(IpAddr),
    /// Nobody said in time where it leads.
    #[error("the look-up took too long")]
    TooLong,
    /// There is no such name, or nobody to ask.
    #[error("the look-up failed: {0}")]
    Failed(#[from] io::Error),
    /// The name has no address.
    #[error("the name has no address")]
    Empty,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.allowed;
        let lookups = Arc::clone(&self.lookups);
        Box::pin(async move {
            let asked = name.as_str().to_owned();
            let ask = move || (asked, 0).to_socket_addrs().map(Iterator::collect);
            let found = resolve(allowed, name.as_str(), ask, lookups).await?;
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

/// Where a name leads, if `ask` says so in time and a connection may be made there.
async fn resolve(
    allowed: AllowedReach,
    name: &str,
    ask: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
    lookups: Arc<Semaphore>,
) -> Result<Vec<SocketAddr>, Unresolved> {
    let found = tokio::time::timeout(LOOKUP_TIME, look_up(ask, lookups));
    let found = found.await.map_err(|_| Unresolved::TooLong)??;
    judged(allowed, name, found)
}

/// Asks in a thread. The permit is in use until there is an answer, also if nobody waits for it.
async fn look_up(
    ask: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
    lookups: Arc<Semaphore>,
) -> Result<Vec<SocketAddr>, Unresolved> {
    let permit = lookups.acquire_owned().await;
    let asked = tokio::task::spawn_blocking(move || {
        let found = ask();
        drop(permit);
        found
    });
    Ok(asked.await.map_err(io::Error::other)??)
}

/// The addresses to connect to. One that is not allowed condemns all: the name is not what its
/// author thinks.
fn judged(
    allowed: AllowedReach,
    name: &str,
    mut addresses: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, Unresolved> {
    if addresses.is_empty() {
        return Err(Unresolved::Empty);
    }
    let is_forbidden = |address: &&SocketAddr| !allowed.includes(name, address.ip());
    if let Some(forbidden) = addresses.iter().find(is_forbidden) {
        return Err(Unresolved::Forbidden(forbidden.ip()));
    }
    addresses.truncate(MAX_ADDRESSES);
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::future::join_all;

    use super::*;

    const STRICT: AllowedReach = AllowedReach {
        allow_private: false,
    };
    const OPEN: AllowedReach = AllowedReach {
        allow_private: true,
    };
    const NAME: &str = "a.example.com";
    const PUBLIC: &str = "93.184.216.34";

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        let parsed = texts.iter().map(|text| text.parse().unwrap());
        parsed.map(|ip: IpAddr| SocketAddr::new(ip, 0)).collect()
    }

    fn lookups() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(MAX_LOOKUPS))
    }

    #[test]
    fn a_name_leads_only_where_its_author_allows() {
        let cases: [(_, &str, &[&str], bool); 13] = [
            (STRICT, NAME, &[PUBLIC], true),
            (STRICT, NAME, &["10.0.0.1"], false),
            (STRICT, NAME, &[PUBLIC, "10.0.0.1"], false),
            (STRICT, NAME, &["127.0.0.1"], false),
            (STRICT, NAME, &["::ffff:127.0.0.1"], false),
            (STRICT, NAME, &["64:ff9b::10.0.0.1"], false),
            (STRICT, "localhost", &["::1", "127.0.0.1"], true),
            (STRICT, "localhost", &["10.0.0.1"], false),
            (OPEN, NAME, &["10.0.0.1", "127.0.0.1"], true),
            (OPEN, NAME, &["169.254.169.254"], false),
            (OPEN, NAME, &["::ffff:169.254.169.254"], false),
            (OPEN, NAME, &["64:ff9b::169.254.169.254"], false),
            (OPEN, NAME, &[], false),
        ];
        for (allowed, host, found, expected) in cases {
            let judged = judged(allowed, host, addresses(found));
            assert_eq!(judged.is_ok(), expected, "{host} {found:?}");
        }
    }

    #[test]
    fn only_the_first_addresses_of_a_name_are_tried() {
        let many = (0..1000).map(|port| SocketAddr::from(([93, 184, 216, 34], port)));
        let judged = judged(STRICT, NAME, many.collect()).unwrap();
        assert_eq!(judged.len(), MAX_ADDRESSES);
    }

    #[tokio::test]
    async fn each_look_up_is_judged_anew() {
        let lookups = lookups();
        for (found, expected) in [(PUBLIC, true), ("127.0.0.1", false), (PUBLIC, true)] {
            let found = addresses(&[found]);
            let resolved = resolve(STRICT, NAME, move || Ok(found), Arc::clone(&lookups));
            assert_eq!(resolved.await.is_ok(), expected);
        }
        let failed = || Err(io::Error::other("server failure"));
        let failed = resolve(STRICT, NAME, failed, lookups).await.unwrap_err();
        assert!(matches!(failed, Unresolved::Failed(_)), "{failed}");
    }

    /// Slow look-ups take nobody else's threads, and those who wait give up in time.
    #[tokio::test(start_paused = true)]
    async fn slow_look_ups_are_few() {
        let lookups = lookups();
        let (begun, begins) = mpsc::channel();
        let (answer, answers): (Vec<_>, Vec<_>) =
            (0..2 * MAX_LOOKUPS).map(|_| mpsc::channel()).unzip();
        let asked = answers.into_iter().map(|answers| {
            let begun = begun.clone();
            let ask = move || {
                begun.send(()).unwrap();
                answers.recv().map_err(io::Error::other)
            };
            resolve(STRICT, NAME, ask, Arc::clone(&lookups))
        });
        // The paused clock does not go on by itself while a thread has something to do.
        let time_goes_on = async {
            let begins = tokio::task::spawn_blocking(move || {
                assert_eq!(begins.iter().take(MAX_LOOKUPS).count(), MAX_LOOKUPS);
                begins
            });
            let begins = begins.await.unwrap();
            tokio::time::advance(LOOKUP_TIME).await;
            begins
        };
        let (found, begins) = tokio::join!(join_all(asked), time_goes_on);
        for found in found {
            let late = found.unwrap_err();
            assert!(matches!(late, Unresolved::TooLong), "{late}");
        }
        assert!(begins.try_recv().is_err(), "more threads than that");
        // Each thread is free again once it has its answer, and nobody waits for one in vain.
        for answer in answer {
            drop(answer.send(addresses(&[PUBLIC])));
        }
        let all = u32::try_from(MAX_LOOKUPS).unwrap();
        drop(lookups.acquire_many(all).await.unwrap());
    }
}
