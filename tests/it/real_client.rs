//! The official Rust SDK as the client, in both eras, with and without a token.

use rmcp::model::{CallToolRequestParams, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, RoleClient, RunningService, serve_client_with_lifecycle};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::json;

use crate::encryption;
use crate::support::{TOKEN, TestServer};
use crate::upstream::certificates;

const TOOLS: &str = "
name: real-client-test
tools:
  echo:
    description: Prints its arguments.
    effect: read
    exec: printf '%s,' {text} {times} {rest...}
    params: {text: string, times: integer = 2, rest: string...}
  json:
    description: Prints JSON.
    exec: echo '{\"answer\":42}'
    output: json
  fail:
    description: Fails.
    exec: ls /does/not/exist
";

type Client = RunningService<RoleClient, ()>;

async fn connect(
    server: &TestServer,
    token: Option<&str>,
    mode: ClientLifecycleMode,
) -> Result<Client, rmcp::service::ClientInitializeError> {
    connect_by(reqwest::Client::new, &server.url(), token, mode).await
}

async fn connect_by(
    http: impl FnOnce() -> reqwest::Client,
    url: &str,
    token: Option<&str>,
    mode: ClientLifecycleMode,
) -> Result<Client, rmcp::service::ClientInitializeError> {
    let mut config = StreamableHttpClientTransportConfig::with_uri(url);
    if let Some(token) = token {
        config = config.auth_header(token);
    }
    // The server brings its own, and the client shares its library for TLS with the server.
    drop(rustls::crypto::ring::default_provider().install_default());
    let transport = StreamableHttpClientTransport::with_client(http(), config);
    serve_client_with_lifecycle((), transport, mode).await
}

async fn use_every_tool(client: &Client) {
    let tools = client.list_all_tools().await.unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
    assert_eq!(names, ["echo", "json", "fail"]);
    assert_eq!(tools[0].input_schema["properties"]["times"]["default"], 2);

    let arguments = json!({"text": "a b", "rest": ["c", "$(id)"]});
    let call =
        CallToolRequestParams::new("echo").with_arguments(arguments.as_object().unwrap().clone());
    let result = client.call_tool(call).await.unwrap();
    assert_eq!(result.is_error, Some(false));
    assert_eq!(result.content[0].as_text().unwrap().text, "a b,2,c,$(id),");

    let result = client
        .call_tool(CallToolRequestParams::new("json"))
        .await
        .unwrap();
    assert_eq!(result.structured_content, Some(json!({"answer": 42})));

    let result = client
        .call_tool(CallToolRequestParams::new("fail"))
        .await
        .unwrap();
    assert_eq!(result.is_error, Some(true));
    let text = &result.content[0].as_text().unwrap().text;
    assert!(
        text.contains("exit status 2") && text.contains("/does/not/exist"),
        "{text}"
    );

    assert!(
        client
            .call_tool(CallToolRequestParams::new("unknown"))
            .await
            .is_err()
    );
}

/// How the client begins in each era, and the version that it gets.
fn modes() -> [(&'static str, ClientLifecycleMode, ProtocolVersion); 2] {
    [
        (
            "legacy",
            ClientLifecycleMode::Initialize,
            ProtocolVersion::V_2025_11_25,
        ),
        (
            "modern",
            ClientLifecycleMode::Discover {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            },
            ProtocolVersion::V_2026_07_28,
        ),
    ]
}

#[tokio::test]
async fn each_era_is_served_with_and_without_a_token() {
    for token in [None, Some(TOKEN)] {
        let server = match token {
            None => TestServer::start(TOOLS, &[]),
            Some(_) => TestServer::with_token(TOOLS, &[]),
        };
        for (name, mode, version) in modes() {
            let client = connect(&server, token, mode).await.unwrap();
            let info = client.peer_info().unwrap();
            assert_eq!(info.protocol_version, version, "{name}");
            use_every_tool(&client).await;
            client.cancel().await.unwrap();
        }
    }
}

#[tokio::test]
async fn each_era_is_served_over_tls() {
    let server = encryption::serve(TOOLS, &[]);
    let url = server.url().replace("http:", "https:");
    let ca = std::fs::read(certificates().join("ca.pem")).unwrap();
    let ca = reqwest::Certificate::from_pem(&ca).unwrap();
    let http = || {
        let client = reqwest::Client::builder().tls_certs_only([ca.clone()]);
        client.build().unwrap()
    };
    for (name, mode, version) in modes() {
        let client = connect_by(http, &url, None, mode).await.unwrap();
        let info = client.peer_info().unwrap();
        assert_eq!(info.protocol_version, version, "{name}");
        use_every_tool(&client).await;
        client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused() {
    let server = TestServer::with_token(TOOLS, &[]);
    for token in [None, Some("wrong-token-wrong-token-wrong")] {
        let refused = connect(&server, token, ClientLifecycleMode::Initialize).await;
        assert!(refused.is_err(), "{token:?}");
    }
}
