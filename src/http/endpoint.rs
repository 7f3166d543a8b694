//! The MCP endpoint: one path for both eras.
//!
//! The era is decided here, once. What comes after runs straight through [`super::legacy`] or
//! [`super::modern`].

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::EXPECT;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Map;
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::body::{self, BodyError};
use super::{Connection, Link, Visitor, admission, headers, legacy, modern, reply};
use crate::app::App;
use crate::auth::Caller;
use crate::call::audit::Way;
use crate::catalog::{Catalog, Endpoint};
use crate::dispatch;
use crate::metrics::{RequestEra, RequestInFlight};
use crate::protocol::capabilities::ClientCapabilities;
use crate::protocol::jsonrpc::{
    self, ErrorObject, HEADER_MISMATCH, INTERNAL_ERROR, INVALID_REQUEST, Malformed, Message,
};
use crate::protocol::version::{Era, ProtocolVersion, classify, unsupported};
use crate::session::{Bucket, SessionGuard};

/// One request on its way: who sent it, over which connection, and its headers.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) app: Arc<App>,
    pub(super) caller: Arc<Caller>,
    pub(super) endpoint: Endpoint,
    /// What the endpoint serves, from the first look at this request to the end of what it starts.
    pub(super) catalog: Arc<Catalog>,
    pub(super) connection: Connection,
    pub(super) headers: HeaderMap,
    pub(super) started: Instant,
}

/// A request whose client waits for its answer.
#[derive(Debug)]
pub(super) struct Waiting {
    token: Option<TaskTrackerToken>,
    link: Arc<Link>,
    /// Counts the request until the last of these is dropped. A call holds one, which may go on after
    /// its client has left.
    pub(super) in_flight: Arc<RequestInFlight>,
}

/// The answer has left this server when it is flushed: what hyper still holds must not be lost when
/// the server stops.
impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            self.link.hold(token);
        }
    }
}

impl Exchange {
    /// What its requests are read against. `capabilities` are those of a legacy session.
    pub(super) fn context<'a>(
        &'a self,
        version: ProtocolVersion,
        capabilities: Option<&'a ClientCapabilities>,
    ) -> dispatch::Context<'a> {
        dispatch::Context {
            capabilities,
            traceparent: headers::single(&self.headers, &headers::TRACEPARENT).unwrap_or_default(),
            ..self.app.context(version, &self.caller, &self.catalog)
        }
    }

    /// What the limits per principal count by.
    pub(super) fn bucket(&self) -> Option<Bucket> {
        Bucket::of(&self.caller.principal, self.connection.network())
    }

    /// Where its requests came in.
    pub(super) fn way<'a>(&'a self, session: Option<&'a SessionGuard>) -> Way<'a> {
        Way {
            client: self.connection.client(),
            toolset: self.endpoint.as_deref(),
            session,
        }
    }

    /// Has a server that stops wait for the answer.
    pub(super) fn waiting(&self, era: RequestEra) -> Waiting {
        Waiting {
            token: Some(self.app.unanswered.token()),
            link: Arc::clone(&self.connection.link),
            in_flight: Arc::new(self.app.metrics.request_started(era)),
        }
    }
}

/// Serves every method of the endpoint.
pub(super) async fn serve(app: Arc<App>, visitor: Visitor, request: Request) -> Response {
    let Visitor { caller, connection } = visitor;
    let (parts, body) = request.into_parts();
    let Some(endpoint) = at(&app.options.path, parts.uri.path()) else {
        return reply::not_found();
    };
    let Some(catalog) = app.catalog.at(&endpoint, &caller) else {
        return reply::not_found();
    };
    let exchange = Exchange {
        app,
        caller,
        endpoint,
        catalog,
        connection,
        headers: parts.headers,
        started: Instant::now(),
    };
    match parts.method {
        Method::POST => post(exchange, body).await,
        Method::GET => session_method(&exchange, legacy::get),
        Method::DELETE => session_method(&exchange, legacy::delete),
        _ => reply::method_not_allowed(&exchange.headers, allowed(&exchange.app)),
    }
}

/// The endpoint at a path: the whole at `root`, or a toolset below it; `None` where there is none.
pub(super) fn at(root: &str, path: &str) -> Option<Endpoint> {
    let name = name_at(root, path)?;
    Some((!name.is_empty()).then(|| Arc::from(name)))
}

/// The name of that toolset as it stands in the path; empty for the whole.
pub(super) fn name_at<'p>(root: &str, path: &'p str) -> Option<&'p str> {
    let below = path.strip_prefix(root)?;
    if matches!(below, "" | "/") {
        return Some("");
    }
    let name = below.strip_prefix('/')?;
    let name = name.strip_suffix('/').unwrap_or(name);
    let is_segment = !name.is_empty() && !name.contains('/');
    is_segment.then_some(name)
}

/// The HTTP methods that the endpoint serves.
pub(super) fn allowed(app: &App) -> &'static str {
    if has_sessions(app) {
        "GET, POST, DELETE"
    } else {
        "POST"
    }
}

fn has_sessions(app: &App) -> bool {
    app.sessions.is_some() && app.options.served.includes(Era::Legacy)
}

/// Serves GET or DELETE, which only legacy sessions have.
fn session_method(exchange: &Exchange, serve: fn(&Exchange) -> Response) -> Response {
    if !has_sessions(&exchange.app) {
        return reply::method_not_allowed(&exchange.headers, "POST");
    }
    match version(exchange) {
        Err(response) => response,
        Ok(Some(ProtocolVersion::V2026_07_28)) => {
            reply::method_not_allowed(&exchange.headers, "POST")
        }
        Ok(_) => serve(exchange),
    }
}

