//! What tokens are issued for: `aud` (RFC 7519, section 4.1.3), as clients ask for it (RFC 8707).
//!
//! Clients ask for a token for the URL that they use. That of a toolset is a part of the server, and a
//! token for a part is not good for more.

use std::fmt;

use serde_json::{Map, Value};

use crate::host::{Origin, PublicUrl};

/// What of the server a credential is good for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reach {
    /// The whole, and so each toolset.
    #[default]
    Server,
    /// These toolsets alone.
    Toolsets(Vec<String>),
}

impl Reach {
    /// Whether a toolset belongs to it; with `None` the whole.
    pub fn includes(&self, toolset: Option<&str>) -> bool {
        match self {
            Self::Server => true,
            Self::Toolsets(names) => {
                toolset.is_some_and(|toolset| names.iter().any(|name| name == toolset))
            }
        }
    }

    /// Whether all that another one is good for belongs to it.
    pub fn covers(&self, other: &Self) -> bool {
        match other {
            Self::Server => *self == Self::Server,
            Self::Toolsets(names) => names.iter().all(|name| self.includes(Some(name))),
        }
    }
}

/// For whom tokens must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Audiences {
    /// Of these `aud` must name one.
    named: Vec<String>,
    /// The URL of this server, if it knows that.
    server: Option<PublicUrl>,
}

impl Audiences {
    /// Those which a file names.
    pub(super) fn new(named: &[String], server: Option<PublicUrl>) -> Self {
        let named = named.iter().map(|audience| canonical(audience)).collect();
        Self { named, server }
    }

    /// This server and nobody else.
    pub(super) fn of_server(server: PublicUrl) -> Self {
        Self::new(&[server.resource(None)], Some(server))
    }

    /// What a token with these claims is good for; `None` if it is for somebody else.
    pub(super) fn reach(&self, claims: &Map<String, Value>) -> Option<Reach> {
        let audiences = match claims.get("aud")? {
            Value::String(audience) => vec![audience.as_str()],
            Value::Array(named) => named.iter().map(Value::as_str).collect::<Option<_>>()?,
            _ => return None,
        };
        let mut toolsets = Vec::new();
        for audience in audiences {
            match self.reach_of(&canonical(audience)) {
                Some(Reach::Server) => return Some(Reach::Server),
                Some(Reach::Toolsets(more)) => toolsets.extend(more),
                None => {}
            }
        }
        (!toolsets.is_empty()).then_some(Reach::Toolsets(toolsets))
    }

    /// The URL at which an endpoint with this path would be if nothing in front changed it, where that is
    /// named and counts as a toolset.
    pub(super) fn toolset_at(&self, path: &str) -> Option<String> {
        let server = self.server.as_ref()?;
        let url = format!("{}{path}", server.origin());
        (self.named.contains(&url) && server.toolset(&url).is_some()).then_some(url)
    }

    /// A toolset belongs to the server: who names that has named it too.
    fn reach_of(&self, audience: &str) -> Option<Reach> {
        let is_named = |audience: &str| self.named.iter().any(|named| named == audience);
        let server = self.server.as_ref();
        match server.and_then(|server| Some((server, server.toolset(audience)?))) {
            Some((server, toolset)) => {
                let is_ours = is_named(audience) || is_named(&server.resource(None));
                is_ours.then(|| Reach::Toolsets(vec![toolset.to_owned()]))
            }
            None => is_named(audience).then_some(Reach::Server),
        }
    }
}

/// For those who run the server.
impl fmt::Display for Audiences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.named.join(" or "))
    }
}

