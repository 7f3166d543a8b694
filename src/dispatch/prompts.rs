//! `prompts/list` and `prompts/get`.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use super::page::page;
use super::{
    Context, Plan, Purpose, Refusal, cacheable, input, invalid_arguments, perform, take_arguments,
    visible,
};
use crate::catalog::{Prompt, PromptArgument};
use crate::protocol::jsonrpc::{ErrorObject, Request, excerpt};
use crate::protocol::{mcp, prompts};

pub(super) fn list(context: &Context<'_>, request: &Request) -> Result<Box<RawValue>, ErrorObject> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ListPromptsResult<'a> {
        prompts: Vec<prompts::Prompt<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_cursor: Option<String>,
    }
    let page = page(context, request, &context.prompts())?;
    let result = ListPromptsResult {
        prompts: page
            .items
            .into_iter()
            .map(|prompt| listed(prompt))
            .collect(),
        next_cursor: page.next_cursor,
    };
    cacheable(context, &result, context.list_caching())
}

/// What tells a prompt, as it is listed, from another.
pub(super) fn digest(prompt: &Prompt) -> u64 {
    visible::digest(&listed(prompt))
}

fn listed(prompt: &Prompt) -> prompts::Prompt<'_> {
    prompts::Prompt {
        name: &prompt.name,
        title: prompt.title.as_deref(),
        description: &prompt.description,
        icons: &prompt.icons,
        arguments: prompt.arguments().map(argument).collect(),
    }
}

fn argument(argument: PromptArgument<'_>) -> prompts::Argument<'_> {
    prompts::Argument {
        name: argument.name(),
        title: argument.title(),
        description: argument.description(),
        required: argument.is_required(),
    }
}

/// Finds the prompt and checks its arguments. They come from a person, so that what is wrong with
/// them is an error and no result.
pub(super) fn get(context: &Context<'_>, request: &mut Request) -> Result<Plan, Refusal> {
    let arguments = take_arguments(request)?;
    let name = mcp::text(&request.params, "name")?;
    let prompt = context.prompts().get(name)?;
    let prompt = prompt.ok_or_else(|| unknown(name))?;
    let client = input::client(context, request, (name, &prompt.tool), arguments.as_ref())?;
    let arguments = prompt.tool.arguments(arguments, context.caller);
    let arguments = arguments.map_err(|error| invalid_arguments(&error))?;
    let purpose = Purpose::Prompt(Arc::clone(prompt));
    let plan = perform(context, request, &prompt.tool, arguments, (purpose, client))?;
    Ok(plan)
}

pub(super) fn unknown(name: &str) -> ErrorObject {
    ErrorObject::invalid_params(format!("Unknown prompt: {}", excerpt(name)))
}
