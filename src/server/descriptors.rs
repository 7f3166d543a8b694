//! How many descriptors the server may open, and what fits into that.
//!
//! A server that has none left can neither accept nor start anything, nor read its definitions. So it
//! takes no more on than it has descriptors for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::MAX_MONITOR_CONNECTIONS;

/// How many a call takes: both ends of three pipes while its process starts, then one end of the first
/// and one for the process.
const PER_CALL: u64 = 6;

/// How many are kept for everything else: listeners, the log, watches, a reload, connections that are
/// refused; 16 of them are spare.
const RESERVED: u64 = 40;

/// How much is taken on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// The most connections of clients.
    pub(super) connections: usize,
    /// The most connections for metrics.
    pub(super) monitor: usize,
    /// The most calls.
    pub(super) calls: usize,
}

impl Limits {
    fn needed(self) -> u64 {
        let connections = self.connections.saturating_add(self.monitor);
        let calls = PER_CALL.saturating_mul(count(self.calls));
        count(connections)
            .saturating_add(calls)
            .saturating_add(RESERVED)
    }
}

/// Raises the limit of open descriptors as far as that is needed and allowed. Returns what then fits,
/// which the log says if it is less than was wanted.
pub(super) fn fit(max_connections: usize, max_calls: usize) -> Limits {
    let wanted = Limits {
        connections: max_connections,
        monitor: MAX_MONITOR_CONNECTIONS,
        calls: max_calls,
    };
    let allowed = raise(wanted.needed());
    let fitting = within(allowed, wanted);
    if fitting != wanted {
        tracing::warn!(
            descriptors = allowed,
            needed = wanted.needed(),
            max_connections = fitting.connections,
            max_calls = fitting.calls,
            "the limit of open files is too low for what is configured: less is served at once; raise \
             `ulimit -n`, or LimitNOFILE= of the unit"
        );
    }
    fitting
}

/// Raises the limit to at least `needed`, if that is allowed, and returns it. It is not raised
/// further: tools inherit it, and some of them close every descriptor that they could have.
fn raise(needed: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= needed {
        return current;
    }
    let raised = limit.maximum.map_or(needed, |most| most.min(needed));
    let new = Rlimit {
        current: Some(raised),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, new) {
        Ok(()) => raised,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files cannot be raised");
            current
        }
    }
}

/// What fits into so many descriptors: half of those that are not reserved are for calls.
fn within(allowed: u64, wanted: Limits) -> Limits {
    if allowed >= wanted.needed() {
        return wanted;
    }
    let free = allowed.saturating_sub(RESERVED);
    let calls = wanted.calls.min(most(free / 2 / PER_CALL));
    let left = free.saturating_sub(PER_CALL.saturating_mul(count(calls)));
    let monitor = wanted.monitor.min(most(left / 4));
    let left = left.saturating_sub(count(monitor));
    Limits {
        connections: wanted.connections.min(most(left)),
        monitor,
        calls,
    }
}

/// At least one: a server that can do nothing is of no use, and this may go well.
fn most(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX).max(1)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_on_fits() {
        let wanted = Limits {
            connections: 10_000,
            monitor: 64,
            calls: 256,
        };
        let needed = wanted.needed();
        assert_eq!(needed, 10_000 + 64 + 6 * 256 + 40);
        assert_eq!(within(needed, wanted), wanted);
        let limits = |connections, monitor, calls| Limits {
            connections,
            monitor,
            calls,
        };
        let cases = [
            (64, limits(9, 3, 2)),
            (256, limits(81, 27, 18)),
            (1024, limits(428, 64, 82)),
            (needed - 1, limits(9_999, 64, 256)),
        ];
        for (allowed, fitting) in cases {
            assert_eq!(within(allowed, wanted), fitting, "{allowed}");
            assert!(fitting.needed() <= allowed, "{allowed}");
        }
        assert_eq!(within(0, wanted), limits(1, 1, 1), "it tries");
    }
}
