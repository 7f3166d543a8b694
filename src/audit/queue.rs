//! Lines that wait for the thread that writes them. Whoever has one never waits for a disk.

use std::time::{Duration, SystemTime};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::record;

/// The most bytes of lines that wait when a call begins. Lines that end calls come on top: there is one
/// at most for each call that began.
const MAX_BYTES: usize = 4 << 20;

/// How long one write may take before nothing can be written, as far as anybody knows.
const MAX_WRITE: Duration = Duration::from_secs(1);

/// How long is waited after a failure before the next attempt.
const RETRY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Something is to be done.
    wake: Condvar,
    progress: watch::Sender<Progress>,
    /// Lines that could be lost are not for calls that must not.
    is_required: bool,
}

#[derive(Debug)]
struct State {
    /// The number of the next line.
    next: u64,
    lines: String,
    /// How many lines there are.
    records: u64,
    /// How many are missing since the last line that says so.
    missing: u64,
    lost: u64,
    written: u64,
    /// Since when the work is being done that was taken last.
    busy_since: Option<Instant>,
    is_moved: bool,
    is_closed: bool,
}

/// How far the thread has come.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// The last line that is written, and in mode `required` on the disk.
    through: u64,
    /// The last line that was part of a failure. After that a sync that succeeds says nothing of it: it
    /// may be of another file, and a disk tells of a page that it could not write only once.
    doubtful: u64,
    is_failing: bool,
    /// It writes nothing any more.
    has_ended: bool,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Work {
    /// Write these.
    Lines(Lines),
    /// Open the file at its path again.
    Reopen,
}

/// Whole lines.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) text: String,
    records: u64,
    last: u64,
}

/// What an audit log counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// Lines that were written.
    pub written: u64,
    /// Lines that nobody will find.
    pub lost: u64,
    /// Whether nothing can be written now.
    pub is_failing: bool,
}

impl Queue {
    pub(super) fn new(next: u64, is_required: bool) -> Self {
        Self {
            state: Mutex::new(State {
                next,
                lines: String::new(),
                records: 0,
                missing: 0,
                lost: 0,
                written: 0,
                busy_since: None,
                is_moved: false,
                is_closed: false,
            }),
            wake: Condvar::new(),
            progress: watch::Sender::new(Progress {
                through: next.saturating_sub(1),
                doubtful: 0,
                is_failing: false,
                has_ended: false,
            }),
            is_required,
        }
    }

    /// Puts in a line and returns its number.
    pub(super) fn push(&self, line: &str) -> u64 {
        let mut state = self.state.lock();
        let number = state.push(line);
        drop(state);
        self.wake.notify_all();
        number
    }

    /// Puts in the first line of a call. If there is no room for it, or in mode `required` nothing can be
    /// written, both lines of the call are lost.
    pub(super) fn push_start(&self, line: &str) -> Option<u64> {
        let mut state = self.state.lock();
        let is_refused = self.is_required && self.is_stuck(&state);
        if is_refused || state.is_closed || state.lines.len() + line.len() > MAX_BYTES {
            state.lose(2);
            return None;
        }
        let number = state.push(line);
        drop(state);
        self.wake.notify_all();
        Some(number)
    }

    /// Waits for a line to be written; returns whether it is for sure. Fails at once when nothing can be.
    pub(super) async fn is_through(&self, number: u64, most: Duration) -> bool {
        let mut progress = self.progress.subscribe();
        let is_decided = |now: &Progress| now.has(number).is_some();
        let decided = timeout(most, progress.wait_for(is_decided)).await;
        decided.is_ok_and(|now| now.is_ok_and(|now| now.has(number) == Some(true)))
    }

    /// Waits for the thread to end; returns whether it wrote all there was.
    pub(super) async fn is_finished(&self, most: Duration) -> bool {
        let mut progress = self.progress.subscribe();
        let ended = timeout(most, progress.wait_for(|now| now.has_ended)).await;
        ended.is_ok_and(|now| now.is_ok_and(|now| !now.is_failing))
    }

    /// Whether nothing can be written now.
    pub(super) fn is_failing(&self) -> bool {
        self.is_stuck(&self.state.lock())
    }

