//! Pieces of a result for people, who have no client that shows them.

use std::borrow::Cow;

use super::{Base64, Body, Content, Resource};

impl Content {
    /// A text as it is, and in place of what is no text a line that says what it is.
    pub fn describe(&self) -> Cow<'_, str> {
        match self {
            Self::Text { text, .. } => text.into(),
            Self::Image {
                data, mime_type, ..
            }
            | Self::Audio {
                data, mime_type, ..
            } => format!("[{}]", size(data, mime_type)).into(),
            Self::ResourceLink { uri, name, .. } => format!("[{name}: {}]", uri.as_str()).into(),
            Self::Resource { resource, .. } => resource.describe(),
        }
    }
}

impl Resource {
    fn describe(&self) -> Cow<'_, str> {
        match &self.body {
            Body::Text(text) => text.into(),
            Body::Blob(data) => {
                let mime_type = self.mime_type.as_deref();
                let size = size(data, mime_type.unwrap_or("bytes of no known type"));
                format!("[{}: {size}]", self.uri.as_str()).into()
            }
        }
    }
}

fn size(data: &Base64, mime_type: &str) -> String {
    format!("{mime_type}, {} bytes", data.size())
}
