//! What sessions and calls cost, held against the goals of the project.
//!
//! ```text
//! cargo bench --bench load                      # every scenario: about half an hour
//! cargo bench --bench load -- memory create     # some of them
//! cargo bench --bench load -- flat scale=0.1    # with a tenth of the sessions, calls or time
//! cargo bench --bench load -- create server=PATH    # of another build
//! ```
//!
//! Each scenario starts the release binary, and talks to it over loopback from this process, which
//! shares the processors with it. So times say little by themselves: compare them within one run.
//! What is said of processor time and memory is the server's alone. `benches/README.md` says what
//! was measured, and how to read it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark starts processes, reads the clock, calculates and prints"
)]

mod audit;
mod auth;
mod calls;
mod client;
mod instructions;
mod overload;
mod peers;
mod programs;
mod server;
mod sessions;
mod table;
mod variants;

/// A name, and what runs for it with a factor for how much it does.
type Scenario = (&'static str, fn(f64));

const SCENARIOS: [Scenario; 14] = [
    ("memory", sessions::memory),
    ("streams", sessions::streams),
    ("create", sessions::create),
    ("flat", sessions::flat),
    ("flood", sessions::flood),
    ("expiry", sessions::expiry),
    ("calls", calls::calls),
    ("auth", auth::auth),
    ("audit", audit::audit),
    ("instructions", instructions::instructions),
    ("programs", programs::programs),
    ("sandbox", programs::sandbox),
    ("resident", programs::resident),
    ("overload", overload::overload),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("run by `cargo bench` only");
        return;
    }
    let mut wanted = Vec::new();
    let mut scale = 1.0;
    for argument in &arguments {
        if let Some(value) = argument.strip_prefix("scale=") {
            scale = value.parse().unwrap();
        } else if let Some(path) = argument.strip_prefix("server=") {
            server::use_binary(path);
        } else if let Some(scenario) = SCENARIOS.iter().find(|(name, _)| name == argument) {
            wanted.push(*scenario);
        } else if !argument.starts_with("--") {
            let names = SCENARIOS.map(|(name, _)| name).join(", ");
            panic!("no scenario {argument}; there are {names}, scale=FACTOR and server=PATH");
        }
    }
    if wanted.is_empty() {
        wanted.extend(SCENARIOS);
    }
    for (_, scenario) in wanted {
        scenario(scale);
    }
}
