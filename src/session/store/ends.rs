//! How sessions end: by a request, by a sweep, with the server.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{SessionStore, Swept, seconds};
use crate::session::activity::Millis;
use crate::session::registry::Ending;
use crate::session::statistics::LookupFailure;
use crate::session::{EndReason, Session};

impl SessionStore {
    /// Ends a session, unless something else did. Running calls and streams are told.
    pub(in crate::session) fn end(&self, session: &Session, reason: EndReason) -> bool {
        let won = session.activity.close(self.shards.classes(session.id));
        if won {
            self.finish(session, reason, self.now());
        }
        won
    }

    /// Does what follows a close. Only the caller that closed the session may call this.
    pub(super) fn finish(&self, session: &Session, reason: EndReason, now: Millis) {
        self.registry.lock().remove(session, reason);
        self.make_known_of(session, reason, now);
    }

    pub(super) fn make_known(&self, (session, reason): &Ending, now: Millis) {
        self.make_known_of(session, *reason, now);
    }

    /// Makes the end of a session known that is out of the registry already.
    pub(super) fn make_known_of(&self, session: &Session, reason: EndReason, now: Millis) {
        let why = reason.lookup_failure();
        if why != LookupFailure::Unknown {
            let hash = self.hash(session.id);
            self.tombstones.lock().insert(hash, now, why);
        }
        self.shards.remove(session.id);
        session.tell_end();
        let age = seconds(now.saturating_sub(session.created));
        let idle = seconds(session.idle(now));
        let requests = session.requests();
        self.histograms.duration.observe(age);
        #[expect(clippy::cast_precision_loss, reason = "the buckets end far below 2^53")]
        self.histograms.requests.observe(requests as f64);
        if reason == EndReason::Idle {
            self.histograms.idle_at_reap.observe(idle);
        }
        tracing::info!(
            session = %session.id,
            principal = %session.owner().principal,
            reason = reason.as_str(),
            age_seconds = age,
            idle_seconds = idle,
            requests,
            client = &*session.info.client,
            "session ended"
        );
    }

    /// Ends what is due `now`, at most a few hundred sessions, and says when to look again.
    pub fn sweep(&self, now: Millis) -> Swept {
        let mut registry = self.registry.lock();
        let due = registry.next_due(&self.timeouts);
        let ended = registry.sweep(
            now,
            &self.timeouts,
            |session| session.activity.close_if_due(now, self.terms(session)),
            |session| session.activity.next_fixed(now, self.terms(session)),
        );
        let next = registry.next_due(&self.timeouts);
        drop(registry);
        let lag = due.map_or(0, |due| now.saturating_sub(due));
        self.counters.swept(ended.len(), lag);
        for ending in &ended {
            self.make_known(ending, now);
        }
        Swept {
            ended: ended.len(),
            next: next.and_then(|at| self.epoch.checked_add(Duration::from_millis(at))),
        }
    }

    /// Sweeps now, and measures it.
    pub(in crate::session) fn run_reaper(&self) -> Swept {
        self.counters.reaper_ran();
        let started = Instant::now();
        let swept = self.sweep(self.now());
        let duration = started.elapsed();
        let seconds = duration.as_secs_f64();
        self.histograms.reaper_run_duration.observe(seconds);
        if swept.ended > 0 {
            tracing::info!(
                ended = swept.ended,
                duration_seconds = seconds,
                "sweep ended sessions"
            );
        }
        swept
    }

    /// Completes when a deadline came in before all others.
    ///
    /// # Cancel safety
    ///
    /// A notification that nobody waited for is kept for the next call.
    pub async fn earlier_deadline(&self) {
        self.deadline_added.notified().await;
    }

    /// Ends every session, for shutdown. Returns how many it ended.
    pub fn end_all(&self, reason: EndReason) -> usize {
        self.end_where(reason, |_| true)
    }

    /// Ends every session that `matches`, and returns how many it ended. Walks over all sessions.
    pub fn end_where(&self, reason: EndReason, matches: impl Fn(&Session) -> bool) -> usize {
        let mut sessions = Vec::new();
        self.shards.for_each(|session| {
            if matches(session) {
                sessions.push(Arc::clone(session));
            }
        });
        let ended = sessions.iter().filter(|session| self.end(session, reason));
        ended.count()
    }

    /// As [`SessionStore::end_where`], but sessions in which something runs live on. Returns how many
    /// these are.
    pub fn end_resting_where(
        &self,
        reason: EndReason,
        matches: impl Fn(&Session) -> bool,
    ) -> usize {
        let (mut resting, mut busy) = (Vec::new(), 0);
        self.shards.for_each(|session| {
            if matches(session) {
                if session.activity.view().work == 0 {
                    resting.push(Arc::clone(session));
                } else {
                    busy += 1;
                }
            }
        });
        for session in resting {
            self.end(&session, reason);
        }
        busy
    }
}
