//! How many calls of one tool run at once, and how often it is called.
//!
//! A call that must wait holds nothing of the server's but its place in the queue, and the queue is
//! first in, first out. What is counted belongs to the name of a tool, not to its definition, so that
//! it goes on when the definitions are loaded again. A key without calls is forgotten.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::catalog::{Concurrency, Rate};

/// What calls must pass before they run.
#[derive(Debug, Clone)]
pub(super) struct Gates {
    state: Arc<Mutex<State>>,
    /// The most calls that wait, over all tools.
    max_waiting: usize,
}

/// What a call is counted under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The tool, by a name that nothing else has.
    pub(super) tool: String,
    /// What the definition tells calls apart by; empty for all of them.
    pub(super) value: String,
}

/// Why a call must not run now.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Refused {
    /// So many run, and so many wait.
    Full,
    /// So many run, and the server lets no more calls wait.
    NobodyWaits,
    /// The tool was called too often; it may be called again then.
    TooOften(Instant),
}

/// How a call goes on.
#[derive(Debug)]
pub(super) enum Entered {
    /// It may run.
    Now(Place),
    /// It may run when this says so.
    Later(Waiting),
}

/// The place of a call that runs, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    state: Arc<Mutex<State>>,
    key: Key,
}

/// The place of a call in a queue, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    state: Arc<Mutex<State>>,
    key: Key,
    number: u64,
    turn: oneshot::Receiver<()>,
}

#[derive(Debug, Default)]
struct State {
    lines: HashMap<Key, Line>,
    /// How many wait for each tool.
    waiting: HashMap<String, usize>,
    /// When the calls of each tool so far would all have come at an even pace.
    even: HashMap<String, Instant>,
    number: u64,
}

/// The calls under one key.
#[derive(Debug, Default)]
struct Line {
    max: usize,
    running: usize,
    queue: VecDeque<(u64, oneshot::Sender<()>)>,
}

impl Line {
    fn is_free(&self) -> bool {
        self.running < self.max && self.queue.is_empty()
    }
}

impl Gates {
    /// Nothing runs. At most `max_waiting` calls wait.
    pub(super) fn new(max_waiting: usize) -> Self {
        Self {
            state: Arc::default(),
            max_waiting,
        }
    }

    /// Takes a call in.
    ///
    /// # Errors
    ///
    /// Why it must not run now. It has left no trace.
    pub(super) fn enter(
        &self,
        key: Key,
        concurrency: &Concurrency,
        rate: Option<Rate>,
        now: Instant,
    ) -> Result<Entered, Refused> {
        let mut state = self.state.lock();
        state.set_max(&key, concurrency.max);
        let is_free = state.lines.get(&key).is_none_or(Line::is_free);
        if !is_free {
            if state.waiting_for(&key.tool) >= concurrency.queue {
                return Err(Refused::Full);
            }
            if state.waiting.values().sum::<usize>() >= self.max_waiting {
                return Err(Refused::NobodyWaits);
            }
        }
        if let Some(rate) = rate {
            let spent = state.spend(&key.tool, rate, now);
            spent.map_err(Refused::TooOften)?;
        }
        let line = state.lines.entry(key.clone()).or_default();
        line.max = concurrency.max;
        if is_free {
            line.running += 1;
            let state = Arc::clone(&self.state);
            return Ok(Entered::Now(Place { state, key }));
        }
        let (number, turn) = state.wait(&key);
        Ok(Entered::Later(Waiting {
            state: Arc::clone(&self.state),
            key,
            number,
            turn,
        }))
    }
}

impl State {
    /// The definition may have been loaded again, with more room.
    fn set_max(&mut self, key: &Key, max: usize) {
        if let Some(line) = self.lines.get_mut(key) {
            line.max = max;
            self.let_in(key);
        }
    }

    fn waiting_for(&self, tool: &str) -> usize {
        self.waiting.get(tool).copied().unwrap_or(0)
    }

