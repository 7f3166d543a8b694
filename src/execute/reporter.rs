//! What a call says on the way, at a pace that can be followed.

use std::time::Duration;

use serde_json::Number;
use tokio::time::{Instant, sleep_until};

use super::pace::Pace;
use super::{Listener, Said};
use crate::protocol::progress::Progress;

/// How long a call is silent before it says that it still runs: shorter than the time after which
/// clients give a request up, which is a minute as a rule.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);
/// How much progress a sign of life is. MCP wants each value to be greater than the one before, and
/// what the tool reports next should be greater still.
const STEP: f64 = 0.001;

/// Tells a listener what a call says, and that it goes on when it says nothing.
pub(super) struct Reporter<'a> {
    listener: &'a mut dyn Listener,
    /// The progress that the tool reported last.
    furthest: Option<Progress>,
    /// Whether that came too fast to be told; newer progress takes its place.
    is_held_back: bool,
    pace: Pace,
    /// When something was told last.
    told: Instant,
    /// The signs of life since then, and the progress of the last.
    beats: u32,
    beaten: Option<Number>,
}

impl<'a> Reporter<'a> {
    /// Nothing has been said.
    pub(super) fn new(listener: &'a mut dyn Listener) -> Self {
        Self {
            listener,
            furthest: None,
            is_held_back: false,
            pace: Pace::default(),
            told: Instant::now(),
            beats: 0,
            beaten: None,
        }
    }

    /// What the definition asks is answered, and the work begins.
    pub(super) fn begins(&mut self) {
        self.listener.begins();
    }

    /// Says something that is no progress.
    pub(super) fn say(&mut self, said: Said) {
        self.listener.said(said);
    }

    /// Takes progress, and tells it as soon as the pace allows.
    pub(super) fn report(&mut self, progress: Progress) {
        let furthest = self.furthest.as_ref().map(|furthest| &furthest.progress);
        let mut before = furthest.into_iter().chain(&self.beaten);
        if before.any(|before| !is_further(&progress.progress, before)) {
            // MCP, Progress: the value MUST increase with each notification.
            tracing::debug!(progress = %progress.progress, "progress that does not increase was dropped");
            return;
        }
        self.furthest = Some(progress);
        self.is_held_back = true;
        let now = Instant::now();
        if self.pace.next(now) <= now {
            self.tell_held_back();
        }
    }

    /// Tells the progress that came too fast.
    pub(super) fn tell_held_back(&mut self) {
        if let Some(progress) = self.furthest.as_ref().filter(|_| self.is_held_back) {
            self.is_held_back = false;
            self.told = Instant::now();
            self.beats = 0;
            self.pace.tell(self.told);
            self.listener.said(Said::Progress(progress.clone()));
        }
    }

    /// When [`Reporter::tell_due`] has something to tell.
    pub(super) fn due(&self) -> Instant {
        if self.is_held_back {
            return self.pace.next(Instant::now());
        }
        self.told + HEARTBEAT * (self.beats + 1)
    }

    /// Tells what is due: progress that came too fast, or that the call goes on.
    pub(super) fn tell_due(&mut self) {
        if self.is_held_back {
            return self.tell_held_back();
        }
        self.beats += 1;
        if let Some(progress) = self.sign_of_life() {
            self.beaten = Some(progress.progress.clone());
            self.listener.said(Said::Alive(progress));
        }
    }

    /// Waits for something, and says meanwhile that the call goes on.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = sleep_until(self.due()) => self.tell_due(),
            }
        }
    }

    /// The last progress and very little more; `None` where that would pass the total, or is too
    /// little to be more.
    fn sign_of_life(&self) -> Option<Progress> {
        let step = f64::from(self.beats) * STEP;
        let Some(last) = &self.furthest else {
            return Some(Progress {
                progress: Number::from_f64(step)?,
                total: None,
                message: None,
            });
        };
        let value = Number::from_f64(last.progress.as_f64()? + step)?;
        let has_room = (last.total.as_ref()).is_none_or(|total| is_further(total, &value));
        (has_room && is_further(&value, &last.progress)).then(|| Progress {
            progress: value,
            ..last.clone()
        })
    }
}

