//! From names to addresses: a connection is made to no address that was not judged.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::catalog::Api;

/// How long a look-up may take: less than a connection, so that the cause can be told.
const LOOKUP_TIME: Duration = Duration::from_secs(4);
/// How many look-ups may wait for the operating system at once, each in a thread.
pub(super) const MAX_LOOKUPS: usize = 8;
/// How many addresses of a name are tried.
const MAX_ADDRESSES: usize = 16;

/// Resolves names for one API.
pub(super) struct Resolver {
    pub(super) api: Arc<Api>,
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
        let api = Arc::clone(&self.api);
        let lookups = Arc::clone(&self.lookups);
        Box::pin(async move {
            let found = tokio::time::timeout(LOOKUP_TIME, look_up(name.as_str(), lookups));
            let found = found.await.map_err(|_| Unresolved::TooLong)??;
            let allowed = allowed(&api, name.as_str(), found)?;
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

/// Asks the operating system. The permit is in use until it has answered, also if nobody waits.
async fn look_up(name: &str, lookups: Arc<Semaphore>) -> Result<Vec<SocketAddr>, Unresolved> {
    let permit = lookups.acquire_owned().await;
    let name = name.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        let found = (name.as_str(), 0).to_socket_addrs();
        drop(permit);
        found.map(Iterator::collect)
    });
    Ok(asked.await.map_err(io::Error::other)??)
}

/// The addresses to connect to. One that is not allowed condemns all: the name is not what its
/// author thinks.
fn allowed(
    api: &Api,
    host: &str,
    mut addresses: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, Unresolved> {
    if addresses.is_empty() {
        return Err(Unresolved::Empty);
    }
    let is_forbidden = |address: &&SocketAddr| !api.may_connect(host, address.ip());
    if let Some(forbidden) = addresses.iter().find(is_forbidden) {
        return Err(Unresolved::Forbidden(forbidden.ip()));
    }
    addresses.truncate(MAX_ADDRESSES);
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::auth::{Caller, Principal};
    use crate::catalog::{Catalog, Environment, Work};

    fn api(settings: &str) -> Arc<Api> {
        let text = format!(
            "apis: {{a: {{base_url: 'https://a.example.com'{settings}}}}}\n\
             tools: {{t: {{description: d, http: {{api: a, GET: /}}}}}}"
        );
        let environment = Environment::default();
        let loaded = Catalog::parse(&text, Path::new("tools.yaml"), &environment).unwrap();
        let tool = loaded.catalog.tool("t").unwrap();
        let caller = Caller::new(Principal::Anonymous);
        match tool
            .work(&tool.arguments(None, &caller).unwrap(), &caller)
            .unwrap()
        {
            Work::Send(request) => request.api,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_leads_only_where_its_author_allows() {
        let (strict, open) = (&api(""), &api(", allow_private: true"));
        let cases: [(&Api, &str, &[&str], bool); 10] = [
            (strict, "a.example.com", &["93.184.216.34"], true),
            (strict, "a.example.com", &["10.0.0.1"], false),
            (
                strict,
                "a.example.com",
                &["93.184.216.34", "10.0.0.1"],
                false,
            ),
            (strict, "a.example.com", &["127.0.0.1"], false),
            (strict, "localhost", &["::1", "127.0.0.1"], true),
            (strict, "localhost", &["10.0.0.1"], false),
            (open, "a.example.com", &["10.0.0.1", "127.0.0.1"], true),
            (open, "a.example.com", &["169.254.169.254"], false),
            (open, "a.example.com", &["::ffff:169.254.169.254"], false),
            (open, "a.example.com", &[], false),
        ];
        for (api, host, addresses, expected) in cases {
            let parsed = addresses.iter().map(|text| text.parse().unwrap());
            let found = parsed.map(|ip: IpAddr| SocketAddr::new(ip, 0)).collect();
            let allowed = allowed(api, host, found);
            assert_eq!(allowed.is_ok(), expected, "{host} {addresses:?}");
        }
    }

    #[test]
    fn only_the_first_addresses_of_a_name_are_tried() {
        let many = (0..1000).map(|port| SocketAddr::from(([93, 184, 216, 34], port)));
        let allowed = allowed(&api(""), "a.example.com", many.collect()).unwrap();
        assert_eq!(allowed.len(), MAX_ADDRESSES);
    }
}
