//! Standard error, as whoever started the server made it: perhaps so that it blocks nobody.

use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Standard error. A write waits for room, also where the descriptor would have it fail, so that no line
/// is cut off.
#[derive(Debug)]
pub(crate) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // All at once: nobody else gets in between.
        write_whole(&mut io::stderr().lock(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes bytes and returns how many: fewer than all if something goes wrong after them.
fn write_whole(to: &mut (impl Write + AsFd), bytes: &[u8]) -> io::Result<usize> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = match to.write(rest) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_for_room(to),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            written => written,
        };
        match written {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if rest.len() == bytes.len() => return Err(error),
            // It is there at the next write, too.
            Err(_) => break,
        }
    }
    Ok(bytes.len() - rest.len())
}

/// Waits until there is room, or none will ever be; nothing was written by then.
fn wait_for_room(to: &impl AsFd) -> io::Result<usize> {
    match poll(&mut [PollFd::new(to, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(0),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, PipeWriter, Read as _};

    use rustix::fs::{OFlags, fcntl_setfl};

    use super::*;

    /// A pipe that has no room and blocks nobody who writes, and how many bytes are in it.
    fn full_pipe() -> (PipeReader, PipeWriter, usize) {
        let (reader, mut writer) = io::pipe().unwrap();
        fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        let mut filled = 0;
        while let Ok(written) = writer.write(b"x") {
            filled += written;
        }
        (reader, writer, filled)
    }

    #[test]
    fn a_full_pipe_that_does_not_block_gets_every_byte_once() {
        let (mut reader, mut writer, filled) = full_pipe();
        let lines: String = (0..100_000).map(|line| format!("{line}\n")).collect();
        let written = std::thread::spawn({
            let lines = lines.clone();
            move || write_whole(&mut writer, lines.as_bytes())
        });
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(written.join().unwrap().unwrap(), lines.len());
        assert!(read.split_at(filled).1 == lines, "lines are torn");
    }

    #[test]
    fn what_nobody_will_read_is_an_error_and_what_was_taken_before_is_not() {
        let (reader, mut writer, _) = full_pipe();
        drop(reader);
        let error = write_whole(&mut writer, b"line\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);

        let (mut reader, mut writer, filled) = full_pipe();
        let written = std::thread::spawn(move || write_whole(&mut writer, &[b'y'; 1 << 20]));
        reader.read_exact(&mut vec![0; filled]).unwrap();
        let mut next = [0];
        reader.read_exact(&mut next).unwrap();
        assert_eq!(&next, b"y");
        drop(reader);
        let written = written.join().unwrap().unwrap();
        assert!((1..1 << 20).contains(&written), "{written}");
    }
}
