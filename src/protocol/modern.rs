//! What only 2026-07-28 has: `_meta` on each request, headers that mirror the body, and results
//! that say their type and how long they may be cached.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Number, Value};

use super::capabilities::ClientCapabilities;
use super::jsonrpc::{ErrorObject, HEADER_MISMATCH, Request, excerpt};
use super::logging::Level;
use super::mcp::{self, Implementation, ServerCapabilities};
use super::version::ProtocolVersion;

/// How long a client may keep a list, in milliseconds. The lists of this server change when its
/// definitions do: five minutes bound how long a client can miss that which does not listen.
pub const LIST_TTL_MS: u64 = 300_000;

/// Checks what every modern request carries in `_meta`.
///
/// # Errors
///
/// `-32602` when the protocol version or the client capabilities are missing (MCP 2026-07-28, Base
/// Protocol, General fields: MUST reject, HTTP 400), or when there is a log level that is none
/// (Logging, Error Handling: SHOULD reject).
pub fn check_meta(params: &Map<String, Value>) -> Result<(), ErrorObject> {
    let missing =
        |key: &str| ErrorObject::invalid_params(format!("Invalid params: _meta needs \"{key}\""));
    let meta = mcp::meta(params).ok_or_else(|| missing(mcp::META_PROTOCOL_VERSION))?;
    if mcp::member(meta, mcp::META_PROTOCOL_VERSION).is_none() {
        return Err(missing(mcp::META_PROTOCOL_VERSION));
    }
    let capabilities = mcp::member(meta, mcp::META_CLIENT_CAPABILITIES);
    if !capabilities.is_some_and(Value::is_object) {
        return Err(missing(mcp::META_CLIENT_CAPABILITIES));
    }
    log_level(params).map(drop)
}

/// From which level on a request wants to hear log messages; `None` wants none.
///
/// # Errors
///
/// `-32602` for what is no level.
pub fn log_level(params: &Map<String, Value>) -> Result<Option<Level>, ErrorObject> {
    mcp::meta(params)
        .filter(|meta| mcp::member(meta, mcp::META_LOG_LEVEL).is_some())
        .map(|meta| Level::read(meta, mcp::META_LOG_LEVEL))
        .transpose()
}

/// What the client of a modern request says that it can do.
pub fn client_capabilities(params: &Map<String, Value>) -> ClientCapabilities {
    let object = mcp::in_meta(params, mcp::META_CLIENT_CAPABILITIES);
    let object = object.and_then(Value::as_object);
    object.map_or_else(ClientCapabilities::default, |object| {
        ClientCapabilities::read(object, ProtocolVersion::V2026_07_28)
    })
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
    let body = mcp::text(&request.params, source)?;
    let name = name.map(decode).transpose()?;
    mirrored("Mcp-Name", name.as_deref(), body)
}

/// The largest integer that a header can repeat, and the negative of the smallest: 2^53 - 1.
const MAX_MIRRORED: f64 = 9_007_199_254_740_991.0;

/// Checks that a header says what an argument says; null is no argument.
///
/// # Errors
///
/// `-32020` when they differ, the header is not encoded properly, or only one of them is there
/// (MCP 2026-07-28, Streamable HTTP, Server Behavior for Custom Headers: MUST reject with HTTP
/// 400). The error repeats neither value.
pub fn check_argument(
    header: &str,
    value: Option<&str>,
    argument: Option<&Value>,
) -> Result<(), ErrorObject> {
    let value = value.map(decode).transpose()?;
    let text = match (&value, argument.filter(|argument| !argument.is_null())) {
        (None, None) => return Ok(()),
        (Some(value), Some(argument)) if is_same(value, argument) => return Ok(()),
        (Some(_), Some(_)) => format!("{header} does not say what the arguments say"),
        (Some(_), None) => format!("{header} repeats an argument that is not there"),
        (None, Some(_)) => format!("the {header} header is missing"),
    };
    let text = format!("Header mismatch: {text}");
    Err(ErrorObject::new(HEADER_MISMATCH, text))
}

