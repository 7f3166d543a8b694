//! What this server says that it can do.

use super::{Context, tasks};
use crate::catalog::Catalog;
use crate::protocol::mcp::{Extensions, Listed, Offered, ServerCapabilities, Subscribable};

/// The capabilities of this server, for `initialize` and `server/discover`: tools always, and the
/// rest as far as the file has it.
pub(super) fn capabilities(context: &Context<'_>) -> ServerCapabilities {
    let catalog = context.catalog;
    let has_resources = !catalog.resources().is_empty() || !catalog.templates().is_empty();
    let list_changed = context.hears_changes;
    let listed = Listed { list_changed };
    ServerCapabilities {
        completions: completes(catalog).then(Offered::default),
        logging: Some(Offered {}),
        prompts: (!catalog.prompts().is_empty()).then_some(listed),
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
    let has_tasks = context.keeps_tasks && tasks::are_served(context.catalog);
    has_tasks.then(|| Extensions {
        tasks: Some(Offered::default()),
    })
}

fn completes(catalog: &Catalog) -> bool {
    let mut prompts = catalog.prompts().iter();
    let mut templates = catalog.templates().iter();
    prompts.any(|prompt| prompt.completions.has_any())
        || templates.any(|template| template.completions.has_any())
}
