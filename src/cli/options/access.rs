//! Who may call.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use http::HeaderName;

use crate::cli::values::{credential_header, path};
use crate::host::{HostName, Origin};

/// Who may call.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Access")]
pub struct Access {
    /// File that says who may call: the SHA-256 digests of bearer tokens, each with a subject and
    /// perhaps tenant, scopes, roles and an expiry date; issuers whose tokens are good; and whether
    /// anybody comes without a token. The same is asked of the file as of a token file, beside which
    /// it cannot be set.
    #[arg(long, env = "MCP_SERVE_AUTH", value_name = "FILE", value_parser = path())]
    pub auth: Option<PathBuf>,

    /// File that holds a bearer token on one line, at least 22 characters. Every request must
    /// present it. The file must belong to root or the user of the server, be closed to others
    /// and not be writable by its group.
    #[arg(long, env = "MCP_SERVE_TOKEN_FILE", value_name = "FILE", value_parser = path())]
    pub token_file: Option<PathBuf>,

    /// Header that may hold the bearer token too, such as X-Api-Key: the token and nothing else. May be
    /// given several times. All credentials of a request must be the same.
    #[arg(
        long,
        env = "MCP_SERVE_CREDENTIAL_HEADER",
        value_name = "NAME",
        value_delimiter = ','
    )]
    #[arg(value_parser = credential_header)]
    pub credential_header: Vec<HeaderName>,

    /// Listen beyond loopback although anybody who can connect may call every tool.
    #[arg(long, env = "MCP_SERVE_ALLOW_UNAUTHENTICATED", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "false")]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub allow_unauthenticated: bool,

    /// Listen beyond loopback although the server, and so every tool, runs as root.
    #[arg(long, env = "MCP_SERVE_ALLOW_ROOT", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "false")]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub allow_root: bool,

    /// File that holds a key of 32 bytes, in Base64 or hexadecimal: it seals what a client of
    /// 2026-07-28 carries from one round of a call to the next, when a tool asks it something.
    /// Servers that share the key serve each other's rounds; without one the key is random and
    /// ends with the process. The same is asked of the file as of a token file.
    #[arg(long, env = "MCP_SERVE_STATE_KEY_FILE", value_name = "FILE", value_parser = path())]
    pub state_key_file: Option<PathBuf>,

    /// Accept a token file, an auth file, a key file or a file of definitions whatever its owner and
    /// mode, and the mode of its folder.
    #[arg(long, env = "MCP_SERVE_INSECURE_PERMISSIONS", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "false")]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub insecure_permissions: bool,

    /// Name that clients may use in the Host header. May be given several times. Always allowed:
    /// localhost, loopback addresses, and the address that the connection came in on. The port is
    /// not compared.
    #[arg(
        long,
        env = "MCP_SERVE_ALLOWED_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub allowed_host: Vec<HostName>,

    /// Origin of a web page that may call, such as <https://app.example.com>. May be given
    /// several times. Always allowed: the origin of the server itself.
    #[arg(
        long,
        env = "MCP_SERVE_ALLOWED_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub allowed_origin: Vec<Origin>,
}
