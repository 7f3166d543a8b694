//! The thread that writes. It loses nothing that got into the queue as long as the server runs: what
//! cannot be written is tried again, from the byte at which it stopped.

use std::io;
use std::thread;

use super::queue::{Lines, Queue, Work};
use super::record;
use super::target::Target;
use crate::logging::GATHER;

/// Lines, and how much of them is written.
#[derive(Debug)]
struct Batch<'a> {
    lines: &'a Lines,
    written: usize,
}

/// Where lines come from, and where they go.
#[derive(Debug)]
struct Writer<'a> {
    queue: &'a Queue,
    target: Box<dyn Target>,
    run: &'a str,
}

/// Writes what is in the queue, to its end.
pub(super) fn run(queue: &Queue, target: Box<dyn Target>, run: &str) {
    let mut writer = Writer { queue, target, run };
    while let Some(work) = queue.next(run) {
        match work {
            Work::Reopen => {
                writer.reopen();
            }
            Work::Lines(lines) => {
                if !writer.write(&lines) {
                    // A later line would be glued to half of one.
                    queue.give_up(&lines);
                    break;
                }
                // Nobody waits for these.
                if !queue.is_required() {
                    thread::sleep(GATHER);
                }
            }
        }
    }
    queue.ended();
}

impl Writer<'_> {
    /// Writes lines, however long that takes. Returns false if they cannot be written at the end of the
    /// server.
    fn write(&mut self, lines: &Lines) -> bool {
        let mut batch = Batch { lines, written: 0 };
        let mut has_failed = false;
        loop {
            let is_last = self.queue.is_closed();
            let Err(error) = self.try_write(&mut batch) else {
                break;
            };
            self.queue.failed(lines);
            if !has_failed {
                tracing::error!(%error, "the audit log cannot be written");
            }
            has_failed = true;
            if is_last {
                return false;
            }
            if self.queue.pause() && self.reopen() {
                batch.begin_line();
            }
        }
        if has_failed {
            tracing::warn!("the audit log can be written again");
        }
        self.queue.wrote(lines);
        true
    }

    fn try_write(&mut self, batch: &mut Batch<'_>) -> io::Result<()> {
        if self.target.is_gone() && self.target.reopen()? {
            self.opened();
            batch.begin_line();
        }
        batch.write(&mut *self.target)?;
        if self.queue.is_required() {
            self.target.sync()
        } else {
            Ok(())
        }
    }

    /// Goes on with what is at the same place now, or if that fails with what there was. Returns whether
    /// it is another file.
    fn reopen(&mut self) -> bool {
        match self.target.reopen() {
            Ok(is_other) => {
                if is_other {
                    self.opened();
                }
                is_other
            }
            Err(error) => {
                tracing::error!(%error, "the audit log cannot be opened again; it goes on where it was");
                false
            }
        }
    }

    /// Says that there is another file, behind the lines that have a number already.
    fn opened(&self) {
        tracing::info!("the audit log was opened again");
        self.queue.push(&record::opened(self.run));
    }
}

