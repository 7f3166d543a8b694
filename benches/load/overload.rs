//! Ten times what a tool can do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::calls::{request, session_fields};
use crate::client::Client;
use crate::server::Server;
use crate::table::{above, below, number, quantile, row, title};

/// A tool that takes a tenth of a second, sixteen at once.
const TOOLS: &str = "
tools:
  slow:
    description: Takes a while.
    exec: /bin/sleep 0.1
    concurrency: {max: 16, queue: 16}
";

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"slow","arguments":{}}}"#;

/// What the tool can do.
const CAPACITY: usize = 16;

/// What is called in a second when ten times too much is.
const OFFERED: f64 = 1600.0;

/// Enough that the offer is kept up while the calls that are let in take a fifth of a second.
const CLIENTS: usize = 160;

/// How long.
const TIME: Duration = Duration::from_mins(1);

/// What came of the calls.
#[derive(Debug, Default)]
struct Answers {
    done: usize,
    refused: Vec<f64>,
}

/// Calls on so many connections, each at this pace, or as fast as it can without one.
fn load(server: &Server, clients: usize, pace: Option<Duration>, time: Duration) -> Answers {
    let session = Client::connect(&server.address).initialize();
    let request = request(&server.address, &session_fields(&session), CALL);
    let answers = Mutex::new(Answers::default());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for at in 0..clients {
            let (request, answers) = (&request, &answers);
            scope.spawn(move || {
                let mut client = Client::connect(&server.address);
                let mut own = Answers::default();
                let mut next = pace.map(|pace| began + pace.mul_f64(at as f64 / clients as f64));
                while began.elapsed() < time {
                    if let (Some(next), Some(pace)) = (&mut next, pace) {
                        std::thread::sleep(next.saturating_duration_since(Instant::now()));
                        *next += pace;
                    }
                    let sent = Instant::now();
                    client.send(request);
                    if client.receive_unless_refused() {
                        own.done += 1;
                    } else {
                        own.refused.push(sent.elapsed().as_secs_f64() * 1e3);
                    }
                }
                let mut all = answers.lock().unwrap();
                all.done += own.done;
                all.refused.extend(own.refused);
            });
        }
    });
    answers.into_inner().unwrap()
}

/// Ten times what a tool can do: what still gets through, and how fast the rest hears of it.
pub(crate) fn overload(scale: f64) {
    let time = TIME.mul_f64(scale);
    title(&format!(
        "overload: {OFFERED} calls/s of a tool that can do {} for {} s, health asked every 50 ms beside",
        CAPACITY * 10,
        time.as_secs()
    ));
    let server = Server::serve(TOOLS, &["--json-response"]);
    let quiet = time.div_f64(4.0);
    let peak = load(&server, CAPACITY, None, quiet).done as f64 / quiet.as_secs_f64();
    let before = server.usage();
    let over = AtomicBool::new(false);
    let (mut answers, mut health) = std::thread::scope(|scope| {
        let health = scope.spawn(|| {
            let mut client = Client::connect(&server.address);
            let mut latencies = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let sent = Instant::now();
                client.send_get("/healthz");
                assert_eq!(client.receive().status, 200);
                latencies.push(sent.elapsed().as_secs_f64() * 1e3);
                std::thread::sleep(Duration::from_millis(50));
            }
            latencies
        });
        let pace = Duration::from_secs_f64(CLIENTS as f64 / OFFERED);
        let answers = load(&server, CLIENTS, Some(pace), time);
        over.store(true, Ordering::Relaxed);
        (answers, health.join().unwrap())
    });
    let goodput = answers.done as f64 / time.as_secs_f64();
    let offered = (answers.done + answers.refused.len()) as f64 / time.as_secs_f64();
    row("calls/s without overload", &number(peak));
    row("calls/s that came", &number(offered));
    above("done, of those without overload", goodput / peak, "", 0.9);
    let refused = quantile(&mut answers.refused, 0.99);
    below("p99 of a refusal", refused, "ms", 10.0);
    below("slowest health", quantile(&mut health, 1.0), "ms", 50.0);
    let after = server.usage();
    let grown = after.resident / before.resident;
    row("memory after / before", &number(grown));
}
