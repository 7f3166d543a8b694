//! `list`: what is served, in lines or as JSON.

use serde::Serialize;

use super::{Setting, caller, table};
use crate::catalog::{Annotations, Catalog};
use crate::cli::List;
use crate::console;
use crate::failure::Failure;

/// Prints what is served.
pub(super) fn run(options: &List, setting: &Setting<'_>) -> Result<u8, Failure> {
    let catalog = setting.catalog()?;
    if let Some(subject) = &options.subject {
        caller::find(subject, setting)?;
    }
    let items = items(&catalog);
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

fn items(catalog: &Catalog) -> Vec<Item<'_>> {
    let tools = catalog.tools().iter().map(|tool| Item {
        kind: "tool",
        name: &tool.name,
        effect: Some(effect(tool.annotations)),
        description: &tool.description,
    });
    let prompts = catalog.prompts().iter().map(|prompt| Item {
        kind: "prompt",
        name: &prompt.name,
        effect: None,
        description: &prompt.description,
    });
    let resources = catalog.resources().iter().map(|resource| Item {
        kind: "resource",
        name: resource.uri.as_str(),
        effect: None,
        description: &resource.about.description,
    });
    let templates = catalog.templates().iter().map(|template| Item {
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

/// The word of the definition for what clients are told.
fn effect(annotations: Annotations) -> &'static str {
    match (annotations.read_only, annotations.destructive) {
        (Some(true), _) => "read",
        (_, Some(false)) => "write",
        _ => "destructive",
    }
}
