//! What follows when credentials end, and what they need to be checked.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::page;
use crate::app::App;
use crate::auth;
use crate::metrics::Metrics;
use crate::session::statistics::Counts;
use crate::session::{EndReason, SessionStore};

/// How long is slept at most for a time of the wall clock, which may be set.
const WALL_CLOCK_CHECK: Duration = Duration::from_mins(1);

/// How long is waited for a request that was let in just before, and how often is looked whether a
/// call has ended in a session that nobody can use any more.
const PAUSE: Duration = Duration::from_secs(1);

/// Registers what is counted of the keys of issuers.
pub(super) fn register(metrics: &mut Metrics) {
    page::register(metrics, (), |(), page| {
        let counts = Counts::of(["ok", "failed"], &auth::key_fetches());
        let help = "How often the keys of issuers were fetched, by outcome";
        page.counters("jwks_fetches", help, "outcome", &counts)
    });
}

/// Keeps the keys of issuers, and ends the sessions of those who have no credential left, until
/// `closing`.
pub(super) fn tend(app: &Arc<App>, tasks: &TaskTracker, closing: &CancellationToken) {
    let (keeper, closed) = (Arc::clone(app), closing.clone());
    tasks.spawn(async move {
        let keeping = keeper.authenticator.keep_keys();
        closed.run_until_cancelled(keeping).await;
    });
    if let Some(sessions) = &app.sessions {
        let (app, sessions) = (Arc::clone(app), Arc::clone(sessions));
        let closed = closing.clone();
        tasks.spawn(async move {
            closed.run_until_cancelled(revoke(&app, &sessions)).await;
        });
    }
}

/// Ends the sessions of those who have no credential left, for ever. Calls that run get their answers
/// first.
async fn revoke(app: &App, sessions: &SessionStore) {
    let mut replacements = app.authenticator.replacements();
    // When it was looked for the last time: no loss after that is missed.
    let mut looked = SystemTime::now();
    loop {
        let loss = app.authenticator.load().next_loss(looked);
        tokio::select! {
            // There is a sender as long as there is an authenticator.
            _ = replacements.changed() => {}
            () = wait_for(loss) => {}
        }
        end_sessions(app, sessions, SystemTime::now());
        loop {
            tokio::time::sleep(PAUSE).await;
            looked = SystemTime::now();
            if end_sessions(app, sessions, looked) == 0 {
                break;
            }
        }
    }
}

/// Waits until a time of the wall clock has come.
async fn wait_for(time: Option<SystemTime>) {
    let Some(time) = time else {
        return std::future::pending().await;
    };
    while let Ok(left) = time.duration_since(SystemTime::now())
        && !left.is_zero()
    {
        tokio::time::sleep(left.min(WALL_CLOCK_CHECK)).await;
    }
}

/// Ends sessions, and returns how many more wait for a call.
fn end_sessions(app: &App, sessions: &SessionStore, now: SystemTime) -> usize {
    let authenticator = app.authenticator.whole();
    sessions.end_resting_where(EndReason::Revoked, |session| {
        !authenticator.may_return(&session.owner().principal, now)
    })
}
