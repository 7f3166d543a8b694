use std::time::Duration;

use futures_util::FutureExt as _;

use super::*;
use crate::auth::Issuer;

const FREE: Concurrency = Concurrency {
    max: 1,
    queue: 2,
    key: None,
};

fn key(tool: &str, value: &str) -> Key {
    Key {
        tool: tool.to_owned(),
        value: value.to_owned(),
    }
}

fn enter(gates: &Gates, tool: &str, value: &str, bounds: &Concurrency) -> Result<Entered, Refused> {
    enter_as(gates, &Principal::Anonymous, (tool, value), bounds)
}

fn enter_as(
    gates: &Gates,
    principal: &Principal,
    (tool, value): (&str, &str),
    bounds: &Concurrency,
) -> Result<Entered, Refused> {
    gates.enter(key(tool, value), principal, bounds, None, Instant::now())
}

fn now(entered: Result<Entered, Refused>) -> Place {
    match entered {
        Ok(Entered::Now(place)) => place,
        other => panic!("{other:?}"),
    }
}

fn later(entered: Result<Entered, Refused>) -> Waiting {
    match entered {
        Ok(Entered::Later(waiting)) => waiting,
        other => panic!("{other:?}"),
    }
}

fn is_empty(gates: &Gates) -> bool {
    let state = gates.state.lock();
    state.lines.is_empty() && state.waiting.is_empty()
}

#[test]
fn calls_come_in_by_turns_and_leave_nothing() {
    let gates = Gates::new(10);
    let call = || enter(&gates, "t", "", &FREE);
    let first = now(call());
    let mut second = Box::pin(later(call()).turn());
    let mut third = Box::pin(later(call()).turn());
    assert_eq!(call().unwrap_err(), Refused::Full);
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    assert!((&mut third).now_or_never().is_none());
    let second = second.now_or_never().unwrap().unwrap();
    // A place in the queue is free again, behind those who wait.
    let fourth = later(call());
    drop(second);
    let third = third.now_or_never().unwrap().unwrap();
    drop((third, fourth));
    assert!(is_empty(&gates));
}

#[test]
fn a_call_that_waits_no_more_makes_room() {
    let gates = Gates::new(10);
    let call = || enter(&gates, "t", "", &FREE);
    let first = now(call());
    let second = later(call());
    let third = Box::pin(later(call()).turn());
    drop(second);
    let fourth = later(call());
    assert_eq!(call().unwrap_err(), Refused::Full);
    drop(first);
    // Its turn has come, but it is given up before it hears so.
    drop(third);
    let fourth = fourth.turn().now_or_never().unwrap().unwrap();
    drop(fourth);
    assert!(is_empty(&gates));
}

#[test]
fn each_key_has_its_own_turns_and_all_share_one_queue() {
    let gates = Gates::new(10);
    let call = |value| enter(&gates, "t", value, &FREE);
    let running = [now(call("a")), now(call("b"))];
    let waiting = [later(call("a")), later(call("b"))];
    assert_eq!(call("a").unwrap_err(), Refused::Full);
    let other_key = now(call("c"));
    let other_tool = now(enter(&gates, "u", "a", &FREE));
    assert_eq!(gates.state.lock().lines.len(), 4);
    drop((running, waiting, other_key, other_tool));
    assert!(is_empty(&gates));
}

#[test]
fn all_queues_together_are_bounded() {
    let gates = Gates::new(1);
    let _running = [
        now(enter(&gates, "t", "", &FREE)),
        now(enter(&gates, "u", "", &FREE)),
    ];
    let waiting = later(enter(&gates, "t", "", &FREE));
    assert_eq!(
        enter(&gates, "u", "", &FREE).unwrap_err(),
        Refused::NobodyWaits
    );
    drop(waiting);
    later(enter(&gates, "u", "", &FREE));
}

#[test]
fn nobody_waits_where_there_is_no_queue() {
    let gates = Gates::new(10);
    let alone = Concurrency { queue: 0, ..FREE };
    let _running = now(enter(&gates, "t", "", &alone));
    assert_eq!(enter(&gates, "t", "", &alone).unwrap_err(), Refused::Full);
}

#[test]
fn another_limit_holds_from_the_next_call_on() {
    let gates = Gates::new(10);
    let _first = now(enter(&gates, "t", "", &FREE));
    let second = later(enter(&gates, "t", "", &FREE));
    let more = Concurrency { max: 3, ..FREE };
    let third = now(enter(&gates, "t", "", &more));
    let second = second.turn().now_or_never().unwrap().unwrap();
    let _fourth = later(enter(&gates, "t", "", &FREE));
    drop((second, third));
    assert_eq!(gates.state.lock().waiting.len(), 1);
}

