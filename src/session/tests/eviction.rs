//! What happens at the limits on the number of sessions.

use super::*;

fn evicting(sessions: usize, min_idle: u64) -> Arc<SessionStore> {
    let bounds = Bounds {
        sessions: Some(sessions),
        evict: Some(min_idle),
        ..Bounds::default()
    };
    bounds.store()
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_session_makes_room() {
    let store = evicting(4, 3);
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|subject| open(&store, subject));
    let call = enter(&store, c, "c").unwrap();
    let stream = store.enter_stream(d, &principal("d")).unwrap();
    pass(5.0).await;
    drop(enter(&store, b, "b").unwrap());
    pass(1.0).await;
    let newcomer = open(&store, "e");
    let alive =
        |ids: &[SessionId]| -> Vec<bool> { ids.iter().map(|id| store.lives(*id)).collect() };
    assert_eq!(
        alive(&[a, b, c, d, newcomer]),
        [false, true, true, true, true]
    );
    assert_eq!(ended(&store, EndReason::EvictedLru), 1);
    assert_eq!(enter(&store, a, "a").unwrap_err(), Refused::NotFound);
    assert_eq!(failed(&store, LookupFailure::Evicted), 1);

    // Nobody is idle for so long any more, whoever asks.
    assert_eq!(store.create(info("f")).unwrap_err(), NoRoom::Full);
    assert_eq!(store.statistics().sessions_rejected.get("max_sessions"), 1);
    drop((call, stream));
    pass(2.0).await;
    open(&store, "f");
    assert_eq!(alive(&[b, c, d, newcomer]), [false, true, true, true]);
    pass(1.0).await;
    open(&store, "g");
    store.check();
    assert_eq!(store.statistics().active_sessions, 4);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_evicted_who_was_idle_for_less_than_the_floor() {
    let store = evicting(1, 60);
    for _ in 0..10 {
        let id = open(&store, "a");
        pass(59.9).await;
        assert_eq!(store.create(info("b")).unwrap_err(), NoRoom::Full);
        assert!(store.lives(id));
        pass(0.1).await;
    }
    assert_eq!(ended(&store, EndReason::EvictedLru), 9);
}

#[tokio::test(start_paused = true)]
async fn a_rejecting_server_ends_nothing_for_a_newcomer() {
    let bounds = Bounds {
        sessions: Some(3),
        per_principal: Some(2),
        ..Bounds::default()
    };
    let store = bounds.store();
    open(&store, "a");
    let second = open(&store, "a");
    pass(1e6).await;
    assert_eq!(store.create(info("a")).unwrap_err(), NoRoom::PrincipalFull);
    open(&store, "b");
    assert_eq!(store.create(info("b")).unwrap_err(), NoRoom::Full);
    let rejected = store.statistics().sessions_rejected;
    assert_eq!(rejected.get("max_sessions"), 1);
    assert_eq!(rejected.get("principal_limit"), 1);
    store.delete(second, &principal("a")).unwrap();
    open(&store, "a");
    assert_eq!(ended(&store, EndReason::ClientDelete), 1);
    assert_eq!(store.statistics().sessions_ended.total(), 1);
    store.check();
}

#[tokio::test(start_paused = true)]
async fn a_principal_at_its_limit_loses_its_own_session() {
    let bounds = Bounds {
        per_principal: Some(2),
        evict: Some(60),
        ..Bounds::default()
    };
    let store = bounds.store();
    let stranger = open(&store, "y");
    pass(100.0).await;
    let first = open(&store, "x");
    let second = open(&store, "x");
    pass(0.001).await;
    drop(enter(&store, first, "x").unwrap());
    // The floor protects from strangers, not from oneself.
    let third = open(&store, "x");
    let alive = [stranger, first, second, third].map(|id| store.lives(id));
    assert_eq!(alive, [true, true, false, true]);
    assert_eq!(ended(&store, EndReason::EvictedPrincipal), 1);

    let _calls = [first, third].map(|id| enter(&store, id, "x").unwrap());
    for _ in 0..3 {
        pass(100.0).await;
        assert_eq!(store.create(info("x")).unwrap_err(), NoRoom::PrincipalFull);
    }
    assert!(store.create(info("z")).is_ok());
    assert_eq!(store.statistics().sessions_ended.total(), 1);
    assert_eq!(
        store.statistics().sessions_rejected.get("principal_limit"),
        3
    );
    store.check();
}

#[tokio::test(start_paused = true)]
async fn a_refused_principal_costs_nobody_a_session() {
    let bounds = Bounds {
        sessions: Some(3),
        per_principal: Some(2),
        evict: Some(1),
        ..Bounds::default()
    };
    let store = bounds.store();
    let stranger = open(&store, "y");
    let calls = [(); 2].map(|()| store.create(info("x")).unwrap());
    pass(100.0).await;
    assert_eq!(store.create(info("x")).unwrap_err(), NoRoom::PrincipalFull);
    assert!(store.lives(stranger));
    drop(calls);
    // At both limits, its own session is enough.
    open(&store, "x");
    assert!(store.lives(stranger));
    assert_eq!(ended(&store, EndReason::EvictedPrincipal), 1);
    assert_eq!(ended(&store, EndReason::EvictedLru), 0);
    store.check();
}

#[tokio::test]
async fn buckets_last_as_long_as_their_sessions() {
    let bounds = Bounds {
        per_principal: Some(2),
        ..Bounds::default()
    };
    let store = bounds.store();
    let mut guards = Vec::new();
    for network in [Some([192, 0, 2, 1]), Some([192, 0, 2, 2]), None] {
        for expected in [None, None, Some(NoRoom::PrincipalFull)] {
            let created = store.create(anonymous(network));
            assert_eq!(created.as_ref().err(), expected.as_ref(), "{network:?}");
            guards.extend(created.ok());
        }
    }
    for _ in 0..5 {
        let shared = Principal::user(crate::auth::Issuer::TokenFile, "default", None);
        let info = SessionInfo {
            opener: Owner::new(shared, None),
            ..info("")
        };
        guards.push(store.create(info).unwrap());
    }
    assert_eq!(store.bucket_count(), 3);
    store.check();
    for guard in &guards {
        guard.end(EndReason::ClientDelete);
    }
    drop(guards);
    assert_eq!(store.bucket_count(), 0);
    for number in 0..1000 {
        let guard = store.create(info(&number.to_string())).unwrap();
        guard.end(EndReason::InitFailed);
    }
    assert_eq!(store.bucket_count(), 0);
    store.check();

    let unlimited = Bounds::default().store();
    let guard = unlimited.create(info("a")).unwrap();
    assert_eq!(unlimited.bucket_count(), 0);
    assert_eq!(guard.session().owner().bucket, None);
}

/// The entries looked at by an `initialize`.
fn examined(store: &Arc<SessionStore>, expected: Result<(), NoRoom>) -> usize {
    let before = store.examined();
    assert_eq!(store.create(info("new")).map(drop), expected);
    store.examined() - before
}

#[tokio::test(start_paused = true)]
async fn a_full_server_looks_at_few_of_its_hundred_thousand_sessions() {
    const SESSIONS: usize = 100_000;
    let store = evicting(SESSIONS, 60);
    let ids: Vec<_> = (0..SESSIONS).map(|_| open(&store, "a")).collect();
    let guards: Vec<_> = ids
        .iter()
        .map(|id| enter(&store, *id, "a").unwrap())
        .collect();
    pass(100.0).await;
    // All are busy. Each attempt goes on where the last one stopped, until all is known.
    let attempts = SESSIONS.div_ceil(4096);
    let looked: usize = (0..attempts)
        .map(|_| examined(&store, Err(NoRoom::Full)))
        .inspect(|looked| assert!(*looked <= 4096, "{looked}"))
        .sum();
    assert_eq!(looked, SESSIONS);
    for _ in 0..1000 {
        assert_eq!(examined(&store, Err(NoRoom::Full)), 0);
    }
    // All were used at about the same time, and nobody since.
    drop(guards);
    pass(100.0).await;
    let looked: usize = (0..1000).map(|_| examined(&store, Ok(()))).sum();
    assert!(looked <= 2000, "{looked}");
    // Half of them were used since, the other half is in the order of its use.
    for id in ids.iter().skip(1000).step_by(2) {
        let _ = enter(&store, *id, "a");
    }
    let looked: usize = (0..1000).map(|_| examined(&store, Ok(()))).sum();
    assert!(looked <= 10_000, "{looked}");
    assert_eq!(ended(&store, EndReason::EvictedLru), 2000);
    store.check();
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_is_found_behind_sessions_in_use() {
    let store = evicting(1000, 1);
    let ids: Vec<_> = (0..1000).map(|_| open(&store, "a")).collect();
    // The order of creation is not the order of use.
    for id in ids.iter().rev() {
        pass(0.01).await;
        drop(enter(&store, *id, "a").unwrap());
    }
    pass(10.0).await;
    for id in ids.iter().rev().take(500) {
        open(&store, "b");
        assert!(!store.lives(*id));
    }
    assert_eq!(ids.iter().filter(|id| store.lives(**id)).count(), 500);
    store.check();
}
