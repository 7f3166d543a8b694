//! Lines of the log that strangers can cause.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The least time between two lines: whoever guesses a million tokens fills no disk.
const INTERVAL: Duration = Duration::from_secs(1);

/// Lets one line pass in a while, and counts the others.
#[derive(Debug, Default)]
pub struct Pace(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    held_back: u64,
}

impl Pace {
    /// How many lines were held back since the last one, if one may pass now.
    pub fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        if (state.last).is_some_and(|last| now.duration_since(last) < INTERVAL) {
            state.held_back += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_how_many_are_missing() {
        let start = Instant::now();
        let pace = Pace::default();
        let passed = [0, 1, 999, 1000, 1001, 2000, 9000]
            .map(|millis| pace.pass(start + Duration::from_millis(millis)));
        assert_eq!(
            passed,
            [Some(0), None, None, Some(2), None, Some(1), Some(0)]
        );
    }
}