fn is_same(value: &str, argument: &Value) -> bool {
    match argument {
        Value::String(text) => value == text,
        Value::Bool(is_true) => value == if *is_true { "true" } else { "false" },
        // By their value: SHOULD take 42.0 and 42 as equal.
        Value::Number(number) => {
            let repeated: Option<Number> = serde_json::from_str(value).ok();
            let repeated = repeated.and_then(|number| number.as_f64());
            let number = number
                .as_f64()
                .filter(|number| number.abs() <= MAX_MIRRORED);
            number.is_some() && number == repeated
        }
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
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
    meta: ResultMeta<'a>,
}

#[derive(Debug, Serialize)]
struct ResultMeta<'a> {
    #[serde(rename = "io.modelcontextprotocol/serverInfo")]
    server: &'a Implementation<'a>,
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
    pub fn complete(
        result: &'a T,
        caching: Option<Caching>,
        server: &'a Implementation<'a>,
    ) -> Self {
        Self {
            result_type: "complete",
            result,
            caching,
            meta: ResultMeta { server },
        }
    }

    /// A result that the client comes back for (SEP-2663).
    pub fn task(task: &'a T, server: &'a Implementation<'a>) -> Self {
        Self {
            result_type: "task",
            ..Self::complete(task, None, server)
        }
    }

    /// A result that is none yet: the client has to answer first (Multi Round-Trip Requests).
    pub fn input_required(result: &'a T, server: &'a Implementation<'a>) -> Self {
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
    use serde_json::json;

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
            (
                "a log level",
                json!({"_meta": {version: "2026-07-28", capabilities: {}, mcp::META_LOG_LEVEL: "alert"}}),
                true,
            ),
            (
                "no log level",
                json!({"_meta": {version: "2026-07-28", capabilities: {}, mcp::META_LOG_LEVEL: "loud"}}),
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
    fn headers_repeat_arguments() {
        let cases = [
            ("text", Some("us-west1"), json!("us-west1"), true),
            ("other text", Some("US-west1"), json!("us-west1"), false),
            ("empty text", Some(""), json!(""), true),
            ("text like a number", Some("42.0"), json!("42"), false),
            (
                "encoded",
                Some("=?base64?SGVsbG8sIOS4lueVjA==?="),
                json!("Hello, 世界"),
                true,
            ),
            (
                "encoded without need",
                Some("=?base64?YQ==?="),
                json!("a"),
                true,
            ),
            ("encoded number", Some("=?base64?NDI=?="), json!(42), true),
            (
                "encoded sentinel",
                Some("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
                json!("=?base64?literal?="),
                true,
            ),
            (
                "sentinel as it is",
                Some("=?base64?literal?="),
                json!("=?base64?literal?="),
                false,
            ),
            ("no padding", Some("=?base64?YQ?="), json!("a"), false),
            (
                "too much padding",
                Some("=?base64?YQ===?="),
                json!("a"),
                false,
            ),
            (
                "other alphabet",
                Some("=?base64?-_8=?="),
                json!("\u{fb}\u{ff}"),
                false,
            ),
            ("white space", Some("=?base64?Y Q==?="), json!("a"), false),
            ("bits left over", Some("=?base64?YR==?="), json!("a"), false),
            (
                "not UTF-8",
                Some("=?base64?/w==?="),
                json!("\u{fffd}"),
                false,
            ),
            ("integer", Some("-7"), json!(-7), true),
            ("integer by value", Some("42.0"), json!(42), true),
            (
                "integer in the body by value",
                Some("42"),
                json!(42.0),
                true,
            ),
            ("other integer", Some("43"), json!(42), false),
            ("integer in hexadecimal", Some("0x2a"), json!(42), false),
            ("integer with a sign", Some("+42"), json!(42), false),
            (
                "largest",
                Some("9007199254740991"),
                json!(9_007_199_254_740_991_i64),
                true,
            ),
            (
                "too large",
                Some("9007199254740992"),
                json!(9_007_199_254_740_992_i64),
                false,
            ),
            ("true", Some("true"), json!(true), true),
            ("True", Some("True"), json!(true), false),
            ("false", Some("false"), json!(true), false),
            ("object", Some("{}"), json!({}), false),
            ("null", None, json!(null), true),
            ("null in the header", Some("null"), json!(null), false),
            ("missing", None, json!("a"), false),
            ("missing falsehood", None, json!(false), false),
        ];
        for (name, value, argument, is_good) in cases {
            let checked = check_argument("Mcp-Param-X", value, Some(&argument));
            let expected = if is_good { Ok(()) } else { Err(-32020) };
            assert_eq!(checked.map_err(|error| error.code), expected, "{name}");
        }
        assert!(check_argument("Mcp-Param-X", None, None).is_ok());
        let error = check_argument("Mcp-Param-X", Some("secret"), None).unwrap_err();
        assert!(!error.message.contains("secret"), "{}", error.message);
    }

    #[test]
    fn results_say_type_cache_and_server() {
        let server = Implementation {
            name: "s",
            title: None,
            version: "1",
            icons: &[],
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
