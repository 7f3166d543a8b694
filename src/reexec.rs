//! This program, run again under another name: what must be a process of its own and needs no other
//! file for that.

use std::sync::atomic::{AtomicBool, Ordering};

/// This program, also when its file was replaced.
pub(crate) const THIS_PROGRAM: &str = "/proc/self/exe";

/// Set once in the program that knows those names.
static IS_MCP_SERVE: AtomicBool = AtomicBool::new(false);

/// Says that this process runs mcp-serve.
pub(crate) fn is_here() {
    IS_MCP_SERVE.store(true, Ordering::Relaxed);
}

/// Whether this program can be run again: it is mcp-serve, and not one that has its library.
pub(crate) fn is_possible() -> bool {
    IS_MCP_SERVE.load(Ordering::Relaxed)
}
