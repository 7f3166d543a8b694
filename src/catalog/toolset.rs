//! Toolsets: parts of a catalog that are served at endpoints of their own.

use std::collections::BTreeSet;
use std::sync::Arc;

use glob::Pattern;

use super::Catalog;
use super::allow::{Allow, Guarded};

/// A part of a catalog, served at an endpoint of its own.
#[derive(Debug)]
pub struct Toolset {
    /// What the endpoint serves. Who may use the toolset may not yet use all that is in it.
    pub catalog: Arc<Catalog>,
    pub(crate) allow: Allow,
}

impl Guarded for Toolset {
    fn allow(&self) -> &Allow {
        &self.allow
    }
}

/// Chooses tools, prompts, resources and templates.
#[derive(Debug)]
pub(crate) enum Match {
    /// Those with a tag.
    Tag(String),
    /// That of a name.
    Name(String),
    /// Those whose names are like this.
    Glob(Pattern),
}

impl Match {
    /// Reads `tag:x`, a name, or a glob.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(tag) = text.strip_prefix("tag:") {
            Some(Self::Tag(tag.to_owned()))
        } else if text.contains(['*', '?', '[', ']']) {
            Pattern::new(text).ok().map(Self::Glob)
        } else {
            Some(Self::Name(text.to_owned()))
        }
    }

    /// Whether it chooses something by its name alone.
    pub(crate) fn takes_name(&self, name: &str) -> bool {
        match self {
            Self::Tag(_) => false,
            Self::Name(own) => own == name,
            Self::Glob(pattern) => pattern.matches(name),
        }
    }

    /// Whether it chooses something.
    pub(crate) fn takes(&self, name: &str, tags: &BTreeSet<String>) -> bool {
        match self {
            Self::Tag(tag) => tags.contains(tag),
            Self::Name(_) | Self::Glob(_) => self.takes_name(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_chosen_by_name_glob_and_tag() {
        let tags = BTreeSet::from(["ops".to_owned()]);
        let cases = [
            ("git_log", true),
            ("git", false),
            ("git_*", true),
            ("git_?", false),
            ("*", true),
            ("g[hi]t_log", true),
            ("GIT_*", false),
            ("tag:ops", true),
            ("tag:op", false),
            ("tag:*", false),
            ("ops", false),
            ("tag:git_log", false),
        ];
        for (text, expected) in cases {
            let chosen = Match::parse(text).unwrap().takes("git_log", &tags);
            assert_eq!(chosen, expected, "{text}");
        }
        assert!(Match::parse("git_[").is_none());
    }
}
