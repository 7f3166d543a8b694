//! Building responses.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderName,
    HeaderValue, RETRY_AFTER,
};
use http::{HeaderMap, Method, StatusCode};
use http_body::{Frame, SizeHint};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{body, headers};
use crate::call;
use crate::protocol::jsonrpc::{
    self, ErrorObject, INTERNAL_ERROR, INVALID_REQUEST, RequestId, UnreadableId,
};
use crate::protocol::version::ProtocolVersion;
use crate::stream::Reply;

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What a client should wait before it tries again, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) enum RetryAfter {
    /// The server is busy; a call may end at any time.
    Busy = 1,
    /// The server is full or stopping.
    Full = 5,
}

/// A response with a body of one piece.
pub(super) fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Plain text, for people and probes.
pub(super) fn text(status: StatusCode, body: &'static str) -> Response {
    response(status, "text/plain; charset=utf-8", body)
}

/// JSON that is no message of JSON-RPC.
pub(super) fn document(document: &impl Serialize) -> Response {
    match serde_json::to_vec(document) {
        Ok(json) => response(StatusCode::OK, "application/json", json),
        Err(error) => {
            tracing::error!(%error, "a document could not be encoded");
            text(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
        }
    }
}

/// One JSON-RPC message. `keep` is dropped when the body has been handed to the connection.
pub(super) fn json<K: Send + Unpin + 'static>(
    status: StatusCode,
    message: impl Into<Bytes>,
    keep: K,
) -> Response {
    let body = Keeping {
        bytes: Some(message.into()),
        keep,
    };
    response(status, "application/json", Body::new(body))
}

/// An event stream.
pub(super) fn event_stream(body: Body) -> Response {
    let mut response = response(StatusCode::OK, "text/event-stream", body);
    let headers = response.headers_mut();
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-transform"),
    );
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// No content: the message was taken.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A reply to a request: a result, or an error under its status.
pub(super) fn reply<K: Send + Unpin + 'static>(
    id: &RequestId,
    outcome: &Result<Box<RawValue>, ErrorObject>,
    error_status: StatusCode,
    keep: K,
) -> Response {
    whole(call::reply(id, outcome, error_status), keep)
}

/// A reply that is the whole response.
pub(super) fn whole<K: Send + Unpin + 'static>(reply: Reply, keep: K) -> Response {
    let mut response = json(reply.status, reply.data, keep);
    if let Some(seconds) = reply.retry_after {
        let seconds = HeaderValue::from(seconds);
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

/// An error that answers a request whose id is known.
pub(super) fn error(status: StatusCode, id: &RequestId, error: &ErrorObject) -> Response {
    json(
        status,
        jsonrpc::encode_error(Some(id), UnreadableId::Null, error),
        (),
    )
}

/// An error without an id. Whether that is written as `null` depends on the revision.
pub(super) fn error_without_id(
    status: StatusCode,
    headers: &HeaderMap,
    error: &ErrorObject,
) -> Response {
    let version = headers::single(headers, &headers::MCP_PROTOCOL_VERSION).unwrap_or_default();
    let unreadable = match version.and_then(ProtocolVersion::parse) {
        Some(version) if version >= ProtocolVersion::V2025_11_25 => UnreadableId::Omitted,
        _ => UnreadableId::Null,
    };
    json(status, jsonrpc::encode_error(None, unreadable, error), ())
}

/// A refusal before the message was read, in a JSON-RPC error without an id.
pub(super) fn refusal(status: StatusCode, headers: &HeaderMap, message: &'static str) -> Response {
    error_without_id(status, headers, &ErrorObject::new(INVALID_REQUEST, message))
}

/// 404 for a path that leads nowhere, or not for this caller.
pub(super) fn not_found() -> Response {
    text(StatusCode::NOT_FOUND, "not found\n")
}

/// The answer to a request of what can only be read.
pub(super) fn read_only(request: &Request, answer: impl FnOnce() -> Response) -> Response {
    match *request.method() {
        Method::GET | Method::HEAD => answer(),
        _ => method_not_allowed(request.headers(), "GET, HEAD"),
    }
}

/// 405, naming the methods that are served.
pub(super) fn method_not_allowed(headers: &HeaderMap, allowed: &'static str) -> Response {
    let mut response = refusal(
        StatusCode::METHOD_NOT_ALLOWED,
        headers,
        "Invalid request: this HTTP method is not served here",
    );
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// 503 for work that the server cannot take now.
pub(super) fn unavailable(
    id: Option<&RequestId>,
    message: &'static str,
    retry_after: RetryAfter,
) -> Response {
    let error = ErrorObject::new(INTERNAL_ERROR, message);
    let body = jsonrpc::encode_error(id, UnreadableId::Null, &error);
    let mut response = json(StatusCode::SERVICE_UNAVAILABLE, body, ());
    let seconds = HeaderValue::from(retry_after as u16);
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

/// 429 for a client that has as much as one may have.
pub(super) fn too_many(
    id: Option<&RequestId>,
    message: &'static str,
    retry_after: RetryAfter,
) -> Response {
    let mut response = unavailable(id, message, retry_after);
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    response
}

/// 503 while the server stops.
pub(super) fn stopping(id: Option<&RequestId>) -> Response {
    let mut response = unavailable(id, call::STOPPING, RetryAfter::Full);
    close(&mut response);
    response
}

/// A refusal of a request whose body was not read. A part of it is read and dropped, so that a
/// client which is still writing can read the answer; one that waits to be asked for its body is
/// not asked.
pub(super) async fn without_reading(
    mut response: Response,
    headers: &HeaderMap,
    body: Body,
) -> Response {
    if !http_body::Body::is_end_stream(&body) {
        if !headers.contains_key(EXPECT) {
            body::discard(body, body::MAX_UNREAD, body::UNREAD_TIMEOUT).await;
        }
        close(&mut response);
    }
    response
}

/// The answer to HEAD: what GET would say, without its body.
pub(super) fn head(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = http_body::Body::size_hint(&body).exact() {
        let length = HeaderValue::from(length);
        parts.headers.insert(CONTENT_LENGTH, length);
    }
    Response::from_parts(parts, Body::empty())
}

/// Ends the connection after this response.
pub(super) fn close(response: &mut Response) {
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
}

/// A body of one piece that keeps something, such as the use of a session, until it was sent.
///
/// It does not say that its one frame is the last: hyper would drop it when that frame is buffered,
/// and asks for more only when little of what it has buffered is unsent.
struct Keeping<K> {
    bytes: Option<Bytes>,
    #[expect(dead_code, reason = "kept for its destructor")]
    keep: K,
}

impl<K: Unpin> http_body::Body for Keeping<K> {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.bytes.take().map(Frame::data).map(Ok))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
