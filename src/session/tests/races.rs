//! Threads that use, end and replace the same sessions.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;

use super::*;

const THREADS: usize = 8;

/// Runs `body` on many threads at the same time, and returns what they counted.
fn race(body: impl Fn(usize) -> usize + Sync) -> usize {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let (barrier, body) = (&barrier, &body);
                scope.spawn(move || {
                    barrier.wait();
                    body(number)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    })
}

#[test]
fn endings_race_and_one_wins() {
    let bounds = Bounds {
        idle: Some(10),
        sessions: Some(1),
        evict: Some(0),
        ..Bounds::default()
    };
    let store = bounds.store();
    for round in 1..=500 {
        let guard = store.create_at(info("a"), 0).unwrap();
        let id = guard.session().id();
        let session = Arc::clone(&guard.session);
        drop(guard);
        // Deletes, sweeps, evictions and an expired use; the evictions leave a session behind.
        let newcomers = AtomicUsize::new(0);
        let later = store.now() + 20_000;
        let ended_by_caller = race(|number| match number {
            0 => usize::from(store.end(&session, EndReason::Crash)),
            1 | 2 => usize::from(store.delete(id, &principal("a")).is_ok()),
            3 | 4 => {
                store.sweep(later);
                0
            }
            5 => {
                let refused = store.enter_at(id, &principal("a"), Use::Work, later);
                assert_eq!(refused.unwrap_err(), Refused::NotFound);
                0
            }
            _ => {
                if let Ok(newcomer) = store.create_at(info("b"), later) {
                    newcomers.fetch_add(1, Ordering::Relaxed);
                    newcomer.end(EndReason::InitFailed);
                }
                0
            }
        });
        assert!(ended_by_caller <= 1, "round {round}");
        assert!(!store.lives(id));
        let statistics = store.statistics();
        assert_eq!(statistics.active_sessions, 0, "round {round}");
        let made = newcomers.load(Ordering::Relaxed) as u64;
        let failed = ended(&store, EndReason::InitFailed);
        assert!(made <= failed);
        let others = statistics.sessions_ended.total() - failed;
        assert_eq!(others, round, "the session ended once");
        store.check();
    }
}

#[test]
fn principals_race_for_a_session_and_one_wins() {
    let bounds = Bounds {
        per_principal: Some(100),
        ..Bounds::default()
    };
    let store = bounds.store();
    for round in 1..=500 {
        let info = anonymous(None);
        let id = store.create(info).unwrap().session().id();
        let subjects: [_; THREADS] = std::array::from_fn(|number| (number / 2).to_string());
        let winners = Mutex::new(Vec::new());
        race(|number| {
            // Two of them are of each principal; some only ask without a credential, and some leave.
            let subject = &subjects[number];
            match number {
                0 => drop(store.enter(id, &Principal::Anonymous)),
                1 => drop(store.enter_stream(id, &Principal::Anonymous)),
                _ => {
                    if let Ok(guard) = enter(&store, id, subject) {
                        assert_eq!(guard.session().owner().principal, principal(subject));
                        assert!(guard.session().claimed().is_cancelled());
                        winners.lock().push(subject.clone());
                    }
                }
            }
            0
        });
        let mut winners = winners.into_inner();
        assert_eq!(winners.len(), 2, "round {round}: both of one principal");
        winners.dedup();
        assert_eq!(winners.len(), 1, "round {round}");
        store.check();
        store.delete(id, &principal(&winners[0])).unwrap();
        let statistics = store.statistics();
        assert_eq!(statistics.sessions_claimed_total, round);
        assert_eq!(statistics.active_sessions, 0);
    }
    assert_eq!(store.bucket_count(), 0);
}

#[test]
fn a_session_that_is_claimed_while_it_ends_counts_nowhere() {
    let bounds = Bounds {
        per_principal: Some(3),
        evict: Some(0),
        ..Bounds::default()
    };
    let store = bounds.store();
    for _ in 0..500 {
        let id = store.create(anonymous(None)).unwrap().session().id();
        race(|number| {
            match number % 4 {
                0 => drop(store.delete(id, &Principal::Anonymous)),
                1 => drop(store.delete(id, &principal("a"))),
                2 => drop(enter(&store, id, "a")),
                _ => drop(store.create(info("a"))),
            }
            0
        });
        store.check();
    }
    store.end_all(EndReason::Shutdown);
    assert_eq!(store.bucket_count(), 0);
    store.check();
}

