//! How clients reach the server.

use clap::Args;

use crate::host::PublicUrl;

/// How clients reach the server.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Network")]
pub struct Network {
    /// URL of the endpoint as clients know it, such as <https://mcp.example.com/mcp>: what tokens
    /// of an authorization server are issued for. Its host is allowed in the Host header, and its
    /// origin may call. Clients without a token are told where to get one, if the auth file names
    /// an issuer.
    #[arg(long, env = "MCP_SERVE_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<PublicUrl>,
}
