//! What a call costs whose tool does nothing, beside a handler that does nothing else and the
//! official SDK.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::client::{Client, Id};
use crate::peers::Peer;
use crate::server::Server;
use crate::table::{above, below, quantile, ratio, row, spread, title};

/// A tool with a fixed text.
pub(crate) const TOOLS: &str =
    "tools:\n  fixed:\n    description: Says hello.\n    content: hello\n";

/// A call of it up to 2025-11-25.
pub(crate) const CALL: &str =
    r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"fixed","arguments":{}}}"#;

/// A call of it in 2026-07-28.
pub(crate) const MODERN_CALL: &str = r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"fixed","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#;

/// The header fields that a request of 2026-07-28 has besides.
pub(crate) const MODERN_FIELDS: [(&str, &str); 3] = [
    ("Mcp-Protocol-Version", "2026-07-28"),
    ("Mcp-Method", "tools/call"),
    ("Mcp-Name", "fixed"),
];

/// How often each contestant is measured.
pub(crate) const RUNS: usize = 7;

/// How long each time.
pub(crate) const RUN: Duration = Duration::from_millis(1500);

/// Who answers, and how it is asked.
pub(crate) struct Contestant {
    name: &'static str,
    address: String,
    request: Vec<u8>,
    pub(crate) rates: Vec<f64>,
    slowest: Vec<f64>,
}

impl Contestant {
    pub(crate) fn new(
        name: &'static str,
        address: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Self {
        Self {
            name,
            address: address.to_owned(),
            request: request(address, fields, body),
            rates: Vec::new(),
            slowest: Vec::new(),
        }
    }

    /// Calls over so many connections, one call at a time on each.
    pub(crate) fn run(&mut self, connections: usize, time: Duration) {
        let mut clients = Client::many(&self.address, connections);
        let mut sent = vec![Instant::now(); connections];
        let mut latencies = Vec::new();
        let began = Instant::now();
        while began.elapsed() < time {
            for (client, sent) in clients.iter_mut().zip(&mut sent) {
                *sent = Instant::now();
                client.send(&self.request);
            }
            for (client, sent) in clients.iter_mut().zip(&sent) {
                client.receive_result();
                latencies.push(sent.elapsed().as_secs_f64() * 1e6);
            }
        }
        self.rates
            .push(latencies.len() as f64 / began.elapsed().as_secs_f64());
        self.slowest.push(quantile(&mut latencies, 0.99));
    }
}

/// A call as bytes.
pub(crate) fn request(address: &str, fields: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
    );
    for (name, value) in fields {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    write!(head, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    head.into_bytes()
}

/// The header fields of a request in a session.
pub(crate) fn session_fields(session: &Id) -> [(&str, &str); 2] {
    [
        ("Mcp-Session-Id", std::str::from_utf8(session).unwrap()),
        ("Mcp-Protocol-Version", "2025-11-25"),
    ]
}

/// Calls per second of a tool with a fixed text.
pub(crate) fn calls(scale: f64) {
    title(&format!(
        "calls: a tool with a fixed text, JSON, each contestant {RUNS} times in turn; median (least to most)"
    ));
    let server = Server::serve(TOOLS, &["--json-response"]);
    let session = Client::connect(&server.address).initialize();
    let bare = Peer::start("bare-axum");
    let rmcp = Peer::start("rmcp");
    for connections in [1, 32, 256] {
        let fields = session_fields(&session);
        let mut contestants = [
            Contestant::new("bare axum", &bare.address, &[], CALL),
            Contestant::new("rmcp, no sessions", &rmcp.address, &[], CALL),
            Contestant::new("mcp-serve, 2025-11-25", &server.address, &fields, CALL),
            Contestant::new(
                "mcp-serve, 2026-07-28",
                &server.address,
                &MODERN_FIELDS,
                MODERN_CALL,
            ),
        ];
        for _ in 0..RUNS {
            for contestant in &mut contestants {
                contestant.run(connections, RUN.mul_f64(scale));
            }
        }
        report(connections, &mut contestants);
    }
}

fn report(connections: usize, contestants: &mut [Contestant; 4]) {
    let [bare, rmcp, ours @ ..] = &*contestants;
    for contestant in ours {
        let name = contestant.name;
        let of_bare = ratio(&contestant.rates, &bare.rates);
        above(&format!("{name} / bare axum"), of_bare, "", 0.8);
        let of_rmcp = ratio(&contestant.rates, &rmcp.rates);
        above(&format!("{name} / rmcp"), of_rmcp, "", 2.0);
        let slowest = ratio(&contestant.slowest, &bare.slowest);
        below(&format!("{name} / bare axum, p99"), slowest, "", 2.0);
    }
    for contestant in contestants {
        let rates = spread(&mut contestant.rates);
        let slowest = spread(&mut contestant.slowest);
        row(
            &format!("{}, {connections} connections", contestant.name),
            &format!("{rates} calls/s, p99 {slowest} µs"),
        );
    }
}