impl Batch<'_> {
    fn write(&mut self, target: &mut dyn Target) -> io::Result<()> {
        while let Some(rest) = self.rest() {
            match target.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn rest(&self) -> Option<&[u8]> {
        let rest = self.lines.text.as_bytes().get(self.written..)?;
        (!rest.is_empty()).then_some(rest)
    }

    /// Goes back to the beginning of a line that was written in part: another file has none of it.
    fn begin_line(&mut self) {
        let written = self.lines.text.as_bytes().get(..self.written);
        let ends = written.and_then(|written| written.iter().rposition(|byte| *byte == b'\n'));
        self.written = ends.map_or(0, |end| end + 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread::JoinHandle;
    use std::time::Duration;

    use parking_lot::Mutex;
    use serde_json::Value;
    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A disk that fails when it is told to.
    #[derive(Debug, Clone, Default)]
    struct Disk(Arc<Mutex<State>>);

    #[derive(Debug, Default)]
    struct State {
        /// What was written to each file, the last of which is open.
        files: Vec<Vec<u8>>,
        /// How many bytes there is room for.
        room: usize,
        fails_to_sync: bool,
        is_gone: bool,
        synced: usize,
        /// Holds up the next write or opening until the other end says so.
        gate: Option<(Sender<()>, Receiver<()>)>,
    }

    impl Target for Disk {
        fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
            self.wait_at_gate();
            let mut state = self.0.lock();
            // A few bytes at a time, so that many writes end within a line.
            let length = lines.len().min(state.room).min(7);
            if length == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.room -= length;
            let file = state.files.last_mut().unwrap();
            file.extend_from_slice(&lines[..length]);
            Ok(length)
        }

        fn sync(&mut self) -> io::Result<()> {
            let mut state = self.0.lock();
            state.synced += 1;
            if state.fails_to_sync {
                Err(io::Error::other("the disk is broken"))
            } else {
                Ok(())
            }
        }

        fn is_gone(&self) -> bool {
            self.0.lock().is_gone
        }

        fn reopen(&mut self) -> io::Result<bool> {
            self.wait_at_gate();
            let mut state = self.0.lock();
            state.is_gone = false;
            state.files.push(Vec::new());
            Ok(true)
        }
    }

    struct Log {
        queue: Arc<Queue>,
        disk: Disk,
        writer: JoinHandle<()>,
    }

    impl Log {
        fn new(is_required: bool, room: usize) -> Self {
            let disk = Disk::default();
            disk.change(|state| {
                state.files.push(Vec::new());
                state.room = room;
            });
            let queue = Arc::new(Queue::new(1, is_required));
            let writer = std::thread::spawn({
                let (queue, disk) = (Arc::clone(&queue), disk.clone());
                move || run(&queue, Box::new(disk), "r")
            });
            Self {
                queue,
                disk,
                writer,
            }
        }

        fn close(self) -> Vec<Vec<(u64, String)>> {
            self.queue.close("r");
            self.end()
        }

        /// The numbers and events of each file, after the end. Only the last line of a file may be half.
        fn end(self) -> Vec<Vec<(u64, String)>> {
            self.writer.join().unwrap();
            let files = std::mem::take(&mut self.disk.0.lock().files);
            let lines = |file: Vec<u8>| -> Vec<_> {
                let text = String::from_utf8(file).unwrap();
                let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
                let parsed = whole.lines().map(|line| {
                    let line: Value = serde_json::from_str(line).unwrap();
                    let event = line["event"].as_str().unwrap().to_owned();
                    (line["seq"].as_u64().unwrap(), event)
                });
                parsed.collect()
            };
            files.into_iter().map(lines).collect()
        }
    }

    impl Disk {
        fn change(&self, change: impl FnOnce(&mut State)) {
            change(&mut self.0.lock());
        }

        /// Closes the gate: returned is what says that it is reached, and what opens it.
        fn close_gate(&self) -> (Receiver<()>, Sender<()>) {
            let ((reached, at_gate), (open, opened)) = (channel(), channel());
            self.change(|state| state.gate = Some((reached, opened)));
            (at_gate, open)
        }

        fn wait_at_gate(&self) {
            let gate = self.0.lock().gate.take();
            if let Some((reached, opened)) = gate {
                reached.send(()).unwrap();
                opened.recv().unwrap();
            }
        }
    }

    /// Waits until something is so, which a thread brings about.
    fn until(is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < PATIENCE, "it does not happen");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    const START: &str = r#""event":"start""#;
    const END: &str = r#""event":"end""#;

    fn numbers(lines: &[(u64, String)]) -> Vec<u64> {
        lines.iter().map(|(number, _)| *number).collect()
    }

    #[tokio::test]
    async fn a_full_disk_tears_no_line_and_what_waits_is_written_later() {
        let log = Log::new(false, 100);
        for _ in 0..4 {
            log.queue.push_start(START).unwrap();
        }
        until(|| log.queue.is_failing());
        for _ in 0..4 {
            log.queue.push(END);
        }
        assert_eq!(log.queue.statistics().lost, 0);
        log.disk.change(|state| state.room = 1 << 20);
        until(|| !log.queue.is_failing());
        assert!(log.queue.is_through(8, PATIENCE).await);
        assert_eq!(log.disk.0.lock().synced, 0, "nobody asked for that");
        let files = log.close();
        assert_eq!(numbers(&files[0]), (1..=9).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_that_was_moved_away_or_removed_gets_no_half_of_a_line() {
        for is_removed in [false, true] {
            let log = Log::new(false, 100);
            for _ in 0..4 {
                log.queue.push_start(START).unwrap();
            }
            until(|| log.queue.is_failing());
            log.disk.change(|state| {
                state.room = 1 << 20;
                state.is_gone = is_removed;
            });
            if !is_removed {
                log.queue.reopen();
            }
            until(|| !log.queue.is_failing());
            let files = log.close();
            assert_eq!(files.len(), 2);
            let all: Vec<_> = files.concat();
            assert_eq!(numbers(&all), (1..=6).collect::<Vec<_>>());
            assert_eq!(files[1].iter().filter(|line| line.1 == "open").count(), 1);
            assert!(!files[0].is_empty() && files[1].len() > 1, "{files:?}");
        }
    }

    #[test]
    fn a_file_that_is_moved_away_between_two_lines_is_followed_by_one_that_says_so() {
        let log = Log::new(false, 1 << 20);
        log.queue.push(START);
        until(|| log.queue.statistics().written == 1);
        log.queue.reopen();
        until(|| log.queue.statistics().written == 2);
        log.queue.push(END);
        let files = log.close();
        let events = |at: usize| files[at].iter().map(|(_, event)| event.as_str());
        assert_eq!(events(0).collect::<Vec<_>>(), ["start"]);
        assert_eq!(events(1).collect::<Vec<_>>(), ["open", "end", "close"]);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_a_line_says_how_much_is_missing() {
        let log = Log::new(false, 0);
        let line = format!(r#"{START},"filler":"{}""#, "x".repeat(1 << 20));
        log.queue.push(START);
        until(|| log.queue.is_failing());
        let places: Vec<_> = (0..6).map(|_| log.queue.push_start(&line)).collect();
        let kept = places.iter().flatten().count();
        assert_eq!(kept, 3, "{places:?}");
        for _ in 0..kept {
            log.queue.push(END);
        }
        let statistics = log.queue.statistics();
        assert_eq!((statistics.lost, statistics.is_failing), (6, true));
        log.disk.change(|state| state.room = 1 << 30);
        until(|| !log.queue.is_failing() && log.queue.statistics().written == 8);
        let files = log.close();
        let events: Vec<_> = files[0].iter().map(|(_, event)| event.as_str()).collect();
        let expected = [
            "start", "start", "start", "start", "end", "end", "end", "lost", "close",
        ];
        assert_eq!(events, expected);
        assert_eq!(numbers(&files[0]), (1..=9).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_missing_at_the_end_is_said_before_the_last_line() {
        let log = Log::new(true, 1 << 20);
        let (at_gate, open) = log.disk.close_gate();
        log.queue.push(START);
        at_gate.recv().unwrap();
        until(|| log.queue.is_failing());
        assert_eq!(log.queue.push_start(START), None);
        log.queue.close("r");
        assert_eq!(log.queue.push_start(START), None);
        assert_eq!(log.queue.statistics().lost, 4);
        open.send(()).unwrap();
        let files = log.end();
        let events: Vec<_> = files[0].iter().map(|(_, event)| event.as_str()).collect();
        assert_eq!(events, ["start", "lost", "close"]);
    }

    #[tokio::test]
    async fn no_required_line_counts_before_it_is_on_the_disk() {
        let log = Log::new(true, 1 << 20);
        let place = log.queue.push_start(START).unwrap();
        assert!(log.queue.is_through(place, PATIENCE).await);
        assert!(log.disk.0.lock().synced > 0);
        log.disk.change(|state| state.fails_to_sync = true);
        let place = log.queue.push_start(START).unwrap();
        assert!(!log.queue.is_through(place, PATIENCE).await);
        assert_eq!(log.queue.push_start(START), None, "it is refused at once");
        log.queue.push(END);
        log.disk.change(|state| state.fails_to_sync = false);
        until(|| !log.queue.is_failing());
        let place = log.queue.push_start(START).unwrap();
        assert!(log.queue.is_through(place, PATIENCE).await);
        let files = log.close();
        assert_eq!(numbers(&files[0]), (1..=6).collect::<Vec<_>>());
        assert!(
            files[0].iter().any(|(_, event)| event == "lost"),
            "{files:?}"
        );
    }

    #[tokio::test]
    async fn what_a_sync_failed_for_is_not_on_the_disk_when_another_succeeds() {
        for is_moved in [false, true] {
            let log = Log::new(true, 1 << 20);
            log.disk.change(|state| state.fails_to_sync = true);
            let place = log.queue.push_start(START).unwrap();
            until(|| log.queue.is_failing());
            log.disk.change(|state| state.fails_to_sync = false);
            if is_moved {
                log.queue.reopen();
            }
            until(|| !log.queue.is_failing());
            assert!(!log.queue.is_through(place, PATIENCE).await);
            let place = log.queue.push_start(START).unwrap();
            assert!(log.queue.is_through(place, PATIENCE).await);
            log.close();
        }
    }

    #[tokio::test]
    async fn a_disk_that_does_not_answer_is_as_good_as_none() {
        let log = Log::new(true, 1 << 20);
        let (at_gate, open) = log.disk.close_gate();
        let place = log.queue.push_start(START).unwrap();
        at_gate.recv().unwrap();
        assert!(!log.queue.is_through(place, Duration::from_millis(10)).await);
        until(|| log.queue.is_failing());
        assert_eq!(log.queue.push_start(START), None);
        open.send(()).unwrap();
        assert!(log.queue.is_through(place, PATIENCE).await);
        assert!(!log.queue.is_failing());
        log.close();
    }

    #[test]
    fn a_file_that_does_not_open_is_as_good_as_none() {
        let log = Log::new(true, 1 << 20);
        let (at_gate, open) = log.disk.close_gate();
        log.queue.reopen();
        at_gate.recv().unwrap();
        until(|| log.queue.is_failing());
        assert_eq!(log.queue.push_start(START), None);
        open.send(()).unwrap();
        until(|| !log.queue.is_failing());
        log.close();
    }

    #[tokio::test]
    async fn the_end_gives_up_what_cannot_be_written_and_all_that_is_behind_it() {
        let log = Log::new(false, 10);
        log.queue.push(START);
        until(|| log.queue.is_failing());
        log.queue.push(END);
        let (queue, disk) = (Arc::clone(&log.queue), log.disk.clone());
        assert_eq!(log.close(), [vec![]]);
        assert!(!queue.is_finished(PATIENCE).await);
        let statistics = queue.statistics();
        assert_eq!((statistics.written, statistics.lost), (0, 3));
        assert_eq!(disk.0.lock().room, 0, "half a line, and nothing behind it");
    }

    #[tokio::test]
    async fn the_end_tries_once_more_what_could_not_be_written() {
        let log = Log::new(false, 10);
        log.queue.push(START);
        until(|| log.queue.is_failing());
        log.queue.push(END);
        log.disk.change(|state| state.room = 1 << 20);
        let queue = Arc::clone(&log.queue);
        let files = log.close();
        assert_eq!(numbers(&files[0]), [1, 2, 3]);
        assert!(queue.is_finished(PATIENCE).await);
        assert_eq!(queue.statistics().lost, 0);
    }
}
