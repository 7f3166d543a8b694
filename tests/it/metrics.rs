//! What an operator sees: metrics, health, the list of sessions, and the log.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use axum::body::Body;
use http_body_util::BodyExt as _;
use mcp_serve::http::{Connection, Delivery, monitor};
use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::in_process::{self, InProcess};
use crate::support::{
    ALLOWANCE, Client, GATE, Gate, Http, PATIENCE, Response, TestServer, eventually, initialize,
    statistics_of, text,
};

fn tools() -> String {
    format!(
        "
name: metrics-test
tools:
  echo:
    description: Prints its argument.
    effect: read
    exec: printf %s {{text}}
    params: {{text: string}}
  long:
    description: Prints more than the sockets between a server and its client hold.
    exec: [sh, -c, 'head -c 5000000 /dev/zero | tr \\0 x; touch \"$1.started\"', sh, '{{path}}']
    max_output: 6MiB
    params: {{path: string}}
{GATE}"
    )
}

/// A server with a listener for metrics.
fn serve(options: &[&str]) -> TestServer {
    let all = [
        "--metrics-listen",
        "127.0.0.1:0",
        "--max-sessions-per-principal",
        "0",
    ];
    TestServer::start(&tools(), &[&all, options].concat())
}

/// The address of the listener for metrics.
pub(crate) fn monitor_of(server: &TestServer) -> String {
    let line = server.wait_for_log("\"message\":\"metrics\"");
    let line: Value = serde_json::from_str(&line).unwrap();
    text(&line["address"])
}

fn get(address: &str, path: &str) -> Response {
    Http::connect(address).request("GET", path, &[], "")
}

pub(crate) type Samples = BTreeMap<String, f64>;

