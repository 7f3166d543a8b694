//! The options of the audit log.

use clap::Args;

use crate::cli::values::{AuditArguments, AuditMode, AuditTarget};

/// The audit log.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Audit")]
pub struct Audit {
    /// Where to write who called what and what came of it, two lines of JSON for each call: a file,
    /// stderr, or journald. The file is made with mode 0600, and opened again at SIGHUP. Without it
    /// there is no audit log.
    #[arg(long, env = "MCP_SERVE_AUDIT", value_name = "FILE|stderr|journald")]
    pub audit: Option<AuditTarget>,

    /// What happens when the audit log cannot be written: with `best_effort` calls go on, and what
    /// is lost is counted; with `required` no call begins and none is answered before its first line
    /// is on the disk, and new calls get 503 until it can be written again.
    #[arg(
        long,
        env = "MCP_SERVE_AUDIT_MODE",
        value_name = "MODE",
        default_value = "best_effort"
    )]
    pub audit_mode: AuditMode,

    /// What the audit log says of the arguments of a call: the `digest` (SHA-256) of them, `redacted`
    /// for the arguments without the secrets of the definitions, or `none`.
    #[arg(
        long,
        env = "MCP_SERVE_AUDIT_ARGUMENTS",
        value_name = "FORM",
        default_value = "digest"
    )]
    pub audit_arguments: AuditArguments,
}
