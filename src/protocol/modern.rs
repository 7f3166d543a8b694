//! What only 2026-07-28 has: `_meta` on each request, headers that mirror the body, and results
//! that say their type and how long they may be cached.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::capabilities::ClientCapabilities;
use super::jsonrpc::{ErrorObject, HEADER_MISMATCH, Request, excerpt};
use super::logging::Level;
use super::mcp::{self, Implementation, ServerCapabilities};
use super::version::ProtocolVersion;

/// How long a client may keep a list, in milliseconds. The lists of this server change only when
/// it restarts, so five minutes bound how long a client can miss that.
pub const LIST_TTL_MS: u64 = 300_000;

/// Checks what every modern request carries in `_meta`.
///
/// # Errors
///
/// `-32602` when the protocol version or the client capabilities are missing (MCP 2026-07-28, Base
/// Protocol, General fields: MUST reject, HTTP 400).
pub fn check_meta(params: &Map<String, Value>) -> Result<(), ErrorObject> {
    let missing =
        |key: &str| ErrorObject::invalid_params(format!("Invalid params: _meta needs \"{key}\""));
    let meta = mcp::meta(params).ok_or_else(|| missing(mcp::META_PROTOCOL_VERSION))?;
    if !meta.contains_key(mcp::META_PROTOCOL_VERSION) {
        return Err(missing(mcp::META_PROTOCOL_VERSION));
    }
    if !meta
        .get(mcp::META_CLIENT_CAPABILITIES)
        .is_some_and(Value::is_object)
    {
        return Err(missing(mcp::META_CLIENT_CAPABILITIES));
    }
    Ok(())
}

/// What the client of a modern request says that it can do.
pub fn client_capabilities(params: &Map<String, Value>) -> ClientCapabilities {
    let object = mcp::meta(params).and_then(|meta| meta.get(mcp::META_CLIENT_CAPABILITIES));
    let object = object.and_then(Value::as_object);
    object.map_or_else(ClientCapabilities::default, |object| {
        ClientCapabilities::read(object, ProtocolVersion::V2026_07_28)
    })
}

/// From which level on the client of a modern request wants to hear the log of this request; it
/// hears nothing if it does not say.
///
/// # Errors
///
/// `-32602` for what is no level.
pub fn log_level(params: &Map<String, Value>) -> Result<Option<Level>, ErrorObject> {
    match mcp::meta(params) {
        Some(meta) if meta.contains_key(mcp::META_LOG_LEVEL) => {
            Level::read(meta, mcp::META_LOG_LEVEL).map(Some)
        }
        _ => Ok(None),
    }
}

/// Checks that `Mcp-Method` and `Mcp-Name` say what the body says.
///
/// # Errors
///
/// `-32020` when a required header is missing, is not encoded properly or differs (MCP
/// 2026-07-28, Streamable HTTP, Server Validation: MUST reject with HTTP 400).
pub fn check_headers(
    request: &Request,
    method: Option<&str>,
    name: Option<&str>,
) -> Result<(), ErrorObject> {
    mirrored("Mcp-Method", method, &request.method)?;
    let source = match request.method.as_str() {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return Ok(()),
    };
    let Some(body) = request.params.get(source).and_then(Value::as_str) else {
        return Err(ErrorObject::invalid_params(format!(
            "Invalid params: \"{source}\" must be a string"
        )));
    };
    let name = name.map(decode).transpose()?;
    mirrored("Mcp-Name", name.as_deref(), body)
}

fn mirrored(header: &str, value: Option<&str>, body: &str) -> Result<(), ErrorObject> {
    let text = match value {
        Some(value) if value == body => return Ok(()),
        Some(value) => format!(
            "Header mismatch: {header} is \"{}\", but the body says \"{}\"",
            excerpt(value),
            excerpt(body)
        ),
        None => format!("Header mismatch: the {header} header is missing"),
    };
    Err(ErrorObject::new(HEADER_MISMATCH, text))
}

/// Undoes the Base64 form `=?base64?…?=` of a header value (MCP 2026-07-28, Streamable HTTP, Value
/// Encoding).
fn decode(value: &str) -> Result<String, ErrorObject> {
    let Some(encoded) = value
        .strip_prefix("=?base64?")
        .and_then(|rest| rest.strip_suffix("?="))
    else {
        return Ok(value.to_owned());
    };
    STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            ErrorObject::new(
                HEADER_MISMATCH,
                "Header mismatch: a header is not valid Base64",
            )
        })
}

/// A result with the members that every modern result has.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModernResult<'a, T> {
    result_type: &'static str,
    #[serde(flatten)]
    result: &'a T,
    #[serde(flatten)]
    caching: Option<Caching>,
    #[serde(rename = "_meta")]
    meta: Value,
}

/// How long, and between whom, a result may be shared.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Caching {
    /// Milliseconds for which the result is fresh.
    pub ttl_ms: u64,
    /// Who may share it.
    pub cache_scope: CacheScope,
}

/// Who may share a cached result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheScope {
    /// Everybody: the result is the same for every caller.
    Public,
    /// Only the same authorization context.
    Private,
}

