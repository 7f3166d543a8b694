//! `apis`: the HTTP APIs that a file names.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use url::Url;

use super::address::{self, Reach};
use super::api::{
    AllowedReach, Api, Auth, ClientCredentials, Credential, DEFAULT_API_TIMEOUT, Redirects, Tls,
};
use super::encode;
use super::header::{self, Header};
use super::path::check_no_placeholder;
use crate::catalog::definition::Context;
use crate::catalog::{ToolDigest, file};
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::reader;
use crate::document::suggest::did_you_mean;
use crate::document::values::secret;
use crate::document::yaml::{Content, Entry, Node};

const KEYS: &[&str] = &[
    "base_url",
    "headers",
    "auth",
    "timeout",
    "tls",
    "redirects",
    "allow_private",
];
const AUTH_KEYS: &[&str] = &["bearer", "basic", "header", "oauth2"];
const OAUTH2_KEYS: &[&str] = &[
    "token_url",
    "client_id",
    "client_secret",
    "scopes",
    "audience",
];
const TLS_KEYS: &[&str] = &["ca", "cert", "key"];

/// What messages call an API that has no name.
const UNNAMED: &str = "the API";

/// The APIs of a file.
#[derive(Debug, Default)]
pub(crate) struct Apis {
    /// Those with errors included.
    named: Vec<Arc<Api>>,
    /// Those of tools with a URL of their own, one for each server.
    unnamed: RefCell<Vec<Arc<Api>>>,
}

impl Apis {
    /// Reads `apis`.
    pub(crate) fn read(entry: &Entry, context: &Context<'_>, report: &mut Report) -> Self {
        let entries = reader::mapping(entry, report).unwrap_or_default();
        let apis = entries.iter().map(|entry| {
            let api = read_api(entry, context, report);
            Arc::new(api.unwrap_or_else(|| Api::unknown(entry.key.text.clone())))
        });
        Self {
            named: apis.collect(),
            unnamed: RefCell::default(),
        }
    }

    /// The API of a tool with a URL of its own, which all tools of that server share.
    pub(super) fn unnamed(&self, base: &Url) -> Arc<Api> {
        let api = Api::at(UNNAMED.to_owned(), base);
        let mut unnamed = self.unnamed.borrow_mut();
        if let Some(known) = unnamed.iter().find(|known| known.base == api.base) {
            return Arc::clone(known);
        }
        let api = Arc::new(api);
        unnamed.push(Arc::clone(&api));
        api
    }

    /// The API that an entry names, or one that stands for it: what refers to it is checked all the same.
    pub(super) fn named(&self, entry: &Entry, report: &mut Report) -> Arc<Api> {
        let Some(name) = reader::text(entry, report) else {
            return Arc::new(Api::unknown(String::new()));
        };
        if let Some(api) = self.named.iter().find(|api| api.name == name) {
            return Arc::clone(api);
        }
        let names = self.named.iter().map(|api| api.name.as_str());
        let help = did_you_mean(&name, names)
            .unwrap_or_else(|| format!("define `{name}` under `apis`, with its `base_url`"));
        let message = format!("there is no api `{name}`");
        report.add(Problem::error(Code::UnknownName, entry.place(), message).help(help));
        Arc::new(Api::unknown(name))
    }
}

fn read_api(entry: &Entry, context: &Context<'_>, report: &mut Report) -> Option<Api> {
    let errors = report.errors();
    let name = &entry.key.text;
    let place = format!("api `{name}`");
    for entry in reader::mapping(entry, report)? {
        if !KEYS.contains(&entry.key.text.as_str()) {
            reader::unknown_key(entry, &place, KEYS, report);
        }
    }
    let get = |key| entry.value.get(key);
    let base = required(&entry.value, entry.key.span, &place, "base_url", report)
        .and_then(|entry| base_url(entry, report));
    let auth = get("auth").and_then(|entry| auth(entry, report));
    let headers = get("headers").map(|entry| header::read(entry, report));
    let headers = headers.unwrap_or_default();
    let timeout = get("timeout").and_then(|entry| timeout(entry, report));
    let tls = get("tls").and_then(|entry| tls(entry, context, report));
    let redirects = get("redirects").and_then(|entry| {
        let choices = [
            ("never", Redirects::Never),
            ("same_origin", Redirects::SameOrigin),
        ];
        reader::choice(entry, &choices, report)
    });
    let allow_private = get("allow_private").and_then(|entry| reader::boolean(entry, report));
    let base = base?;
    let api = Api {
        headers,
        auth: auth.unwrap_or_default(),
        timeout: timeout.unwrap_or(DEFAULT_API_TIMEOUT),
        tls: tls.unwrap_or_default(),
        redirects: redirects.unwrap_or_default(),
        reach: AllowedReach {
            allow_private: allow_private.unwrap_or(false),
        },
        digest: ToolDigest::of(entry),
        ..Api::at(name.clone(), &base)
    };
    check_headers(&api, report);
    if let Some(entry) = get("auth") {
        check_privacy(&api, &base, entry, report);
    }
    (report.errors() == errors).then_some(api)
}

