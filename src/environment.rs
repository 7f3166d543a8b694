//! The variables of this process, as they were when it began.
//!
//! One snapshot keeps all answers the same for as long as the process lives, and lets tests bring
//! variables of their own.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;

/// Holds the variables that were set when the snapshot was taken.
///
/// # Examples
///
/// ```
/// use mcp_serve::environment::Variables;
///
/// let variables: Variables = [("PATH", "/usr/bin")].into_iter().collect();
/// assert_eq!(variables.get("PATH").unwrap(), "/usr/bin");
/// assert!(variables.get("HOME").is_none());
/// ```
#[derive(Clone, Default)]
pub struct Variables(HashMap<OsString, OsString>);

impl Variables {
    /// Takes a snapshot of this process's environment.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment beside the options"
    )]
    pub fn from_process() -> Self {
        std::env::vars_os().collect()
    }

    /// Returns the value of a variable, or `None` when it was not set.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        let value = self.0.get(OsStr::new(name));
        value.map(OsString::as_os_str)
    }

    /// Returns the names of the variables, as far as they are UTF-8, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter_map(|name| name.to_str())
    }

    /// Whether a terminal may be written to in color: `NO_COLOR` is not set, or empty.
    pub fn allows_color(&self) -> bool {
        self.get("NO_COLOR").is_none_or(OsStr::is_empty)
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Variables {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let variables = variables.into_iter();
        Self(
            variables
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

/// Prints names only: values may be secret.
impl fmt::Debug for Variables {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}
