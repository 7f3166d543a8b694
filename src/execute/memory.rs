//! Whether the kernel has just ended processes because memory ran out.
//!
//! A process that it ends looks like one that somebody killed. So the number of all that it has ended is
//! looked at every second, and again when a program was killed. It counts for the whole machine, and for
//! each limit of a cgroup on it.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use parking_lot::Mutex;
use rustix::process::Signal;

/// Room for all that is read at once, in bytes: the kernel counts anew for each part.
const ROOM: usize = 16 * 1024;

/// What was seen, of a number that only grows.
#[derive(Debug, Default)]
struct Seen {
    /// At the look before the last one.
    before: Option<u64>,
    last: Option<u64>,
}

static SEEN: Mutex<Seen> = Mutex::new(Seen {
    before: None,
    last: None,
});

/// Takes note of the number as it is now.
pub(super) fn look() {
    let now = ended();
    SEEN.lock().note(now);
}

/// True of a process that was killed when memory had run out since the look before the last one.
pub(super) fn has_ended(status: ExitStatus) -> bool {
    SEEN.lock().explains(status, ended)
}

impl Seen {
    fn note(&mut self, now: Option<u64>) {
        self.before = self.last.or(now);
        self.last = now;
    }

    /// Whether memory that ran out is why a process ended. The number is asked for only if it was killed.
    fn explains(&self, status: ExitStatus, now: impl FnOnce() -> Option<u64>) -> bool {
        status.signal() == Some(Signal::KILL.as_raw()) && self.is_less_than(now())
    }

    fn is_less_than(&self, now: Option<u64>) -> bool {
        let seen = self.before.zip(now);
        seen.is_some_and(|(before, now)| before < now)
    }
}

/// How many processes the kernel has ended since the machine started.
fn ended() -> Option<u64> {
    let mut vmstat = Vec::with_capacity(ROOM);
    File::open("/proc/vmstat")
        .ok()?
        .read_to_end(&mut vmstat)
        .ok()?;
    read(std::str::from_utf8(&vmstat).ok()?)
}

fn read(vmstat: &str) -> Option<u64> {
    let mut lines = vmstat.lines();
    lines.find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_one_of_many() {
        let vmstat = "pgfault 7\noom_kill 3\noom_kill_other 9\n";
        assert_eq!(read(vmstat), Some(3));
        assert_eq!(read("pgfault 7\noom_killer 3\n"), None, "an old kernel");
    }

    #[test]
    fn what_was_seen_twice_is_long_ago() {
        let mut seen = Seen::default();
        assert!(!seen.is_less_than(Some(1)), "nothing is known");
        seen.note(Some(1));
        assert!(!seen.is_less_than(Some(1)));
        assert!(seen.is_less_than(Some(2)));
        seen.note(Some(2));
        assert!(seen.is_less_than(Some(2)), "it may be of just now");
        seen.note(Some(2));
        assert!(!seen.is_less_than(Some(2)));
        assert!(!seen.is_less_than(None));
    }

    #[test]
    fn only_who_was_killed_while_memory_ran_out_ended_by_it() {
        const KILLED: i32 = 9;
        const TERMINATED: i32 = 15;
        let mut seen = Seen::default();
        seen.note(Some(1));
        for (status, now, expected) in [
            (KILLED, Some(2), true),
            (KILLED, Some(1), false),
            (KILLED, None, false),
            (TERMINATED, Some(2), false),
            // As a shell says it of its child.
            (137 << 8, Some(2), false),
            (0, Some(2), false),
        ] {
            let ended = seen.explains(ExitStatus::from_raw(status), || now);
            assert_eq!(ended, expected, "{status} {now:?}");
        }
    }
}