#[test]
fn concurrent_creations_never_exceed_a_limit() {
    let bounds = Bounds {
        sessions: Some(20),
        per_principal: Some(6),
        evict: Some(0),
        ..Bounds::default()
    };
    let store = bounds.store();
    let running = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut is_over = false;
            while !is_over {
                is_over = !running.load(Ordering::Relaxed);
                let statistics = store.statistics();
                assert!(statistics.active_sessions <= 20);
                let live = statistics.active_sessions as u64;
                let created = statistics.total_sessions_created;
                assert_eq!(created - statistics.sessions_ended.total(), live);
                assert_eq!(statistics.sessions.total(), live);
            }
        });
        let refused = race(|number| {
            let subject = ["a", "b", "c", "d"][number % 4];
            let mut held = Vec::new();
            let mut refused = 0;
            for step in 0..2000 {
                match store.create(info(subject)) {
                    Ok(guard) if step % 3 == 0 => held.push(guard),
                    Ok(guard) if step % 7 == 0 => {
                        guard.end(EndReason::ClientDelete);
                    }
                    Ok(_) => {}
                    Err(refusal) => {
                        assert!(matches!(refusal, NoRoom::Full | NoRoom::PrincipalFull));
                        refused += 1;
                        held.clear();
                    }
                }
            }
            refused
        });
        running.store(false, Ordering::Relaxed);
        assert!(refused > 0);
    });
    assert!(store.statistics().active_sessions <= 20);
    store.check();
    store.end_all(EndReason::Shutdown);
    assert_eq!(store.bucket_count(), 0);
    store.check();
}

#[test]
fn a_session_that_was_entered_is_not_swept() {
    let bounds = Bounds {
        idle: Some(10),
        init: Some(10),
        ..Bounds::default()
    };
    let store = bounds.store();
    for _ in 0..500 {
        let guard = store.create_at(info("a"), 0).unwrap();
        let id = guard.session().id();
        drop(guard);
        let entered = AtomicUsize::new(0);
        race(|number| {
            if number % 2 == 0 {
                store.sweep(20_000);
            } else if let Ok(guard) = store.enter_at(id, &principal("a"), Use::Work, 9_999) {
                entered.fetch_add(1, Ordering::Relaxed);
                assert!(!guard.session().ended().is_cancelled());
                assert!(store.lives(id));
                assert!(guard.another().is_some());
            }
            0
        });
        // The sweeps were at 20 s, the last use is before: what is left ends now.
        store.sweep(1_000_000);
        assert!(!store.lives(id));
        store.check();
    }
    assert_eq!(store.statistics().sessions_ended.total(), 500);
}

#[test]
fn statistics_add_up_under_load() {
    let bounds = Bounds {
        idle: Some(10),
        ..Bounds::default()
    };
    let store = bounds.store();
    race(|number| {
        if number == 0 {
            for _ in 0..2000 {
                let statistics = store.statistics();
                let live = statistics.active_sessions as u64;
                let created = statistics.total_sessions_created;
                assert_eq!(created - statistics.sessions_ended.total(), live);
                assert_eq!(statistics.sessions.total(), live);
            }
            return 0;
        }
        for step in 0..1000 {
            let id = open(&store, "a");
            let guard = enter(&store, id, "a").unwrap();
            let _stream = store.enter_stream(id, &principal("a")).unwrap();
            drop(guard);
            if step % 2 == 0 {
                store.delete(id, &principal("a")).unwrap();
            }
        }
        0
    });
    let statistics = store.statistics();
    assert_eq!(statistics.sessions.get("idle"), 3500);
    assert_eq!(statistics.active_sessions, 3500);
    store.check();
}

#[test]
fn a_panic_with_a_guard_breaks_nothing() {
    let store = Bounds::default().store();
    let id = open(&store, "a");
    let panicked = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let guard = enter(&store, id, "a").unwrap();
            let _calls = guard.session().running.lock();
            panic!("on purpose");
        });
        thread.join().is_err()
    });
    assert!(panicked);
    drop(enter(&store, id, "a").unwrap());
    assert_eq!(store.statistics().sessions.get("idle"), 1);
    store.check();
}
