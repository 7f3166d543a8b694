//! What the server is measured against: programs of a package of their own, `benches/peers`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::server::{await_listener, free_address};

/// A peer that runs.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    pub(crate) address: String,
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Peer {
    /// Starts a program of the package, which is built first.
    pub(crate) fn start(name: &str) -> Self {
        static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
        let address = free_address();
        let child = Command::new(PROGRAMS.get_or_init(build).join(name))
            .arg(&address)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        await_listener(&address);
        Self { child, address }
    }
}

/// Builds the package, and returns the folder of its programs.
fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.join("target/peers");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--quiet"])
        .arg("--manifest-path")
        .arg(root.join("benches/peers/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status();
    assert!(built.unwrap().success(), "the peers could not be built");
    target.join("release")
}