/// The version that the header names, if it is served.
#[expect(clippy::result_large_err, reason = "the error is the response itself")]
fn version(exchange: &Exchange) -> Result<Option<ProtocolVersion>, Response> {
    let headers = &exchange.headers;
    let served = exchange.app.options.served;
    match headers::single(headers, &headers::MCP_PROTOCOL_VERSION) {
        Ok(None) => Ok(None),
        Ok(Some(text)) => served.parse(text).map(Some).ok_or_else(|| {
            let error = unsupported(served, text);
            reply::error_without_id(StatusCode::BAD_REQUEST, headers, &error)
        }),
        Err(headers::Unusable) => Err(unusable(headers)),
    }
}

fn unusable(headers: &HeaderMap) -> Response {
    let error = ErrorObject::new(
        HEADER_MISMATCH,
        "Header mismatch: an MCP header stands twice or is not visible ASCII",
    );
    reply::error_without_id(StatusCode::BAD_REQUEST, headers, &error)
}

async fn post(mut exchange: Exchange, body: Body) -> Response {
    let headers = &exchange.headers;
    if !headers::is_json(headers) {
        let refusal = reply::refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            headers,
            "Invalid request: the Content-Type must be application/json",
        );
        return Box::pin(reply::without_reading(refusal, headers, body)).await;
    }
    if !headers::accepts(headers, "application/json")
        || !headers::accepts(headers, "text/event-stream")
    {
        let refusal = reply::refusal(
            StatusCode::NOT_ACCEPTABLE,
            headers,
            "Invalid request: the Accept header must name application/json and text/event-stream",
        );
        return Box::pin(reply::without_reading(refusal, headers, body)).await;
    }
    let limit = exchange.app.options.max_body;
    let body = match body::read(body, limit, headers.contains_key(EXPECT)).await {
        Ok(body) => body,
        Err(error) => return body_refused(error, limit, headers),
    };
    // The body may have taken its time: what was taken away meanwhile is gone.
    if let Err(refusal) = admission::check_still(&exchange) {
        return refusal;
    }
    let Some(catalog) = (exchange.app.catalog).at(&exchange.endpoint, &exchange.caller) else {
        return reply::not_found();
    };
    exchange.catalog = catalog;
    match jsonrpc::parse(&body) {
        Ok(jsonrpc::Body::Message(message)) => route(exchange, message).await,
        Ok(jsonrpc::Body::Batch(messages)) => batch(exchange, messages).await,
        Err(Malformed {
            id: Some(id),
            error,
        }) => reply::error(StatusCode::BAD_REQUEST, &id, &error),
        Err(Malformed { id: None, error }) => {
            reply::error_without_id(StatusCode::BAD_REQUEST, &exchange.headers, &error)
        }
    }
}

/// Serves a batch, if it is a legacy client's.
async fn batch(exchange: Exchange, messages: Vec<Result<Message, Malformed>>) -> Response {
    match version(&exchange) {
        Err(response) => response,
        Ok(Some(ProtocolVersion::V2026_07_28)) => legacy::no_batch(&exchange.headers),
        Ok(_) => Box::pin(legacy::post_batch(exchange, messages)).await,
    }
}

/// Decides the era of a message and hands it on.
async fn route(exchange: Exchange, message: Message) -> Response {
    let Ok(header) = headers::single(&exchange.headers, &headers::MCP_PROTOCOL_VERSION) else {
        return unusable(&exchange.headers);
    };
    let none = Map::new();
    let (id, method, params) = match &message {
        Message::Request(request) => (
            Some(&request.id),
            Some(request.method.as_str()),
            &request.params,
        ),
        Message::Notification(notification) => (
            None,
            Some(notification.method.as_str()),
            &notification.params,
        ),
        Message::Response(_) => (None, None, &none),
    };
    match classify(exchange.app.options.served, header, method, params) {
        Ok(Era::Legacy) => legacy::post(exchange, message).await,
        Ok(Era::Modern) => modern::post(exchange, message).await,
        Err(error) => match id {
            Some(id) => reply::error(StatusCode::BAD_REQUEST, id, &error),
            None => reply::error_without_id(StatusCode::BAD_REQUEST, &exchange.headers, &error),
        },
    }
}

fn body_refused(error: BodyError, limit: usize, headers: &HeaderMap) -> Response {
    let (status, code, message) = match error {
        BodyError::TooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            INVALID_REQUEST,
            format!("Invalid request: the body is larger than {limit} bytes"),
        ),
        BodyError::TooSlow => (
            StatusCode::REQUEST_TIMEOUT,
            INTERNAL_ERROR,
            "The body did not arrive in time".to_owned(),
        ),
        BodyError::Broken => (
            StatusCode::BAD_REQUEST,
            INVALID_REQUEST,
            "Invalid request: the body is broken".to_owned(),
        ),
    };
    let mut response = reply::error_without_id(status, headers, &ErrorObject::new(code, message));
    reply::close(&mut response);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_path_or_one_segment_below_it() {
        let toolset = |name: &str| Some(Some(Arc::from(name)));
        let cases = [
            ("/mcp", Some(None)),
            ("/mcp/", Some(None)),
            ("/mcp/a", toolset("a")),
            ("/mcp/a/", toolset("a")),
            ("/mcp/a%2fb", toolset("a%2fb")),
            ("/mcp//", None),
            ("/mcp//a", None),
            ("/mcp/a/b", None),
            ("/mcp/a//", None),
            ("/mcpa", None),
            ("/", None),
            ("/MCP", None),
            ("/healthz", None),
            ("*", None),
        ];
        for (path, expected) in cases {
            assert_eq!(at("/mcp", path), expected, "{path}");
        }
    }
}
