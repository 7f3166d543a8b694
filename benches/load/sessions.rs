//! What sessions cost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::client::{
    Answer, CALL, Client, INITIALIZE, INITIALIZED, Id, LIST, PING, latencies, lockstep, open,
    post_each,
};
use crate::server::{Server, metric};
use crate::table::{above, below, median, number, quantile, row, spread, title};

/// For the server to come to rest.
const SETTLE: Duration = Duration::from_secs(2);

/// For the allocator to give back what is free, if it does.
const GIVE_BACK: Duration = Duration::from_secs(12);

/// How often each measurement is repeated.
const RUNS: usize = 3;

fn scaled(count: usize, scale: f64) -> usize {
    ((count as f64 * scale) as usize).max(100)
}

/// The connections' own memory is not that of the sessions.
fn warm(clients: &mut [Client]) {
    let requests = 200 * clients.len();
    lockstep(
        clients,
        requests,
        |client, _| client.send_get("/healthz"),
        |_, answer| assert_eq!(answer.status, 200),
    );
    for client in clients {
        let session = client.initialize();
        client.post(Some(&session), PING);
        client.post(Some(&session), LIST);
        client.delete(&session);
    }
    sleep(SETTLE);
}

/// Resident memory per idle session.
pub(crate) fn memory(scale: f64) {
    let count = scaled(100_000, scale);
    title(&format!(
        "memory: resident bytes of the server per idle session, {count} sessions over 8 connections, median of {RUNS} servers"
    ));
    let (mut opened, mut used) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let server = Server::start(&["--max-sessions", "10000000"]);
        let mut clients = Client::many(&server.address, 8);
        warm(&mut clients);
        let before = server.usage().resident;
        let ids = open(&mut clients, count);
        sleep(SETTLE);
        let per_session = |kib: f64| (kib - before) * 1024.0 / count as f64;
        opened.push(per_session(server.usage().resident));
        post_each(&mut clients, &ids, INITIALIZED);
        post_each(&mut clients, &ids, LIST);
        sleep(SETTLE);
        used.push(per_session(server.usage().resident));
    }
    below("after initialize", median(&mut opened), "B", 1024.0);
    let what = "after notifications/initialized and tools/list too";
    below(what, median(&mut used), "B", 1024.0);
    row(
        "spread",
        &format!("{}; {}", spread(&mut opened), spread(&mut used)),
    );
}

/// Raises the limit of descriptors for this process and the servers it starts, and returns it.
fn descriptors() -> usize {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    maximum.map_or(usize::MAX, |maximum| maximum as usize)
}

/// Resident memory per open event stream.
pub(crate) fn streams(scale: f64) {
    let count = scaled(10_000, scale).min(descriptors() - 200);
    title(&format!(
        "streams: resident KiB of the server per open GET stream, {count} sessions with one each"
    ));
    let server = Server::start(&["--max-sessions", "1000000", "--max-connections", "1000000"]);
    let mut clients = Client::many(&server.address, 8);
    warm(&mut clients);
    let ids = open(&mut clients, count);
    post_each(&mut clients, &ids, INITIALIZED);
    sleep(SETTLE);
    let before = server.usage();
    let open: Vec<_> = ids
        .iter()
        .map(|id| Client::connect(&server.address).into_stream(id))
        .collect();
    let per_stream = || (server.usage().resident - before.resident) / count as f64;
    sleep(SETTLE);
    below("opened", per_stream(), "KiB", 12.0);
    // Every stream has had its first heartbeat by then.
    sleep(Duration::from_secs(20));
    below("after a heartbeat", per_stream(), "KiB", 12.0);
    let mut monitor = server.monitor();
    let streaming = metric(&mut monitor, "mcp_serve_streams");
    row("streams by the server's count", &number(streaming));
    let with = server.usage().descriptors - before.descriptors;
    row("descriptors for them", &format!("{with}"));
    drop(open);
    sleep(GIVE_BACK);
    row(
        "left over after they are closed",
        &format!("{} KiB a stream", number(per_stream())),
    );
}

