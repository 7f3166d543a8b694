//! Connections that the server encrypts itself: `--tls-cert` and `--tls-key`.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcp_serve::protocol::version::Era;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use serde_json::{Value, json};

use crate::metrics::{MONITOR, calls_in_flight, monitor_of, scrape, value};
use crate::support::{
    ALLOWANCE, Client, GATE, Gate, Http, PATIENCE, TestServer, command, initialize, run,
    wait_for_ends,
};
use crate::upstream::certificates;

const TOOLS: &str = "
tools:
  echo: {description: Prints its argument., exec: '/usr/bin/printf %s {text}', params: {text: string}}
  big: {description: Prints much., exec: [sh, -c, 'yes | head -c 8000000'], max_output: 9MiB}
";

type Secure = StreamOwned<ClientConnection, TcpStream>;

/// Puts a certificate and its key where the server reads them.
fn put(folder: &Path, name: &str) {
    for (ending, to) in [("pem", "cert.pem"), ("key", "cert.key")] {
        let from = certificates().join(format!("{name}.{ending}"));
        let part = folder.join("part");
        fs::copy(from, &part).unwrap();
        fs::set_permissions(&part, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(part, folder.join(to)).unwrap();
    }
}

fn encrypt(command: &mut Command, folder: &Path) {
    command.arg("--tls-cert").arg(folder.join("cert.pem"));
    command.arg("--tls-key").arg(folder.join("cert.key"));
}

/// Serves with encryption, and with the metrics on a plain listener.
pub(crate) fn serve(tools: &str, options: &[&str]) -> TestServer {
    let options: Vec<_> = options.iter().chain(&MONITOR).copied().collect();
    TestServer::start_with(tools, &options, |prepare| {
        put(prepare.folder, "server");
        encrypt(prepare.command, prepare.folder);
    })
}

fn config(versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for name in ["ca.pem", "other.pem"] {
        let trusted = CertificateDer::from_pem_file(certificates().join(name)).unwrap();
        roots.add(trusted).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Connects, and agrees on encryption.
fn handshake(server: &TestServer, config: Arc<ClientConfig>) -> io::Result<Http<Secure>> {
    let mut socket = TcpStream::connect(server.address())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let name = "localhost".try_into().unwrap();
    let mut connection = ClientConnection::new(config, name).unwrap();
    connection.complete_io(&mut socket)?;
    Ok(Http::inside(
        StreamOwned::new(connection, socket),
        server.address(),
    ))
}

fn connect(server: &TestServer) -> Http<Secure> {
    handshake(server, config(&[&TLS13], &[])).unwrap()
}

fn call(client: &Client, name: &str, arguments: &Value) -> Value {
    client.message(
        1,
        "tools/call",
        &json!({"name": name, "arguments": arguments}),
    )
}

/// The name in the certificate that a new connection is shown.
fn is_shown(server: &TestServer, name: &str) -> bool {
    let mut http = connect(server);
    let shown = http.stream().conn.peer_certificates().unwrap()[0].clone();
    let file = certificates().join(format!("{name}.pem"));
    shown == CertificateDer::from_pem_file(file).unwrap()
}

#[test]
fn a_client_chooses_between_two_versions() {
    let server = serve(TOOLS, &[]);
    let listening = server.wait_for_log("\"message\":\"listening\"");
    assert!(listening.contains("\"url\":\"https://"), "{listening}");
    let client = server.client(Era::Modern);
    for (version, alpn) in [(&TLS12, vec![]), (&TLS13, vec!["h2", "http/1.1"])] {
        let mut http = handshake(&server, config(&[version], &alpn)).unwrap();
        client.send_on(&mut http, &call(&client, "echo", &json!({"text": "x"})));
        let result = &http.read().json()["result"];
        assert_eq!(result["content"][0]["text"], "x", "{version:?}");
        let chosen = http.stream().conn.alpn_protocol();
        let expected = (!alpn.is_empty()).then_some(&b"http/1.1"[..]);
        assert_eq!(chosen, expected, "{version:?}");
    }
    let refused = handshake(&server, config(&[&TLS13], &["h2"]));
    assert!(refused.is_err(), "HTTP/2 is not spoken");
    let mut http = connect(&server);
    let body = initialize("2025-11-25").to_string();
    let headers = [("Content-Type", "application/json")];
    assert_eq!(http.request("POST", "/mcp", &headers, &body).status, 200);
    assert_eq!(
        http.request("GET", "/healthz", &[], "").status,
        200,
        "on the same connection"
    );
}

#[test]
fn plain_http_is_not_spoken_where_encryption_is() {
    let server = serve(TOOLS, &[]);
    for hello in [
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "\r\n\r\n\r\n\r\n",
        // TLS 1.0, which offers nothing newer.
        "\x16\x03\x01\0\x2d\x01\0\0\x29\x03\x01\
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\0\0\x02\0\x2f\x01\0",
    ] {
        let mut socket = TcpStream::connect(server.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(hello.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let read = socket.read_to_end(&mut answer);
        let is_reset = read.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset);
        assert!(
            is_reset || answer.len() <= 7,
            "an alert at most: {answer:?}"
        );
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    assert_eq!(
        connect(&server).request("GET", "/readyz", &[], "").status,
        200
    );
}

/// A page that came without encryption may be made up by whoever is on the way.
#[test]
fn the_own_pages_are_those_that_came_encrypted() {
    let server = serve(TOOLS, &[]);
    let body = initialize("2025-11-25").to_string();
    for (scheme, status) in [("https", 200), ("http", 403)] {
        let origin = format!("{scheme}://{}", server.address());
        let headers = [("Content-Type", "application/json"), ("Origin", &origin)];
        let answer = connect(&server).request("POST", "/mcp", &headers, &body);
        assert_eq!(answer.status, status, "{origin}");
    }
}

/// H32
#[test]
fn a_handshake_takes_its_place_and_only_so_long() {
    let server = serve(TOOLS, &["--max-connections=1"]);
    let begun = Instant::now();
    let mut silent = TcpStream::connect(server.address()).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    silent.write_all(b"\x16\x03\x01").unwrap();
    let refused = handshake(&server, config(&[&TLS13], &[]));
    assert!(refused.is_err(), "there is no room for another");
    assert!(matches!(silent.read(&mut [0]), Ok(0) | Err(_)));
    let took = begun.elapsed();
    let limit = Duration::from_secs(5);
    assert!(took >= limit && took < limit + ALLOWANCE, "{took:?}");
    assert_eq!(
        connect(&server).request("GET", "/readyz", &[], "").status,
        200
    );
}

#[test]
fn another_certificate_is_used_without_a_stop() {
    let server = serve(TOOLS, &[]);
    let monitor = monitor_of(&server);
    let reloads = |outcome: &str| {
        let series = format!("certificate_reloads_total{{outcome=\"{outcome}\"}}");
        value(&scrape(&monitor), &series)
    };
    let is_new = || value(&scrape(&monitor), "certificate_reload_success");
    let mut before = connect(&server);
    assert!(is_shown(&server, "server"));

    put(server.folder(), "other");
    server.wait_for_log("\"message\":\"certificate reloaded\"");
    assert!(is_shown(&server, "other"));
    assert_eq!(
        before.request("GET", "/readyz", &[], "").status,
        200,
        "it lives"
    );
    assert!(reloads("ok") >= 1.0);

    fs::write(server.folder().join("cert.pem"), "nothing").unwrap();
    let line = server.wait_for_log("the certificate from before is used");
    assert!(line.contains("holds no certificate in PEM form"), "{line}");
    assert!(is_shown(&server, "other"));
    assert!(reloads("failed") >= 1.0);
    assert!(is_new() < 0.5);

    let seen = server.log().len();
    put(server.folder(), "server");
    server.signal("HUP");
    let reloaded = |line: &String| line.contains("\"message\":\"certificate reloaded\"");
    let again =
        crate::support::eventually(|| server.log()[seen..].iter().any(reloaded).then_some(()));
    assert!(again.is_some(), "{:#?}", server.log());
    assert!(is_shown(&server, "server"));
    assert!(is_new() > 0.5);
    server.wait_for_log("\"message\":\"reloaded\"");
}

#[test]
fn what_cannot_encrypt_is_refused_at_the_start() {
    type Change = fn(&Path);
    let cases: [(&str, Change, &str); 4] = [
        (
            "others can read the key",
            |folder| {
                let mode = fs::Permissions::from_mode(0o644);
                fs::set_permissions(folder.join("cert.key"), mode).unwrap();
            },
            "its mode is 0644",
        ),
        (
            "another key",
            |folder| {
                let other = fs::read(certificates().join("client.key")).unwrap();
                fs::write(folder.join("cert.key"), other).unwrap();
            },
            "is not the key of the first certificate in --tls-cert",
        ),
        (
            "no certificate",
            |folder| fs::write(folder.join("cert.pem"), "").unwrap(),
            "cert.pem: it holds no certificate in PEM form",
        ),
        (
            "no key",
            |folder| fs::remove_file(folder.join("cert.key")).unwrap(),
            "cert.key: cannot read it: No such file",
        ),
    ];
    for (name, change, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tools.yaml"), TOOLS).unwrap();
        put(folder.path(), "server");
        change(folder.path());
        for checks in [true, false] {
            let mut command = command();
            command.current_dir(folder.path());
            if checks {
                command.arg("check");
            }
            encrypt(&mut command, folder.path());
            let run = run(&mut command);
            assert_eq!(run.code, Some(2), "{name}: {run:?}");
            assert!(run.stderr.contains(expected), "{name}: {}", run.stderr);
        }
    }
    for option in ["--tls-cert=x", "--tls-key=x"] {
        let run = run(command().arg(option));
        assert_eq!(run.code, Some(2), "{option}");
        assert!(run.stderr.contains("--tls-"), "{option}: {}", run.stderr);
    }
}

/// A farewell inside the encryption counts like the end of the bytes below it.
#[test]
fn a_client_that_takes_its_leave_cancels_its_call() {
    let server = serve(&format!("tools:{GATE}"), &[]);
    let client = server.client(Era::Modern);
    for (name, is_polite) in [("farewell", true), ("cut", false)] {
        let gate = Gate::new(&server, name);
        let mut http = connect(&server);
        client.send_on(&mut http, &call(&client, "gate", &gate.arguments()));
        gate.wait();
        let processes = server.descendants();
        assert!(!processes.is_empty(), "{name}");
        let secure = http.stream();
        if is_polite {
            secure.conn.send_close_notify();
            secure.conn.complete_io(&mut secure.sock).unwrap();
        } else {
            secure.sock.shutdown(std::net::Shutdown::Write).unwrap();
        }
        wait_for_ends(&processes, name);
    }
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    let server = serve(TOOLS, &["--tcp-user-timeout=1s"]);
    let client = server.client(Era::Modern);
    let mut http = connect(&server);
    let begun = Instant::now();
    client.send_on(&mut http, &call(&client, "big", &json!({})));
    let quiet = crate::support::eventually(|| {
        let in_flight = scrape(&monitor_of(&server));
        let requests = value(&in_flight, "requests_in_flight{era=\"stateless\"}");
        (begun.elapsed() > Duration::from_secs(1) && requests < 0.5).then_some(())
    });
    assert!(quiet.is_some() && calls_in_flight(&server) == 0);
    let mut rest = Vec::new();
    let read = http.stream().read_to_end(&mut rest);
    assert!(read.is_err(), "it was cut after {} bytes", rest.len());
    assert!(rest.len() < 8_000_000);
}
