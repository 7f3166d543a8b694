//! Which files a process in a sandbox can reach, and which processes: by Landlock.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    PathBeneath, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError,
    Scope,
};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::policy::{Net, Policy};

/// The first version that holds files for certain: those before let every file be cut to nothing.
const NEEDED: ABI = ABI::V3;
/// The first version that keeps signals within the sandbox.
pub(super) const WITH_SIGNALS: ABI = ABI::V6;
/// The version whose rights are handled as far as the kernel has them.
const KNOWN: ABI = ABI::V6;

/// What programs need to start and to know the machine and its users by name, and certificates. What
/// of it is not there is left out. `/proc` shows nothing of a process outside that is private: that
/// is Landlock's rule for `ptrace`.
const READABLE: &[&str] = &[
    "/bin",
    "/dev/random",
    "/dev/urandom",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/gai.conf",
    "/etc/gitconfig",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/openssl.cnf",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/proc",
    "/sbin",
    "/usr",
];
/// What everybody writes to.
const WRITABLE: &[&str] = &["/dev/full", "/dev/null", "/dev/zero"];

/// How a file is opened that a rule names.
const NAMED: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// How many symbolic links a path may lead over: as many as Linux follows.
const MAX_LINKS: usize = 40;

/// Confines this thread and all that comes of it, for good; returns the version of Landlock.
///
/// # Errors
///
/// What is missing, or which path.
pub(super) fn confine(policy: &Policy, program: Option<&Path>) -> Result<ABI, String> {
    let rules = rules(policy.net).map_err(|error| missing(&error))?;
    let rules = with_system(rules).map_err(|error| error.to_string())?;
    let rules = with_paths(rules, policy, program)?;
    let status = rules.restrict_self().map_err(|error| missing(&error))?;
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => Ok(effective_abi),
        other => Err(of_status(other)),
    }
}

/// A set of rules that allows nothing.
fn rules(net: Net) -> Result<RulesetCreated, RulesetError> {
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(NEEDED))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?;
    // No socket can be made, and none that is handed over can be connected.
    let rules = match net {
        Net::Allowed => rules,
        Net::None | Net::Unix => rules.handle_access(AccessNet::from_all(KNOWN))?,
    };
    rules.create()
}

fn with_system(mut rules: RulesetCreated) -> Result<RulesetCreated, RulesetError> {
    let readable = READABLE.iter().map(|path| (path, can_read()));
    let writable = WRITABLE.iter().map(|path| (path, can_write()));
    for (path, access) in readable.chain(writable) {
        if let Ok(file) = rustix::fs::open(*path, NAMED, Mode::empty()) {
            rules = rules.add_rule(beneath(file, access))?;
        }
    }
    Ok(rules)
}

fn with_paths(
    mut rules: RulesetCreated,
    policy: &Policy,
    program: Option<&Path>,
) -> Result<RulesetCreated, String> {
    let read = policy.read.iter().map(|path| (path.as_path(), can_read()));
    let write = (policy.write.iter()).map(|path| (path.as_path(), can_write()));
    // A program that is not there is told by what becomes it.
    let program = program.filter(|program| program.exists());
    let program = program.map(|path| (path, can_read()));
    // A folder has more names than one.
    let writable = policy.write.iter();
    let writable: Vec<_> = writable.filter_map(|at| at.canonicalize().ok()).collect();
    for (path, access) in read.chain(write).chain(program) {
        let file = open(path, &writable)
            .map_err(|error| format!("{} cannot be opened: {error}", path.display()))?;
        rules = (rules.add_rule(beneath(file, access))).map_err(|error| error.to_string())?;
    }
    Ok(rules)
}

/// Opens a path to name it in a rule. Where an earlier call of the tool could write, it may have left a
/// link to what it cannot reach: from there on no link is followed out. `writable` are paths without
/// links.
fn open(path: &Path, writable: &[PathBuf]) -> Result<OwnedFd, Errno> {
    let is_writable = |at: &Path| writable.iter().any(|folder| at.starts_with(folder));
    let (folder, below) = walk(path, is_writable)?;
    let folder = rustix::fs::open(&folder, NAMED, Mode::empty())?;
    if below == Path::new("") {
        return Ok(folder);
    }
    rustix::fs::openat2(folder, &below, NAMED, Mode::empty(), ResolveFlags::BENEATH)
}

/// Follows an absolute path, and the links in it, until it `ends`; returns where it came to, by a path
/// without links, and what is left.
fn walk(path: &Path, ends: impl Fn(&Path) -> bool) -> Result<(PathBuf, PathBuf), Errno> {
    let mut at = PathBuf::from("/");
    let mut left = path.to_owned();
    let mut links = 0;
    while !ends(&at) {
        let mut parts = left.components();
        let Some(part) = parts.next() else { break };
        let mut rest = parts.as_path().to_owned();
        match part {
            Component::RootDir => at = PathBuf::from("/"),
            Component::ParentDir => drop(at.pop()),
            Component::CurDir | Component::Prefix(_) => {}
            Component::Normal(name) => {
                let next = at.join(name);
                match rustix::fs::readlink(&next, Vec::new()) {
                    Ok(_) if links == MAX_LINKS => return Err(Errno::LOOP),
                    Ok(target) => {
                        links += 1;
                        rest = Path::new(OsStr::from_bytes(target.to_bytes())).join(rest);
                    }
                    // It is no link.
                    Err(Errno::INVAL) => at = next,
                    Err(error) => return Err(error),
                }
            }
        }
        left = rest;
    }
    Ok((at, left))
}

fn can_read() -> BitFlags<AccessFs> {
    AccessFs::from_read(KNOWN)
}

fn can_write() -> BitFlags<AccessFs> {
    AccessFs::from_all(KNOWN)
}

/// A file, or a folder with all that is below it. What only folders have is no right on a file.
fn beneath(file: OwnedFd, access: BitFlags<AccessFs>) -> PathBeneath<OwnedFd> {
    let stat = rustix::fs::fstat(&file);
    let is_folder =
        stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
    let access = if is_folder {
        access
    } else {
        access & AccessFs::from_file(KNOWN)
    };
    PathBeneath::new(file, access)
}

/// What this machine lacks.
fn missing(error: &RulesetError) -> String {
    // Only a set of rules that was applied says what the kernel has.
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create)
        .and_then(RulesetCreated::restrict_self);
    match status.map(|status| status.landlock) {
        Ok(LandlockStatus::Available { effective_abi, .. }) if effective_abi >= NEEDED => {
            format!("Landlock does not take the rules: {error}")
        }
        Ok(status) => of_status(status),
        Err(_) => format!("Landlock does not work here: {error}"),
    }
}

fn of_status(status: LandlockStatus) -> String {
    match status {
        LandlockStatus::NotEnabled => {
            "Landlock is switched off in this kernel; add it to `lsm=` on its command line".into()
        }
        LandlockStatus::NotImplemented => {
            "this kernel has no Landlock, or a filter of system calls hides it".into()
        }
        LandlockStatus::Available { effective_abi, .. } => format!(
            "Landlock of this kernel is version {effective_abi}, and version {NEEDED} is needed, \
             which Linux has from 6.2 on"
        ),
    }
}
