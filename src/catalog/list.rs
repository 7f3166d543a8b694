//! Things that clients list page by page and ask for by name.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use sha2::{Digest as _, Sha256};

/// Things of one kind in the order of the file, each with a key of its own.
#[derive(Debug)]
pub struct List<T> {
    items: Vec<Arc<T>>,
    index: HashMap<String, usize>,
    kind: &'static str,
    key: fn(&T) -> &str,
    digests: OnceLock<Vec<u64>>,
}

/// What tells one list from another, and from what it was before a change: the start of a SHA-256
/// of its kind and its keys in their order. It is the same on every server of the same file.
pub type Fingerprint = [u8; 8];

impl<T> List<T> {
    /// `key` names an item. Of two items with one key the first is found.
    pub(crate) fn new(kind: &'static str, items: Vec<Arc<T>>, key: fn(&T) -> &str) -> Self {
        let mut index = HashMap::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            index.entry(key(item).to_owned()).or_insert(at);
        }
        Self {
            items,
            index,
            kind,
            key,
            digests: OnceLock::new(),
        }
    }

    /// Returns the item with this key; keys compare by bytes.
    pub fn get(&self, key: &str) -> Option<&Arc<T>> {
        self.index.get(key).and_then(|at| self.items.get(*at))
    }

    /// Returns the items in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<T>> {
        self.items.iter()
    }

    /// Returns a digest of each item, in the order of the items; made by the first who asks.
    pub fn digests(&self, of: fn(&T) -> u64) -> &[u64] {
        self.digests
            .get_or_init(|| self.items.iter().map(|item| of(item)).collect())
    }

    /// Returns how many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns whether there is nothing to list.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns what tells a list of these of its items from another.
    pub fn fingerprint<'a>(&'a self, items: impl Iterator<Item = &'a Arc<T>>) -> Fingerprint {
        let keys = items.map(|item| (self.key)(item));
        fingerprint(std::iter::once(self.kind).chain(keys))
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a Arc<T>;
    type IntoIter = std::slice::Iter<'a, Arc<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Each text counts with its length, so that no two lists of texts are the same bytes.
fn fingerprint<'a>(texts: impl Iterator<Item = &'a str>) -> Fingerprint {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update(text.len().to_le_bytes());
        digest.update(text);
    }
    let mut start = Fingerprint::default();
    for (byte, digested) in start.iter_mut().zip(digest.finalize()) {
        *byte = digested;
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(kind: &'static str, keys: &[&str]) -> List<String> {
        let items = keys.iter().map(|key| Arc::new((*key).to_owned()));
        List::new(kind, items.collect(), String::as_str)
    }

    #[test]
    fn items_are_found_by_key_and_keep_their_order() {
        let list = list("tools", &["b", "a", "c"]);
        assert!(list.iter().map(|item| item.as_str()).eq(["b", "a", "c"]));
        assert_eq!(list.get("a").map(|item| item.as_str()), Some("a"));
        assert_eq!(list.get("A"), None);
    }

    #[test]
    fn a_fingerprint_names_kind_keys_and_order() {
        let first = list("tools", &["a", "b"]);
        let cases = [
            ("the same", list("tools", &["a", "b"]), true),
            ("another kind", list("prompts", &["a", "b"]), false),
            ("another order", list("tools", &["b", "a"]), false),
            ("one more", list("tools", &["a", "b", "c"]), false),
            ("one less", list("tools", &["a"]), false),
            ("other borders", list("tools", &["ab"]), false),
        ];
        for (name, other, same) in cases {
            let is_same = first.fingerprint(first.iter()) == other.fingerprint(other.iter());
            assert_eq!(is_same, same, "{name}");
        }
    }
}
