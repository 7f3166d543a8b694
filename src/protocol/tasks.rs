//! The extension `io.modelcontextprotocol/tasks` (SEP-2663) of 2026-07-28: a call that outlives its
//! request. Its client gets a handle, and comes back for the result.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::jsonrpc::ErrorObject;
use super::mcp;

/// The name of the extension.
pub const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// What a task is doing, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It runs.
    Working,
    /// It waits for answers of its client.
    InputRequired,
    /// It has a result, good or bad.
    Completed,
    /// A JSON-RPC error ended it.
    Failed,
    /// Its client cancelled it.
    Cancelled,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::Working,
        Self::InputRequired,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The status as the wire says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::InputRequired => "input_required",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A task, as the answer to the call that created it has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Names the task; whoever has it and is its owner may use the task.
    pub task_id: String,
    /// What it is doing.
    pub status: Status,
    /// More about that, for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
    /// When it was created, in ISO 8601.
    pub created_at: String,
    /// When anything about it changed last, in ISO 8601.
    pub last_updated_at: String,
    /// For how long it is kept, in milliseconds from its creation.
    pub ttl_ms: u64,
    /// How long to wait before the next look at it, in milliseconds.
    pub poll_interval_ms: u64,
}

/// A task with what its status comes with: the result of `tasks/get`.
#[derive(Debug, Clone, Serialize)]
pub struct DetailedTask {
    /// The task.
    #[serde(flatten)]
    pub task: Task,
    /// What its status comes with.
    #[serde(flatten)]
    pub detail: Option<Detail>,
}

/// What the status of a task comes with.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Detail {
    /// The requests that its client has to answer, under their keys.
    InputRequests(Map<String, Value>),
    /// What its call would have been answered with.
    Result(Arc<RawValue>),
    /// The error that its call would have been answered with.
    Error(ErrorObject),
}

/// Reads the id of the task that a request is about.
///
/// # Errors
///
/// `-32602` without one.
pub fn task_id(params: &Map<String, Value>) -> Result<&str, ErrorObject> {
    mcp::text(params, "taskId")
}

/// Takes the answers out of the params of `tasks/update`.
///
/// # Errors
///
/// `-32602` without them.
pub fn take_input_responses(
    params: &mut Map<String, Value>,
) -> Result<Map<String, Value>, ErrorObject> {
    match params.remove("inputResponses") {
        Some(Value::Object(responses)) => Ok(responses),
        _ => Err(ErrorObject::invalid_params(
            "Invalid params: \"inputResponses\" must be an object",
        )),
    }
}

/// `-32602` for an id that names no task of the caller. What somebody else has, what has expired
/// and what never was look the same.
pub fn unknown_task() -> ErrorObject {
    ErrorObject::invalid_params("Invalid params: there is no such task, or it has expired")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_task_has_what_its_status_comes_with() {
        let task = |status| Task {
            task_id: "t".to_owned(),
            status,
            status_message: None,
            created_at: "2026-07-28T00:00:00.000Z".to_owned(),
            last_updated_at: "2026-07-28T00:00:01.000Z".to_owned(),
            ttl_ms: 5,
            poll_interval_ms: 500,
        };
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap().into();
        let requests = json!({"k": {"method": "roots/list"}});
        let requests = requests.as_object().unwrap().clone();
        let cases = [
            (Status::Working, None, "", json!(null)),
            (
                Status::InputRequired,
                Some(Detail::InputRequests(requests.clone())),
                "inputRequests",
                Value::Object(requests),
            ),
            (
                Status::Completed,
                Some(Detail::Result(raw(r#"{"content":[]}"#))),
                "result",
                json!({"content": []}),
            ),
            (
                Status::Failed,
                Some(Detail::Error(ErrorObject::new(-32603, "no"))),
                "error",
                json!({"code": -32603, "message": "no"}),
            ),
            (Status::Cancelled, None, "", json!(null)),
        ];
        for (status, detail, key, value) in cases {
            let task = task(status);
            let mut expected = json!({
                "taskId": "t", "status": status.as_str(),
                "createdAt": "2026-07-28T00:00:00.000Z",
                "lastUpdatedAt": "2026-07-28T00:00:01.000Z",
                "ttlMs": 5, "pollIntervalMs": 500,
            });
            if !key.is_empty() {
                expected[key] = value;
            }
            let text = serde_json::to_string(&DetailedTask { task, detail }).unwrap();
            let encoded: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(encoded, expected);
        }
    }

    #[test]
    fn requests_about_tasks_name_one() {
        let params = json!({"taskId": "a", "inputResponses": {"k": 1}});
        let mut params = params.as_object().unwrap().clone();
        assert_eq!(task_id(&params).unwrap(), "a");
        let responses = take_input_responses(&mut params).unwrap();
        assert_eq!(Value::Object(responses), json!({"k": 1}));
        for params in [
            json!({}),
            json!({"taskId": 1, "inputResponses": null}),
            json!({"inputResponses": []}),
        ] {
            let mut params = params.as_object().unwrap().clone();
            assert_eq!(task_id(&params).unwrap_err().code, -32602);
            let responses = take_input_responses(&mut params);
            assert_eq!(responses.unwrap_err().code, -32602);
        }
    }
}
