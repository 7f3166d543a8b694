//! Ends the sessions that are due: sweeps, sleeps until the next can expire, until told to stop.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::store::SessionStore;

/// Runs until `stop` is cancelled. There is no timer per session, and while nothing can expire
/// nothing runs.
pub async fn run(store: Arc<SessionStore>, stop: CancellationToken) {
    loop {
        let swept = store.run_reaper();
        let sleep = async {
            match swept.next {
                // After a full sweep there is more to do at once; requests go first.
                Some(next) if next <= Instant::now() => tokio::task::yield_now().await,
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep => {}
            () = store.earlier_deadline() => {}
        }
    }
}
