//! What every tool is told of the call that it runs for.
//!
//! It comes from the caller of this request, never from a session, and goes into the environment
//! as data that nothing parses again. Credentials are not among it.

use std::ffi::OsString;

use super::call_task::CallTask;

/// The variable with the number of the call.
pub(super) const CALL_NUMBER: &str = "MCP_REQUEST_ID";

/// Sets variables; each name stands once.
pub(super) fn set(environment: &mut Vec<(OsString, OsString)>, variables: &[(OsString, OsString)]) {
    environment.retain(|(name, _)| !variables.iter().any(|(ours, _)| ours == name));
    environment.extend_from_slice(variables);
}

/// The variables of one call. What the caller lacks is empty, so that a tool which asks for it gets
/// nothing of the server's own environment. Definitions cannot set names that start with `MCP_`.
pub(super) fn variables(call: &CallTask) -> Vec<(OsString, OsString)> {
    let (caller, from) = (&call.caller, &call.from);
    let mut variables = vec![
        ("MCP_CALLER_ISSUER", caller.issuer().to_owned()),
        ("MCP_CALLER_SUBJECT", caller.subject().to_owned()),
        ("MCP_CALLER_TENANT", caller.tenant().to_owned()),
        ("MCP_CALLER_SCOPES", caller.scopes_text()),
        (CALL_NUMBER, call.number.to_string()),
        ("MCP_TOOL_NAME", call.tool.name.clone()),
        ("MCP_SESSION_HASH", from.session.clone().unwrap_or_default()),
        ("MCP_PROTOCOL_VERSION", from.version.as_str().to_owned()),
        (
            "MCP_CLIENT_CAPABILITIES",
            from.capabilities.as_json().to_owned(),
        ),
    ];
    if let Some(trace) = &from.trace {
        variables.push(("TRACEPARENT", trace.parent.clone()));
        variables.extend(trace.state.clone().map(|state| ("TRACESTATE", state)));
    }
    let variables = variables.into_iter();
    variables
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}