    /// Counts one call of a tool; the error is when there may be one again.
    fn spend(&mut self, tool: &str, rate: Rate, now: Instant) -> Result<(), Instant> {
        // What is in the past says nothing.
        self.even.retain(|_, even| *even > now);
        let even = self.even.get(tool).copied().unwrap_or(now) + rate.interval();
        let latest = now + rate.interval() * rate.count;
        if even > latest {
            return Err(now + (even - latest));
        }
        self.even.insert(tool.to_owned(), even);
        Ok(())
    }

    fn wait(&mut self, key: &Key) -> (u64, oneshot::Receiver<()>) {
        let (sender, turn) = oneshot::channel();
        self.number += 1;
        let line = self.lines.entry(key.clone()).or_default();
        line.queue.push_back((self.number, sender));
        *self.waiting.entry(key.tool.clone()).or_default() += 1;
        (self.number, turn)
    }

    /// Lets those in that there is room for, the first first, and forgets a key without calls.
    fn let_in(&mut self, key: &Key) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let mut left = 0;
        while line.running < line.max
            && let Some((_, turn)) = line.queue.pop_front()
        {
            left += 1;
            // Whoever does not wait any more has left the queue, so this is heard.
            line.running += usize::from(turn.send(()).is_ok());
        }
        if line.running == 0 && line.queue.is_empty() {
            self.lines.remove(key);
        }
        self.forget_waiting(&key.tool, left);
    }

    fn forget_waiting(&mut self, tool: &str, left: usize) {
        let Some(waiting) = self.waiting.get_mut(tool) else {
            return;
        };
        *waiting = waiting.saturating_sub(left);
        if *waiting == 0 {
            self.waiting.remove(tool);
        }
    }

    /// A call that ran has ended.
    fn leave(&mut self, key: &Key) {
        if let Some(line) = self.lines.get_mut(key) {
            line.running = line.running.saturating_sub(1);
        }
        self.let_in(key);
    }
}

impl Waiting {
    /// Waits until it is this call's turn. Dropped before, it gives its place to the next.
    pub(super) async fn turn(mut self) -> Place {
        // The sender is in the queue until it sends.
        drop((&mut self.turn).await);
        Place {
            state: Arc::clone(&self.state),
            key: self.key.clone(),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        let Some(line) = state.lines.get_mut(&self.key) else {
            return;
        };
        let before = line.queue.len();
        line.queue.retain(|(number, _)| *number != self.number);
        let left = before - line.queue.len();
        state.forget_waiting(&self.key.tool, left);
        // Its turn had come, and nobody has taken it.
        if self.turn.try_recv().is_ok() {
            state.leave(&self.key);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.state.lock().leave(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

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

    fn enter(
        gates: &Gates,
        tool: &str,
        value: &str,
        bounds: &Concurrency,
    ) -> Result<Entered, Refused> {
        gates.enter(key(tool, value), bounds, None, Instant::now())
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
        let second = second.now_or_never().unwrap();
        // A place in the queue is free again, behind those who wait.
        let fourth = later(call());
        drop(second);
        let third = third.now_or_never().unwrap();
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
        let fourth = fourth.turn().now_or_never().unwrap();
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
        let second = second.turn().now_or_never().unwrap();
        let _fourth = later(enter(&gates, "t", "", &FREE));
        drop((second, third));
        assert_eq!(gates.state.lock().waiting.len(), 1);
    }

    #[test]
    fn a_rate_allows_a_burst_and_then_an_even_pace() {
        let gates = Gates::new(10);
        let many = Concurrency { max: 1000, ..FREE };
        let rate = Rate {
            count: 3,
            per: Duration::from_mins(1),
        };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let call = |seconds| {
            let entered = gates.enter(key("t", ""), &many, Some(rate), at(seconds));
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
        let other = gates.enter(key("u", ""), &many, Some(rate), at(2000));
        assert!(other.is_ok());
        assert_eq!(gates.state.lock().even.len(), 1);
        // A call that is turned away is not counted.
        let alone = Concurrency { queue: 0, ..FREE };
        let call = || gates.enter(key("v", ""), &alone, Some(rate), at(2000));
        let place = now(call());
        for _ in 0..10 {
            assert_eq!(call().unwrap_err(), Refused::Full);
        }
        drop(place);
        assert!(call().is_ok() && call().is_ok());
        assert!(call().is_err());
    }
}
