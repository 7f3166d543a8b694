//! What a file is read against besides its own text: the process environment, and who can call.
//!
//! The catalog needs the environment twice: PATH to find programs when a file is loaded, and the
//! few variables that a child may inherit. Taking one snapshot keeps both answers the same for as
//! long as a catalog lives, and lets tests bring an environment of their own.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;

use super::grants::Grants;
use crate::secret::Permissions;

/// Holds the variables that were set when the snapshot was taken, and who can call.
///
/// # Examples
///
/// ```
/// use mcp_serve::catalog::Environment;
///
/// let environment: Environment = [("PATH", "/usr/bin")].into_iter().collect();
/// assert_eq!(environment.get("PATH").unwrap(), "/usr/bin");
/// assert!(environment.get("HOME").is_none());
/// ```
#[derive(Clone, Default)]
pub struct Environment {
    variables: HashMap<OsString, OsString>,
    grants: Grants,
    permissions: Permissions,
    tries_sandboxes: bool,
}

impl Environment {
    /// Takes a snapshot of this process's environment.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment for the catalog"
    )]
    pub fn from_process() -> Self {
        std::env::vars_os().collect()
    }

    /// Returns the value of a variable, or `None` when it was not set.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        let value = self.variables.get(OsStr::new(name));
        value.map(OsString::as_os_str)
    }

    /// The same variables on a server where these can call.
    #[must_use]
    pub fn granting(self, grants: Grants) -> Self {
        Self { grants, ..self }
    }

    /// The same, with files of whatever owner and mode if that is said.
    #[must_use]
    pub fn permitting(self, permissions: Permissions) -> Self {
        Self {
            permissions,
            ..self
        }
    }

    /// The same, where a sandbox is tried before anything that asks for one is served. Without, every
    /// sandbox is taken to be possible.
    #[must_use]
    pub fn trying_sandboxes(self) -> Self {
        Self {
            tries_sandboxes: true,
            ..self
        }
    }

    /// Returns whether a sandbox is tried.
    pub fn tries_sandboxes(&self) -> bool {
        self.tries_sandboxes
    }

    /// Returns whether the files of a definition may be anybody's.
    pub fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// Returns who can call.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Returns the names of the variables, as far as they are UTF-8, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().filter_map(|name| name.to_str())
    }

    /// Whether a terminal may be written to in color: `NO_COLOR` is not set, or empty.
    pub fn allows_color(&self) -> bool {
        self.get("NO_COLOR").is_none_or(OsStr::is_empty)
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let variables = variables.into_iter();
        Self {
            variables: (variables.map(|(name, value)| (name.into(), value.into()))).collect(),
            grants: Grants::default(),
            permissions: Permissions::default(),
            tries_sandboxes: false,
        }
    }
}

/// Prints names only: values may be secret.
impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_set()
            .entries(self.variables.keys())
            .finish()
    }
}