fn samples(page: &str) -> Samples {
    assert!(page.ends_with("\n# EOF\n"), "{page}");
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

pub(crate) fn scrape(address: &str) -> Samples {
    let response = get(address, "/metrics");
    assert_eq!(response.status, 200, "{response:?}");
    samples(response.text())
}

/// The value of one of our own series.
pub(crate) fn value(samples: &Samples, series: &str) -> f64 {
    let series = format!("mcp_serve_{series}");
    let value = samples.get(&series);
    *value.unwrap_or_else(|| panic!("no {series} in {samples:#?}"))
}

/// The sum over all labels of one of our own metrics.
pub(crate) fn sum(samples: &Samples, name: &str) -> f64 {
    let begin = format!("mcp_serve_{name}{{");
    let series = samples
        .iter()
        .filter(|(series, _)| series.starts_with(&begin));
    series.map(|(_, value)| value).sum()
}

pub(crate) fn ended(samples: &Samples, reason: &str) -> f64 {
    value(
        samples,
        &format!("sessions_ended_total{{reason=\"{reason}\"}}"),
    )
}

fn lookups_failed(samples: &Samples, reason: &str) -> f64 {
    value(
        samples,
        &format!("session_lookups_failed_total{{reason=\"{reason}\"}}"),
    )
}

/// Created less ended is what lives. Returns how many live.
pub(crate) fn check_invariant(samples: &Samples) -> f64 {
    let created = sum(samples, "sessions_created_total");
    let ended = sum(samples, "sessions_ended_total");
    let alive = sum(samples, "sessions");
    let states = samples
        .iter()
        .filter(|(series, _)| series.starts_with("mcp_serve_sessions{"));
    for (series, value) in states {
        assert!(*value >= 0.0, "{series} {value}");
    }
    assert!((created - ended - alive).abs() < 0.5, "{samples:#?}");
    alive
}

/// Scrapes until something is so.
pub(crate) fn wait_for(address: &str, what: &str, is_so: impl Fn(&Samples) -> bool) -> Samples {
    let found = eventually(|| Some(scrape(address)).filter(&is_so));
    found.unwrap_or_else(|| panic!("not {what}: {:#?}", scrape(address)))
}

fn on_session(server: &TestServer, client: &Client, method: &str) -> Http {
    let mut http = Http::connect(server.address());
    let headers = client.headers(&Value::Null);
    let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    http.send(method, "/mcp", &headers, "");
    http
}

fn delete(server: &TestServer, client: &Client) -> u16 {
    on_session(server, client, "DELETE").read().status
}

fn ping(client: &Client) -> u16 {
    client.request("ping", &json!({})).status
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn every_metric_is_there_with_its_type_and_help() {
    let server = serve(&[]);
    let client = server.client(Era::Legacy);
    assert_eq!(client.call_text("echo", &json!({"text": "x"})), "x");
    assert_eq!(delete(&server, &client), 204);
    let response = get(&monitor_of(&server), "/metrics");
    assert_eq!(
        response.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let metrics = [
        ("sessions", "gauge"),
        ("sessions_limit", "gauge"),
        ("session_idle_timeout_seconds", "gauge"),
        ("sessions_created", "counter"),
        ("sessions_ended", "counter"),
        ("sessions_claimed", "counter"),
        ("sessions_rejected", "counter"),
        ("session_lookups_failed", "counter"),
        ("session_requests", "histogram"),
        ("session_idle_at_reap_seconds", "histogram"),
        ("session_reuse_gap_seconds", "histogram"),
        ("reaper_runs", "counter"),
        ("reaper_run_duration_seconds", "histogram"),
        ("reaper_lag_seconds", "gauge"),
        ("reaper_last_run_timestamp_seconds", "gauge"),
        ("session_oldest_age_seconds", "gauge"),
        ("session_longest_idle_seconds", "gauge"),
        ("requests_in_flight", "gauge"),
        ("streams", "gauge"),
        ("stream_closed", "counter"),
        ("stream_dropped_messages", "counter"),
        ("stream_buffered_bytes", "gauge"),
        ("duplicate_request_ids", "counter"),
        ("missing_session_id", "counter"),
        ("auth_failures", "counter"),
        ("calls_in_flight", "gauge"),
        ("calls_limit", "gauge"),
        ("calls_stuck", "gauge"),
        ("log_lines_lost", "counter"),
        ("tasks", "gauge"),
        ("tasks_limit", "gauge"),
        ("task_results_bytes", "gauge"),
        ("outputs", "gauge"),
        ("outputs_size_bytes", "gauge"),
        ("tasks_created", "counter"),
        ("tasks_ended", "counter"),
        ("tasks_forgotten", "counter"),
        ("tasks_rejected", "counter"),
        ("subscriptions", "gauge"),
        ("watched_folders", "gauge"),
        ("reload_success", "gauge"),
        ("definitions_loaded_timestamp_seconds", "gauge"),
        ("reloads", "counter"),
    ];
    let page = response.text();
    let count = |name: &str, kind: &str| {
        let typed = format!("# TYPE {name} {kind}\n");
        assert_eq!(page.matches(&typed).count(), 1, "{typed}{page}");
        let helped = format!("# HELP {name} ");
        assert_eq!(page.matches(&helped).count(), 1, "{helped}{page}");
    };
    for (name, kind) in metrics {
        count(&format!("mcp_serve_{name}"), kind);
    }
    count("mcp_server_session_duration_seconds", "histogram");
    let samples = samples(page);
    let labels = [
        (
            "sessions_ended_total",
            "reason",
            "client_delete idle unused evicted_lru evicted_principal init_timeout init_failed \
             max_age revoked crash shutdown",
        ),
        ("sessions", "state", "initializing idle busy streaming"),
        (
            "sessions_rejected_total",
            "reason",
            "max_sessions principal_limit rate draining",
        ),
        (
            "session_lookups_failed_total",
            "reason",
            "expired deleted evicted unknown principal_mismatch",
        ),
        (
            "sessions_created_total",
            "protocol",
            "2025-03-26 2025-06-18 2025-11-25",
        ),
        (
            "tasks",
            "status",
            "working input_required completed failed cancelled",
        ),
        ("tasks_ended_total", "status", "completed failed cancelled"),
        (
            "tasks_forgotten_total",
            "reason",
            "expired evicted not_started",
        ),
        (
            "tasks_rejected_total",
            "reason",
            "max_tasks principal_limit",
        ),
    ];
    for (name, label, values) in labels {
        for of_label in values.split_whitespace() {
            value(&samples, &format!("{name}{{{label}=\"{of_label}\"}}"));
        }
    }
    assert!((value(&samples, "sessions_limit") - 10_000.0).abs() < 0.5);
    assert!((value(&samples, "session_idle_timeout_seconds") - 1800.0).abs() < 0.5);
    assert!((ended(&samples, "client_delete") - 1.0).abs() < 0.5);
    assert!(!page.contains(client.session()), "an id is no label");
}

#[test]
fn what_was_created_less_what_ended_is_what_lives_at_every_scrape() {
    let server = serve(&["--session-idle-timeout", "300ms", "--max-sessions", "10"]);
    let address = monitor_of(&server);
    let over = AtomicBool::new(false);
    let mut scrapes = 0;
    thread::scope(|scope| {
        for worker in 0..4 {
            let (server, over) = (&server, &over);
            scope.spawn(move || {
                let mut http = Http::connect(server.address());
                let body = initialize("2025-06-18").to_string();
                let headers = [
                    ("Content-Type", "application/json"),
                    ("Accept", "application/json, text/event-stream"),
                ];
                for round in 0.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let opened = http.request("POST", "/mcp", &headers, &body);
                    assert!([200, 503].contains(&opened.status), "{opened:?}");
                    // Some are deleted, some expire.
                    if let Some(id) = opened.header("mcp-session-id")
                        && (round + worker) % 3 != 0
                    {
                        let id = [("Mcp-Session-Id", id)];
                        let deleted = http.request("DELETE", "/mcp", &id, "");
                        assert!([204, 404].contains(&deleted.status), "{deleted:?}");
                    }
                }
            });
        }
        let mut before = Samples::new();
        let started = Instant::now();
        let mut most = 0.0_f64;
        while started.elapsed() < Duration::from_secs(3) {
            let now = scrape(&address);
            most = most.max(check_invariant(&now));
            let counters = |series: &str| series.contains("_total") || series.contains("_count");
            for (series, value) in now.iter().filter(|(series, _)| counters(series)) {
                let earlier = before.get(series).copied().unwrap_or_default();
                assert!(*value >= earlier, "{series}: {earlier}, then {value}");
            }
            before = now;
            scrapes += 1;
        }
        over.store(true, Ordering::Relaxed);
        assert!(most > 1.0, "sessions live while they are counted");
    });
    assert!(scrapes > 10, "{scrapes} scrapes");
    let last = wait_for(&address, "empty", |samples| check_invariant(samples) < 0.5);
    for reason in ["client_delete", "idle"] {
        assert!(ended(&last, reason) > 0.5, "{reason}: {last:#?}");
    }
    let rejected = value(&last, "sessions_rejected_total{reason=\"max_sessions\"}");
    assert!(rejected > 0.5, "{last:#?}");
}

/// Session rule A9.
#[test]
fn an_end_is_counted_by_its_reason() {
    let timeouts = serve(&[
        "--session-init-timeout=2s",
        "--session-unused-timeout=3s",
        "--session-idle-timeout=4s",
    ]);
    let aged = serve(&["--session-max-age=2s"]);
    let full = serve(&["--max-sessions=1", "--session-evict-min-idle=1ms"]);

    let body = initialize("2025-11-25");
    let silent = client_post(&timeouts, &body);
    assert_eq!(silent.status, 200);
    let unused = timeouts.client(Era::Legacy);
    assert_eq!(ping(&unused), 200);
    let used = timeouts.client(Era::Legacy);
    assert_eq!(used.call_text("echo", &json!({"text": "x"})), "x");
    let deleted = timeouts.client(Era::Legacy);
    assert_eq!(delete(&timeouts, &deleted), 204);
    let old = aged.client(Era::Legacy);
    let evicted = full.client(Era::Legacy);
    thread::sleep(Duration::from_millis(50));
    let _newer = full.client(Era::Legacy);

    let address = monitor_of(&timeouts);
    wait_for(&address, "all four ended", |samples| {
        check_invariant(samples) < 0.5
            && ["init_timeout", "unused", "idle", "client_delete"]
                .iter()
                .all(|reason| (ended(samples, reason) - 1.0).abs() < 0.5)
    });
    wait_for(&monitor_of(&aged), "aged", |samples| {
        (ended(samples, "max_age") - 1.0).abs() < 0.5
    });
    let samples = scrape(&monitor_of(&full));
    assert!((ended(&samples, "evicted_lru") - 1.0).abs() < 0.5);
    assert!((check_invariant(&samples) - 1.0).abs() < 0.5);

    // Why an id finds nothing is known to the operator, not to the client.
    for client in [&unused, &used, &deleted] {
        assert_eq!(ping(client), 404);
    }
    let samples = scrape(&address);
    assert!(
        (lookups_failed(&samples, "expired") - 2.0).abs() < 0.5,
        "{samples:#?}"
    );
    assert!(
        (lookups_failed(&samples, "deleted") - 1.0).abs() < 0.5,
        "{samples:#?}"
    );
    assert!(lookups_failed(&samples, "unknown") < 0.5, "{samples:#?}");
    assert_eq!(ping(&old), 404);
    assert_eq!(ping(&evicted), 404);
    let foreign = on_session(&full, &deleted, "DELETE").read();
    assert_eq!(foreign.status, 404);
    let mut http = Http::connect(full.address());
    let garbage = [("Mcp-Session-Id", "garbage")];
    assert_eq!(http.request("DELETE", "/mcp", &garbage, "").status, 404);
    let samples = scrape(&monitor_of(&full));
    assert!(
        (lookups_failed(&samples, "evicted") - 1.0).abs() < 0.5,
        "{samples:#?}"
    );
    assert!(
        (lookups_failed(&samples, "unknown") - 2.0).abs() < 0.5,
        "{samples:#?}"
    );
    let samples = scrape(&monitor_of(&aged));
    assert!(
        (lookups_failed(&samples, "expired") - 1.0).abs() < 0.5,
        "{samples:#?}"
    );
}

/// Posts a message outside every session.
fn client_post(server: &TestServer, message: &Value) -> Response {
    let headers = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
    ];
    Http::connect(server.address()).request("POST", "/mcp", &headers, &message.to_string())
}

/// A response without what changes from one to the next.
fn without_date(mut response: Response) -> Response {
    response.headers.retain(|(name, _)| name != "date");
    response
}

#[test]
fn the_listener_for_metrics_serves_nothing_else() {
    let shown = serve(&["--debug-sessions"]);
    let hidden = serve(&[]);
    let (shown_address, hidden_address) = (monitor_of(&shown), monitor_of(&hidden));
    for server in [&shown, &hidden] {
        for path in ["/metrics", "/debug/sessions"] {
            assert_eq!(
                get(server.address(), path).status,
                404,
                "{path} for clients"
            );
        }
        for path in ["/healthz", "/readyz"] {
            assert_eq!(get(server.address(), path).status, 200, "{path}");
            assert_eq!(get(&monitor_of(server), path).status, 200, "{path}");
        }
        let mut http = Http::connect(&monitor_of(server));
        let body = initialize("2025-11-25").to_string();
        let headers = [("Content-Type", "application/json")];
        assert_eq!(http.request("POST", "/mcp", &headers, &body).status, 404);
        assert_eq!(
            http.request("POST", "/metrics", &headers, &body).status,
            405
        );
    }
    for method in ["GET", "POST", "DELETE", "OPTIONS"] {
        let ask = |path| Http::connect(&hidden_address).request(method, path, &[], "");
        assert_eq!(
            without_date(ask("/debug/sessions")),
            without_date(ask("/debug/nothing")),
            "{method}"
        );
    }
    let ask = |method| Http::connect(&shown_address).request(method, "/debug/sessions", &[], "");
    assert_eq!(ask("GET").status, 200);
    assert_eq!(ask("DELETE").status, 405);
    for query in ["?limit=1001", "?limit=0", "?sort=name", "?x=y", "?offset"] {
        let path = format!("/debug/sessions{query}");
        assert_eq!(get(&shown_address, &path).status, 400, "{query}");
    }
}

#[test]
fn a_web_page_reads_no_metrics() {
    let server = serve(&["--debug-sessions", "--allowed-host", "metrics.example.com"]);
    let address = monitor_of(&server);
    let ask = |path: &str, host: &str, origin: &str| {
        let mut http = Http::connect(&address);
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{origin}\r\n");
        http.write(request.as_bytes());
        http.read().status
    };
    for path in ["/metrics", "/debug/sessions", "/nothing"] {
        assert_eq!(ask(path, "evil.example:9090", ""), 421, "{path}");
        let origin = "Origin: https://evil.example\r\n";
        assert_eq!(ask(path, "localhost", origin), 403, "{path}");
    }
    assert_eq!(ask("/metrics", "localhost:9090", ""), 200);
    assert_eq!(ask("/metrics", "metrics.example.com", ""), 200);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(path, "evil.example", ""), 200, "{path}");
    }
}

