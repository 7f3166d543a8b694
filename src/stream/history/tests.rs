use super::*;
use crate::auth::Principal;
use crate::metrics::{MessageKind, Metrics};
use crate::stream::{Next, Reply};

const LIMITS: Limits = Limits {
    bytes: 100,
    events: 5,
    age: Duration::from_mins(1),
};

fn nobody() -> Caller {
    Caller::new(Principal::Anonymous)
}

struct Stage {
    outbox: Arc<Outbox>,
    reader: Reader,
    beginning: EventId,
}

fn stage(history: &Arc<History>) -> Stage {
    let outbox = Outbox::for_replies(1, 1000, Arc::new(Metrics::new()));
    let reader = outbox.read();
    let beginning = reader.keep_in(history, None);
    Stage {
        outbox,
        reader,
        beginning,
    }
}

impl Stage {
    fn say(&self, text: &'static str) -> EventId {
        let data = Bytes::from_static(text.as_bytes());
        self.outbox.say(MessageKind::Progress, data);
        self.reader.position().unwrap()
    }

    fn reply(&self, text: &'static str) {
        self.outbox.reply(Reply::new(
            http::StatusCode::OK,
            Bytes::from_static(text.as_bytes()),
        ));
    }
}

async fn rest(resumed: Option<Resumed>) -> Option<Vec<Bytes>> {
    match resumed? {
        Resumed::Past(events) => Some(events.into_iter().map(|event| event.data).collect()),
        Resumed::Live(mut reader) => {
            let mut texts = Vec::new();
            while let Next::Event(event) = reader.next().await {
                texts.push(event.data);
            }
            Some(texts)
        }
    }
}

#[tokio::test]
async fn a_client_gets_what_it_missed_of_its_stream_only() {
    let history = History::new(LIMITS);
    let one = stage(&history);
    let other = stage(&history);
    let first = one.say("one");
    other.say("of another");
    one.say("two");
    drop(one.reader);
    one.outbox.reply(Reply::new(http::StatusCode::OK, "end"));
    let after_first = rest(history.resume(&first.to_string(), &nobody())).await;
    assert_eq!(after_first.unwrap(), ["two", "end"]);
    let all = rest(history.resume(&one.beginning.to_string(), &nobody())).await;
    assert_eq!(all.unwrap(), ["one", "two", "end"]);
    drop(one.outbox);
    let over = rest(history.resume(&first.to_string(), &nobody())).await;
    assert_eq!(over.unwrap(), ["two", "end"], "the call is over");
}

#[tokio::test]
async fn a_resumed_stream_goes_on() {
    let history = History::new(LIMITS);
    let stage = stage(&history);
    let first = stage.say("one");
    let Some(Resumed::Live(mut reader)) = history.resume(&first.to_string(), &nobody()) else {
        panic!("the stream is live");
    };
    stage.say("two");
    stage.reply("end");
    for expected in ["two", "end"] {
        let Next::Event(event) = reader.next().await else {
            panic!("{expected} is missing");
        };
        assert_eq!(event.data, expected);
    }
    assert_eq!(reader.next().await, Next::End);
    let mut replaced = stage.reader;
    assert_eq!(replaced.next().await, Next::Replaced);
}

#[tokio::test]
async fn words_may_be_gone_but_no_result() {
    let history = History::new(LIMITS);
    let one = stage(&history);
    let first = one.say("1");
    for text in ["2", "3", "4", "5", "6", "7"] {
        one.say(text);
    }
    one.reply("end");
    drop((one.reader, one.outbox));
    for id in [one.beginning, first] {
        let rest = rest(history.resume(&id.to_string(), &nobody())).await;
        assert_eq!(rest.unwrap(), ["4", "5", "6", "7", "end"]);
    }
    // The words of others do not take its place.
    let other = stage(&history);
    let mut last = other.beginning;
    for _ in 0..LIMITS.events {
        last = other.say("a text of more than fifty bytes, so that two are too many");
    }
    assert!(history.state.lock().bytes <= LIMITS.bytes);
    let missed = rest(history.resume(&first.to_string(), &nobody())).await;
    assert_eq!(missed.unwrap(), ["end"]);
    // Their results do in the end, and then the stream is unknown.
    for _ in 0..LIMITS.events {
        other.reply("end");
    }
    assert!(history.resume(&first.to_string(), &nobody()).is_none());
    assert_eq!(history.state.lock().events.len(), LIMITS.events);
    let after = rest(history.resume(&last.to_string(), &nobody())).await;
    assert_eq!(after.map(|texts| texts.len()), Some(LIMITS.events));
}

