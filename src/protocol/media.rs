//! Media types: what bytes are, and how they are sent.

/// A media type, such as `image/png` or `text/plain; charset=utf-8` (RFC 9110, Media Type).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType(String);

impl MediaType {
    /// Reads a media type: a type, a slash, a subtype, and perhaps parameters.
    pub fn parse(text: &str) -> Option<Self> {
        let essence = text.split(';').next().unwrap_or_default().trim_end();
        let (kind, subtype) = essence.split_once('/')?;
        let is_visible = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        (is_token(kind) && is_token(subtype) && is_visible(text)).then(|| Self(text.to_owned()))
    }

    /// Plain text.
    pub fn text() -> Self {
        Self("text/plain".to_owned())
    }

    /// JSON.
    pub fn json() -> Self {
        Self("application/json".to_owned())
    }

    /// The media type as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for pictures.
    pub fn is_image(&self) -> bool {
        self.kind().eq_ignore_ascii_case("image")
    }

    /// True for sound.
    pub fn is_audio(&self) -> bool {
        self.kind().eq_ignore_ascii_case("audio")
    }

    /// True for what people can read as text: `text/…`, JSON and XML, and what is built on them.
    pub fn is_text(&self) -> bool {
        let subtype = self.subtype().to_ascii_lowercase();
        self.kind().eq_ignore_ascii_case("text")
            || matches!(subtype.as_str(), "json" | "xml" | "yaml" | "javascript")
            || [".json", "+json", "+xml", "+yaml"]
                .iter()
                .any(|suffix| subtype.ends_with(suffix))
    }

    /// True for JSON, and what is built on it.
    pub fn is_json(&self) -> bool {
        let subtype = self.subtype().to_ascii_lowercase();
        subtype == "json" || subtype.ends_with("+json")
    }

    fn kind(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    fn subtype(&self) -> &str {
        let essence = self.0.split(';').next().unwrap_or_default();
        let (_, subtype) = essence.split_once('/').unwrap_or_default();
        subtype.trim_end()
    }
}

/// True for a token of HTTP: one or more of its letters (RFC 9110, Tokens).
pub fn is_token(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_read() {
        let good = [
            "image/png",
            "text/plain; charset=utf-8",
            "application/vnd.api+json",
            "a/b;c",
        ];
        for text in good {
            let media = MediaType::parse(text);
            assert_eq!(
                media.as_ref().map(MediaType::as_str),
                Some(text),
                "{text:?}"
            );
        }
        let bad = [
            "", "png", "/", "image/", "/png", "a b/c", "a/b c", "a/b\n", "a/b/c", "a/é",
        ];
        for text in bad {
            assert_eq!(MediaType::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn kinds_decide_how_bytes_are_sent() {
        let cases = [
            ("image/png", "image"),
            ("IMAGE/svg+xml", "image text"),
            ("audio/wav", "audio"),
            ("text/html; charset=utf-8", "text"),
            ("application/json", "text"),
            ("application/ld+json ;x=y", "text"),
            ("application/xml", "text"),
            ("application/pdf", ""),
            ("application/jsonx", ""),
        ];
        for (text, expected) in cases {
            let media = MediaType::parse(text).unwrap();
            let kinds = [
                ("image", media.is_image()),
                ("audio", media.is_audio()),
                ("text", media.is_text()),
            ];
            let kinds: Vec<_> = kinds.iter().filter(|(_, is)| *is).collect();
            let names: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
            assert_eq!(names.join(" "), expected, "{text}");
        }
    }
}
