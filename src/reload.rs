//! The definitions that are served: read at the start, and again when they have changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalog::{Catalog, Environment, Loaded};
use crate::document::{Diagnostic, Inputs, LoadError};
use crate::logging;
use crate::watch::Snapshot;

/// How many names stand in one line of the log.
const MAX_NAMES: usize = 20;

/// Where the definitions are, and what they were when they were read last.
#[derive(Debug, Clone)]
pub struct Definitions {
    path: PathBuf,
    environment: Arc<Environment>,
    seen: Snapshot,
}

impl Definitions {
    /// Reads nothing yet.
    pub fn new(path: PathBuf, environment: Environment) -> Self {
        Self {
            path,
            environment: Arc::new(environment),
            seen: Snapshot::default(),
        }
    }

    /// The file that is read first.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the definitions, and logs what is doubtful in them. Blocks.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them.
    pub fn load(&mut self) -> Result<Catalog, LoadError> {
        let files = std::iter::once(self.path.clone());
        let before = Snapshot::of(files.chain(self.seen.paths()));
        let loaded = Catalog::load(&self.path, &self.environment);
        let inputs = match &loaded {
            Ok(loaded) => &loaded.inputs,
            Err(error) => error.inputs(),
        };
        self.seen = Snapshot::of(paths(inputs)).since(&before);
        let Loaded {
            catalog, warnings, ..
        } = loaded?;
        logging::hide(catalog.secrets());
        log(&warnings);
        tell_unconfined(&catalog);
        if catalog.is_empty() {
            tracing::warn!(file = %self.path.display(), "{}", crate::SERVES_NOTHING);
        }
        Ok(catalog)
    }

    /// Waits until something that was read is not as it was then.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if this is dropped.
    pub async fn changed(&self) {
        self.seen.changed().await;
    }
}

fn paths(inputs: &Inputs) -> impl Iterator<Item = PathBuf> {
    inputs.files.iter().chain(&inputs.folders).cloned()
}

/// Logs what runs with all that the user of the server can reach.
fn tell_unconfined(catalog: &Catalog) {
    let names: Vec<_> = catalog.unconfined().collect();
    let Some(first) = names
        .get(..names.len().min(MAX_NAMES))
        .filter(|some| !some.is_empty())
    else {
        return;
    };
    let more = match names.len() - first.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let first = first.join(", ");
    tracing::info!("without a sandbox: {first}{more}; what the server can reach, they can");
}

/// Logs what is doubtful in a file.
pub fn log(warnings: &[Diagnostic]) {
    for warning in warnings {
        let (line, column) = warning.position().unwrap_or_default();
        tracing::warn!(
            code = warning.code().as_str(),
            place = format!("{}:{line}:{column}", warning.path()),
            "{}",
            warning.message()
        );
    }
}
