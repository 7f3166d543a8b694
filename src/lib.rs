//! mcp-serve.
pub mod auth;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod dispatch;
pub mod execute;
pub mod logging;
pub mod protocol;
pub mod secret;
pub mod session;
pub mod shutdown;
pub mod units;