#[tokio::test]
async fn what_is_too_large_is_not_kept_and_takes_no_place() {
    const LARGE: &str = "a text of more than fifty bytes, so that two are too many, and that \
                         is longer still than all that is kept";
    let history = History::new(LIMITS);
    let (large, other) = (stage(&history), stage(&history));
    let said = other.say("1");
    let beginning = large.beginning.to_string();
    let word = large.say(LARGE);
    assert!(
        history.resume(&beginning, &nobody()).is_some(),
        "a word is no loss"
    );
    large.reply(LARGE);
    for id in [beginning, word.to_string()] {
        assert!(history.resume(&id, &nobody()).is_none(), "a result is");
    }
    other.reply("2");
    let all = rest(history.resume(&other.beginning.to_string(), &nobody())).await;
    assert_eq!(all.unwrap(), ["1", "2"]);
    assert_eq!(said.position, 1);
}

#[tokio::test(start_paused = true)]
async fn age_ends_what_is_kept() {
    let histories = Histories::default();
    let history = histories.create(LIMITS);
    let stage = stage(&history);
    let beginning = stage.beginning.to_string();
    stage.say("x");
    tokio::time::advance(LIMITS.age).await;
    histories.forget_old();
    assert_eq!(history.state.lock().bytes, 1);
    tokio::time::advance(Duration::from_millis(1)).await;
    histories.forget_old();
    assert_eq!(history.state.lock().bytes, 0);
    assert!(
        history.resume(&beginning, &nobody()).is_some(),
        "the call still runs"
    );
    stage.reply("end");
    drop((stage.reader, stage.outbox));
    tokio::time::advance(LIMITS.age).await;
    assert!(history.resume(&beginning, &nobody()).is_some());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(history.resume(&beginning, &nobody()).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_goes_although_nobody_asks() {
    let histories = Histories::default();
    let history = histories.create(LIMITS);
    let gone: Vec<_> = (0..10).map(|_| histories.create(LIMITS)).collect();
    let stage = stage(&history);
    stage.say("x");
    let closing = CancellationToken::new();
    drop(gone);
    let look = async {
        tokio::time::sleep(LIMITS.age).await;
        assert_eq!(history.state.lock().bytes, 1);
        assert_eq!(histories.0.lock().len(), 1, "of sessions that live");
        tokio::time::sleep(FORGET_INTERVAL * 2).await;
        assert_eq!(history.state.lock().bytes, 0);
        closing.cancel();
    };
    tokio::join!(histories.keep_young(closing.clone()), look);
}

#[tokio::test]
async fn foreign_and_garbled_ids_are_unknown() {
    let history = History::new(LIMITS);
    let here = stage(&history);
    let there = stage(&History::new(LIMITS));
    let id = here.say("x");
    there.say("x");
    let foreign = there.beginning.to_string();
    let (upper, padded) = (id.to_string().to_uppercase(), format!("{id} "));
    let future = history.id(1, 9).to_string();
    let stream = history.id(9, 0).to_string();
    for text in ["", "x", "0-0-0", "--", &foreign, &padded, &future, &stream] {
        assert!(history.resume(text, &nobody()).is_none(), "{text:?}");
    }
    if upper != id.to_string() {
        assert!(history.resume(&upper, &nobody()).is_none());
    }
}

#[tokio::test]
async fn a_stream_that_was_opened_anew_is_forgotten() {
    let history = History::new(LIMITS);
    let outbox = Outbox::endless(1000, Arc::new(Metrics::new()));
    let mut reader = outbox.read();
    let old = reader.keep_in(&history, None);
    for _ in 0..1000 {
        outbox.say(MessageKind::ListChanged, "x".into());
        assert!(matches!(reader.next().await, Next::Event(_)));
        reader = outbox.read();
        reader.keep_in(&history, None);
    }
    assert_eq!(history.state.lock().streams.len(), 1);
    assert!(history.resume(&old.to_string(), &nobody()).is_none());
    assert_eq!(reader.position().map(|id| id.stream), Some(1001));
    assert_eq!(history.state.lock().bytes, 0);
}

#[tokio::test]
async fn nothing_holds_itself() {
    let history = History::new(LIMITS);
    let stage = stage(&history);
    let first = stage.say("one");
    let resumed = history.resume(&first.to_string(), &nobody());
    let weak = (Arc::downgrade(&history), Arc::downgrade(&stage.outbox));
    drop((history, stage, resumed));
    assert_eq!((weak.0.strong_count(), weak.1.strong_count()), (0, 0));
}

#[tokio::test]
async fn streams_that_are_over_are_forgotten() {
    let history = History::new(LIMITS);
    for _ in 0..1000 {
        let stage = stage(&history);
        stage.reply("end");
    }
    let streams = history.state.lock().streams.len();
    assert!(streams <= LIMITS.events + 1, "{streams}");
}
