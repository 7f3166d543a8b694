//! A prompt: messages with gaps that a user fills.

use std::sync::Arc;

use serde_json::Value;

use super::completions::Completions;
use super::params::Parameter;
use super::tool::Tool;
use crate::protocol::content::{Icon, Role};

/// Messages that a client puts before its model when a user asks for them.
#[derive(Debug)]
pub struct Prompt {
    /// The name that clients ask for, unique in its catalog and compared by bytes.
    pub name: String,
    /// The name for people.
    pub title: Option<String>,
    /// What the prompt is for.
    pub description: String,
    /// Pictures for people.
    pub icons: Vec<Icon>,
    /// What makes its messages. It is in no list.
    pub tool: Arc<Tool>,
    /// Who speaks in each message, where the definition holds them all.
    pub roles: Vec<Role>,
    /// What may be proposed for its arguments.
    pub completions: Completions,
}

/// An argument of a prompt.
#[derive(Debug, Clone, Copy)]
pub struct PromptArgument<'a>(&'a Parameter);

impl Prompt {
    /// Returns the arguments in the order of the file, without what the user is asked for.
    pub fn arguments(&self) -> impl Iterator<Item = PromptArgument<'_>> {
        let properties = self.tool.input_schema().get("properties");
        let properties = properties.and_then(Value::as_object);
        let is_argument = move |parameter: &&Parameter| {
            properties.is_some_and(|properties| properties.contains_key(&parameter.name))
        };
        let parameters = self.tool.parts.parameters.iter();
        parameters.filter(is_argument).map(PromptArgument)
    }
}

impl<'a> PromptArgument<'a> {
    /// Returns the name.
    pub fn name(self) -> &'a str {
        &self.0.name
    }

    /// Returns the name for people.
    pub fn title(self) -> Option<&'a str> {
        self.0.schema.get("title").and_then(Value::as_str)
    }

    /// Returns what it is for.
    pub fn description(self) -> Option<&'a str> {
        self.0.schema.get("description").and_then(Value::as_str)
    }

    /// Returns whether the prompt cannot be had without it.
    pub fn is_required(self) -> bool {
        self.0.required
    }
}
