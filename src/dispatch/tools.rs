//! `tools/list` and `tools/call`.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::page::page;
use super::{Call, Context, Purpose, Refusal, cacheable, input, take_arguments, visible};
use crate::catalog::{Tool, Work};
use crate::protocol::jsonrpc::{ErrorObject, Request, excerpt};
use crate::protocol::mcp::{self, CallToolResult, ToolAnnotations};
use crate::protocol::progress::ProgressToken;
use crate::protocol::version::Era;

pub(super) fn list(context: &Context<'_>, request: &Request) -> Result<Box<RawValue>, ErrorObject> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ListToolsResult<'a> {
        tools: Vec<mcp::Tool<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_cursor: Option<String>,
    }
    let page = page(context, request, &context.tools())?;
    let result = ListToolsResult {
        tools: (page.items.into_iter())
            .map(|tool| listed(context.era(), tool))
            .collect(),
        next_cursor: page.next_cursor,
    };
    cacheable(context, &result, context.list_caching())
}

/// What tells a tool, as it is listed in either era, from another.
pub(super) fn digest(tool: &Tool) -> u64 {
    visible::digest(&[listed(Era::Legacy, tool), listed(Era::Modern, tool)])
}

fn listed(era: Era, tool: &Tool) -> mcp::Tool<'_> {
    // Up to 2025-11-25 structured content is an object, and clients refuse a list with a schema for
    // anything else.
    let is_listed = |schema: &&Map<String, Value>| {
        era == Era::Modern || schema.get("type").is_some_and(|kind| kind == "object")
    };
    mcp::Tool {
        name: &tool.name,
        title: tool.title.as_deref(),
        description: &tool.description,
        icons: &tool.icons,
        input_schema: tool.input_schema(),
        output_schema: tool.output.schema().filter(is_listed),
        annotations: ToolAnnotations {
            read_only_hint: tool.annotations.read_only,
            destructive_hint: tool.annotations.destructive,
            idempotent_hint: tool.annotations.idempotent,
            open_world_hint: tool.annotations.open_world,
        },
    }
}

/// What becomes of a call of a tool.
pub(super) enum Called {
    /// It runs.
    Runs(Box<Call>),
    /// Its result is known, and in a few words for the log how that came.
    Answered(Arc<Tool>, CallToolResult, &'static str),
}

/// Finds the tool and checks its arguments. Arguments that break its rules are a *result*, so that
/// the model can correct them; a request that is malformed is an error.
pub(super) fn call(context: &Context<'_>, request: &mut Request) -> Result<Called, Refusal> {
    let arguments = take_arguments(request)?;
    let name = mcp::text(&request.params, "name")?;
    let progress_token = ProgressToken::read(&request.params)?;
    let caller = context.caller;
    let tool = (context.tools().get(name)?)
        .ok_or_else(|| ErrorObject::invalid_params(format!("Unknown tool: {}", excerpt(name))))?;
    let client = input::client(context, request, (name, tool), arguments.as_ref())?;
    if let Some(missing) = input::missing(context.era(), &tool.needs, &client)? {
        let (result, how) = (CallToolResult::error(missing), "missing client capability");
        return Ok(Called::Answered(Arc::clone(tool), result, how));
    }
    let work = tool.arguments(arguments, caller).and_then(|arguments| {
        let work = tool.is_fixed().then(|| tool.work(&arguments, caller));
        Ok((arguments, work.transpose()?))
    });
    let (result, how) = match work {
        Ok((_, Some(Work::Answer(fixed)))) => (CallToolResult::of(fixed), "ok"),
        Ok((arguments, _)) => {
            return Ok(Called::Runs(Box::new(Call {
                purpose: Purpose::Tool,
                tool: Arc::clone(tool),
                arguments,
                caller: Arc::clone(caller),
                catalog: Arc::clone(context.catalog),
                progress_token,
                client,
            })));
        }
        Err(error) => (
            CallToolResult::error(error.to_string()),
            "invalid arguments",
        ),
    };
    Ok(Called::Answered(Arc::clone(tool), result, how))
}

/// The headers that must repeat arguments of a call, with the arguments as they arrived.
pub(super) fn mirrored<'a>(
    context: &Context<'a>,
    request: &'a Request,
) -> Option<impl Iterator<Item = (&'a str, Option<&'a Value>)>> {
    if request.method != "tools/call" {
        return None;
    }
    let name = mcp::member(&request.params, "name")?.as_str()?;
    let tool = context.tools().get(name).ok()??;
    let arguments = mcp::member(&request.params, "arguments").and_then(Value::as_object);
    Some(tool.mirrored().iter().map(move |mirrored| {
        let argument = arguments.and_then(|arguments| mirrored.value(arguments));
        (mirrored.header.as_str(), argument)
    }))
}
