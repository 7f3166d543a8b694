//! Why there is nothing to do about a request but to say so.

use serde_json::json;

use super::Plan;
use crate::protocol::jsonrpc::{ErrorObject, INVALID_REQUEST};

/// The credential of a request lacks scopes, and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InsufficientScope {
    /// What a credential needs to have, each once: all that this request asks for.
    scopes: Vec<String>,
}

/// Why a request is not served.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is wrong, or names what is not there.
    Error(ErrorObject),
    /// Another credential could do it.
    InsufficientScope(InsufficientScope),
}

impl InsufficientScope {
    pub(super) fn new(scopes: &[&str]) -> Self {
        let mut needed = Self::default();
        needed.add(scopes.iter().copied());
        needed
    }

    /// Asks for what is named here as well, so that a client does not lose it.
    #[must_use]
    pub fn beside<'a>(mut self, granted: impl Iterator<Item = &'a str>) -> Self {
        self.add(granted);
        self
    }

    /// Asks for what another part of the request needs, too.
    pub(super) fn join(&mut self, other: &Self) {
        self.add(other.scopes.iter().map(String::as_str));
    }

    fn add<'a>(&mut self, scopes: impl Iterator<Item = &'a str>) {
        for scope in scopes {
            if !self.scopes.iter().any(|known| known == scope) {
                self.scopes.push(scope.to_owned());
            }
        }
    }

    /// The scopes as RFC 6749, section 3.3, writes them: with one space between two.
    pub fn scope(&self) -> String {
        self.scopes.join(" ")
    }

    /// What a client is told whose transport has no status for it.
    pub fn error(&self) -> ErrorObject {
        let scope = self.scope();
        let message = format!("Forbidden: this needs a token with the scope: {scope}");
        let data = json!({"error": "insufficient_scope", "scope": scope});
        ErrorObject::new(INVALID_REQUEST, message).with_data(data)
    }
}

impl From<ErrorObject> for Refusal {
    fn from(error: ErrorObject) -> Self {
        Self::Error(error)
    }
}

impl From<InsufficientScope> for Refusal {
    fn from(needed: InsufficientScope) -> Self {
        Self::InsufficientScope(needed)
    }
}

impl From<ErrorObject> for Plan {
    fn from(error: ErrorObject) -> Self {
        Self::Reply(Err(error))
    }
}

impl From<Refusal> for Plan {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Error(error) => error.into(),
            Refusal::InsufficientScope(needed) => Self::StepUp(needed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_is_asked_for_once_and_in_order() {
        let mut needed = InsufficientScope::new(&["b", "a", "b"]);
        needed.join(&InsufficientScope::new(&["c", "a"]));
        assert_eq!(needed.scope(), "b a c");
        let error = needed.error();
        assert_eq!(error.code, INVALID_REQUEST);
        let data = json!({"error": "insufficient_scope", "scope": "b a c"});
        assert_eq!(error.data, Some(data));
    }
}
