//! The requests that a session sent to its client, until they are answered.

use serde_json::Value;
use tokio::sync::oneshot;

/// What a client answered: a result, or the error as it wrote it.
pub type Outcome = Result<Value, Value>;

/// The open requests of a session. Their ids are the server's own, and mean nothing in another
/// session.
#[derive(Debug, Default)]
pub(super) struct Asked {
    last: u64,
    open: Vec<(u64, oneshot::Sender<Outcome>)>,
}

impl Asked {
    /// Opens a request under a new id.
    pub(super) fn open(&mut self) -> (u64, oneshot::Receiver<Outcome>) {
        let (answer, answered) = oneshot::channel();
        self.last += 1;
        self.open.push((self.last, answer));
        (self.last, answered)
    }

    /// Takes a request out, if it is open.
    pub(super) fn take(&mut self, id: u64) -> Option<oneshot::Sender<Outcome>> {
        let at = self.open.iter().position(|(open, _)| *open == id)?;
        Some(self.open.swap_remove(at).1)
    }

    /// Takes every open request out.
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_finds_its_request_once() {
        let mut asked = Asked::default();
        let (first, mut one) = asked.open();
        let (second, mut two) = asked.open();
        assert_ne!(first, second);
        asked.take(second).unwrap().send(Ok(json!(2))).unwrap();
        asked.take(first).unwrap().send(Err(json!(1))).unwrap();
        assert_eq!(one.try_recv(), Ok(Err(json!(1))));
        assert_eq!(two.try_recv(), Ok(Ok(json!(2))));
        for id in [0, first, second, 3] {
            assert!(asked.take(id).is_none(), "{id}");
        }
    }
}
