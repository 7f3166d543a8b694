//! From the members of a message to what it is.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::protocol::jsonrpc::{
    ErrorObject, INVALID_REQUEST, MAX_ID_BYTES, Malformed, Message, Notification, Request,
    RequestId, Response, excerpt,
};

/// The top-level members as they were read, before they are judged.
#[derive(Default)]
pub(super) struct Envelope {
    pub(super) jsonrpc: Option<Value>,
    pub(super) id: Option<Box<RawValue>>,
    pub(super) method: Option<Value>,
    pub(super) params: Option<Value>,
    pub(super) result: Option<Value>,
    pub(super) error: Option<Value>,
    pub(super) confusable: Option<String>,
}

pub(super) const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

impl Envelope {
    pub(super) fn into_message(self) -> Result<Message, Malformed> {
        let has_id = self.id.is_some();
        let id = self.id.and_then(RequestId::from_raw);
        let invalid = |id: Option<RequestId>, text: String| Malformed {
            id,
            error: ErrorObject::new(INVALID_REQUEST, format!("Invalid request: {text}")),
        };
        if let Some(key) = self.confusable {
            let text = format!("\"{}\" is not a member of a message", excerpt(&key));
            return Err(invalid(id, text));
        }
        if self.jsonrpc.as_ref().and_then(Value::as_str) != Some("2.0") {
            return Err(invalid(id, "\"jsonrpc\" must be \"2.0\"".to_owned()));
        }
        if has_id && id.is_none() {
            let text =
                format!("\"id\" must be an integer or a string of at most {MAX_ID_BYTES} bytes");
            return Err(invalid(None, text));
        }
        let method = match self.method {
            Some(Value::String(method)) => method,
            Some(_) => return Err(invalid(id, "\"method\" must be a string".to_owned())),
            None if self.result.is_some() || self.error.is_some() => {
                let outcome = match self.error {
                    Some(error) => Err(error),
                    None => Ok(self.result.unwrap_or_default()),
                };
                return id
                    .map(|id| Message::Response(Response { id, outcome }))
                    .ok_or_else(|| invalid(None, "a response needs an \"id\"".to_owned()));
            }
            None => return Err(invalid(id, "\"method\" is missing".to_owned())),
        };
        let params = match self.params {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(params)) => params,
            Some(_) => {
                return Err(Malformed {
                    id,
                    error: ErrorObject::invalid_params(
                        "Invalid params: \"params\" must be an object",
                    ),
                });
            }
        };
        match id {
            Some(id) if method.starts_with("notifications/") => {
                Err(invalid(Some(id), "a notification has no \"id\"".to_owned()))
            }
            Some(id) => Ok(Message::Request(Request { id, method, params })),
            None => Ok(Message::Notification(Notification { method, params })),
        }
    }
}