    fn is_stuck(&self, state: &State) -> bool {
        let is_slow = |since: Instant| since.elapsed() > MAX_WRITE;
        self.progress.borrow().is_failing || state.busy_since.is_some_and(is_slow)
    }

    pub(super) fn is_required(&self) -> bool {
        self.is_required
    }

    pub(super) fn statistics(&self) -> Statistics {
        let state = self.state.lock();
        Statistics {
            written: state.written,
            lost: state.lost,
            is_failing: self.is_stuck(&state),
        }
    }

    pub(super) fn reopen(&self) {
        self.state.lock().is_moved = true;
        self.wake.notify_all();
    }

    /// Puts in the last line of a run.
    pub(super) fn close(&self, run: &str) {
        let mut state = self.state.lock();
        state.push_missing(run);
        state.push(&record::closed(run));
        state.is_closed = true;
        drop(state);
        self.wake.notify_all();
    }

    /// Whether the server has ended: what cannot be written now never will be.
    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    /// Lets the thread end when it has written what is there.
    pub(super) fn abandon(&self) {
        self.state.lock().is_closed = true;
        self.wake.notify_all();
    }

    /// Waits for something to do in a run; `None` at its end.
    pub(super) fn next(&self, run: &str) -> Option<Work> {
        let mut state = self.state.lock();
        // Whatever was opened is.
        state.busy_since = None;
        loop {
            state.push_missing(run);
            if std::mem::take(&mut state.is_moved) {
                state.busy_since = Some(Instant::now());
                return Some(Work::Reopen);
            }
            if !state.lines.is_empty() {
                return Some(Work::Lines(state.take()));
            }
            if state.is_closed {
                return None;
            }
            self.wake.wait(&mut state);
        }
    }

    /// These lines are written.
    pub(super) fn wrote(&self, lines: &Lines) {
        let mut state = self.state.lock();
        state.busy_since = None;
        state.written += lines.records;
        self.progress.send_modify(|progress| {
            progress.through = lines.last;
            progress.is_failing = false;
        });
    }

    /// These lines cannot be written, for the first time or still.
    pub(super) fn failed(&self, lines: &Lines) {
        self.progress.send_modify(|progress| {
            progress.doubtful = lines.last;
            progress.is_failing = true;
        });
    }

    /// Waits before the next attempt. Returns whether the file was moved.
    pub(super) fn pause(&self) -> bool {
        let mut state = self.state.lock();
        let is_quiet = |state: &mut State| !state.is_closed && !state.is_moved;
        self.wake.wait_while_for(&mut state, is_quiet, RETRY);
        std::mem::take(&mut state.is_moved)
    }

    /// Gives up these lines, which could not be written, and those that wait behind them.
    pub(super) fn give_up(&self, lines: &Lines) {
        let mut state = self.state.lock();
        state.lost += lines.records + state.take().records;
    }

    /// The thread has ended.
    pub(super) fn ended(&self) {
        self.progress
            .send_modify(|progress| progress.has_ended = true);
    }
}

impl Progress {
    /// Whether a line is written; `None` if that is to be seen.
    fn has(&self, number: u64) -> Option<bool> {
        if number <= self.doubtful {
            Some(false)
        } else if number <= self.through {
            Some(true)
        } else {
            self.is_failing.then_some(false)
        }
    }
}

impl State {
    fn push(&mut self, line: &str) -> u64 {
        let number = self.next;
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        self.next += 1;
        self.records += 1;
        let begin = format!(r#"{{"seq":{number},"time":"{time}","#);
        self.lines.extend([begin.as_str(), line, "}\n"]);
        number
    }

    /// Puts in a line that says how many are missing, if any are. Nothing comes behind the last line.
    fn push_missing(&mut self, run: &str) {
        if self.missing > 0 && !self.is_closed {
            let missing = std::mem::take(&mut self.missing);
            tracing::warn!(records = missing, "the audit log has lost records");
            self.push(&record::lost(run, missing));
        }
    }

    fn take(&mut self) -> Lines {
        self.busy_since = Some(Instant::now());
        Lines {
            text: std::mem::take(&mut self.lines),
            records: std::mem::take(&mut self.records),
            last: self.next - 1,
        }
    }

    fn lose(&mut self, records: u64) {
        self.missing += records;
        self.lost += records;
    }
}
