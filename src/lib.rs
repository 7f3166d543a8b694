//! mcp-serve.
pub mod catalog;
