//! What files and folders are at a moment, to notice that they are others later.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What differs if a file was written or replaced, or if something came into a folder or left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    /// What is at a path now; `None` if there is nothing. Blocks.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

/// What files and folders were when each was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<PathBuf, Option<Identity>>);

impl Snapshot {
    /// Looks at this path. Whoever looks before reading misses no change, also none while it reads.
    /// Blocks.
    pub fn of(path: &Path) -> Self {
        Self(BTreeMap::from([(path.to_owned(), Identity::of(path))]))
    }

    /// Adds what was seen later, except where something was seen before.
    pub fn add(&mut self, later: Self) {
        for (path, identity) in later.0 {
            self.0.entry(path).or_insert(identity);
        }
    }

    /// What was looked at.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// Looks at the same paths now. Blocks.
    #[must_use]
    pub fn again(&self) -> Self {
        let looks = self.0.keys().map(|path| (path.clone(), Identity::of(path)));
        Self(looks.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_first_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let mut seen = Snapshot::of(&file);
        fs::write(&file, "one").unwrap();
        seen.add(Snapshot::of(&file));
        seen.add(Snapshot::of(folder.path()));
        assert_ne!(seen, seen.again());
        assert_eq!(seen.again(), seen.again().again());
        assert_eq!(seen.paths().collect::<Vec<_>>(), [folder.path(), &file]);
    }
}
