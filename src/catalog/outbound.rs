//! Requests to HTTP APIs: what a tool of the kind `http` sends, and where to.
//!
//! Everything but values is settled when a file is loaded: method, scheme, host, the segments of
//! the path, the names of the query, of the headers and of JSON. A value fills a place and stays
//! in it, whatever it holds. Nothing here opens a connection; [`crate::execute`] does.

mod address;
mod api;
mod apis;
mod body;
mod encode;
mod header;
mod parts;
mod path;
mod syntax;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use url::Url;

pub use api::{
    AllowedReach, Api, Auth, ClientCredentials, Credential, DEFAULT_API_TIMEOUT, Redirects, Tls,
};
pub(crate) use apis::Apis;
use body::Body;
use header::Header;
use parts::Parts;
use path::Path;

use super::argument_error::ArgumentError;
use super::params::Parameters;
use super::template::{Renderer, Segment, Slot, segments};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::Entry;

/// The methods, which are keys of `http`.
const METHODS: &[(&str, Method)] = &[
    ("GET", Method::GET),
    ("HEAD", Method::HEAD),
    ("POST", Method::POST),
    ("PUT", Method::PUT),
    ("PATCH", Method::PATCH),
    ("DELETE", Method::DELETE),
    ("OPTIONS", Method::OPTIONS),
];
const KEYS: &[&str] = &[
    "api", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "query", "headers", "json",
    "form", "body",
];
/// The longest URL, in bytes. Servers commonly refuse more than 8 KiB.
const MAX_URL: usize = 16 * 1024;
/// How the server introduces itself.
const AGENT: &str = concat!("mcp-serve/", env!("CARGO_PKG_VERSION"));

/// A request, with placeholders.
#[derive(Debug)]
pub(crate) struct Http {
    api: Arc<Api>,
    method: Method,
    path: Path,
    query: Parts,
    headers: Vec<Header>,
    body: Option<Body>,
}

/// A request to send.
#[derive(Clone)]
pub struct Request {
    /// Where it goes; [`Auth`] is for the sender to add.
    pub api: Arc<Api>,
    /// The method.
    pub method: Method,
    /// The whole URL.
    pub url: Url,
    /// The headers, without those of authentication and of the connection.
    pub headers: HeaderMap,
    /// The body; `None` for a request without one.
    pub body: Option<String>,
}

impl Http {
    /// Reads the `http` of a tool.
    pub(crate) fn read(entry: &Entry, apis: &Apis, report: &mut Report) -> Option<Self> {
        let get = |key| entry.value.get(key);
        let api = get("api").map(|entry| apis.named(entry, report));
        let errors = report.errors();
        for entry in reader::mapping(entry, report)? {
            check_key(entry, report);
        }
        let (method, target) = method(entry, report)?;
        let place = match api {
            Some(api) => path_of_api(target, report).map(|path| (api, path)),
            None => own_url(target, apis, report),
        };
        let query = get("query").map(|entry| Parts::read(entry, report));
        let headers = get("headers").map(|entry| header::read(entry, report));
        let body = body(entry, method, report);
        let (api, path) = place?;
        (report.errors() == errors).then(|| Self {
            api,
            method: method.clone(),
            path,
            query: query.unwrap_or_default(),
            headers: headers.unwrap_or_default(),
            body,
        })
    }

    /// Checks the placeholders against the parameters.
    pub(crate) fn check(&self, tool: &str, parameters: &Parameters, report: &mut Report) {
        self.path.check(tool, parameters, report);
        self.query.check(tool, parameters, report);
        let auth = self.api.auth_header();
        header::check(&self.headers, auth.as_ref(), tool, parameters, report);
        if let Some(body) = &self.body {
            body.check(tool, parameters, report);
        }
        if let Some(Body::Text(word)) = &self.body {
            syntax::check(word, &self.content_type(), parameters, report);
        }
    }

    /// The API that the request goes to.
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// What the definition says that the body is.
    fn content_type(&self) -> String {
        let mut headers = self.headers.iter().chain(&self.api.headers);
        let header = headers.find(|header| header.name == CONTENT_TYPE);
        header.map_or_else(String::new, |header| header.value.literals().collect())
    }

    /// Whether it changes nothing, as HTTP has it.
    pub(crate) fn is_safe(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }

    /// Every placeholder.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        let headers = self.headers.iter().flat_map(|header| header.value.slots());
        let body = self.body.iter().flat_map(Body::slots);
        (self.path.slots())
            .chain(self.query.slots())
            .chain(headers)
            .chain(body)
    }

    /// The request of a call.
    pub(crate) fn request(&self, mut renderer: Renderer<'_>) -> Result<Request, ArgumentError> {
        let url = self.url(&mut renderer);
        let headers = self.headers(&mut renderer);
        let body = self.body.as_ref().map(|body| body.render(&mut renderer));
        renderer.count(body.as_ref().map_or(0, String::len));
        if url.as_ref().is_none_or(|url| url.as_str().len() > MAX_URL) {
            renderer.refuse_all("the values make a URL of more than 16 KiB; pass less");
        }
        renderer.finish()?;
        let Some(url) = url else {
            return Err(ArgumentError::new(Vec::new()));
        };
        Ok(Request {
            api: Arc::clone(&self.api),
            method: self.method.clone(),
            url,
            headers,
            body,
        })
    }

    fn url(&self, renderer: &mut Renderer<'_>) -> Option<Url> {
        let mut text = self.api.base.clone();
        text.push_str(&self.path.render(renderer));
        let query = self.query.render(renderer);
        if !query.is_empty() {
            text.push('?');
            text.push_str(&query);
        }
        renderer.count(text.len());
        Url::parse(&text).ok()
    }

    fn headers(&self, renderer: &mut Renderer<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        if let Some(body) = &self.body {
            headers.insert(CONTENT_TYPE, body.media_type());
        }
        for header in self.api.headers.iter().chain(&self.headers) {
            if let Some((name, value)) = header.render(renderer) {
                renderer.count(name.as_str().len() + value.len());
                headers.insert(name, value);
            }
        }
        headers
    }
}

