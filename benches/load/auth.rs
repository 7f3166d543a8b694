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

use crate::calls::RUNS;
use crate::table::title;
use crate::variants::{Setup, Variant, compare};

const TOKEN: &str = "bench-mfZ3b1mXk0Qy7h2Vn5cR8w";
const ISSUER: &str = "https://id.example.com";
const AUDIENCE: &str = "https://mcp.example.com/mcp";

/// Calls per second, by how the caller is known.
pub(crate) fn auth(scale: f64) {
    title(&format!(
        "auth: a tool with a fixed text, JSON, each kind of caller {RUNS} times in turn; median (least to most)"
    ));
    let variants = [
        Variant::start(Setup::plain("anonymous"), None),
        Variant::start(static_token(), Some(0.95)),
        Variant::start(checked_jwt(), Some(0.9)),
    ];
    compare(&variants, scale);
}

/// With one of a thousand tokens.
pub(crate) fn static_token() -> Setup {
    guarded("static token", |_| (static_tokens(), TOKEN.to_owned()))
}

/// With a JWT, which is checked when it comes first.
pub(crate) fn checked_jwt() -> Setup {
    guarded("JWT, checked before", jwt)
}

/// With an auth file, and a token for it.
fn guarded(name: &'static str, prepare: impl FnOnce(&Path) -> (String, String)) -> Setup {
    let folder = tempfile::tempdir().unwrap();
    let (auth, token) = prepare(folder.path());
    let file = folder.path().join("auth.yaml");
    fs::write(&file, auth).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let options = ["--auth", file.to_str().unwrap()];
    Setup::plain(name).with(&options, folder).presenting(&token)
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
