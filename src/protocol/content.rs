//! The pieces of a result: text, images, sound and resources.
//!
//! What a tool hands over is read into these types, so that what is sent is valid: many clients
//! refuse a whole result for one piece that is not.

mod describe;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::media::MediaType;
use super::texts::Texts;
use super::version::ProtocolVersion;

type Meta = Option<Map<String, Value>>;

/// One piece of a result (MCP, Tools, Tool Result).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Content {
    /// Plain text.
    Text {
        /// The text.
        text: String,
        /// Whom it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        annotations: Option<Annotations>,
        /// For a client that knows what to do with it.
        #[serde(default, rename = "_meta", skip_serializing_if = "Option::is_none")]
        meta: Meta,
    },
    /// A picture.
    Image {
        /// Its bytes.
        data: Base64,
        /// What the bytes are, such as `image/png`.
        mime_type: String,
        /// Whom it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        annotations: Option<Annotations>,
        /// For a client that knows what to do with it.
        #[serde(default, rename = "_meta", skip_serializing_if = "Option::is_none")]
        meta: Meta,
    },
    /// Sound.
    Audio {
        /// Its bytes.
        data: Base64,
        /// What the bytes are, such as `audio/wav`.
        mime_type: String,
        /// Whom it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        annotations: Option<Annotations>,
        /// For a client that knows what to do with it.
        #[serde(default, rename = "_meta", skip_serializing_if = "Option::is_none")]
        meta: Meta,
    },
    /// A resource that stands elsewhere. Since 2025-06-18.
    ResourceLink {
        /// Where it stands.
        uri: Uri,
        /// The programmatic name.
        name: String,
        /// The name for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// What it is, for the model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        /// What its bytes are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mime_type: Option<String>,
        /// How many bytes it has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        /// Pictures for it. Since 2025-11-25.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        icons: Option<Vec<Icon>>,
        /// Whom it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        annotations: Option<Annotations>,
        /// For a client that knows what to do with it.
        #[serde(default, rename = "_meta", skip_serializing_if = "Option::is_none")]
        meta: Meta,
    },
    /// A resource as a whole.
    Resource {
        /// What it holds.
        resource: Resource,
        /// Whom it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        annotations: Option<Annotations>,
        /// For a client that knows what to do with it.
        #[serde(default, rename = "_meta", skip_serializing_if = "Option::is_none")]
        meta: Meta,
    },
}

impl Content {
    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text {
            text: text.into(),
            annotations: None,
            meta: None,
        }
    }

    /// Bytes of some kind: a picture, sound, or else a resource that stands at `uri`.
    pub fn of_bytes(bytes: &[u8], media: &MediaType, uri: Uri) -> Self {
        let mime_type = media.as_str().to_owned();
        let (annotations, meta) = (None, None);
        if media.is_image() {
            Self::Image {
                data: Base64::encode(bytes),
                mime_type,
                annotations,
                meta,
            }
        } else if media.is_audio() {
            Self::Audio {
                data: Base64::encode(bytes),
                mime_type,
                annotations,
                meta,
            }
        } else {
            Self::resource(Resource::of_bytes(bytes, Some(media), uri))
        }
    }

    /// A resource as a whole.
    pub fn resource(resource: Resource) -> Self {
        Self::Resource {
            resource,
            annotations: None,
            meta: None,
        }
    }

    /// Puts another text into a piece that has one.
    pub fn set_text(&mut self, new: String) {
        match self {
            Self::Text { text, .. } => *text = new,
            Self::Resource { resource, .. } => resource.body = Body::Text(new),
            Self::Image { .. } | Self::Audio { .. } | Self::ResourceLink { .. } => {}
        }
    }

    /// Puts another URI into a piece that has one.
    pub fn set_uri(&mut self, new: Uri) {
        match self {
            Self::ResourceLink { uri, .. } => *uri = new,
            Self::Resource { resource, .. } => resource.uri = new,
            Self::Text { .. } | Self::Image { .. } | Self::Audio { .. } => {}
        }
    }

    /// Makes a piece that the version does not have one that it has: before 2025-06-18 a link is a
    /// text.
    pub fn suit(&mut self, version: ProtocolVersion) {
        if let Self::ResourceLink { uri, name, .. } = self
            && version < ProtocolVersion::V2025_06_18
        {
            *self = Self::text(format!("{name}: {}", uri.as_str()));
        }
    }

    /// Reads one piece.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn read(value: Value) -> Result<Self, String> {
        if !value.is_object() {
            return Err("it is no object".to_owned());
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }
}

/// The content of a resource: text, or bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ResourceFields", rename_all = "camelCase")]
pub struct Resource {
    uri: Uri,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
    #[serde(flatten)]
    body: Body,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Meta,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Body {
    Text(String),
    Blob(Base64),
}

impl Resource {
    /// Text.
    pub fn text(text: String, media: Option<&MediaType>, uri: Uri) -> Self {
        Self {
            uri,
            mime_type: media.map(|media| media.as_str().to_owned()),
            body: Body::Text(text),
            meta: None,
        }
    }

