//! Asking the client of a session while a call runs: a request where the call speaks, and the answer
//! in a message of its own.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::CallInSession;
use crate::execute::{Answer, Client};
use crate::protocol::input::{InputRequest, NOT_ANSWERED, encode_cancelled, read_error};
use crate::protocol::jsonrpc::ErrorObject;
use crate::stream::Outbox;

/// The client of one call in a session.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) call: Arc<CallInSession>,
    pub(crate) outbox: Arc<Outbox>,
}

impl Client for Asking {
    fn ask(&self, request: &InputRequest) -> BoxFuture<'static, Answer> {
        let session = self.call.session();
        let (id, answered) = session.open_request();
        let open = Open {
            call: Arc::clone(&self.call),
            outbox: Arc::clone(&self.outbox),
            id,
        };
        let is_sent = self
            .outbox
            .demand(request.encode(id, elicitation_id).into());
        Box::pin(async move {
            if !is_sent {
                return Err(gone());
            }
            let answer = answered.await;
            drop(open);
            match answer {
                Ok(outcome) => outcome.map_err(|error| read_error(&error)),
                Err(_) => Err(gone()),
            }
        })
    }
}

fn gone() -> ErrorObject {
    ErrorObject::new(NOT_ANSWERED, "the client is not there to be asked")
}

/// An id that no other elicitation has.
fn elicitation_id() -> String {
    let mut bits = [0; 16];
    // Without random bits it is still an id, and only has to be opaque.
    getrandom::fill(&mut bits).ok();
    Uuid::from_bytes(bits).to_string()
}

/// A request that is not answered yet. Nobody waits any more when it is dropped.
struct Open {
    call: Arc<CallInSession>,
    outbox: Arc<Outbox>,
    id: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.call.session().close_request(self.id) {
            let data = encode_cancelled(self.id, "nobody waits for the answer any more");
            self.outbox.demand(data.into());
        }
    }
}
