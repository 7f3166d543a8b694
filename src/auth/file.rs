//! The auth file: who may call, as tokens known by their digests.
//!
//! It is read like a tools.yaml: everything that is wrong is said at once, with its place. One
//! thing is different: people paste tokens where digests belong, and what is printed ends up in a
//! log. So whatever could be a token is drawn as `*`.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::guessable::Guessable;
use super::names::{MAX_ITEMS, check_name, check_scope};
use super::settings::{IntrospectionSettings, IssuerSettings};
use super::{Caller, Issuer, Principal};
use crate::document::diagnostic::{Code, Problem, Report, Source, Span};
use crate::document::suggest::nearest;
use crate::document::yaml::{Advice, Content, Entry, Node};
use crate::document::{Diagnostic, LoadError, reader, yaml};
use crate::environment::Variables;
use crate::redact::Redactor;
use crate::secret::{Permissions, SecretDigest};
use crate::snapshot::Snapshot;

/// From this length on, in bytes, a word could be a token; the longest key is shorter.
const MIN_HIDDEN: usize = 16;

const FILE_KEYS: &[&str] = &["tokens"];
/// Sections that the format has and this version does not serve.
const LATER_KEYS: &[&str] = &["jwt", "introspection", "anonymous"];
const TOKEN_KEYS: &[&str] = &["sha256", "subject", "tenant", "scopes", "roles", "expires"];
/// What people call the key for the token itself, which does not belong into the file.
const SECRET_KEYS: &[&str] = &["token", "secret", "password", "hash", "digest", "bearer"];

/// How to make the value of `sha256`.
const DIGEST_HELP: &str =
    "write the digest of the token, as `printf %s \"$TOKEN\" | sha256sum` prints it";

const ADVICE: Advice = Advice {
    empty: "start with `tokens:` and one token",
    second_document: "remove the `---`, or put the tokens into one `tokens:` list",
    merge_key: "repeat the keys",
    too_large: "repeat less through aliases, or issue fewer tokens",
};

/// What an auth file says, and what its author should know about it.
#[derive(Debug)]
pub(super) struct AuthFile {
    pub(super) tokens: Vec<(SecretDigest, Caller)>,
    pub(super) issuers: Vec<IssuerSettings>,
    pub(super) introspection: Vec<IntrospectionSettings>,
    /// Who comes without a credential, if anybody may.
    pub(super) anonymous: Option<Caller>,
    /// What nobody may see.
    pub(super) secrets: Redactor,
    pub(super) warnings: Vec<Diagnostic>,
    /// The files that were read beside this one.
    pub(super) inputs: Snapshot,
}

/// What an auth file is read against besides its own text.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// What `${env:X}` stands for.
    pub variables: Variables,
    /// Whether the files that it names may be anybody's.
    pub permissions: Permissions,
    /// The URL of this server, for which tokens are unless the file says something else.
    pub public_url: Option<String>,
}

/// Reads a text as if it stood in the file `path`; `now` tells which tokens have expired.
pub(super) fn parse(
    text: &str,
    path: &Path,
    around: &Surroundings,
    now: SystemTime,
) -> Result<AuthFile, LoadError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
    let mut report = Report::new(Source::new(path, text));
    let source = Arc::clone(report.sources().root());
    let mut used = yaml::Size::default();
    let mut tokens = Vec::new();
    if let Some((root, duplicates)) = yaml::parse(&source, &mut used, &ADVICE, &mut report) {
        for duplicate in duplicates {
            let name = &duplicate.again.text;
            let subject = if may_be_token(name) {
                "a key".to_owned()
            } else {
                format!("key `{name}`")
            };
            reader::twice(&subject, duplicate.first, duplicate.again.span, &mut report);
        }
        tokens = read(&root, now, &mut report);
    }
    hide_words(&mut report);
    let (warnings, inputs) = report.finish()?;
    Ok(AuthFile {
        tokens,
        issuers: Vec::new(),
        introspection: Vec::new(),
        anonymous: None,
        secrets: Redactor::default(),
        warnings,
        inputs,
    })
}

fn read(root: &Node, now: SystemTime, report: &mut Report) -> Vec<(SecretDigest, Caller)> {
    let Some(entries) = root.mapping() else {
        let message = format!(
            "the file must be a mapping with `tokens`, not {}",
            root.kind()
        );
        report.hide(root.span);
        report.add(Problem::error(Code::Value, root.span, message));
        return Vec::new();
    };
    let mut tokens = None;
    let mut is_explained = false;
    for entry in entries {
        let name = entry.key.text.as_str();
        if name == "tokens" {
            tokens = Some(entry);
        } else if LATER_KEYS.contains(&name) {
            is_explained = true;
            let message = format!("`{name}` is not served by this version");
            let problem = Problem::error(Code::Version, entry.key.span, message);
            report.add(problem.help("remove it: this mcp-serve knows `tokens` only"));
        } else {
            is_explained |= unknown_key(entry, "the file", FILE_KEYS, report).is_some();
        }
    }
    if let Some(entry) = tokens {
        return read_tokens(entry, now, report);
    }
    if !is_explained {
        let problem = Problem::without_place(Code::Value, "the file has no `tokens`");
        report.add(problem.help(ADVICE.empty));
    }
    Vec::new()
}

