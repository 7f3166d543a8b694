//! Protocol versions, the two eras, and which of them a message belongs to.

use std::fmt;

use serde_json::{Map, Value, json};

use super::jsonrpc::{ErrorObject, HEADER_MISMATCH, UNSUPPORTED_PROTOCOL_VERSION, excerpt};
use super::mcp;

/// A revision of the protocol that this server speaks. Ordered by date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// 2025-03-26: sessions over Streamable HTTP; the first revision of this transport.
    V2025_03_26,
    /// 2025-06-18: adds the version header and structured content.
    V2025_06_18,
    /// 2025-11-25: the newest revision with sessions.
    V2025_11_25,
    /// 2026-07-28: stateless.
    V2026_07_28,
}

/// How a client talks: with a session, or with everything in each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// Revisions up to 2025-11-25, which open with `initialize`.
    Legacy,
    /// Revisions from 2026-07-28 on.
    Modern,
}

/// Which eras a server serves; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// Every revision.
    Both,
    /// Those of one era.
    Only(Era),
}

impl Served {
    /// True if requests of the era are served.
    pub fn includes(self, era: Era) -> bool {
        match self {
            Self::Both => true,
            Self::Only(only) => only == era,
        }
    }

    /// The served versions, newest first.
    pub fn versions(self) -> Vec<&'static str> {
        let versions = ProtocolVersion::ALL.into_iter();
        let served = versions.filter(|version| self.includes(version.era()));
        served.map(ProtocolVersion::as_str).collect()
    }

    /// Reads a version; `None` if it is not served.
    pub fn parse(self, text: &str) -> Option<ProtocolVersion> {
        ProtocolVersion::parse(text).filter(|version| self.includes(version.era()))
    }
}

impl ProtocolVersion {
    /// Every version, newest first.
    pub const ALL: [Self; 4] = [
        Self::V2026_07_28,
        Self::V2025_11_25,
        Self::V2025_06_18,
        Self::V2025_03_26,
    ];

    /// The version that a legacy request without any hint speaks (MCP 2025-11-25, Transports,
    /// Protocol Version Header: SHOULD assume 2025-03-26).
    pub const UNSTATED: Self = Self::V2025_03_26;

