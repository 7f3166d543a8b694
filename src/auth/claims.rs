//! From the claims of an authorization server to a caller.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::names::{MAX_ITEMS, check_name, check_scope};
use super::{Caller, Issuer, Principal, Reach, Revocation};

/// The name of a claim, or with `/` in front the JSON Pointer (RFC 6901) of one inside another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClaimPath(Box<str>);

impl ClaimPath {
    pub(super) fn new(path: &str) -> Self {
        Self(path.into())
    }

    /// The claim, unless it is missing or null.
    fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let mut names = self.0.strip_prefix('/').map(|path| path.split('/'));
        let first = match &mut names {
            None => self.0.to_string(),
            Some(names) => unescaped(names.next()?),
        };
        let mut found = claims.get(&first)?;
        for name in names.into_iter().flatten() {
            found = found.get(unescaped(name))?;
        }
        (!found.is_null()).then_some(found)
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A reference token of RFC 6901, section 4.
fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// Which claims say who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClaimNames {
    /// Must be there: nothing takes the place of a subject.
    pub(super) subject: ClaimPath,
    /// Must be there if it is named: else users of all tenants would be of none.
    pub(super) tenant: Option<ClaimPath>,
    pub(super) scopes: ClaimPath,
    pub(super) roles: ClaimPath,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            subject: ClaimPath::new("sub"),
            tenant: None,
            scopes: ClaimPath::new("scope"),
            roles: ClaimPath::new("roles"),
        }
    }
}

/// A claim that says nothing of whom it is about.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadClaim {
    #[error("claim `{0}` is missing")]
    Missing(ClaimPath),
    #[error("claim `{0}` {1}")]
    Wrong(ClaimPath, String),
}

impl ClaimNames {
    /// Whom these claims of an issuer are about, for as long as the credential is good.
    pub(super) fn caller(
        &self,
        issuer: &Arc<str>,
        claims: Map<String, Value>,
        expires: Option<SystemTime>,
    ) -> Result<Caller, BadClaim> {
        let subject = name(&self.subject, &claims)?;
        let tenant = self.tenant.as_ref();
        let tenant = tenant.map(|tenant| name(tenant, &claims)).transpose()?;
        let scopes = items(&self.scopes, &claims, check_scope)?;
        let roles = items(&self.roles, &claims, check_name)?;
        let issuer = Issuer::Server(Arc::clone(issuer));
        Ok(Caller {
            principal: Principal::user(issuer, subject, tenant),
            scopes,
            roles,
            reach: Reach::default(),
            expires,
            claims,
            revocation: Revocation::default(),
        })
    }
}

fn name(path: &ClaimPath, claims: &Map<String, Value>) -> Result<String, BadClaim> {
    let wrong = |rule: String| BadClaim::Wrong(path.clone(), rule);
    let missing = || BadClaim::Missing(path.clone());
    let text = match path.find(claims).ok_or_else(missing)? {
        Value::String(text) => text,
        other => return Err(wrong(format!("must be a text, not {}", kind(other)))),
    };
    check_name(text).map_err(wrong)?;
    Ok(text.clone())
}