/// True when one progress is further than another.
fn is_further(progress: &Number, than: &Number) -> bool {
    match (progress.as_i128(), than.as_i128()) {
        (Some(progress), Some(than)) => progress > than,
        _ => progress.as_f64() > than.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::Outcome;

    /// Notes what it hears: the time in seconds, the progress and the total.
    struct Notes {
        started: Instant,
        heard: Vec<(u64, String, Option<String>)>,
    }

    impl Listener for Notes {
        fn said(&mut self, said: Said) {
            let (Said::Progress(progress) | Said::Alive(progress)) = said else {
                panic!("{said:?}");
            };
            let total = progress.total.map(|total| total.to_string());
            let seconds = self.started.elapsed().as_secs();
            self.heard
                .push((seconds, progress.progress.to_string(), total));
        }

        fn done(self: Box<Self>, _: Outcome) {}
    }

    fn number(text: &str) -> Number {
        serde_json::from_str(text).unwrap()
    }

    fn progress(progress: &str, total: Option<&str>) -> Progress {
        Progress {
            progress: number(progress),
            total: total.map(number),
            message: None,
        }
    }

    async fn heard(
        steps: &[(u64, &str, Option<&str>)],
        end: u64,
    ) -> Vec<(u64, String, Option<String>)> {
        let started = Instant::now();
        let mut notes = Notes {
            started,
            heard: Vec::new(),
        };
        let mut reporter = Reporter::new(&mut notes);
        for (seconds, value, total) in steps {
            let at = started + Duration::from_secs(*seconds);
            reporter.during(tokio::time::sleep_until(at)).await;
            reporter.report(progress(value, *total));
        }
        let end = started + Duration::from_secs(end);
        reporter.during(tokio::time::sleep_until(end)).await;
        notes.heard
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_call_says_every_ten_seconds_that_it_goes_on() {
        let expected = [(10, "0.001"), (20, "0.002"), (30, "0.003")];
        let expected = expected.map(|(at, value)| (at, value.to_owned(), None));
        assert_eq!(heard(&[], 35).await, expected);
        assert_eq!(heard(&[], 9).await, []);
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_stand_between_what_a_tool_reports() {
        let total = || Some("5".to_owned());
        let steps = [
            (3, "3", Some("5")),
            // Not more than what was told.
            (24, "3.0015", Some("5")),
            (25, "4", Some("5")),
            (36, "5", Some("5")),
        ];
        let expected = [
            (3, "3".to_owned(), total()),
            (13, "3.001".to_owned(), total()),
            (23, "3.002".to_owned(), total()),
            (25, "4".to_owned(), total()),
            (35, "4.001".to_owned(), total()),
            (36, "5".to_owned(), total()),
        ];
        // Nothing goes beyond the total.
        assert_eq!(heard(&steps, 100).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_number_that_cannot_grow_stays_alone() {
        let steps = [(1, "18446744073709551615", None)];
        assert_eq!(heard(&steps, 60).await.len(), 1);
    }

    #[test]
    fn numbers_of_every_kind_are_compared() {
        let increasing = [
            "-1e300",
            "-9223372036854775808",
            "-2",
            "-1.5",
            "0",
            "0.1",
            "1",
            "1.5",
            "9007199254740993",
            "9007199254740994",
            "18446744073709551614",
            "18446744073709551615",
            "1e300",
        ];
        for pair in increasing.windows(2) {
            let (low, high) = (number(pair[0]), number(pair[1]));
            assert!(is_further(&high, &low), "{low} {high}");
            assert!(!is_further(&low, &high), "{low} {high}");
            assert!(!is_further(&low, &low), "{low}");
        }
        assert!(!is_further(&number("1.0"), &number("1")));
    }
}
