//! What the server's own start does to the signals of its children.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{FORBIDDEN, SIGPIPE, SIGTTIN, SIGTTOU, SIGXFSZ};

/// Those that stay as they are. The standard library ignores SIGPIPE and gives children the default. Of a
/// terminal that belongs to others the kernel would try to read or write for ever if the last two were
/// handled.
const LEFT_ALONE: [i32; 3] = [SIGPIPE, SIGTTIN, SIGTTOU];

/// Handles each signal that the server was started with as ignored, by doing nothing. To the server that
/// is the same, but `posix_spawn` gives children the default of what has a handler, while they would
/// inherit what is ignored: a tool would not hear SIGINT or SIGQUIT because a script started the server
/// with `&`, and a server with SIGCHLD ignored would not hear how a program has ended.
pub(super) fn handle_ignored() -> io::Result<()> {
    // Without /proc nobody says.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    // A file that may not become larger is an error, and no end of the server.
    for signal in ignored(&status).chain([SIGXFSZ]) {
        if !LEFT_ALONE.contains(&signal) && !FORBIDDEN.contains(&signal) {
            signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
        }
    }
    Ok(())
}

/// The standard signals that are ignored, see `proc_pid_status(5)`.
fn ignored(status: &str) -> impl Iterator<Item = i32> {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let bits = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    let bits = bits.unwrap_or_default();
    (1..=31).filter(move |signal| bits >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ignored_signals_are_those_whose_bits_are_set() {
        let cases = [
            (
                "SigBlk:\t0000000000000001\nSigIgn:\t0000000000000000\n",
                vec![],
            ),
            ("SigIgn:\t0000000000001006\n", vec![2, 3, 13]),
            // glibc keeps two of the real-time signals to itself.
            ("SigIgn:\t8000000180010000\n", vec![17]),
            ("SigIgn:\tx\n", vec![]),
            ("", vec![]),
        ];
        for (status, expected) in cases {
            assert_eq!(ignored(status).collect::<Vec<_>>(), expected, "{status}");
        }
    }
}
