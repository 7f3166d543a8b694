//! The life of sessions. Time is passed in, or stands still until it is moved; threads race over
//! few sessions in many rounds.

mod activity;
mod claims;
mod eviction;
mod lifetime;
mod races;
mod reaper;
mod statistics;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::activity::Use;
use super::statistics::LookupFailure;
use super::store::{Limits, WhenFull};
use super::*;
use crate::auth::Principal;
use crate::changes::Mark;

/// Sessions without bounds but these. Timeouts are in seconds.
#[derive(Default)]
struct Bounds {
    idle: Option<u64>,
    unused: Option<u64>,
    init: Option<u64>,
    max_age: Option<u64>,
    sessions: Option<usize>,
    per_principal: Option<usize>,
    /// Evicts sessions that have been idle for so many seconds; otherwise rejects.
    evict: Option<u64>,
}

impl Bounds {
    fn store(&self) -> Arc<SessionStore> {
        let seconds = |timeout: Option<u64>| timeout.map(Duration::from_secs);
        SessionStore::new(Limits {
            idle_timeout: seconds(self.idle),
            unused_timeout: seconds(self.unused),
            init_timeout: seconds(self.init),
            max_age: seconds(self.max_age),
            max_sessions: self.sessions.unwrap_or(usize::MAX),
            max_sessions_per_principal: self.per_principal.and_then(NonZeroUsize::new),
            when_full: match self.evict {
                Some(seconds) => WhenFull::Evict {
                    min_idle: Duration::from_secs(seconds),
                },
                None => WhenFull::Reject,
            },
        })
    }
}

fn principal(subject: &str) -> Principal {
    Principal::user(crate::auth::Issuer::AuthFile, subject, None)
}

/// What `subject` says in `initialize`; it is its own bucket.
fn info(subject: &str) -> SessionInfo {
    SessionInfo {
        opener: Owner::new(principal(subject), None),
        toolset: None,
        version: ProtocolVersion::V2025_11_25,
        client: "test/1".into(),
        capabilities: ClientCapabilities::default(),
        since: Mark::default(),
    }
}

/// A session of `subject` whose `initialize` is over; its id.
fn open(store: &Arc<SessionStore>, subject: &str) -> SessionId {
    store.create(info(subject)).unwrap().session().id()
}

/// What who comes without a credential from this network says in `initialize`.
fn anonymous(network: Option<[u8; 4]>) -> SessionInfo {
    SessionInfo {
        opener: Owner::new(Principal::Anonymous, network.map(Into::into)),
        ..info("")
    }
}

fn enter(store: &Arc<SessionStore>, id: SessionId, subject: &str) -> Result<SessionGuard, Refused> {
    store.enter(id, &principal(subject))
}

fn ended(store: &SessionStore, reason: EndReason) -> u64 {
    store.statistics().sessions_ended.get(reason.as_str())
}

fn failed(store: &SessionStore, why: LookupFailure) -> u64 {
    store.statistics().lookups_failed.get(why.as_str())
}

/// Moves the clock, which stands still otherwise.
async fn pass(seconds: f64) {
    tokio::time::advance(Duration::from_secs_f64(seconds)).await;
}

#[test]
fn only_the_handed_out_form_of_an_id_is_accepted() {
    let id = SessionId::random();
    assert_eq!(SessionId::parse(&id.expose()), Some(id));
    let upper = id.expose().to_uppercase();
    let simple = id.expose().replace('-', "");
    let braced = format!("{{{}}}", id.expose());
    for text in ["", "x", "0", simple.as_str(), braced.as_str()] {
        assert_eq!(SessionId::parse(text), None, "{text}");
    }
    if upper != id.expose() {
        assert_eq!(SessionId::parse(&upper), None, "{upper}");
    }
    assert!(
        id.expose()
            .bytes()
            .all(|byte| (0x21..=0x7e).contains(&byte))
    );
}

#[test]
fn an_id_is_never_shown_whole() {
    let id = SessionId::random();
    assert_eq!(id.to_string().len(), 8);
    assert!(!format!("{id:?}").contains(&id.expose()));
}

#[test]
fn reasons_are_reported_in_the_order_of_their_kinds() {
    for (index, reason) in EndReason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, index, "{reason:?}");
    }
    for (index, why) in LookupFailure::ALL.into_iter().enumerate() {
        assert_eq!(why as usize, index, "{why:?}");
    }
    for (index, why) in super::statistics::Rejection::ALL.into_iter().enumerate() {
        assert_eq!(why as usize, index, "{why:?}");
    }
}

#[test]
fn a_session_is_small() {
    // With the counts of its `Arc`. jemalloc has a class of this size, and the one before ends at 320.
    let size = size_of::<Session>() + 2 * size_of::<usize>();
    assert!(size <= 384, "{size} bytes");
}