/// Requests per second, and the server's processor time for each in microseconds.
fn rate(server: &Server, count: usize, run: impl FnOnce()) -> (f64, f64) {
    let (cpu, began) = (server.cpu(), Instant::now());
    run();
    let elapsed = began.elapsed().as_secs_f64();
    let count = count as f64;
    (count / elapsed, (server.cpu() - cpu) * 1e6 / count)
}

/// Sessions created per second.
pub(crate) fn create(scale: f64) {
    const CONNECTIONS: [usize; 3] = [8, 32, 64];
    let count = scaled(30_000, scale);
    title(&format!(
        "create: one initialize at a time on N connections, {count} each, median of {RUNS} interleaved runs"
    ));
    let server = Server::start(&["--max-sessions", "10000000"]);
    let mut results = CONNECTIONS.map(|connections| {
        let mut clients = Client::many(&server.address, connections);
        warm(&mut clients);
        (clients, [const { Vec::new() }; 4])
    });
    for _ in 0..RUNS {
        for (clients, samples) in &mut results {
            let mut health = 0;
            let ceiling = rate(&server, count, || {
                lockstep(
                    clients,
                    count,
                    |client, _| client.send_get("/healthz"),
                    |_, answer| health += usize::from(answer.status == 200),
                );
            });
            assert_eq!(health, count);
            let created = rate(&server, count, || drop(open(clients, count)));
            let all = [created.0, ceiling.0, created.1, ceiling.1];
            for (samples, value) in samples.iter_mut().zip(all) {
                samples.push(value);
            }
        }
    }
    for ((_, [created, ceiling, cpu, ceiling_cpu]), connections) in
        results.iter_mut().zip(CONNECTIONS)
    {
        let what = format!("N = {connections}: sessions per second");
        above(&what, median(created), "/s", 30_000.0);
        row("  spread", &spread(created));
        row("  GET /healthz per second, same client", &spread(ceiling));
        let share = median(created) / median(ceiling);
        row("  sessions per healthz", &format!("{share:.2}"));
        let (created, ceiling) = (spread(cpu), spread(ceiling_cpu));
        let text = format!("{created} a session, {ceiling} a healthz");
        row("  processor time of the server, microseconds", &text);
    }
}

/// The cost of a request beside many idle sessions.
pub(crate) fn flat(scale: f64) {
    const ROUNDS: usize = 7;
    let lives = [10, scaled(10_000, scale), scaled(1_000_000, scale)];
    title(&format!(
        "flat: a ping in one of N live sessions, at random; median of {ROUNDS} interleaved rounds of 16000"
    ));
    let mut servers = lives.map(|live| {
        let server = Server::start(&["--max-sessions", "10000000"]);
        let mut clients = Client::many(&server.address, 16);
        warm(&mut clients);
        let mut ids = open(&mut clients, live);
        shuffle(&mut ids);
        (server, clients, ids, [const { Vec::new() }; 3])
    });
    for _ in 0..ROUNDS {
        for (server, clients, ids, [cpu, rates, p50]) in &mut servers {
            let id = |at: usize| ids.get(at % ids.len());
            let (per_second, micros) = rate(server, 16_000, || {
                lockstep(
                    clients,
                    16_000,
                    |client, at| client.send_post(id(at), PING),
                    |_, answer| assert_eq!(answer.status, 200),
                );
            });
            cpu.push(micros);
            rates.push(per_second);
            let client = clients.first_mut().unwrap();
            let mut alone: Vec<f64> = (0..4000)
                .map(|at| {
                    let sent = Instant::now();
                    client.post(id(at), PING);
                    sent.elapsed().as_secs_f64() * 1e6
                })
                .collect();
            p50.push(median(&mut alone));
            // The next round asks other sessions.
            let by = 20_000 % ids.len();
            ids.rotate_left(by);
        }
    }
    let mut few = None;
    for ((_, _, _, [cpu, rates, p50]), live) in servers.iter_mut().zip(lives) {
        let text = format!(
            "{} us of processor, {} /s over 16 connections, p50 alone {} us",
            spread(cpu),
            spread(rates),
            spread(p50)
        );
        row(&format!("N = {live}"), &text);
        let (cpu, p50) = (median(cpu), median(p50));
        let (few_cpu, few_p50) = *few.get_or_insert((cpu, p50));
        let ratios = (cpu / few_cpu, p50 / few_p50);
        row(
            "  against the fewest",
            &format!("{:.2} processor, {:.2} p50", ratios.0, ratios.1),
        );
    }
}

