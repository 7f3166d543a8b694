//! What this server says that it can do.

use std::sync::Arc;

use super::{Context, tasks};
use crate::catalog::{Overflow, Tool};
use crate::protocol::mcp::{Extensions, Listed, Offered, ServerCapabilities, Subscribable};

/// The capabilities of this server, for `initialize` and `server/discover`: tools always, and the
/// rest as far as there is something of it for the caller.
pub(super) fn capabilities(context: &Context<'_>) -> ServerCapabilities {
    let links = |tool: &Arc<Tool>| tool.output.on_overflow == Overflow::Resource;
    let has_resources = !context.resources().is_empty()
        || !context.templates().is_empty()
        || context.tools().iter().any(links);
    let list_changed = context.hears_changes;
    let listed = Listed { list_changed };
    ServerCapabilities {
        completions: completes(context).then(Offered::default),
        logging: Some(Offered {}),
        prompts: (!context.prompts().is_empty()).then_some(listed),
        resources: has_resources.then_some(Subscribable {
            subscribe: context.hears_changes,
            list_changed,
        }),
        tools: Some(listed),
        extensions: extensions(context),
    }
}

/// The extensions that are served, which only 2026-07-28 has.
fn extensions(context: &Context<'_>) -> Option<Extensions> {
    let has_tasks = context.keeps_tasks && tasks::are_served(context);
    has_tasks.then(|| Extensions {
        tasks: Some(Offered::default()),
    })
}

fn completes(context: &Context<'_>) -> bool {
    let mut prompts = context.prompts().iter();
    let mut templates = context.templates().iter();
    prompts.any(|prompt| prompt.completions.has_any())
        || templates.any(|template| template.completions.has_any())
}
