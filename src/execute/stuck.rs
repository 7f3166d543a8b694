//! Calls whose processes do not die.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long killed processes may take to disappear; one that waits for a broken disk may never.
const KILL_WINDOW: Duration = Duration::from_secs(10);

/// Counts the calls that take their place for nothing, since something of them does not die.
#[derive(Debug, Clone, Default)]
pub(super) struct Stuck(Arc<AtomicUsize>);

impl Stuck {
    /// How many there are now.
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until what was killed is `gone`; counts it meanwhile if it takes too long.
    pub(super) async fn watch(&self, pid: i32, gone: impl Future<Output = ()>) {
        let mut gone = std::pin::pin!(gone);
        if tokio::time::timeout(KILL_WINDOW, gone.as_mut())
            .await
            .is_ok()
        {
            return;
        }
        tracing::error!(
            pid,
            "a process, or what it left behind, does not die, although it was killed; its call keeps its place"
        );
        self.0.fetch_add(1, Ordering::Relaxed);
        gone.await;
        self.0.fetch_sub(1, Ordering::Relaxed);
        tracing::info!(pid, "a process that did not die is gone");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test(start_paused = true)]
    async fn what_does_not_die_is_counted_until_it_does() {
        let stuck = Stuck::default();
        stuck.watch(1, async {}).await;
        assert_eq!(stuck.count(), 0, "gone at once");
        let (die, gone) = oneshot::channel();
        let watching = stuck.watch(1, async {
            gone.await.unwrap();
        });
        let watched = async {
            tokio::time::sleep(KILL_WINDOW / 2).await;
            assert_eq!(stuck.count(), 0, "it may still die");
            tokio::time::sleep(KILL_WINDOW).await;
            assert_eq!(stuck.count(), 1, "it does not die");
            die.send(()).unwrap();
        };
        tokio::join!(watching, watched);
        assert_eq!(stuck.count(), 0, "it is gone after all");
    }
}
