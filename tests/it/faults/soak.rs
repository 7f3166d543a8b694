//! Many calls, one in ten of which goes wrong (G6): nothing leaks, and nobody gets the answer of another.
//!
//! `MCP_SERVE_SOAK_CALLS=100000 cargo test --test it -- soak --nocapture` is the long one;
//! `MCP_SERVE_SOAK_SEED` repeats a run.

use std::fs;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::{Watched, tool};
use crate::metrics::{value, wait_for};
use crate::support::{Client, ERAS, eventually, sha256, write_script};

/// How many clients call at once.
const CLIENTS: u64 = 16;

/// How many calls there are if nothing else is said.
const CALLS: u64 = 800;

/// A number from the environment.
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Pseudo-random numbers (SplitMix64): the same seed gives the same ones.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn tools() -> String {
    let short = "    timeout: 100ms\n    cancel: {grace: 50ms}\n";
    [
        tool("own", "echo {text}", "    params: {text: string}\n"),
        tool("exit", "exit 3", ""),
        tool("killed", "signal KILL", ""),
        tool("slow", "sleep", short),
        tool("stopped", "signal STOP", short),
        tool(
            "loud",
            "flood stdout lines 1000000",
            "    max_output: 1KiB\n",
        ),
        tool(
            "daemon",
            "daemon closed-setsid-fork {file}",
            "    params: {file: string}\n",
        ),
        tool(
            "left",
            "sleep",
            "    timeout: 2s\n    cancel: {grace: 50ms}\n",
        ),
    ]
    .concat()
        + "  missing:\n    description: Is not there.\n    exec: ./missing\n    workdir: .\n"
}

/// What a call that goes wrong must say.
const FAULTS: [(&str, &str); 7] = [
    ("exit", "exit status 3"),
    ("killed", "signal 9"),
    ("slow", "time limit"),
    ("stopped", "time limit"),
    ("loud", "[output cut"),
    ("missing", "ENOENT"),
    ("daemon", "started"),
];

/// The calls of one client. All clients use the same ids. Returns how many answers it did not wait for.
fn calls(client: &Client, seed: u64, who: u64, count: u64) -> usize {
    let mut left = 0;
    let mut random = Random(seed ^ who);
    let mut http = client.connect();
    for id in 0..count {
        let case = format!("seed {seed}, client {who}, call {id}");
        let is_good = random.below(10) > 0;
        let fault = usize::try_from(random.below(8)).unwrap();
        let (tool, says) = match FAULTS.get(fault) {
            _ if is_good => ("own", case.clone()),
            Some((tool, says)) => (*tool, (*says).to_owned()),
            None => ("left", String::new()),
        };
        let arguments = match tool {
            "own" => json!({"text": case}),
            "daemon" => json!({"file": format!("daemon-{who}-{id}.pid")}),
            _ => json!({}),
        };
        let params = json!({"name": tool, "arguments": arguments});
        client.send_on(&mut http, &client.message(id, "tools/call", &params));
        if tool == "left" {
            http = client.connect();
            left += 1;
            continue;
        }
        let response = http.read();
        let message = response.json();
        assert_eq!(message["id"], id, "{case} {tool}: {response:?}");
        let told = message["result"]["content"][0]["text"].as_str();
        let told = told.unwrap_or_else(|| panic!("{case} {tool}: {response:?}"));
        let is_own = if tool == "own" {
            told == says
        } else {
            told.contains(&says)
        };
        assert!(is_own, "{case} {tool}: {told}");
    }
    left
}

#[test]
fn many_calls_of_which_some_go_wrong_leave_nothing() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("MCP_SERVE_SOAK_SEED").unwrap_or(u64::from(now.subsec_nanos()));
    let count = number("MCP_SERVE_SOAK_CALLS").unwrap_or(CALLS);
    println!("MCP_SERVE_SOAK_CALLS={count} MCP_SERVE_SOAK_SEED={seed}");
    let token = |who: u64| format!("token-of-client-{who}-mfZ3b1mXk0Qy7h2Vn5cR8w");
    let entry = |who| {
        format!(
            "  - {{sha256: {}, subject: client{who}}}\n",
            sha256(&token(who))
        )
    };
    let entries: String = (0..CLIENTS).map(entry).collect();
    let auth = format!("tokens:\n{entries}");
    let watched = Watched::with_token(&tools(), &[], Some(token(0)), |prepare| {
        prepare.serve_with_auth(&auth);
        write_script(prepare.folder, "missing", "exit");
    });
    fs::remove_file(watched.file("missing")).unwrap();
    let each = count / CLIENTS;
    let left: usize = thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|who| {
            let era = ERAS[usize::try_from(who % 2).unwrap()];
            let client = Client::new(&watched.server, era, Some(&token(who)));
            scope.spawn(move || calls(&client, seed, who, each))
        });
        let clients: Vec<_> = clients.collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    // A request whose client has left may end before there is a call.
    let most = watched.calls.get() + usize::try_from(each * CLIENTS).unwrap();
    wait_for(&watched.monitor, "at rest", |samples| {
        value(samples, "calls_in_flight") < 0.5
    });
    // The line of a call follows its answer, and its end in the audit log.
    let settled = eventually(|| {
        let (logged, ended) = (watched.logged(), watched.ended());
        (logged == ended && logged + left >= most).then_some(logged)
    });
    let logged = settled.unwrap_or_else(|| panic!("seed {seed}: {}", watched.logged()));
    assert!(logged <= most, "seed {seed}: {logged} of {most}");
    watched.calls.set(logged);
    watched.check(&format!("seed {seed}"));
}