/// The words of a text with spaces (RFC 6749, section 3.3), or the items of an array, as many
/// issuers write them. None if the claim is not there.
fn items(
    path: &ClaimPath,
    claims: &Map<String, Value>,
    check: fn(&str) -> Result<(), String>,
) -> Result<Vec<String>, BadClaim> {
    let wrong = |rule: String| BadClaim::Wrong(path.clone(), rule);
    let items: Vec<&str> = match path.find(claims) {
        None => Vec::new(),
        Some(Value::String(text)) => text.split(' ').filter(|word| !word.is_empty()).collect(),
        Some(Value::Array(items)) => {
            let items: Option<_> = items.iter().map(Value::as_str).collect();
            items.ok_or_else(|| wrong("must hold nothing but texts".to_owned()))?
        }
        Some(other) => {
            let rule = format!("must be a text or an array of texts, not {}", kind(other));
            return Err(wrong(rule));
        }
    };
    if items.len() > MAX_ITEMS {
        return Err(wrong(format!("has more than {MAX_ITEMS} items")));
    }
    for item in &items {
        check(item).map_err(|rule| wrong(format!("has an item that {rule}")))?;
    }
    Ok(items.into_iter().map(str::to_owned).collect())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn names(roles: &str) -> ClaimNames {
        ClaimNames {
            tenant: Some(ClaimPath::new("org")),
            roles: ClaimPath::new(roles),
            ..ClaimNames::default()
        }
    }

    fn caller(names: &ClaimNames, claims: &Value) -> Result<Caller, BadClaim> {
        let issuer = Arc::from("https://id.example.com");
        names.caller(&issuer, object(claims), None)
    }

    #[test]
    fn claims_say_who_somebody_is() {
        type Case<'a> = (&'a str, Value, &'a [&'a str], &'a [&'a str]);
        let cases: [Case<'_>; 6] = [
            (
                "roles",
                json!({"scope": "a b:c", "roles": ["x", "y z"]}),
                &["a", "b:c"],
                &["x", "y z"],
            ),
            ("roles", json!({"scope": ["a", "b"]}), &["a", "b"], &[]),
            ("roles", json!({"scope": "", "roles": null}), &[], &[]),
            (
                "/realm_access/roles",
                json!({"realm_access": {"roles": ["dba"]}}),
                &[],
                &["dba"],
            ),
            (
                "https://example.com/roles",
                json!({"https://example.com/roles": "x y"}),
                &[],
                &["x", "y"],
            ),
            ("/a~1b/~0c", json!({"a/b": {"~c": ["d"]}}), &[], &["d"]),
        ];
        for (roles, mut claims, scopes, expected) in cases {
            claims["sub"] = json!("alice");
            claims["org"] = json!("acme");
            let caller = caller(&names(roles), &claims).unwrap();
            assert_eq!((caller.subject(), caller.tenant()), ("alice", "acme"));
            assert_eq!(caller.scopes, scopes, "{claims}");
            assert_eq!(caller.roles, expected, "{claims}");
            assert_eq!(caller.claims, object(&claims));
        }
    }

    #[test]
    fn nothing_takes_the_place_of_a_claim_that_is_missing_or_wrong() {
        let many = vec!["x"; MAX_ITEMS + 1];
        let cases = [
            (json!({"org": "acme"}), "claim `sub` is missing"),
            (json!({"sub": null, "org": "a"}), "claim `sub` is missing"),
            (json!({"sub": "alice"}), "claim `org` is missing"),
            (
                json!({"sub": 7, "org": "a"}),
                "claim `sub` must be a text, not a number",
            ),
            (
                json!({"sub": "a\nb", "org": "a"}),
                "claim `sub` cannot hold control characters",
            ),
            (
                json!({"sub": "a", "org": "a", "scope": {}}),
                "claim `scope` must be a text or an array of texts, not an object",
            ),
            (
                json!({"sub": "a", "org": "a", "scope": ["a b"]}),
                "claim `scope` has an item that may hold only visible ASCII characters without \
                 `\"` and `\\`, and no space",
            ),
            (
                json!({"sub": "a", "org": "a", "roles": ["x", 1]}),
                "claim `roles` must hold nothing but texts",
            ),
            (
                json!({"sub": "a", "org": "a", "roles": many}),
                "claim `roles` has more than 100 items",
            ),
        ];
        for (claims, expected) in cases {
            let refused = caller(&names("roles"), &claims).unwrap_err();
            assert_eq!(refused.to_string(), expected, "{claims}");
        }
    }

    #[test]
    fn a_subject_of_another_issuer_is_somebody_else() {
        let of = |issuer: &str| {
            let claims = object(&json!({"sub": "alice"}));
            let names = ClaimNames::default();
            let caller = names.caller(&Arc::from(issuer), claims, None);
            caller.unwrap().principal
        };
        assert_eq!(of("https://a.example"), of("https://a.example"));
        assert_ne!(of("https://a.example"), of("https://b.example"));
    }
}