fn read_tokens(entry: &Entry, now: SystemTime, report: &mut Report) -> Vec<(SecretDigest, Caller)> {
    let Some(nodes) = reader::list(entry, report) else {
        report.hide(entry.value.span);
        return Vec::new();
    };
    if nodes.is_empty() {
        let problem = Problem::error(Code::Value, entry.key.span, "`tokens` is empty");
        report.add(problem.help("add a token: nobody could call"));
    }
    let guessable = Guessable::new();
    let mut places = HashMap::new();
    let mut tokens = Vec::new();
    for node in nodes {
        let Some(definition) = read_token(node, report) else {
            continue;
        };
        if let Some((digest, span)) = &definition.digest {
            check_digest(digest, *span, &guessable, report);
            if let Some(first) = places.insert(digest.clone(), *span) {
                reader::twice("this token", first, *span, report);
            }
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
}

impl Definition {
    fn token(self) -> Option<(SecretDigest, Caller)> {
        let (digest, _) = self.digest?;
        let principal = Principal::user(Issuer::AuthFile, self.subject?, self.tenant);
        let caller = Caller {
            roles: self.roles,
            expires: self.expires.map(|(expires, _)| expires),
            ..Caller::new(principal).with_scopes(self.scopes)
        };
        Some((digest, caller))
    }
}

fn read_token(node: &Node, report: &mut Report) -> Option<Definition> {
    let Some(entries) = node.mapping() else {
        let message = format!(
            "a token must be a mapping with `sha256` and `subject`, not {}",
            node.kind()
        );
        report.hide(node.span);
        report.add(Problem::error(Code::Value, node.span, message));
        return None;
    };
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
            _ if SECRET_KEYS.contains(&name) => {
                said.insert("sha256");
                let message = format!("unknown key `{name}` in a token");
                let problem = Problem::error(Code::UnknownKey, entry.key.span, message);
                report.add(problem.help(format!("under `sha256`, {DIGEST_HELP}")));
                report.hide(entry.value.span);
            }
            _ => {
                said.extend(unknown_key(entry, "a token", TOKEN_KEYS, report));
            }
        }
    }
    let place = entries.first().map_or(node.span, |entry| entry.key.span);
    let missing = [
        ("sha256", DIGEST_HELP),
        ("subject", "say whom the token stands for, with `subject`"),
    ];
    for (key, help) in missing {
        if !said.contains(key) {
            let message = format!("this token has no `{key}`");
            report.add(Problem::error(Code::Value, place, message).help(help));
        }
    }
    Some(definition)
}

/// Reports an unknown key and returns the key that was meant. The value is shown only if that is a
/// key whose values are no secrets.
fn unknown_key<'a>(
    entry: &Entry,
    place: &str,
    known: &[&'a str],
    report: &mut Report,
) -> Option<&'a str> {
    if may_be_token(&entry.key.text) {
        let message = format!("unknown key in {place}");
        let help = "keep the token itself out of this file";
        report.add(Problem::error(Code::UnknownKey, entry.key.span, message).help(help));
    } else {
        reader::unknown_key(entry, place, known, report);
    }
    let meant = nearest(&entry.key.text, known.iter().copied());
    if meant.is_none_or(|key| matches!(key, "sha256" | "tokens")) {
        report.hide(entry.value.span);
    }
    meant
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
        report.hide(entry.value.span);
    }
    Some((digest?, entry.place()))
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
    let help = "make a token with `openssl rand -base64 32`, and write its digest";
    report.add(Problem::error(Code::GuessableToken, span, message).help(help));
}

/// Reads a subject or tenant.
fn name_of(entry: &Entry, report: &mut Report) -> Option<String> {
    let text = reader::text(entry, report)?;
    match check_name(&text) {
        Ok(()) => Some(text),
        Err(rule) => {
            let message = format!("`{}` {rule}", entry.key.text);
            report.add(Problem::error(Code::Value, entry.place(), message));
            None
        }
    }
}

/// Reads scopes or roles; `noun` is one of them.
fn list_of(
    entry: &Entry,
    noun: &str,
    check: fn(&str) -> Result<(), String>,
    report: &mut Report,
) -> Vec<String> {
    let nodes = reader::list(entry, report).unwrap_or_default();
    if nodes.len() > MAX_ITEMS {
        let message = format!("`{}` has more than {MAX_ITEMS} items", entry.key.text);
        report.add(Problem::error(Code::Value, entry.key.span, message));
    }
    let mut items = Vec::new();
    for node in nodes {
        match &node.content {
            Content::Scalar(scalar) if !scalar.is_null() => match check(&scalar.text) {
                Ok(()) => items.push(scalar.text.clone()),
                Err(rule) => {
                    let message = format!("{noun} {rule}");
                    report.add(Problem::error(Code::Value, node.span, message));
                }
            },
            _ => {
                let message = format!("{noun} must be a text, not {}", node.kind());
                report.add(Problem::error(Code::Value, node.span, message));
            }
        }
    }
    items
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

/// Hides every word that could be a token, wherever it stands: after a mistake in the YAML nobody
/// knows what is a value of which key.
fn hide_words(report: &mut Report) {
    let hidden: Vec<Span> = words(&report.sources().root().text)
        .filter(|(_, word)| may_be_token(word))
        .map(|(range, _)| Span {
            start: range.start,
            end: range.end,
        })
        .collect();
    for span in hidden {
        report.hide(span);
    }
}

/// Whether a word is long enough to be a token, and is no digest of one.
fn may_be_token(word: &str) -> bool {
    word.len() >= MIN_HIDDEN && SecretDigest::from_hex(word).is_none()
}

/// The runs of characters that a bearer token may have, with their places.
fn words(text: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    text.split(move |c| !is_token(c)).scan(0, |start, word| {
        let range = *start..*start + word.len();
        // What separates two words may be any character, of any length.
        let separator = text.get(range.end..).and_then(|rest| rest.chars().next());
        *start = range.end + separator.map_or(0, char::len_utf8);
        Some((range, word))
    })
}
