//! Ends idle sessions: sweeps, sleeps until the next can expire, until told to stop.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::store::SessionStore;

/// Runs until `stop` is cancelled. There is no timer per session, and while nothing can expire
/// nothing runs.
pub async fn run(store: Arc<SessionStore>, stop: CancellationToken) {
    loop {
        let started = Instant::now();
        let swept = store.sweep(store.now());
        if swept.ended > 0 {
            tracing::info!(
                ended = swept.ended,
                duration_seconds = started.elapsed().as_secs_f64(),
                "sweep ended idle sessions"
            );
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::Principal;
    use crate::protocol::version::ProtocolVersion;
    use crate::session::SessionInfo;
    use crate::session::store::Limits;

    #[tokio::test(start_paused = true)]
    async fn sessions_end_on_time_and_idle_costs_nothing() {
        let store = SessionStore::new(Limits {
            idle_timeout: Some(Duration::from_secs(10)),
            max_sessions: 5,
        });
        let stop = CancellationToken::new();
        let reaper = run(Arc::clone(&store), stop.clone());
        let session = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let info = SessionInfo {
                owner: Principal::Anonymous,
                version: ProtocolVersion::V2025_11_25,
                client: String::new(),
            };
            let guard = store.create(info).unwrap();
            let ended = guard.session().ended().clone();
            drop(guard);
            let start = Instant::now();
            ended.cancelled().await;
            let lived = start.elapsed();
            assert!(lived >= Duration::from_secs(10), "{lived:?}");
            assert!(lived < Duration::from_millis(10_250), "{lived:?}");
            tokio::time::sleep(Duration::from_secs(100_000)).await;
            stop.cancel();
        };
        tokio::join!(reaper, session);
        assert!(
            store.statistics().reaper_runs <= 4,
            "{:?}",
            store.statistics()
        );
    }
}
