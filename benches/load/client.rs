//! A client that costs little itself: raw HTTP/1.1 over blocking keep-alive connections.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Longer than any answer should take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The `initialize` of a client of 2025-11-25.
pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
/// What a client sends after it.
pub(crate) const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
/// The cheapest request.
pub(crate) const PING: &str = r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;
/// What most clients send next.
pub(crate) const LIST: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;
/// A call of the one tool of [`crate::server::TOOLS`].
pub(crate) const CALL: &str =
    r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"hello","arguments":{}}}"#;

/// A session id, as it was received.
pub(crate) type Id = [u8; 36];

/// The part of an answer that matters here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) session: Option<Id>,
}

/// One keep-alive connection with at most one request on its way.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    host: String,
    request: Vec<u8>,
    received: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            host: address.to_owned(),
            request: Vec::new(),
            received: vec![0; 16 << 10],
        }
    }

    pub(crate) fn many(address: &str, count: usize) -> Vec<Self> {
        (0..count).map(|_| Self::connect(address)).collect()
    }

    fn begin(&mut self, line: &str) {
        self.request.clear();
        write!(self.request, "{line} HTTP/1.1\r\nHost: {}\r\n", self.host).unwrap();
    }

    fn name_session(&mut self, session: &Id) {
        self.request.extend_from_slice(b"Mcp-Session-Id: ");
        self.request.extend_from_slice(session);
        self.request
            .extend_from_slice(b"\r\nMcp-Protocol-Version: 2025-11-25\r\n");
    }

    /// Sends a GET outside of the endpoint, and does not wait for the answer.
    pub(crate) fn send_get(&mut self, path: &str) {
        self.begin(&format!("GET {path}"));
        self.request.extend_from_slice(b"\r\n");
        self.stream.write_all(&self.request).unwrap();
    }

    /// Posts a message, and does not wait for the answer.
    pub(crate) fn send_post(&mut self, session: Option<&Id>, body: &str) {
        self.begin("POST /mcp");
        self.request.extend_from_slice(
            b"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n",
        );
        if let Some(session) = session {
            self.name_session(session);
        }
        let length = body.len();
        write!(self.request, "Content-Length: {length}\r\n\r\n{body}").unwrap();
        self.stream.write_all(&self.request).unwrap();
    }

    /// Sends a whole request, as it is, and does not wait for the answer.
    pub(crate) fn send(&mut self, request: &[u8]) {
        self.stream.write_all(request).unwrap();
    }

    /// Reads an answer to its end.
    pub(crate) fn receive(&mut self) -> Answer {
        self.receive_with(|_| {})
    }

    /// Reads the answer to a call, whose tool must have done what it does.
    pub(crate) fn receive_result(&mut self) {
        assert!(self.receive_unless_refused(), "the call was refused");
    }

    /// Reads the answer to a call, whose tool must have done what it does; false if the call was
    /// refused, since there was too much to do.
    pub(crate) fn receive_unless_refused(&mut self) -> bool {
        let mut failure = None;
        let answer = self.receive_with(|body| {
            // The SDK leaves out what is false.
            let is_good = find(body, b"\"result\":").is_some();
            if !is_good || find(body, b"\"isError\":true").is_some() {
                failure = Some(String::from_utf8_lossy(body).into_owned());
            }
        });
        let is_refused = matches!(answer.status, 429 | 503);
        assert!(
            is_refused || failure.is_none(),
            "{answer:?} with {failure:?}"
        );
        !is_refused
    }

    fn receive_with(&mut self, look: impl FnOnce(&[u8])) -> Answer {
        let mut length = 0;
        let (head, body) = loop {
            length += self.read(length);
            let received = self.received.get(..length).unwrap();
            if let Some(at) = find(received, b"\r\n\r\n") {
                let head = received.get(..at + 2).unwrap();
                let body = field(head, b"content-length: ").map_or(0, |value| {
                    let value = std::str::from_utf8(value).unwrap();
                    value.parse::<usize>().unwrap()
                });
                break (at + 4, body);
            }
        };
        while length < head + body {
            length += self.read(length);
        }
        assert_eq!(length, head + body, "an answer and nothing more");
        let received = self.received.get(..length).unwrap();
        let status = received.get(9..12).unwrap();
        let status = std::str::from_utf8(status).unwrap().parse().unwrap();
        let session = field(received, b"mcp-session-id: ").map(|id| id.try_into().unwrap());
        look(received.get(head..).unwrap());
        Answer { status, session }
    }

    fn read(&mut self, from: usize) -> usize {
        if from + 4096 > self.received.len() {
            self.received.resize(2 * self.received.len(), 0);
        }
        let read = self.stream.read(self.received.get_mut(from..).unwrap());
        let read = read.unwrap();
        assert!(read > 0, "the server closed the connection");
        read
    }

    /// Posts a message and waits for the answer, which must be a success.
    pub(crate) fn post(&mut self, session: Option<&Id>, body: &str) -> Answer {
        self.send_post(session, body);
        let answer = self.receive();
        assert!(matches!(answer.status, 200 | 202), "{answer:?} to {body}");
        answer
    }

    pub(crate) fn initialize(&mut self) -> Id {
        self.post(None, INITIALIZE).session.unwrap()
    }

    pub(crate) fn delete(&mut self, session: &Id) {
        self.begin("DELETE /mcp");
        self.name_session(session);
        self.request.extend_from_slice(b"\r\n");
        self.stream.write_all(&self.request).unwrap();
        assert!(self.receive().status < 300);
    }

    /// The text of a page.
    pub(crate) fn page(&mut self, path: &str) -> String {
        let mut text = String::new();
        self.send_get(path);
        self.receive_with(|body| text.push_str(&String::from_utf8_lossy(body)));
        text
    }

    /// Opens the event stream of a session, which takes the connection, and waits for its first
    /// bytes.
    pub(crate) fn into_stream(mut self, session: &Id) -> TcpStream {
        self.begin("GET /mcp");
        self.request
            .extend_from_slice(b"Accept: text/event-stream\r\n");
        self.name_session(session);
        self.request.extend_from_slice(b"\r\n");
        self.stream.write_all(&self.request).unwrap();
        let mut length = self.read(0);
        assert_eq!(self.received.get(9..12).unwrap(), b"200");
        loop {
            let received = self.received.get(..length).unwrap();
            if find(received, b"\r\n\r\n").is_some_and(|at| length > at + 4) {
                return self.stream;
            }
            length += self.read(length);
        }
    }
}