impl Api {
    /// An API without anything but its place.
    pub(super) fn at(name: String, base: &Url) -> Self {
        Self {
            base: base.as_str().trim_end_matches('/').to_owned(),
            ..Self::unknown(name)
        }
    }

    /// An API of which nothing is known.
    fn unknown(name: String) -> Self {
        Self {
            name,
            base: String::new(),
            timeout: DEFAULT_API_TIMEOUT,
            auth: Auth::None,
            tls: Tls::default(),
            redirects: Redirects::Never,
            reach: AllowedReach::default(),
            headers: Vec::new(),
            digest: ToolDigest::default(),
        }
    }
}

/// Warns of credentials that everybody on their way through the internet can read. Where names may not
/// lead to private addresses, they lead there.
fn check_privacy(api: &Api, base: &Url, auth: &Entry, report: &mut Report) {
    let token_url = match &api.auth {
        Auth::None => return,
        Auth::Header(..) => None,
        Auth::ClientCredentials(credentials) => Some(&credentials.token_url),
    };
    let is_exposed = |url: &&Url| {
        let host = url.host_str().unwrap_or_default();
        let is_near = api.reach.allow_private
            || address::is_localhost(host)
            || literal(url).is_some_and(|address| address::reach(address) != Reach::Public);
        url.scheme() == "http" && !is_near
    };
    if let Some(url) = [Some(base), token_url]
        .into_iter()
        .flatten()
        .find(is_exposed)
    {
        let host = url.host_str().unwrap_or_default();
        let message = format!("credentials go to {host} without encryption");
        let problem = Problem::warning(Code::OpenCredentials, auth.key.span, message);
        report.add(problem.help("write `https://`, or `allow_private: true` if it is a neighbour"));
    }
}

/// Checks that the headers of an api depend on nothing but who calls.
fn check_headers(api: &Api, report: &mut Report) {
    let auth = api.auth_header();
    for Header { key, name, value } in &api.headers {
        if auth.as_ref() == Some(name) {
            report.add(header::of_auth(key));
        }
        for slot in value.slots().filter(|slot| slot.caller().is_none()) {
            let message = format!("`{{{}}}` is no parameter: an api has none", slot.name);
            let help = "write it into the `headers` of the tool; an api knows `{caller.subject}`, \
                        `{caller.tenant}` and `{caller.scopes}`";
            report.add(Problem::error(Code::Undeclared, slot.span, message).help(help));
        }
    }
}

fn required<'a>(
    node: &'a Node,
    span: Span,
    place: &str,
    key: &str,
    report: &mut Report,
) -> Option<&'a Entry> {
    let entry = node.get(key);
    if entry.is_none() {
        let message = format!("{place} has no `{key}`");
        report.add(Problem::error(Code::Value, span, message));
    }
    entry
}

fn base_url(entry: &Entry, report: &mut Report) -> Option<Url> {
    check_no_placeholder(entry, report);
    let text = reader::text(entry, report)?;
    let url = url(&text, entry.place(), report)?;
    if url.query().is_some() {
        let message = "the URL of an api has no query";
        let problem = Problem::error(Code::Value, entry.place(), message);
        report.add(problem.help("write it under `query` of each tool"));
        return None;
    }
    Some(url)
}