    /// The version as the wire says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Reads a version; `None` if this server does not speak it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
    }

    /// The era of the version.
    pub fn era(self) -> Era {
        match self {
            Self::V2025_03_26 | Self::V2025_06_18 | Self::V2025_11_25 => Era::Legacy,
            Self::V2026_07_28 => Era::Modern,
        }
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Chooses the version of a session: the one asked for if it has sessions, else the newest that
/// has (MCP 2025-11-25, Lifecycle, Version Negotiation).
pub fn negotiate(requested: &str) -> ProtocolVersion {
    ProtocolVersion::parse(requested)
        .filter(|version| version.era() == Era::Legacy)
        .unwrap_or(ProtocolVersion::V2025_11_25)
}

/// Decides once, at the edge, how a message is served.
///
/// `header` is the `MCP-Protocol-Version` header. A message whose `_meta` names a version is
/// modern, whatever else it carries; `initialize` without that is always legacy, since it is what
/// a legacy client opens with; for the rest the header decides, and without one the message is
/// legacy. A session id or an `Mcp-Method` header decides nothing.
///
/// # Errors
///
/// `-32022` for a version that is not served, `-32020` for a `_meta` version that the header does
/// not repeat. Both are HTTP 400.
pub fn classify(
    served: Served,
    header: Option<&str>,
    method: Option<&str>,
    params: &Map<String, Value>,
) -> Result<Era, ErrorObject> {
    if let Some(version) = mcp::in_meta(params, mcp::META_PROTOCOL_VERSION) {
        let Some(version) = version.as_str() else {
            return Err(ErrorObject::invalid_params(format!(
                "Invalid params: _meta \"{}\" must be a string",
                mcp::META_PROTOCOL_VERSION
            )));
        };
        if header != Some(version) {
            return Err(version_mismatch(header, version));
        }
        return match served.parse(version) {
            Some(version) if version.era() == Era::Modern => Ok(Era::Modern),
            _ => Err(unsupported(served, version)),
        };
    }
    let legacy = |version: &str| {
        if served.includes(Era::Legacy) {
            Ok(Era::Legacy)
        } else {
            Err(unsupported(served, version))
        }
    };
    if method == Some("initialize") {
        let requested = params.get("protocolVersion").and_then(Value::as_str);
        return legacy(requested.unwrap_or_default());
    }
    match header {
        None => legacy(ProtocolVersion::UNSTATED.as_str()),
        Some(text) => served
            .parse(text)
            .map(ProtocolVersion::era)
            .ok_or_else(|| unsupported(served, text)),
    }
}

/// `-32022`, with the versions this server speaks.
pub fn unsupported(served: Served, requested: &str) -> ErrorObject {
    ErrorObject::new(UNSUPPORTED_PROTOCOL_VERSION, "Unsupported protocol version").with_data(
        json!({
            "supported": served.versions(),
            "requested": excerpt(requested),
        }),
    )
}

fn version_mismatch(header: Option<&str>, version: &str) -> ErrorObject {
    let text = match header {
        Some(header) => format!(
            "Header mismatch: MCP-Protocol-Version is \"{}\", but _meta says \"{}\"",
            excerpt(header),
            excerpt(version)
        ),
        None => "Header mismatch: the MCP-Protocol-Version header is missing".to_owned(),
    };
    ErrorObject::new(HEADER_MISMATCH, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_negotiated() {
        let cases = [
            ("2025-03-26", "2025-03-26"),
            ("2025-06-18", "2025-06-18"),
            ("2025-11-25", "2025-11-25"),
            ("2026-07-28", "2025-11-25"),
            ("2024-11-05", "2025-11-25"),
            ("2099-01-01", "2025-11-25"),
            ("", "2025-11-25"),
        ];
        for (requested, expected) in cases {
            assert_eq!(negotiate(requested).as_str(), expected, "{requested}");
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn messages_are_classified() {
        use Era::{Legacy, Modern};
        let modern = json!({"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}});
        let legacy_meta =
            json!({"_meta": {"io.modelcontextprotocol/protocolVersion": "2025-11-25"}});
        let unknown = json!({"_meta": {"io.modelcontextprotocol/protocolVersion": "1900-01-01"}});
        let number = json!({"_meta": {"io.modelcontextprotocol/protocolVersion": 7}});
        let token = json!({"_meta": {"progressToken": 1}});
        let none = json!({});
        let cases = [
            ("no hint", None, "tools/list", &none, Ok(Legacy)),
            ("other _meta", None, "tools/list", &token, Ok(Legacy)),
            (
                "legacy header",
                Some("2025-06-18"),
                "tools/list",
                &none,
                Ok(Legacy),
            ),
            (
                "modern header alone",
                Some("2026-07-28"),
                "tools/list",
                &none,
                Ok(Modern),
            ),
            (
                "modern",
                Some("2026-07-28"),
                "tools/list",
                &modern,
                Ok(Modern),
            ),
            (
                "modern without header",
                None,
                "tools/list",
                &modern,
                Err(-32020),
            ),
            (
                "modern with another header",
                Some("2025-11-25"),
                "tools/list",
                &modern,
                Err(-32020),
            ),
            (
                "unknown in _meta and header",
                Some("1900-01-01"),
                "tools/list",
                &unknown,
                Err(-32022),
            ),
            (
                "unknown in _meta alone",
                Some("2026-07-28"),
                "tools/list",
                &unknown,
                Err(-32020),
            ),
            (
                "unknown header",
                Some("1999-01-01"),
                "tools/list",
                &none,
                Err(-32022),
            ),
            (
                "legacy version in _meta",
                Some("2025-11-25"),
                "tools/list",
                &legacy_meta,
                Err(-32022),
            ),
            (
                "version is no string",
                Some("2026-07-28"),
                "tools/list",
                &number,
                Err(-32602),
            ),
            ("initialize", None, "initialize", &none, Ok(Legacy)),
            (
                "initialize with a modern header",
                Some("2026-07-28"),
                "initialize",
                &none,
                Ok(Legacy),
            ),
            (
                "initialize in a modern envelope",
                Some("2026-07-28"),
                "initialize",
                &modern,
                Ok(Modern),
            ),
        ];
        for (name, header, method, params, expected) in cases {
            let era = classify(
                Served::Both,
                header,
                Some(method),
                params.as_object().unwrap(),
            );
            assert_eq!(era.map_err(|error| error.code), expected, "{name}");
        }
    }

    #[test]
    fn an_era_that_is_off_is_unsupported() {
        let modern = json!({"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}});
        let none = json!({});
        let modern_version = Some("2026-07-28");
        let cases = [
            (Era::Legacy, None, "tools/list", &none, Ok(Era::Legacy)),
            (Era::Legacy, None, "initialize", &none, Ok(Era::Legacy)),
            (
                Era::Legacy,
                modern_version,
                "tools/list",
                &modern,
                Err(-32022),
            ),
            (
                Era::Legacy,
                modern_version,
                "tools/list",
                &none,
                Err(-32022),
            ),
            (
                Era::Modern,
                modern_version,
                "tools/list",
                &modern,
                Ok(Era::Modern),
            ),
            (Era::Modern, None, "tools/list", &none, Err(-32022)),
            (Era::Modern, None, "initialize", &none, Err(-32022)),
            (Era::Modern, Some("2025-06-18"), "ping", &none, Err(-32022)),
        ];
        for (only, header, method, params, expected) in cases {
            let params = params.as_object().unwrap();
            let era = classify(Served::Only(only), header, Some(method), params);
            let code = era.map_err(|error| error.code);
            assert_eq!(code, expected, "{only:?} {header:?} {method}");
        }
        let error = unsupported(Served::Only(Era::Modern), "x");
        assert_eq!(error.data.unwrap()["supported"], json!(["2026-07-28"]));
    }

    #[test]
    fn an_unsupported_version_is_named_with_the_supported_ones() {
        let error = unsupported(Served::Both, &"9".repeat(1_000_000));
        let data = error.data.unwrap();
        assert_eq!(
            data["supported"],
            json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"])
        );
        assert!(data["requested"].as_str().unwrap().len() < 100);
    }
}
