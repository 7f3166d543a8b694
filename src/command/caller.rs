//! `--as`: in whose name a command looks or calls.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::bail;

use super::Setup;
use crate::auth::{Authenticator, Caller};
use crate::catalog::Grants;
use crate::config;
use crate::console;
use crate::document::suggest::did_you_mean;
use crate::failure::Failure;

/// In whose name, and who can call at all. Without a subject nobody is meant, and nothing is known
/// of who can call.
pub(super) fn find(
    subject: Option<&str>,
    setup: &Setup,
) -> Result<(Option<Arc<Caller>>, Grants), Failure> {
    let Some(subject) = subject else {
        return Ok((None, Grants::Any));
    };
    let read = config::authenticator(&setup.parsed.cli, setup.environment.variables());
    let (authenticator, _) = read.map_err(|error| Failure::usage([error]))?;
    let caller = named(subject, &authenticator).map_err(|error| Failure::usage([error]))?;
    Ok((Some(caller), Grants::of(&authenticator)))
}

/// Finds a subject among the tokens that serving would let in. Of several tokens the first counts.
fn named(subject: &str, authenticator: &Authenticator) -> anyhow::Result<Arc<Caller>> {
    let Some(callers) = authenticator.callers() else {
        bail!("--as {subject} needs a file that says who that is: set --auth");
    };
    let now = SystemTime::now();
    let callers: Vec<_> = callers.filter(|caller| !caller.is_expired(now)).collect();
    let mut same = callers.iter().filter(|caller| caller.subject() == subject);
    let Some(first) = same.next() else {
        let known = callers.iter().map(|caller| caller.subject());
        let hint = did_you_mean(subject, known).map_or(String::new(), |hint| format!("; {hint}"));
        bail!("no token that is good now stands for `{subject}`{hint}");
    };
    if same.any(|caller| caller != first) {
        console::tell(&format!(
            "note: tokens of `{subject}` differ; the first of the file counts here"
        ));
    }
    Ok(Arc::clone(first))
}
