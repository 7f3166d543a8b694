//! Subscriptions: what a client wants to hear of, and the notifications that tell it.
//!
//! A legacy session hears of every list, and of the resources that it subscribed to. A modern client
//! opens a stream with `subscriptions/listen` and says what it wants there; each message on it names
//! the request that opened it (MCP 2026-07-28, Subscriptions).

use serde::Serialize;
use serde_json::{Map, Value};

use super::jsonrpc::{self, ErrorObject, RequestId};
use super::mcp::{Implementation, is_false};

/// The most resources that one request can name.
pub const MAX_URIS: usize = 1000;

/// The longest URI that is remembered, in bytes. Those of templates are the client's own.
pub const MAX_URI_BYTES: usize = 2048;

/// What a client of 2026-07-28 wants to hear of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// Changes of the list of tools.
    #[serde(skip_serializing_if = "is_false")]
    pub tools_list_changed: bool,
    /// Changes of the list of prompts.
    #[serde(skip_serializing_if = "is_false")]
    pub prompts_list_changed: bool,
    /// Changes of the list of resources.
    #[serde(skip_serializing_if = "is_false")]
    pub resources_list_changed: bool,
    /// Changes of the resources with these URIs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_subscriptions: Vec<String>,
}

impl Filter {
    /// Reads the params of `subscriptions/listen`.
    ///
    /// # Errors
    ///
    /// `-32602` for what is no filter, or names more than [`MAX_URIS`] resources.
    pub fn read(params: &Map<String, Value>) -> Result<Self, ErrorObject> {
        let filter = params
            .get("notifications")
            .and_then(Value::as_object)
            .ok_or_else(|| invalid("notifications", "an object"))?;
        Ok(Self {
            tools_list_changed: flag(filter, "toolsListChanged")?,
            prompts_list_changed: flag(filter, "promptsListChanged")?,
            resources_list_changed: flag(filter, "resourcesListChanged")?,
            resource_subscriptions: uris(filter)?,
        })
    }
}

fn invalid(name: &str, kind: &str) -> ErrorObject {
    ErrorObject::invalid_params(format!("Invalid params: \"{name}\" must be {kind}"))
}

fn flag(filter: &Map<String, Value>, name: &str) -> Result<bool, ErrorObject> {
    match filter.get(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(invalid(name, "true or false")),
    }
}

fn uris(filter: &Map<String, Value>) -> Result<Vec<String>, ErrorObject> {
    const NAME: &str = "resourceSubscriptions";
    let kind = format!("an array of URIs of at most {MAX_URI_BYTES} bytes");
    let no_uris = || invalid(NAME, &kind);
    let uris = match filter.get(NAME) {
        None => return Ok(Vec::new()),
        Some(Value::Array(uris)) => uris,
        Some(_) => return Err(no_uris()),
    };
    if uris.len() > MAX_URIS {
        return Err(invalid(NAME, &format!("at most {MAX_URIS} URIs")));
    }
    let short = |uri: &&str| uri.len() <= MAX_URI_BYTES;
    uris.iter()
        .map(|uri| uri.as_str().filter(short).map(str::to_owned))
        .map(|uri| uri.ok_or_else(no_uris))
        .collect()
}

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notification<'a> {
    /// The list of tools has changed.
    ToolsListChanged,
    /// The list of prompts has changed.
    PromptsListChanged,
    /// The list of resources, or of their templates, has changed.
    ResourcesListChanged,
    /// What the resource with this URI holds has changed.
    ResourceUpdated(&'a str),
}

/// Names the request that opened a stream.
#[derive(Serialize)]
struct Meta<'a> {
    #[serde(rename = "io.modelcontextprotocol/subscriptionId")]
    subscription: &'a RequestId,
}

impl Notification<'_> {
    /// Encodes the notification as one line of compact JSON, for the stream that a request opened or
    /// for that of a legacy session.
    pub fn encode(self, subscription: Option<&RequestId>) -> Vec<u8> {
        #[derive(Serialize)]
        struct Params<'a> {
            #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
            meta: Option<Meta<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            uri: Option<&'a str>,
        }
        let (method, uri) = match self {
            Self::ToolsListChanged => ("notifications/tools/list_changed", None),
            Self::PromptsListChanged => ("notifications/prompts/list_changed", None),
            Self::ResourcesListChanged => ("notifications/resources/list_changed", None),
            Self::ResourceUpdated(uri) => ("notifications/resources/updated", Some(uri)),
        };
        let meta = subscription.map(|subscription| Meta { subscription });
        jsonrpc::encode_notification(method, &Params { meta, uri })
    }
}

