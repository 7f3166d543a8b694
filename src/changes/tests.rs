use std::future::Future;

use super::*;

const ALL: Lists<bool> = Lists {
    tools: true,
    prompts: true,
    resources: true,
};

fn resource(uri: &str) -> Change {
    Change::Resource(uri.into())
}

/// What a listener is told within a second.
async fn told(listener: &Listener) -> Vec<Change> {
    let until = Instant::now() + Duration::from_secs(1);
    let mut told = Vec::new();
    while let Ok(change) = tokio::time::timeout_at(until, listener.next()).await {
        told.push(change);
    }
    told
}

/// What is served is never replaced.
#[derive(Debug)]
pub(crate) struct AlwaysTheSame;

impl View for AlwaysTheSame {
    fn lists(&self) -> Lists<u64> {
        Lists::default()
    }

    fn has(&self, _: &str) -> bool {
        true
    }

    fn sees(&self, _: &str) -> bool {
        true
    }
}

/// Runs a test on a clock that goes on only when nothing else is to be done.
fn paused(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(test);
}

#[test]
fn everybody_hears_what_they_asked_for_from_then_on() {
    paused(async {
        let changes = Changes::default();
        changes.announce(Change::Tools);
        changes.announce(resource("a"));
        let all = changes.listen(ALL, AlwaysTheSame);
        let prompts = changes.listen(
            Lists {
                prompts: true,
                ..Lists::default()
            },
            AlwaysTheSame,
        );
        let nothing = changes.listen(Lists::default(), AlwaysTheSame);
        all.subscribe("a").unwrap();
        all.subscribe("a").unwrap();
        nothing.subscribe("b").unwrap();
        assert_eq!(changes.subscriptions(), 2);
        for change in [
            Change::Prompts,
            Change::Resources,
            resource("a"),
            resource("b"),
        ] {
            changes.announce(change);
        }
        let expected = [Change::Prompts, Change::Resources, resource("a")];
        assert_eq!(told(&all).await, expected);
        assert_eq!(told(&prompts).await, [Change::Prompts]);
        assert_eq!(told(&nothing).await, [resource("b")]);
    });
}

#[test]
fn who_unsubscribes_or_leaves_hears_nothing_and_holds_nothing() {
    paused(async {
        let changes = Changes::default();
        let first = changes.listen(ALL, AlwaysTheSame);
        let second = changes.listen(ALL, AlwaysTheSame);
        for listener in [&first, &second] {
            listener.subscribe("a").unwrap();
        }
        changes.announce(resource("a"));
        first.unsubscribe("a");
        first.unsubscribe("a");
        first.unsubscribe("never");
        assert_eq!(told(&first).await, []);
        assert_eq!(told(&second).await, [resource("a")]);
        assert_eq!(changes.subscriptions(), 1);
        drop(second);
        assert_eq!(changes.subscriptions(), 0);
        assert!(changes.0.subscribers.lock().of.is_empty());
    });
}

#[test]
fn a_million_announcements_are_one_change_now_and_one_later() {
    paused(async {
        let changes = Changes::default();
        let listener = changes.listen(ALL, AlwaysTheSame);
        listener.subscribe("a").unwrap();
        let flood = || {
            for _ in 0..1_000_000 {
                changes.announce(Change::Tools);
            }
            for _ in 0..1000 {
                changes.announce(resource("a"));
            }
        };
        flood();
        assert_eq!(listener.next().await, Change::Tools);
        let first = Instant::now();
        flood();
        assert_eq!(listener.next().await, resource("a"));
        assert_eq!(listener.next().await, Change::Tools);
        assert!(first.elapsed() >= PACE, "{:?}", first.elapsed());
        assert_eq!(told(&listener).await, [resource("a")]);
    });
}

#[test]
fn nothing_is_lost_while_nobody_asks() {
    paused(async {
        let changes = Changes::default();
        let listener = changes.listen(ALL, AlwaysTheSame);
        listener.subscribe("a").unwrap();
        let early = tokio::time::timeout(Duration::from_secs(5), listener.next()).await;
        assert!(early.is_err(), "{early:?}");
        changes.announce(Change::Resources);
        changes.announce(resource("a"));
        tokio::time::sleep(Duration::from_hours(1)).await;
        assert_eq!(told(&listener).await, [Change::Resources, resource("a")]);
    });
}

#[test]
fn of_two_who_read_one_listener_each_change_is_told_to_one() {
    paused(async {
        let changes = Changes::default();
        let listener = changes.listen(ALL, AlwaysTheSame);
        let (first, second, ()) = tokio::join!(told(&listener), told(&listener), async {
            changes.announce(Change::Tools);
            tokio::time::sleep(2 * PACE).await;
            changes.announce(Change::Prompts);
        });
        assert_eq!(first.len() + second.len(), 2, "{first:?} {second:?}");
    });
}