/// Reads a URL that requests may go to.
pub(super) fn url(text: &str, span: Span, report: &mut Report) -> Option<Url> {
    let wrong = |message: &str, help: &str| Problem::error(Code::Value, span, message).help(help);
    let example = "write a whole URL, such as `https://tracker.example.com/api`";
    let url = Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(url) = url.filter(|url| url.host_str().is_some()) else {
        report.add(wrong("this is not the URL of an HTTP server", example));
        return None;
    };
    let problem = if !url.username().is_empty() || url.password().is_some() {
        report.hide(span);
        wrong(
            "a URL holds no credentials",
            "write them under `auth` of the api",
        )
    } else if url.fragment().is_some() {
        wrong("a URL of requests has no fragment", "remove the `#`")
    } else if literal(&url).is_some_and(|address| address::reach(address) == Reach::Never) {
        wrong(
            "no tool may reach this address: it belongs to the link or to the cloud itself",
            "name the server that is meant",
        )
    } else {
        return Some(url);
    };
    report.add(problem);
    None
}

/// The address that a URL has in the place of a name.
fn literal(url: &Url) -> Option<std::net::IpAddr> {
    let host = url.host_str()?;
    host.trim_matches(['[', ']']).parse().ok()
}

fn timeout(entry: &Entry, report: &mut Report) -> Option<Duration> {
    let timeout = reader::duration(entry, report)?;
    if timeout.is_zero() {
        let message = "no api answers at once";
        let problem = Problem::error(Code::Value, entry.place(), message);
        report.add(problem.help("write how long it may take until it answers, such as `30s`"));
        return None;
    }
    Some(timeout)
}

fn auth(entry: &Entry, report: &mut Report) -> Option<Auth> {
    let entries = reader::mapping(entry, report)?;
    for entry in entries {
        if !AUTH_KEYS.contains(&entry.key.text.as_str()) {
            reader::unknown_key(entry, "`auth`", AUTH_KEYS, report);
        }
    }
    match entries {
        [one] => match one.key.text.as_str() {
            "bearer" => bearer(one, report),
            "basic" => basic(one, report),
            "header" => own_header(one, report),
            "oauth2" => oauth2(one, report),
            _ => None,
        },
        [] => {
            let problem = Problem::error(Code::Value, entry.place(), "`auth` is empty");
            report.add(problem.help(format!("add {}", reader::alternatives(AUTH_KEYS))));
            None
        }
        [one, other, ..] => {
            let (one, two) = (&one.key.text, &other.key.text);
            let message = format!("`auth` has both `{one}` and `{two}`");
            let problem = Problem::error(Code::Kind, other.key.span, message);
            report.add(problem.help("keep one of them"));
            None
        }
    }
}

fn bearer(entry: &Entry, report: &mut Report) -> Option<Auth> {
    let token = secret(entry, report)?;
    let value = credential(&format!("Bearer {token}"), &token, entry, report)?;
    Some(Auth::Header(http::header::AUTHORIZATION, value))
}

fn basic(entry: &Entry, report: &mut Report) -> Option<Auth> {
    known_keys(entry, &["username", "password"], report);
    let username = member(entry, "username", report).and_then(|entry| reader::text(entry, report));
    let password = member(entry, "password", report).and_then(|entry| secret(entry, report));
    let (username, password) = (username?, password?);
    if username.contains(':') {
        let message = "a user name of basic authentication cannot hold `:`";
        report.add(Problem::error(Code::Value, entry.key.span, message));
        return None;
    }
    let value = basic_value(&username, &password, entry, report)?;
    Some(Auth::Header(http::header::AUTHORIZATION, value))
}

fn basic_value(
    username: &str,
    password: &str,
    entry: &Entry,
    report: &mut Report,
) -> Option<Credential> {
    let encoded = STANDARD.encode(format!("{username}:{password}"));
    credential(&format!("Basic {encoded}"), password, entry, report)
}

fn own_header(entry: &Entry, report: &mut Report) -> Option<Auth> {
    known_keys(entry, &["name", "value"], report);
    let name = member(entry, "name", report).and_then(|entry| header_name(entry, report));
    let value = member(entry, "value", report)
        .and_then(|entry| Some((entry, secret(entry, report)?)))
        .and_then(|(entry, value)| credential(&value, &value, entry, report));
    Some(Auth::Header(name?, value?))
}

fn header_name(entry: &Entry, report: &mut Report) -> Option<HeaderName> {
    let key = crate::document::yaml::Key {
        text: reader::text(entry, report)?,
        span: entry.place(),
    };
    header::name(&key, report)
}

