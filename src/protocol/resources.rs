//! Resources: `resources/list`, `resources/templates/list` and `resources/read`.

use serde::Serialize;

use super::content::{self, Annotations, Icon};

/// One resource as `resources/list` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource<'a> {
    /// The URI that `resources/read` takes.
    pub uri: &'a str,
    /// The name in the file.
    pub name: &'a str,
    /// The name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<&'a str>,
    /// What it holds, for the model.
    pub description: &'a str,
    /// Pictures for people. Since 2025-11-25.
    #[serde(skip_serializing_if = "<[Icon]>::is_empty")]
    pub icons: &'a [Icon],
    /// What its bytes are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<&'a str>,
    /// How many bytes it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Whom it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<&'a Annotations>,
}

/// One template as `resources/templates/list` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceTemplate<'a> {
    /// The URI with places for values (RFC 6570, level 1).
    pub uri_template: &'a str,
    /// The name in the file.
    pub name: &'a str,
    /// The name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<&'a str>,
    /// What its resources hold, for the model.
    pub description: &'a str,
    /// Pictures for people. Since 2025-11-25.
    #[serde(skip_serializing_if = "<[Icon]>::is_empty")]
    pub icons: &'a [Icon],
    /// What the bytes of every one of them are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<&'a str>,
    /// Whom they are for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<&'a Annotations>,
}

/// The result of `resources/read`; never without contents.
#[derive(Debug, Serialize)]
pub struct ReadResourceResult {
    /// What the resource holds.
    pub contents: Vec<content::Resource>,
}
