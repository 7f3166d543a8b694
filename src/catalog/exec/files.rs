//! The files that a call writes before its program starts.

use std::path::{Component, Path};

use crate::catalog::template::{Slot, Word};

/// What a placeholder of a file begins with, as in `{file:spec.yaml}`.
pub(crate) const FILE_PREFIX: &str = "file:";

/// The longest name of a file or folder, in bytes; Linux has no longer ones.
const MAX_NAME: usize = 255;

/// The files of a definition.
#[derive(Debug, Default)]
pub(crate) struct Files {
    list: Vec<FileText>,
    /// Names whose definition has errors; nothing more is said about them.
    broken: Vec<String>,
}

/// A file and what a call writes into it.
#[derive(Debug)]
pub(crate) struct FileText {
    /// The relative path, which leads nowhere else.
    pub(crate) name: String,
    pub(crate) text: Word,
}

/// Where the files of a call will be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'a> {
    pub(crate) files: &'a Files,
    pub(crate) folder: &'a Path,
}

impl Files {
    pub(crate) fn add(&mut self, file: FileText) {
        self.list.push(file);
    }

    /// Notes a name whose definition has errors, so that its places are not called undeclared.
    pub(crate) fn add_broken(&mut self, name: &str) {
        self.broken.push(name.to_owned());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &FileText> {
        self.list.iter()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&FileText> {
        self.iter().find(|file| file.name == name)
    }

    /// All names, those of broken definitions included.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.iter().map(|file| file.name.as_str());
        names.chain(self.broken.iter().map(String::as_str))
    }

    /// Every place in the texts.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.iter().flat_map(|file| file.text.slots())
    }
}

/// Whether a text is a relative path that leads nowhere else: names with single slashes between
/// them, none of which is `.` or `..`.
pub(crate) fn is_file_name(text: &str) -> bool {
    let plain = |component| matches!(component, Component::Normal(_));
    let depth = Path::new(text)
        .components()
        .filter(|component| plain(*component));
    let fits = text.split('/').all(|name| name.len() <= MAX_NAME);
    // What would be the same path in another spelling is none of the names that are compared.
    fits && !text.contains(['{', '}', '\0']) && depth.count() == text.split('/').count()
}

#[cfg(test)]
mod tests {
    use super::is_file_name;

    #[test]
    fn a_file_name_leads_nowhere_else() {
        let cases = [
            ("spec.yaml", true),
            ("a/b/c", true),
            (".hidden", true),
            ("two words", true),
            ("...", true),
            ("", false),
            (".", false),
            ("..", false),
            ("/etc/passwd", false),
            ("a/../../b", false),
            ("a/./b", false),
            ("./a", false),
            ("a//b", false),
            ("a/", false),
            ("a\0b", false),
            ("{name}", false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_file_name(name), expected, "{name:?}");
        }
    }
}
