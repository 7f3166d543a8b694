//! When sessions end, with and without a sweep.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_idle_session_ends_at_its_timeout() {
    let bounds = Bounds {
        idle: Some(10),
        ..Bounds::default()
    };
    let store = bounds.store();
    let id = open(&store, "a");
    assert_eq!(store.sweep(9_999).ended, 0);
    assert_eq!(store.sweep(10_000).ended, 1);
    assert_eq!(enter(&store, id, "a").unwrap_err(), Refused::NotFound);
    assert_eq!(ended(&store, EndReason::Idle), 1);
    assert_eq!(failed(&store, LookupFailure::Expired), 1);
    store.check();
}

#[tokio::test(start_paused = true)]
async fn use_puts_the_end_off_and_the_sweep_says_when() {
    let bounds = Bounds {
        idle: Some(10),
        ..Bounds::default()
    };
    let store = bounds.store();
    let start = tokio::time::Instant::now();
    let id = open(&store, "a");
    pass(6.0).await;
    drop(enter(&store, id, "a").unwrap());
    let swept = store.sweep(10_000);
    assert_eq!(swept.ended, 0);
    assert_eq!(swept.next, Some(start + Duration::from_secs(16)));
    assert_eq!(store.sweep(16_000).ended, 1);
    assert_eq!(store.sweep(16_000).next, None);
    store.check();
}

#[tokio::test(start_paused = true)]
async fn a_held_session_outlives_every_sweep() {
    let bounds = Bounds {
        idle: Some(10),
        ..Bounds::default()
    };
    let store = bounds.store();
    let guard = store.create(info("a")).unwrap();
    let id = guard.session().id();
    assert_eq!(store.sweep(10_000_000).ended, 0);
    let call = guard.another().unwrap();
    drop(guard);
    assert_eq!(store.sweep(20_000_000).ended, 0);
    let stream = store.enter_stream(id, &principal("a")).unwrap();
    drop(call);
    assert_eq!(store.sweep(30_000_000).ended, 0);
    drop(stream);
    assert_eq!(store.sweep(40_000_000).ended, 1);
    store.check();
}

#[tokio::test(start_paused = true)]
async fn a_late_sweep_lengthens_no_life() {
    type Find = fn(&Arc<SessionStore>, SessionId) -> Option<Refused>;
    let bounds = Bounds {
        idle: Some(10),
        max_age: Some(100),
        ..Bounds::default()
    };
    let store = bounds.store();
    let uses: [Find; 3] = [
        |store, id| store.enter(id, &principal("a")).err(),
        |store, id| store.enter_stream(id, &principal("a")).err(),
        |store, id| store.delete(id, &principal("a")).err(),
    ];
    for (count, find) in (1..).zip(uses) {
        let id = open(&store, "a");
        pass(10.0).await;
        assert_eq!(find(&store, id), Some(Refused::NotFound), "{count}");
        assert_eq!(ended(&store, EndReason::Idle), count);
        assert_eq!(failed(&store, LookupFailure::Expired), count);
    }
    assert_eq!(store.sweep(1_000_000).next, None, "nothing is left behind");
    store.check();
}

