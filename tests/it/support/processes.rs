//! The processes of this machine, read from /proc.

use std::collections::HashSet;
use std::fs;

use super::eventually;

/// The living processes below one, read from /proc.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // "PID (name) STATE PPID …", where the name may hold anything.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        if let Some(parent) = after_name
            .split_whitespace()
            .nth(1)
            .and_then(|p| p.parse().ok())
        {
            parents.push((pid, parent));
        }
    }
    let mut found = HashSet::from([root]);
    while let Some((pid, _)) = parents
        .iter()
        .find(|(pid, parent)| found.contains(parent) && !found.contains(pid))
    {
        found.insert(*pid);
    }
    found.remove(&root);
    found.into_iter().collect()
}

/// The living members of a process group, whoever their parent is by now.
pub(crate) fn group_members(group: u32) -> Vec<u32> {
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        // "PID (name) STATE PPID PGRP …", where the name may hold anything.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<_> = after_name.split_ascii_whitespace().collect();
        if let [state, _, member_of, ..] = fields.as_slice()
            && !["Z", "X"].contains(state)
            && member_of.parse() == Ok(group)
        {
            members.push(pid);
        }
    }
    members
}

/// Waits until nothing lives in a process group.
pub(crate) fn wait_for_end_of_group(group: u32) {
    eventually(|| group_members(group).is_empty().then_some(()))
        .unwrap_or_else(|| panic!("{:?} are left in group {group}", group_members(group)));
}

/// True if a process runs, and is not just waiting to be taken note of.
fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Waits until none of these processes runs. They were killed; the kernel may take a moment.
pub(crate) fn wait_for_ends(processes: &[u32], case: &str) {
    let left = || {
        processes
            .iter()
            .filter(|pid| is_running(**pid))
            .collect::<Vec<_>>()
    };
    let gone = eventually(|| left().is_empty().then_some(()));
    assert!(gone.is_some(), "{case}: {:?} are left", left());
}
