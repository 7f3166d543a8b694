//! An HTTP server for the tests to be hostile with: it decides about every byte of its responses.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Such as `GET /path?query`.
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// How many came before it on its connection.
    pub(crate) earlier: usize,
}

impl Received {
    /// A header by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name);
        values.next().map(|(_, value)| value.as_str())
    }
}

/// A connection, encrypted or not.
pub(crate) trait Stream: Read + Write + Send {
    /// What it goes over.
    fn socket(&self) -> &TcpStream;

    /// Waits until the other side has closed it.
    fn wait_for_end(&self) {
        let mut socket = self.socket();
        while socket.read(&mut [0]).is_ok_and(|read| read > 0) {}
    }

    /// Has the kernel reset it when it is closed.
    fn reset(&self) {
        let socket = socket2::SockRef::from(self.socket());
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

impl Stream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Stream for StreamOwned<ServerConnection, TcpStream> {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

/// Answers a request; false closes the connection.
type Answer = dyn Fn(&Received, &mut dyn Stream) -> bool + Send + Sync;

/// A server on a free port. Its threads end with their connections.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    accepted: Arc<AtomicUsize>,
}

impl Upstream {
    /// Answers each request with what the function writes.
    pub(crate) fn start(
        answer: impl Fn(&Received, &mut dyn Stream) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::on(listener(), answer)
    }

    /// The same with a listener of the test's own.
    pub(crate) fn on(
        listener: TcpListener,
        answer: impl Fn(&Received, &mut dyn Stream) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::serve(listener, |stream| Some(Box::new(stream)), answer)
    }

    /// The same at this address and behind a certificate for `localhost`; with clients that have one
    /// too, if asked.
    pub(crate) fn encrypted(
        address: &str,
        needs_client: bool,
        answer: impl Fn(&Received, &mut dyn Stream) -> bool + Send + Sync + 'static,
    ) -> Self {
        let config = Arc::new(server_config(needs_client));
        let encrypt = move |stream| -> Option<Box<dyn Stream>> {
            let connection = ServerConnection::new(Arc::clone(&config)).ok()?;
            Some(Box::new(StreamOwned::new(connection, stream)))
        };
        let listener = TcpListener::bind((address, 0)).unwrap();
        Self::serve(listener, encrypt, answer)
    }

    /// Accepts connections and says nothing, until the other side closes them.
    pub(crate) fn silent() -> Self {
        let wait = |stream: TcpStream| {
            stream.wait_for_end();
            None
        };
        Self::serve(listener(), wait, |_, _| false)
    }

    fn serve(
        listener: TcpListener,
        wrap: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static,
        answer: impl Fn(&Received, &mut dyn Stream) -> bool + Send + Sync + 'static,
    ) -> Self {
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            received: Arc::default(),
            accepted: Arc::default(),
        };
        let (answer, wrap): (Arc<Answer>, _) = (Arc::new(answer), Arc::new(wrap));
        let noted = Arc::clone(&upstream.received);
        let accepted = Arc::clone(&upstream.accepted);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                accepted.fetch_add(1, Ordering::SeqCst);
                let (answer, noted) = (Arc::clone(&answer), Arc::clone(&noted));
                let wrap = Arc::clone(&wrap);
                std::thread::spawn(move || {
                    if let Some(stream) = wrap(stream) {
                        talk(stream, &*answer, &noted);
                    }
                });
            }
        });
        upstream
    }

    /// The URL without a path, by the address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections there were so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// What arrived so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn talk(stream: Box<dyn Stream>, answer: &Answer, noted: &Mutex<Vec<Received>>) {
    let mut stream = BufReader::new(stream);
    let mut earlier = 0;
    while let Some(request) = read(&mut stream, earlier) {
        noted.lock().unwrap().push(request.clone());
        if !answer(&request, stream.get_mut().as_mut()) || stream.get_mut().flush().is_err() {
            return;
        }
        earlier += 1;
    }
}

fn read(stream: &mut BufReader<Box<dyn Stream>>, earlier: usize) -> Option<Received> {
    let mut line = String::new();
    let mut next = || {
        line.clear();
        let read = stream.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    };
    let first = next()?;
    let mut headers = Vec::new();
    while let Some((name, value)) = next()?.split_once(": ") {
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Received {
        line: first.trim_end_matches(" HTTP/1.1").to_owned(),
        headers,
        body: String::from_utf8(body).unwrap(),
        earlier,
    })
}

/// Writes a response with these headers and this body; true, as [`Answer`] wants it.
pub(crate) fn respond(to: &mut dyn Write, status: &str, headers: &[&str], body: &[u8]) -> bool {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        head.extend([*header, "\r\n"]);
    }
    head.push_str("\r\n");
    let written = to.write_all(head.as_bytes());
    written.and_then(|()| to.write_all(body)).is_ok()
}

/// Writes bytes as they are and closes the connection.
pub(crate) fn say(to: &mut dyn Write, bytes: &[u8]) -> bool {
    drop(to.write_all(bytes));
    drop(to.flush());
    false
}

/// The folder of the certificates. They are valid for a hundred years, and of use nowhere else.
pub(crate) fn certificates() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls")
}

fn server_config(needs_client: bool) -> ServerConfig {
    let file = |name| certificates().join(name);
    let chain = vec![CertificateDer::from_pem_file(file("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if needs_client {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(file("ca.pem")).unwrap();
        roots.add(ca).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    builder.with_single_cert(chain, key).unwrap()
}
