//! What becomes of a call that comes in: it is started, or refused for lack of room.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::call_task::CallTask;
use super::conversation::Conversation;
use super::shares::{Full, Share};
use super::{Admission, CallRequest, Executor, Listener, Outcome, Stop, discreet, refusal, report};
use crate::auth::{Caller, Principal};
use crate::catalog::Tool;

impl Executor {
    /// Starts a call in a task of its own, and says so. One that is refused at a limit of calls is over
    /// when this returns, unless it has to be admitted.
    pub fn start(&self, request: CallRequest, stop: Stop, listener: Box<dyn Listener>) -> bool {
        let started = Instant::now();
        let (share, permit) = match self.take_in(&request.caller.principal) {
            Ok(taken) => taken,
            Err(full) => {
                self.refuse(request, listener, refusal::too_many_calls(full));
                return false;
            }
        };
        let admission = listener.admission();
        let secrets = Arc::clone(request.tool.secrets());
        let mut listener = discreet::listener(listener, &secrets);
        let grace = u64::try_from(request.tool.cancel.grace.as_millis()).unwrap_or(u64::MAX);
        self.longest_grace.fetch_max(grace, Ordering::Relaxed);
        let call = CallTask {
            number: request.number,
            from: request.from,
            deadline: self.time_limit(&request.tool),
            tool: request.tool,
            caller: request.caller,
            outbound: Arc::clone(&self.outbound),
            outputs: Arc::clone(&self.outputs),
            spares: Arc::clone(&self.spares),
            stop,
            shutdown: self.stop.clone(),
            kill: self.kill.clone(),
            share: Arc::new(share),
            questions: self.questions.clone(),
            permits: Arc::clone(&self.load.permits),
            gates: self.gates.clone(),
            tasks: self.tasks.clone(),
            stuck: self.load.stuck.clone(),
        };
        let conversation = Conversation::new(
            call.from.capabilities.clone(),
            request.input,
            self.limits.ask_timeout,
        )
        .hiding(secrets);
        self.tasks.spawn(async move {
            let run = async {
                match call.admitted(admission).await {
                    Ok(()) => {
                        let run =
                            call.run(&request.arguments, permit, conversation, &mut *listener);
                        run.await
                    }
                    Err(outcome) => (outcome, None),
                }
            };
            let (outcome, folder) = Box::pin(run).await;
            let (number, tool, caller) = (call.number, call.tool, call.caller);
            // A client that calls again at once finds its share free.
            drop(call.share);
            let (duration, how) = (started.elapsed(), report::label(&outcome).to_owned());
            listener.done(outcome);
            // Whoever sends the outcome is woken, and runs before this task goes on.
            tokio::task::yield_now().await;
            log((number, &tool, &caller), duration, &how);
            if let Some(folder) = folder {
                folder.leave().await;
            }
        });
        true
    }

    /// Ends a call that found no room.
    fn refuse(&self, request: CallRequest, listener: Box<dyn Listener>, outcome: Outcome) {
        let started = Instant::now();
        let admission = listener.admission();
        let end = move |outcome: Outcome| {
            let call = (request.number, &*request.tool, &*request.caller);
            log(call, started.elapsed(), report::label(&outcome));
            listener.done(outcome);
        };
        let Some(Admission(admitted)) = admission else {
            return end(outcome);
        };
        self.tasks.spawn(async move {
            end(admitted.await.err().map_or(outcome, Outcome::Refused));
        });
    }

    /// Takes what a call needs of the limits.
    fn take_in(&self, principal: &Principal) -> Result<(Share, OwnedSemaphorePermit), Full> {
        let share = self.calls.take(principal)?;
        let permit = Arc::clone(&self.load.permits).try_acquire_owned();
        Ok((share, permit.map_err(|_| Full::All)?))
    }
}

/// Says in the log what came of a call: `outcome` in a few words.
pub fn log((number, tool, caller): (u64, &Tool, &Caller), duration: Duration, outcome: &str) {
    tracing::info!(
        call = number,
        tool = tool.name,
        principal = %caller.principal,
        outcome,
        duration_seconds = duration.as_secs_f64(),
        "call"
    );
}
