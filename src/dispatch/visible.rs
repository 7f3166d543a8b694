//! What a caller may see and use: the one place that decides it.
//!
//! Nothing else here looks into the lists of a catalog. So what a caller may not use is as if it
//! were not there: in lists, their pages and capabilities, and under its name.

use std::sync::Arc;

use super::Context;
use crate::auth::Caller;
use crate::catalog::{Fingerprint, Guarded, List, Prompt, Resource, ResourceTemplate, Tool};

/// A list as a caller sees it.
#[derive(Debug)]
pub(super) struct Visible<'a, T> {
    list: &'a List<T>,
    caller: &'a Caller,
}

impl<'a> Context<'a> {
    pub(super) fn tools(&self) -> Visible<'a, Tool> {
        self.visible(self.catalog.tools())
    }

    pub(super) fn prompts(&self) -> Visible<'a, Prompt> {
        self.visible(self.catalog.prompts())
    }

    pub(super) fn resources(&self) -> Visible<'a, Resource> {
        self.visible(self.catalog.resources())
    }

    pub(super) fn templates(&self) -> Visible<'a, ResourceTemplate> {
        self.visible(self.catalog.templates())
    }

    fn visible<T>(&self, list: &'a List<T>) -> Visible<'a, T> {
        let caller = self.caller;
        Visible { list, caller }
    }
}

impl<'a, T: Guarded> Visible<'a, T> {
    /// The item with this key. One that the caller may not use is not there.
    pub(super) fn get(&self, key: &str) -> Option<&'a Arc<T>> {
        self.list.get(key).filter(|item| may_use(self.caller, item))
    }

    /// The items in the order of the file.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let caller = self.caller;
        self.list.iter().filter(move |item| may_use(caller, item))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// What tells this list from another. It says nothing of what is hidden.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.list.fingerprint(self.iter())
    }
}

/// Decides whether a caller may see and use something: the one function for both.
fn may_use<T: Guarded>(caller: &Caller, item: &Arc<T>) -> bool {
    item.allow().permits(caller)
}
