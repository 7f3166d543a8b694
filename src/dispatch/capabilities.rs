//! What this server says that it can do.

use super::Context;
use crate::protocol::mcp::{Listed, Offered, ServerCapabilities};

/// The capabilities of this server, for `initialize` and `server/discover`: tools always, and the
/// rest as far as the file has it.
pub(super) fn capabilities(context: &Context<'_>) -> ServerCapabilities {
    ServerCapabilities {
        logging: Some(Offered {}),
        tools: Some(Listed {
            list_changed: context.hears_changes,
        }),
        ..ServerCapabilities::default()
    }
}
