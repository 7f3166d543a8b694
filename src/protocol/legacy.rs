//! Params and results of the revisions up to 2025-11-25.

use serde::Serialize;
use serde_json::{Map, Value};

use super::capabilities::ClientCapabilities;
use super::jsonrpc::ErrorObject;
use super::mcp::{Implementation, ServerCapabilities};
use super::version::{ProtocolVersion, negotiate};

/// What a client says of itself in `initialize`, as far as the server uses it.
#[derive(Debug, Clone)]
pub struct InitializeParams {
    /// The version of the session, already negotiated.
    pub version: ProtocolVersion,
    /// The client's own name and version, for logs only.
    pub client: String,
    /// What the client can be asked in that version.
    pub capabilities: ClientCapabilities,
}

/// The longest client name and version kept, in characters. Client strings decide nothing.
const MAX_CLIENT_CHARS: usize = 64;

impl InitializeParams {
    /// Reads the params of `initialize`.
    ///
    /// # Errors
    ///
    /// `-32602` when `protocolVersion`, `capabilities` or `clientInfo` is missing or of the wrong
    /// type: such a client did not mean to open a session.
    pub fn read(params: &Map<String, Value>) -> Result<Self, ErrorObject> {
        let missing = |name: &str, kind: &str| {
            ErrorObject::invalid_params(format!("Invalid params: \"{name}\" must be {kind}"))
        };
        let version = params
            .get("protocolVersion")
            .and_then(Value::as_str)
            .ok_or_else(|| missing("protocolVersion", "a string"))?;
        let capabilities = params
            .get("capabilities")
            .and_then(Value::as_object)
            .ok_or_else(|| missing("capabilities", "an object"))?;
        let client = params
            .get("clientInfo")
            .and_then(Value::as_object)
            .ok_or_else(|| missing("clientInfo", "an object"))?;
        let text = |name: &str| client.get(name).and_then(Value::as_str);
        let name = text("name").ok_or_else(|| missing("clientInfo.name", "a string"))?;
        let client = match text("version") {
            Some(version) => format!("{name}/{version}"),
            None => name.to_owned(),
        };
        let version = negotiate(version);
        Ok(Self {
            version,
            client: printable(&client),
            capabilities: ClientCapabilities::read(capabilities, version),
        })
    }
}

/// A client's text without control characters, cut to [`MAX_CLIENT_CHARS`].
fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(MAX_CLIENT_CHARS)
        .collect()
}

/// The result of `initialize`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InitializeResult<'a> {
    /// The negotiated version.
    pub protocol_version: &'static str,
    /// What this server can do.
    pub capabilities: ServerCapabilities,
    /// The server's own name and version.
    pub server_info: &'a Implementation<'a>,
    /// How to use the server, for the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn initialize_params_are_checked() {
        let full = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}});
        let cases = [
            ("full", full, Ok("2025-06-18 c/1")),
            (
                "no client version",
                json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c"}}),
                Ok("2025-06-18 c"),
            ),
            (
                "newer version",
                json!({"protocolVersion": "2026-07-28", "capabilities": {}, "clientInfo": {"name": "c"}}),
                Ok("2025-11-25 c"),
            ),
            (
                "log injection",
                json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a\n\u{1b}[2Jb"}}),
                Ok("2025-06-18 a[2Jb"),
            ),
            (
                "empty",
                json!({}),
                Err("Invalid params: \"protocolVersion\" must be a string"),
            ),
            (
                "version is a number",
                json!({"protocolVersion": 1}),
                Err("Invalid params: \"protocolVersion\" must be a string"),
            ),
            (
                "no capabilities",
                json!({"protocolVersion": "2025-06-18"}),
                Err("Invalid params: \"capabilities\" must be an object"),
            ),
            (
                "no client",
                json!({"protocolVersion": "2025-06-18", "capabilities": {}}),
                Err("Invalid params: \"clientInfo\" must be an object"),
            ),
            (
                "no client name",
                json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {}}),
                Err("Invalid params: \"clientInfo.name\" must be a string"),
            ),
        ];
        for (name, params, expected) in cases {
            let read = InitializeParams::read(params.as_object().unwrap());
            let read = read
                .map(|params| format!("{} {}", params.version, params.client))
                .map_err(|error| error.message.into_owned());
            assert_eq!(read.as_deref().map_err(String::as_str), expected, "{name}");
        }
    }
}
