//! `anonymous`: who comes without a credential.

use super::fields::{list_of, unknown_key};
use crate::auth::names::check_name;
use crate::auth::{Caller, Principal};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::Entry;

const KEYS: &[&str] = &["roles"];

/// The caller whom everybody without a credential is. It has one role at least: without, it could
/// use nothing.
pub(super) fn read(entry: &Entry, report: &mut Report) -> Option<Caller> {
    let entries = reader::mapping(entry, report)?;
    let errors = report.errors();
    let mut roles = Vec::new();
    for entry in entries {
        match entry.key.text.as_str() {
            "roles" => roles = list_of(entry, "a role", check_name, report),
            _ => drop(unknown_key(entry, "`anonymous`", KEYS, report)),
        }
    }
    if roles.is_empty() && report.errors() == errors {
        let message = "`anonymous` has no roles";
        let problem = Problem::error(Code::Value, entry.key.span, message);
        report.add(problem.help(
            "write `roles: [guest]` and let `allow` of tools name `role:guest`, or remove \
             `anonymous`: then nobody comes without a credential",
        ));
    }
    (!roles.is_empty()).then(|| Caller {
        roles,
        ..Caller::new(Principal::Anonymous)
    })
}
