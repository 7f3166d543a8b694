//! What is served: the one list of it.
//!
//! Each group of routes stands behind a guard of its own ([`super::admission`]), and a `match` answers for
//! it: a new route is guarded before it compiles. The tests ask all that are in `ALL`, and so does the
//! server, so that none is left out.

use super::endpoint;
use crate::host::WELL_KNOWN;

const HEALTHZ: &str = "/healthz";
const READYZ: &str = "/readyz";

/// What clients may ask without a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Public {
    /// Whether the process lives.
    Healthz,
    /// Whether the server takes new work.
    Readyz,
    /// Where to get a token for an endpoint.
    Metadata,
}

impl Public {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Healthz, Self::Readyz, Self::Metadata];

    /// What is at a path.
    pub(super) fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.is_at(path))
    }

    fn is_at(self, path: &str) -> bool {
        match self {
            Self::Healthz => path == HEALTHZ,
            Self::Readyz => path == READYZ,
            Self::Metadata => path
                .strip_prefix(WELL_KNOWN)
                .is_some_and(|below| below.is_empty() || below.starts_with('/')),
        }
    }

    /// Whether it may be asked under any name and by any page: a probe knows an address at most.
    pub(super) fn is_health(self) -> bool {
        match self {
            Self::Healthz | Self::Readyz => true,
            Self::Metadata => false,
        }
    }
}

/// What clients may ask with a credential, or where nobody needs one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarded {
    /// MCP, of the whole or of a toolset.
    Endpoint,
}

impl Guarded {
    /// Every one.
    pub const ALL: [Self; 1] = [Self::Endpoint];

    /// What is at a path, where the whole is served at `root`.
    pub(super) fn at(root: &str, path: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|route| match route {
            Self::Endpoint => endpoint::name_at(root, path).is_some(),
        })
    }
}

/// What operators look at, on a listener of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Whether the process lives.
    Healthz,
    /// Whether the server takes new work.
    Readyz,
    /// What is counted.
    Metrics,
    /// The sessions, for this machine only.
    Sessions,
}

impl Page {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Healthz, Self::Readyz, Self::Metrics, Self::Sessions];

    /// What is at a path.
    pub(super) fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|page| page.path() == path)
    }

    /// Where it is.
    pub fn path(self) -> &'static str {
        match self {
            Self::Healthz => HEALTHZ,
            Self::Readyz => READYZ,
            Self::Metrics => "/metrics",
            Self::Sessions => "/debug/sessions",
        }
    }

    /// As [`Public::is_health`].
    pub(super) fn is_health(self) -> bool {
        match self {
            Self::Healthz | Self::Readyz => true,
            Self::Metrics | Self::Sessions => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_paths_are_public() {
        let cases = [
            ("/healthz", Some(Public::Healthz)),
            ("/readyz", Some(Public::Readyz)),
            (
                "/.well-known/oauth-protected-resource",
                Some(Public::Metadata),
            ),
            (
                "/.well-known/oauth-protected-resource/mcp",
                Some(Public::Metadata),
            ),
            ("/.well-known/oauth-protected-resources", None),
            ("/.well-known/oauth-protected-resource.", None),
            ("/.well-known/", None),
            ("/healthz/", None),
            ("/mcp", None),
            ("/", None),
            ("", None),
            ("*", None),
        ];
        for (path, expected) in cases {
            assert_eq!(Public::at(path), expected, "{path}");
        }
    }
}
