//! Prompts: `prompts/list` and `prompts/get`.

use serde::{Deserialize, Serialize};

use super::content::{Content, Icon, Role};

/// One prompt as `prompts/list` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Prompt<'a> {
    /// The name that `prompts/get` takes.
    pub name: &'a str,
    /// The name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<&'a str>,
    /// What the prompt is for.
    pub description: &'a str,
    /// Pictures for people. Since 2025-11-25.
    #[serde(skip_serializing_if = "<[Icon]>::is_empty")]
    pub icons: &'a [Icon],
    /// What fills its gaps, in the order of the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<Argument<'a>>,
}

/// An argument of a prompt; its value is a text.
#[derive(Debug, Serialize)]
pub struct Argument<'a> {
    /// The name of the argument.
    pub name: &'a str,
    /// The name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<&'a str>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<&'a str>,
    /// A prompt cannot be had without it.
    pub required: bool,
}

/// The result of `prompts/get`.
#[derive(Debug, Serialize)]
pub struct GetPromptResult<'a> {
    /// What the prompt is for.
    pub description: &'a str,
    /// What to put before the model.
    pub messages: Vec<PromptMessage>,
}

/// A message of a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Content,
}
