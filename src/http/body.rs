//! Reading a request body within its bounds: size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

/// How long a whole body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the rest of a body that is too large is read and dropped, so that the client, still
/// writing, can read the answer.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of a body is read and dropped when the request is refused before its body, in bytes.
pub(super) const MAX_UNREAD: usize = 1024 * 1024;

/// For how long.
pub(super) const UNREAD_TIMEOUT: Duration = Duration::from_secs(1);

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It has more bytes than the limit.
    TooLarge,
    /// It did not arrive in time.
    TooSlow,
    /// The connection broke, or the framing did.
    Broken,
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
///
/// [`BodyError`]; of a body that is too large at most `limit` bytes more are read and dropped, for
/// at most [`DISCARD_TIMEOUT`]. A client that waits for `100 Continue` gets none for a body that
/// says that it is too large.
pub(super) async fn read(
    mut body: Body,
    limit: usize,
    waits_for_continue: bool,
) -> Result<Bytes, BodyError> {
    let announced = http_body::Body::size_hint(&body).lower();
    if usize::try_from(announced).map_or(true, |announced| announced > limit) {
        if !waits_for_continue {
            Box::pin(discard(body, limit.saturating_mul(2), DISCARD_TIMEOUT)).await;
        }
        return Err(BodyError::TooLarge);
    }
    let deadline = Instant::now() + BODY_TIMEOUT;
    let mut bytes = BytesMut::new();
    loop {
        match next(&mut body, deadline).await? {
            None => return Ok(bytes.freeze()),
            Some(chunk) if chunk.len() > limit - bytes.len() => {
                Box::pin(discard(body, limit, DISCARD_TIMEOUT)).await;
                return Err(BodyError::TooLarge);
            }
            // A body in one piece, as nearly all are, is not copied.
            Some(chunk) if bytes.is_empty() && http_body::Body::is_end_stream(&body) => {
                return Ok(chunk);
            }
            Some(chunk) => bytes.extend_from_slice(&chunk),
        }
    }
}

async fn next(body: &mut Body, deadline: Instant) -> Result<Option<Bytes>, BodyError> {
    loop {
        let frame = timeout_at(deadline, body.frame())
            .await
            .map_err(|_| BodyError::TooSlow)?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(BodyError::Broken),
            // Trailers are no data, and never join the headers.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Reads and drops at most about `limit` bytes, for at most `timeout`.
pub(super) async fn discard(mut body: Body, limit: usize, timeout: Duration) {
    let deadline = Instant::now() + timeout;
    let mut dropped = 0_usize;
    while let Ok(Some(chunk)) = next(&mut body, deadline).await {
        dropped = dropped.saturating_add(chunk.len());
        if dropped > limit {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn chunks(count: usize, size: usize) -> Body {
        let chunk = move |_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; size]));
        Body::from_stream(stream::iter((0..count).map(chunk)))
    }

    #[tokio::test]
    async fn the_limit_is_exact() {
        assert_eq!(read(chunks(10, 10), 100, false).await.unwrap().len(), 100);
        assert_eq!(
            read(chunks(10, 10), 99, false).await,
            Err(BodyError::TooLarge)
        );
        assert_eq!(
            read(Body::from("x".repeat(100)), 100, false)
                .await
                .unwrap()
                .len(),
            100
        );
        assert_eq!(
            read(Body::from("x".repeat(101)), 100, false).await,
            Err(BodyError::TooLarge)
        );
        assert_eq!(read(Body::empty(), 100, false).await.unwrap().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let stalled = stream::pending::<Result<Bytes, std::io::Error>>();
        let started = Instant::now();
        assert_eq!(
            read(Body::from_stream(stalled), 100, false).await,
            Err(BodyError::TooSlow)
        );
        assert_eq!(started.elapsed(), BODY_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn discarding_is_bounded_in_bytes_and_time() {
        let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 64])));
        assert_eq!(
            read(Body::from_stream(endless), 100, false).await,
            Err(BodyError::TooLarge)
        );
        let big = Bytes::from_static(&[0; 200]);
        let stalled = futures_util::StreamExt::chain(
            stream::iter([Ok::<_, std::io::Error>(big)]),
            stream::pending(),
        );
        let started = Instant::now();
        assert_eq!(
            read(Body::from_stream(stalled), 100, false).await,
            Err(BodyError::TooLarge)
        );
        assert_eq!(started.elapsed(), DISCARD_TIMEOUT);
    }
}
