//! Sessions that were opened without a credential, and come to belong to whoever brings one.

use super::*;

const NOBODY: Principal = Principal::Anonymous;

/// A session that was opened without a credential; its id.
fn open_anonymously(store: &Arc<SessionStore>) -> SessionId {
    let network = Some([192, 0, 2, 1]);
    store.create(anonymous(network)).unwrap().session().id()
}

#[tokio::test]
async fn the_first_principal_gets_the_session_and_nobody_else() {
    let store = Bounds::default().store();
    let id = open_anonymously(&store);
    assert!(store.enter(id, &NOBODY).is_ok());
    let stream = store.enter_stream(id, &NOBODY).unwrap();
    let told = stream.session().claimed();
    assert!(!told.is_cancelled());

    let guard = enter(&store, id, "a").unwrap();
    assert_eq!(guard.session().owner().principal, principal("a"));
    assert!(told.is_cancelled() && guard.session().claimed().is_cancelled());
    assert!(!guard.session().ended().is_cancelled());
    for other in [principal("b"), NOBODY] {
        let refused = Some(Refused::NotFound);
        assert_eq!(store.enter(id, &other).err(), refused);
        assert_eq!(store.enter_stream(id, &other).err(), refused);
        assert_eq!(store.delete(id, &other).err(), refused);
        assert_eq!(store.version(id, &other), None);
    }
    assert_eq!(failed(&store, LookupFailure::PrincipalMismatch), 6);
    drop((guard, stream));
    assert!(enter(&store, id, "a").is_ok());
    assert_eq!(store.statistics().sessions_claimed_total, 1);
    assert_eq!(store.statistics().sessions_ended.total(), 0);
    store.check();
    let is_a = |session: &Session| session.owner().principal == principal("a");
    assert_eq!(store.end_where(EndReason::Revoked, is_a), 1);
    store.check();
}

#[tokio::test]
async fn a_session_is_claimed_where_it_was_opened() {
    let store = Bounds::default().store();
    let info = SessionInfo {
        toolset: Some("ops".into()),
        version: ProtocolVersion::V2025_03_26,
        ..anonymous(None)
    };
    let id = store.create(info).unwrap().session().id();
    let alice = principal("a");
    assert_eq!(store.enter(id, &alice).unwrap_err(), Refused::NotFound);
    assert!(store.delete(id, &alice).is_err());
    let at_home = Entrant {
        principal: &alice,
        toolset: Some("ops"),
    };
    // To ask for the version claims nothing, and neither does the end.
    let version = store.version(id, at_home);
    assert_eq!(version, Some(ProtocolVersion::V2025_03_26));
    assert_eq!(store.statistics().sessions_claimed_total, 0);
    assert!(store.delete(id, at_home).is_ok());
    assert_eq!(ended(&store, EndReason::ClientDelete), 1);
    store.check();
}

#[tokio::test(start_paused = true)]
async fn who_claims_a_session_has_one_more() {
    let bounds = Bounds {
        per_principal: Some(2),
        evict: Some(60),
        ..Bounds::default()
    };
    let store = bounds.store();
    let unclaimed = [(); 2].map(|()| open_anonymously(&store));
    let own = open(&store, "a");
    pass(1.0).await;
    let claimed = enter(&store, unclaimed[0], "a").unwrap();
    store.check();
    // Who came without a credential has room again.
    let third = open_anonymously(&store);
    assert_eq!(
        store.create(anonymous(Some([192, 0, 2, 1]))).unwrap_err(),
        NoRoom::PrincipalFull
    );
    store.check();

    // At the limit the own session that was idle for longest makes room.
    let second = enter(&store, unclaimed[1], "a").unwrap();
    assert!(!store.lives(own));
    assert_eq!(ended(&store, EndReason::EvictedPrincipal), 1);
    // Both of them are busy: the third stays where it is.
    assert_eq!(
        enter(&store, third, "a").unwrap_err(),
        Refused::PrincipalFull
    );
    let rejected = store.statistics().sessions_rejected;
    assert_eq!(rejected.get("principal_limit"), 2);
    assert!(store.enter(third, &NOBODY).is_ok());
    assert!(enter(&store, third, "b").is_ok());
    store.check();

    drop((claimed, second));
    assert_eq!(store.statistics().sessions_claimed_total, 3);
    // What was claimed makes room like any other, in the order of its use.
    pass(1.0).await;
    drop(enter(&store, unclaimed[0], "a").unwrap());
    open(&store, "a");
    assert!(store.lives(unclaimed[0]) && !store.lives(unclaimed[1]));
    store.check();
    store.end_all(EndReason::Shutdown);
    assert_eq!(store.bucket_count(), 0);
    store.check();
}

#[tokio::test]
async fn who_came_before_a_claim_does_nothing_after_it() {
    let store = Bounds::default().store();
    let id = open_anonymously(&store);
    let guest = store.enter_stream(id, &NOBODY).unwrap();
    let session = guest.session();
    assert_eq!(session.while_of(&NOBODY, || 1), Some(1));
    assert_eq!(session.while_of(&principal("a"), || 1), None);
    let _claimed = enter(&store, id, "a").unwrap();
    assert_eq!(session.while_of(&NOBODY, || 1), None);
    assert_eq!(session.while_of(&principal("a"), || 1), Some(1));
}

#[tokio::test]
async fn a_claim_that_comes_too_late_costs_nothing() {
    let bounds = Bounds {
        per_principal: Some(1),
        evict: Some(0),
        ..Bounds::default()
    };
    let store = bounds.store();
    let id = open_anonymously(&store);
    let own = open(&store, "a");
    let guard = store.enter(id, &NOBODY).unwrap();
    store.delete(id, &NOBODY).unwrap();
    let refused = store.claim(&guard.session, &principal("a"), store.now());
    assert_eq!(refused, Err(Refused::NotFound));
    assert!(store.lives(own), "it cost nothing");
    assert_eq!(guard.session().owner().principal, NOBODY);
    assert_eq!(store.statistics().sessions_claimed_total, 0);
    store.check();
}

#[tokio::test]
async fn a_session_that_has_ended_is_claimed_by_nobody() {
    let bounds = Bounds {
        idle: Some(10),
        per_principal: Some(1),
        evict: Some(0),
        ..Bounds::default()
    };
    let store = bounds.store();
    let id = open_anonymously(&store);
    let own = open(&store, "a");
    let later = store.now() + 10_000;
    let refused = store.enter_at(id, &principal("a"), Use::Work, later);
    assert_eq!(refused.unwrap_err(), Refused::NotFound);
    assert!(store.lives(own), "it cost nothing");
    assert_eq!(store.statistics().sessions_claimed_total, 0);
    assert_eq!(failed(&store, LookupFailure::Expired), 1);
    store.check();
}