#[test]
fn the_sessions_are_listed_in_pages() {
    let server = serve(&["--debug-sessions"]);
    let address = monitor_of(&server);
    let list = |query: &str| {
        let response = get(&address, &format!("/debug/sessions{query}"));
        assert_eq!(response.status, 200, "{query}: {response:?}");
        assert_eq!(response.header("content-type"), Some("application/json"));
        response.json()
    };
    let clients: Vec<_> = (0..5).map(|_| server.client(Era::Legacy)).collect();
    for _ in 0..3 {
        assert_eq!(ping(&clients[2]), 200);
    }
    let gate = Gate::new(&server, "gate");
    let mut call = clients[4].start_call(7, "gate", &gate.arguments());
    gate.wait();
    let all = list("");
    let expected = [
        ("/active_sessions", json!(5)),
        ("/max_active_sessions", json!(10_000)),
        ("/total_sessions_created", json!(5)),
        ("/sessions_created_last_60s", json!(5)),
        ("/session_idle_timeout", json!(1800.0)),
        ("/stateless", json!(false)),
        ("/sessions_reaped_total", json!(0)),
        ("/sessions_ended/idle", json!(0)),
        ("/calls_in_flight", json!(1)),
        ("/page/sort", json!("age")),
        ("/page/limit", json!(50)),
    ];
    for (pointer, value) in expected {
        assert_eq!(all.pointer(pointer), Some(&value), "{pointer}: {all:#}");
    }
    let ids = |page: &Value| -> Vec<String> {
        let sessions = page["page"]["sessions"].as_array().unwrap();
        sessions.iter().map(|one| text(&one["session"])).collect()
    };
    assert_eq!(ids(&all).len(), 5);
    let most = list("?sort=requests&limit=1");
    assert_eq!(ids(&most), [&clients[2].session()[..8]]);
    let session = &most["page"]["sessions"][0];
    assert_eq!(session["requests"], 3, "{session}");
    assert_eq!(session["last_method"], "ping", "{session}");
    assert_eq!(session["protocol"], "2025-11-25", "{session}");
    assert_eq!(session["in_flight"], 0, "{session}");
    assert!(session["idle"].as_f64().unwrap() <= session["age"].as_f64().unwrap());
    let busy = list("?sort=in_flight&limit=1");
    assert_eq!(ids(&busy), [&clients[4].session()[..8]]);
    assert_eq!(ids(&list("?offset=2&limit=2")), ids(&all)[2..4]);
    assert_eq!(ids(&list("?offset=5")).len(), 0);
    let whole = all.to_string();
    for client in &clients {
        assert!(!whole.contains(client.session()), "an id is a credential");
    }
    gate.open();
    assert_eq!(call.read().status, 200);
}

