//! What the files say of a tool, in a few bytes.

use sha2::{Digest as _, Sha256};

use crate::document::yaml::{Content, Entry, Node};

/// A digest of all that the files say of a tool: what stands under its name, the `defaults` that hold
/// for it, and its api.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ToolDigest([u8; 32]);

impl ToolDigest {
    /// That of what stands under a key.
    pub(crate) fn of(entry: &Entry) -> Self {
        let mut hasher = Sha256::new();
        digest(&entry.value, &mut hasher);
        Self(hasher.finalize().into())
    }

    /// That of both.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self(
            Sha256::new()
                .chain_update(self.0)
                .chain_update(other.0)
                .finalize()
                .into(),
        )
    }

    /// Its bytes.
    pub(crate) fn bytes(self) -> [u8; 32] {
        self.0
    }
}

/// Digests a value as it is written, since JSON cannot hold every number. Each part says how long it is,
/// so that no two values are the same bytes.
fn digest(node: &Node, hasher: &mut Sha256) {
    let mut begin = |kind: &[u8], length: usize| {
        hasher.update(kind);
        hasher.update((length as u64).to_le_bytes());
    };
    match &node.content {
        Content::Scalar(scalar) => {
            let kind = if scalar.is_plain() { b"p" } else { b"q" };
            begin(kind, scalar.text.len());
            hasher.update(&scalar.text);
        }
        Content::Sequence(nodes) => {
            begin(b"s", nodes.len());
            for node in nodes {
                digest(node, hasher);
            }
        }
        Content::Mapping(entries) => {
            begin(b"m", entries.len());
            for Entry { key, value } in entries {
                hasher.update((key.text.len() as u64).to_le_bytes());
                hasher.update(&key.text);
                digest(value, hasher);
            }
        }
    }
}
