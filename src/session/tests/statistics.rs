//! What is reported.

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::json;

use super::super::list::Sort;
use super::*;

#[tokio::test(start_paused = true)]
async fn a_snapshot_says_what_there_is() {
    let bounds = Bounds {
        idle: Some(1000),
        sessions: Some(50),
        ..Bounds::default()
    };
    let store = bounds.store();
    open(&store, "a");
    pass(100.0).await;
    let spoken = open(&store, "a");
    drop(enter(&store, spoken, "a").unwrap());
    let busy = open(&store, "a");
    let _work = enter(&store, busy, "a").unwrap();
    let _stream_of_busy = store.enter_stream(busy, &principal("a")).unwrap();
    let streaming = open(&store, "a");
    let _stream = store.enter_stream(streaming, &principal("a")).unwrap();
    let old = SessionInfo {
        version: ProtocolVersion::V2025_03_26,
        ..info("a")
    };
    store.create(old).unwrap().end(EndReason::InitFailed);
    assert!(store.enter(SessionId::random(), &principal("a")).is_err());
    store.note_lookup_failed(LookupFailure::Unknown);
    pass(1.5).await;
    store.check();
    let statistics = serde_json::to_value(store.statistics()).unwrap();
    let expected = json!({
        "active_sessions": 4,
        "max_active_sessions": 50,
        "total_sessions_created": 5,
        "sessions_created": {"2026-07-28": 0, "2025-11-25": 4, "2025-06-18": 0, "2025-03-26": 1},
        "sessions_created_last_60s": 4,
        "session_idle_timeout": 1000.0,
        "sessions": {"initializing": 1, "idle": 1, "busy": 1, "streaming": 1},
        "sessions_ended": {
            "client_delete": 0, "idle": 0, "unused": 0, "evicted_lru": 0, "evicted_principal": 0,
            "init_timeout": 0, "init_failed": 1, "max_age": 0, "revoked": 0, "crash": 0,
            "shutdown": 0,
        },
        "sessions_reaped_total": 0,
        "sessions_claimed_total": 0,
        "sessions_rejected": {"max_sessions": 0, "principal_limit": 0, "rate": 0, "draining": 0},
        "lookups_failed": {
            "expired": 0, "deleted": 0, "evicted": 0, "unknown": 2, "principal_mismatch": 0,
        },
        "reaper_runs": 0,
        "reaper_lag": 0.0,
        "reaper_last_run": null,
        "oldest_session_age": 101.5,
        "longest_idle": 101.5,
    });
    assert_eq!(statistics, expected);
}

#[tokio::test(start_paused = true)]
async fn failed_look_ups_are_told_apart() {
    let store = Bounds::default().store();
    let expected = [
        (EndReason::Idle, LookupFailure::Expired),
        (EndReason::Unused, LookupFailure::Expired),
        (EndReason::InitTimeout, LookupFailure::Expired),
        (EndReason::MaxAge, LookupFailure::Expired),
        (EndReason::ClientDelete, LookupFailure::Deleted),
        (EndReason::InitFailed, LookupFailure::Deleted),
        (EndReason::Revoked, LookupFailure::Deleted),
        (EndReason::EvictedLru, LookupFailure::Evicted),
        (EndReason::EvictedPrincipal, LookupFailure::Evicted),
        (EndReason::Crash, LookupFailure::Unknown),
        (EndReason::Shutdown, LookupFailure::Unknown),
    ];
    assert_eq!(expected.len(), EndReason::ALL.len());
    for (reason, why) in expected {
        let guard = store.create(info("a")).unwrap();
        let id = guard.session().id();
        guard.end(reason);
        let before = failed(&store, why);
        assert_eq!(enter(&store, id, "a").unwrap_err(), Refused::NotFound);
        assert_eq!(failed(&store, why), before + 1, "{reason:?}");
    }
    for _ in 0..10_000 {
        assert!(enter(&store, SessionId::random(), "a").is_err());
    }
    assert_eq!(failed(&store, LookupFailure::Unknown), 10_002);
    store.check();
}

