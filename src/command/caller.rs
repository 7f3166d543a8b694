//! `--as`: in whose name a command looks or calls.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::anyhow;

use super::Setting;
use crate::auth::Caller;
use crate::config;
use crate::console;
use crate::document::suggest::did_you_mean;
use crate::failure::Failure;

/// Finds a subject among the tokens that serving would let in. Of several tokens the first counts.
pub(super) fn find(subject: &str, setting: &Setting<'_>) -> Result<Arc<Caller>, Failure> {
    let usage = |text: String| Failure::usage([anyhow!(text)]);
    let access = &setting.parsed.cli.access;
    let (authenticator, _) =
        config::authenticator(access).map_err(|error| Failure::usage([error]))?;
    if authenticator.is_open() {
        let text = format!("--as {subject} needs a file that says who that is: set --auth");
        return Err(usage(text));
    }
    let callers: Vec<_> = authenticator.callers(SystemTime::now()).collect();
    let mut same = callers.iter().filter(|caller| caller.subject() == subject);
    let Some(first) = same.next() else {
        let known = callers.iter().map(|caller| caller.subject());
        let hint = did_you_mean(subject, known).map_or(String::new(), |hint| format!("; {hint}"));
        return Err(usage(format!(
            "no token that is good now stands for `{subject}`{hint}"
        )));
    };
    if same.any(|caller| caller != first) {
        console::tell(&format!(
            "note: tokens of `{subject}` differ; the first of the file counts here"
        ));
    }
    Ok(Arc::clone(first))
}
