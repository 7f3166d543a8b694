//! `jwt`: authorization servers whose tokens are read here.

mod key_file;

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::Surroundings;
use super::fields::{
    Once, audiences, check_distinct, check_issuer, claim_names, item, items, name_of, place_of,
    refuse, server, unknown_key,
};
use crate::auth::audience::Audiences;
use crate::auth::jwt::Rules;
use crate::auth::keys::Source;
use crate::auth::settings::IssuerSettings;
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::{Entry, Node, Scalar};

const KEYS: &[&str] = &[
    "issuer",
    "audience",
    "jwks",
    "algorithms",
    "claims",
    "require_typ",
    "require_claims",
    "leeway",
    "max_lifetime",
];

/// Signatures that are made with one key and checked with another. The kind of each key says which of
/// them it is for, so that all may be accepted.
const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
];

/// By how much clocks may differ unless an issuer says otherwise.
const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);
/// By how much they may differ at most: that long a token is good beyond its end.
const MAX_LEEWAY: Duration = Duration::from_mins(5);
/// How long a token may last unless an issuer says otherwise: nobody can withdraw it.
const DEFAULT_LIFETIME: Duration = Duration::from_hours(24);

/// Claims that other keys are about.
const OWN_CLAIMS: [(&str, &str); 5] = [
    ("iss", "it is `issuer`"),
    ("aud", "it is what `audience` is about"),
    (
        "exp",
        "every token has one, and `leeway` and `max_lifetime` are about it",
    ),
    ("iat", "`max_lifetime` is about it"),
    ("nbf", "`leeway` is about it"),
];

pub(super) fn read(
    entry: &Entry,
    around: &Surroundings,
    report: &mut Report,
) -> Vec<IssuerSettings> {
    let advice = "add an issuer with its `issuer` and `audience`, or remove `jwt`";
    let mut names = Once::new();
    let mut issuers = Vec::new();
    for node in items(entry, advice, report) {
        issuers.extend(read_issuer(node, &mut names, around, report));
    }
    issuers
}

fn read_issuer(
    node: &Node,
    names: &mut Once<String>,
    around: &Surroundings,
    report: &mut Report,
) -> Option<IssuerSettings> {
    let form = "an issuer must be a mapping with `issuer` and `audience`";
    let mut issuer = None;
    let mut is_said = false;
    let mut rules = Rules {
        issuer: Arc::default(),
        audiences: Audiences::default(),
        algorithms: ALGORITHMS.map(|(_, algorithm)| algorithm).to_vec(),
        typ: None,
        required: Map::new(),
        leeway: DEFAULT_LEEWAY,
        max_lifetime: DEFAULT_LIFETIME,
        names: claim_names(node, report),
    };
    for entry in item(node, form, report)? {
        match entry.key.text.as_str() {
            "issuer" => {
                is_said = true;
                issuer = name_of(entry, report).map(|name| (name, entry));
            }
            "algorithms" => rules.algorithms = algorithms(entry, report),
            "require_typ" => rules.typ = media_type(entry, report),
            "require_claims" => rules.required = required_claims(entry, report),
            "leeway" => rules.leeway = leeway(entry, report).unwrap_or_default(),
            "max_lifetime" => rules.max_lifetime = lifetime(entry, report).unwrap_or_default(),
            "audience" | "claims" | "jwks" => {}
            _ => is_said |= unknown_key(entry, "an issuer", KEYS, report) == Some("issuer"),
        }
    }
    if !is_said {
        let problem = Problem::error(Code::Value, place_of(node), "this issuer has no `issuer`");
        report.add(problem.help("write what `iss` says in its tokens, letter by letter"));
    }
    let audiences = audiences(node, "this issuer", around, report);
    let source = match node.get("jwks") {
        Some(entry) => source(entry, around, report),
        None => issuer
            .as_ref()
            .and_then(|(_, entry)| discovery(entry, report)),
    };
    let (name, entry) = issuer?;
    let subject = format!("issuer `{name}`");
    names.check(name.clone(), &subject, entry.place(), report);
    rules.issuer = Arc::from(name);
    rules.audiences = audiences?;
    Some(IssuerSettings {
        rules,
        source: source?,
    })
}

