//! An authorization server for the tests: it makes tokens, shows its keys as the test wants it to,
//! and says what tokens are.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::upstream::{Received, Stream, Upstream, respond};

/// For whom the tokens are.
pub(crate) const AUDIENCE: &str = "https://mcp.example.com/mcp";

/// How a server answers who asks for its keys, or what a token is.
#[derive(Debug, Clone)]
pub(crate) enum Mood {
    /// With this JSON.
    Json(Value),
    /// With the JSON at these paths, and with 404 elsewhere.
    Paths(Vec<(&'static str, Value)>),
    /// With this status and nothing else.
    Status(&'static str),
    /// With a redirection.
    Elsewhere(String),
    /// With more bytes than anybody wants.
    Endless,
    /// Never.
    Silent,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Issuer {
    upstream: Upstream,
    mood: Arc<Mutex<Mood>>,
}

impl Issuer {
    pub(crate) fn start(mood: Mood) -> Self {
        let mood = Arc::new(Mutex::new(mood));
        let answering = Arc::clone(&mood);
        let upstream = Upstream::start(move |request, stream| {
            let mood = answering.lock().unwrap().clone();
            answer(&mood, request, stream)
        });
        Self { upstream, mood }
    }

    /// One that shows these keys.
    pub(crate) fn with_keys(keys: &[&Key]) -> Self {
        Self::start(Mood::Json(key_set(keys)))
    }

    pub(crate) fn is_now(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Its identifier.
    pub(crate) fn url(&self) -> String {
        self.upstream.url()
    }

    /// The requests that arrived so far.
    pub(crate) fn asked(&self) -> Vec<Received> {
        self.upstream.received()
    }

    /// The connections to it so far.
    pub(crate) fn connections(&self) -> usize {
        self.upstream.accepted()
    }

    /// An entry of `jwt` in an auth file, with these keys besides.
    pub(crate) fn entry(&self, more: &str) -> String {
        let url = self.url();
        format!("  - issuer: {url}\n    audience: {AUDIENCE}\n    jwks: {url}/jwks.json\n{more}")
    }

    /// Claims that are good for an hour.
    pub(crate) fn claims(&self, subject: &str) -> Value {
        let now = unix(SystemTime::now());
        json!({"iss": self.url(), "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 3600})
    }
}

fn answer(mood: &Mood, request: &Received, stream: &mut dyn Stream) -> bool {
    match mood {
        Mood::Paths(paths) => {
            let asked = request.line.strip_prefix("GET ");
            let mood = match paths.iter().find(|(path, _)| Some(*path) == asked) {
                Some((_, json)) => Mood::Json(json.clone()),
                None => Mood::Status("404 Not Found"),
            };
            answer(&mood, request, stream)
        }
        Mood::Json(json) => {
            let body = json.to_string();
            respond(
                stream,
                "200 OK",
                &["Content-Type: application/json"],
                body.as_bytes(),
            )
        }
        Mood::Status(status) => respond(stream, status, &[], b""),
        Mood::Elsewhere(url) => respond(stream, "302 Found", &[&format!("Location: {url}")], b""),
        Mood::Endless => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n";
            let mut written = stream.write_all(head);
            while written.is_ok() {
                written = stream.write_all(&[b' '; 1 << 12]);
            }
            false
        }
        Mood::Silent => {
            stream.wait_for_end();
            false
        }
    }
}

/// Seconds since the epoch.
pub(crate) fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A set of these keys.
pub(crate) fn key_set(keys: &[&Key]) -> Value {
    json!({"keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>()})
}

/// A key that makes tokens.
#[derive(Debug)]
pub(crate) struct Key {
    id: &'static str,
    pair: Ed25519KeyPair,
}

impl Key {
    pub(crate) fn new(id: &'static str) -> Self {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap();
        Self { id, pair }
    }

    /// What its issuer shows of it.
    pub(crate) fn public(&self) -> Value {
        let x = base64(self.pair.public_key());
        json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.id})
    }

    /// The header of its tokens.
    pub(crate) fn header(&self) -> Value {
        json!({"alg": "EdDSA", "kid": self.id, "typ": "at+jwt"})
    }

    /// Makes a token.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }

    /// Makes a token with this header.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let signature = base64(self.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

/// What of a token is signed.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        base64(header.to_string()),
        base64(claims.to_string())
    )
}
