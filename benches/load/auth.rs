//! What it costs to know who calls: a tool with a fixed text, for callers without a credential, with
//! a static token, and with a JWT that was checked before.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::calls::{
    CALL, Contestant, MODERN_CALL, MODERN_FIELDS, RUN, RUNS, TOOLS, request, session_fields,
};
use crate::client::{Client, INITIALIZE, Id};
use crate::server::Server;
use crate::table::{above, median, row, spread, title};

const TOKEN: &str = "bench-mfZ3b1mXk0Qy7h2Vn5cR8w";
const ISSUER: &str = "https://id.example.com";
const AUDIENCE: &str = "https://mcp.example.com/mcp";

/// A server that asks for a credential of some kind, or for none.
struct Guarded {
    kind: &'static str,
    /// The value of the header.
    credential: Option<String>,
    /// Of the rate without credentials.
    goal: f64,
    server: Server,
    _folder: TempDir,
}

impl Guarded {
    fn start(
        kind: &'static str,
        goal: f64,
        prepare: impl FnOnce(&Path) -> Option<(String, String)>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let prepared = prepare(folder.path());
        let file = folder.path().join("auth.yaml");
        let mut options = vec!["--json-response"];
        if let Some((auth, _)) = &prepared {
            fs::write(&file, auth).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            options.extend(["--auth", file.to_str().unwrap()]);
        }
        Self {
            kind,
            credential: prepared.map(|(_, token)| format!("Bearer {token}")),
            goal,
            server: Server::serve(TOOLS, &options),
            _folder: folder,
        }
    }

    fn fields<'a>(&'a self, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let credential = self
            .credential
            .iter()
            .map(|value| ("Authorization", value.as_str()));
        credential.chain(fields.iter().copied()).collect()
    }

    fn session(&self) -> Id {
        let address = &self.server.address;
        let mut client = Client::connect(address);
        client.send(&request(address, &self.fields(&[]), INITIALIZE));
        client.receive().session.unwrap()
    }

    /// Those who call here, up to 2025-11-25 and in 2026-07-28.
    fn contestants(&self) -> [Contestant; 2] {
        let session = self.session();
        let address = &self.server.address;
        let legacy = self.fields(&session_fields(&session));
        let modern = self.fields(&MODERN_FIELDS);
        [
            Contestant::new(self.kind, address, &legacy, CALL),
            Contestant::new(self.kind, address, &modern, MODERN_CALL),
        ]
    }
}

/// Calls per second, by how the caller is known.
pub(crate) fn auth(scale: f64) {
    title(&format!(
        "auth: a tool with a fixed text, JSON, each kind of caller {RUNS} times in turn; median (least to most)"
    ));
    let servers = [
        Guarded::start("anonymous", 1.0, |_| None),
        Guarded::start("static token", 0.95, |_| {
            Some((static_tokens(), TOKEN.to_owned()))
        }),
        Guarded::start("JWT, checked before", 0.9, |folder| Some(jwt(folder))),
    ];
    for connections in [1, 32] {
        let mut contestants: Vec<_> = servers.iter().map(Guarded::contestants).collect();
        for _ in 0..RUNS {
            for contestant in contestants.iter_mut().flatten() {
                contestant.run(connections, RUN.mul_f64(scale));
            }
        }
        for (number, era) in ["2025-11-25", "2026-07-28"].into_iter().enumerate() {
            let mut rates: Vec<_> = (contestants.iter_mut())
                .map(|eras| &mut eras.get_mut(number).unwrap().rates)
                .collect();
            report(
                &format!("{era}, {connections} connections"),
                &servers,
                &mut rates,
            );
        }
    }
}

fn report(what: &str, servers: &[Guarded], rates: &mut [&mut Vec<f64>]) {
    for (server, rates) in servers.iter().zip(rates.iter_mut()) {
        let measured = format!("{} calls/s", spread(rates));
        row(&format!("{}, {what}", server.kind), &measured);
    }
    let mut medians = rates.iter_mut().map(|rates| median(rates));
    let anonymous = medians.next().unwrap();
    for (server, rate) in servers.iter().skip(1).zip(medians) {
        let name = format!("{} / anonymous, {what}", server.kind);
        above(&name, rate / anonymous, "", server.goal);
    }
}

/// A thousand tokens, ours among them.
fn static_tokens() -> String {
    let entry = |token: &str| {
        let mut hex = String::new();
        for byte in Sha256::digest(token.as_bytes()) {
            write!(hex, "{byte:02x}").unwrap();
        }
        format!("  - {{sha256: {hex}, subject: bench}}\n")
    };
    let others = (1..1000).map(|number| entry(&format!("{TOKEN}-{number}")));
    format!("tokens:\n{}{}", entry(TOKEN), others.collect::<String>())
}

/// An auth file with an issuer whose keys lie beside it, and a token of it.
fn jwt(folder: &Path) -> (String, String) {
    let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap();
    let x = encode(pair.public_key());
    let keys = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"bench","x":"{x}"}}]}}"#);
    fs::write(folder.join("keys.json"), keys).unwrap();
    let hour = Duration::from_hours(1);
    let exp = (SystemTime::now() + hour)
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    // As long as those that issuers make.
    let roles = r#"["developer","reviewer","on-call","offline_access","uma_authorization"]"#;
    let header = r#"{"alg":"EdDSA","kid":"bench","typ":"at+jwt"}"#;
    let claims = format!(
        r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"248289761001","exp":{exp},"client_id":"s6BhdRkqt3","jti":"0f6e8a8e-7e7f-4a52-9c1b-5d3f1c0f6a11","scope":"openid profile issues:read issues:write","roles":{roles}}}"#
    );
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = encode(pair.sign(message.as_bytes()));
    let auth =
        format!("jwt:\n  - {{issuer: '{ISSUER}', audience: '{AUDIENCE}', jwks: keys.json}}\n");
    (auth, format!("{message}.{signature}"))
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
