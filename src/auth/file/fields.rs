//! What several sections have: items, names, servers, audiences and claims.

use std::collections::HashMap;

use url::Url;

use super::{Surroundings, may_be_token};
use crate::auth::audience::Audiences;
use crate::auth::claims::{ClaimNames, ClaimPath};
use crate::auth::fetch;
use crate::auth::names::{MAX_ITEMS, check_name};
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::reader;
use crate::document::suggest::nearest;
use crate::document::yaml::{Content, Entry, Node};

const CLAIM_KEYS: &[&str] = &["subject", "tenant", "scopes", "roles"];
/// Claims that many issuers give to somebody else when their owner is gone.
const PASSED_ON: &[&str] = &["email", "preferred_username", "upn", "username", "name"];

/// Keys of which something is known that another value has.
const HIDDEN_KEYS: &[&str] = &["sha256", "tokens", "client_secret", "metadata"];

/// The items of a section, each a mapping.
pub(super) fn items<'a>(entry: &'a Entry, advice: &str, report: &mut Report) -> &'a [Node] {
    let Some(nodes) = reader::list(entry, report) else {
        report.hide(entry.value.span);
        return &[];
    };
    if nodes.is_empty() {
        let message = format!("`{}` is empty", entry.key.text);
        let problem = Problem::error(Code::Value, entry.key.span, message);
        report.add(problem.help(advice));
    }
    nodes
}

/// The keys of an item; `form` says what it must be.
pub(super) fn item<'a>(node: &'a Node, form: &str, report: &mut Report) -> Option<&'a [Entry]> {
    let entries = node.mapping();
    if entries.is_none() {
        let message = format!("{form}, not {}", node.kind());
        report.hide(node.span);
        report.add(Problem::error(Code::Value, node.span, message));
    }
    entries
}

/// Where an item as a whole is pointed at: its first key.
pub(super) fn place_of(node: &Node) -> Span {
    let first = node.mapping().and_then(<[Entry]>::first);
    first.map_or(node.span, |entry| entry.key.span)
}

/// Reports an unknown key and returns the key that was meant. The value is shown only if that is a
/// key whose values are no secrets.
pub(super) fn unknown_key<'a>(
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
    if meant.is_none_or(|key| HIDDEN_KEYS.contains(&key)) {
        report.hide(entry.value.span);
    }
    meant
}

/// Reports what stands at several places and may stand at one.
pub(super) struct Once<T>(HashMap<T, Span>);

impl<T: std::hash::Hash + Eq> Once<T> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    pub(super) fn check(&mut self, what: T, subject: &str, place: Span, report: &mut Report) {
        if let Some(first) = self.0.insert(what, place) {
            reader::twice(subject, first, place, report);
        }
    }
}

