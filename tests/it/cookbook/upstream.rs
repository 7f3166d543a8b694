//! The HTTP APIs that the recipes name, in one server on loopback.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub(crate) const TRACKER_TOKEN: &str = "tracker-token-of-the-server";
pub(crate) const BILLING_SECRET: &str = "billing-secret-of-the-server";
/// What the token endpoint gives out.
const BILLING_TOKEN: &str = "billing-token-for-an-hour";
/// The hosts that it stands in for.
const HOSTS: [&str; 3] = ["tracker", "billing", "docs"];

/// A server that answers until the tests are over.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
}

/// A request as it came.
struct Request {
    method: String,
    path: String,
    query: String,
    authorization: String,
    body: String,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || serve(stream));
            }
        });
        Self { address }
    }

    /// Definitions with this server in place of the hosts.
    pub(crate) fn instead_of_hosts(&self, text: &str) -> String {
        let here = format!("http://{}", self.address);
        let replaced =
            |text: String, host: &&str| text.replace(&format!("https://{host}.example.com"), &here);
        HOSTS.iter().fold(text.to_owned(), replaced)
    }
}

fn serve(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream) {
        let (status, body) = answer(&request);
        let media_type = if body.starts_with('<') {
            "text/html"
        } else {
            "application/json"
        };
        let response = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.get_mut().write_all(response.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let header = |name: &str| {
        let mut headers = lines.iter().filter_map(|line| line.split_once(": "));
        let found = headers.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or(String::new(), |(_, value)| value.to_owned())
    };
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    let mut start = lines.first()?.split(' ');
    let (method, target) = (start.next()?, start.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Some(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        authorization: header("authorization"),
        body: String::from_utf8(body).unwrap(),
    })
}

fn answer(request: &Request) -> (u16, String) {
    let bearer = request.authorization.strip_prefix("Bearer ");
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/handbook/brewing.html") => (200, "<h1>Brewing</h1>\n".to_owned()),
        ("POST", "/oauth/token") => token(request),
        ("GET", "/issues/7") if bearer == Some(TRACKER_TOKEN) => {
            let issue =
                json!({"number": 7, "title": "The kettle leaks", "state": "open", "body": ""});
            (200, issue.to_string())
        }
        ("POST", path) if path.starts_with("/projects/") && bearer == Some(TRACKER_TOKEN) => {
            let received: Value = serde_json::from_str(&request.body).unwrap();
            (201, json!({"number": 8, "received": received}).to_string())
        }
        ("GET", "/invoices") if bearer == Some(BILLING_TOKEN) => {
            let customer = request.query.strip_prefix("customer=").unwrap_or_default();
            let invoices = json!({"customer": decoded(customer), "invoices": [41, 42]});
            (200, invoices.to_string())
        }
        _ if bearer.is_none() => (401, json!({"error": "no token"}).to_string()),
        _ => (404, json!({"error": "not here"}).to_string()),
    }
}

fn token(request: &Request) -> (u16, String) {
    let client = STANDARD.encode(format!("mcp-serve:{BILLING_SECRET}"));
    if request.authorization != format!("Basic {client}") {
        return (401, json!({"error": "invalid_client"}).to_string());
    }
    assert!(request.body.contains("grant_type=client_credentials"));
    assert!(
        request.body.contains("scope=invoices%3Aread"),
        "{}",
        request.body
    );
    let token = json!({"access_token": BILLING_TOKEN, "token_type": "Bearer", "expires_in": 3600});
    (200, token.to_string())
}

/// Undoes the encoding of a query value.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}
