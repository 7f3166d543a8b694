//! The turn of a call: what it takes from others while it runs, and the wait for that.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::CallTask;
use crate::catalog::{Arguments, Work};
use crate::execute::deadline::Deadline;
use crate::execute::gate::{Entered, Key, Place};
use crate::execute::reporter::Reporter;
use crate::execute::shares::Share;
use crate::execute::{Outcome, refusal, report};

/// What a call that runs takes from others, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    /// It did not come at once.
    pub(super) has_waited: bool,
    _permit: OwnedSemaphorePermit,
    _place: Place,
    _share: Arc<Share>,
}

impl CallTask {
    /// Renders what the call does, once it is its turn.
    pub(super) async fn work_in_turn(
        &self,
        arguments: &Arguments,
        permit: Option<OwnedSemaphorePermit>,
        deadline: &Deadline,
        reporter: &mut Reporter<'_>,
    ) -> Result<(Work, Turn), Outcome> {
        let looks_up = self.tool.looks_up_paths();
        // What cannot run anyway need not wait. But nothing is looked up without a permit.
        let (work, permit) = if looks_up && permit.is_none() {
            (None, permit)
        } else {
            let (work, permit) = self.work(arguments, deadline, permit).await?;
            (Some(work), permit)
        };
        let turn = self.turn(arguments, permit, deadline, reporter).await?;
        match work {
            // What a path led to before the wait may be something else now.
            Some(work) if !(looks_up && turn.has_waited) => Ok((work, turn)),
            _ => self.work(arguments, deadline, turn).await,
        }
    }

    /// Waits until the call may run, if it has to. Its time goes by meanwhile, but it keeps nobody
    /// else from running: it gives its permit back, and takes another when it is its turn.
    async fn turn(
        &self,
        arguments: &Arguments,
        permit: Option<OwnedSemaphorePermit>,
        deadline: &Deadline,
        reporter: &mut Reporter<'_>,
    ) -> Result<Turn, Outcome> {
        let tool = &self.tool;
        let key = Key {
            tool: tool.identity().to_owned(),
            value: tool.concurrency_key(arguments, &self.caller),
        };
        let now = Instant::now();
        let principal = &self.caller.principal;
        let entered = (self.gates).enter(key, principal, &tool.concurrency, tool.rate, now);
        let entered = entered.map_err(|refused| refusal::not_let_in(tool, &refused, now))?;
        let (entered, permit) = match (entered, permit) {
            (Entered::Now(place), Some(permit)) => {
                return Ok(self.turn_with(permit, place, false));
            }
            (entered, permit) => (entered, permit),
        };
        drop(permit);
        tracing::debug!(
            call = self.number,
            tool = tool.name,
            "a call waits for its turn"
        );
        // Nothing but its turn is missing: a client that comes back for a task need not wait here.
        reporter.begins();
        let turn = async {
            let place = match entered {
                Entered::Now(place) => place,
                Entered::Later(waiting) => waiting
                    .turn()
                    .await
                    .map_err(|refused| refusal::not_let_in(tool, &refused, Instant::now()))?,
            };
            let permit = Arc::clone(&self.permits).acquire_owned().await;
            let permit = permit.map_err(|_| Outcome::Lost)?;
            Ok(self.turn_with(permit, place, true))
        };
        let at = deadline.at().unwrap_or(now);
        tokio::select! {
            // A call whose time is over does not run, also when its turn has come.
            biased;
            stopped = self.stopped() => Err(Outcome::Stopped(stopped)),
            () = tokio::time::sleep_until(at) => Err(report::waited_too_long(self.deadline)),
            turn = reporter.during(turn) => turn,
        }
    }

    fn turn_with(&self, permit: OwnedSemaphorePermit, place: Place, has_waited: bool) -> Turn {
        Turn {
            has_waited,
            _permit: permit,
            _place: place,
            _share: Arc::clone(&self.share),
        }
    }
}