    /// Bytes that are encoded already.
    pub fn blob(bytes: Base64, mime_type: String, uri: Uri) -> Self {
        Self {
            uri,
            mime_type: Some(mime_type),
            body: Body::Blob(bytes),
            meta: None,
        }
    }

    /// As [`Resource::of_bytes`], but where nobody says what they are, bytes are text if they can be.
    pub fn of_any_bytes(bytes: Vec<u8>, media: Option<&MediaType>, uri: Uri) -> Self {
        if media.is_some() {
            return Self::of_bytes(&bytes, media, uri);
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self::text(text, None, uri),
            Err(error) => Self::of_bytes(error.as_bytes(), None, uri),
        }
    }

    /// Bytes as text where they are said to be text and are UTF-8, else as they are.
    pub fn of_bytes(bytes: &[u8], media: Option<&MediaType>, uri: Uri) -> Self {
        let text = media
            .filter(|media| media.is_text())
            .and_then(|_| std::str::from_utf8(bytes).ok());
        Self {
            uri,
            mime_type: media.map(|media| media.as_str().to_owned()),
            body: match text {
                Some(text) => Body::Text(text.to_owned()),
                None => Body::Blob(Base64::encode(bytes)),
            },
            meta: None,
        }
    }
}

impl Texts for Resource {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        self.uri.each_text(change);
        if let Body::Text(text) = &mut self.body {
            change(text);
        }
        self.meta.each_text(change);
    }
}

/// A [`Resource`] as it stands in JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResourceFields {
    uri: Uri,
    mime_type: Option<String>,
    text: Option<String>,
    blob: Option<Base64>,
    #[serde(rename = "_meta")]
    meta: Meta,
}

impl TryFrom<ResourceFields> for Resource {
    type Error = &'static str;

    fn try_from(fields: ResourceFields) -> Result<Self, Self::Error> {
        let body = match (fields.text, fields.blob) {
            (Some(text), None) => Body::Text(text),
            (None, Some(blob)) => Body::Blob(blob),
            _ => return Err("a resource has either `text` or `blob`"),
        };
        Ok(Self {
            uri: fields.uri,
            mime_type: fields.mime_type,
            body,
            meta: fields.meta,
        })
    }
}

/// Hints on how to use a piece.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Annotations {
    /// Who should see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<Vec<Role>>,
    /// How much it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// When it was last changed, as RFC 3339 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

/// Who speaks, or is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are MCP's own")]
pub enum Role {
    User,
    Assistant,
}

/// How much something matters, from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Number")]
pub struct Priority(Number);

impl TryFrom<Number> for Priority {
    type Error = &'static str;

    fn try_from(number: Number) -> Result<Self, Self::Error> {
        let is_valid = number
            .as_f64()
            .is_some_and(|number| (0.0..=1.0).contains(&number));
        if is_valid {
            Ok(Self(number))
        } else {
            Err("`priority` is a number from 0 to 1")
        }
    }
}

/// A picture for whatever can be shown to people. Since 2025-11-25.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Icon {
    /// Where it stands, or all of it as `data:`.
    pub src: Uri,
    /// What its bytes are, where the place does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// The sizes that it fits, such as `48x48` or `any`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sizes: Option<Vec<String>>,
    /// The background that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub theme: Option<Theme>,
}

/// The background that an icon is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Theme {
    Light,
    Dark,
}

/// Bytes in Base64, with the standard alphabet and padding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Base64(String);

impl Base64 {
    /// How many bytes there are before they are encoded.
    pub fn size(&self) -> usize {
        let padding = self.0.bytes().rev().take_while(|byte| *byte == b'=');
        self.0.len() / 4 * 3 - padding.count()
    }

    /// Encodes bytes.
    pub fn encode(bytes: &[u8]) -> Self {
        Self(STANDARD.encode(bytes))
    }
}

impl TryFrom<String> for Base64 {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match STANDARD.decode(&text) {
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(format!("the bytes are not Base64: {error}")),
        }
    }
}

/// An absolute URI. Only its scheme is looked at, which is what a relative path lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Uri(String);

impl Texts for Uri {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        change(&mut self.0);
    }
}

impl Uri {
    /// The URI of what a tool gives, where nobody says another.
    pub fn of_tool(name: &str) -> Self {
        let name = name.replace(|c: char| c.is_whitespace() || c.is_control(), "_");
        Self(format!("tool:{name}"))
    }

