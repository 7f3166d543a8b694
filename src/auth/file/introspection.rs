//! `introspection`: authorization servers that are asked about each token (RFC 7662).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use url::Url;
use url::form_urlencoded::byte_serialize;

use super::Surroundings;
use super::fields::{
    Once, audiences, check_issuer, claim_names, item, items, name_of, place_of, refuse, server,
    unknown_key,
};
use crate::auth::guessable;
use crate::auth::settings::IntrospectionSettings;
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::values;
use crate::document::yaml::{Entry, Node};
use crate::secret::Secret;

const KEYS: &[&str] = &[
    "url",
    "client_id",
    "client_secret",
    "issuer",
    "audience",
    "claims",
];
/// What must be there, and what to do.
const REQUIRED: [(&str, &str); 3] = [
    (
        "url",
        "say where the server answers, such as `url: https://id.example.com/introspect`",
    ),
    (
        "client_id",
        "say as whom this server asks: it needs a client of its own there",
    ),
    (
        "client_secret",
        "write `client_secret: ${file:/etc/mcp-serve/introspection.secret}`",
    ),
];

pub(super) fn read(
    entry: &Entry,
    around: &Surroundings,
    report: &mut Report,
) -> Vec<IntrospectionSettings> {
    let advice = "add a server with its `url`, or remove `introspection`";
    let mut urls = Once::new();
    let mut servers = Vec::new();
    for node in items(entry, advice, report) {
        servers.extend(read_server(node, &mut urls, around, report));
    }
    servers
}

fn read_server(
    node: &Node,
    urls: &mut Once<Url>,
    around: &Surroundings,
    report: &mut Report,
) -> Option<IntrospectionSettings> {
    let form = "a server must be a mapping with `url`, `client_id` and `client_secret`";
    let (mut url, mut id, mut secret, mut issuer) = (None, None, None, None);
    let mut said = Vec::new();
    for entry in item(node, form, report)? {
        let key = entry.key.text.as_str();
        said.push(key);
        match key {
            "url" => url = address(entry, report).map(|url| (url, entry.place())),
            "client_id" => id = name_of(entry, report),
            "client_secret" => secret = client_secret(entry, report),
            "issuer" => issuer = identifier(entry, report),
            "audience" | "claims" => {}
            _ => said.extend(unknown_key(entry, "a server", KEYS, report)),
        }
    }
    for (key, help) in REQUIRED.iter().filter(|(key, _)| !said.contains(key)) {
        let message = format!("this server has no `{key}`");
        report.add(Problem::error(Code::Value, place_of(node), message).help(*help));
    }
    let audiences = audiences(node, "this server", around, report);
    let names = claim_names(node, report);
    let (url, place) = url?;
    urls.check(url.clone(), "this server", place, report);
    Some(IntrospectionSettings {
        url,
        authorization: authorization(&id?, &secret?)?,
        issuer,
        audiences: audiences?,
        names,
    })
}

/// Where the server answers. That says in the log and to tools who vouches for a caller.
fn address(entry: &Entry, report: &mut Report) -> Option<Url> {
    let url = server(entry, report)?;
    if url.query().is_some() || url.fragment().is_some() {
        let wrong = (
            Code::LiteralSecret,
            "has a query or a fragment, which the log and tools would see",
            "remove what stands after the path, and say with `client_id` and `client_secret` who asks",
        );
        refuse(entry, &wrong, report);
        return None;
    }
    Some(url)
}

/// What the server calls itself, for those who want a token.
fn identifier(entry: &Entry, report: &mut Report) -> Option<String> {
    let text = reader::text(entry, report)?;
    let checked = check_issuer(&text).map_err(|wrong| refuse(entry, &wrong, report));
    checked.ok().map(|()| text)
}

fn client_secret(entry: &Entry, report: &mut Report) -> Option<Secret> {
    let text = values::secret(entry, report)?;
    if guessable::is_word(&text) {
        let message = "`client_secret` is a word that everybody guesses";
        let problem = Problem::error(Code::GuessableToken, entry.place(), message);
        report.add(problem.help("have the server make a new one"));
        return None;
    }
    Some(Secret::new(text))
}

/// How a client says who it is (RFC 6749, section 2.3.1).
fn authorization(id: &str, secret: &Secret) -> Option<HeaderValue> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(id), encoded(secret.expose()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_says_who_it_is_in_a_form_within_base64() {
        let value = authorization("a:b", &Secret::new("ü %")).unwrap();
        let encoded = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
        let pair = STANDARD.decode(encoded).unwrap();
        assert_eq!(pair, b"a%3Ab:%C3%BC+%25");
        assert!(!format!("{value:?}").contains(encoded));
    }
}
