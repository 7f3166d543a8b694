//! Who takes messages out of an outbox.

use std::sync::Arc;

use super::history::{EventId, History};
use super::{Answer, Content, Event, Kept, Next, Outbox, Queued, Reply};
use crate::auth::Permission;

/// The one who takes messages out of an outbox. Dropped, it takes what waits with it.
#[derive(Debug)]
pub struct Reader {
    pub(super) outbox: Arc<Outbox>,
    pub(super) number: u64,
}

impl Reader {
    /// Waits until it is known how to answer: with the replies, once all are there and nothing was
    /// said before, or with a stream. The replies are taken out.
    ///
    /// # Cancel safety
    ///
    /// Nothing is taken out before this completes.
    pub async fn answer(&mut self) -> Answer {
        let outbox = Arc::clone(&self.outbox);
        outbox
            .wait_for(|state| {
                if state.speaks() {
                    return Some(Answer::Stream);
                }
                state.is_complete().then(|| {
                    let mut replies = Vec::with_capacity(state.queue.len());
                    while let Some(queued) = outbox.pop(state) {
                        if let Content::Reply(reply) = queued.content {
                            replies.push(reply);
                        }
                    }
                    Answer::Replies(replies)
                })
            })
            .await
    }

    /// The next message.
    ///
    /// # Cancel safety
    ///
    /// No message is lost if this is dropped before it completes.
    pub async fn next(&mut self) -> Next {
        let outbox = Arc::clone(&self.outbox);
        outbox
            .wait_for(|state| {
                if state.reader != Some(self.number) {
                    return Some(Next::Replaced);
                }
                let queued = outbox.pop(state);
                if queued.is_some() {
                    // Somebody may wait for room.
                    outbox.changed.notify_waiters();
                }
                match queued {
                    Some(Queued { id, content }) => Some(match content {
                        Content::Message(data) | Content::Demand(data) => {
                            Next::Event(Event { id, data })
                        }
                        Content::Reply(Reply { data, .. }) => Next::Event(Event { id, data }),
                        Content::Close => Next::Closed,
                    }),
                    None => state.is_complete().then_some(Next::End),
                }
            })
            .await
    }

    /// True if what is read ends with replies.
    pub fn ends(&self) -> bool {
        self.outbox.state.lock().awaited.is_some()
    }

    /// From now on, and with what waits already, a history keeps what is sent, as a stream of its
    /// own, which only who has the permission can come back for. Returns the id of the beginning. A
    /// stream that was kept before is forgotten: its client opened this one in its place.
    pub fn keep_in(&self, history: &Arc<History>, permission: Option<Permission>) -> EventId {
        let mut state = self.outbox.state.lock();
        if let Some(kept) = state.kept.take() {
            kept.history.close(kept.stream);
        }
        let stream = history.open(&self.outbox, permission);
        for queued in &mut state.queue {
            if let Some((data, importance)) = queued.content.data() {
                queued.id = Some(history.record(stream, importance, data));
            }
        }
        state.kept = Some(Kept {
            history: Arc::clone(history),
            stream,
        });
        history.beginning(stream)
    }

    /// The id of the last message that was sent, if a history keeps them.
    pub fn position(&self) -> Option<EventId> {
        let state = self.outbox.state.lock();
        let kept = state.kept.as_ref()?;
        Some(kept.history.position(kept.stream))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.outbox.state.lock();
        if state.reader == Some(self.number) {
            state.reader = None;
            self.outbox.clear(&mut state);
            drop(state);
            self.outbox.changed.notify_waiters();
        }
    }
}
