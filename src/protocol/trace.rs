//! Trace context: which trace a request belongs to (W3C Trace Context, Level 1; MCP 2026-07-28,
//! Base Protocol, OpenTelemetry Trace Context).

use serde_json::{Map, Value};

use super::mcp;

/// The longest `tracestate` that is passed on, in bytes: what the specification has everybody keep.
const MAX_STATE: usize = 512;

/// Where in a trace a request stands, in the form that a tool can go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace and the caller's span in it.
    pub parent: String,
    /// What tracing systems say to each other.
    pub state: Option<String>,
}

impl TraceContext {
    /// Reads what a request says in its `_meta`, and else in its headers. What is not in the form of
    /// the specification says nothing.
    pub fn read(params: &Map<String, Value>, header: Option<&str>) -> Option<Self> {
        let meta = |key: &str| mcp::in_meta(params, key)?.as_str();
        let from_meta = meta("traceparent").filter(|parent| is_parent(parent));
        let parent = from_meta.or_else(|| header.filter(|parent| is_parent(parent)))?;
        let state = meta("tracestate").filter(|state| from_meta.is_some() && is_state(state));
        Some(Self {
            parent: parent.to_owned(),
            state: state.map(str::to_owned),
        })
    }
}

/// True for `00-<32 hex>-<16 hex>-<2 hex>` with ids that are not all zero. A later version may have
/// more behind it.
fn is_parent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags, rest @ ..] = parts.as_slice() else {
        return false;
    };
    let is_id = |id: &str, digits| is_hex(id, digits) && id.bytes().any(|digit| digit != b'0');
    let is_known = *version == "00";
    is_hex(version, 2)
        && *version != "ff"
        && is_id(trace, 32)
        && is_id(span, 16)
        && is_hex(flags, 2)
        && (rest.is_empty() || !is_known)
        && text.len() <= MAX_STATE
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_hex(text: &str, digits: usize) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == digits && text.bytes().all(is_digit)
}

/// True for a list of members `key=value`, as far as it matters to those who pass it on.
fn is_state(text: &str) -> bool {
    text.len() <= MAX_STATE
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && text.split(',').all(|member| {
            let (key, value) = member.trim().split_once('=').unwrap_or_default();
            !key.is_empty() && !value.is_empty()
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
    const OTHER: &str = "00-11111111111111111111111111111111-2222222222222222-00";

    #[test]
    fn only_the_form_of_the_specification_counts() {
        let changed = |from: &str, to: &str| PARENT.replacen(from, to, 1);
        let cases = [
            (PARENT.to_owned(), true),
            (OTHER.to_owned(), true),
            (changed("00-", "01-"), true),
            (changed("00-", "01-") + "-more", true),
            (PARENT.to_owned() + "-more", false),
            (changed("00-", "ff-"), false),
            (changed("00-", "0-"), false),
            (changed("0af7", "0AF7"), false),
            (changed("0af7", "0ag7"), false),
            (changed("-00f067", "-0f067"), false),
            (
                changed("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
                false,
            ),
            (changed("00f067aa0ba902b7", &"0".repeat(16)), false),
            (String::new(), false),
            (format!("{PARENT}\n"), false),
        ];
        for (parent, expected) in cases {
            assert_eq!(is_parent(&parent), expected, "{parent:?}");
        }
    }

    #[test]
    fn a_request_says_it_in_its_meta_or_in_a_header() {
        let context = |parent: &str, state: Option<&str>| {
            Some(TraceContext {
                parent: parent.to_owned(),
                state: state.map(str::to_owned),
            })
        };
        let both = json!({"traceparent": PARENT, "tracestate": "a=1,b@c=2"});
        let cases = [
            (json!({}), None, None),
            (both.clone(), None, context(PARENT, Some("a=1,b@c=2"))),
            (both, Some(OTHER), context(PARENT, Some("a=1,b@c=2"))),
            (json!({}), Some(OTHER), context(OTHER, None)),
            (
                json!({"tracestate": "a=1"}),
                Some(OTHER),
                context(OTHER, None),
            ),
            (json!({"tracestate": "a=1"}), None, None),
            (
                json!({"traceparent": "x"}),
                Some(OTHER),
                context(OTHER, None),
            ),
            (json!({"traceparent": 7}), Some("x"), None),
            (
                json!({"traceparent": PARENT, "tracestate": "a"}),
                None,
                context(PARENT, None),
            ),
            (
                json!({"traceparent": PARENT, "tracestate": "a=\u{e9}"}),
                None,
                context(PARENT, None),
            ),
            (
                json!({"traceparent": PARENT, "tracestate": format!("a={}", "x".repeat(511))}),
                None,
                context(PARENT, None),
            ),
        ];
        for (meta, header, expected) in cases {
            let params = json!({"_meta": meta});
            let read = TraceContext::read(params.as_object().unwrap(), header);
            assert_eq!(read, expected, "{params} {header:?}");
        }
    }
}
