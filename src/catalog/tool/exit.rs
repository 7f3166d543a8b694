//! What the exit code of a program says.

use std::collections::BTreeMap;

/// What the exit codes of a tool mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExitRules(BTreeMap<u8, Option<String>>);

/// What one exit code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitMeaning<'a> {
    /// The call succeeded.
    Ok,
    /// The call failed, and this is what to tell the model.
    Message(&'a str),
    /// The call failed.
    Error,
}

impl ExitRules {
    /// Makes rules of codes and messages; a code without a message means success.
    pub(crate) fn new(rules: BTreeMap<u8, Option<String>>) -> Self {
        Self(rules)
    }

    /// Fills what is left open with the defaults.
    pub(crate) fn or(mut self, defaults: &Self) -> Self {
        for (code, meaning) in &defaults.0 {
            self.0.entry(*code).or_insert_with(|| meaning.clone());
        }
        self
    }

    /// Returns what an exit code means; 0 is always success, and what no rule names is an error.
    pub fn meaning(&self, code: i32) -> ExitMeaning<'_> {
        let rule = u8::try_from(code).ok().and_then(|code| self.0.get(&code));
        match rule {
            _ if code == 0 => ExitMeaning::Ok,
            Some(None) => ExitMeaning::Ok,
            Some(Some(message)) => ExitMeaning::Message(message),
            None => ExitMeaning::Error,
        }
    }
}
