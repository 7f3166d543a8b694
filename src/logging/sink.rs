//! Lines on their way to standard error, which may take none for as long as it likes: whoever logs
//! never waits for it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// The most lines that wait.
const MAX_LINES: usize = 1024;

/// The most bytes of lines that wait.
const MAX_BYTES: usize = 1 << 20;

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
    lines: SyncSender<Vec<u8>>,
    waiting: Arc<Waiting>,
}

/// The bytes that wait to be written.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Mutex<usize>,
    is_empty: Condvar,
}

/// Waits for the last lines when it is dropped, but not for long.
#[derive(Debug)]
#[must_use = "the last lines are lost if it is dropped at once"]
pub struct Flush(Arc<Waiting>);

impl Sink {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The operating system's, when there can be no thread.
    pub(super) fn start(target: impl Write + Send + 'static) -> io::Result<(Self, Flush)> {
        let (sender, lines) = mpsc::sync_channel(MAX_LINES);
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
        let mut waiting = self.waiting.bytes.lock();
        let has_room = *waiting == 0 || *waiting + line.len() <= MAX_BYTES;
        if has_room && self.lines.try_send(line.to_owned()).is_ok() {
            *waiting += line.len();
        } else {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what comes. A target that takes nothing any more loses lines, and ends nothing. That lines
/// were lost is said when one was taken again: said before, it would be lost itself, and be said again.
fn write_lines(lines: &Receiver<Vec<u8>>, mut target: impl Write, waiting: &Waiting) {
    let mut known = lost();
    for line in lines {
        let is_taken = target.write_all(&line).is_ok();
        if !is_taken {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        let mut bytes = waiting.bytes.lock();
        *bytes -= line.len();
        let is_empty = *bytes == 0;
        drop(bytes);
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
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let mut bytes = self.0.bytes.lock();
        self.0
            .is_empty
            .wait_while_for(&mut bytes, |bytes| *bytes > 0, MAX_FLUSH);
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
        let line = vec![b'x'; MAX_BYTES / 4];
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
        let small = b"y".to_vec();
        let before = lost();
        for _ in 0..MAX_LINES + 10 {
            sink.write_all(&small).unwrap();
        }
        // One may be in the hands of the thread.
        assert!((9..=10).contains(&(lost() - before)));
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
