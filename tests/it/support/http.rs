//! Connections, and what comes over them.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::TcpStream;

use serde_json::Value;

use super::PATIENCE;

/// A response as it came over the socket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// A header by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name);
        values.next().map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The JSON-RPC message of the body; of an event stream, its last.
    pub(crate) fn json(&self) -> Value {
        let text = match self.header("content-type") {
            Some("text/event-stream") => {
                let mut data = self
                    .text()
                    .lines()
                    .filter_map(|line| line.strip_prefix("data: "));
                data.next_back().expect("an event")
            }
            _ => self.text(),
        };
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of the JSON-RPC error in the body.
    pub(crate) fn error_code(&self) -> Option<i64> {
        self.json()["error"]["code"].as_i64()
    }
}

/// One HTTP/1.1 connection, on which the test decides about every byte.
#[derive(Debug)]
pub(crate) struct Http<S = TcpStream> {
    stream: BufReader<S>,
    host: String,
}

impl Http {
    /// Connects.
    pub(crate) fn connect(address: &str) -> Self {
        Self::over(TcpStream::connect(address).unwrap(), address)
    }

    /// Connects as a client that will not read much: four megabytes are more than the sockets between
    /// it and a server hold.
    pub(crate) fn connect_narrow(address: &str) -> Self {
        let http = Self::connect(address);
        rustix::net::sockopt::set_socket_recv_buffer_size(http.socket(), 4096).unwrap();
        http
    }

    /// Talks over a connection to this address.
    pub(crate) fn over(stream: TcpStream, address: &str) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::inside(stream, address)
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}

impl<S: io::Read + io::Write> Http<S> {
    /// Talks to this address inside a stream.
    pub(crate) fn inside(stream: S, address: &str) -> Self {
        Self {
            stream: BufReader::new(stream),
            host: address.to_owned(),
        }
    }

    /// The stream.
    pub(crate) fn stream(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Sends a request without reading its response. Host and Content-Length are added.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            head.extend([*name, ": ", *value, "\r\n"]);
        }
        let length = body.len().to_string();
        head.extend(["Content-Length: ", &length, "\r\n\r\n", body]);
        self.write(head.as_bytes());
    }

    /// Sends a request and reads the whole response.
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        self.send(method, path, headers, body);
        self.read()
    }

    /// Reads a whole response.
    pub(crate) fn read(&mut self) -> Response {
        let mut response = self.read_head();
        response.body = if response.header("transfer-encoding") == Some("chunked") {
            let mut body = Vec::new();
            while let Some(chunk) = self.read_chunk() {
                body.extend(chunk);
            }
            body
        } else {
            let length = response.header("content-length").unwrap_or("0");
            self.read_exactly(length.parse().unwrap())
        };
        response
    }

    /// Reads so many bytes of a body.
    pub(crate) fn read_exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads the status line and the headers.
    pub(crate) fn read_head(&mut self) -> Response {
        let status_line = self.read_line().expect("a response");
        let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.read_line().expect("a header");
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Response {
            status,
            headers,
            body: Vec::new(),
        }
    }

    /// Reads the next message of an event stream, whose chunks are whole events.
    pub(crate) fn read_message(&mut self) -> Value {
        loop {
            let line = self.read_line().expect("a message");
            if let Some(data) = line.strip_prefix("data: ")
                && let Ok(message) = serde_json::from_str(data)
            {
                return message;
            }
        }
    }

    /// Reads one chunk of a chunked body; `None` at its clean end.
    pub(crate) fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let size = self.read_line().expect("a chunk size, not a broken body");
        let size = usize::from_str_radix(&size, 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).unwrap();
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    /// Reads a line without its end; `None` when the server has closed the connection.
    pub(crate) fn read_line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }
}
