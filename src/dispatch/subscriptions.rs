//! What a client wants to hear of: `logging/setLevel`, `resources/subscribe`,
//! `resources/unsubscribe` and `subscriptions/listen`.

use serde_json::Value;

use super::{
    Context, InsufficientScope, Listening, Plan, Refusal, Wish, implementation, raw, resources,
    tasks,
};
use crate::protocol::jsonrpc::{ErrorObject, Request, encode_result};
use crate::protocol::logging::Level;
use crate::protocol::subscriptions::{self, Closed, Filter, MAX_URI_BYTES};

/// `logging/setLevel`.
pub(super) fn set_level(request: &Request) -> Result<Plan, ErrorObject> {
    let level = Level::read(&request.params, "level")?;
    Ok(Plan::Remember(Wish::LogLevel(level)))
}

/// `resources/subscribe`.
pub(super) fn subscribe(context: &Context<'_>, request: &Request) -> Result<Plan, Refusal> {
    let uri = uri(request)?;
    if resources::find(context.sight(), uri)?.is_none() {
        return Err(resources::not_found(context.era(), uri).into());
    }
    Ok(Plan::Remember(Wish::Subscribe(uri.to_owned())))
}

/// `resources/unsubscribe`. Of a resource that is not there any more too.
pub(super) fn unsubscribe(request: &Request) -> Result<Plan, ErrorObject> {
    let uri = uri(request)?;
    Ok(Plan::Remember(Wish::Unsubscribe(uri.to_owned())))
}

/// `subscriptions/listen`. What is not there is left out of what is acknowledged (MCP 2026-07-28,
/// Subscriptions, Acknowledgment).
pub(super) fn listen(context: &Context<'_>, request: &Request) -> Result<Plan, Refusal> {
    tasks::check_listening(context, &request.params)?;
    let mut filter = Filter::read(&request.params)?;
    let offered = super::capabilities(context);
    filter.tools_list_changed &= offered.tools.is_some_and(|tools| tools.list_changed);
    filter.prompts_list_changed &= offered.prompts.is_some_and(|prompts| prompts.list_changed);
    let offered = offered.resources;
    filter.resources_list_changed &= offered.is_some_and(|resources| resources.list_changed);
    retain_found(&mut filter.resource_subscriptions, context)?;
    let server = implementation(context.catalog);
    let last = raw(&Closed::new(&request.id, &server))?;
    Ok(Plan::Listen(Listening {
        first: subscriptions::acknowledged(&request.id, &filter),
        last: encode_result(&request.id, &last),
        id: request.id.clone(),
        filter,
    }))
}

/// Leaves out what is not there.
///
/// # Errors
///
/// For everything that the caller could read with a credential of more scopes.
fn retain_found(uris: &mut Vec<String>, context: &Context<'_>) -> Result<(), InsufficientScope> {
    let mut needed: Option<InsufficientScope> = None;
    uris.retain(|uri| match resources::find(context.sight(), uri) {
        Ok(found) => found.is_some(),
        Err(more) => {
            needed.get_or_insert_default().join(&more);
            false
        }
    });
    needed.map_or(Ok(()), Err)
}

fn uri(request: &Request) -> Result<&str, ErrorObject> {
    let uri = request.params.get("uri").and_then(Value::as_str);
    uri.filter(|uri| uri.len() <= MAX_URI_BYTES).ok_or_else(|| {
        ErrorObject::invalid_params(format!(
            "Invalid params: \"uri\" must be a string of at most {MAX_URI_BYTES} bytes"
        ))
    })
}
