//! The state word of a session under every interleaving of a few threads.
//!
//! loom runs each model again and again, with every order of the atomic operations and every value
//! that the memory model lets a thread see.

#[allow(
    dead_code,
    unreachable_pub,
    reason = "a part of the library, of which this is a test"
)]
#[path = "../src/session/activity.rs"]
mod activity;

mod atomic {
    pub(super) use loom::sync::atomic::{AtomicI64, AtomicU64, Ordering};
}

use activity::{
    Acquired, Activity, Class, Classes, Deleted, Expiry, Millis, Terms, Timeouts, Use, View,
};
use loom::sync::{Arc, Mutex};
use loom::thread::{self, JoinHandle};

/// A session that was created at 0, and what it is counted in.
struct Session {
    activity: Activity,
    classes: Classes,
    timeouts: Timeouts,
}

impl Session {
    /// One that is held by its creator.
    fn held(timeouts: Timeouts) -> Arc<Self> {
        let classes = Classes::default();
        Arc::new(Self {
            activity: Activity::new(0, &classes),
            classes,
            timeouts,
        })
    }

    /// One that served a message at 0 and is idle since.
    fn idle(timeouts: Timeouts) -> Arc<Self> {
        let session = Self::held(timeouts);
        assert!(session.enter(0));
        session.release(0);
        session.release(0);
        session
    }

    fn terms(&self) -> Terms<'_> {
        Terms {
            created: 0,
            timeouts: &self.timeouts,
            classes: &self.classes,
        }
    }

    fn acquire(&self, now: Millis) -> Acquired {
        self.activity.acquire(Use::Work, now, self.terms())
    }

    fn enter(&self, now: Millis) -> bool {
        matches!(self.acquire(now), Acquired::Granted { .. })
    }

    fn release(&self, now: Millis) -> bool {
        let expiry = self.activity.release(Use::Work, now, self.terms());
        expiry.is_some()
    }

    fn sweep(&self, now: Millis) -> bool {
        self.activity.close_if_due(now, self.terms()).is_some()
    }

    fn close(&self) -> bool {
        self.activity.close(&self.classes)
    }

    /// What an eviction does: it looks, and closes what it saw.
    fn evict(&self) -> bool {
        let view = self.activity.view();
        let close = |last_use| self.activity.close_if_idle_since(last_use, &self.classes);
        view.is_idle() && close(view.last_use)
    }

    /// The state when all threads are done, which the counters must agree with.
    fn settled(&self) -> View {
        let view = self.activity.view();
        let counted = [Class::Initializing, Class::Busy, Class::Streaming]
            .map(|class| i64::from(view.class == Some(class)));
        assert_eq!(self.classes.read(), counted, "{view:?}");
        view
    }
}

const IDLE: Timeouts = Timeouts {
    idle: Some(1000),
    unused: None,
    init: None,
    max_age: None,
};

const MAX_AGE: Timeouts = Timeouts {
    idle: None,
    unused: None,
    init: None,
    max_age: Some(1000),
};

/// Runs `body` on a thread of its own.
fn with<T: 'static>(
    session: &Arc<Session>,
    body: impl FnOnce(&Session) -> T + 'static,
) -> JoinHandle<T> {
    let session = Arc::clone(session);
    thread::spawn(move || body(&session))
}

/// Checks a model with too many interleavings to try them all: those in which threads are stopped
/// at most twice in the middle of what they do.
fn mostly(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(body);
}

#[test]
fn one_closes() {
    loom::model(|| {
        let session = Session::idle(IDLE);
        let sweep = with(&session, |session| session.sweep(1000));
        let delete = with(&session, |session| {
            let deleted = session.activity.delete(1000, session.terms());
            assert_ne!(deleted, Deleted::Done, "it had expired");
            deleted == Deleted::Expired(Expiry::Idle)
        });
        let enter = session.acquire(1000) == Acquired::Expired(Expiry::Idle);
        let closers = [sweep.join().unwrap(), delete.join().unwrap(), enter];
        assert_eq!(closers.into_iter().filter(|won| *won).count(), 1);
        assert!(session.settled().is_ending());
    });
    loom::model(|| {
        let session = Session::idle(IDLE);
        let close = with(&session, Session::close);
        let evict = with(&session, Session::evict);
        let sweep = session.sweep(1000);
        let closers = [close.join().unwrap(), evict.join().unwrap(), sweep];
        assert_eq!(closers.into_iter().filter(|won| *won).count(), 1);
        assert!(session.settled().is_ending());
    });
}

