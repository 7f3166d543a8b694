//! A circuit breaker: an API that cannot be reached is not waited for again and again.
//!
//! It costs calls their time limit, and their server its room, to wait for what is down. After some
//! failures in a row calls are refused at once for a while; then one may try, and its end decides.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How many failures in a row open the circuit: a server that is started again does not.
pub(super) const FAILURES_TO_OPEN: u32 = 5;
/// How long calls are refused before one may try: five seconds, which a model can wait.
pub(super) const OPEN_TIME: Duration = Duration::from_secs(5);

/// Knows whether calls of an API are worth a try.
#[derive(Debug)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Calls are made; so many failed in a row.
    Closed { failures: u32 },
    /// Calls are refused until then.
    Open { until: Instant },
    /// One call tries.
    Probed,
}

/// Leave to make a call, which has to say how it ended. One that does not is forgotten.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
    is_settled: bool,
}

/// Calls are refused for this long still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused(pub(super) Duration);

impl Breaker {
    /// Nothing has failed.
    pub(super) fn new() -> Self {
        Self(Mutex::new(State::Closed { failures: 0 }))
    }

    /// Asks for leave.
    ///
    /// # Errors
    ///
    /// [`Refused`] while the circuit is open, and while another call tries.
    pub(super) fn attempt(&self, now: Instant) -> Result<Attempt<'_>, Refused> {
        let mut state = self.0.lock();
        let is_probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if now < until => return Err(Refused(until - now)),
            State::Open { .. } => {
                *state = State::Probed;
                true
            }
            State::Probed => return Err(Refused(OPEN_TIME)),
        };
        Ok(Attempt {
            breaker: self,
            is_probe,
            is_settled: false,
        })
    }
}

impl Attempt<'_> {
    /// The API answered, whatever it said.
    pub(super) fn succeeded(mut self) {
        self.settle(|_| State::Closed { failures: 0 });
    }

    /// The API could not be reached, or did not answer in time.
    pub(super) fn failed(mut self, now: Instant) {
        let until = now + OPEN_TIME;
        let is_probe = self.is_probe;
        self.settle(|state| match state {
            State::Closed { failures } if failures + 1 < FAILURES_TO_OPEN => State::Closed {
                failures: failures + 1,
            },
            State::Closed { .. } => State::Open { until },
            _ if is_probe => State::Open { until },
            // It was begun before the circuit opened, and says nothing new.
            other => other,
        });
    }

    fn settle(&mut self, next: impl FnOnce(State) -> State) {
        let mut state = self.breaker.0.lock();
        *state = next(*state);
        self.is_settled = true;
    }
}

/// A probe that was cancelled leaves the try to the next call.
impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_probe && !self.is_settled {
            *self.breaker.0.lock() = State::Open {
                until: Instant::now(),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(breaker: &Breaker, times: u32) {
        for _ in 0..times {
            let attempt = breaker.attempt(Instant::now()).unwrap();
            attempt.failed(Instant::now());
        }
    }

    fn refused(breaker: &Breaker) -> Option<Duration> {
        let attempt = breaker.attempt(Instant::now());
        attempt.err().map(|Refused(left)| left)
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_the_circuit_for_a_while() {
        let breaker = Breaker::new();
        fail(&breaker, FAILURES_TO_OPEN - 1);
        assert_eq!(refused(&breaker), None);
        breaker.attempt(Instant::now()).unwrap().succeeded();
        fail(&breaker, FAILURES_TO_OPEN);
        assert_eq!(refused(&breaker), Some(OPEN_TIME));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(refused(&breaker), Some(Duration::from_secs(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_tries_and_its_end_decides() {
        let breaker = Breaker::new();
        fail(&breaker, FAILURES_TO_OPEN);
        tokio::time::advance(OPEN_TIME).await;
        let probe = breaker.attempt(Instant::now()).unwrap();
        assert_eq!(refused(&breaker), Some(OPEN_TIME));
        probe.failed(Instant::now());
        assert_eq!(refused(&breaker), Some(OPEN_TIME));
        tokio::time::advance(OPEN_TIME).await;
        // One that is cancelled decides nothing.
        drop(breaker.attempt(Instant::now()).unwrap());
        breaker.attempt(Instant::now()).unwrap().succeeded();
        fail(&breaker, FAILURES_TO_OPEN - 1);
        assert_eq!(refused(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_from_before_do_not_prolong_it() {
        let breaker = Breaker::new();
        let early = breaker.attempt(Instant::now()).unwrap();
        fail(&breaker, FAILURES_TO_OPEN);
        tokio::time::advance(Duration::from_secs(4)).await;
        early.failed(Instant::now());
        assert_eq!(refused(&breaker), Some(Duration::from_secs(1)));
    }
}
