//! What is wrong with the arguments of a call, in words that a model can act on.
//!
//! A message names the place and the rule and never quotes a value: values may be secret, and the
//! caller has them anyway.

use std::fmt;

/// How many violations one message names; more do not help to correct a call.
pub(crate) const MAX_SHOWN: usize = 5;
/// How much of a name that the caller chose is repeated, in characters.
const MAX_NAME: usize = 64;

/// One rule that the arguments break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pointer: String,
    rule: String,
}

impl Violation {
    /// A violation by an argument, or by one item of it.
    pub(crate) fn at(name: &str, index: Option<usize>, rule: &str) -> Self {
        let name = name.replace('~', "~0").replace('/', "~1");
        let item = index.map_or(String::new(), |index| format!("/{index}"));
        Self::new(format!("/{name}{item}"), rule)
    }

    /// A violation by all arguments together.
    pub(crate) fn of_all(rule: &str) -> Self {
        Self::new(String::new(), rule)
    }

    /// A violation at a JSON pointer.
    pub(crate) fn new(pointer: String, rule: impl Into<String>) -> Self {
        let rule = rule.into();
        Self { pointer, rule }
    }
}

/// Arguments that a tool does not take.
///
/// Displays as text for the model: each line holds a JSON pointer into the arguments and the rule
/// that is broken there. It never holds a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentError {
    violations: Vec<Violation>,
}

impl ArgumentError {
    /// Makes an error of violations.
    pub(crate) fn new(violations: Vec<Violation>) -> Self {
        Self { violations }
    }

    /// Makes an error of violations; none make no error.
    pub(crate) fn unless_empty(violations: Vec<Violation>) -> Result<(), Self> {
        if violations.is_empty() {
            Ok(())
        } else {
            Err(Self { violations })
        }
    }
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the arguments are not valid; correct them and call again")?;
        list(&self.violations, formatter)
    }
}

/// Writes each violation on a line of its own.
pub(crate) fn list(violations: &[Violation], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    for violation in violations.iter().take(MAX_SHOWN) {
        formatter.write_str("\n- ")?;
        if !violation.pointer.is_empty() {
            write!(formatter, "{}: ", shortened(&violation.pointer))?;
        }
        formatter.write_str(&violation.rule)?;
    }
    if violations.len() > MAX_SHOWN {
        formatter.write_str("\n- and more")?;
    }
    Ok(())
}

impl std::error::Error for ArgumentError {}

/// Repeats text of the caller's: without control characters, and not at any length.
pub(crate) fn shortened(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(MAX_NAME)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(MAX_NAME).is_some() {
        short.push('…');
    }
    short
}
