//! What this server says that it can do.

use super::{Context, tasks};
use crate::protocol::mcp::{Extensions, Listed, Offered, ServerCapabilities};
use crate::protocol::version::Era;

/// The capabilities of this server, for `initialize` and `server/discover`: tools always, and the
/// rest as far as the file has it.
pub(super) fn capabilities(context: &Context<'_>) -> ServerCapabilities {
    ServerCapabilities {
        logging: Some(Offered {}),
        tools: Some(Listed {
            list_changed: context.hears_changes,
        }),
        extensions: extensions(context),
        ..ServerCapabilities::default()
    }
}

/// The extensions that are served, which only 2026-07-28 has.
fn extensions(context: &Context<'_>) -> Option<Extensions> {
    let has_tasks = context.era == Era::Modern && tasks::are_served(context.catalog);
    has_tasks.then(|| Extensions {
        tasks: Some(Offered::default()),
    })
}