/// In an order that has nothing to do with that of creation; the same in every run.
fn shuffle(ids: &mut [Id]) {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    for at in (1..ids.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ids.swap(at, (state % (at as u64 + 1)) as usize);
    }
}

/// Many more sessions than there is room for, and nothing left of them.
pub(crate) fn flood(scale: f64) {
    let count = scaled(100_000, scale);
    title(&format!(
        "flood: {count} initialize without DELETE over 64 connections, room for 10000 sessions, idle timeout 10 s"
    ));
    for (how, options) in [
        (
            "refused when full",
            ["--on-session-limit", "reject"].as_slice(),
        ),
        (
            "evicting when full",
            ["--session-evict-min-idle", "1ms"].as_slice(),
        ),
    ] {
        let timeout = ["--session-idle-timeout", "10s"];
        let server = Server::start(&[options, &timeout].concat());
        let mut clients = Client::many(&server.address, 64);
        warm(&mut clients);
        let mut monitor = server.monitor();
        let sessions = |monitor: &mut Client| metric(monitor, "mcp_serve_sessions");
        assert!(sessions(&mut monitor) < 1.0);
        let before = server.usage();
        let (mut created, mut refused, mut other, mut most) = (0, 0, 0, 0.0_f64);
        let began = Instant::now();
        for _ in 0..10 {
            lockstep(
                &mut clients,
                count / 10,
                |client, _| client.send_post(None, INITIALIZE),
                |_, Answer { status, session }| match (status, session) {
                    (200, Some(_)) => created += 1,
                    (503, None) => refused += 1,
                    _ => other += 1,
                },
            );
            most = most.max(sessions(&mut monitor));
        }
        let elapsed = began.elapsed().as_secs_f64();
        row(
            how,
            &format!(
                "{created} created, {refused} refused, {other} other, {} s",
                number(elapsed)
            ),
        );
        below("  most sessions seen", most, "sessions", 10_000.0);
        let mib = |kib: f64| number(kib / 1024.0);
        row(
            "  resident memory",
            &format!(
                "{} MiB before, {} after, {} at its peak",
                mib(before.resident),
                mib(server.usage().resident),
                mib(server.usage().peak)
            ),
        );
        while sessions(&mut monitor) > 0.0 {
            assert!(began.elapsed() < Duration::from_mins(2), "sessions stay");
            sleep(Duration::from_millis(100));
        }
        row(
            "  until no session is left",
            &format!("{} s", number(began.elapsed().as_secs_f64())),
        );
        sleep(GIVE_BACK);
        let after = server.usage();
        let grown = after.resident / before.resident;
        below(
            "  resident memory then, against before",
            grown,
            "times",
            1.1,
        );
        row("  in MiB", &mib(after.resident));
        let more = after.descriptors.abs_diff(before.descriptors);
        below("  descriptors more or fewer", more as f64, "", 2.0);
        row(
            "  threads",
            &format!("{} before, {} then", before.threads, after.threads),
        );
    }
}

