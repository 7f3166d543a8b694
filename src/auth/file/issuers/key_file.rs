//! The keys of an issuer in a file. Whoever can change it decides who may call.

use std::path::Path;

use serde_json::Value;

use crate::auth::fetch::MAX_DOCUMENT;
use crate::auth::jwt::KeySetError;
use crate::auth::keys::Document;
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::secret::{self, Permissions, SecretFileError};
use crate::snapshot::Snapshot;

/// The members of a key (RFC 7518, section 6) with which tokens can be made.
const PRIVATE: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// What a key file must be like.
const FORM: &str =
    "write a JSON Web Key Set as the issuer publishes it: `{\"keys\": [{\"kty\": \"EC\", …}]}`";

/// Reads a file of keys, or reports what is wrong with it.
pub(super) fn read(
    path: &Path,
    place: Span,
    permissions: Permissions,
    report: &mut Report,
) -> Option<Document> {
    report.depends_on(Snapshot::of(path));
    let name = path.strip_prefix(".").unwrap_or(path).display();
    let problem = match secret::read_public(path, permissions, MAX_DOCUMENT as u64) {
        Err(SecretFileError::Unreadable(error)) => {
            let message = format!("`{name}` cannot be read: {error}");
            let help =
                "a relative path starts at the folder of this file; a URL begins with `https://`";
            Problem::error(Code::Unreadable, place, message).help(help)
        }
        Err(error) => {
            let (code, help) = match error {
                SecretFileError::ForeignOwner { .. }
                | SecretFileError::Writable { .. }
                | SecretFileError::Replaceable(_) => (
                    Code::OpenDefinition,
                    "it says who may call; --insecure-permissions accepts it as it is",
                ),
                _ => (Code::Unreadable, FORM),
            };
            let message = format!("`{name}` cannot be used: {error}");
            Problem::error(code, place, message).help(help)
        }
        Ok(text) => match judge(text) {
            Ok(document) => return Some(document),
            Err((reason, help)) => {
                let message = format!("`{name}` {reason}");
                Problem::error(Code::Value, place, message).help(help)
            }
        },
    };
    report.add(problem);
    None
}

/// A set of keys, or what is wrong with it, and what to do.
fn judge(text: String) -> Result<Document, (String, &'static str)> {
    let document: Value = serde_json::from_str(&text).unwrap_or_default();
    let keys = document.get("keys").and_then(Value::as_array);
    let is_private = |key: &Value| PRIVATE.iter().any(|member| key.get(member).is_some());
    if keys.is_some_and(|keys| keys.iter().any(is_private)) || is_private(&document) {
        let reason = "holds a key that tokens can be made with".to_owned();
        let help = "keep it where the tokens are made, and write the public members alone: without \
                    `d`, `p`, `q`, `dp`, `dq`, `qi` and `k`";
        return Err((reason, help));
    }
    Document::read(text.into_bytes()).map_err(|error| match error {
        // What a parser says of a text may repeat a part of it.
        KeySetError::NotASet(_) => ("is not a JSON Web Key Set".to_owned(), FORM),
        KeySetError::NoKeys(0) => ("has no keys".to_owned(), FORM),
        KeySetError::NoKeys(all) => {
            let reason = format!("has no key that can check a token, of {all}");
            let help = "a key is for signatures, of the kind RSA with 2048 bits or more, or EC with \
                        P-256 or P-384, or OKP with Ed25519";
            (reason, help)
        }
    })
}
