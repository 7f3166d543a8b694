use std::cell::Cell;

use futures_util::future::join_all;
use tokio::time::sleep;

use super::*;

/// A server of keys that is asked by nobody but these tests.
#[derive(Default)]
struct Server {
    answer: Cell<Answer>,
    asked: Cell<usize>,
}

#[derive(Clone, Copy, Default)]
enum Answer {
    /// One key of this name.
    Key(&'static str),
    #[default]
    Failure,
    Nothing,
}

impl Server {
    fn of(key: &'static str) -> Self {
        let server = Self::default();
        server.answer.set(Answer::Key(key));
        server
    }

    async fn answer(&self) -> Result<Vec<u8>, Failed> {
        self.asked.set(self.asked.get() + 1);
        match self.answer.get() {
            Answer::Key(key) => Ok(document(key)),
            Answer::Failure => Err(Failed::Metadata("out of order")),
            Answer::Nothing => std::future::pending().await,
        }
    }
}

fn document(key: &str) -> Vec<u8> {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    format!(r#"{{"keys": [{{"kty": "OKP", "crv": "Ed25519", "x": "{x}", "kid": "{key}"}}]}}"#)
        .into()
}

fn keys() -> Keys {
    Keys::new(
        "https://id.example".into(),
        Source::Discovery,
        Fetcher::default(),
    )
}

/// What two times differ by that are not the same, so that nothing is due just then.
const MOMENT: Duration = Duration::from_millis(10);

/// Keys with one of this name, of which the last fetch was a moment ago and went well, or not.
pub(in crate::auth) fn fetched(key: &str, has_failed: bool) -> Keys {
    let keys = keys();
    keys.take(document(key)).unwrap();
    keys.fetches.send_modify(|fetches| {
        fetches.began = Some(Instant::now());
        fetches.has_failed = has_failed;
    });
    keys
}

/// Runs a test while somebody keeps the keys.
async fn while_kept<T>(keys: &Keys, server: &Server, test: impl Future<Output = T>) -> T {
    tokio::select! {
        () = keys.keep_by(|| server.answer()) => panic!("nobody keeps the keys any more"),
        done = test => done,
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_who_need_keys_wait_for_them() {
    let (keys, server) = (keys(), Server::of("one"));
    assert!(keys.current().is_none());
    while_kept(&keys, &server, async {
        let all = join_all((0..100).map(|_| keys.newer_than(None))).await;
        assert!(all.iter().all(Option::is_some));
        assert_eq!(server.asked.get(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_again_now_and_then_and_the_same_stay_the_same() {
    let (keys, server) = (keys(), Server::of("one"));
    while_kept(&keys, &server, async {
        let first = keys.newer_than(None).await.unwrap();
        sleep(REFRESH - MOMENT).await;
        assert_eq!(server.asked.get(), 1, "too early");
        sleep(REFRESH / 5 + 2 * MOMENT).await;
        assert_eq!(server.asked.get(), 2);
        assert!(keys.are(&first));
        server.answer.set(Answer::Key("two"));
        sleep(REFRESH * 6 / 5).await;
        assert_eq!(server.asked.get(), 3);
        assert!(!keys.are(&first));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn strangers_cause_one_fetch_in_each_cooldown() {
    let (keys, server) = (keys(), Server::of("one"));
    while_kept(&keys, &server, async {
        let known = keys.newer_than(None).await.unwrap();
        for fetches in 1..5 {
            for _ in 0..3 {
                let began = Instant::now();
                let flood = (0..1000).map(|_| keys.newer_than(Some(&known)));
                for found in join_all(flood).await {
                    assert!(Arc::ptr_eq(&found.unwrap(), &known));
                }
                assert_eq!(began.elapsed(), Duration::ZERO, "nobody waits");
                assert_eq!(server.asked.get(), fetches);
            }
            sleep(COOLDOWN).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_new_is_found() {
    let (keys, server) = (keys(), Server::of("one"));
    while_kept(&keys, &server, async {
        let old = keys.newer_than(None).await.unwrap();
        server.answer.set(Answer::Key("two"));
        let early = keys.newer_than(Some(&old)).await.unwrap();
        assert!(Arc::ptr_eq(&early, &old));
        sleep(COOLDOWN).await;
        let new = keys.newer_than(Some(&old)).await.unwrap();
        assert!(!Arc::ptr_eq(&new, &old));
        // Who knows the old ones only needs no fetch.
        let found = keys.newer_than(Some(&old)).await.unwrap();
        assert!(Arc::ptr_eq(&found, &new));
        assert_eq!(server.asked.get(), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_at_the_start_is_asked_again() {
    let (keys, server) = (keys(), Server::default());
    while_kept(&keys, &server, async {
        for _ in 0..100 {
            assert!(keys.newer_than(None).await.is_none());
        }
        assert_eq!(server.asked.get(), 1);
        server.answer.set(Answer::Key("one"));
        // Give or take a fifth.
        sleep(COOLDOWN * 6 / 5 + MOMENT).await;
        assert_eq!(server.asked.get(), 2);
        assert!(keys.current().is_some());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_long_where_no_answer_comes() {
    let (keys, server) = (keys(), Server::default());
    server.answer.set(Answer::Nothing);
    while_kept(&keys, &server, async {
        let began = Instant::now();
        let all = join_all((0..100).map(|_| keys.newer_than(None))).await;
        assert!(all.iter().all(Option::is_none));
        assert_eq!(began.elapsed(), MAX_WAIT);
        assert_eq!(server.asked.get(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_last_keys_are_good_for_a_day() {
    let (keys, server) = (keys(), Server::of("one"));
    while_kept(&keys, &server, async {
        let known = keys.newer_than(None).await.unwrap();
        server.answer.set(Answer::Failure);
        sleep(MAX_STALE * 99 / 100).await;
        assert!(keys.are(&known));
        sleep(MAX_STALE / 100).await;
        assert!(!keys.are(&known));
        assert!(keys.current().is_none());
        assert!(keys.newer_than(Some(&known)).await.is_none());
        server.answer.set(Answer::Key("one"));
        sleep(COOLDOWN * 6 / 5 + MOMENT).await;
        assert!(keys.are(&known), "they are the same");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_set_of_keys_changes_nothing() {
    let (keys, server) = (keys(), Server::of("one"));
    while_kept(&keys, &server, async {
        let known = keys.newer_than(None).await.unwrap();
        assert!(keys.take(b"<html>".to_vec()).is_err());
        assert!(keys.take(br#"{"keys": []}"#.to_vec()).is_err());
        assert!(keys.are(&known));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn keys_of_a_file_need_nobody_and_never_become_old() {
    let source = Source::File(Document::read(document("one")).unwrap());
    let keys = Keys::new("https://id.example".into(), source, Fetcher::default());
    let known = keys.current().unwrap();
    sleep(MAX_STALE * 2).await;
    let found = keys.newer_than(Some(&known)).await.unwrap();
    assert!(Arc::ptr_eq(&found, &known));
}