/// Asks the routes of the listener for metrics, in process.
async fn ask_in_process(app: &InProcess, path: &str, connection: Connection) -> String {
    let request = http::Request::builder()
        .uri(path)
        .header("host", "localhost")
        .body(Body::empty())
        .unwrap();
    let response = monitor(Arc::clone(&app.app), true, connection, request).await;
    let response = response.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    format!("{head:?} {}", String::from_utf8_lossy(&body))
}

#[tokio::test]
async fn sessions_are_listed_for_this_machine_only() {
    let app = InProcess::new();
    let from = |peer: &str| Connection {
        peer: Some(format!("{peer}:1234").parse().unwrap()),
        ..Connection::default()
    };
    let unix = Connection::default();
    for near in [
        from("127.0.0.1"),
        from("[::1]"),
        from("[::ffff:127.0.0.2]"),
        unix,
    ] {
        let answer = ask_in_process(&app, "/debug/sessions", near).await;
        assert!(answer.contains("\"active_sessions\":0"), "{answer}");
    }
    for far in [
        from("192.0.2.1"),
        from("[2001:db8::1]"),
        from("[::ffff:192.0.2.1]"),
    ] {
        let answer = ask_in_process(&app, "/debug/sessions", far.clone()).await;
        let nothing = ask_in_process(&app, "/debug/nothing", far.clone()).await;
        assert_eq!(answer, nothing, "{far:?}");
        let metrics = ask_in_process(&app, "/metrics", far).await;
        assert!(metrics.contains("# EOF"), "{metrics}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_sessions_for_long_is_not_ready() {
    let app = InProcess::with(|app| app.sessions = Some(in_process::sessions(None, 1)));
    let ready = async || {
        let answer = ask_in_process(&app, "/readyz", Connection::default()).await;
        assert!(
            answer.contains("ready") != answer.contains("full"),
            "{answer}"
        );
        answer.contains("ready")
    };
    let open = async || {
        let request = in_process::first_request("2025-11-25");
        app.send("initialize", &request).await
    };
    let first = open().await;
    assert_eq!(first.status, 200);
    assert!(ready().await, "full, but nobody was refused");
    for _ in 0..6 {
        assert_eq!(open().await.status, 503);
        assert!(ready().await);
        tokio::time::advance(Duration::from_secs(2)).await;
    }
    assert!(!ready().await, "refused for twelve seconds");
    let id = first.header("mcp-session-id").unwrap();
    let request = in_process::Request::new("DELETE", "/mcp").set("Mcp-Session-Id", id);
    assert_eq!(app.send("delete", &request).await.status, 204);
    assert!(ready().await, "there is room at once");
    assert_eq!(open().await.status, 200);
    assert!(ready().await, "full again, but nobody was refused since");
}

/// Session rule G3, as an operator sees it.
#[test]
fn metrics_are_there_until_the_server_has_stopped() {
    let mut server = serve(&["--max-connections", "2"]);
    let address = monitor_of(&server);
    let client = server.client(Era::Legacy);
    let gate = Gate::new(&server, "gate");
    // There is room when the connections of before are forgotten.
    let room = eventually(|| {
        let mut http = Http::connect(server.address());
        let response = http.request("GET", "/healthz", &[], "");
        (response.status == 200).then_some(http)
    });
    let mut call = room.expect("room for a connection");
    let params = json!({"name": "gate", "arguments": gate.arguments()});
    client.send_on(&mut call, &client.message(7, "tools/call", &params));
    gate.wait();
    // The connections of clients and those for metrics are counted apart.
    let second = Http::connect(server.address());
    let refused = eventually(|| {
        let response = get(server.address(), "/healthz");
        (response.status == 503).then_some(())
    });
    assert!(refused.is_some(), "the limit of connections is reached");
    assert_eq!(get(&address, "/readyz").text(), "ready\n");
    let mut kept = Http::connect(&address);
    assert_eq!(kept.request("GET", "/metrics", &[], "").status, 200);
    server.signal("TERM");
    let stopping = eventually(|| {
        let response = get(&address, "/readyz");
        (response.status == 503).then(|| response.text().to_owned())
    });
    assert_eq!(stopping.as_deref(), Some("stopping\n"));
    assert_eq!(get(&address, "/healthz").status, 200);
    assert_eq!(kept.request("GET", "/metrics", &[], "").status, 200);
    assert!((check_invariant(&scrape(&address)) - 1.0).abs() < 0.5);
    drop(second);
    gate.open();
    assert_eq!(call.read().status, 200);
    assert_eq!(server.wait().code(), Some(0));
    TcpStream::connect(&address).unwrap_err();
    let last = statistics_of(&server.wait_for_log("final session statistics"));
    assert_eq!(last["sessions_ended"]["shutdown"], 1, "{last}");
    assert_eq!(last["active_sessions"], 0, "{last}");
}

#[test]
fn metrics_on_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics");
    let listen = format!("unix:{}", path.display());
    let options = ["--metrics-listen", &listen, "--debug-sessions"];
    let mut server = TestServer::start(&tools(), &options);
    assert_eq!(monitor_of(&server), listen);
    for path_of_page in ["/metrics", "/debug/sessions"] {
        let mut stream = UnixStream::connect(&path).unwrap();
        let request =
            format!("GET {path_of_page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!path.exists(), "the socket is removed");
}

#[test]
fn an_address_for_metrics_that_is_taken_is_an_error() {
    let server = serve(&[]);
    let run = crate::support::run(
        crate::support::command()
            .args(["--listen=127.0.0.1:0", "--metrics-listen"])
            .arg(monitor_of(&server)),
    );
    assert_eq!(run.code, Some(1), "{run:?}");
    let expected = format!("cannot listen on {} for metrics", monitor_of(&server));
    assert!(run.stderr.contains(&expected), "{run:?}");
}

#[test]
fn the_log_has_a_summary_now_and_then() {
    let server = serve(&["--stats-interval", "200ms"]);
    let client = server.client(Era::Legacy);
    assert_eq!(delete(&server, &client), 204);
    let _other = server.client(Era::Legacy);
    let line = server.wait_for_log("\"message\":\"session summary\",\"sessions\":1,");
    let line: Value = serde_json::from_str(&line).unwrap();
    for (name, value) in [("busy", 0), ("created", 2), ("ended", 1), ("rejected", 0)] {
        assert_eq!(line[name], value, "{name}: {line}");
    }
    let is_summary = |line: &&String| line.contains("session summary");
    let several = eventually(|| (server.log().iter().filter(is_summary).count() > 3).then_some(()));
    assert!(several.is_some(), "again and again");
    let silent = serve(&["--stats-interval", "none"]);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(silent.log().iter().filter(is_summary).count(), 0);
}

#[test]
fn statistics_in_the_log_are_what_debug_shows() {
    let server = serve(&["--debug-sessions"]);
    let _client = server.client(Era::Legacy);
    let logged = server.statistics();
    let mut shown = get(&monitor_of(&server), "/debug/sessions").json();
    shown.as_object_mut().unwrap().remove("page");
    let names = |value: &Value| -> Vec<String> {
        let object = value.as_object().unwrap();
        object.keys().cloned().collect()
    };
    assert_eq!(names(&logged), names(&shown));
    assert_eq!(logged["sessions_ended"], shown["sessions_ended"]);

    let stateless = serve(&["--stateless", "--debug-sessions"]);
    let shown = get(&monitor_of(&stateless), "/debug/sessions").json();
    assert_eq!(shown["stateless"], true, "{shown}");
    assert_eq!(shown["page"]["sessions"], json!([]), "{shown}");
    assert_eq!(stateless.statistics()["stateless"], true);
    let page = get(&monitor_of(&stateless), "/metrics");
    assert!(!page.text().contains("mcp_serve_sessions"), "{page:?}");
}

/// How a client goes away.
#[derive(Debug, Clone, Copy)]
enum Leave {
    Reset,
    Close,
    CloseHalf,
}

/// The options with which [`calls_in_flight`] can be asked.
pub(crate) const MONITOR: [&str; 3] = ["--metrics-listen", "127.0.0.1:0", "--debug-sessions"];

/// How many calls run.
pub(crate) fn calls_in_flight(server: &TestServer) -> u64 {
    let state = get(&monitor_of(server), "/debug/sessions").json();
    state["calls_in_flight"].as_u64().unwrap()
}

/// An amount of memory in the status of the server, such as `VmRSS`, in KiB.
pub(crate) fn memory(server: &TestServer, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.unwrap().trim_start_matches(':').trim();
    number.strip_suffix(" kB").unwrap().parse().unwrap()
}

/// How many descriptors the server has open.
pub(crate) fn descriptors(server: &TestServer) -> usize {
    let folder = format!("/proc/{}/fd", server.pid());
    std::fs::read_dir(folder).unwrap().count()
}

/// The other end of a connection has not closed it.
const ESTABLISHED: &str = "01";
/// The other end has closed it, and this one has not.
const CLOSE_WAIT: &str = "08";

/// How many connections to an address are in one of these states, accepted or not, as the kernel knows it.
fn connections(address: &str, states: &[&str]) -> usize {
    let address: SocketAddr = address.parse().unwrap();
    let port = format!(":{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let is_ours = |line: &&str| {
        let mut columns = line.split_whitespace().skip(1);
        let local = columns.next().is_some_and(|local| local.ends_with(&port));
        local && columns.nth(1).is_some_and(|state| states.contains(&state))
    };
    table.lines().filter(is_ours).count()
}

/// How many descriptors the server has open while nobody is connected to it.
fn descriptors_at_rest(server: &TestServer) -> usize {
    let addresses = [server.address().to_owned(), monitor_of(server)];
    let open = |address: &String| connections(address, &[ESTABLISHED, CLOSE_WAIT]);
    let rests = eventually(|| (addresses.iter().map(open).sum::<usize>() == 0).then_some(()));
    assert!(rests.is_some(), "somebody is connected");
    descriptors(server)
}

/// Has clients send `initialize` and leave at once, and checks that they leave no session.
fn check_leaving(server: &TestServer, leave: Leave, stopped: bool) {
    const CLIENTS: usize = 50;
    let name = format!("{leave:?}, stopped: {stopped}");
    let address = monitor_of(server);
    let body = initialize("2025-11-25").to_string();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let counts = |samples: &Samples| {
        let created = sum(samples, "sessions_created_total");
        (
            check_invariant(samples),
            created - ended(samples, "init_failed"),
        )
    };
    let before = counts(&scrape(&address));
    let idle = descriptors_at_rest(server);
    if stopped {
        // The kernel takes the connections while the server cannot run.
        server.freeze();
    }
    let mut half_open = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        match leave {
            Leave::Reset => {
                rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
            }
            Leave::Close => {}
            Leave::CloseHalf => {
                stream.shutdown(Shutdown::Write).unwrap();
                half_open.push(stream);
            }
        }
    }
    if stopped {
        // A process that another test starts holds the sockets of this one until it runs its program,
        // and a connection is closed with its last holder.
        let has_left = || connections(server.address(), &[ESTABLISHED]) == 0;
        let left = eventually(|| has_left().then_some(()));
        assert!(left.is_some(), "{name}: a client has not left");
        server.signal("CONT");
    }
    let left = Instant::now();
    // Connections are accepted in their order, so those before this one are now being served.
    let mut last = Http::connect(server.address());
    last.send("GET", "/healthz", &[], "");
    assert_eq!(last.read().status, 200);
    drop(last);
    let all_gone = eventually(|| (descriptors(server) <= idle).then_some(()));
    assert!(all_gone.is_some(), "{name}: connections are left");
    let after = counts(&scrape(&address));
    let took = left.elapsed();
    assert!(
        took < Duration::from_secs(1) + ALLOWANCE,
        "{name}: {took:?}"
    );
    if stopped {
        // They had left before anything could be answered.
        assert_eq!(after, before, "{name}");
    }
    // One that reads its answer and then leaves keeps its session.
    let mut http = Http::connect(server.address());
    http.write(request.as_bytes());
    let opened = http.read();
    assert_eq!(opened.status, 200, "{name}");
    drop(http);
    let gone = eventually(|| (descriptors(server) <= idle).then_some(()));
    assert!(gone.is_some(), "{name}: a connection is left");
    let id = [("Mcp-Session-Id", opened.header("mcp-session-id").unwrap())];
    let deleted = Http::connect(server.address()).request("DELETE", "/mcp", &id, "");
    assert_eq!(deleted.status, 204, "{name}");
}

/// Session rule B2.
#[test]
fn a_client_that_leaves_before_its_answer_leaves_no_session() {
    let server = serve(&[]);
    let normal = server.client(Era::Legacy);
    for leave in [Leave::Reset, Leave::Close, Leave::CloseHalf] {
        for stopped in [true, false] {
            check_leaving(&server, leave, stopped);
        }
    }
    assert_eq!(ping(&normal), 200);
}

/// Session rule B2.
#[tokio::test]
async fn a_session_whose_id_nobody_learnt_ends() {
    for (delivery, is_used, reason) in [
        (Delivery::Done, false, None),
        (Delivery::Failed, false, Some("init_failed")),
        (Delivery::Failed, true, None),
    ] {
        let app = InProcess::new();
        let connection = Connection::default();
        let request = in_process::first_request("2025-11-25");
        let opened = app
            .send_on("initialize", &request, connection.clone())
            .await;
        let id = opened.header("mcp-session-id").unwrap();
        assert!(connection.link.is_waiting());
        if is_used {
            let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
            let ping = in_process::first_request("2025-11-25").body(ping);
            let ping = ping.set("Mcp-Session-Id", id);
            assert_eq!(app.send("ping", &ping).await.status, 200);
        }
        connection.link.settle(delivery);
        let sessions = app.app.sessions.as_ref().unwrap();
        let statistics = sessions.statistics();
        assert_eq!(statistics.active_sessions, usize::from(reason.is_none()));
        assert_eq!(statistics.sessions.get("busy"), 0, "nothing holds it");
        if let Some(reason) = reason {
            assert_eq!(statistics.sessions_ended.get(reason), 1);
        }
    }
}

/// Reads until nothing more comes, and returns how many bytes came.
fn read_to_end(stream: &mut impl std::io::Read) -> usize {
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return total,
            Ok(read) => total += read,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return total,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Session rule A5.
/// Session rule C7, with plain JSON and on a Unix socket.
#[test]
fn a_client_that_reads_nothing_is_cut() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mcp");
    let listen = format!("unix:{}", path.display());
    let server = serve(&["--tcp-user-timeout=1s", "--listen", &listen]);
    let address = monitor_of(&server);
    let other = server.client(Era::Legacy);
    let busy = |samples: &Samples| value(samples, "sessions{state=\"busy\"}");

    let client = server.client(Era::Legacy);
    let gate = Gate::new(&server, "tcp");
    let called = Instant::now();
    let mut call = Http::connect_narrow(server.address());
    let params = json!({"name": "long", "arguments": gate.arguments()});
    client.send_on(&mut call, &client.message(7, "tools/call", &params));
    gate.wait();
    // It takes a while to encode the answer; from then on nothing moves.
    call.socket().peek(&mut [0]).unwrap();
    let written = Instant::now();
    while busy(&scrape(&address)) > 0.5 {
        let asked = Instant::now();
        assert_eq!(other.call_text("echo", &json!({"text": "x"})), "x");
        assert!(asked.elapsed() < ALLOWANCE, "others do not notice");
        assert!(written.elapsed() < PATIENCE, "the client is not cut");
    }
    assert!(called.elapsed() > TIMEOUT, "{:?}", called.elapsed());
    // Each look takes a call and a scrape, which are slow where every processor is busy.
    let took = written.elapsed();
    assert!(took < TIMEOUT + ALLOWANCE * 2, "{took:?}");
    let mut stream = call.socket();
    assert!(read_to_end(&mut stream) < 5_000_000);
    assert_eq!(ping(&client), 200, "the session is not its connection");

    // The kernel watches no Unix socket; the server does.
    let gate = Gate::new(&server, "unix");
    let params = json!({"name": "long", "arguments": gate.arguments()});
    let message = client.message(8, "tools/call", &params);
    let headers = client.headers(&message);
    let headers = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"));
    let message = message.to_string();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: {}\r\n\r\n{message}",
        headers.collect::<String>(),
        message.len()
    );
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    gate.wait();
    wait_for(&address, "cut", |samples| busy(samples) < 0.5);
    assert!(read_to_end(&mut stream) < 5_000_000);
}

#[test]
fn a_connection_without_a_request_is_closed() {
    const KEEP_ALIVE: Duration = Duration::from_secs(1);
    let server = serve(&["--keep-alive", "1s"]);
    let addresses = [server.address().to_owned(), monitor_of(&server)];
    let cases: [(&str, &[u8]); 3] = [
        ("silent", b""),
        ("used", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("half a header", b"GET /healthz HTTP/1.1\r\nHo"),
    ];
    thread::scope(|scope| {
        for address in &addresses {
            for (name, bytes) in cases {
                scope.spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    let opened = Instant::now();
                    stream.write_all(bytes).unwrap();
                    read_to_end(&mut stream);
                    let took = opened.elapsed();
                    assert!(took > KEEP_ALIVE * 9 / 10, "{name}: {took:?}");
                    assert!(took < KEEP_ALIVE + ALLOWANCE, "{name}: {took:?}");
                });
            }
        }
    });
    // The session says nothing about the connection, nor the other way round.
    let client = server.client(Era::Legacy);
    thread::sleep(KEEP_ALIVE * 3 / 2);
    assert_eq!(ping(&client), 200);
}