#[tokio::test(start_paused = true)]
async fn a_session_that_calls_nothing_ends_earlier() {
    let bounds = Bounds {
        idle: Some(10),
        unused: Some(6),
        init: Some(2),
        ..Bounds::default()
    };
    let store = bounds.store();
    let [silent, unused, used] = [(); 3].map(|()| open(&store, "a"));
    drop(enter(&store, unused, "a").unwrap());
    enter(&store, used, "a").unwrap().session().note_call();
    let start = tokio::time::Instant::now();
    let second = |at: u64| Some(start + Duration::from_secs(at));
    assert_eq!(store.sweep(1_999).next, second(2));
    let swept = store.sweep(2_000);
    assert_eq!((swept.ended, swept.next), (1, second(6)));
    assert!(!store.lives(silent));
    assert_eq!(store.sweep(5_999).ended, 0);
    let swept = store.sweep(6_000);
    assert_eq!((swept.ended, swept.next), (1, second(10)));
    assert!(!store.lives(unused) && store.lives(used));
    assert_eq!(store.sweep(10_000).ended, 1);
    for reason in [EndReason::InitTimeout, EndReason::Unused, EndReason::Idle] {
        assert_eq!(ended(&store, reason), 1, "{reason:?}");
    }
    store.check();
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_was_held_up_is_kept_by_the_holder() {
    let bounds = Bounds {
        unused: Some(5),
        ..Bounds::default()
    };
    let store = bounds.store();
    let id = open(&store, "a");
    let stream = store.enter_stream(id, &principal("a")).unwrap();
    pass(20.0).await;
    let swept = store.sweep(store.now());
    assert_eq!((swept.ended, swept.next), (0, None), "nothing to wait for");
    drop(enter(&store, id, "a").unwrap());
    drop(stream);
    assert!(!store.lives(id));
    assert_eq!(ended(&store, EndReason::Unused), 1);
    store.check();
}

#[tokio::test(start_paused = true)]
async fn an_old_session_finishes_its_calls_and_takes_no_more() {
    let bounds = Bounds {
        idle: Some(10),
        max_age: Some(30),
        ..Bounds::default()
    };
    let store = bounds.store();
    let guard = store.create(info("a")).unwrap();
    let id = guard.session().id();
    let stream = store.enter_stream(id, &principal("a")).unwrap();
    let told = stream.session().ended();
    pass(30.0).await;
    assert_eq!(store.sweep(store.now()).ended, 0);
    assert_eq!(enter(&store, id, "a").unwrap_err(), Refused::NotFound);
    let call = guard.another().expect("what was begun is finished");
    drop(guard);
    assert!(!told.is_cancelled());
    pass(5.0).await;
    drop(call);
    assert!(told.is_cancelled());
    assert_eq!(ended(&store, EndReason::MaxAge), 1);
    assert_eq!(failed(&store, LookupFailure::Expired), 1);
    drop(stream);

    let id = open(&store, "a");
    let _stream = store.enter_stream(id, &principal("a")).unwrap();
    assert_eq!(store.sweep(store.now() + 29_999).ended, 0);
    assert_eq!(store.sweep(store.now() + 30_000).ended, 1, "only a stream");
    store.check();
}

#[tokio::test]
async fn another_principal_finds_nothing() {
    let store = Bounds::default().store();
    let id = open(&store, "a");
    for other in [principal("b"), Principal::Anonymous] {
        let refused = Some(Refused::NotFound);
        assert_eq!(store.enter(id, &other).err(), refused);
        assert_eq!(store.enter_stream(id, &other).err(), refused);
        assert_eq!(store.delete(id, &other).err(), refused);
    }
    assert!(enter(&store, id, "a").is_ok());
    assert_eq!(failed(&store, LookupFailure::PrincipalMismatch), 6);
    assert_eq!(store.statistics().lookups_failed.total(), 6);
}

#[tokio::test]
async fn an_end_happens_once_and_is_told() {
    let store = Bounds::default().store();
    let guard = store.create(info("a")).unwrap();
    let session = guard.session();
    let stream = store.enter_stream(session.id(), &principal("a")).unwrap();
    let token = session.ended();
    assert!(!token.is_cancelled());
    assert!(guard.end(EndReason::ClientDelete));
    assert!(!guard.end(EndReason::Shutdown));
    assert!(token.is_cancelled() && session.ended().is_cancelled());
    assert!(guard.another().is_none());
    assert_eq!(store.end_all(EndReason::Shutdown), 0);
    assert_eq!(ended(&store, EndReason::ClientDelete), 1);
    assert_eq!(ended(&store, EndReason::Shutdown), 0);
    drop(stream);
    store.check();
}

#[tokio::test]
async fn the_sixty_fourth_stream_is_refused() {
    let store = Bounds::default().store();
    let id = open(&store, "a");
    let stream = || store.enter_stream(id, &principal("a"));
    let streams: Vec<_> = (0..63).map(|_| stream().unwrap()).collect();
    assert_eq!(stream().unwrap_err(), Refused::Crowded);
    assert!(enter(&store, id, "a").is_ok());
    drop(streams);
    assert!(stream().is_ok());
}

#[tokio::test]
async fn calls_are_found_by_their_ids() {
    let store = Bounds::default().store();
    let guard = store.create(info("a")).unwrap();
    let session = guard.session();
    let tokens = [(); 3].map(|()| CancellationToken::new());
    let register = |number: usize, id| {
        let cancel = tokens[number].clone();
        session.register_call(number as u64, RequestKey::Number(id), cancel)
    };
    assert!(!register(0, 7));
    assert!(!register(1, 8));
    assert!(register(2, 7), "another call has this id");
    assert_eq!(session.cancel_calls(&RequestKey::Number(7)), 2);
    let cancelled = tokens.each_ref().map(CancellationToken::is_cancelled);
    assert_eq!(cancelled, [true, false, true]);
    for number in 0..3 {
        session.forget_call(number);
    }
    assert_eq!(session.cancel_calls(&RequestKey::Number(8)), 0);
    assert_eq!(session.running.lock().calls.capacity(), 0);
}

#[tokio::test]
async fn sessions_end_by_their_owner() {
    let store = Bounds::default().store();
    let ids = ["a", "b", "a"].map(|subject| open(&store, subject));
    let is_a = |session: &Session| session.owner().principal == principal("a");
    assert_eq!(store.end_where(EndReason::Revoked, is_a), 2);
    assert_eq!(ids.map(|id| store.lives(id)), [false, true, false]);
    assert_eq!(store.end_all(EndReason::Shutdown), 1);
    store.check();
}

#[test]
fn a_flood_leaves_no_room_behind() {
    let store = Bounds::default().store();
    let ids: Vec<_> = (0..20_000).map(|_| open(&store, "a")).collect();
    assert!(store.room() >= 20_000);
    let (kept, others) = ids.split_at(100);
    for id in others {
        store.delete(*id, &principal("a")).unwrap();
    }
    assert!(store.room() <= 2000, "{}", store.room());
    assert!(kept.iter().all(|id| store.lives(*id)));
    store.check();
}
