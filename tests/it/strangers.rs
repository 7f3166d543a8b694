//! What the log says of requests from places that may not call (O06): it names them, and a flood of them
//! fills no disk.

use std::net::TcpStream;
use std::time::Instant;

use serde_json::Value;

use crate::metrics::{MONITOR, monitor_of};
use crate::support::{Http, TestServer, eventually};

const TOOLS: &str = "tools: {echo: {description: Says hello., exec: /bin/echo hello}}";

fn lines(server: &TestServer) -> Vec<Value> {
    let log = server.log();
    let lines = log
        .iter()
        .filter(|line| line.contains("refused by Host or Origin"));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_refused_place_is_named() {
    let cases = [
        ("evil.example:80", None, 421),
        ("localhost", Some(("Origin", "https://evil.example")), 403),
        ("localhost", Some(("Sec-Fetch-Site", "cross-site")), 403),
    ];
    for (host, header, status) in cases {
        let server = TestServer::with_token(TOOLS, &["--listen=0.0.0.0:0", "--allow-root"]);
        let stream = TcpStream::connect(server.address()).unwrap();
        let mut http = Http::over(stream, host);
        let refused = http.request("POST", "/mcp", header.as_slice(), "");
        assert_eq!(refused.status, status, "{host} {header:?}");
        let line = server.wait_for_log("refused by Host or Origin");
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["level"], "WARN", "{line}");
        assert_eq!(line["host"], host, "{line}");
        let origin = header.filter(|(name, _)| *name == "Origin");
        let origin = origin.map(|(_, value)| value);
        assert_eq!(line["origin"].as_str(), origin, "{line}");
    }
}

#[test]
fn a_flood_from_foreign_places_is_a_line_a_second() {
    let server = TestServer::with_token(TOOLS, &MONITOR);
    let begun = Instant::now();
    let foreign = |address: &str| {
        let stream = TcpStream::connect(address).unwrap();
        Http::over(stream, "evil.example")
    };
    // The listener for metrics has no lines of its own.
    let mut floods = [
        (foreign(server.address()), "/mcp"),
        (foreign(&monitor_of(&server)), "/metrics"),
    ];
    let mut sent = 0;
    let lines = eventually(|| {
        for (http, path) in &mut floods {
            for _ in 0..100 {
                assert_eq!(http.request("GET", path, &[], "").status, 421);
                sent += 1;
            }
        }
        Some(lines(&server)).filter(|lines| lines.len() > 2)
    });
    let lines = lines.unwrap();
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    assert!(lines.len() <= seconds + 1, "{seconds} s: {lines:#?}");
    let held_back: Vec<_> = lines
        .iter()
        .map(|line| line["held_back"].as_u64().unwrap())
        .collect();
    assert_eq!(held_back[0], 0);
    assert!(
        held_back[1..].iter().all(|count| *count > 0),
        "{held_back:?}"
    );
    let told = held_back.iter().sum::<u64>() + lines.len() as u64;
    assert!(told <= sent, "{told} of {sent}");
}
