//! The end of a server that could do nothing about it (F12), and one that must not start (F26).

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::thread;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use serde_json::json;

use super::{Watched, tool};
use crate::metrics::{value, wait_for};
use crate::support::{ERAS, Prepare, command, eventually, run, wait_for_ends};

const CALLS: usize = 100;

/// Has the server listen there and nowhere else.
fn listen(prepare: &mut Prepare<'_>, address: &str) {
    let arguments: Vec<_> = prepare.command.get_args().map(ToOwned::to_owned).collect();
    let mut other = command();
    other.args(["--listen", address]);
    // The first two are the address of every test.
    other.args(&arguments[2..]);
    other.stdin(Stdio::null()).stdout(Stdio::null());
    other.stderr(Stdio::piped());
    *prepare.command = other;
}

/// Its programs are the service manager's then. They must not be in the way of the next server.
#[test]
fn a_server_that_was_killed_leaves_room_for_the_next() {
    let tools = tool("waits", "wait go result", "    concurrency: 128\n");
    // Nobody else gets its port while nobody listens there.
    let [_, host @ ..] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, host[0], host[1], host[2]);
    let mut watched = Watched::start_with(&tools, &[], |prepare| {
        listen(prepare, &format!("{own}:0"));
    });
    let clients = ERAS.map(|era| watched.client(era));
    let start = |number: usize| watched.start_call(&clients[number % 2], "waits", &json!({}));
    let calls: Vec<_> = (0..CALLS).map(start).collect();
    wait_for(&watched.monitor, "in flight", |samples| {
        (value(samples, "calls_in_flight") - 100.0).abs() < 0.5
    });
    // A few start at once.
    let left = eventually(|| Some(watched.server.descendants()).filter(|left| left.len() >= CALLS));
    let left = left.unwrap_or_else(|| panic!("{:?}", watched.server.descendants()));
    let address = watched.server.address().to_owned();
    watched.server.signal("KILL");
    assert_eq!(watched.server.wait().code(), None);
    for mut http in calls {
        assert_eq!(http.read_line(), None, "no answer and no half of one");
    }
    let next = Watched::start_with("", &[], |prepare| listen(prepare, &address));
    next.check("after a killed server");
    // What is left ends by itself: nobody hears it any more.
    fs::write(watched.file("go"), "").unwrap();
    wait_for_ends(&left, "killed server");
}

/// Without random numbers an id would be a guess.
#[test]
fn a_machine_without_random_numbers_serves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tools.yaml");
    fs::write(&file, "tools: {a: {description: d, content: x}}").unwrap();
    let filter = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_getrandom, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EIO.unsigned_abs()),
        ARCH.try_into().unwrap(),
    );
    let filter = BpfProgram::try_from(filter.unwrap()).unwrap();
    let mut server = command();
    server
        .args(["--listen", "127.0.0.1:0", "--tools"])
        .arg(&file);
    let refused = thread::scope(|scope| {
        let without = scope.spawn(|| {
            // For this thread, and what it starts.
            apply_filter(&filter).unwrap();
            run(&mut server)
        });
        without.join().unwrap()
    });
    assert!(!matches!(refused.code, Some(0)), "{refused:?}");
    assert!(!refused.stderr.contains("listening"), "{refused:?}");
    assert!(refused.stderr.contains("random"), "{refused:?}");
}
