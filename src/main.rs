//! The binary: everything is in the library.

use std::process::ExitCode;

/// What many streams took together is given back when they end, and a stream takes less meanwhile;
/// `benches/load` measures both.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    ExitCode::from(mcp_serve::run(std::env::args_os()))
}