#[test]
fn a_rate_allows_a_burst_and_then_an_even_pace() {
    let gates = Gates::new(10);
    let many = Concurrency { max: 1000, ..FREE };
    let nobody = &Principal::Anonymous;
    let rate = Rate {
        count: 3,
        per: Duration::from_mins(1),
    };
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let call = |seconds| {
        let entered = gates.enter(key("t", ""), nobody, &many, Some(rate), at(seconds));
        entered.map(drop)
    };
    for _ in 0..3 {
        assert_eq!(call(0), Ok(()));
    }
    assert_eq!(call(0), Err(Refused::TooOften(at(20))));
    assert_eq!(call(19), Err(Refused::TooOften(at(20))));
    assert_eq!(call(20), Ok(()));
    assert_eq!(call(20), Err(Refused::TooOften(at(40))));
    for _ in 0..3 {
        assert_eq!(call(1000), Ok(()));
    }
    assert_eq!(call(1000), Err(Refused::TooOften(at(1020))));
    // What is long ago is forgotten.
    let other = gates.enter(key("u", ""), nobody, &many, Some(rate), at(2000));
    assert!(other.is_ok());
    assert_eq!(gates.state.lock().even.len(), 1);
    // A call that is turned away is not counted.
    let alone = Concurrency { queue: 0, ..FREE };
    let call = || gates.enter(key("v", ""), nobody, &alone, Some(rate), at(2000));
    let place = now(call());
    for _ in 0..10 {
        assert_eq!(call().unwrap_err(), Refused::Full);
    }
    drop(place);
    assert!(call().is_ok() && call().is_ok());
    assert!(call().is_err());
}

/// The names of those who wait, in the order in which they come in.
fn order(first: Place, waiting: Vec<(&'static str, Waiting)>) -> Vec<&'static str> {
    let mut waiting: Vec<_> = (waiting.into_iter())
        .map(|(name, waiting)| (name, Box::pin(waiting.turn())))
        .collect();
    let mut order = Vec::new();
    let mut running = Some(first);
    while running.take().is_some() {
        waiting.retain_mut(|(name, turn)| match turn.now_or_never() {
            Some(place) => {
                order.push(*name);
                running = place.ok();
                false
            }
            None => true,
        });
    }
    order
}

#[test]
fn principals_take_turns_however_much_one_of_them_wants() {
    let gates = Gates::new(100);
    let bounds = Concurrency { queue: 20, ..FREE };
    let call = |name: &'static str| {
        let principal = Principal::user(Issuer::AuthFile, name, None);
        enter_as(&gates, &principal, ("t", ""), &bounds)
    };
    let first = now(call("flood"));
    let names = ["flood", "flood", "flood", "flood", "a", "b", "a"];
    let waiting = names.map(|name| (name, later(call(name))));
    let expected = ["flood", "a", "b", "flood", "a", "flood", "flood"];
    assert_eq!(order(first, waiting.into()), expected);
    assert!(is_empty(&gates));
}

#[test]
fn a_flood_makes_room_for_others() {
    let gates = Gates::new(100);
    let bounds = Concurrency { queue: 4, ..FREE };
    let call = |name: &'static str, value: &str| {
        let principal = Principal::user(Issuer::AuthFile, name, None);
        enter_as(&gates, &principal, ("t", value), &bounds)
    };
    let first = now(call("flood", ""));
    let mut flood: Vec<_> = (0..4).map(|_| later(call("flood", ""))).collect();
    assert_eq!(call("flood", "").unwrap_err(), Refused::Full);
    // The newest call of the flood is told so, and nobody else.
    let a = later(call("a", ""));
    let out = flood.pop().unwrap().turn().now_or_never().unwrap();
    assert_eq!(out.unwrap_err(), Refused::Full);
    let other_first = now(call("b", "other"));
    let b = later(call("b", "other"));
    let out = flood.pop().unwrap().turn().now_or_never().unwrap();
    assert_eq!(out.unwrap_err(), Refused::Full);
    // Two of the flood, one of each other: nobody has so many more that another could have one.
    assert_eq!(call("a", "").unwrap_err(), Refused::Full);
    let c = later(call("c", ""));
    assert_eq!(call("d", "").unwrap_err(), Refused::Full);
    drop((first, other_first, flood, a, b, c));
    assert!(is_empty(&gates));
}
