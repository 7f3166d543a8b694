//! What this server says that it can do.

use super::Context;
use crate::protocol::mcp::{Listed, ServerCapabilities};

/// The capabilities of this server, for `initialize` and `server/discover`: tools always, and the
/// rest as far as the file has it.
pub(super) fn capabilities(_context: &Context<'_>) -> ServerCapabilities {
    ServerCapabilities {
        tools: Some(Listed::default()),
        ..ServerCapabilities::default()
    }
}
