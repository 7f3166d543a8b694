//! The auth file: who may call. Tokens that it knows by their digests, authorization servers that
//! vouch for others, and whether anybody comes without a credential.
//!
//! It is read like a tools.yaml: everything that is wrong is said at once, with its place. One
//! thing is different: people paste tokens where digests belong, and what is printed ends up in a
//! log. So whatever could be a token is drawn as `*`.

mod anonymous;
mod fields;
mod introspection;
mod issuers;
mod tokens;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::Caller;
use super::settings::{IntrospectionSettings, IssuerSettings};
use crate::document::diagnostic::{Code, Problem, Report, Severity, Source, Span};
use crate::document::values::{Audience, Values, literal, reference};
use crate::document::yaml::{Advice, Content, Entry, Node};
use crate::document::{Diagnostic, LoadError, reader, yaml};
use crate::environment::Variables;
use crate::host::PublicUrl;
use crate::redact::Redactor;
use crate::secret::{Permissions, SecretDigest};
use crate::snapshot::Snapshot;

/// From this length on, in bytes, a word could be a token; the longest key is shorter.
const MIN_HIDDEN: usize = 16;

const FILE_KEYS: &[&str] = &["tokens", "jwt", "introspection", "anonymous"];
/// Keys below which values are secrets.
const SECRET_KEYS: &[&str] = &["client_secret", "metadata"];
/// Keys below which nothing is one, however long it is.
const PUBLIC_KEYS: &[&str] = &[
    "issuer",
    "audience",
    "jwks",
    "url",
    "client_id",
    "claims",
    "require_typ",
];

const ADVICE: Advice = Advice {
    empty: "start with `tokens:` and one token",
    second_document: "remove the `---`, or put the tokens into one `tokens:` list",
    merge_key: "repeat the keys",
    too_large: "repeat less through aliases, or issue fewer tokens",
};

/// What an auth file says, and what its author should know about it. It lets somebody in.
#[derive(Debug, Default)]
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
    pub public_url: Option<PublicUrl>,
    /// The path of its endpoint; empty where nobody knows it.
    pub path: String,
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
    let mut file = AuthFile::default();
    let mut shown = Vec::new();
    if let Some((mut root, duplicates)) = yaml::parse(&source, &mut used, &ADVICE, &mut report) {
        for duplicate in duplicates {
            let name = &duplicate.again.text;
            let subject = if may_be_token(name) {
                "a key".to_owned()
            } else {
                format!("key `{name}`")
            };
            reader::twice(&subject, duplicate.first, duplicate.again.span, &mut report);
        }
        file.secrets = put_values(&mut root, around, &mut report);
        report.redact(file.secrets.clone());
        file.read(&root, around, now, &mut report);
        find_public(&root, &mut shown);
    }
    hide_words(&shown, &mut report);
    let (warnings, inputs) = report.finish()?;
    Ok(AuthFile {
        warnings,
        inputs,
        ..file
    })
}

/// Puts the values into the tree, and says what of it is secret.
fn put_values(root: &mut Node, around: &Surroundings, report: &mut Report) -> Redactor {
    // Whoever can read a secret of this file, or change it, can let somebody in.
    let open_files = (around.permissions == Permissions::Checked).then_some(Severity::Error);
    let mut values = Values::new(&around.variables, open_files);
    put_into(root, Audience::Operators, &mut values, report);
    values.finish(report)
}

fn put_into(node: &mut Node, audience: Audience, values: &mut Values<'_>, report: &mut Report) {
    match &mut node.content {
        Content::Scalar(scalar) => {
            values.audience = audience;
            if !values.put_into(scalar, report) {
                // What else is wrong with it may be that it has no value.
                report.mute(node.span);
            }
        }
        Content::Sequence(nodes) => {
            for node in nodes {
                put_into(node, audience, values, report);
            }
        }
        Content::Mapping(entries) => {
            for entry in entries {
                let audience = if SECRET_KEYS.contains(&entry.key.text.as_str()) {
                    Audience::Nobody
                } else {
                    audience
                };
                keep_literal(entry, values, report);
                put_into(&mut entry.value, audience, values, report);
            }
        }
    }
}

/// Warns of a secret of a client that stands in the file, and shows it nowhere.
fn keep_literal(entry: &Entry, values: &mut Values<'_>, report: &mut Report) {
    let scalar = entry.value.scalar().filter(|scalar| !scalar.is_null());
    let Some(scalar) = scalar.filter(|_| entry.key.text == "client_secret") else {
        return;
    };
    if reference::find(&scalar.text).is_empty() {
        let path = "/etc/mcp-serve/introspection.secret";
        literal::report("`client_secret`", path, entry.place(), report);
        values.keep(scalar.text.clone());
    }
}

impl AuthFile {
    fn read(&mut self, root: &Node, around: &Surroundings, now: SystemTime, report: &mut Report) {
        let Some(entries) = root.mapping() else {
            let message = format!(
                "the file must be a mapping with `tokens`, not {}",
                root.kind()
            );
            report.hide(root.span);
            report.add(Problem::error(Code::Value, root.span, message));
            return;
        };
        for entry in entries {
            match entry.key.text.as_str() {
                "tokens" => self.tokens = tokens::read(entry, now, report),
                "jwt" => self.issuers = issuers::read(entry, around, report),
                "introspection" => {
                    self.introspection = introspection::read(entry, around, report);
                }
                "anonymous" => self.anonymous = anonymous::read(entry, report),
                _ => drop(fields::unknown_key(entry, "the file", FILE_KEYS, report)),
            }
        }
        if entries.is_empty() {
            let problem = Problem::without_place(Code::Value, "the file lets nobody in");
            report.add(problem.help(ADVICE.empty));
        }
    }
}

/// Finds the values that are no secrets, whatever they look like.
fn find_public(node: &Node, found: &mut Vec<Span>) {
    match &node.content {
        Content::Scalar(_) => {}
        Content::Sequence(nodes) => nodes.iter().for_each(|node| find_public(node, found)),
        Content::Mapping(entries) => {
            for entry in entries {
                if PUBLIC_KEYS.contains(&entry.key.text.as_str()) {
                    found.push(entry.value.span);
                } else {
                    find_public(&entry.value, found);
                }
            }
        }
    }
}

/// Hides every word that could be a token, wherever it stands: after a mistake in the YAML nobody
/// knows what is a value of which key.
fn hide_words(shown: &[Span], report: &mut Report) {
    let source = Arc::clone(report.sources().root());
    let references = reference::find(&source.text);
    let is_within = |range: &Range<usize>, outer: Range<usize>| {
        outer.start <= range.start && range.end <= outer.end
    };
    let hidden = words(&source.text).filter(|(range, word)| {
        let mut shown = shown.iter().map(|span| span.start..span.end);
        let mut references = references.iter().map(|found| found.range.clone());
        may_be_token(word)
            && !shown.any(|outer| is_within(range, outer))
            && !references.any(|outer| is_within(range, outer))
    });
    for (Range { start, end }, _) in hidden {
        report.conceal(Span { start, end });
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