/// Everything expires at once while somebody works.
pub(crate) fn expiry(scale: f64) {
    let count = scaled(1_000_000, scale);
    let timeout = Duration::from_secs((90.0 * scale).max(20.0) as u64);
    title(&format!(
        "expiry: {count} idle sessions expire at once beside one client; {RUNS} runs, ping and tools/call in turn"
    ));
    let option = format!("{}s", timeout.as_secs());
    let server = Server::start(&[
        "--max-sessions",
        "10000000",
        "--session-idle-timeout",
        &option,
    ]);
    let mut clients = Client::many(&server.address, 32);
    warm(&mut clients);
    row(
        "resident memory before",
        &format!("{} MiB", number(server.usage().resident / 1024.0)),
    );
    let mut ratios = [const { Vec::new() }; 2];
    for run in 1..=RUNS {
        let began = Instant::now();
        drop(open(&mut clients, count));
        let opened = Instant::now();
        let taken = began.elapsed();
        assert!(
            taken + Duration::from_secs(8) < timeout,
            "expired before all were open"
        );
        let client = clients.first_mut().unwrap();
        let session = client.initialize();
        let mut quiet = Beside::work(client, &session, &server, |_, elapsed, _| {
            elapsed < Duration::from_secs(6)
        });
        let full = server.usage().resident / 1024.0;
        // A stopped process keeps its monotonic clock: when it goes on, everything is overdue.
        server.signal(Signal::STOP);
        let halted = Instant::now();
        sleep((timeout + Duration::from_secs(1)).saturating_sub(opened.elapsed()));
        server.signal(Signal::CONT);
        let (resumed, stopped) = (Instant::now(), halted.elapsed());
        let session = client.initialize();
        let first = resumed.elapsed();
        let mut during = Beside::work(client, &session, &server, |left, elapsed, lag| {
            assert!(
                elapsed < Duration::from_mins(2),
                "{left} sessions stay, lag {lag}"
            );
            left > 1.0
        });
        row(
            &format!("run {run}: opened in {} s", number(taken.as_secs_f64())),
            &format!("{} MiB resident with all", number(full)),
        );
        row(
            "  all ended after",
            &format!(
                "{} s; the reaper, stopped for {} s, came at most {} s late; initialize right after {} ms",
                number(during.elapsed.as_secs_f64()),
                number(stopped.as_secs_f64()),
                number(during.lag),
                number(first.as_secs_f64() * 1000.0)
            ),
        );
        let pairs = quiet.latencies.iter_mut().zip(&mut during.latencies);
        for (((quiet, during), name), ratios) in pairs.zip(["ping", "tools/call"]).zip(&mut ratios)
        {
            let text = format!(
                "quiet p50 {} p99 {} ({} samples); during p50 {} p99 {} most {} ({})",
                number(median(quiet)),
                number(quantile(quiet, 0.99)),
                quiet.len(),
                number(median(during)),
                number(quantile(during, 0.99)),
                number(quantile(during, 1.0)),
                during.len(),
            );
            row(&format!("  {name}, microseconds"), &text);
            ratios.push(quantile(during, 0.99) / quantile(quiet, 0.99));
        }
        sleep(GIVE_BACK);
        row(
            "  resident memory then",
            &format!("{} MiB", number(server.usage().resident / 1024.0)),
        );
    }
    for (name, ratios) in ["ping", "tools/call"].into_iter().zip(&mut ratios) {
        let what = format!("{name}: p99 during the expiry against quiet, median");
        below(&what, median(ratios), "times", 2.0);
        row("  spread", &spread(ratios));
    }
}

/// What a client saw that works beside whatever else happens.
struct Beside {
    /// In microseconds: of `ping`, and of `tools/call`.
    latencies: [Vec<f64>; 2],
    elapsed: Duration,
    /// The most that the reaper was late, in seconds, of the sweeps that were seen.
    lag: f64,
}

impl Beside {
    /// Works as long as `go_on`, which is told the number of sessions, the time since the start
    /// and the lag, about ten times a second.
    fn work(
        client: &mut Client,
        session: &Id,
        server: &Server,
        go_on: impl Fn(f64, Duration, f64) -> bool + Sync,
    ) -> Self {
        const TURN: Duration = Duration::from_millis(50);
        let (began, over) = (Instant::now(), AtomicBool::new(false));
        let mut samples = [const { Vec::new() }; 2];
        let (elapsed, lag) = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut monitor = server.monitor();
                let mut most: f64 = 0.0;
                loop {
                    let left = metric(&mut monitor, "mcp_serve_sessions");
                    let elapsed = began.elapsed();
                    most = most.max(metric(&mut monitor, "mcp_serve_reaper_lag_seconds"));
                    if !go_on(left, elapsed, most) {
                        over.store(true, Ordering::Relaxed);
                        return (elapsed, most);
                    }
                    sleep(Duration::from_millis(100));
                }
            });
            while !over.load(Ordering::Relaxed) {
                for (samples, body) in samples.iter_mut().zip([PING, CALL]) {
                    if !over.load(Ordering::Relaxed) {
                        samples.extend(latencies(client, session, body, TURN));
                    }
                }
            }
            watcher.join().unwrap()
        });
        Self {
            latencies: samples,
            elapsed,
            lag,
        }
    }
}
