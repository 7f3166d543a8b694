//! What a client can be asked.

use serde_json::{Map, Value, json};

use super::tasks::EXTENSION;
use super::version::ProtocolVersion;

/// The longest JSON text of a client's capabilities that is kept, in bytes. Of a longer one only
/// what is known here is kept: a session must not cost what its client likes.
const MAX_KEPT: usize = 4096;

/// Something that a client may be able to do for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// `sampling`: it asks its model.
    Sampling,
    /// `sampling.tools`: its model may use tools meanwhile.
    SamplingTools,
    /// `elicitation`: it asks its user, with a form.
    Elicitation,
    /// `elicitation.url`: it sends its user to a web page.
    ElicitationUrl,
    /// `roots`: it says which folders are open.
    Roots,
    /// `extensions["io.modelcontextprotocol/tasks"]`: it comes back for the result of a call.
    Tasks,
}

impl Capability {
    /// Every capability.
    pub const ALL: [Self; 6] = [
        Self::Sampling,
        Self::SamplingTools,
        Self::Elicitation,
        Self::ElicitationUrl,
        Self::Roots,
        Self::Tasks,
    ];

    /// The capability of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|capability| capability.as_str() == name)
    }

    /// Its path in the object of capabilities.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sampling => "sampling",
            Self::SamplingTools => "sampling.tools",
            Self::Elicitation => "elicitation",
            Self::ElicitationUrl => "elicitation.url",
            Self::Roots => "roots",
            Self::Tasks => "extensions.io.modelcontextprotocol/tasks",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// An object of capabilities that has these and no others.
pub fn object_of(capabilities: impl IntoIterator<Item = Capability>) -> Map<String, Value> {
    let mut object = Map::new();
    for capability in capabilities {
        let (parent, child) = match capability.as_str().split_once('.') {
            Some((parent, child)) => (parent, Some(child)),
            None => (capability.as_str(), None),
        };
        let parent = object.entry(parent).or_insert_with(|| json!({}));
        if let (Some(child), Value::Object(parent)) = (child, parent) {
            parent.insert(child.to_owned(), json!({}));
        }
    }
    object
}

/// What a client says that it can do. Sessions keep one each, so that it is small.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientCapabilities {
    known: u8,
    json: Option<Box<str>>,
}

impl ClientCapabilities {
    /// Reads what a client says in its `capabilities`, as far as the version has it.
    pub fn read(object: &Map<String, Value>, version: ProtocolVersion) -> Self {
        if object.is_empty() {
            return Self::default();
        }
        let within = |name: &str, part: &str| {
            let parent = object.get(name).and_then(Value::as_object);
            parent.is_some_and(|parent| parent.get(part).is_some_and(Value::is_object))
        };
        let has = |capability: Capability| match capability {
            Capability::Sampling | Capability::Roots => object
                .get(capability.as_str())
                .is_some_and(Value::is_object),
            Capability::SamplingTools => {
                version >= ProtocolVersion::V2025_11_25 && within("sampling", "tools")
            }
            // Without a mode it is the one that came first.
            Capability::Elicitation => {
                let elicitation = object.get("elicitation").and_then(Value::as_object);
                version >= ProtocolVersion::V2025_06_18
                    && elicitation.is_some()
                    && (within("elicitation", "form") || !within("elicitation", "url"))
            }
            Capability::ElicitationUrl => {
                version >= ProtocolVersion::V2025_11_25 && within("elicitation", "url")
            }
            Capability::Tasks => {
                version >= ProtocolVersion::V2026_07_28 && within("extensions", EXTENSION)
            }
        };
        let known = Capability::ALL.into_iter().filter(|one| has(*one));
        let known: Vec<_> = known.collect();
        let json = Value::Object(object.clone()).to_string();
        let json = if json.len() > MAX_KEPT {
            Value::Object(object_of(known.iter().copied())).to_string()
        } else {
            json
        };
        Self {
            known: known.iter().fold(0, |bits, one| bits | one.bit()),
            json: Some(json.into()),
        }
    }

    /// True if the client can do this.
    pub fn has(&self, capability: Capability) -> bool {
        self.known & capability.bit() != 0
    }

    /// The object of capabilities as JSON text.
    pub fn as_json(&self) -> &str {
        self.json.as_deref().unwrap_or("{}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(object: &Value, version: ProtocolVersion) -> ClientCapabilities {
        ClientCapabilities::read(object.as_object().unwrap(), version)
    }

    fn names(capabilities: &ClientCapabilities) -> Vec<&'static str> {
        let known = Capability::ALL
            .into_iter()
            .filter(|one| capabilities.has(*one));
        known.map(Capability::as_str).collect()
    }

    #[test]
    fn a_client_can_do_what_it_says() {
        let cases: [(Value, &[&str]); 11] = [
            (json!({}), &[]),
            (json!({"sampling": {}}), &["sampling"]),
            (
                json!({"sampling": {"tools": {}}}),
                &["sampling", "sampling.tools"],
            ),
            (json!({"sampling": null, "roots": true}), &[]),
            (json!({"roots": {"listChanged": true}}), &["roots"]),
            (json!({"elicitation": {}}), &["elicitation"]),
            (json!({"elicitation": {"form": {}}}), &["elicitation"]),
            (json!({"elicitation": {"url": {}}}), &["elicitation.url"]),
            (
                json!({"elicitation": {"form": {}, "url": {}}}),
                &["elicitation", "elicitation.url"],
            ),
            (json!({"elicitation": {"url": true}}), &["elicitation"]),
            (json!({"elicitation": []}), &[]),
        ];
        for (object, expected) in cases {
            for version in [ProtocolVersion::V2025_11_25, ProtocolVersion::V2026_07_28] {
                let capabilities = read(&object, version);
                assert_eq!(names(&capabilities), expected, "{object} {version}");
                assert_eq!(capabilities.as_json(), object.to_string());
            }
        }
    }

    #[test]
    fn older_versions_have_fewer_capabilities() {
        let all =
            json!({"sampling": {"tools": {}}, "elicitation": {"form": {}, "url": {}}, "roots": {}});
        let cases: [(ProtocolVersion, &[&str]); 2] = [
            (ProtocolVersion::V2025_03_26, &["sampling", "roots"]),
            (
                ProtocolVersion::V2025_06_18,
                &["sampling", "elicitation", "roots"],
            ),
        ];
        for (version, expected) in cases {
            assert_eq!(names(&read(&all, version)), expected, "{version}");
        }
    }

    #[test]
    fn a_session_keeps_little_of_a_long_text() {
        let long = json!({"sampling": {}, "experimental": {"x": {"y": "z".repeat(MAX_KEPT)}}});
        let capabilities = read(&long, ProtocolVersion::V2025_11_25);
        assert_eq!(capabilities.as_json(), r#"{"sampling":{}}"#);
    }

    #[test]
    fn required_capabilities_are_an_object_of_objects() {
        let all = object_of(Capability::ALL);
        let expected = json!({
            "sampling": {"tools": {}}, "elicitation": {"url": {}}, "roots": {},
            "extensions": {"io.modelcontextprotocol/tasks": {}}
        });
        assert_eq!(Value::Object(all), expected);
        for capability in Capability::ALL {
            assert_eq!(Capability::named(capability.as_str()), Some(capability));
        }
        assert_eq!(Capability::named("Sampling"), None);
    }
}
