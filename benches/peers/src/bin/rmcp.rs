//! The official Rust SDK with a tool that returns a fixed text, and tools that are programs, without
//! sessions and with JSON, its fastest form. Takes the address to listen on.

use std::env;
use std::process::Stdio;
use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt as _;
use rmcp::model::{CallToolResult, ContentBlock};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, tool, tool_handler, tool_router};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::runtime::Runtime;

#[derive(Clone)]
struct Hello;

#[tool_router]
impl Hello {
    #[tool(description = "Says hello.")]
    async fn fixed(&self) -> CallToolResult {
        CallToolResult::success(vec![ContentBlock::text("hello")])
    }

    #[tool(name = "true", description = "Does nothing.")]
    async fn nothing(&self) -> CallToolResult {
        run(&mut Command::new("/bin/true")).await
    }

    #[tool(description = "Says hello.")]
    async fn echo(&self) -> CallToolResult {
        run(Command::new("/bin/echo").arg("hello")).await
    }
}

/// As somebody would write it who wants no more than the output.
async fn run(command: &mut Command) -> CallToolResult {
    let output = command.env_clear().stdin(Stdio::null()).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    CallToolResult::success(vec![ContentBlock::text(text)])
}

#[tool_handler]
impl ServerHandler for Hello {}

fn main() {
    let address = env::args().nth(1).expect("an address to listen on");
    Runtime::new().unwrap().block_on(async {
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true);
        let sessions = Arc::new(LocalSessionManager::default());
        let service = StreamableHttpService::new(|| Ok(Hello), sessions, config);
        let listener = TcpListener::bind(address).await.unwrap();
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        let router = Router::new().nest_service("/mcp", service);
        axum::serve(listener, router).await.unwrap();
    });
}
