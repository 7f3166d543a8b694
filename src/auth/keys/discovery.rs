//! Where an issuer has its keys, by its metadata (RFC 8414, or `OpenID` Connect Discovery).

use serde::Deserialize;
use url::Url;

use super::Failed;
use crate::auth::fetch::{self, Fetcher};

/// What the metadata of an issuer says of its keys (RFC 8414, section 2).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// Asks an issuer where its keys are. What is at one of the places may be for somebody else, such as a page
/// for browsers, so the next one is asked too.
pub(super) async fn keys_of(issuer: &str, fetcher: &Fetcher) -> Result<Url, Failed> {
    let mut failed = Failed::Metadata("its identifier is no URL");
    for url in metadata_urls(issuer) {
        let found = match fetcher.get(&url).await {
            Ok(document) => read(&document, issuer),
            Err(error) => Err(error.into()),
        };
        match found {
            Ok(keys) => return Ok(keys),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn read(metadata: &[u8], issuer: &str) -> Result<Url, Failed> {
    let metadata: Metadata = serde_json::from_slice(metadata)
        .map_err(|_| Failed::Metadata("it has no `issuer` or no `jwks_uri`"))?;
    // Else somebody else vouches for the keys (RFC 8414, section 3.3).
    if metadata.issuer != issuer {
        return Err(Failed::Metadata("it is that of another issuer"));
    }
    let keys = Url::parse(&metadata.jwks_uri).ok();
    let keys = keys.ok_or(Failed::Metadata("its `jwks_uri` is no URL"))?;
    if !fetch::is_safe(&keys) {
        return Err(Failed::Metadata("its `jwks_uri` is not encrypted"));
    }
    Ok(keys)
}

/// Where the metadata of an issuer is: by RFC 8414, section 3.1, then by `OpenID` Connect Discovery.
fn metadata_urls(issuer: &str) -> Vec<Url> {
    let Ok(issuer) = Url::parse(issuer) else {
        return Vec::new();
    };
    let path = issuer.path().trim_end_matches('/');
    let inserted = |name: &str| format!("/.well-known/{name}{path}");
    let mut paths = vec![
        inserted("oauth-authorization-server"),
        inserted("openid-configuration"),
    ];
    if !path.is_empty() {
        paths.push(format!("{path}/.well-known/openid-configuration"));
    }
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    paths.into_iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_of_an_issuer_is_where_specifications_say() {
        let cases: [(&str, &[&str]); 4] = [
            (
                "https://id.example.com",
                &[
                    "https://id.example.com/.well-known/oauth-authorization-server",
                    "https://id.example.com/.well-known/openid-configuration",
                ],
            ),
            (
                "https://id.example.com/",
                &[
                    "https://id.example.com/.well-known/oauth-authorization-server",
                    "https://id.example.com/.well-known/openid-configuration",
                ],
            ),
            (
                "https://id.example.com/realms/a",
                &[
                    "https://id.example.com/.well-known/oauth-authorization-server/realms/a",
                    "https://id.example.com/.well-known/openid-configuration/realms/a",
                    "https://id.example.com/realms/a/.well-known/openid-configuration",
                ],
            ),
            ("id.example.com", &[]),
        ];
        for (issuer, expected) in cases {
            let urls: Vec<_> = metadata_urls(issuer).iter().map(Url::to_string).collect();
            assert_eq!(urls, expected, "{issuer}");
        }
    }

    #[test]
    fn nobody_else_says_where_keys_are() {
        let cases = [
            (
                r#"{"issuer": "https://a.example", "jwks_uri": "https://b.example/k"}"#,
                Ok("https://b.example/k"),
            ),
            (
                r#"{"issuer": "https://a.example/", "jwks_uri": "https://a.example/k"}"#,
                Err("it is that of another issuer"),
            ),
            (
                r#"{"issuer": "https://a.example", "jwks_uri": "http://a.example/k"}"#,
                Err("its `jwks_uri` is not encrypted"),
            ),
            (
                r#"{"issuer": "https://a.example", "jwks_uri": "keys"}"#,
                Err("its `jwks_uri` is no URL"),
            ),
            (
                r#"{"issuer": "https://a.example"}"#,
                Err("it has no `issuer` or no `jwks_uri`"),
            ),
            ("<html>", Err("it has no `issuer` or no `jwks_uri`")),
        ];
        for (metadata, expected) in cases {
            let found = read(metadata.as_bytes(), "https://a.example");
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.as_str(), expected),
                (Err(error), Err(expected)) => {
                    let error = error.to_string();
                    assert!(error.ends_with(expected), "{metadata}: {error}");
                }
                (found, _) => panic!("{metadata}: {found:?}"),
            }
        }
    }
}
