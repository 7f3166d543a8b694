//! What a process in a sandbox can use of the machine.

use std::{fs, io};

use rustix::process::{Resource, Rlimit};

use super::policy::Limits;

impl Limits {
    /// Sets those that the step itself can live with, for good.
    pub(super) fn set(&self) -> io::Result<()> {
        // The program is told first: at the hard limit it is killed.
        set_both(
            Resource::Cpu,
            self.cpu,
            self.cpu.map(|most| most.saturating_add(1)),
        )?;
        set(Resource::Fsize, Some(self.fsize))?;
        set(Resource::Nofile, Some(self.files))?;
        set(Resource::Core, Some(0))?;
        if let Some(most) = self.processes {
            set(Resource::Nproc, Some(most.saturating_add(other_tasks()?)))?;
        }
        Ok(())
    }

    /// Sets the limit of memory, after which the step must not need more.
    pub(super) fn set_memory(&self) -> io::Result<()> {
        set(Resource::As, self.memory)
    }
}

pub(super) fn set(resource: Resource, most: Option<u64>) -> io::Result<()> {
    set_both(resource, most, most)
}

fn set_both(resource: Resource, soft: Option<u64>, hard: Option<u64>) -> io::Result<()> {
    let (Some(soft), Some(hard)) = (soft, hard) else {
        return Ok(());
    };
    // Whoever started the server may have said less already, which nobody can raise again.
    let allowed = rustix::process::getrlimit(resource).maximum;
    let at_most = |most: u64| Some(allowed.map_or(most, |allowed| most.min(allowed)));
    let limit = Rlimit {
        current: at_most(soft),
        maximum: at_most(hard),
    };
    rustix::process::setrlimit(resource, limit)?;
    Ok(())
}

/// How many processes and threads this user has besides this process, since the kernel counts them all:
/// those of the server too, which come and go.
fn other_tasks() -> io::Result<u64> {
    let user = rustix::process::getuid().as_raw();
    let this = std::process::id().to_string();
    let mut tasks = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        if name == *this || !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        // One that has ended meanwhile has no tasks.
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        if field(&status, "Uid:") == Some(u64::from(user)) {
            tasks += field(&status, "Threads:").unwrap_or(1);
        }
    }
    Ok(tasks)
}

/// The first number of a line of `/proc/PID/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tasks_of_a_process_are_read() {
        let status = "Name:\tUid: 7\nUid:\t1000\t0\t0\t0\nThreads:\t12\n";
        assert_eq!(field(status, "Uid:"), Some(1000));
        assert_eq!(field(status, "Threads:"), Some(12));
        assert_eq!(field(status, "Gid:"), None);
        assert!(other_tasks().is_ok());
    }
}
