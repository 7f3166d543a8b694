//! The state word, as a table of what it comes to.

use super::super::activity::{
    Acquired, Activity, Class, Classes, Deleted, Expiry, MAX_MILLIS, MAX_STREAMS, MAX_WORK, Millis,
    Terms, Timeouts, Use,
};

/// One session and its surroundings.
struct Subject {
    activity: Activity,
    created: Millis,
    timeouts: Timeouts,
    classes: Classes,
}

const ALL: Timeouts = Timeouts {
    idle: Some(1000),
    unused: Some(700),
    init: Some(300),
    max_age: Some(5000),
};

const IDLE: Timeouts = Timeouts {
    idle: Some(1000),
    unused: None,
    init: None,
    max_age: None,
};

impl Subject {
    fn new(created: Millis, timeouts: Timeouts) -> Self {
        let classes = Classes::default();
        Self {
            activity: Activity::new(created, &classes),
            created,
            timeouts,
            classes,
        }
    }

    fn terms(&self) -> Terms<'_> {
        Terms {
            created: self.created,
            timeouts: &self.timeouts,
            classes: &self.classes,
        }
    }

    fn acquire(&self, what: Use, now: Millis) -> Acquired {
        self.activity.acquire(what, now, self.terms())
    }

    fn release(&self, what: Use, now: Millis) -> Option<Expiry> {
        self.activity.release(what, now, self.terms())
    }

    fn sweep(&self, now: Millis) -> Option<Expiry> {
        self.activity.close_if_due(now, self.terms())
    }

    /// Serves a message between two times.
    fn serve(&self, from: Millis, to: Millis) {
        let acquired = self.acquire(Use::Work, from);
        assert!(matches!(acquired, Acquired::Granted { .. }), "{acquired:?}");
        assert_eq!(self.release(Use::Work, to), None);
    }

    fn class(&self) -> Option<Class> {
        let class = self.activity.view().class;
        let counted = [Class::Initializing, Class::Busy, Class::Streaming]
            .map(|counted| i64::from(class == Some(counted)));
        assert_eq!(self.classes.read(), counted, "{class:?}");
        class
    }
}

#[test]
fn idle_counts_from_the_last_release() {
    let subject = Subject::new(0, IDLE);
    assert_eq!(subject.sweep(5000), None, "held");
    assert_eq!(subject.release(Use::Work, 5000), None);
    assert_eq!(subject.sweep(5999), None);
    let gap = Acquired::Granted { idle: Some(999) };
    assert_eq!(subject.acquire(Use::Work, 5999), gap);
    let gap = Acquired::Granted { idle: None };
    assert_eq!(subject.acquire(Use::Stream, 100_000), gap);
    assert_eq!(subject.release(Use::Work, 100_001), None);
    assert_eq!(subject.sweep(200_000), None, "an open stream holds");
    assert_eq!(subject.release(Use::Stream, 200_000), None);
    assert_eq!(subject.sweep(200_999), None);
    assert_eq!(subject.sweep(201_000), Some(Expiry::Idle));
    assert_eq!(subject.sweep(201_000), None, "once");
    assert_eq!(subject.acquire(Use::Work, 201_000), Acquired::Closed);
}

#[test]
fn expiry_is_checked_at_use() {
    for what in [Use::Work, Use::Stream] {
        let subject = Subject::new(0, IDLE);
        subject.release(Use::Work, 0);
        let expired = Acquired::Expired(Expiry::Idle);
        assert_eq!(subject.acquire(what, 1000), expired);
        assert_eq!(subject.acquire(what, 1000), Acquired::Closed);
        assert_eq!(subject.class(), None);
    }
}

#[test]
fn the_earliest_deadline_gives_the_reason() {
    // What happens, in milliseconds: a message, a call; and when which deadline ends the session.
    let cases = [
        ("nothing", None, None, 300, Expiry::Init),
        ("a message", Some(100), None, 700, Expiry::Unused),
        ("a late message", Some(299), None, 700, Expiry::Unused),
        ("a call", Some(100), Some(100), 1100, Expiry::Idle),
        ("a late call", Some(699), Some(699), 1699, Expiry::Idle),
    ];
    for (name, message, call, at, expiry) in cases {
        let subject = Subject::new(0, ALL);
        assert_eq!(subject.release(Use::Work, 0), None);
        if message == Some(699) {
            subject.serve(50, 50);
        }
        if let Some(now) = message {
            subject.serve(now, now);
        }
        if call.is_some() {
            subject.activity.note_call();
        }
        assert_eq!(subject.sweep(at - 1), None, "{name}");
        assert_eq!(subject.sweep(at), Some(expiry), "{name}");
    }
}

#[test]
fn whoever_holds_a_session_past_a_deadline_ends_it() {
    let subject = Subject::new(0, ALL);
    assert_eq!(subject.sweep(10_000), None);
    assert_eq!(subject.release(Use::Work, 299), None);
    let subject = Subject::new(0, ALL);
    assert_eq!(subject.release(Use::Work, 300), Some(Expiry::Init));

    let subject = Subject::new(0, ALL);
    subject.release(Use::Work, 0);
    subject.acquire(Use::Work, 299);
    subject.acquire(Use::Stream, 299);
    assert_eq!(subject.release(Use::Work, 800), None, "the stream holds");
    assert_eq!(subject.sweep(900), None);
    assert_eq!(subject.release(Use::Stream, 900), Some(Expiry::Unused));
    assert_eq!(subject.class(), None);

    let subject = Subject::new(0, ALL);
    subject.acquire(Use::Work, 0);
    subject.release(Use::Work, 0);
    subject.activity.note_call();
    assert_eq!(subject.release(Use::Work, 900), None, "it called");
}