fn check_key(entry: &Entry, report: &mut Report) {
    let name = entry.key.text.as_str();
    if KEYS.contains(&name) {
        return;
    }
    match method_meant(entry) {
        Some(method) => {
            let message = format!("unknown key `{name}` in `http`");
            let problem = Problem::error(Code::UnknownKey, entry.key.span, message);
            report.add(problem.help(format!("methods are upper case: write `{method}`")));
        }
        None => reader::unknown_key(entry, "`http`", KEYS, report),
    }
}

/// The method that a key would be in upper case.
fn method_meant(entry: &Entry) -> Option<&'static str> {
    let upper = entry.key.text.to_ascii_uppercase();
    let mut names = METHODS.iter().map(|(name, _)| *name);
    names.find(|name| *name == upper)
}

/// The one method, and the entry with its path.
fn method<'a>(entry: &'a Entry, report: &mut Report) -> Option<(&'static Method, &'a Entry)> {
    let mut present = METHODS
        .iter()
        .filter_map(|(name, method)| Some((method, entry.value.get(name)?)));
    let Some(first) = present.next() else {
        let mut keys = entry.value.mapping()?.iter();
        if keys.any(|entry| method_meant(entry).is_some()) {
            return None;
        }
        let message = "`http` has no method";
        let help = "add the method and the path, such as `GET: /issues/{id}`";
        report.add(Problem::error(Code::Kind, entry.key.span, message).help(help));
        return None;
    };
    if let Some((_, other)) = present.next() {
        let (one, two) = (&first.1.key.text, &other.key.text);
        let message = format!("`http` has both `{one}` and `{two}`");
        let problem = Problem::error(Code::Kind, other.key.span, message);
        report.add(problem.help("keep one of them: one tool for each request"));
        return None;
    }
    Some(first)
}

/// Reads a path of an api.
fn path_of_api(entry: &Entry, report: &mut Report) -> Option<Path> {
    reader::text(entry, report)?;
    let word = segments(entry.value.scalar()?, report);
    if let Some(slot) = word.slots().next().filter(|_| word.prefix().is_empty()) {
        report.add(path::in_host(slot));
        return None;
    }
    if !word.prefix().starts_with('/') {
        let message = "a path begins with `/`";
        let help = "it is appended to the `base_url` of the api";
        report.add(Problem::error(Code::Template, entry.place(), message).help(help));
        return None;
    }
    Some(Path::read(word, report))
}

/// Takes a URL apart: where the server is, and the path.
fn own_url(entry: &Entry, apis: &Apis, report: &mut Report) -> Option<(Arc<Api>, Path)> {
    reader::text(entry, report)?;
    let mut word = segments(entry.value.scalar()?, report);
    let prefix = word.prefix().to_owned();
    let authority = prefix.find("://").map_or(0, |at| at + 3);
    let after = prefix.get(authority..).unwrap_or_default();
    let end = after.find(['/', '?', '#']);
    if let (None, Some(slot)) = (end, word.slots().next()) {
        report.add(path::in_host(slot));
        return None;
    }
    if authority == 0 {
        let message = "this is no whole URL, and the tool names no `api`";
        let help = "write `https://` and the host before the path, or name an `api`";
        report.add(Problem::error(Code::Value, entry.place(), message).help(help));
        return None;
    }
    let (server, rest) = prefix.split_at_checked(authority + end.unwrap_or(after.len()))?;
    let base = apis::url(server, entry.place(), report)?;
    match word.segments.first_mut() {
        Some(Segment::Literal(text)) if !rest.is_empty() => rest.clone_into(text),
        Some(Segment::Literal(text)) => "/".clone_into(text),
        _ => return None,
    }
    let path = Path::read(word, report);
    Some((apis.unnamed(&base), path))
}

fn body(entry: &Entry, method: &Method, report: &mut Report) -> Option<Body> {
    let mut present = Body::KEYS.iter().filter_map(|key| entry.value.get(key));
    let first = present.next()?;
    if let Some(other) = present.next() {
        let (one, two) = (&first.key.text, &other.key.text);
        let message = format!("`http` has both `{one}` and `{two}`");
        let problem = Problem::error(Code::Kind, other.key.span, message);
        report.add(problem.help("keep one of them: a request has one body"));
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        let message = format!("a {method} request has no body");
        let problem = Problem::error(Code::Value, first.key.span, message);
        report.add(problem.help("write values under `query`, or use another method"));
    }
    Body::read(first, report)
}

/// Prints no values: they may be secret.
impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.keys().collect();
        formatter
            .debug_struct("Request")
            .field("api", &self.api.name)
            .field("method", &self.method)
            .field("headers", &headers)
            .field("body", &self.body.as_ref().map(String::len))
            .finish_non_exhaustive()
    }
}

impl PartialEq for Request {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.api, &other.api)
            && self.method == other.method
            && self.url == other.url
            && self.headers == other.headers
            && self.body == other.body
    }
}