/// Keys that the issuer itself says where to find: it must have an address.
fn discovery(issuer: &Entry, report: &mut Report) -> Option<Source> {
    let text = issuer.value.scalar().map_or("", |scalar| &scalar.text);
    let checked = check_issuer(text).map_err(|wrong| match wrong {
        (Code::Grammar, ..) => (
            Code::Grammar,
            "is no URL, so that its keys cannot be found",
            "say with `jwks` where its keys are: a URL or a file",
        ),
        (Code::Value, rule, _) => (
            Code::Value,
            rule,
            "write it as the issuer does, or say with `jwks` where its keys are",
        ),
        other => other,
    });
    let checked = checked.map_err(|wrong| refuse(issuer, &wrong, report));
    checked.ok().map(|()| Source::Discovery)
}

fn source(entry: &Entry, around: &Surroundings, report: &mut Report) -> Option<Source> {
    let text = reader::text(entry, report)?;
    if text.contains("://") {
        return server(entry, report).map(Source::Url);
    }
    let path = report.sources().root().folder.join(&text);
    key_file::read(&path, entry.place(), around.permissions, report).map(Source::File)
}

fn algorithms(entry: &Entry, report: &mut Report) -> Vec<Algorithm> {
    let nodes = reader::list(entry, report).unwrap_or_default();
    if nodes.is_empty() && matches!(entry.value.kind(), "a list") {
        let problem = Problem::error(Code::Value, entry.key.span, "`algorithms` is empty");
        report.add(problem.help(
            "name one, such as `ES256`, or remove it: each that is supported is then accepted",
        ));
    }
    check_distinct(nodes, "algorithm", report);
    let algorithms = nodes.iter().map(|node| algorithm(node, report));
    algorithms.collect::<Option<_>>().unwrap_or_default()
}

fn algorithm(node: &Node, report: &mut Report) -> Option<Algorithm> {
    let name = node.scalar().map_or("", |scalar| scalar.text.as_str());
    let reason = match name.to_ascii_uppercase().as_str() {
        "NONE" => "`none` is no signature: anybody could make such a token",
        "HS256" | "HS384" | "HS512" => {
            "a key of this algorithm is shared: who can check a token could make one"
        }
        _ => return reader::item(node, &ALGORITHMS, report),
    };
    let problem = Problem::error(Code::Value, node.span, reason);
    report
        .add(problem.help("have the issuer sign with ES256 or RS256, or name what it signs with"));
    None
}

/// A type of tokens, as `typ` says it in short.
fn media_type(entry: &Entry, report: &mut Report) -> Option<String> {
    let text = reader::text(entry, report)?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "!#$&-^_.+/".contains(c);
    if text.is_empty() || !text.chars().all(is_allowed) {
        let message = "`require_typ` is not a type of tokens";
        let problem = Problem::error(Code::Grammar, entry.place(), message);
        report.add(problem.help("write what `typ` says in their headers, such as `at+jwt`"));
        return None;
    }
    let short = text.strip_prefix("application/");
    Some(short.unwrap_or(&text).to_owned())
}

fn required_claims(entry: &Entry, report: &mut Report) -> Map<String, Value> {
    let entries = reader::mapping(entry, report).unwrap_or_default();
    let mut claims = Map::new();
    for entry in entries {
        let name = &entry.key.text;
        if let Some((_, help)) = OWN_CLAIMS.iter().find(|(own, _)| own == name) {
            let message = format!("`{name}` is judged by itself");
            report.add(Problem::error(Code::Value, entry.key.span, message).help(*help));
            continue;
        }
        let value = entry.value.scalar().filter(|scalar| !scalar.is_null());
        if let Some(value) = value.and_then(Scalar::json) {
            claims.insert(name.clone(), value);
        } else {
            reader::wrong_value(entry, "the one value that tokens must have", report);
        }
    }
    claims
}

fn leeway(entry: &Entry, report: &mut Report) -> Option<Duration> {
    let leeway = reader::duration(entry, report)?;
    if leeway > MAX_LEEWAY {
        let message = "`leeway` is longer than clocks differ";
        let problem = Problem::error(Code::Value, entry.place(), message);
        let most = MAX_LEEWAY.as_secs() / 60;
        report.add(problem.help(format!(
            "write `{most}m` at most: that long a token is good beyond its end"
        )));
    }
    Some(leeway)
}

fn lifetime(entry: &Entry, report: &mut Report) -> Option<Duration> {
    let lifetime = reader::duration(entry, report)?;
    if lifetime.is_zero() {
        let message = "no token lasts for no time";
        let problem = Problem::error(Code::Value, entry.place(), message);
        report.add(problem.help("write the longest that a token may last, such as `1h`"));
    }
    Some(lifetime)
}
