//! How clients reach the server.

use std::path::PathBuf;

use clap::Args;

use super::path;
use crate::host::{Cidr, PublicUrl};

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

    /// File with the certificate of the server, in PEM form, and behind it those of the issuers that
    /// clients may not know. With it every TCP address of --listen speaks TLS 1.2 or 1.3 and nothing else.
    /// It is read again when it changes, and by SIGHUP.
    #[arg(long, env = "MCP_SERVE_TLS_CERT", value_name = "FILE", value_parser = path())]
    #[arg(requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// File with the private key of that certificate, in PEM form and not encrypted. The same is asked of
    /// the file as of a token file.
    #[arg(long, env = "MCP_SERVE_TLS_KEY", value_name = "FILE", value_parser = path())]
    #[arg(requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Address or network of proxies that are trusted to say where a request comes from, by
    /// X-Forwarded-For or Forwarded. May be given several times. It counts for limits without a
    /// credential and in the log, and says nothing about who calls.
    #[arg(
        long,
        env = "MCP_SERVE_TRUSTED_PROXY",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    pub trusted_proxy: Vec<Cidr>,
}
