//! The vocabulary of the Model Context Protocol: requests, notifications and results of both eras.
//!
//! *Legacy* revisions (2025-03-26 to 2025-11-25) open with `initialize` and keep a session.
//! *Modern* revisions (2026-07-28) say everything in each request's `_meta`.
//!
//! **Invariant:** nothing in here does I/O, knows a session or knows a tool. It turns bytes into
//! messages and back, and uses std, serde and `serde_json` only.

pub mod canonical;
pub mod capabilities;
pub mod completion;
pub mod content;
pub mod input;
pub mod jsonrpc;
pub mod logging;
pub mod mcp;
pub mod media;
pub mod plain;
pub mod progress;
pub mod prompts;
pub mod resources;
pub mod subscriptions;
pub mod texts;
pub mod trace;
pub mod version;

pub mod legacy;
pub mod modern;
pub mod tasks;
