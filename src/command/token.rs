//! `token`: new tokens, and their entries of the auth file. A token is never an argument, since every
//! user of the machine can read those.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::fs::FileType;

use crate::auth::{Authenticator, Surroundings};
use crate::cli::{Token, TokenOwner};
use crate::console;
use crate::failure::Failure;
use crate::secret::{MAX_SECRET_BYTES, Secret};

/// How random a new token is, in bytes.
const TOKEN_BYTES: usize = 32;

/// What tokens stand below in an auth file.
const HEADING: &str = "tokens:\n";

/// Makes a token or reads one, and prints its entry: standard output can be the auth file.
pub(super) fn run(command: Token) -> Result<u8, Failure> {
    let (token, owner, is_new) = match command {
        Token::New(owner) => (random()?, owner, true),
        Token::Hash(owner) => (read()?, owner, false),
    };
    Authenticator::single_token(&token).map_err(|error| Failure::usage([error.into()]))?;
    let now = SystemTime::now();
    let entry = entry(&token, &owner, now);
    // What an auth file refuses is refused here.
    let file = Secret::new(format!("{HEADING}{entry}"));
    let (_, warnings) =
        Authenticator::auth_file(&file, Path::new("auth.yaml"), &Surroundings::default(), now)?;
    for warning in warnings {
        console::tell(&format!("warning: {}", warning.message()));
    }
    if is_new {
        console::tell(token.expose());
    }
    console::print(if is_appended() { &entry } else { file.expose() })?;
    Ok(crate::EXIT_CLEAN)
}

/// Whether standard output is a file that has something already, and so the heading.
fn is_appended() -> bool {
    let status = rustix::fs::fstat(io::stdout());
    status
        .is_ok_and(|status| FileType::from_raw_mode(status.st_mode).is_file() && status.st_size > 0)
}

fn random() -> anyhow::Result<Secret> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).context("cannot get random bytes")?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

fn read() -> Result<Secret, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        console::tell("the token, on one line, then Ctrl-D:");
    }
    let mut text = String::new();
    (stdin
        .lock()
        .take(MAX_SECRET_BYTES)
        .read_to_string(&mut text))
    .context("cannot read the token from standard input")?;
    match text.trim() {
        "" => Err(Failure::usage([anyhow!(
            "standard input holds no token; pipe one into this command"
        )])),
        token => Ok(Secret::new(token)),
    }
}

/// The entry of a token, to be put below `tokens:`.
fn entry(token: &Secret, owner: &TokenOwner, now: SystemTime) -> String {
    let mut lines = format!("  - sha256: {}\n", token.digest().to_hex());
    let mut add = |key: &str, value: String| {
        lines.extend(["    ", key, ": ", &value, "\n"]);
    };
    add("subject", scalar(&owner.subject));
    if let Some(tenant) = &owner.tenant {
        add("tenant", scalar(tenant));
    }
    if let Some(expires) = owner.expires {
        add("expires", expires.date(now));
    }
    for (key, values) in [("scopes", &owner.scope), ("roles", &owner.role)] {
        if !values.is_empty() {
            let values: Vec<_> = values.iter().map(|value| scalar(value)).collect();
            add(key, format!("[{}]", values.join(", ")));
        }
    }
    lines
}

/// A text as YAML, in quotes unless it is a plain word.
fn scalar(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.@".contains(c);
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts && text.chars().all(is_plain) && !text.eq_ignore_ascii_case("null") {
        return text.to_owned();
    }
    // A string of JSON is one of YAML.
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::scalar;

    #[test]
    fn a_name_stays_the_name() {
        let cases = [
            ("alice", "alice"),
            ("a.b@c-d_1", "a.b@c-d_1"),
            ("null", "\"null\""),
            ("-x", "\"-x\""),
            ("issues:write", "\"issues:write\""),
            ("a \"b\"", "\"a \\\"b\\\"\""),
        ];
        for (text, expected) in cases {
            assert_eq!(scalar(text), expected);
        }
    }
}
