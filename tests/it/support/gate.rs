//! A tool that a test holds up.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{TestServer, eventually};

/// A tool that runs until a test lets it through: `exec` is [`GATE`], `path` its argument.
#[derive(Debug)]
pub(crate) struct Gate(PathBuf);

/// A tool that makes `PATH.started` and waits for `PATH.open`.
pub(crate) const GATE: &str = "
  gate:
    description: Runs until its gate is opened.
    exec:
      - sh
      - -c
      - 'touch \"$1.started\"; until [ -e \"$1.open\" ] || [ ! -e \"$1.started\" ]; do sleep 0.02; done; printf through'
      - sh
      - '{path}'
    params: {path: string}
";

impl Gate {
    /// A closed gate.
    pub(crate) fn new(server: &TestServer, name: &str) -> Self {
        Self(server.folder().join(name))
    }

    /// The arguments of the call.
    pub(crate) fn arguments(&self) -> Value {
        json!({"path": self.0})
    }

    /// Waits until the tool runs.
    pub(crate) fn wait(&self) {
        let started = self.with(".started");
        let ran = eventually(|| started.exists().then_some(()));
        assert!(ran.is_some(), "{} does not start", self.0.display());
    }

    /// Lets the tool end.
    pub(crate) fn open(&self) {
        fs::write(self.with(".open"), "").unwrap();
    }

    fn with(&self, ending: &str) -> PathBuf {
        let mut path = self.0.clone().into_os_string();
        path.push(ending);
        path.into()
    }
}
