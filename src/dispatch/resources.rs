//! `resources/list`, `resources/templates/list` and `resources/read`.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::page::page;
use super::visible::{self, Sight};
use super::{Context, InsufficientScope, Plan, Purpose, Refusal, cacheable, input, perform};
use crate::catalog::{Arguments, Origin, Resource, ResourceAbout, ResourceTemplate, Tool};
use crate::outputs::Reading;
use crate::protocol::content::Uri;
use crate::protocol::jsonrpc::{ErrorObject, INVALID_PARAMS, RESOURCE_NOT_FOUND, Request};
use crate::protocol::media::MediaType;
use crate::protocol::modern::{CacheScope, Caching};
use crate::protocol::version::Era;
use crate::protocol::{mcp, resources};

pub(super) fn list(context: &Context<'_>, request: &Request) -> Result<Box<RawValue>, ErrorObject> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ListResourcesResult<'a> {
        resources: Vec<resources::Resource<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_cursor: Option<String>,
    }
    let page = page(context, request, &context.resources())?;
    let result = ListResourcesResult {
        resources: page.items.into_iter().map(|item| listed(item)).collect(),
        next_cursor: page.next_cursor,
    };
    cacheable(context, &result, context.list_caching())
}

/// What tells a resource, as it is listed, from another.
pub(super) fn digest(resource: &Resource) -> u64 {
    visible::digest(&listed(resource))
}

/// As [`digest`], of a template.
pub(super) fn digest_of_template(template: &ResourceTemplate) -> u64 {
    visible::digest(&listed_template(template))
}

fn listed(resource: &Resource) -> resources::Resource<'_> {
    let about = &resource.about;
    resources::Resource {
        uri: resource.uri.as_str(),
        name: &about.name,
        title: about.title.as_deref(),
        description: &about.description,
        icons: &about.icons,
        mime_type: about.mime_type.as_ref().map(MediaType::as_str),
        size: resource.size,
        annotations: about.annotations.as_ref(),
    }
}

pub(super) fn list_templates(
    context: &Context<'_>,
    request: &Request,
) -> Result<Box<RawValue>, ErrorObject> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ListResourceTemplatesResult<'a> {
        resource_templates: Vec<resources::ResourceTemplate<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_cursor: Option<String>,
    }
    let page = page(context, request, &context.templates())?;
    let templates = page.items.into_iter().map(|item| listed_template(item));
    let result = ListResourceTemplatesResult {
        resource_templates: templates.collect(),
        next_cursor: page.next_cursor,
    };
    cacheable(context, &result, context.list_caching())
}

fn listed_template(template: &ResourceTemplate) -> resources::ResourceTemplate<'_> {
    let about = &template.about;
    resources::ResourceTemplate {
        uri_template: template.uri.as_str(),
        name: &about.name,
        title: about.title.as_deref(),
        description: &about.description,
        icons: &about.icons,
        mime_type: about.mime_type.as_ref().map(MediaType::as_str),
        annotations: about.annotations.as_ref(),
    }
}

pub(super) fn read(context: &Context<'_>, request: &Request) -> Result<Plan, Refusal> {
    let text = mcp::text(&request.params, "uri")?;
    let not_found = || not_found(context.era(), text);
    let uri = Uri::try_from(text.to_owned()).map_err(|_| not_found())?;
    let (tool, arguments, media, caching) =
        if let Some((tool, about, arguments)) = find(context.sight(), text)? {
            let media = about.mime_type.clone();
            (Arc::clone(tool), arguments, media, caching(context, tool))
        } else {
            let output = (context.outputs).find(text, context.caller, Instant::now());
            let Reading { tool, media } = output.ok_or_else(not_found)?;
            (tool, Arguments::default(), Some(media), NOBODY_ELSES)
        };
    let client = input::client(context, request, (text, &tool), None)?;
    let purpose = Purpose::Resource(Box::new(super::Reading {
        uri,
        media,
        caching,
    }));
    let plan = perform(context, request, &tool, arguments, (purpose, client))?;
    Ok(plan)
}

/// What a URI names, and the arguments that are in it.
type Found<'a> = (&'a Arc<Tool>, &'a ResourceAbout, Arguments);

/// Finds what a URI names: a resource, or else the first template that makes it with values that
/// its rules allow. What the caller may not read hides nothing that it may.
///
/// # Errors
///
/// For what the caller could read with a credential of more scopes, if it can read nothing else there.
pub(super) fn find<'a>(
    sight: Sight<'a>,
    uri: &str,
) -> Result<Option<Found<'a>>, InsufficientScope> {
    let Sight { catalog, caller } = sight;
    let mut needed = match sight.see(catalog.resources()).get(uri) {
        Ok(Some(resource)) => {
            let arguments = resource.tool.arguments(None, caller).ok();
            return Ok(arguments.map(|arguments| (&resource.tool, &resource.about, arguments)));
        }
        Ok(None) => None,
        Err(scopes) => Some(scopes),
    };
    let templates = sight.see(catalog.templates());
    for template in templates.iter() {
        let values = template.uri.values(uri);
        let arguments =
            values.and_then(|values| template.tool.arguments(Some(values), caller).ok());
        let Some(arguments) = arguments else {
            continue;
        };
        match templates.get(template.uri.as_str()) {
            Ok(_) => return Ok(Some((&template.tool, &template.about, arguments))),
            Err(scopes) => needed = needed.or(Some(scopes)),
        }
    }
    needed.map_or(Ok(None), Err)
}

/// What a program prints may depend on the caller, and a file may change at any time.
fn caching(context: &Context<'_>, tool: &Tool) -> Caching {
    match tool.origin() {
        Origin::Definition => context.list_caching(),
        Origin::File => context.caching(0),
        Origin::Program => NOBODY_ELSES,
    }
}

/// For whom it was made, and only now.
const NOBODY_ELSES: Caching = Caching {
    ttl_ms: 0,
    cache_scope: CacheScope::Private,
};

/// MCP 2026-07-28, Resources, Error Handling: MUST be `-32602`; up to 2025-11-25 it was `-32002`.
pub(super) fn not_found(era: Era, uri: &str) -> ErrorObject {
    let code = match era {
        Era::Legacy => RESOURCE_NOT_FOUND,
        Era::Modern => INVALID_PARAMS,
    };
    ErrorObject::new(code, "Resource not found").with_data(json!({"uri": uri}))
}
