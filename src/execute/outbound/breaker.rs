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
pub(super) struct Breaker(Mutex<Known>);

/// What is known of an API.
#[derive(Debug)]
struct Known {
    state: State,
    /// When it answered last.
    answered: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Calls are made; so many failed in a row.
    Closed { failures: u32 },
    /// Calls are refused until then.
    Open { until: Instant },
    /// One call tries, since then.
    Probed { since: Instant },
}

/// Leave to make a call, which has to say how it ended. One that does not is forgotten.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    breaker: &'a Breaker,
    begun: Instant,
    is_probe: bool,
    is_settled: bool,
}

/// Calls are refused for this long still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused(pub(super) Duration);

impl Breaker {
    /// Nothing has failed.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Known {
            state: State::Closed { failures: 0 },
            answered: None,
        }))
    }

    /// Asks for leave.
    ///
    /// # Errors
    ///
    /// [`Refused`] while the circuit is open, and for a while when another call has begun to try: one
    /// that takes long must not keep out all others.
    pub(super) fn attempt(&self, now: Instant) -> Result<Attempt<'_>, Refused> {
        let mut known = self.0.lock();
        let until = match known.state {
            State::Closed { .. } => None,
            State::Open { until } => Some(until),
            State::Probed { since } => Some(since + OPEN_TIME),
        };
        if let Some(until) = until.filter(|until| now < *until) {
            return Err(Refused(until - now));
        }
        if until.is_some() {
            known.state = State::Probed { since: now };
        }
        Ok(Attempt {
            breaker: self,
            begun: now,
            is_probe: until.is_some(),
            is_settled: false,
        })
    }
}

impl Attempt<'_> {
    /// The API answered, whatever it said.
    pub(super) fn succeeded(mut self, now: Instant) {
        let mut known = self.breaker.0.lock();
        known.state = State::Closed { failures: 0 };
        known.answered = Some(now);
        self.is_settled = true;
    }

    /// The API could not be reached, or did not answer in time. That means nothing if it answered
    /// another call meanwhile: one slow part of it must not close the rest.
    pub(super) fn failed(mut self, now: Instant) {
        let mut known = self.breaker.0.lock();
        self.is_settled = true;
        if known.answered.is_some_and(|answered| answered > self.begun) {
            return;
        }
        let until = now + OPEN_TIME;
        known.state = match known.state {
            State::Closed { failures } if failures + 1 < FAILURES_TO_OPEN => State::Closed {
                failures: failures + 1,
            },
            State::Closed { .. } => State::Open { until },
            _ if self.is_probe => State::Open { until },
            // It was begun before the circuit opened, and says nothing new.
            other => other,
        };
    }
}

/// A probe that was cancelled leaves the try to the next call.
impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut known = self.breaker.0.lock();
        if self.is_probe && !self.is_settled && known.state == (State::Probed { since: self.begun })
        {
            known.state = State::Open {
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
        breaker
            .attempt(Instant::now())
            .unwrap()
            .succeeded(Instant::now());
        fail(&breaker, FAILURES_TO_OPEN);
        assert_eq!(refused(&breaker), Some(OPEN_TIME));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(refused(&breaker), Some(Duration::from_secs(2)));
    }

    #[test]
    fn an_hour_without_an_api_costs_a_try_in_five_seconds() {
        let breaker = Breaker::new();
        let begun = Instant::now();
        // A hundred calls a second.
        let calls = (0..360_000).map(|call| begun + Duration::from_millis(call * 10));
        let tried = calls.filter(|now| {
            let attempt = breaker.attempt(*now);
            attempt.map(|attempt| attempt.failed(*now)).is_ok()
        });
        let expected = u64::from(FAILURES_TO_OPEN) + 3600 / OPEN_TIME.as_secs() - 1;
        assert_eq!(tried.count() as u64, expected);
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
        breaker
            .attempt(Instant::now())
            .unwrap()
            .succeeded(Instant::now());
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

    #[tokio::test(start_paused = true)]
    async fn what_is_slow_does_not_close_what_answers() {
        let breaker = Breaker::new();
        let slow: Vec<_> = (0..FAILURES_TO_OPEN)
            .map(|_| breaker.attempt(Instant::now()).unwrap())
            .collect();
        tokio::time::advance(Duration::from_secs(1)).await;
        breaker
            .attempt(Instant::now())
            .unwrap()
            .succeeded(Instant::now());
        for attempt in slow {
            attempt.failed(Instant::now());
        }
        assert_eq!(refused(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_takes_long_is_not_the_only_one() {
        let breaker = Breaker::new();
        fail(&breaker, FAILURES_TO_OPEN);
        tokio::time::advance(OPEN_TIME).await;
        let slow = breaker.attempt(Instant::now()).unwrap();
        assert_eq!(refused(&breaker), Some(OPEN_TIME));
        tokio::time::advance(OPEN_TIME).await;
        let other = breaker.attempt(Instant::now()).unwrap();
        other.succeeded(Instant::now());
        slow.failed(Instant::now());
        assert_eq!(refused(&breaker), None);
    }
}
