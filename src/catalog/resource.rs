//! Resources, and templates that stand for many of them.

use std::sync::Arc;

use super::completions::Completions;
use super::tool::{Tool, Work};
use super::uri_template::UriTemplate;
use crate::auth::{Caller, Principal};
use crate::protocol::content::{Annotations, Content, Icon, Uri};
use crate::protocol::media::MediaType;

/// Something that a client can read.
#[derive(Debug)]
pub struct Resource {
    /// What clients are told of it.
    pub about: ResourceAbout,
    /// The URI that clients read, unique in its catalog and compared by bytes.
    pub uri: Uri,
    /// How many bytes it has, if it is always the same.
    pub size: Option<usize>,
    /// What reads it. It is in no list.
    pub tool: Arc<Tool>,
}

impl Resource {
    /// Returns what it holds, if that stands in the definition.
    pub fn fixed(&self) -> Option<Vec<Content>> {
        let nobody = Caller::new(Principal::Anonymous);
        let arguments = self.tool.arguments(None, &nobody).ok()?;
        match self.tool.work(&arguments, &nobody) {
            Ok(Work::Answer(pieces)) => Some(pieces),
            Ok(_) | Err(_) => None,
        }
    }
}

/// A URI with gaps: each way to fill them names a resource.
#[derive(Debug)]
pub struct ResourceTemplate {
    /// What clients are told of it.
    pub about: ResourceAbout,
    /// The URI with its gaps.
    pub uri: UriTemplate,
    /// What reads one of its resources. It has the values of the gaps for arguments, and is in no
    /// list.
    pub tool: Arc<Tool>,
    /// What may be proposed for its gaps.
    pub completions: Completions,
}

/// What clients are told of a resource or template.
#[derive(Debug)]
pub struct ResourceAbout {
    /// Its name in the file.
    pub name: String,
    /// The name for people.
    pub title: Option<String>,
    /// What it holds, for the model.
    pub description: String,
    /// Pictures for people.
    pub icons: Vec<Icon>,
    /// What its bytes are.
    pub mime_type: Option<MediaType>,
    /// Whom it is for.
    pub annotations: Option<Annotations>,
}
