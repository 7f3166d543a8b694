//! mcp-serve.
pub mod auth;
pub mod catalog;
pub mod cli;
pub mod protocol;
pub mod secret;
pub mod session;
pub mod units;
