//! The definitions that are served: read at the start, and again when they have changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinError;

use crate::catalog::{Catalog, Environment, Grants, Loaded};
use crate::document::{Diagnostic, LoadError, Severity};
use crate::logging;
use crate::snapshot::Snapshot;
use crate::watch;

/// How many problems of one file the log names.
const MAX_LOGGED: usize = 20;

/// How many names stand in one line of the log.
const MAX_NAMES: usize = 20;

/// Where the definitions are, and what they were when they were read last.
#[derive(Debug, Clone)]
pub struct Definitions {
    path: PathBuf,
    environment: Arc<Environment>,
    seen: Snapshot,
}

/// Why there are no new definitions.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// There are none that could be served.
    #[error(transparent)]
    Invalid(#[from] LoadError),
    /// Reading them panicked.
    #[error(transparent)]
    Panicked(#[from] JoinError),
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

    /// Holds them against others who can call, from the next time on.
    pub fn grant(&mut self, grants: Grants) {
        let environment = Environment::clone(&self.environment);
        self.environment = Arc::new(environment.granting(grants));
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
        let loaded = Catalog::load(&self.path, &self.environment);
        let inputs = match &loaded {
            Ok(loaded) => &loaded.inputs,
            Err(error) => error.inputs(),
        };
        self.seen = inputs.clone();
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

    /// As [`load`](Self::load), on a thread that may block.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them. After a panic they can be read again, as always.
    pub async fn reload(&mut self) -> Result<Catalog, ReloadError> {
        self.reload_by(Self::load).await
    }

    async fn reload_by(
        &mut self,
        load: impl FnOnce(&mut Self) -> Result<Catalog, LoadError> + Send + 'static,
    ) -> Result<Catalog, ReloadError> {
        let mut definitions = self.clone();
        let loading = tokio::task::spawn_blocking(move || {
            let loaded = load(&mut definitions);
            (definitions, loaded)
        });
        let (definitions, loaded) = loading.await?;
        *self = definitions;
        Ok(loaded?)
    }

    /// Waits until something that was read is not as it was then. What is there now is no change any
    /// more, even if it is never read.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if this is dropped before it completes.
    pub async fn changed(&mut self) {
        self.seen = watch::changed(&self.seen).await;
    }
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

/// Logs what is wrong or doubtful in a file, a line for each problem.
pub fn log(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics.iter().take(MAX_LOGGED) {
        let code = diagnostic.code().as_str();
        let place = match diagnostic.position() {
            Some((line, column)) => format!("{}:{line}:{column}", diagnostic.path()),
            None => diagnostic.path().to_owned(),
        };
        let message = diagnostic.message();
        match diagnostic.severity() {
            Severity::Error => tracing::error!(code, place, "{message}"),
            Severity::Warning => tracing::warn!(code, place, "{message}"),
        }
    }
    let more = diagnostics.len().saturating_sub(MAX_LOGGED);
    if more > 0 {
        tracing::warn!(
            more,
            "more problems are not shown; `mcp-serve check` shows them"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;
    use std::{fs, thread};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_no_end_of_reloading() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tools.yaml");
        fs::write(&path, "tools: {}").unwrap();
        let mut definitions = Definitions::new(path.clone(), Environment::default());
        definitions.load().unwrap();
        for text in ["tools: {} # one", "tools: {} # the other"] {
            fs::write(&path, text).unwrap();
            definitions.changed().await;
            let panicked = definitions.reload_by(|_| panic!("out of order")).await;
            assert!(matches!(panicked, Err(ReloadError::Panicked(_))));
        }
        // The same file is not tried for ever.
        assert_eq!(definitions.seen, definitions.seen.again());
        assert!(definitions.reload().await.is_ok());
    }

    #[test]
    fn a_change_while_a_file_is_read_is_one_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tools.yaml");
        let (part, fresh) = (folder.path().join("part"), folder.path().join("fresh"));
        // What follows the reading of `part` takes long enough to be met by the change.
        let many = (0..100).map(|n| format!("  t{n}: {{description: d, exec: /bin/true}}\n"));
        let many: String = many.collect();
        fs::write(&path, format!("include: [part]\ntools:\n{many}")).unwrap();
        let (mut overlaps, mut took) = (0_u32, Duration::ZERO);
        for round in 0..25 {
            let title = |when| format!("tools: {{x: {{description: {when}, exec: /bin/true}}}}");
            fs::write(&part, title("before")).unwrap();
            fs::write(&fresh, title("after")).unwrap();
            let mut definitions = Definitions::new(path.clone(), Environment::default());
            let is_changed = AtomicBool::new(false);
            let began = Instant::now();
            let (catalog, was_changed) = thread::scope(|scope| {
                scope.spawn(|| {
                    // Spread over the time that a load takes here.
                    thread::sleep(took * round / 25);
                    fs::rename(&fresh, &part).unwrap();
                    is_changed.store(true, Ordering::Release);
                });
                let catalog = definitions.load().unwrap();
                (catalog, is_changed.load(Ordering::Acquire))
            });
            took = began.elapsed();
            let is_old = catalog.tool("x").unwrap().description == "before";
            let is_noticed = definitions.seen != definitions.seen.again();
            assert!(is_noticed || !is_old, "round {round}");
            overlaps += u32::from(is_old && was_changed);
        }
        // Else nothing was seen of what this is about.
        assert!(overlaps > 0);
    }
}