/// Session rule A5.
#[test]
fn the_kernel_watches_the_connections_of_a_server() {
    use rustix::net::sockopt;
    use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

    let server = serve(&["--tcp-user-timeout", "12s"]);
    for address in [server.address().to_owned(), monitor_of(&server)] {
        let client = TcpStream::connect(&address).unwrap();
        let ours = client.local_addr().unwrap();
        let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
        let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        // The server's own socket, of which this is a copy: the one whose peer is our client.
        let theirs = eventually(|| {
            (0..64).find_map(|number| {
                let copy = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()?;
                let copy = TcpStream::from(copy);
                (copy.peer_addr().ok()? == ours).then_some(copy)
            })
        });
        let theirs = theirs.expect("the server's end of the connection");
        // It may have been found before it was accepted, and is prepared after that.
        let prepared = eventually(|| sockopt::socket_keepalive(&theirs).unwrap().then_some(()));
        assert!(prepared.is_some(), "SO_KEEPALIVE");
        assert_eq!(sockopt::tcp_user_timeout(&theirs).unwrap(), 12_000);
        let idle = sockopt::tcp_keepidle(&theirs).unwrap();
        assert_eq!(idle, Duration::from_secs(6));
        let interval = sockopt::tcp_keepintvl(&theirs).unwrap();
        assert_eq!(interval, Duration::from_secs(2));
        assert!(sockopt::tcp_nodelay(&theirs).unwrap());
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let tools = "tools:\n  fixed: {description: d, content: a}\n";
    let mut server = TestServer::start(tools, &["--metrics-listen", "127.0.0.1:0"]);
    let address = monitor_of(&server);
    let ignored = server.ignore_log();
    let client = server.client(Era::Modern);
    let lost = eventually(|| {
        for _ in 0..200 {
            assert_eq!(client.call_text("fixed", &json!({})), "a");
        }
        (value(&scrape(&address), "log_lines_lost_total") > 0.0).then_some(())
    });
    assert!(lost.is_some(), "there is room for every line");
    drop(ignored);
    server.wait_for_log("the log has lost lines");
    server.signal("TERM");
    assert!(server.wait().success());
}

#[test]
fn a_log_that_cannot_be_read_any_more_is_tried_once_for_each_line() {
    let tools = "tools:\n  fixed: {description: d, content: a}\n";
    let server = TestServer::start(tools, &["--metrics-listen", "127.0.0.1:0"]);
    let address = monitor_of(&server);
    let client = server.client(Era::Modern);
    server.close_log();
    // One line each, of which the first are read.
    let lost = || value(&scrape(&address), "log_lines_lost_total");
    let first = eventually(|| {
        assert_eq!(client.call_text("fixed", &json!({})), "a");
        Some(lost()).filter(|lost| *lost > 0.0)
    });
    let first = first.expect("a line that nobody can read");
    for _ in 0..100 {
        assert!(lost() <= first + 1.0, "the loss of a line is no line");
    }
}
