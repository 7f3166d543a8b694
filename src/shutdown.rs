//! Signals, as a stream of events.

use std::io;

use futures_util::{Stream, StreamExt as _};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook_tokio::Signals;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Stop; holds the signal's number for the exit code of a second one.
    Stop(i32),
    /// Write statistics to the log.
    Report,
    /// Read the definitions again.
    Reload,
}

/// Starts to listen for SIGTERM, SIGINT, SIGUSR1 and SIGHUP.
///
/// # Errors
///
/// The operating system's error, when the handlers cannot be set.
pub fn events() -> io::Result<impl Stream<Item = Event> + Send + Unpin> {
    let signals = Signals::new([SIGTERM, SIGINT, SIGUSR1, SIGHUP])?;
    Ok(signals.map(|signal| match signal {
        SIGUSR1 => Event::Report,
        SIGHUP => Event::Reload,
        signal => Event::Stop(signal),
    }))
}
