//! What every tool is told of the call that it runs for.
//!
//! It comes from the caller of this request, never from a session, and goes into the environment
//! as data that nothing parses again. Credentials are not among it.

use std::ffi::OsString;

use super::CallRequest;

/// The variables of one call. What the caller lacks is empty, so that a tool which asks for it gets
/// nothing of the server's own environment. Definitions cannot set names that start with `MCP_`.
pub(super) fn variables(request: &CallRequest) -> Vec<(OsString, OsString)> {
    let caller = &request.caller;
    let identity = caller.principal.identity();
    let subject = identity.map(|identity| identity.subject.clone());
    let tenant = identity.and_then(|identity| identity.tenant.clone());
    let variables = [
        ("MCP_CALLER_SUBJECT", subject.unwrap_or_default()),
        ("MCP_CALLER_TENANT", tenant.unwrap_or_default()),
        ("MCP_CALLER_SCOPES", caller.scopes.join(" ")),
        ("MCP_REQUEST_ID", request.number.to_string()),
        ("MCP_TOOL_NAME", request.tool.name.clone()),
    ];
    variables
        .map(|(name, value)| (name.into(), value.into()))
        .into()
}
