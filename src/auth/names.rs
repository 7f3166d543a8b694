//! What subjects, tenants, scopes and roles may look like, whoever says them.

/// The longest subject, tenant, scope or role, in characters. All of them go into the environment
/// of every tool, and the names that people and issuers give are far shorter.
const MAX_CHARS: usize = 256;

/// The most scopes or roles of one credential, for the same reason.
pub(super) const MAX_ITEMS: usize = 100;

/// What names somebody must be one line that looks like itself, in a log and in a variable.
pub(super) fn check_name(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        Err("must not be empty".to_owned())
    } else if text.chars().any(char::is_control) {
        Err("cannot hold control characters".to_owned())
    } else if text.trim() != text {
        Err("cannot begin or end with a space".to_owned())
    } else if text.chars().count() > MAX_CHARS {
        Err(format!("cannot be longer than {MAX_CHARS} characters"))
    } else {
        Ok(())
    }
}

/// The `scope-token` of RFC 6749, section 3.3.
pub(crate) fn check_scope(text: &str) -> Result<(), String> {
    let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    if text.is_empty() {
        Err("must not be empty".to_owned())
    } else if !text.bytes().all(allowed) {
        Err("may hold only visible ASCII characters without `\"` and `\\`, and no space".to_owned())
    } else if text.len() > MAX_CHARS {
        Err(format!("cannot be longer than {MAX_CHARS} characters"))
    } else {
        Ok(())
    }
}
