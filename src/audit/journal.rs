//! The journal of systemd, by its native protocol: a datagram for each line.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use super::file::OpenError;
use super::target::Target;

/// Where the journal takes datagrams.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The journal. It finds the lines of the audit log by `SYSLOG_IDENTIFIER`.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    pub(super) fn open() -> Result<Self, OpenError> {
        Self::at(Path::new(SOCKET))
    }

    fn at(path: &Path) -> Result<Self, OpenError> {
        let socket = UnixDatagram::unbound()?;
        // A journal that is not there should be noticed by whoever starts the server. It is not
        // connected to: it may be another one later.
        UnixDatagram::unbound()?
            .connect(path)
            .map_err(OpenError::NoJournal)?;
        let path = path.to_owned();
        Ok(Self { socket, path })
    }
}

impl Target for Journal {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let end = lines.iter().position(|byte| *byte == b'\n');
        let (line, _) = lines.split_at(end.unwrap_or(lines.len()));
        let fields: [&[u8]; 4] = [
            b"MESSAGE=",
            line,
            b"\nSYSLOG_IDENTIFIER=mcp-serve-audit",
            b"\nPRIORITY=6\n",
        ];
        self.socket.send_to(&fields.concat(), &self.path)?;
        Ok(lines.len().min(line.len() + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_an_entry_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let refused = Journal::at(&path).unwrap_err();
        assert!(matches!(refused, OpenError::NoJournal(_)), "{refused}");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let mut journal = Journal::at(&path).unwrap();
        let lines = b"{\"seq\":1}\n{\"seq\":2}\n";
        assert_eq!(journal.write(lines).unwrap(), 10);
        assert_eq!(journal.write(&lines[10..]).unwrap(), 10);
        let mut entry = [0; 200];
        for number in 1..3 {
            let length = receiver.recv(&mut entry).unwrap();
            let expected = format!(
                "MESSAGE={{\"seq\":{number}}}\nSYSLOG_IDENTIFIER=mcp-serve-audit\nPRIORITY=6\n"
            );
            assert_eq!(String::from_utf8_lossy(&entry[..length]), expected);
        }
        // Another journal takes over.
        drop(receiver);
        std::fs::remove_file(&path).unwrap();
        assert!(journal.write(lines).is_err());
        let receiver = UnixDatagram::bind(&path).unwrap();
        assert_eq!(journal.write(lines).unwrap(), 10);
        assert!(receiver.recv(&mut entry).is_ok());
    }
}
