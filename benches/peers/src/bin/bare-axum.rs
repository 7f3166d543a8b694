//! What the library below the server can do: it reads a body, looks at nothing, and answers with
//! the same bytes every time. Takes the address to listen on.

use std::env;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The result of a call of a tool with a fixed text.
const ANSWER: &str =
    r#"{"jsonrpc":"2.0","id":3,"result":{"content":[{"type":"text","text":"hello"}]}}"#;

async fn answer(_: Bytes) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], ANSWER)
}

fn main() {
    let address = env::args().nth(1).expect("an address to listen on");
    Runtime::new().unwrap().block_on(async {
        let listener = TcpListener::bind(address).await.unwrap();
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        let router = Router::new().route("/mcp", post(answer));
        axum::serve(listener, router).await.unwrap();
    });
}