#[test]
fn subscriptions_are_bounded() {
    let changes = Changes::default();
    let listener = changes.listen(Lists::default(), AlwaysTheSame);
    for number in 0..MAX_SUBSCRIPTIONS {
        listener.subscribe(&number.to_string()).unwrap();
    }
    assert_eq!(listener.subscribe("more"), Err(TooMany));
    assert_eq!(listener.subscribe("0"), Ok(()), "it is one already");
    listener.unsubscribe("0");
    assert_eq!(listener.subscribe("more"), Ok(()));
    assert_eq!(changes.subscriptions(), MAX_SUBSCRIPTIONS);
}

#[test]
fn the_uris_of_subscriptions_are_bounded() {
    let changes = Changes::default();
    let listener = changes.listen(Lists::default(), AlwaysTheSame);
    let long = |number: usize| format!("{number:02}{}", "x".repeat(MAX_SUBSCRIBED_BYTES / 64 - 2));
    for number in 0..64 {
        listener.subscribe(&long(number)).unwrap();
    }
    assert_eq!(listener.subscribe("x"), Err(TooMany));
    listener.unsubscribe(&long(0));
    assert_eq!(listener.subscribe("x"), Ok(()));
    assert_eq!(listener.subscribe(&long(0)), Err(TooMany));
}

#[derive(Debug, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Source for Log {
    fn watch(&self, uri: &str) {
        self.0.lock().push(format!("+{uri}"));
    }

    fn unwatch(&self, uri: &str) {
        self.0.lock().push(format!("-{uri}"));
    }

    fn settled(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[test]
fn a_resource_is_watched_as_long_as_somebody_is_subscribed() {
    let log = Log::default();
    let seen = Arc::clone(&log.0);
    let changes = Changes::default();
    changes.watch_with(Box::new(log));
    let first = changes.listen(ALL, AlwaysTheSame);
    let second = changes.listen(ALL, AlwaysTheSame);
    first.subscribe("a").unwrap();
    second.subscribe("a").unwrap();
    second.subscribe("b").unwrap();
    first.unsubscribe("a");
    assert_eq!(*seen.lock(), ["+a", "+b"]);
    second.unsubscribe("a");
    assert_eq!(*seen.lock(), ["+a", "+b", "-a"]);
    first.subscribe("a").unwrap();
    drop((first, second));
    assert_eq!(seen.lock().len(), 6, "{:?}", seen.lock());
}

/// What somebody sees, as the test has it.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<Mutex<Lists<u64>>>);

impl View for Seen {
    fn lists(&self) -> Lists<u64> {
        *self.0.lock()
    }

    fn has(&self, uri: &str) -> bool {
        uri != "hidden"
    }

    fn sees(&self, tool: &str) -> bool {
        tool != "hidden"
    }
}

#[test]
fn a_replacement_is_told_to_whoever_sees_another_list() {
    paused(async {
        let changes = Changes::default();
        let (one, other) = (Seen::default(), Seen::default());
        let sees_one = changes.listen(ALL, one.clone());
        let sees_other = changes.listen(ALL, other.clone());
        one.0.lock().prompts = 1;
        changes.replaced();
        assert_eq!(told(&sees_one).await, [Change::Prompts]);
        assert_eq!(told(&sees_other).await, []);
        changes.replaced();
        assert_eq!(told(&sees_one).await, []);
        // Other eyes see something else, without a replacement.
        sees_other.look_with(one.clone());
        assert_eq!(told(&sees_other).await, [Change::Prompts]);
    });
}

#[test]
fn nobody_hears_of_a_resource_that_is_hidden() {
    paused(async {
        let changes = Changes::default();
        let listener = changes.listen(ALL, Seen::default());
        for uri in ["hidden", "shown"] {
            listener.subscribe(uri).unwrap();
            changes.announce(resource(uri));
        }
        assert_eq!(told(&listener).await, [resource("shown")]);
    });
}

#[test]
fn a_tool_is_heard_by_those_who_see_it() {
    paused(async {
        let changes = Changes::default();
        let sees_all = changes.listen(ALL, AlwaysTheSame);
        let sees_some = changes.listen(ALL, Seen::default());
        for _ in 0..2 {
            changes.announce_by("hidden", Change::Tools);
            changes.announce_by("shown", Change::Prompts);
            assert_eq!(told(&sees_all).await, [Change::Tools, Change::Prompts]);
            assert_eq!(told(&sees_some).await, [Change::Prompts]);
        }
    });
}

#[test]
fn who_listens_later_hears_what_changed_since_the_mark() {
    paused(async {
        let changes = Changes::default();
        let view = Seen::default();
        changes.announce(Change::Resources);
        let mark = changes.mark(&view);
        let same = changes.listen_since(mark, ALL, view.clone());
        assert_eq!(told(&same).await, []);
        changes.announce(Change::Tools);
        view.0.lock().prompts = 1;
        changes.replaced();
        let late = changes.listen_since(mark, ALL, view.clone());
        assert_eq!(told(&late).await, [Change::Tools, Change::Prompts]);
        assert_eq!(told(&late).await, []);
    });
}
