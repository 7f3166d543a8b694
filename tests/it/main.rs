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

mod issuer;
mod support;
mod upstream;

mod access;
mod allow;
mod arguments;
mod ask;
mod audit;
mod auth_files;
mod batch;
mod by_hand;
mod call;
mod check;
mod claims;
mod commands;
mod completion;
mod cookbook;
mod cors;
mod creation;
mod credential_headers;
mod definitions;
mod documents;
mod encryption;
mod execution;
mod faults;
mod foreign;
mod guesses;
mod hostile_files;
mod http_faults;
mod http_responses;
mod http_tools;
mod http_trust;
mod identity;
mod in_process;
mod includes;
mod introspection;
mod jwt;
mod layers;
mod lifecycle;
mod limits;
mod logging;
mod messages;
mod metrics;
mod mutations;
mod open_files;
mod output;
mod outputs;
mod overload;
mod pages;
mod planted;
mod prompts;
mod protocol;
mod proxies;
mod public_url;
mod real_client;
mod reference;
mod reload;
mod requests;
mod resources;
mod rotation;
mod routes;
mod sandbox;
mod scripts;
mod secrets;
mod sessions;
mod showcase;
mod startup;
mod stdio;
mod step_up;
mod strangers;
mod streams;
mod subscriptions;
mod tasks;
mod team;
mod tests_key;
mod tokens;
mod tools_files;
mod toolsets;
mod trust;
mod turns;
