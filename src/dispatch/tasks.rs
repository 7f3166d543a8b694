//! What the tasks extension adds to 2026-07-28: calls that become tasks, and requests about them.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Call, Context, Plan, complete, implementation, raw};
use crate::catalog::Catalog;
use crate::protocol::capabilities::Capability;
use crate::protocol::input::missing_capabilities;
use crate::protocol::jsonrpc::{ErrorObject, Request};
use crate::protocol::modern::{self, ModernResult};
use crate::protocol::tasks::{self, DetailedTask, Task};

/// A request about a task.
#[derive(Debug)]
pub struct TaskRequest {
    /// What names the task, as the client wrote it.
    pub id: String,
    /// What it wants.
    pub action: TaskAction,
    /// The caller can call a tool as a task. If not, there may be tasks of earlier definitions.
    pub is_served: bool,
}

/// What a client wants with a task.
#[derive(Debug, PartialEq)]
pub enum TaskAction {
    /// `tasks/get`: to see it.
    Get,
    /// `tasks/update`: to answer what it asks.
    Update(Map<String, Value>),
    /// `tasks/cancel`: to give it up.
    Cancel,
}

/// True if the caller can call a tool as a task, and so the extension is served.
pub(super) fn are_served(context: &Context<'_>) -> bool {
    context.tools().iter().any(|tool| tool.task.is_some())
}

impl Call {
    /// True if it becomes a task: its tool may be one, and its client offers to come back. A client
    /// that does not is refused before, if the tool must be one.
    pub fn is_task(&self) -> bool {
        self.tool.task.is_some() && self.client.capabilities.has(Capability::Tasks)
    }
}

/// Plans a request about a task. Without the extension there is no such method, except for tasks that
/// earlier definitions left.
pub(super) fn plan(context: &Context<'_>, request: &mut Request) -> Result<Plan, ErrorObject> {
    let is_served = are_served(context);
    let unknown = ErrorObject::method_not_found(&request.method);
    if !modern::client_capabilities(&request.params).has(Capability::Tasks) {
        let missing = missing_capabilities(&[Capability::Tasks]);
        return Err(if is_served { missing } else { unknown });
    }
    match read(request, is_served) {
        Err(_) if !is_served => Err(unknown),
        wanted => wanted.map(Plan::Task),
    }
}

fn read(request: &mut Request, is_served: bool) -> Result<TaskRequest, ErrorObject> {
    let id = tasks::task_id(&request.params)?.to_owned();
    let action = match request.method.as_str() {
        "tasks/get" => TaskAction::Get,
        "tasks/update" => TaskAction::Update(tasks::take_input_responses(&mut request.params)?),
        "tasks/cancel" => TaskAction::Cancel,
        method => return Err(ErrorObject::method_not_found(method)),
    };
    Ok(TaskRequest {
        id,
        action,
        is_served,
    })
}

/// Refuses a client that wants to listen to tasks without the extension (SEP-2663, Task Status
/// Notifications: MUST). One with it is acknowledged without them, and goes on asking.
pub(super) fn check_listening(
    context: &Context<'_>,
    params: &Map<String, Value>,
) -> Result<(), ErrorObject> {
    let filter = params.get("notifications");
    let wants_tasks = filter.is_some_and(|filter| filter.get("taskIds").is_some());
    let can = modern::client_capabilities(params).has(Capability::Tasks);
    if wants_tasks && !can && are_served(context) {
        return Err(missing_capabilities(&[Capability::Tasks]));
    }
    Ok(())
}

/// Encodes the answer to a call that became a task.
///
/// # Errors
///
/// `-32603` if it cannot be encoded, as below.
pub fn created(task: &Task, catalog: &Catalog) -> Result<Box<RawValue>, ErrorObject> {
    raw(&ModernResult::task(task, &implementation(catalog)))
}

/// Encodes the result of `tasks/get`.
///
/// # Errors
///
/// `-32603` if it cannot be encoded.
pub fn seen(task: &DetailedTask, catalog: &Catalog) -> Result<Box<RawValue>, ErrorObject> {
    complete(task, None, catalog)
}

/// Encodes the result of `tasks/update` and `tasks/cancel`.
///
/// # Errors
///
/// `-32603` if it cannot be encoded.
pub fn acknowledged(catalog: &Catalog) -> Result<Box<RawValue>, ErrorObject> {
    complete(&json!({}), None, catalog)
}
