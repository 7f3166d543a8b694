//! Reading the headers that decide something: each at most once.

use http::header::{ACCEPT, AsHeaderName, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};

/// The session of a legacy request.
pub(super) const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The revision that a request speaks.
pub(super) const MCP_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The last event that a client saw of a stream it lost.
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The method of a modern request.
pub(super) const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// The tool, prompt or resource of a modern request.
pub(super) const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");

/// The trace that a request belongs to.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A header stands twice, or is not visible ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unusable;

/// The value of a header that may stand once.
pub(super) fn single(
    headers: &HeaderMap,
    name: impl AsHeaderName,
) -> Result<Option<&str>, Unusable> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value.trim())),
        _ => Err(Unusable),
    }
}

/// True for `application/json` in UTF-8: a cross-site form cannot send that without asking first.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Ok(Some(value)) = single(headers, &CONTENT_TYPE) else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    media_type.eq_ignore_ascii_case("application/json")
        && parts.all(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("charset")
                    && value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            })
        })
}

/// True if the client takes this media type. No `Accept` header takes everything.
pub(super) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut values = headers.get_all(ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return true;
    }
    values
        .flat_map(|value: &HeaderValue| value.as_bytes().split(|byte| *byte == b','))
        .any(|range| {
            let mut parts = range.split(|byte| *byte == b';');
            let range = parts.next().unwrap_or_default();
            includes(range.trim_ascii(), media_type.as_bytes()) && !parts.any(is_rejection)
        })
}

/// True if a media range without its parameters takes this media type.
fn includes(range: &[u8], media_type: &[u8]) -> bool {
    range.eq_ignore_ascii_case(media_type)
        || range == b"*/*"
        || range.strip_suffix(b"/*").is_some_and(|range| {
            let kind = media_type.split(|byte| *byte == b'/').next();
            kind.is_some_and(|kind| range.eq_ignore_ascii_case(kind))
        })
}

/// True for the parameter of a range that is weight zero, which means "not this".
fn is_rejection(parameter: &[u8]) -> bool {
    let parameter = str::from_utf8(parameter).unwrap_or_default();
    parameter
        .split_once('=')
        .is_some_and(|(name, weight)| name.trim() == "q" && weight.trim().parse() == Ok(0.0_f32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognized() {
        let cases = [
            ("application/json", true),
            ("Application/JSON; Charset=UTF-8", true),
            ("application/json;charset=\"utf-8\"", true),
            ("application/json; charset=utf-7", false),
            ("application/json; charset", false),
            ("application/json, text/plain", false),
            ("text/plain", false),
            ("application/jsonx", false),
            ("", false),
        ];
        for (value, expected) in cases {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
            assert_eq!(is_json(&headers), expected, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn accept_ranges() {
        let cases = [
            ("application/json, text/event-stream", true, true),
            ("application/json,text/event-stream;q=0.5", true, true),
            ("*/*", true, true),
            ("application/*, text/*", true, true),
            ("Application/JSON", true, false),
            ("text/event-stream", false, true),
            ("text/plain", false, false),
            ("application/json, text/event-stream;q=0", true, false),
            ("", false, false),
        ];
        for (value, json, sse) in cases {
            let headers = HeaderMap::from_iter([(ACCEPT, value.parse().unwrap())]);
            assert_eq!(accepts(&headers, "application/json"), json, "{value}");
            assert_eq!(accepts(&headers, "text/event-stream"), sse, "{value}");
        }
        assert!(accepts(&HeaderMap::new(), "application/json"));
    }

    #[test]
    fn a_deciding_header_stands_once() {
        let mut headers = HeaderMap::new();
        assert_eq!(single(&headers, &MCP_NAME), Ok(None));
        headers.append(MCP_NAME, HeaderValue::from_static("  a "));
        assert_eq!(single(&headers, &MCP_NAME), Ok(Some("a")));
        headers.append(MCP_NAME, HeaderValue::from_static("a"));
        assert_eq!(single(&headers, &MCP_NAME), Err(Unusable));
        let binary = HeaderMap::from_iter([(MCP_NAME, HeaderValue::from_bytes(b"\xff").unwrap())]);
        assert_eq!(single(&binary, &MCP_NAME), Err(Unusable));
    }
}