/// Sends `count` requests over the connections, one at a time on each, and calls `done` with every
/// answer. All connections are written to before the first is read, so that a single thread keeps
/// as many requests on their way as there are connections.
pub(crate) fn lockstep(
    clients: &mut [Client],
    count: usize,
    mut send: impl FnMut(&mut Client, usize),
    mut done: impl FnMut(usize, Answer),
) {
    let mut next = 0;
    while next < count {
        let round = clients.len().min(count - next);
        for (offset, client) in clients.iter_mut().take(round).enumerate() {
            send(client, next + offset);
        }
        for (offset, client) in clients.iter_mut().take(round).enumerate() {
            done(next + offset, client.receive());
        }
        next += round;
    }
}

/// Opens sessions, and returns their ids.
pub(crate) fn open(clients: &mut [Client], count: usize) -> Vec<Id> {
    let mut ids = Vec::with_capacity(count);
    lockstep(
        clients,
        count,
        |client, _| client.send_post(None, INITIALIZE),
        |_, answer| ids.push(answer.session.unwrap()),
    );
    ids
}

/// Posts a message in every session.
pub(crate) fn post_each(clients: &mut [Client], ids: &[Id], body: &str) {
    lockstep(
        clients,
        ids.len(),
        |client, at| client.send_post(ids.get(at), body),
        |_, answer| assert!(matches!(answer.status, 200 | 202), "{answer:?}"),
    );
}

/// One request after the other for about so long; how long each took, in microseconds.
pub(crate) fn latencies(
    client: &mut Client,
    session: &Id,
    body: &str,
    duration: Duration,
) -> Vec<f64> {
    let began = Instant::now();
    let mut latencies = Vec::new();
    while began.elapsed() < duration {
        let sent = Instant::now();
        client.post(Some(session), body);
        latencies.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    latencies
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// The value of a header field whose name the server writes in lower case.
fn field<'t>(head: &'t [u8], name: &[u8]) -> Option<&'t [u8]> {
    let rest = head.get(find(head, name)? + name.len()..)?;
    rest.get(..find(rest, b"\r\n")?)
}
