//! A temporary home for the catalog's integration tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test helpers may panic"
)]

#[path = "it/tools_files.rs"]
mod tools_files;