fn oauth2(entry: &Entry, report: &mut Report) -> Option<Auth> {
    known_keys(entry, OAUTH2_KEYS, report);
    let token_url = member(entry, "token_url", report).and_then(|entry| {
        check_no_placeholder(entry, report);
        let text = reader::text(entry, report)?;
        url(&text, entry.place(), report)
    });
    let id = member(entry, "client_id", report).and_then(|entry| reader::text(entry, report));
    let key = member(entry, "client_secret", report).and_then(|entry| secret(entry, report));
    let get = |key| entry.value.get(key);
    let mut form = "grant_type=client_credentials".to_owned();
    if let Some(scopes) = get("scopes").and_then(|entry| scopes(entry, report)) {
        form.push_str("&scope=");
        encode::push(&mut form, &scopes);
    }
    if let Some(audience) = get("audience").and_then(|entry| reader::text(entry, report)) {
        form.push_str("&audience=");
        encode::push(&mut form, &audience);
    }
    // RFC 6749, 2.3.1: both are encoded as in a form first.
    let (id, key) = (encode::encoded(&id?), encode::encoded(&key?));
    Some(Auth::ClientCredentials(ClientCredentials {
        token_url: token_url?,
        authorization: basic_value(&id, &key, entry, report)?,
        form,
    }))
}

/// A list of scopes, or a text with white space between them.
fn scopes(entry: &Entry, report: &mut Report) -> Option<String> {
    if let Content::Scalar(_) = entry.value.content {
        return reader::text(entry, report);
    }
    let nodes = reader::list(entry, report)?;
    let texts = nodes.iter().map(|node| Some(node.scalar()?.text.as_str()));
    let scopes: Option<Vec<_>> = texts.collect();
    if scopes.is_none() {
        reader::wrong_value(entry, "a list of texts", report);
    }
    scopes.map(|scopes| scopes.join(" "))
}

fn known_keys(entry: &Entry, known: &[&str], report: &mut Report) {
    for inner in reader::mapping(entry, report).unwrap_or_default() {
        if !known.contains(&inner.key.text.as_str()) {
            reader::unknown_key(inner, &format!("`{}`", entry.key.text), known, report);
        }
    }
}

/// A member that must be there, of what is a mapping.
fn member<'a>(entry: &'a Entry, key: &str, report: &mut Report) -> Option<&'a Entry> {
    entry.value.mapping()?;
    let place = format!("`{}`", entry.key.text);
    required(&entry.value, entry.key.span, &place, key, report)
}

/// A header that is made of a secret.
fn credential(text: &str, secret: &str, entry: &Entry, report: &mut Report) -> Option<Credential> {
    let credential = Credential::new(text.trim_end(), secret);
    if credential.is_none() {
        let message = format!("`{}` cannot be sent in a header", entry.key.text);
        let problem = Problem::error(Code::Value, entry.key.span, message);
        report.add(problem.help("use printable ASCII characters alone"));
    }
    credential
}

fn tls(entry: &Entry, context: &Context<'_>, report: &mut Report) -> Option<Tls> {
    known_keys(entry, TLS_KEYS, report);
    entry.value.mapping()?;
    let mut pem = |key| {
        let entry = entry.value.get(key)?;
        let bytes = file::read(entry, context.folder(entry.key.span), report)?;
        Some((entry, bytes))
    };
    let (ca, cert, key) = (pem("ca"), pem("cert"), pem("key"));
    for (entry, bytes) in [&ca, &cert].into_iter().flatten() {
        let certificates = CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>();
        if certificates.is_ok_and(|certificates| !certificates.is_empty()) {
            continue;
        }
        report.add(not_pem(entry, "a certificate"));
    }
    if let Some((entry, bytes)) = &key
        && PrivateKeyDer::from_pem_slice(bytes).is_err()
    {
        report.add(not_pem(entry, "a private key"));
    }
    let identity = match (cert, key) {
        (Some((_, mut cert)), Some((_, key))) => {
            cert.push(b'\n');
            cert.extend(key);
            Some(cert)
        }
        _ => None,
    };
    let (has_cert, has_key) = (entry.value.get("cert"), entry.value.get("key"));
    if has_cert.is_some() != has_key.is_some() {
        let message = "a certificate of the client needs both `cert` and `key`";
        report.add(Problem::error(Code::Value, entry.key.span, message));
    }
    Some(Tls {
        ca: ca.map(|(_, ca)| ca),
        identity,
    })
}

fn not_pem(entry: &Entry, what: &str) -> Problem {
    let message = format!("this file does not hold {what} in PEM");
    Problem::error(Code::Value, entry.place(), message)
        .help("it has lines like `-----BEGIN …-----`")
}
