//! `tokens`: bearer tokens, known by their digests.

use std::collections::HashSet;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::fields::{Once, item, items, list_of, name_of, place_of, unknown_key};
use crate::auth::guessable::Guessable;
use crate::auth::names::{MAX_ITEMS, check_name, check_scope};
use crate::auth::{Caller, Issuer, Principal};
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::reader;
use crate::document::values::literal;
use crate::document::yaml::{Entry, Node};
use crate::secret::SecretDigest;

const KEYS: &[&str] = &[
    "sha256", "subject", "tenant", "scopes", "roles", "expires", "metadata",
];
/// What people call the key for the token itself, which does not belong into the file.
const SECRET_KEYS: &[&str] = &["token", "secret", "password", "hash", "digest", "bearer"];
/// Claims that other keys say.
const SAID: [(&str, &str); 3] = [
    ("sub", "subject"),
    ("tenant", "tenant"),
    ("scope", "scopes"),
];

/// How to make the value of `sha256`.
const DIGEST_HELP: &str = "write the digest of the token, as `mcp-serve token hash` prints it";

pub(super) fn read(
    entry: &Entry,
    now: SystemTime,
    report: &mut Report,
) -> Vec<(SecretDigest, Caller)> {
    let advice = "add a token, as `mcp-serve token new` makes one, or remove `tokens`";
    let guessable = Guessable::new();
    let mut once = Once::new();
    let mut tokens = Vec::new();
    for node in items(entry, advice, report) {
        let Some(definition) = read_token(node, report) else {
            continue;
        };
        if let Some((digest, span)) = &definition.digest {
            check_digest(digest, *span, &guessable, report);
            once.check(digest.clone(), "this token", *span, report);
        }
        if let Some((expires, span)) = definition.expires
            && expires <= now
        {
            let message = "this token has expired, and lets nobody in";
            let problem = Problem::warning(Code::Expired, span, message);
            report.add(problem.help("remove it, or issue a new one"));
        }
        tokens.extend(definition.token());
    }
    tokens
}

/// The keys of one token as far as they could be read.
#[derive(Default)]
struct Definition {
    digest: Option<(SecretDigest, Span)>,
    subject: Option<String>,
    tenant: Option<String>,
    scopes: Vec<String>,
    roles: Vec<String>,
    expires: Option<(SystemTime, Span)>,
    metadata: Map<String, Value>,
}

impl Definition {
    fn token(self) -> Option<(SecretDigest, Caller)> {
        let (digest, _) = self.digest?;
        let principal = Principal::user(Issuer::AuthFile, self.subject?, self.tenant);
        let caller = Caller::new(principal).with_scopes(self.scopes);
        let mut claims = self.metadata;
        claims.extend(caller.claims);
        let caller = Caller {
            roles: self.roles,
            expires: self.expires.map(|(expires, _)| expires),
            claims,
            ..caller
        };
        Some((digest, caller))
    }
}

fn read_token(node: &Node, report: &mut Report) -> Option<Definition> {
    let form = "a token must be a mapping with `sha256` and `subject`";
    let entries = item(node, form, report)?;
    let mut definition = Definition::default();
    let mut said = HashSet::new();
    for entry in entries {
        let name = entry.key.text.as_str();
        said.insert(name);
        match name {
            "sha256" => definition.digest = digest(entry, report),
            "subject" => definition.subject = name_of(entry, report),
            "tenant" => definition.tenant = name_of(entry, report),
            "scopes" => definition.scopes = list_of(entry, "a scope", check_scope, report),
            "roles" => definition.roles = list_of(entry, "a role", check_name, report),
            "expires" => definition.expires = date(entry, report),
            "metadata" => definition.metadata = metadata(entry, report),
            _ if SECRET_KEYS.contains(&name) => {
                said.insert("sha256");
                let message = format!("unknown key `{name}` in a token");
                let problem = Problem::error(Code::UnknownKey, entry.key.span, message);
                report.add(problem.help(format!("under `sha256`, {DIGEST_HELP}")));
                report.hide(entry.value.span);
            }
            _ => {
                said.extend(unknown_key(entry, "a token", KEYS, report));
            }
        }
    }
    let missing = [
        ("sha256", DIGEST_HELP),
        ("subject", "say whom the token stands for, with `subject`"),
    ];
    for (key, help) in missing {
        if !said.contains(key) {
            let message = format!("this token has no `{key}`");
            report.add(Problem::error(Code::Value, place_of(node), message).help(help));
        }
    }
    Some(definition)
}

fn digest(entry: &Entry, report: &mut Report) -> Option<(SecretDigest, Span)> {
    let digest = reader::text(entry, report).and_then(|text| {
        let digest = SecretDigest::from_hex(&text);
        if digest.is_none() {
            let message = "`sha256` must be 64 hexadecimal digits";
            report.add(Problem::error(Code::Grammar, entry.place(), message).help(DIGEST_HELP));
        }
        digest
    });
    if digest.is_none() {
        hide(&entry.value, report);
    }
    Some((digest?, entry.place()))
}

/// Hides a value, but not the `${…}` in it.
fn hide(node: &Node, report: &mut Report) {
    match node.scalar() {
        Some(scalar) => literal::hide(scalar, report),
        None => report.hide(node.span),
    }
}

fn check_digest(digest: &SecretDigest, span: Span, guessable: &Guessable, report: &mut Report) {
    let Some(word) = guessable.word(digest) else {
        return;
    };
    let message = if word.is_empty() {
        "this is the digest of no token at all".to_owned()
    } else {
        format!("this is the digest of `{word}`, which everybody guesses")
    };
    let help = "make a token with `mcp-serve token new`";
    report.add(Problem::error(Code::GuessableToken, span, message).help(help));
}

fn date(entry: &Entry, report: &mut Report) -> Option<(SystemTime, Span)> {
    let text = reader::text(entry, report)?;
    let Ok(date) = humantime::parse_rfc3339(&text) else {
        let message = "`expires` is not a date and time";
        let problem = Problem::error(Code::Grammar, entry.place(), message);
        report.add(problem.help("write it in UTC, such as `2027-01-01T00:00:00Z`"));
        return None;
    };
    Some((date, entry.place()))
}

/// Reads what else is known of whom a token stands for. It becomes claims, beside those that other keys
/// say.
fn metadata(entry: &Entry, report: &mut Report) -> Map<String, Value> {
    let Some(entries) = reader::mapping(entry, report) else {
        report.hide(entry.value.span);
        return Map::new();
    };
    if entries.len() > MAX_ITEMS {
        let message = format!("`metadata` has more than {MAX_ITEMS} keys");
        report.add(Problem::error(Code::Value, entry.key.span, message));
    }
    let mut claims = Map::new();
    for entry in entries {
        let name = &entry.key.text;
        if let Some((_, key)) = SAID.iter().find(|(claim, _)| claim == name) {
            let message = format!("claim `{name}` is what `{key}` says");
            let problem = Problem::error(Code::Value, entry.key.span, message);
            report.add(problem.help(format!("write it under `{key}` of the token, or rename it")));
            continue;
        }
        if let Some(value) = entry.value.json() {
            claims.insert(name.clone(), value);
        } else {
            let message = "a number here is one that JSON cannot hold";
            let problem = Problem::error(Code::Value, entry.place(), message);
            report.add(problem.help("quote it to make it a text"));
        }
    }
    claims
}