#[test]
fn max_age_waits_for_work_and_not_for_streams() {
    let subject = Subject::new(0, ALL);
    subject.activity.note_call();
    subject.acquire(Use::Stream, 0);
    subject.acquire(Use::Work, 0);
    subject.release(Use::Work, 10);
    assert_eq!(subject.sweep(5000), None, "work");
    for what in [Use::Work, Use::Stream] {
        assert_eq!(subject.acquire(what, 5000), Acquired::Overdue);
    }
    assert_eq!(
        subject.activity.delete(5000, subject.terms()),
        Deleted::Refused
    );
    assert!(subject.activity.retain(&subject.classes), "for its call");
    assert_eq!(subject.release(Use::Work, 6000), None);
    assert_eq!(subject.release(Use::Work, 7000), Some(Expiry::MaxAge));
    assert_eq!(subject.release(Use::Stream, 7001), None, "it is over");

    let subject = Subject::new(0, ALL);
    subject.acquire(Use::Stream, 0);
    subject.release(Use::Work, 10);
    assert_eq!(subject.sweep(4999), None);
    assert_eq!(subject.sweep(5000), Some(Expiry::MaxAge), "a stream");
}

#[test]
fn the_next_fixed_deadline_is_one_that_still_matters() {
    let subject = Subject::new(100, ALL);
    let next = |now| subject.activity.next_fixed(now, subject.terms());
    assert_eq!(ALL.first_fixed(100), Some(400));
    assert_eq!(next(399), Some(400));
    assert_eq!(next(400), Some(800));
    subject.acquire(Use::Work, 100);
    assert_eq!(next(100), Some(800));
    subject.activity.note_call();
    assert_eq!(next(100), Some(5100));
    assert_eq!(next(5100), None);
    assert_eq!(IDLE.first_fixed(100), None);
    assert!(ALL.has_fixed() && !IDLE.has_fixed());
}

#[test]
fn a_delete_is_no_use() {
    let subject = Subject::new(0, IDLE);
    subject.release(Use::Work, 0);
    let delete = |now| subject.activity.delete(now, subject.terms());
    assert_eq!(delete(1000), Deleted::Expired(Expiry::Idle));
    assert_eq!(delete(1000), Deleted::Refused);
    let subject = Subject::new(0, IDLE);
    let delete = |now| subject.activity.delete(now, subject.terms());
    assert_eq!(delete(1000), Deleted::Done, "in use");
    assert_eq!(delete(1000), Deleted::Refused);
}

#[test]
fn a_session_makes_room_only_if_it_was_not_used_since() {
    let subject = Subject::new(0, IDLE);
    let close = |last_use| {
        let classes = &subject.classes;
        subject.activity.close_if_idle_since(last_use, classes)
    };
    assert!(!close(0), "in use");
    subject.release(Use::Work, 10);
    assert!(!close(0), "used since");
    assert!(close(10));
    assert!(!close(10), "once");
}

#[test]
fn every_state_has_a_class() {
    let subject = Subject::new(0, IDLE);
    assert_eq!(subject.class(), Some(Class::Initializing));
    subject.release(Use::Work, 0);
    assert_eq!(subject.class(), Some(Class::Initializing));
    subject.acquire(Use::Stream, 0);
    assert_eq!(subject.class(), Some(Class::Streaming));
    subject.release(Use::Stream, 0);
    assert_eq!(subject.class(), Some(Class::Initializing), "nothing said");
    subject.acquire(Use::Work, 0);
    assert_eq!(subject.class(), Some(Class::Busy));
    subject.acquire(Use::Stream, 0);
    assert_eq!(subject.class(), Some(Class::Busy));
    subject.release(Use::Work, 0);
    assert_eq!(subject.class(), Some(Class::Streaming));
    subject.release(Use::Stream, 0);
    assert_eq!(subject.class(), Some(Class::Idle));
    subject.acquire(Use::Work, 0);
    assert!(subject.activity.close(&subject.classes));
    assert!(!subject.activity.close(&subject.classes));
    assert!(!subject.activity.retain(&subject.classes));
    assert_eq!(subject.class(), None);
    subject.release(Use::Work, 0);
    assert_eq!(subject.class(), None);
}

#[test]
fn the_stamp_never_goes_back_and_the_clock_stops_at_the_end() {
    let subject = Subject::new(500, IDLE);
    assert!(subject.activity.retain(&subject.classes));
    subject.release(Use::Work, 900);
    subject.release(Use::Work, 700);
    assert_eq!(subject.activity.view().last_use, 900);

    let subject = Subject::new(900, Timeouts::default());
    subject.acquire(Use::Work, 900);
    subject.release(Use::Work, Millis::MAX - 1);
    subject.release(Use::Work, Millis::MAX);
    let view = subject.activity.view();
    assert_eq!((view.last_use, view.work, view.streams), (MAX_MILLIS, 0, 0));
    assert_eq!(view.class, Some(Class::Idle), "no flag was touched");
}

#[test]
fn uses_are_bounded_and_do_not_spill() {
    let subject = Subject::new(0, IDLE);
    for what in [Use::Work, Use::Stream] {
        while subject.acquire(what, 0) != Acquired::Crowded {}
    }
    assert!(!subject.activity.retain(&subject.classes));
    let view = subject.activity.view();
    assert_eq!((view.work, view.streams), (MAX_WORK, MAX_STREAMS));
    assert_eq!((view.last_use, view.class), (0, Some(Class::Busy)));
    for _ in 0..MAX_STREAMS {
        subject.release(Use::Stream, 1);
    }
    for _ in 0..MAX_WORK {
        subject.release(Use::Work, 1);
    }
    assert_eq!(subject.class(), Some(Class::Idle));
    assert_eq!(subject.activity.view().last_use, 1);
}
