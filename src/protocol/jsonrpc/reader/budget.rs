//! What a body may hold, and the rules that `serde_json` does not know.

use std::cell::Cell;

use serde::de;

use crate::protocol::jsonrpc::{ErrorObject, INVALID_REQUEST, Malformed, PARSE_ERROR, excerpt};

/// The deepest nesting of objects and arrays in one message; the message itself is level 1.
pub const MAX_DEPTH: usize = 64;

/// The most object keys in one body, over all levels.
pub const MAX_KEYS: usize = 10_000;

/// The most values in one body, over all levels. A value takes far more memory than its text:
/// this bounds a message of four million empty arrays.
pub const MAX_VALUES: usize = 100_000;

/// The most messages in one batch.
pub const MAX_BATCH: usize = 100;

/// A rule of ours that `serde_json` does not know.
#[derive(Debug)]
pub(super) enum Violation {
    NotJson,
    TooDeep,
    TooManyKeys,
    TooManyValues,
    DuplicateKey(String),
    NotAnObject,
    BatchLength,
}

impl Violation {
    pub(super) fn into_error(self) -> ErrorObject {
        match self {
            Self::NotJson => {
                ErrorObject::new(PARSE_ERROR, "Parse error: the body is not valid JSON")
            }
            Self::TooDeep => ErrorObject::new(
                PARSE_ERROR,
                format!("Parse error: the body nests deeper than {MAX_DEPTH} levels"),
            ),
            Self::TooManyKeys => ErrorObject::new(
                INVALID_REQUEST,
                format!("Invalid request: the body has more than {MAX_KEYS} keys"),
            ),
            Self::TooManyValues => ErrorObject::new(
                INVALID_REQUEST,
                format!("Invalid request: the body has more than {MAX_VALUES} values"),
            ),
            Self::DuplicateKey(key) => ErrorObject::new(
                INVALID_REQUEST,
                format!("Invalid request: duplicate key \"{}\"", excerpt(&key)),
            ),
            Self::NotAnObject => ErrorObject::new(
                INVALID_REQUEST,
                "Invalid request: a message is a JSON object",
            ),
            Self::BatchLength => ErrorObject::new(
                INVALID_REQUEST,
                format!("Invalid request: a batch has from 1 to {MAX_BATCH} messages"),
            ),
        }
    }

    pub(super) fn into_malformed(self) -> Malformed {
        Malformed {
            id: None,
            error: self.into_error(),
        }
    }
}

/// What is left to read, and the first rule that was broken.
#[derive(Default)]
pub(super) struct Budget {
    keys: Cell<usize>,
    values: Cell<usize>,
    is_unlimited: bool,
    pub(super) violation: Cell<Option<Violation>>,
}

impl Budget {
    /// Bounds nothing but the depth.
    pub(super) fn unlimited() -> Self {
        Self {
            is_unlimited: true,
            ..Self::default()
        }
    }

    pub(super) fn refuse<E: de::Error>(&self, violation: Violation) -> E {
        self.violation.set(Some(violation));
        E::custom("refused")
    }

    pub(super) fn enter<E: de::Error>(&self, depth: usize) -> Result<(), E> {
        if depth > MAX_DEPTH {
            return Err(self.refuse(Violation::TooDeep));
        }
        Ok(())
    }

    pub(super) fn count_value<E: de::Error>(&self) -> Result<(), E> {
        let values = self.values.get() + 1;
        self.values.set(values);
        if values > MAX_VALUES && !self.is_unlimited {
            return Err(self.refuse(Violation::TooManyValues));
        }
        Ok(())
    }

    pub(super) fn count_key<E: de::Error>(&self) -> Result<(), E> {
        let keys = self.keys.get() + 1;
        self.keys.set(keys);
        if keys > MAX_KEYS && !self.is_unlimited {
            return Err(self.refuse(Violation::TooManyKeys));
        }
        Ok(())
    }
}
