//! What a process in a sandbox cannot ask the kernel for.
//!
//! Files are Landlock's matter, and so are signals and what `ptrace` guards. What is refused here no
//! rule for files can: sockets, keys, and what one process can do to another of its user.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use super::policy::Net;

/// The rules of a call, any of which refuses it; without a rule it is always refused.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What makes or finds memory, queues and semaphores that all processes of a user share by a number or
/// a name, and no rule for files holds: a way to others, as sockets are.
const SHARED: [i64; 4] = [
    libc::SYS_mq_open,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_shmget,
];

/// Set in the numbers of calls by x32 programs, which the same filter sees.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

/// Keys of the kernel belong to a user or a session and not to a process: a tool would have those
/// of the server.
const KEYS: [i64; 3] = [libc::SYS_add_key, libc::SYS_keyctl, libc::SYS_request_key];

/// Calls that change another process of the user, and the place of the number that says which; it is
/// 0 for the process itself.
const ON_OTHERS: [(i64, u8); 7] = [
    (libc::SYS_prlimit64, 0),
    (libc::SYS_sched_setaffinity, 0),
    (libc::SYS_sched_setattr, 0),
    (libc::SYS_sched_setparam, 0),
    (libc::SYS_sched_setscheduler, 0),
    (libc::SYS_setpriority, 1),
    (libc::SYS_ioprio_set, 1),
];

/// The same for all processes of a user at once: calls whose first number says so.
const ON_ALL: [(i64, u64); 2] = [
    (libc::SYS_setpriority, PRIO_USER),
    (libc::SYS_ioprio_set, IOPRIO_WHO_USER),
];
const PRIO_USER: u64 = 2;
const IOPRIO_WHO_USER: u64 = 3;

/// Refuses calls to this thread and all that comes of it, for good.
pub(super) fn refuse(net: Net) -> Result<(), Error> {
    let refused = filter(others()?, libc::EPERM)?;
    let sockets = sockets(net)?;
    if !sockets.is_empty() {
        apply_filter(&filter(sockets, libc::EACCES)?)?;
    }
    apply_filter(&refused)
}

fn others() -> Result<Rules, Error> {
    let mut rules = Rules::from(KEYS.map(|call| (call, Vec::new())));
    for (call, place) in ON_OTHERS {
        let of_call = rules.entry(call).or_default();
        of_call.push(rule(place, SeccompCmpOp::Ne, 0)?);
    }
    for (call, all) in ON_ALL {
        let of_call = rules.entry(call).or_default();
        of_call.push(rule(0, SeccompCmpOp::Eq, all)?);
    }
    Ok(rules)
}

fn sockets(net: Net) -> Result<Rules, Error> {
    let families = match net {
        Net::Allowed => return Ok(Rules::new()),
        Net::None => Vec::new(),
        Net::Unix => {
            let unix = u64::from(libc::AF_UNIX.unsigned_abs());
            vec![rule(0, SeccompCmpOp::Ne, unix)?]
        }
    };
    // A ring makes sockets by a call that no filter sees.
    let mut rules = Rules::from([
        (libc::SYS_socket, families),
        (libc::SYS_io_uring_setup, Vec::new()),
    ]);
    if net == Net::None {
        // One of a pair that has no connection can send to any other socket.
        let kinds = [libc::SOCK_DGRAM, libc::SOCK_RAW].map(|kind| {
            let is = SeccompCmpOp::MaskedEq(SOCKET_KIND);
            rule(1, is, u64::from(kind.unsigned_abs()))
        });
        let kinds = kinds.into_iter().collect::<Result<_, _>>()?;
        rules.insert(libc::SYS_socketpair, kinds);
        rules.extend(SHARED.map(|call| (call, Vec::new())));
    }
    Ok(rules)
}

/// The bits of the type of a socket that say its kind; the others are flags.
const SOCKET_KIND: u64 = 0xf;

/// Refuses a call when one of its numbers is, or is not, this.
fn rule(place: u8, is: SeccompCmpOp, number: u64) -> Result<SeccompRule, Error> {
    let condition = SeccompCondition::new(place, SeccompCmpArgLen::Dword, is, number)?;
    Ok(SeccompRule::new(vec![condition])?)
}

fn filter(rules: Rules, errno: i32) -> Result<BpfProgram, Error> {
    let refuse = SeccompAction::Errno(errno.unsigned_abs());
    let architecture = TargetArch::try_from(ARCH)?;
    let filter = SeccompFilter::new(twice(rules), SeccompAction::Allow, refuse, architecture)?;
    Ok(BpfProgram::try_from(filter)?)
}

/// The same rules for x32 programs.
#[cfg(target_arch = "x86_64")]
fn twice(mut rules: Rules) -> Rules {
    let again: Vec<_> = (rules.iter())
        .map(|(call, rules)| (call | X32, rules.clone()))
        .collect();
    rules.extend(again);
    rules
}

#[cfg(not(target_arch = "x86_64"))]
fn twice(rules: Rules) -> Rules {
    rules
}
