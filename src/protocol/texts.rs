//! The texts in what is sent, so that what must not be seen can be taken out of them.

use std::mem;

use serde_json::{Map, Value};

use super::content::Content;
use super::input::InputRequired;
use super::jsonrpc::ErrorObject;
use super::logging::LogMessage;
use super::mcp::CallToolResult;
use super::progress::Progress;
use super::prompts::PromptMessage;

/// Something with texts that a client sees.
pub trait Texts {
    /// Changes each text: every string and every name of a member, but no bytes in Base64.
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String));
}

impl Texts for String {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        change(self);
    }
}

impl<T: Texts> Texts for Option<T> {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        if let Some(inner) = self {
            inner.each_text(change);
        }
    }
}

impl<T: Texts> Texts for Vec<T> {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        for item in self {
            item.each_text(change);
        }
    }
}

impl Texts for Map<String, Value> {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        let members = mem::take(self).into_iter().map(|(mut name, mut value)| {
            change(&mut name);
            value.each_text(change);
            (name, value)
        });
        *self = members.collect();
    }
}

impl Texts for Value {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        match self {
            Self::String(text) => change(text),
            Self::Array(items) => items.each_text(change),
            Self::Object(members) => members.each_text(change),
            // A text that is a number somewhere is the same text.
            Self::Number(number) => {
                let text = number.to_string();
                let mut changed = text.clone();
                change(&mut changed);
                if changed != text {
                    *self = Self::String(changed);
                }
            }
            Self::Null | Self::Bool(_) => {}
        }
    }
}

impl Texts for Content {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        match self {
            Self::Text { text, meta, .. } => {
                change(text);
                meta.each_text(change);
            }
            Self::Image { meta, .. } | Self::Audio { meta, .. } => meta.each_text(change),
            Self::ResourceLink {
                uri,
                name,
                title,
                description,
                meta,
                ..
            } => {
                uri.each_text(change);
                change(name);
                title.each_text(change);
                description.each_text(change);
                meta.each_text(change);
            }
            Self::Resource { resource, meta, .. } => {
                resource.each_text(change);
                meta.each_text(change);
            }
        }
    }
}

impl Texts for CallToolResult {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        self.content.each_text(change);
        self.structured_content.each_text(change);
    }
}

impl Texts for PromptMessage {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        self.content.each_text(change);
    }
}

impl Texts for Progress {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        self.message.each_text(change);
    }
}

impl Texts for LogMessage {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        self.logger.each_text(change);
        self.data.each_text(change);
    }
}

impl Texts for ErrorObject {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        change(self.message.to_mut());
        self.data.each_text(change);
    }
}

impl Texts for InputRequired {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        self.requests.each_text(change);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_text_is_changed_and_bytes_are_not() {
        let data = "c2VjcmV0";
        let written = json!([
            {"type": "text", "text": "secret", "_meta": {"secret": ["secret", 1]}},
            {"type": "image", "data": data, "mimeType": "image/png"},
            {"type": "resource_link", "uri": "x:secret", "name": "secret", "title": "secret", "description": "secret"},
            {"type": "resource", "resource": {"uri": "x:secret", "text": "secret"}},
            {"type": "resource", "resource": {"uri": "x:y", "blob": data}},
        ]);
        let mut content: Vec<Content> = serde_json::from_value(written.clone()).unwrap();
        content.each_text(&mut |text| *text = text.replace("secret", "***"));
        let changed = written.to_string().replace("secret", "***");
        assert_eq!(serde_json::to_value(content).unwrap().to_string(), changed);
    }
}
