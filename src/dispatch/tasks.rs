//! What the tasks extension adds to 2026-07-28: calls that become tasks, and requests about them.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Call, Context, Plan, call_result, complete, implementation, raw};
use crate::catalog::{self, Catalog};
use crate::protocol::capabilities::Capability;
use crate::protocol::input::missing_capabilities;
use crate::protocol::jsonrpc::{ErrorObject, Request};
use crate::protocol::mcp::CallToolResult;
use crate::protocol::modern::{self, ModernResult};
use crate::protocol::tasks::{self, DetailedTask, Task};
use crate::protocol::version::Era;

/// A request about a task.
#[derive(Debug)]
pub struct TaskRequest {
    /// What names the task, as the client wrote it.
    pub id: String,
    /// What it wants.
    pub action: TaskAction,
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

/// True if a tool can be called as a task, and so the extension is served.
pub(super) fn are_served(catalog: &Catalog) -> bool {
    catalog.tools().any(|tool| tool.task.is_some())
}

/// Plans a call that can be run: as a task if tool and client agree, else plainly.
pub(super) fn plan_call(context: &Context<'_>, mut call: Call) -> Plan {
    let is_offered = call.client.capabilities.has(Capability::Tasks);
    match call.tool.task {
        Some(catalog::Task::Required) if !is_offered => refuse(context, &call),
        task => {
            call.is_task = is_offered && task.is_some();
            Plan::Call(call)
        }
    }
}

/// Refuses a client that cannot come back for the result. The model of a legacy client is told, since
/// the revisions before know no error for it.
fn refuse(context: &Context<'_>, call: &Call) -> Plan {
    if context.era == Era::Modern {
        return Plan::Reply(Err(missing_capabilities(&[Capability::Tasks])));
    }
    let text = format!(
        "{} runs as a task only, which needs a client of MCP 2026-07-28 with the extension {}",
        call.tool.name,
        tasks::EXTENSION
    );
    let refused = call_result(context.era, CallToolResult::error(text), context.catalog);
    Plan::Refused(call.tool.clone(), refused)
}

/// Plans a request about a task. Without the extension there is no such method.
pub(super) fn plan(context: &Context<'_>, request: &mut Request) -> Result<Plan, ErrorObject> {
    if !are_served(context.catalog) {
        return Err(ErrorObject::method_not_found(&request.method));
    }
    if !modern::client_capabilities(&request.params).has(Capability::Tasks) {
        return Err(missing_capabilities(&[Capability::Tasks]));
    }
    let id = tasks::task_id(&request.params)?.to_owned();
    let action = match request.method.as_str() {
        "tasks/get" => TaskAction::Get,
        "tasks/update" => TaskAction::Update(tasks::take_input_responses(&mut request.params)?),
        "tasks/cancel" => TaskAction::Cancel,
        method => return Err(ErrorObject::method_not_found(method)),
    };
    Ok(Plan::Task(TaskRequest { id, action }))
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
