//! A test of a definitions file: a call, and what is expected of its result.

use std::sync::Arc;

use regex::Regex;
use serde_json::{Map, Value};

use super::Tool;
use crate::auth::{Caller, Principal};
use crate::protocol::content::Content;
use crate::protocol::mcp::CallToolResult;

/// A call, and what is expected of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The name for people; default that of the tool.
    pub name: String,
    /// The name of the tool that is called.
    pub call: String,
    /// The tool; `None` if it is left out on this machine.
    pub tool: Option<Arc<Tool>>,
    /// The arguments, as a client would send them.
    pub arguments: Map<String, Value>,
    /// Who calls; `None` is nobody in particular, who may call everything.
    pub caller: Option<Arc<Caller>>,
    /// What is expected.
    pub expect: Expectation,
}

/// What is expected of a call.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// Whether the caller may call the tool; default true.
    pub allowed: bool,
    /// Whether the result is an error; default false.
    pub is_error: bool,
    pub(crate) text: TextRules,
    pub(crate) structured: Option<Value>,
}

/// What a text must be; line breaks at its end do not count.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextRules {
    pub(crate) exact: Option<String>,
    pub(crate) contains: Option<String>,
    pub(crate) matches: Option<Regex>,
}

impl Case {
    /// Who calls, for what has to know: nobody in particular is anonymous.
    pub fn caller(&self) -> Arc<Caller> {
        let nobody = || Arc::new(Caller::new(Principal::Anonymous));
        self.caller.clone().unwrap_or_else(nobody)
    }
}

impl Default for Expectation {
    fn default() -> Self {
        Self {
            allowed: true,
            is_error: false,
            text: TextRules::default(),
            structured: None,
        }
    }
}

impl Expectation {
    /// Says how a result differs from what is expected; nothing if it does not.
    pub fn differences(&self, result: &CallToolResult) -> Vec<String> {
        let text = text_of(result);
        let text = text.trim_end_matches(['\r', '\n']);
        let mut differences = Vec::new();
        match (self.is_error, result.is_error) {
            (false, true) => differences.push(format!("it is an error: {text}")),
            (true, false) => differences.push(format!("it is no error: {text}")),
            _ => differences.extend(self.text.difference(text)),
        }
        if let Some(expected) = &self.structured {
            let found = result.structured_content.as_ref().unwrap_or(&Value::Null);
            if found != expected {
                differences.push(format!(
                    "the structured content is {found}, and should be {expected}"
                ));
            }
        }
        differences
    }
}

impl TextRules {
    fn difference(&self, text: &str) -> Option<String> {
        let exact = self.exact.as_deref();
        let exact = exact.map(|exact| exact.trim_end_matches(['\r', '\n']));
        if let Some(exact) = exact.filter(|exact| *exact != text) {
            return Some(format!("the text is {text:?}, and should be {exact:?}"));
        }
        let contains = self.contains.as_ref();
        if let Some(part) = contains.filter(|part| !text.contains(part.as_str())) {
            return Some(format!("the text is {text:?}, and should contain {part:?}"));
        }
        let matches = self.matches.as_ref();
        let pattern = matches.filter(|pattern| !pattern.is_match(text))?;
        let pattern = pattern.as_str();
        Some(format!(
            "the text is {text:?}, and should match `{pattern}`"
        ))
    }
}

fn text_of(result: &CallToolResult) -> String {
    let texts = result.content.iter().filter_map(|piece| match piece {
        Content::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_said() {
        let rules =
            |exact: Option<&str>, contains: Option<&str>, matches: Option<&str>| TextRules {
                exact: exact.map(str::to_owned),
                contains: contains.map(str::to_owned),
                matches: matches.map(|pattern| Regex::new(pattern).unwrap()),
            };
        let text = |rules: TextRules| Expectation {
            text: rules,
            ..Expectation::default()
        };
        let good = CallToolResult {
            structured_content: Some(json!({"n": 1})),
            ..CallToolResult::text("one\ntwo\n")
        };
        let structured = |value: Value| Expectation {
            structured: Some(value),
            ..Expectation::default()
        };
        let is_error = Expectation {
            is_error: true,
            ..Expectation::default()
        };
        let cases = [
            (Expectation::default(), None),
            (text(rules(Some("one\ntwo"), None, None)), None),
            (text(rules(None, Some("e\nt"), Some("^one"))), None),
            (
                text(rules(Some("one"), None, None)),
                Some("should be \"one\""),
            ),
            (
                text(rules(None, Some("x"), None)),
                Some("should contain \"x\""),
            ),
            (
                text(rules(None, None, Some("^two"))),
                Some("should match `^two`"),
            ),
            (structured(json!({"n": 1})), None),
            (structured(json!({"n": 2})), Some("should be {\"n\":2}")),
            (is_error, Some("it is no error: one\ntwo")),
        ];
        for (expectation, expected) in cases {
            let differences = expectation.differences(&good);
            assert_eq!(
                differences.len(),
                usize::from(expected.is_some()),
                "{differences:?}"
            );
            for difference in differences {
                assert!(difference.contains(expected.unwrap()), "{difference}");
            }
        }
        let bad = CallToolResult::error("broken");
        let expected = ["it is an error: broken"];
        assert_eq!(Expectation::default().differences(&bad), expected);
    }
}
