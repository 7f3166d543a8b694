//! The catalog that is served at this moment.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Catalog, Guarded as _};
use crate::auth::Caller;

/// Which part of a catalog an endpoint serves, by the name of a toolset; `None` is the whole.
pub type Endpoint = Option<Arc<str>>;

/// The catalog that is served at this moment, for everybody who asks. Who has got one keeps it: what
/// was begun with a catalog ends with it.
#[derive(Debug, Clone)]
pub struct Current(Arc<ArcSwap<Catalog>>);

impl Current {
    /// Serves this one first.
    pub fn new(catalog: Catalog) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(catalog)))
    }

    /// Returns the whole catalog.
    pub fn whole(&self) -> Arc<Catalog> {
        self.0.load_full()
    }

    /// Returns what an endpoint serves; `None` if there is no such toolset, or not for this caller.
    pub fn at(&self, endpoint: &Endpoint, caller: &Caller) -> Option<Arc<Catalog>> {
        let Some(name) = endpoint else {
            return Some(self.whole());
        };
        let whole = self.0.load();
        let toolset = whole.toolset(name)?;
        let permitted = toolset.allow().permits(caller);
        permitted.then(|| Arc::clone(&toolset.catalog))
    }

    /// Serves another one from now on.
    pub fn replace(&self, catalog: Catalog) {
        self.0.store(Arc::new(catalog));
    }
}
