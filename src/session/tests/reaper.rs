//! The reaper, on a clock that moves when everybody waits.

use tokio::time::Instant;

use super::super::reaper::run;
use super::*;

#[tokio::test(start_paused = true)]
async fn sessions_end_on_time_and_idle_costs_nothing() {
    let bounds = Bounds {
        idle: Some(10),
        init: Some(4),
        ..Bounds::default()
    };
    let store = bounds.store();
    let stop = CancellationToken::new();
    let reaper = run(Arc::clone(&store), stop.clone());
    let sessions = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        for (speaks, seconds) in [(true, 10), (false, 4)] {
            let id = open(&store, "a");
            let guard = if speaks {
                enter(&store, id, "a").unwrap()
            } else {
                store.enter_stream(id, &principal("a")).unwrap()
            };
            let ended = guard.session().ended();
            drop(guard);
            let start = Instant::now();
            ended.cancelled().await;
            let lived = start.elapsed();
            assert!(lived >= Duration::from_secs(seconds), "{lived:?}");
            assert!(
                lived < Duration::from_millis(seconds * 1000 + 250),
                "{lived:?}"
            );
        }
        tokio::time::sleep(Duration::from_secs(100_000)).await;
        stop.cancel();
    };
    tokio::join!(reaper, sessions);
    let statistics = store.statistics();
    assert!(statistics.reaper_runs <= 8, "{statistics:?}");
    assert_eq!(statistics.sessions_reaped_total, 2);
    assert!(statistics.reaper_lag < 0.25, "{statistics:?}");
    assert!(statistics.reaper_last_run.unwrap() > 1.7e9);
    store.check();
}

#[tokio::test(start_paused = true)]
async fn a_mass_expiry_comes_in_portions() {
    let bounds = Bounds {
        idle: Some(10),
        ..Bounds::default()
    };
    let store = bounds.store();
    let start = Instant::now();
    for _ in 0..1000 {
        open(&store, "a");
    }
    let mut portions = Vec::new();
    let now = 12_000;
    loop {
        let swept = store.sweep(now);
        portions.push(swept.ended);
        match swept.next {
            Some(next) => assert!(next <= start + Duration::from_millis(now)),
            None => break,
        }
    }
    assert_eq!(portions, [256, 256, 256, 232]);
    let lag = store.statistics().reaper_lag;
    assert!((lag - 2.0).abs() < 1e-9, "{lag}");
    assert_eq!(ended(&store, EndReason::Idle), 1000);
    store.check();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_outlives_everything_is_not_polled_for() {
    let bounds = Bounds {
        unused: Some(5),
        max_age: Some(50),
        ..Bounds::default()
    };
    let store = bounds.store();
    let stop = CancellationToken::new();
    let reaper = run(Arc::clone(&store), stop.clone());
    let session = async {
        let id = open(&store, "a");
        let stream = store.enter_stream(id, &principal("a")).unwrap();
        let told = stream.session().ended();
        let start = Instant::now();
        told.cancelled().await;
        assert_eq!(start.elapsed().as_secs(), 50);
        let call = store.create(info("a")).unwrap();
        tokio::time::sleep(Duration::from_secs(1000)).await;
        drop(call);
        stop.cancel();
    };
    tokio::join!(reaper, session);
    assert_eq!(ended(&store, EndReason::MaxAge), 1);
    assert_eq!(ended(&store, EndReason::Unused), 1);
    assert!(store.statistics().reaper_runs <= 8);
    store.check();
}
