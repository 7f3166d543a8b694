//! Headers of requests: which a definition may set, and which may depend on a call.

use std::fmt;

use http::{HeaderName, HeaderValue};

use super::parts::check_text;
use crate::catalog::params::Parameters;
use crate::catalog::template::{Renderer, Word, segments};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::{Entry, Key};

/// The longest value of a header, in bytes; servers commonly refuse more than 8 KiB in all.
const MAX_VALUE: usize = 8 * 1024;

/// Headers that belong to the connection, or that the server writes itself.
const OURS: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Headers that say who asks, how, or on whose behalf: the author may set them, and no caller.
const FIXED: &[&str] = &[
    "authorization",
    "content-type",
    "cookie",
    "forwarded",
    "origin",
    "referer",
    "via",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];
/// How the names of further such headers begin.
const FIXED_PREFIX: &str = "x-forwarded-";

/// A header, with placeholders in its value.
#[derive(Clone)]
pub(crate) struct Header {
    pub(super) key: Key,
    pub(super) name: HeaderName,
    pub(super) value: Word,
}

/// Reads `headers`.
pub(super) fn read(entry: &Entry, report: &mut Report) -> Vec<Header> {
    let mut headers: Vec<Header> = Vec::new();
    for entry in reader::mapping(entry, report).unwrap_or_default() {
        let Some(header) = read_one(entry, report) else {
            continue;
        };
        match headers.iter().find(|other| other.name == header.name) {
            Some(first) => {
                let subject = format!("the header `{}`", header.key.text);
                reader::twice(&subject, first.key.span, header.key.span, report);
            }
            None => headers.push(header),
        }
    }
    headers
}

fn read_one(entry: &Entry, report: &mut Report) -> Option<Header> {
    let name = name(&entry.key, report);
    reader::text(entry, report)?;
    let value = segments(entry.value.scalar()?, report);
    let literals = value.literals().collect::<String>();
    if !is_text(&literals) {
        let message = format!("`{}` cannot be sent in a header", entry.key.text);
        let help = "use printable ASCII characters alone";
        report.add(Problem::error(Code::Value, entry.place(), message).help(help));
        return None;
    }
    let header = Header {
        key: entry.key.clone(),
        name: name?,
        value,
    };
    check_fixed(&header, report);
    Some(header)
}

/// Reads the name of a header that a definition may set.
pub(super) fn name(key: &Key, report: &mut Report) -> Option<HeaderName> {
    let text = &key.text;
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        let message = format!("`{text}` is not the name of a header");
        report.add(Problem::error(Code::Value, key.span, message));
        return None;
    };
    if OURS.contains(&name.as_str()) {
        let message = format!("the server itself sets the header `{text}`");
        let problem = Problem::error(Code::ProtectedHeader, key.span, message);
        report.add(problem.help("remove it"));
        return None;
    }
    Some(name)
}

/// Checks that a call has no say in a header that others trust.
fn check_fixed(header: &Header, report: &mut Report) {
    let name = header.name.as_str();
    let is_fixed = FIXED.contains(&name) || name.starts_with(FIXED_PREFIX);
    let Some(slot) = header.value.slots().next().filter(|_| is_fixed) else {
        return;
    };
    let message = format!(
        "`{{{}}}` may not stand in the header `{}`, which others trust",
        slot.name, header.key.text
    );
    let help = match name {
        "authorization" | "cookie" => "write credentials under `auth` of the api",
        "content-type" => "write the one media type that the tool sends",
        _ => "write a fixed value, or use a header of your own, such as `X-User`",
    };
    report.add(Problem::error(Code::ProtectedHeader, slot.span, message).help(help));
}

/// Checks the placeholders of a tool's headers, and that none replaces its credentials.
pub(super) fn check(
    headers: &[Header],
    auth: Option<&HeaderName>,
    tool: &str,
    parameters: &Parameters,
    report: &mut Report,
) {
    for header in headers {
        if auth == Some(&header.name) {
            report.add(of_auth(&header.key));
        }
        check_text(&header.value, tool, parameters, report, |slot| {
            slot.caller().is_some()
        });
    }
}

/// A header that the `auth` of an api sets already.
pub(super) fn of_auth(key: &Key) -> Problem {
    let message = format!("`auth` of the api sets the header `{}`", key.text);
    Problem::error(Code::ProtectedHeader, key.span, message).help("remove it")
}

impl Header {
    /// The header of a call; `None` if it has none, because a parameter is absent.
    pub(super) fn render(&self, renderer: &mut Renderer<'_>) -> Option<(HeaderName, HeaderValue)> {
        let text = renderer.optional_text(&self.value)?;
        let is_trimmed = text.trim_matches([' ', '\t']) == text;
        let rule = if !is_text(&text) {
            "must be printable ASCII, since it is sent in a header"
        } else if !is_trimmed {
            "must not begin or end with white space, since it is sent in a header"
        } else if text.len() > MAX_VALUE {
            "is longer than 8 KiB, which is too much for a header; pass less"
        } else if let Ok(value) = HeaderValue::from_str(&text) {
            return Some((self.name.clone(), value));
        } else {
            "cannot be sent in a header"
        };
        renderer.refuse(&self.value, rule);
        None
    }
}

/// Shows no value, which may be secret.
impl fmt::Debug for Header {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Header({})", self.name)
    }
}

fn is_text(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
}
