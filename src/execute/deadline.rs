//! How long a call may still run.

use std::time::Duration;

use tokio::time::Instant;

/// The deadline of a call, which stands still while somebody is asked.
#[derive(Debug)]
pub(super) struct Deadline {
    at: Instant,
    paused: Option<Instant>,
}

impl Deadline {
    /// So long from now on.
    pub(super) fn after(time: Duration, now: Instant) -> Self {
        /// Longer than any call.
        const FAR: Duration = Duration::from_hours(366 * 24);
        Self {
            at: now + time.min(FAR),
            paused: None,
        }
    }

    /// Stands still from now on, or goes on.
    pub(super) fn set_paused(&mut self, is_paused: bool, now: Instant) {
        match self.paused {
            None if is_paused => self.paused = Some(now),
            Some(since) if !is_paused => {
                self.at += now.saturating_duration_since(since);
                self.paused = None;
            }
            _ => {}
        }
    }

    /// Completes when it passes; never while it stands still.
    pub(super) async fn passed(&self) {
        match self.at() {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// When it passes; `None` while it stands still.
    pub(super) fn at(&self) -> Option<Instant> {
        self.paused.is_none().then_some(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_takes_no_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut deadline = Deadline::after(Duration::from_secs(10), start);
        assert_eq!(deadline.at(), Some(at(10)));
        deadline.set_paused(false, at(1));
        assert_eq!(deadline.at(), Some(at(10)));
        deadline.set_paused(true, at(4));
        deadline.set_paused(true, at(5));
        assert_eq!(deadline.at(), None);
        deadline.set_paused(false, at(104));
        assert_eq!(deadline.at(), Some(at(110)));
        deadline.set_paused(true, at(105));
        deadline.set_paused(false, at(106));
        assert_eq!(deadline.at(), Some(at(111)));
    }
}
