//! Everything that is tested from outside the crate, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test helpers may panic"
)]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the tests start the server as a process and wait for it in real time"
)]

mod support;

mod allow;
mod arguments;
mod ask;
mod auth_files;
mod batch;
mod call;
mod check;
mod commands;
mod completion;
mod creation;
mod definitions;
mod documents;
mod execution;
mod identity;
mod in_process;
mod includes;
mod layers;
mod lifecycle;
mod limits;
mod logging;
mod messages;
mod metrics;
mod pages;
mod prompts;
mod protocol;
mod real_client;
mod requests;
mod resources;
mod scripts;
mod sessions;
mod startup;
mod stdio;
mod streams;
mod subscriptions;
mod tasks;
mod tools_files;
mod toolsets;