impl<'a, T: Serialize> ModernResult<'a, T> {
    /// A complete result, with the server's name and version in `_meta`.
    pub fn complete(result: &'a T, caching: Option<Caching>, server: &Implementation) -> Self {
        Self {
            result_type: "complete",
            result,
            caching,
            meta: json!({ mcp::META_SERVER_INFO: server }),
        }
    }

    /// A result that the client comes back for (SEP-2663).
    pub fn task(task: &'a T, server: &Implementation) -> Self {
        Self {
            result_type: "task",
            ..Self::complete(task, None, server)
        }
    }

    /// A result that is none yet: the client has to answer first (Multi Round-Trip Requests).
    pub fn input_required(result: &'a T, server: &Implementation) -> Self {
        Self {
            result_type: "input_required",
            ..Self::complete(result, None, server)
        }
    }
}

/// The result of `server/discover`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiscoverResult<'a> {
    /// Every served version, newest first.
    pub supported_versions: Vec<&'static str>,
    /// What this server can do.
    pub capabilities: ServerCapabilities,
    /// How to use the server, for the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::jsonrpc::{Body, Message, parse};

    fn request(method: &str, params: &Value) -> Request {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        match parse(body.to_string().as_bytes()) {
            Ok(Body::Message(Message::Request(request))) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn meta_is_required() {
        let version = mcp::META_PROTOCOL_VERSION;
        let capabilities = mcp::META_CLIENT_CAPABILITIES;
        let cases = [
            (
                "whole",
                json!({"_meta": {version: "2026-07-28", capabilities: {}}}),
                true,
            ),
            ("none", json!({}), false),
            ("no version", json!({"_meta": {capabilities: {}}}), false),
            (
                "no capabilities",
                json!({"_meta": {version: "2026-07-28"}}),
                false,
            ),
            (
                "capabilities are no object",
                json!({"_meta": {version: "2026-07-28", capabilities: []}}),
                false,
            ),
        ];
        for (name, params, ok) in cases {
            assert_eq!(
                check_meta(params.as_object().unwrap()).is_ok(),
                ok,
                "{name}"
            );
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn headers_must_say_what_the_body_says() {
        let list = request("tools/list", &json!({}));
        let call = request("tools/call", &json!({"name": "disk"}));
        let unicode = request("tools/call", &json!({"name": "größe"}));
        let looks_encoded = request("tools/call", &json!({"name": "=?base64?literal?="}));
        let read = request("resources/read", &json!({"uri": "file:///x"}));
        let unnamed = request("tools/call", &json!({}));
        let cases = [
            ("list", &list, Some("tools/list"), None, Ok(())),
            (
                "list with a name",
                &list,
                Some("tools/list"),
                Some("x"),
                Ok(()),
            ),
            ("no method", &list, None, None, Err(-32020)),
            ("other method", &list, Some("tools/call"), None, Err(-32020)),
            ("other case", &list, Some("Tools/List"), None, Err(-32020)),
            ("call", &call, Some("tools/call"), Some("disk"), Ok(())),
            (
                "call without name",
                &call,
                Some("tools/call"),
                None,
                Err(-32020),
            ),
            (
                "call with another name",
                &call,
                Some("tools/call"),
                Some("admin"),
                Err(-32020),
            ),
            (
                "encoded",
                &call,
                Some("tools/call"),
                Some("=?base64?ZGlzaw==?="),
                Ok(()),
            ),
            (
                "encoded unicode",
                &unicode,
                Some("tools/call"),
                Some("=?base64?Z3LDtsOfZQ==?="),
                Ok(()),
            ),
            (
                "encoded sentinel",
                &looks_encoded,
                Some("tools/call"),
                Some("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
                Ok(()),
            ),
            (
                "unencoded sentinel",
                &looks_encoded,
                Some("tools/call"),
                Some("=?base64?literal?="),
                Err(-32020),
            ),
            (
                "bad padding",
                &call,
                Some("tools/call"),
                Some("=?base64?ZGlzaw=?="),
                Err(-32020),
            ),
            (
                "bad alphabet",
                &call,
                Some("tools/call"),
                Some("=?base64?ZG!zaw==?="),
                Err(-32020),
            ),
            (
                "upper-case sentinel",
                &call,
                Some("tools/call"),
                Some("=?BASE64?ZGlzaw==?="),
                Err(-32020),
            ),
            (
                "resource",
                &read,
                Some("resources/read"),
                Some("file:///x"),
                Ok(()),
            ),
            (
                "no name in the body",
                &unnamed,
                Some("tools/call"),
                Some("x"),
                Err(-32602),
            ),
        ];
        for (name, request, method, header, expected) in cases {
            let checked = check_headers(request, method, header);
            assert_eq!(checked.map_err(|error| error.code), expected, "{name}");
        }
    }

    #[test]
    fn results_say_type_cache_and_server() {
        let server = Implementation {
            name: "s".to_owned(),
            title: None,
            version: "1".to_owned(),
            icons: Vec::new(),
        };
        let caching = Caching {
            ttl_ms: 5,
            cache_scope: CacheScope::Private,
        };
        let result = json!({"tools": []});
        let result = ModernResult::complete(&result, Some(caching), &server);
        assert_eq!(
            serde_json::to_string(&result).unwrap(),
            r#"{"resultType":"complete","tools":[],"ttlMs":5,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}}}"#
        );
    }
}