/// Encodes the first message of a stream: what is told on it.
pub fn acknowledged(subscription: &RequestId, notifications: &Filter) -> Vec<u8> {
    #[derive(Serialize)]
    struct Params<'a> {
        #[serde(rename = "_meta")]
        meta: Meta<'a>,
        notifications: &'a Filter,
    }
    let meta = Meta { subscription };
    jsonrpc::encode_notification(
        "notifications/subscriptions/acknowledged",
        &Params {
            meta,
            notifications,
        },
    )
}

/// Encodes what tells a client of the end of a stream where the stream has no connection of its own
/// (MCP 2026-07-28, Cancellation: MUST send on stdio).
pub fn torn_down(subscription: &RequestId) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Params<'a> {
        request_id: &'a RequestId,
        reason: &'static str,
    }
    let params = Params {
        request_id: subscription,
        reason: "the server is shutting down",
    };
    jsonrpc::encode_notification("notifications/cancelled", &params)
}

/// The result of the request that opened a stream, when the server ends it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Closed<'a> {
    result_type: &'static str,
    #[serde(rename = "_meta")]
    meta: ClosedMeta<'a>,
}

#[derive(Debug, Serialize)]
struct ClosedMeta<'a> {
    #[serde(rename = "io.modelcontextprotocol/subscriptionId")]
    subscription: &'a RequestId,
    #[serde(rename = "io.modelcontextprotocol/serverInfo")]
    server: &'a Implementation<'a>,
}

impl<'a> Closed<'a> {
    /// The result of the request with this id.
    pub fn new(subscription: &'a RequestId, server: &'a Implementation<'a>) -> Self {
        Self {
            result_type: "complete",
            meta: ClosedMeta {
                subscription,
                server,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::jsonrpc::{Body, INVALID_PARAMS, Message, parse};

    fn id(id: &Value) -> RequestId {
        let body = json!({"jsonrpc": "2.0", "id": id, "method": "m"});
        match parse(body.to_string().as_bytes()) {
            Ok(Body::Message(Message::Request(request))) => request.id,
            other => panic!("{other:?}"),
        }
    }

    fn message(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_filter_is_what_was_asked_for() {
        let all = json!({"toolsListChanged": true, "promptsListChanged": true,
            "resourcesListChanged": true, "resourceSubscriptions": ["a:b", "c:d"]});
        let cases = [
            (json!({}), json!({})),
            (all.clone(), all),
            (
                json!({"toolsListChanged": false, "resourceSubscriptions": [], "other": 7}),
                json!({}),
            ),
            (
                json!({"promptsListChanged": true}),
                json!({"promptsListChanged": true}),
            ),
        ];
        for (asked, expected) in cases {
            let params = json!({"notifications": asked});
            let filter = Filter::read(params.as_object().unwrap()).unwrap();
            assert_eq!(json!(filter), expected, "{asked}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let many: Vec<_> = (0..=MAX_URIS).map(|number| number.to_string()).collect();
        let cases = [
            json!({}),
            json!({"notifications": null}),
            json!({"notifications": []}),
            json!({"notifications": {"toolsListChanged": 1}}),
            json!({"notifications": {"promptsListChanged": null}}),
            json!({"notifications": {"resourcesListChanged": "yes"}}),
            json!({"notifications": {"resourceSubscriptions": "a:b"}}),
            json!({"notifications": {"resourceSubscriptions": [1]}}),
            json!({"notifications": {"resourceSubscriptions": many}}),
            json!({"notifications": {"resourceSubscriptions": ["x".repeat(MAX_URI_BYTES + 1)]}}),
        ];
        for params in cases {
            let error = Filter::read(params.as_object().unwrap()).unwrap_err();
            assert_eq!(error.code, INVALID_PARAMS, "{params}");
        }
        let params = json!({"notifications": {"resourceSubscriptions": many[1..]}});
        assert!(Filter::read(params.as_object().unwrap()).is_ok());
    }

    #[test]
    fn each_message_of_a_stream_names_the_request_that_opened_it() {
        let string = id(&json!("a\"b"));
        let number = id(&json!(7));
        assert_eq!(
            message(Notification::ToolsListChanged.encode(None)),
            r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{}}"#
        );
        assert_eq!(
            message(Notification::PromptsListChanged.encode(Some(&number))),
            r#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":7}}}"#
        );
        assert_eq!(
            message(Notification::ResourceUpdated("a:\n").encode(Some(&string))),
            r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"a\"b"},"uri":"a:\n"}}"#
        );
        let filter = Filter {
            resources_list_changed: true,
            ..Filter::default()
        };
        assert_eq!(
            message(acknowledged(&string, &filter)),
            r#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"a\"b"},"notifications":{"resourcesListChanged":true}}}"#
        );
        let server = Implementation {
            name: "s",
            title: None,
            version: "1",
            icons: &[],
        };
        assert_eq!(
            serde_json::to_string(&Closed::new(&number, &server)).unwrap(),
            r#"{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":7,"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}}}"#
        );
    }
}
