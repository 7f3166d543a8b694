//! How requests are framed (H11 to H22): what two servers could read differently is refused, and nothing
//! behind it is taken for another request.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;

use mcp_serve::protocol::version::Era;
use serde_json::json;

use super::{check_lives, head, serve};
use crate::support::Http;

/// Bytes that are no request that is served.
const GARBAGE: &[(&str, &[u8])] = &[
    ("random bytes", b"\x00\xff\x17\x99\x01\x02\x03\r\n\r\n"),
    ("zeros", &[0; 4096]),
    ("text", b"hello\r\nworld\r\n\r\n"),
    ("JSON", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r\n\r\n"),
    ("a PROXY header", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("a PROXY header of version 2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\0\x01\0\x02GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
    ("HTTP/0.9", b"GET /mcp\r\n\r\n"),
    ("HTTP/3.0", b"GET /mcp HTTP/3.0\r\nHost: localhost\r\n\r\n"),
    ("HTTP/1.9", b"GET /mcp HTTP/1.9\r\nHost: localhost\r\n\r\n"),
    ("a TLS hello", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n"),
    ("no target", b"GET HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("a space too many", b"GET  /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("a space before the colon", b"GET /mcp HTTP/1.1\r\nHost : localhost\r\n\r\n"),
    ("a folded header", b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n"),
    ("a NUL in a header", b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n"),
    ("a bare CR in a header", b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n"),
    ("OPTIONS of everything", b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("TRACE", b"TRACE /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("CONNECT", b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n"),
    ("a negative length", b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n"),
    ("a signed length", b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: +5\r\n\r\nhello"),
    ("a list of lengths", b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5,5\r\n\r\nhello"),
    ("two lengths", b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    ("a length and a coding", b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("a coding and a length", b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("a huge length", b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 18446744073709551616\r\n\r\n"),
    ("an unknown coding", b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n"),
    ("a coding behind chunked", b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n"),
    ("a bad chunk", b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n"),
    ("a chunk in hexadecimal notation", b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
];

#[test]
fn garbage_is_refused_and_harms_nobody() {
    let server = serve(&[]);
    let bystander = server.client(Era::Legacy);
    for (name, bytes) in GARBAGE {
        let http = Http::connect(server.address());
        drop(http.socket().write_all(bytes));
        drop(http.socket().shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        // A reset is an answer too.
        drop(http.socket().read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer);
        let refused = ["HTTP/1.1 4", "HTTP/1.0 4"]
            .iter()
            .any(|start| answer.starts_with(start));
        assert!(answer.is_empty() || refused, "{name}: {answer}");
        let responses = answer.matches("HTTP/1.").count();
        assert!(responses <= 1, "{name}: {answer}");
        let pong = bystander.request("ping", &json!({}));
        assert_eq!(pong.status, 200, "after {name}");
    }
    check_lives("garbage", &server);
}

/// Ways to name the coding of a body that servers do not all read alike.
const CODINGS: [&str; 10] = [
    "xchunked",
    "chunked, identity",
    "identity, chunked",
    "chunked, chunked",
    "identity\r\nTransfer-Encoding: chunked",
    "chunked\r\nTransfer-Encoding: identity",
    "chunked\r\nTransfer-Encoding: chunked",
    "\x0bchunked",
    "\"chunked\"",
    "",
];

/// The question of a browser whether its page may call, which needs no credential.
const PREFLIGHT: &str = "OPTIONS /mcp HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\
                         Access-Control-Request-Method: POST\r\n";

/// What is sent behind a request, and must not be taken for another one.
const SMUGGLED: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Sends a good request that is framed in this way, and returns all that comes back until the connection
/// is closed.
fn framed(address: &str, head: &str, headers: &str, body: &str) -> String {
    let mut http = Http::connect(address);
    http.write(format!("{head}{headers}\r\n{body}{SMUGGLED}").as_bytes());
    let mut answer = Vec::new();
    let read = http.socket().read_to_end(&mut answer);
    let is_closed = read.map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |_| true);
    assert!(is_closed, "{headers:?}: the connection stays open");
    String::from_utf8(answer).unwrap()
}

#[test]
fn a_body_of_unclear_length_is_refused_and_the_connection_closed() {
    let server = serve(&[]);
    let client = server.client(Era::Modern);
    let message = client.message(1, "tools/list", &json!({}));
    let body = message.to_string();
    let (length, size) = (body.len(), format!("{:x}", body.len()));
    let chunked = format!("{size}\r\n{body}\r\n0\r\n\r\n");
    let lengths = [
        format!("{length}\r\nContent-Length: {}", length + 1),
        format!("{length},{length}"),
        format!("+{length}"),
        format!("0x{size}"),
        "-1".to_owned(),
        "18446744073709551616".to_owned(),
    ];
    let chunks = [
        format!("1{}{size}\r\n{body}\r\n0\r\n\r\n", "0".repeat(16)),
        format!("-{chunked}"),
        format!("0x{chunked}"),
        format!("{size}\n{body}\r\n0\r\n\r\n"),
        format!("{size}\r\n{body}0\r\n\r\n"),
        format!("{size};a\nb\r\n{body}\r\n0\r\n\r\n"),
    ];
    let lengths = lengths.map(|length| (format!("Content-Length: {length}\r\n"), body.clone()));
    let codings =
        CODINGS.map(|coding| (format!("Transfer-Encoding: {coding}\r\n"), chunked.clone()));
    let chunks = chunks.map(|body| ("Transfer-Encoding: chunked\r\n".to_owned(), body));
    let spaced = (
        "Transfer-Encoding : chunked\r\n".to_owned(),
        chunked.clone(),
    );
    let head = head(&client, &message);
    let cases = lengths.into_iter().chain(codings).chain(chunks);
    for (headers, body) in cases.chain([spaced]) {
        let answer = framed(server.address(), &head, &headers, &body);
        assert!(
            answer.starts_with("HTTP/1.1 400 "),
            "{headers:?} {body:?}: {answer}"
        );
        assert_eq!(
            answer.matches("HTTP/1.").count(),
            1,
            "{headers:?}: {answer}"
        );
    }
    let old = head.replace("HTTP/1.1", "HTTP/1.0");
    let answer = framed(
        server.address(),
        &old,
        "Transfer-Encoding: chunked\r\n",
        &chunked,
    );
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    check_lives("bodies of unclear length", &server);
}

/// It is answered before the credential is looked at, and not before this.
#[test]
fn a_preflight_with_a_body_of_unclear_length_is_refused_too() {
    let server = serve(&[]);
    for coding in CODINGS {
        let headers = format!("Transfer-Encoding: {coding}\r\n");
        let answer = framed(server.address(), PREFLIGHT, &headers, "0\r\n\r\n");
        let is_closed = answer.to_lowercase().contains("\r\nconnection: close\r\n");
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && is_closed,
            "{headers:?}: {answer}"
        );
        assert_eq!(
            answer.matches("HTTP/1.").count(),
            1,
            "{headers:?}: {answer}"
        );
    }
}

/// RFC 9112, section 6.3: the coding counts, and the connection ends.
#[test]
fn a_body_with_a_length_and_a_coding_is_the_last_on_its_connection() {
    let server = serve(&[]);
    let client = server.client(Era::Modern);
    let message = client.message(1, "tools/list", &json!({}));
    let body = message.to_string();
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let coding = "Transfer-Encoding: chunked\r\n";
    let length = format!("Content-Length: {}\r\n", chunked.len() + SMUGGLED.len());
    for headers in [format!("{coding}{length}"), format!("{length}{coding}")] {
        let answer = framed(
            server.address(),
            &head(&client, &message),
            &headers,
            &chunked,
        );
        assert!(answer.starts_with("HTTP/1.1 200 "), "{headers}: {answer}");
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{headers}: {answer}");
    }
}