/// Reads a text that names somebody or something.
pub(super) fn name_of(entry: &Entry, report: &mut Report) -> Option<String> {
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

/// Reads scopes, roles and the like; `noun` is one of them.
pub(super) fn list_of(
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

/// Reads the address of a server that decides who somebody is.
pub(super) fn server(entry: &Entry, report: &mut Report) -> Option<Url> {
    let text = reader::text(entry, report)?;
    let checked = check_server(&text);
    checked.map_err(|wrong| refuse(entry, &wrong, report)).ok()
}

/// What is wrong with an address, and what to do.
pub(super) type WrongServer = (Code, &'static str, &'static str);

/// Reports an address.
pub(super) fn refuse(entry: &Entry, (code, rule, help): &WrongServer, report: &mut Report) {
    if *code == Code::LiteralSecret {
        report.conceal(entry.place());
    }
    let message = format!("`{}` {rule}", entry.key.text);
    report.add(Problem::error(*code, entry.place(), message).help(*help));
}

/// Checks the address of a server.
pub(super) fn check_server(text: &str) -> Result<Url, WrongServer> {
    let url = Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or((
        Code::Grammar,
        "is not the URL of a server",
        "write a whole URL, such as `https://id.example.com/path`",
    ))?;
    if !url.username().is_empty() || url.password().is_some() {
        let help = "remove what stands before the `@`";
        return Err((Code::LiteralSecret, "has credentials in it", help));
    }
    if !fetch::is_safe(&url) {
        return Err((
            Code::OpenCredentials,
            "is not encrypted, and who changes its answers decides who may call",
            "write `https://`; plain `http://` is for this machine alone, such as \
             `http://localhost:8080`",
        ));
    }
    Ok(url)
}

/// Checks the identifier of an issuer that says more about itself (RFC 8414, section 2).
pub(super) fn check_issuer(text: &str) -> Result<(), WrongServer> {
    let url = check_server(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err((
            Code::Value,
            "has a query or a fragment, where its metadata cannot be found",
            "write it as the issuer does",
        ));
    }
    Ok(())
}

/// Reads for whom tokens must be: what an item says, or else this server. A token that is for
/// somebody else must not be good here (RFC 8707), so there is no item without.
pub(super) fn audiences(
    node: &Node,
    what: &str,
    around: &Surroundings,
    report: &mut Report,
) -> Option<Audiences> {
    let help = "write the URL of this server, as tokens name it in `aud`, or set --public-url: a \
                token that is for another server must not be good here";
    let Some(entry) = node.get("audience") else {
        if around.public_url.is_none() {
            let message = format!("{what} has no `audience`");
            let problem = Problem::error(Code::Value, place_of(node), message);
            report.add(problem.help(help));
        }
        return around.public_url.clone().map(Audiences::of_server);
    };
    let audiences = match &entry.value.content {
        Content::Sequence(nodes) => {
            check_distinct(nodes, "audience", report);
            list_of(entry, "an audience", check_name, report)
        }
        _ => name_of(entry, report).into_iter().collect(),
    };
    if matches!(&entry.value.content, Content::Sequence(nodes) if nodes.is_empty()) {
        let problem = Problem::error(Code::Value, entry.key.span, "`audience` is empty");
        report.add(problem.help(help));
    }
    if audiences.is_empty() {
        return None;
    }
    let audiences = Audiences::new(&audiences, around.public_url.clone());
    if let Some(url) = audiences.toolset_at(&around.path) {
        let message =
            format!("tokens for `{url}` are for a toolset, and not good at the whole server");
        let problem = Problem::warning(Code::Value, entry.place(), message);
        report.add(problem.help(format!(
            "set --public-url to `{url}` if clients find the whole server there"
        )));
    }
    Some(audiences)
}

/// Reports the texts that stand in a list twice.
pub(super) fn check_distinct(nodes: &[Node], noun: &str, report: &mut Report) {
    let mut once = Once::new();
    for node in nodes {
        if let Some(scalar) = node.scalar() {
            let subject = format!("{noun} `{}`", scalar.text);
            once.check(&scalar.text, &subject, node.span, report);
        }
    }
}

/// Reads which claims say who somebody is.
pub(super) fn claim_names(node: &Node, report: &mut Report) -> ClaimNames {
    let mut names = ClaimNames::default();
    let entries = (node.get("claims")).and_then(|entry| reader::mapping(entry, report));
    for entry in entries.unwrap_or_default() {
        let key = entry.key.text.as_str();
        if !CLAIM_KEYS.contains(&key) {
            unknown_key(entry, "`claims`", CLAIM_KEYS, report);
            continue;
        }
        let Some(path) = claim_path(entry, report) else {
            continue;
        };
        match key {
            "subject" => names.subject = path,
            "tenant" => names.tenant = Some(path),
            "scopes" => names.scopes = path,
            _ => names.roles = path,
        }
    }
    names
}

fn claim_path(entry: &Entry, report: &mut Report) -> Option<ClaimPath> {
    let text = name_of(entry, report)?;
    if is_wrong_pointer(&text) {
        let message = format!("`{}` is not a JSON Pointer", entry.key.text);
        let problem = Problem::error(Code::Grammar, entry.place(), message);
        report.add(problem.help(
            "write the name of a claim, or with `/` in front the way to one inside another, such as \
             `/realm_access/roles`; `~1` stands for `/` in a name, and `~0` for `~`",
        ));
        return None;
    }
    if entry.key.text == "subject" && PASSED_ON.contains(&text.as_str()) {
        let message = format!("who has this `{text}` may be somebody else later");
        let problem = Problem::warning(Code::Value, entry.place(), message);
        report.add(problem.help("name a claim that stays with one user, such as `sub`"));
    }
    Some(ClaimPath::new(&text))
}

/// Whether a text that begins like a JSON Pointer is none (RFC 6901, section 3).
fn is_wrong_pointer(text: &str) -> bool {
    let mut escapes = text.split('~').skip(1);
    text.starts_with('/') && (text == "/" || escapes.any(|after| !after.starts_with(['0', '1'])))
}