#[test]
fn what_was_entered_is_not_closed_on_an_old_stamp() {
    for closes in [|s: &Session| s.sweep(1000), Session::evict] {
        loom::model(move || {
            let session = Session::idle(IDLE);
            let closed = with(&session, closes);
            let entered = session.enter(999);
            if entered {
                assert!(!session.activity.view().is_ending(), "while it is held");
                assert!(!session.release(1500));
            }
            let closed = closed.join().unwrap();
            // An eviction may come after the use, when the session is idle again.
            let late = closed && entered;
            assert!(entered || closed);
            assert!(!late || session.activity.view().last_use == 1500);
            assert_eq!(session.settled().is_ending(), closed);
        });
    }
    loom::model(|| {
        let session = Session::idle(IDLE);
        let sweep = with(&session, |session| session.sweep(1000));
        let entered = session.enter(999);
        if entered {
            session.release(1500);
        }
        assert_ne!(sweep.join().unwrap(), entered, "the stamp was new");
    });
}

#[test]
fn an_eviction_of_an_old_stamp_fails() {
    loom::model(|| {
        let session = Session::idle(IDLE);
        let evict = with(&session, |session| {
            session.activity.close_if_idle_since(0, &session.classes)
        });
        let entered = session.enter(999);
        if entered {
            assert!(!session.activity.view().is_ending());
            session.release(1500);
        }
        assert_ne!(evict.join().unwrap(), entered);
        session.settled();
    });
}

#[test]
fn no_expiry_while_anybody_holds() {
    loom::model(|| {
        let session = Session::idle(IDLE);
        assert!(session.enter(500));
        let call = with(&session, |session| {
            assert!(session.activity.retain(&session.classes), "it is held");
            assert!(!session.activity.view().is_ending());
            session.release(600);
        });
        let sweep = with(&session, |session| session.sweep(1500));
        call.join().unwrap();
        assert!(!session.activity.view().is_ending());
        assert!(!session.release(700));
        assert!(!sweep.join().unwrap(), "700 is the last use");
        assert_eq!(session.settled().last_use, 700);
        assert!(session.sweep(1700));
    });
}

#[test]
fn the_last_stamp_stays() {
    mostly(|| {
        let session = Session::idle(IDLE);
        assert!(session.enter(0) && session.enter(0));
        let first = with(&session, |session| session.release(200));
        let second = with(&session, |session| {
            session.activity.note_call();
            session.release(100)
        });
        let entered = session.enter(50) && !session.release(50);
        assert!(entered);
        assert!(!first.join().unwrap() && !second.join().unwrap());
        let view = session.settled();
        assert_eq!(
            (view.last_use, view.work, view.class),
            (200, 0, Some(Class::Idle))
        );
    });
}

#[test]
fn a_close_is_final_whoever_holds() {
    mostly(|| {
        let session = Session::held(IDLE);
        let stream = with(&session, |session| {
            let what = Use::Stream;
            match session.activity.acquire(what, 0, session.terms()) {
                Acquired::Granted { .. } => {
                    session.activity.release(what, 5000, session.terms());
                }
                refused => assert_eq!(refused, Acquired::Closed),
            }
        });
        let close = with(&session, Session::close);
        let retained = session.activity.retain(&session.classes);
        if retained {
            session.release(1);
        }
        session.release(2);
        stream.join().unwrap();
        assert!(close.join().unwrap());
        let view = session.settled();
        assert!(view.is_ending() && !view.is_held());
    });
}

#[test]
fn an_old_session_ends_with_its_last_work() {
    loom::model(|| {
        let session = Session::held(MAX_AGE);
        let sweep = with(&session, |session| session.sweep(1000));
        let late = with(&session, |session| match session.acquire(1000) {
            Acquired::Expired(Expiry::MaxAge) => true,
            Acquired::Overdue | Acquired::Closed => false,
            other => unreachable!("{other:?}"),
        });
        let released = session.release(1000);
        let closers = [sweep.join().unwrap(), late.join().unwrap(), released];
        assert_eq!(closers.into_iter().filter(|won| *won).count(), 1);
        assert!(released, "nobody closes what is held");
        assert!(session.settled().is_ending());
    });
}

/// A sweep that finds a passed deadline held up never looks at it again. The holder read the clock
/// before that sweep, and gives the session back after it.
#[test]
fn a_deadline_is_not_lost_between_a_sweep_and_a_holder() {
    loom::model(|| {
        let session = Session::held(MAX_AGE);
        let clock = Arc::new(Mutex::new(999));
        let swept = with(&session, {
            let clock = Arc::clone(&clock);
            move |session| {
                let now = {
                    let mut clock = clock.lock().unwrap();
                    *clock = 1000;
                    *clock
                };
                session.sweep(now)
            }
        });
        let clock = || *clock.lock().unwrap();
        let left = session.activity.leave(Use::Work, clock, session.terms());
        assert_ne!(
            swept.join().unwrap(),
            left.is_some(),
            "one of them closes it"
        );
        assert!(session.settled().is_ending());
    });
}
