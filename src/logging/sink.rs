//! Lines on their way to standard error, which may take none for as long as it likes: whoever logs
//! never waits for it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// The most lines that wait.
const MAX_LINES: usize = 8192;

/// The most bytes of lines that wait.
const MAX_BYTES: usize = 1 << 20;

/// How many bytes of lines are written at once; a line that is longer is written alone.
const MAX_BATCH: usize = 64 * 1024;

/// How long lines are gathered after some were written. Whoever logs meanwhile need not wake the thread,
/// which costs more than the line; a line that comes after a pause is written at once.
pub(crate) const GATHER: Duration = Duration::from_millis(5);

/// How long the end of the program waits for the last lines.
const MAX_FLUSH: Duration = Duration::from_secs(1);

/// How many lines were lost, in all.
static LOST: AtomicU64 = AtomicU64::new(0);

/// The lines that were lost since the start because nobody took them.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Takes lines, one with each write, and hands them to a thread that writes them.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    lines: Sender<Vec<u8>>,
    waiting: Arc<Waiting>,
}

/// What waits to be written, until it is.
#[derive(Debug, Default)]
struct Waiting {
    load: Mutex<Load>,
    is_empty: Condvar,
}

#[derive(Debug, Default)]
struct Load {
    lines: usize,
    bytes: usize,
}

/// Waits for the last lines when it is dropped, but not for long.
#[derive(Debug)]
#[must_use = "the last lines are lost if it is dropped at once"]
pub struct Flush(Arc<Waiting>);

impl Sink {
    /// Starts the thread. A write of the target takes all it is given, unless something is wrong with it.
    ///
    /// # Errors
    ///
    /// The operating system's, when there can be no thread.
    pub(super) fn start(target: impl Write + Send + 'static) -> io::Result<(Self, Flush)> {
        let (sender, lines) = mpsc::channel();
        let waiting = Arc::new(Waiting::default());
        let sink = Self {
            lines: sender,
            waiting: Arc::clone(&waiting),
        };
        let flush = Flush(Arc::clone(&waiting));
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&lines, target, &waiting))?;
        Ok((sink, flush))
    }
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut load = self.waiting.load.lock();
        if load.has_room(line.len()) && self.lines.send(line.to_owned()).is_ok() {
            load.lines += 1;
            load.bytes += line.len();
        } else {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Load {
    fn has_room(&self, bytes: usize) -> bool {
        self.lines == 0 || (self.lines < MAX_LINES && self.bytes + bytes <= MAX_BYTES)
    }
}

/// Writes what comes. A target that takes nothing any more loses lines, and ends nothing. That lines
/// were lost is said when one was taken again: said before, it would be lost itself, and be said again.
fn write_lines(lines: &Receiver<Vec<u8>>, mut target: impl Write, waiting: &Waiting) {
    let mut known = lost();
    for first in lines {
        let mut count = 1;
        let mut batch = first;
        while batch.len() < MAX_BATCH
            && let Ok(line) = lines.try_recv()
        {
            count += 1;
            batch.extend_from_slice(&line);
        }
        let taken = target.write(&batch).unwrap_or(0);
        let rest = batch.get(taken..).unwrap_or_default();
        let is_taken = rest.is_empty();
        if !is_taken {
            LOST.fetch_add(lines_in(rest), Ordering::Relaxed);
        }
        let mut load = waiting.load.lock();
        load.lines -= count;
        load.bytes -= batch.len();
        let is_empty = load.lines == 0;
        drop(load);
        if is_empty {
            waiting.is_empty.notify_all();
            let all = lost();
            if is_taken && all > known {
                tracing::warn!(
                    lines = all - known,
                    "the log has lost lines: nobody took them"
                );
                known = lost();
            }
        }
        thread::sleep(GATHER);
    }
}

/// How many lines end in this.
fn lines_in(text: &[u8]) -> u64 {
    text.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

impl Drop for Flush {
    fn drop(&mut self) {
        let mut load = self.0.load.lock();
        self.0
            .is_empty
            .wait_while_for(&mut load, |load| load.lines > 0, MAX_FLUSH);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// Takes a line when the test lets it.
    struct Slow {
        allowed: Receiver<()>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.allowed.recv().map_err(io::Error::other)?;
            self.written
                .send(line.to_owned())
                .map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whoever_logs_does_not_wait_and_what_is_too_much_is_counted() {
        let (allow, allowed) = mpsc::channel();
        let (written, read) = mpsc::channel();
        let (mut sink, flush) = Sink::start(Slow { allowed, written }).unwrap();
        let mut line = vec![b'x'; MAX_BYTES / 4];
        line[MAX_BYTES / 4 - 1] = b'\n';
        let before = lost();
        for _ in 0..6 {
            sink.write_all(&line).unwrap();
        }
        assert_eq!(lost() - before, 2, "four fit");
        for _ in 0..4 {
            allow.send(()).unwrap();
        }
        drop(flush);
        assert_eq!(read.try_iter().count(), 4);
        let before = lost();
        for _ in 0..MAX_LINES + 10 {
            sink.write_all(b"y\n").unwrap();
        }
        assert_eq!(lost() - before, 10);
    }

    #[test]
    fn the_end_waits_for_the_last_lines_but_not_for_ever() {
        let (_allow, allowed) = mpsc::channel();
        let (written, _read) = mpsc::channel();
        let (mut sink, flush) = Sink::start(Slow { allowed, written }).unwrap();
        sink.write_all(b"never taken\n").unwrap();
        let began = Instant::now();
        drop(flush);
        assert!(began.elapsed() >= MAX_FLUSH);
    }
}
