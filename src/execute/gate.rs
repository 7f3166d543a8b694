//! How many calls of one tool run at once, and how often it is called.
//!
//! A call that must wait holds nothing of the server's but its place in the queue. Those who wait are
//! let in by turns, a call of each principal, and a full queue makes room at the cost of whoever has
//! most in it: so nobody waits for the flood of another. What is counted belongs to the name of a tool, not to its definition, so that
//! it goes on when the definitions are loaded again. A key without calls is forgotten.

mod queue;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::auth::Principal;
use crate::catalog::{Concurrency, Rate};
use queue::{Queue, Ticket};

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
    queue: Queue,
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
        principal: &Principal,
        concurrency: &Concurrency,
        rate: Option<Rate>,
        now: Instant,
    ) -> Result<Entered, Refused> {
        let mut state = self.state.lock();
        state.set_max(&key, concurrency.max);
        let is_free = state.lines.get(&key).is_none_or(Line::is_free);
        let mut pushed_out = None;
        if !is_free {
            if state.waiting_for(&key.tool) >= concurrency.queue {
                pushed_out = Some(state.surplus(&key.tool, principal).ok_or(Refused::Full)?);
            } else if state.waiting.values().sum::<usize>() >= self.max_waiting {
                return Err(Refused::NobodyWaits);
            }
        }
        if let Some(rate) = rate {
            let spent = state.spend(&key.tool, rate, now);
            spent.map_err(Refused::TooOften)?;
        }
        if let Some((key, number)) = pushed_out {
            state.take_out(&key, number);
        }
        let line = state.lines.entry(key.clone()).or_default();
        line.max = concurrency.max;
        if is_free {
            line.running += 1;
            let state = Arc::clone(&self.state);
            return Ok(Entered::Now(Place { state, key }));
        }
        let (number, turn) = state.wait(&key, principal);
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

    /// The newest call of the principal that has most in the queue of a tool, where this one has so
    /// many fewer that it may take its place.
    fn surplus(&self, tool: &str, principal: &Principal) -> Option<(Key, u64)> {
        let lines = || self.lines.iter().filter(|(key, _)| key.tool == tool);
        let mut counts = HashMap::<_, usize>::new();
        for (other, count) in lines().flat_map(|(_, line)| line.queue.counts()) {
            *counts.entry(other).or_default() += count;
        }
        let own = counts.get(principal).copied().unwrap_or(0);
        let (most, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        if count <= own + 1 {
            return None;
        }
        let newest = lines().filter_map(|(key, line)| Some((key, line.queue.newest(most)?)));
        let (key, number) = newest.max_by_key(|(_, number)| *number)?;
        Some((key.clone(), number))
    }

    /// Takes a call out of a queue.
    fn take_out(&mut self, key: &Key, number: u64) {
        let line = self.lines.get_mut(key);
        if line.is_some_and(|line| line.queue.remove(number)) {
            self.forget_waiting(&key.tool, 1);
        }
    }

    fn wait(&mut self, key: &Key, principal: &Principal) -> (u64, oneshot::Receiver<()>) {
        let (sender, turn) = oneshot::channel();
        self.number += 1;
        let line = self.lines.entry(key.clone()).or_default();
        let ticket = Ticket {
            number: self.number,
            turn: sender,
        };
        line.queue.push(principal, ticket);
        *self.waiting.entry(key.tool.clone()).or_default() += 1;
        (self.number, turn)
    }

    /// Lets those in that there is room for, by turns, and forgets a key without calls.
    fn let_in(&mut self, key: &Key) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let mut left = 0;
        while line.running < line.max
            && let Some(ticket) = line.queue.pop()
        {
            left += 1;
            // Whoever does not wait any more has left the queue, so this is heard.
            line.running += usize::from(ticket.turn.send(()).is_ok());
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
    ///
    /// # Errors
    ///
    /// [`Refused::Full`] when it had to make room for another.
    pub(super) async fn turn(mut self) -> Result<Place, Refused> {
        (&mut self.turn).await.map_err(|_| Refused::Full)?;
        Ok(Place {
            state: Arc::clone(&self.state),
            key: self.key.clone(),
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.take_out(&self.key, self.number);
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
mod tests;
