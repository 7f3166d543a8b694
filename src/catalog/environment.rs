//! What a file is read against besides its own text: the process environment, and who can call.
//!
//! The catalog needs the environment twice: PATH to find programs when a file is loaded, and the
//! few variables that a child may inherit. Taking one snapshot keeps both answers the same for as
//! long as a catalog lives, and lets tests bring an environment of their own.

use std::ffi::{OsStr, OsString};

use super::grants::Grants;
use crate::environment::Variables;
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
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: Variables,
    grants: Grants,
    permissions: Permissions,
    tries_sandboxes: bool,
}

impl Environment {
    /// Takes a snapshot of this process's environment.
    pub fn from_process() -> Self {
        Variables::from_process().into()
    }

    /// Returns the value of a variable, or `None` when it was not set.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name)
    }

    /// Returns all variables.
    pub fn variables(&self) -> &Variables {
        &self.variables
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
}

impl From<Variables> for Environment {
    fn from(variables: Variables) -> Self {
        Self {
            variables,
            ..Self::default()
        }
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Variables::from_iter(variables).into()
    }
}
