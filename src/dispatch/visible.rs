//! What a caller may see and use: the one place that decides it.
//!
//! Nothing else here looks into the lists of a catalog. So what a caller may not use is as if it
//! were not there: in lists, their pages and capabilities, and under its name.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use serde::Serialize;
use tokio::time::Instant;

use super::{Context, InsufficientScope, prompts, resources, tools};
use crate::auth::Caller;
use crate::catalog::{
    Access, Catalog, Completions, Fingerprint, Guarded, List, Prompt, Resource, ResourceTemplate,
    Tool,
};
use crate::protocol::mcp::Method;

/// A list as a caller sees it.
#[derive(Debug)]
pub(super) struct Visible<'a, T> {
    list: &'a List<T>,
    caller: &'a Caller,
}

/// A caller, and what is served to it.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// What is served.
    pub catalog: &'a Catalog,
    /// Who looks.
    pub caller: &'a Caller,
}

/// What tells each list of a caller, as it is listed, from what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// That of the tools.
    pub tools: u64,
    /// That of the prompts.
    pub prompts: u64,
    /// That of the resources and their templates.
    pub resources: u64,
}

/// What a name is to a caller. For whoever keeps watch over callers, and not for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It names nothing.
    Absent,
    /// It names something that the caller may not use.
    Hidden,
    /// The caller may use what it names.
    Usable,
}

impl<'a> Sight<'a> {
    /// Computes the digests of the lists.
    pub fn digests(self) -> Digests {
        let resources = self.see(self.catalog.resources());
        let templates = self.see(self.catalog.templates());
        Digests {
            tools: self.see(self.catalog.tools()).digest(tools::digest),
            prompts: self.see(self.catalog.prompts()).digest(prompts::digest),
            resources: digest(&[
                resources.digest(resources::digest),
                templates.digest(resources::digest_of_template),
            ]),
        }
    }

    /// Whether a URI names something that the caller can read.
    pub fn has_resource(self, uri: &str) -> bool {
        resources::find(self, uri).is_ok_and(|found| found.is_some())
    }

    /// Whether the caller sees the tool of this identity, or what it stands behind.
    pub fn has_tool(self, identity: &str) -> bool {
        let Self { catalog, .. } = self;
        let is_it = |tool: &Arc<Tool>| tool.identity() == identity;
        let completes = |completions: &Completions| completions.programs().any(is_it);
        self.see(catalog.tools()).iter().any(is_it)
            || (self.see(catalog.prompts()).iter())
                .any(|prompt| is_it(&prompt.tool) || completes(&prompt.completions))
            || (self.see(catalog.resources()).iter()).any(|resource| is_it(&resource.tool))
            || (self.see(catalog.templates()).iter())
                .any(|template| is_it(&template.tool) || completes(&template.completions))
    }

    pub(super) fn see<T>(self, list: &'a List<T>) -> Visible<'a, T> {
        let caller = self.caller;
        Visible { list, caller }
    }
}

impl<'a> Context<'a> {
    /// What the name in a request of this method is to the caller.
    pub fn standing(&self, method: Method, name: &str) -> Standing {
        match method {
            Method::CallTool => self.tools().standing(name),
            Method::GetPrompt => self.prompts().standing(name),
            Method::ReadResource => {
                let fits = |template: &ResourceTemplate| template.uri.values(name).is_some();
                let template = self.templates().standing_where(fits);
                let resource = self.resources().standing(name).max(template);
                resource.max(self.standing_of_output(name))
            }
            Method::Complete => {
                let template = self.templates().standing(name);
                self.prompts().standing(name).max(template)
            }
            _ => Standing::Absent,
        }
    }

    fn standing_of_output(&self, uri: &str) -> Standing {
        let now = Instant::now();
        if self.outputs.find(uri, self.caller, now).is_some() {
            Standing::Usable
        } else if self.outputs.has(uri, now) {
            Standing::Hidden
        } else {
            Standing::Absent
        }
    }

    pub(super) fn sight(&self) -> Sight<'a> {
        Sight {
            catalog: self.catalog,
            caller: self.caller,
        }
    }

    pub(super) fn tools(&self) -> Visible<'a, Tool> {
        self.sight().see(self.catalog.tools())
    }

    pub(super) fn prompts(&self) -> Visible<'a, Prompt> {
        self.sight().see(self.catalog.prompts())
    }

    pub(super) fn resources(&self) -> Visible<'a, Resource> {
        self.sight().see(self.catalog.resources())
    }

    pub(super) fn templates(&self) -> Visible<'a, ResourceTemplate> {
        self.sight().see(self.catalog.templates())
    }
}

impl<'a, T: Guarded> Visible<'a, T> {
    /// The item with this key. One that is hidden from the caller is not there.
    ///
    /// # Errors
    ///
    /// For one that the caller could use with a credential of more scopes.
    pub(super) fn get(&self, key: &str) -> Result<Option<&'a Arc<T>>, InsufficientScope> {
        let Some(item) = self.list.get(key) else {
            return Ok(None);
        };
        match access(self.caller, item) {
            Access::Granted => Ok(Some(item)),
            Access::NeedsScopes(scopes) => Err(InsufficientScope::new(&scopes)),
            Access::Hidden => Ok(None),
        }
    }

    fn standing(&self, key: &str) -> Standing {
        self.standing_of(self.list.get(key))
    }

    /// That of whichever item is like this and most within reach.
    fn standing_where(&self, is_it: impl Fn(&T) -> bool) -> Standing {
        self.standing_of(self.list.iter().filter(|item| is_it(item)))
    }

    fn standing_of<'i>(&self, items: impl IntoIterator<Item = &'i Arc<T>>) -> Standing
    where
        T: 'i,
    {
        let standings = items
            .into_iter()
            .map(|item| match access(self.caller, item) {
                Access::Granted => Standing::Usable,
                Access::NeedsScopes(_) | Access::Hidden => Standing::Hidden,
            });
        standings.max().unwrap_or(Standing::Absent)
    }

    /// The items in the order of the file.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let caller = self.caller;
        self.list.iter().filter(move |item| is_seen(caller, item))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// What tells this list from another. It says nothing of what is hidden.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.list.fingerprint(self.iter())
    }

    /// What tells the items, as they are listed, from others. `of` digests one; it is asked once for
    /// all callers.
    fn digest(&self, of: fn(&T) -> u64) -> u64 {
        let items = self.list.iter().zip(self.list.digests(of));
        let visible = items.filter(|(item, _)| is_seen(self.caller, item));
        let digests: Vec<_> = visible.map(|(_, digest)| *digest).collect();
        digest(&digests)
    }
}

/// Digests what is the same only if it is listed the same. No other process compares it.
pub(super) fn digest(listed: &impl Serialize) -> u64 {
    let mut hasher = DefaultHasher::new();
    // What cannot be encoded is not listed either.
    serde_json::to_vec(listed).ok().hash(&mut hasher);
    hasher.finish()
}

/// Whether a caller is shown something, which it may still lack the scopes for.
fn is_seen<T: Guarded>(caller: &Caller, item: &Arc<T>) -> bool {
    access(caller, item) != Access::Hidden
}

/// Decides what something is to a caller: the one function for lists and for use.
fn access<'a, T: Guarded>(caller: &Caller, item: &'a Arc<T>) -> Access<'a> {
    item.allow().access(caller)
}
