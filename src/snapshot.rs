//! What files are at a moment, and which there are in a folder, to notice that they are others later.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use glob::{MatchOptions, Pattern};

/// Files that begin with a dot are those of editors and of mounts, and none that a `*` means.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// What differs if a file was written or replaced.
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

/// The files of one folder whose names match a pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Search {
    pub(crate) folder: PathBuf,
    pub(crate) pattern: Pattern,
}

impl Search {
    /// The names that match now, in order; none if there is no such folder. Blocks.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            if self.pattern.matches_with(&name.to_string_lossy(), OPTIONS) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

/// What files were when each was looked at, and what searches found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    files: BTreeMap<PathBuf, Option<Identity>>,
    /// The names that were found; `None` where the folder could not be read.
    searches: BTreeMap<Search, Option<Vec<OsString>>>,
}

impl Snapshot {
    /// Looks at this path. Whoever looks before reading misses no change, also none while it reads.
    /// Blocks.
    pub fn of(path: &Path) -> Self {
        Self {
            files: BTreeMap::from([(path.to_owned(), Identity::of(path))]),
            searches: BTreeMap::new(),
        }
    }

    /// What a search found. Other files of its folder may come and go.
    pub(crate) fn found(search: Search, names: Option<Vec<OsString>>) -> Self {
        Self {
            files: BTreeMap::new(),
            searches: BTreeMap::from([(search, names)]),
        }
    }

    /// Adds what was seen later, except where something was seen before.
    pub fn add(&mut self, later: Self) {
        for (path, identity) in later.files {
            self.files.entry(path).or_insert(identity);
        }
        for (search, names) in later.searches {
            self.searches.entry(search).or_insert(names);
        }
    }

    /// What was looked at: files, and the folders of searches.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let folders = self.searches.keys().map(|search| &search.folder);
        self.files.keys().chain(folders).map(PathBuf::as_path)
    }

    /// The files that are not now what they were.
    pub fn changed<'a>(&'a self, now: &'a Self) -> impl Iterator<Item = &'a Path> {
        let changed = |(path, seen): &(&PathBuf, _)| now.files.get(*path) != Some(*seen);
        let changed = self.files.iter().filter(changed);
        changed.map(|(path, _)| path.as_path())
    }

    /// Looks at the same paths now. Blocks.
    #[must_use]
    pub fn again(&self) -> Self {
        let looks = self.files.keys();
        let searches = self.searches.keys();
        Self {
            files: looks
                .map(|path| (path.clone(), Identity::of(path)))
                .collect(),
            searches: (searches.map(|search| (search.clone(), search.names().ok()))).collect(),
        }
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

    #[test]
    fn only_what_is_another_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        let mut seen = Snapshot::of(&one);
        seen.add(Snapshot::of(&other));
        assert_eq!(seen.changed(&seen.again()).count(), 0);
        fs::write(&other, "text").unwrap();
        assert_eq!(seen.changed(&seen.again()).collect::<Vec<_>>(), [other]);
    }

    #[test]
    fn a_search_is_the_names_that_match() {
        let folder = tempfile::tempdir().unwrap();
        let search = Search {
            folder: folder.path().join("tools.d"),
            pattern: Pattern::new("*.yml").unwrap(),
        };
        let seen = Snapshot::found(search.clone(), search.names().ok());
        let touch = |name| fs::write(search.folder.join(name), "").unwrap();
        fs::create_dir(&search.folder).unwrap();
        for other in ["x.log", ".hidden.yml"] {
            touch(other);
            assert_eq!(seen, seen.again(), "{other}");
        }
        touch("x.yml");
        assert_ne!(seen, seen.again());
        assert_eq!(search.names().unwrap(), ["x.yml"]);
        // What was found may change: whoever reads it looks at the file itself.
        let seen = seen.again();
        fs::write(search.folder.join("x.yml"), "text").unwrap();
        assert_eq!(seen, seen.again());
    }
}
