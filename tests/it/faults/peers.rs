//! Peers that waste connections: slow headers (H03), and storms of connections (F46).

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use rustix::net::sockopt;

use super::{ALLOWANCE, Watched};
use crate::support::{ERAS, Http, PATIENCE};

#[test]
fn headers_that_come_byte_by_byte_gain_no_time() {
    const SLOW: usize = 200;
    const LIMIT: Duration = Duration::from_secs(1);
    let watched = Watched::start("", &["--keep-alive", "1s"]);
    let opened = Instant::now();
    let mut slow: Vec<_> = (0..SLOW)
        .map(|_| {
            let stream = TcpStream::connect(watched.server.address()).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    thread::scope(|scope| {
        let dripping = scope.spawn(|| {
            let mut head = b"GET /healthz HTTP/1.1\r\nX-Slow: "
                .iter()
                .chain(&[b'x'; 1000]);
            while !slow.is_empty() && opened.elapsed() < PATIENCE {
                let byte = [*head.next().unwrap()];
                slow.retain_mut(|stream| {
                    let mut answer = [0; 512];
                    // One that is closed has an end, after an answer or a reset.
                    let is_open = |read: std::io::Result<usize>| match read {
                        Ok(read) => read > 0,
                        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
                    };
                    stream.write_all(&byte).is_ok() && is_open(stream.read(&mut answer))
                });
                thread::sleep(Duration::from_millis(50));
            }
            (slow.len(), opened.elapsed())
        });
        for era in ERAS {
            let took = watched.good(era);
            assert!(took < watched.quick * 2 + ALLOWANCE, "{era:?}: {took:?}");
        }
        let (left, took) = dripping.join().unwrap();
        assert_eq!(left, 0, "connections are left after {took:?}");
        assert!(took < LIMIT + ALLOWANCE * 2, "{took:?}");
    });
    watched.check("slow headers");
}

/// Cases H01 and H02, as far as a connection was never used.
#[test]
fn a_connection_that_asks_for_nothing_is_closed_long_before_an_idle_one() {
    const FIRST_REQUEST: Duration = Duration::from_secs(10);
    let watched = Watched::start("", &["--keep-alive", "10m"]);
    let opened = Instant::now();
    let silent = ["", "GET /healthz HTTP/1.1\r\nHo"].map(|sent| {
        let mut stream = TcpStream::connect(watched.server.address()).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    });
    let mut used = Http::connect(watched.server.address());
    let health = |used: &mut Http| used.request("GET", "/healthz", &[], "").status;
    assert_eq!(health(&mut used), 200);
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it is closed");
        let took = opened.elapsed();
        assert!(took > FIRST_REQUEST * 9 / 10, "{took:?}");
        assert!(took < FIRST_REQUEST + ALLOWANCE, "{took:?}");
    }
    assert_eq!(health(&mut used), 200);
    drop(used);
    watched.check("silent connections");
}

#[test]
fn a_storm_of_connections_is_neither_logged_nor_felt() {
    const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    const EACH: usize = 500;
    let watched = Watched::start("", &[]);
    let lines = watched.server.log().len() - watched.logged();
    let storm = |number: usize| {
        for _ in 0..EACH {
            let mut stream = TcpStream::connect(watched.server.address()).unwrap();
            match number {
                0 => {}
                // It may be closed at once.
                1 => drop(stream.write_all(HELLO)),
                2 => drop(stream.shutdown(Shutdown::Both)),
                _ => sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap(),
            }
        }
    };
    thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || storm(number));
        }
        for era in ERAS.repeat(3) {
            let took = watched.good(era);
            assert!(took < watched.quick * 2 + ALLOWANCE, "{era:?}: {took:?}");
        }
    });
    watched.check("storm");
    let more = watched.server.log().len() - watched.logged() - lines;
    assert!(
        more < EACH / 10,
        "{more} lines:\n{}",
        watched.server.log().join("\n")
    );
    assert!(watched.good(Era::Modern) < watched.quick * 2 + ALLOWANCE);
}