/// A URL as two of them are compared (RFC 3986, section 6.2): scheme and host in lower case, no port
/// that the scheme implies, and no path instead of `/`. The rest counts letter by letter, as does what
/// is no URL: nothing is resolved or decoded that the issuer may have meant otherwise.
fn canonical(audience: &str) -> String {
    let host = audience.find("://").map_or(0, |end| end + "://".len());
    let rest = audience.get(host..).unwrap_or_default();
    let path = host + rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let parts = audience.split_at_checked(path);
    let parsed = parts.and_then(|(origin, path)| Some((origin.parse::<Origin>().ok()?, path)));
    match parsed {
        Some((origin, "/")) => origin.to_string(),
        Some((origin, path)) => format!("{origin}{path}"),
        None => audience.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SERVER: &str = "https://mcp.example.com/mcp";

    fn reach(named: &[&str], server: Option<&str>, audience: &Value) -> Option<Reach> {
        let named: Vec<_> = named.iter().map(|&named| named.to_owned()).collect();
        let server = server.map(|url| url.parse().unwrap());
        let claims = json!({"aud": audience});
        Audiences::new(&named, server).reach(claims.as_object().unwrap())
    }

    fn toolsets(names: &[&str]) -> Reach {
        Reach::Toolsets(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn a_token_is_good_for_what_it_names() {
        let whole = Some(Reach::Server);
        let cases = [
            (json!(SERVER), whole.clone()),
            (json!("HTTPS://MCP.Example.com/mcp"), whole.clone()),
            (json!("https://mcp.example.com:443/mcp"), whole.clone()),
            (json!(["https://other.example", SERVER]), whole.clone()),
            (json!(format!("{SERVER}/ops")), Some(toolsets(&["ops"]))),
            (
                json!("https://MCP.example.com/mcp/ops"),
                Some(toolsets(&["ops"])),
            ),
            (
                json!([format!("{SERVER}/ops"), format!("{SERVER}/git")]),
                Some(toolsets(&["ops", "git"])),
            ),
            (json!([format!("{SERVER}/ops"), SERVER]), whole),
            (json!("https://mcp.example.com/MCP"), None),
            (json!("https://mcp.example.com/mcp/"), None),
            (json!("https://mcp.example.com/mcp/ops/x"), None),
            (json!("https://mcp.example.com/mcp/ops/"), None),
            (json!("https://mcp.example.com/x/../mcp"), None),
            (json!("https://mcp.example.com/%6dcp"), None),
            (json!("https://mcp.example.com/mcp?x"), None),
            (json!("https://mcp.example.com/mcp.evil/ops"), None),
            (json!("https://mcp.example.com.evil/mcp"), None),
            (json!("https://user@mcp.example.com/mcp"), None),
            (json!("https://mcp.example.com:444/mcp"), None),
            (json!("http://mcp.example.com/mcp"), None),
            (json!("https://mcp.example.com"), None),
            (json!([SERVER, 1]), None),
            (json!([]), None),
            (json!({"aud": SERVER}), None),
            (json!(null), None),
        ];
        for (audience, expected) in cases {
            let found = reach(&[SERVER], Some(SERVER), &audience);
            assert_eq!(found, expected, "{audience}");
        }
        let nobody = Audiences::of_server(SERVER.parse().unwrap()).reach(&Map::new());
        assert_eq!(nobody, None);
    }

    #[test]
    fn what_a_file_names_is_the_server_unless_it_is_a_toolset_of_it() {
        let ops = "https://mcp.example.com/mcp/ops";
        let cases = [
            (&["mcp"][..], Some(SERVER), "mcp", Some(Reach::Server)),
            (&["mcp"], Some(SERVER), "MCP", None),
            (&["mcp"], Some(SERVER), SERVER, None),
            (&["mcp"], Some(SERVER), ops, None),
            (&[ops], Some(SERVER), ops, Some(toolsets(&["ops"]))),
            (&[ops], Some(SERVER), SERVER, None),
            (&[SERVER], Some(SERVER), ops, Some(toolsets(&["ops"]))),
            // Nobody knows that it is a part of anything.
            (&[ops], None, ops, Some(Reach::Server)),
            (&[SERVER], None, ops, None),
        ];
        for (named, server, audience, expected) in cases {
            let found = reach(named, server, &json!(audience));
            assert_eq!(found, expected, "{named:?} {server:?} {audience}");
        }
    }

    #[test]
    fn a_server_without_a_path_has_toolsets_too() {
        for (audience, expected) in [
            ("https://mcp.example.com", Some(Reach::Server)),
            ("https://mcp.example.com/", Some(Reach::Server)),
            ("https://mcp.example.com/ops", Some(toolsets(&["ops"]))),
            ("https://mcp.example.com//", None),
            ("https://mcp.example.com?", None),
        ] {
            for named in ["https://mcp.example.com", "https://MCP.example.com/"] {
                let found = reach(&[named], Some("https://mcp.example.com"), &json!(audience));
                assert_eq!(found, expected, "{named} {audience}");
            }
        }
    }

    #[test]
    fn a_part_is_not_the_whole() {
        let one = toolsets(&["ops"]);
        let cases = [
            (&Reach::Server, None, true),
            (&Reach::Server, Some("ops"), true),
            (&one, Some("ops"), true),
            (&one, Some("git"), false),
            (&one, None, false),
        ];
        for (reach, toolset, expected) in cases {
            assert_eq!(reach.includes(toolset), expected, "{reach:?} {toolset:?}");
        }
        let both = toolsets(&["ops", "git"]);
        let cases = [
            (&Reach::Server, &Reach::Server, true),
            (&Reach::Server, &one, true),
            (&one, &Reach::Server, false),
            (&one, &one, true),
            (&one, &both, false),
            (&both, &one, true),
        ];
        for (reach, other, expected) in cases {
            assert_eq!(reach.covers(other), expected, "{reach:?} {other:?}");
        }
    }
}
