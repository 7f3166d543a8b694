//! `list`: what is served, in lines or as JSON.

use std::sync::Arc;

use serde::Serialize;

use super::{Setup, caller, table};
use crate::auth::Caller;
use crate::catalog::{Access, Annotations, Catalog, Guarded, List};
use crate::cli;
use crate::console;
use crate::failure::Failure;

/// Prints what is served.
pub(super) fn run(options: &cli::List, setup: &Setup) -> Result<u8, Failure> {
    let (caller, grants) = caller::find(options.subject.as_deref(), setup)?;
    let catalog = setup.catalog(grants)?;
    let items = items(&catalog, caller.as_deref());
    if options.json {
        let text = serde_json::to_string_pretty(&items).unwrap_or_default();
        console::print(text + "\n")?;
        return Ok(crate::EXIT_CLEAN);
    }
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            let effect = item.effect.unwrap_or("-");
            let first = item.description.lines().next().unwrap_or_default();
            [item.kind, item.name, effect, first].map(str::to_owned)
        })
        .collect();
    console::print(table::lines(&rows, ""))?;
    Ok(crate::EXIT_CLEAN)
}

/// Something that is served.
#[derive(Serialize)]
struct Item<'a> {
    kind: &'static str,
    /// For a resource or template its URI, by which clients ask for it.
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<&'static str>,
    description: &'a str,
}

/// Everything, or what a caller sees.
fn items<'a>(catalog: &'a Catalog, caller: Option<&Caller>) -> Vec<Item<'a>> {
    let tools = seen(catalog.tools(), caller).map(|tool| Item {
        kind: "tool",
        name: &tool.name,
        effect: Some(effect(tool.annotations)),
        description: &tool.description,
    });
    let prompts = seen(catalog.prompts(), caller).map(|prompt| Item {
        kind: "prompt",
        name: &prompt.name,
        effect: None,
        description: &prompt.description,
    });
    let resources = seen(catalog.resources(), caller).map(|resource| Item {
        kind: "resource",
        name: resource.uri.as_str(),
        effect: None,
        description: &resource.about.description,
    });
    let templates = seen(catalog.templates(), caller).map(|template| Item {
        kind: "template",
        name: template.uri.as_str(),
        effect: None,
        description: &template.about.description,
    });
    tools
        .chain(prompts)
        .chain(resources)
        .chain(templates)
        .collect()
}

/// The items of a list that a caller sees, as the server decides it.
fn seen<'a, T: Guarded>(
    list: &'a List<T>,
    caller: Option<&Caller>,
) -> impl Iterator<Item = &'a Arc<T>> {
    let is_seen = move |item: &&Arc<T>| {
        caller.is_none_or(|caller| item.allow().access(caller) != Access::Hidden)
    };
    list.iter().filter(is_seen)
}

/// The word of the definition for what clients are told.
fn effect(annotations: Annotations) -> &'static str {
    match (annotations.read_only, annotations.destructive) {
        (Some(true), _) => "read",
        (_, Some(false)) => "write",
        _ => "destructive",
    }
}