#[tokio::test(start_paused = true)]
async fn distributions_are_observed() {
    let bounds = Bounds {
        idle: Some(100),
        ..Bounds::default()
    };
    let store = bounds.store();
    let id = open(&store, "a");
    for gap in [1.5, 40.0] {
        pass(gap).await;
        let guard = enter(&store, id, "a").unwrap();
        guard.session().note_request(Method::Ping);
        // A use of a session in use has no gap.
        drop(enter(&store, id, "a").unwrap());
    }
    pass(100.0).await;
    store.run_reaper();
    let histograms = store.histograms().clone();
    let mut registry = Registry::default();
    registry.register("duration", "-", histograms.duration);
    registry.register("requests", "-", histograms.requests);
    registry.register("idle_at_reap", "-", histograms.idle_at_reap);
    registry.register("reuse_gap", "-", histograms.reuse_gap);
    registry.register("run", "-", histograms.reaper_run_duration);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for line in [
        "duration_sum 141.5",
        "duration_bucket{le=\"120.0\"} 0",
        "duration_bucket{le=\"86400.0\"} 1",
        "requests_sum 2.0",
        "requests_bucket{le=\"2.0\"} 1",
        "idle_at_reap_sum 100.0",
        "reuse_gap_sum 41.5",
        "reuse_gap_count 2",
        "run_count 1",
        "run_bucket{le=\"300.0\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_are_listed_in_pages() {
    let store = Bounds::default().store();
    let mut ids = Vec::new();
    for number in 0..200_u32 {
        let id = open(&store, if number % 2 == 0 { "even" } else { "odd" });
        ids.push(id.to_string());
        let guard = store.enter(id, &principal("even"));
        for _ in 0..number {
            if let Ok(guard) = &guard {
                guard.session().note_request(Method::ListTools);
            }
        }
        drop(guard);
        pass(1.0).await;
    }
    for (offset, limit, expected) in [(0, 3, 0..3), (50, 100, 50..150), (190, 50, 190..200)] {
        let page = store.list(Sort::Age, offset, limit);
        let found: Vec<_> = page.into_iter().map(|summary| summary.session).collect();
        assert_eq!(found, ids[expected], "{offset} {limit}");
    }
    assert!(store.list(Sort::Idle, 200, 10).is_empty());
    assert!(store.list(Sort::Idle, usize::MAX, usize::MAX).is_empty());
    assert!(store.list(Sort::Idle, 0, 0).is_empty());
    assert_eq!(store.list(Sort::InFlight, 0, usize::MAX).len(), 200);

    let page = store.list(Sort::Requests, 0, 2);
    let summary = &page[0];
    assert_eq!(summary.session, ids[198]);
    assert_eq!((summary.requests, page[1].requests), (198, 196));
    assert_eq!(summary.principal, page[1].principal);
    assert_eq!(summary.principal.len(), 16);
    let odd = &store.list(Sort::Age, 1, 1)[0];
    assert_ne!(summary.principal, odd.principal);
    assert_eq!((summary.age, summary.idle), (2.0, 2.0));
    assert_eq!((summary.state, odd.state), ("idle", "initializing"));
    assert_eq!(summary.last_method, Some("tools/list"));
    assert_eq!((odd.last_method, odd.requests), (None, 0));
    assert_eq!(&*summary.client, "test/1");
    assert_eq!(summary.protocol, "2025-11-25");
}

#[tokio::test]
async fn methods_are_remembered_by_name_if_they_are_known() {
    let store = Bounds::default().store();
    let guard = store.create(info("a")).unwrap();
    let session = guard.session();
    assert_eq!(session.last_method(), None);
    for (method, remembered) in [
        ("ping", Method::Ping),
        ("tools/call", Method::CallTool),
        ("", Method::Other),
        ("made/up", Method::Other),
        ("other", Method::Other),
    ] {
        session.note_request(Method::named(method));
        assert_eq!(session.last_method(), Some(remembered), "{method}");
    }
    assert_eq!(session.requests(), 5);
}