    /// The URI as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Uri {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        if is_scheme && !text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            Ok(Self(text))
        } else {
            Err("a URI starts with a scheme, such as `file:`, and has no spaces")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn links_are_texts_where_there_are_none() {
        let link = json!({"type": "resource_link", "uri": "a:b", "name": "n", "size": 3});
        for (version, expected) in [
            (
                ProtocolVersion::V2025_03_26,
                json!({"type": "text", "text": "n: a:b"}),
            ),
            (ProtocolVersion::V2025_06_18, link.clone()),
            (ProtocolVersion::V2026_07_28, link.clone()),
        ] {
            let mut piece = Content::read(link.clone()).unwrap();
            piece.suit(version);
            assert_eq!(serde_json::to_value(&piece).unwrap(), expected, "{version}");
        }
    }

    #[test]
    fn what_is_valid_is_sent_as_it_was_read() {
        let annotations = json!({
            "audience": ["user", "assistant"], "priority": 0.5, "lastModified": "2026-01-31T00:00:00Z"
        });
        let meta = json!({"example.com/k": [1, null]});
        let cases = [
            json!({"type": "text", "text": ""}),
            json!({"type": "text", "text": "a\nb", "annotations": annotations, "_meta": meta}),
            json!({"type": "text", "text": "x", "annotations": {"priority": 1}}),
            json!({"type": "image", "data": "", "mimeType": "image/png"}),
            json!({"type": "image", "data": "AAE=", "mimeType": "image/png", "annotations": {}, "_meta": {}}),
            json!({"type": "audio", "data": "AAEC", "mimeType": "audio/wav", "annotations": annotations}),
            json!({"type": "resource_link", "uri": "file:///a", "name": "a"}),
            json!({
                "type": "resource_link", "uri": "x-y:z", "name": "a", "title": "A", "description": "d",
                "mimeType": "text/plain", "size": 3,
                "icons": [{"src": "https://a/b", "mimeType": "image/png", "sizes": ["48x48"], "theme": "dark"}],
                "annotations": annotations, "_meta": meta
            }),
            json!({"type": "resource", "resource": {"uri": "file:///a", "text": "x"}}),
            json!({"type": "resource", "resource": {"uri": "file:///a", "mimeType": "a/b", "blob": "AA==", "_meta": meta}}),
        ];
        for case in cases {
            let read =
                Content::read(case.clone()).unwrap_or_else(|error| panic!("{error}: {case}"));
            assert_eq!(serde_json::to_value(read).unwrap(), case);
        }
    }

    #[test]
    fn what_is_not_valid_is_explained() {
        let cases = [
            (json!("text"), "it is no object"),
            (json!([]), "it is no object"),
            (json!({}), "missing field `type`"),
            (json!({"type": 1}), "expected variant identifier"),
            (
                json!({"type": "picture"}),
                "unknown variant `picture`, expected one of `text`, `image`, `audio`, `resource_link`, `resource`",
            ),
            (json!({"type": "text"}), "missing field `text`"),
            (
                json!({"type": "text", "text": 1}),
                "invalid type: integer `1`, expected a string",
            ),
            (
                json!({"type": "text", "text": null}),
                "invalid type: null, expected a string",
            ),
            (
                json!({"type": "text", "text": "x", "Text": "y"}),
                "unknown field `Text`, expected one of",
            ),
            (
                json!({"type": "text", "text": "x", "_meta": 1}),
                "expected a map",
            ),
            (
                json!({"type": "text", "text": "x", "annotations": {"audience": ["model"]}}),
                "unknown variant `model`",
            ),
            (
                json!({"type": "text", "text": "x", "annotations": {"priority": 2}}),
                "`priority` is a number from 0 to 1",
            ),
            (
                json!({"type": "image", "data": "AA=="}),
                "missing field `mimeType`",
            ),
            (
                json!({"type": "image", "mimeType": "image/png"}),
                "missing field `data`",
            ),
            (
                json!({"type": "image", "data": "AA", "mimeType": "image/png"}),
                "the bytes are not Base64",
            ),
            (
                json!({"type": "image", "data": "A A=", "mimeType": "image/png"}),
                "the bytes are not Base64",
            ),
            (
                json!({"type": "audio", "data": "-_==", "mimeType": "audio/wav"}),
                "the bytes are not Base64",
            ),
            (
                json!({"type": "resource_link", "uri": "file:///a"}),
                "missing field `name`",
            ),
            (
                json!({"type": "resource_link", "name": "a"}),
                "missing field `uri`",
            ),
            (
                json!({"type": "resource_link", "name": "a", "uri": "a.txt"}),
                "a URI starts with a scheme",
            ),
            (
                json!({"type": "resource_link", "name": "a", "uri": "file:///a b"}),
                "a URI starts with a scheme",
            ),
            (
                json!({"type": "resource_link", "name": "a", "uri": "a:b", "size": -1}),
                "invalid value",
            ),
            (json!({"type": "resource"}), "missing field `resource`"),
            (
                json!({"type": "resource", "resource": {"uri": "a:b"}}),
                "either `text` or `blob`",
            ),
            (
                json!({"type": "resource", "resource": {"uri": "a:b", "text": "", "blob": ""}}),
                "either `text` or `blob`",
            ),
            (
                json!({"type": "resource", "resource": {"text": "x"}}),
                "missing field `uri`",
            ),
        ];
        for (case, expected) in cases {
            let error = Content::read(case.clone()).unwrap_err();
            assert!(error.contains(expected), "{case}: {error}");
        }
    }
}
