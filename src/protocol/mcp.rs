//! Wire types and names that both eras share.

use serde::Serialize;
use serde_json::{Map, Value};

use super::content::{Content, Icon};
use super::jsonrpc::ErrorObject;

/// `_meta` key: the protocol version of a modern request.
pub const META_PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// `_meta` key: the capabilities of a modern request's client.
pub const META_CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// `_meta` key: from which level on a modern request wants to hear log messages.
pub const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

/// Declares the methods that are served, so that none is left out of [`Method::ALL`].
macro_rules! methods {
    ($($method:ident = $name:literal,)*) => {
        /// A method, as far as it is served. Statistics say no more of a method that a client made up.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Method {
            $(#[doc = concat!("`", $name, "`")] $method,)*
            /// Every other.
            Other,
        }

        impl Method {
            /// Every method.
            pub const ALL: &'static [Self] = &[$(Self::$method,)* Self::Other];

            /// The name; `other` for every other.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$method => $name,)*
                    Self::Other => "other",
                }
            }
        }
    };
}

methods! {
    Initialize = "initialize",
    Ping = "ping",
    Discover = "server/discover",
    SetLevel = "logging/setLevel",
    ListTools = "tools/list",
    CallTool = "tools/call",
    ListPrompts = "prompts/list",
    GetPrompt = "prompts/get",
    ListResources = "resources/list",
    ListResourceTemplates = "resources/templates/list",
    ReadResource = "resources/read",
    Subscribe = "resources/subscribe",
    Unsubscribe = "resources/unsubscribe",
    Complete = "completion/complete",
    Listen = "subscriptions/listen",
    GetTask = "tasks/get",
    UpdateTask = "tasks/update",
    CancelTask = "tasks/cancel",
}

impl Method {
    /// The method of this name.
    pub fn named(name: &str) -> Self {
        let mut all = Self::ALL.iter().copied();
        let found = all.find(|method| *method != Self::Other && method.as_str() == name);
        found.unwrap_or(Self::Other)
    }
}

/// A member of an object of a message.
pub fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    /// Up to here it costs less to look at each name than to hash one.
    const FEW: usize = 16;
    if object.len() > FEW {
        return object.get(name);
    }
    let mut members = object.iter();
    members.find_map(|(key, value)| (key == name).then_some(value))
}

/// The `_meta` object of a request's params.
pub fn meta(params: &Map<String, Value>) -> Option<&Map<String, Value>> {
    member(params, "_meta").and_then(Value::as_object)
}

/// A member of the `_meta` object of a request's params.
pub fn in_meta<'a>(params: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    member(meta(params)?, name)
}

/// A param that must be a string, such as the `name` of what is called.
///
/// # Errors
///
/// `-32602` without it.
pub fn text<'a>(params: &'a Map<String, Value>, name: &str) -> Result<&'a str, ErrorObject> {
    member(params, name).and_then(Value::as_str).ok_or_else(|| {
        ErrorObject::invalid_params(format!("Invalid params: \"{name}\" must be a string"))
    })
}

/// Name and version of an implementation: `serverInfo` and `clientInfo`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Implementation<'a> {
    /// The programmatic name.
    pub name: &'a str,
    /// The name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<&'a str>,
    /// The version of the implementation, not of the protocol.
    pub version: &'a str,
    /// Pictures for people. Since 2025-11-25.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub icons: &'a [Icon],
}

/// What a server can do, as `initialize` and `server/discover` say it. `None` is not offered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ServerCapabilities {
    /// `completion/complete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completions: Option<Offered>,
    /// Log messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<Offered>,
    /// Prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<Listed>,
    /// Resources and templates of resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Subscribable>,
    /// Tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Listed>,
    /// What is beyond the protocol itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Extensions>,
}

/// The extensions that a server can serve, by their names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Extensions {
    /// Calls that outlive their requests.
    #[serde(
        rename = "io.modelcontextprotocol/tasks",
        skip_serializing_if = "Option::is_none"
    )]
    pub tasks: Option<Offered>,
}

/// A capability without options: `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Offered {}

/// The capability to list things.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Clients are told when the list changes.
    #[serde(skip_serializing_if = "is_false")]
    pub list_changed: bool,
}

/// The capability to list things that change one by one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscribable {
    /// Clients are told when the list changes.
    #[serde(skip_serializing_if = "is_false")]
    pub list_changed: bool,
    /// Clients are told when one changes, if they ask for it.
    #[serde(skip_serializing_if = "is_false")]
    pub subscribe: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn is_false(value: &bool) -> bool {
    !value
}

/// One tool as `tools/list` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool<'a> {
    /// The name that `tools/call` takes.
    pub name: &'a str,
    /// The name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<&'a str>,
    /// What the tool does, for the model.
    pub description: &'a str,
    /// Pictures for people. Since 2025-11-25.
    #[serde(skip_serializing_if = "<[Icon]>::is_empty")]
    pub icons: &'a [Icon],
    /// JSON Schema 2020-12 of the arguments.
    pub input_schema: &'a Map<String, Value>,
    /// JSON Schema 2020-12 of the structured content. Since 2025-06-18.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<&'a Map<String, Value>>,
    /// What the tool does to its environment.
    pub annotations: ToolAnnotations,
}

/// Hints on what a tool does to its environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolAnnotations {
    /// The tool changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only_hint: Option<bool>,
    /// The tool may destroy something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destructive_hint: Option<bool>,
    /// A second call with the same arguments changes nothing more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotent_hint: Option<bool>,
    /// The tool reaches beyond a closed set of things.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_world_hint: Option<bool>,
}

/// The result of `tools/call`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallToolResult {
    /// What the tool said, for the model.
    pub content: Vec<Content>,
    /// What the tool said, for a program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structured_content: Option<Value>,
    /// The tool failed; the content says why.
    pub is_error: bool,
}

impl CallToolResult {
    /// A successful result.
    pub fn of(content: Vec<Content>) -> Self {
        Self {
            content,
            structured_content: None,
            is_error: false,
        }
    }

    /// A successful text result.
    pub fn text(text: impl Into<String>) -> Self {
        Self::of(vec![Content::text(text)])
    }

    /// A failure that the model can act on.
    pub fn error(text: impl Into<String>) -> Self {
        Self {
            is_error: true,
            ..Self::text(text)
        }
    }
}
