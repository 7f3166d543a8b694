//! The requests of 2026-07-28 that go on, so that `notifications/cancelled` finds them.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::protocol::jsonrpc::RequestKey;

/// What runs, under the ids that the client chose.
#[derive(Debug, Clone, Default)]
pub(super) struct Running(Arc<Mutex<Vec<Request>>>);

#[derive(Debug)]
struct Request {
    /// The server's own, and unique; the client's id need not be.
    number: u64,
    key: RequestKey,
    cancel: CancellationToken,
}

impl Running {
    /// Notes a request until what is returned is dropped.
    pub(super) fn note(&self, number: u64, key: RequestKey, cancel: CancellationToken) -> Noted {
        self.0.lock().push(Request {
            number,
            key,
            cancel,
        });
        Noted {
            running: self.clone(),
            number,
        }
    }

    /// Cancels every request with this id, and returns how many there were.
    pub(super) fn cancel(&self, key: &RequestKey) -> usize {
        let requests = self.0.lock();
        let matching = requests.iter().filter(|request| request.key == *key);
        matching.map(|request| request.cancel.cancel()).count()
    }
}

/// A request that runs. Dropped, it does not any more.
#[derive(Debug)]
pub(super) struct Noted {
    running: Running,
    number: u64,
}

impl Drop for Noted {
    fn drop(&mut self) {
        let mut requests = self.running.0.lock();
        requests.retain(|request| request.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_found_by_its_id_until_it_is_over() {
        let running = Running::default();
        let [one, two] = [(); 2].map(|()| CancellationToken::new());
        let first = running.note(1, RequestKey::Number(7), one.clone());
        let _second = running.note(2, RequestKey::String("7".to_owned()), two.clone());
        assert_eq!(running.cancel(&RequestKey::Number(8)), 0);
        assert_eq!(running.cancel(&RequestKey::Number(7)), 1);
        assert!(one.is_cancelled() && !two.is_cancelled());
        drop(first);
        assert_eq!(running.cancel(&RequestKey::Number(7)), 0);
    }
}
