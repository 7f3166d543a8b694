//! The end of a server: what it took is finished, within a time.

use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::FLUSH_TIMEOUT;
use crate::app::App;

/// How long killed processes may take to disappear at the end.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// Lets running calls finish, for at most `timeout`; then ends them. Returns how many clients were
/// left without an answer.
pub(super) async fn drain(app: &App, connections: &TaskTracker, timeout: Duration) -> usize {
    let in_flight = app.executor.in_flight();
    let sessions = app
        .sessions
        .as_ref()
        .map_or(0, |sessions| sessions.statistics().active_sessions);
    app.draining.cancel();
    tracing::info!(in_flight, sessions, "shutdown");
    app.unanswered.close();
    // A call whose client is gone finishes too: what it does may matter as much as its answer.
    let finished = async { tokio::join!(app.unanswered.wait(), app.executor.finished()) };
    let mut stopped = 0;
    if tokio::time::timeout(timeout, finished).await.is_err() {
        stopped = app.executor.in_flight();
        tracing::warn!(
            stopped,
            "the drain timeout is over; the calls that still run are ended"
        );
        app.executor.stop_all();
        if tokio::time::timeout(FLUSH_TIMEOUT, app.unanswered.wait())
            .await
            .is_err()
        {
            tracing::warn!("some clients did not take their answer in time");
        }
        end_processes(app).await;
    }
    // What is left now are connections that are silent, or stuck.
    connections.close();
    if tokio::time::timeout(FLUSH_TIMEOUT, connections.wait())
        .await
        .is_err()
    {
        tracing::debug!("some connections are still open");
    }
    let cut = app.unanswered.len();
    let drained = in_flight.saturating_sub(stopped);
    tracing::info!(drained, stopped, cut, "shutdown complete");
    cut
}

/// Waits for stopped calls to be gone: for the longest grace of a tool, then without.
async fn end_processes(app: &App) {
    let grace = app.executor.longest_grace();
    if tokio::time::timeout(grace, app.executor.finished())
        .await
        .is_err()
    {
        kill_processes(app).await;
    }
}

/// Kills what is left, and waits a moment for it to be gone.
pub(super) async fn kill_processes(app: &App) {
    app.executor.kill_all();
    if tokio::time::timeout(KILL_TIMEOUT, app.executor.finished())
        .await
        .is_err()
    {
        tracing::error!("some processes are still there; they are left behind");
    }
}
