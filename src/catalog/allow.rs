//! Who may use a tool, prompt or resource: what its `allow` asks of a caller.

use std::collections::BTreeSet;
use std::fmt;

use super::grants::Grants;
use super::{Prompt, Resource, ResourceTemplate, Tool};
use crate::auth::{Caller, check_scope};
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::reader;
use crate::document::suggest::{did_you_mean, nearest};
use crate::document::yaml::{Content, Entry, Key, Node};

/// How an entry is written, for messages.
const FORM: &str = "write `role:x`, `scope:x`, `sub:x` or `tenant:x`";

/// Who may use something; without conditions it is every caller but a guest.
#[derive(Clone, Debug, Default)]
pub struct Allow {
    conditions: Option<Conditions>,
    /// Who lacks nothing but scopes is told so.
    step_up: bool,
    /// A credential is needed, whatever `allow` says.
    needs_credential: bool,
}

/// What something is to a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access<'a> {
    /// It may use it.
    Granted,
    /// It sees it, and could use it with a credential of these scopes.
    NeedsScopes(Vec<&'a str>),
    /// It is not there.
    Hidden,
}

/// Something that not every caller may use.
pub trait Guarded {
    /// Returns who may.
    fn allow(&self) -> &Allow;
}

impl Guarded for Tool {
    fn allow(&self) -> &Allow {
        &self.allow
    }
}

impl Guarded for Prompt {
    fn allow(&self) -> &Allow {
        &self.tool.allow
    }
}

impl Guarded for Resource {
    fn allow(&self) -> &Allow {
        &self.tool.allow
    }
}

impl Guarded for ResourceTemplate {
    fn allow(&self) -> &Allow {
        &self.tool.allow
    }
}

/// One of several ways in suffices; each is a list of claims that must all hold.
#[derive(Clone, Debug)]
struct Conditions {
    place: Span,
    ways: Vec<Vec<Claim>>,
}

impl Conditions {
    /// The ways in that are open to a caller.
    fn ways_for(&self, caller: &Caller) -> impl Iterator<Item = &[Claim]> {
        let ways = self.ways.iter().map(Vec::as_slice);
        ways.filter(|claims| claims.iter().all(|claim| claim.holds(caller)))
    }
}

/// Something that a caller has or is.
#[derive(Clone, Debug)]
struct Claim {
    kind: ClaimKind,
    value: String,
    place: Span,
}

/// What a claim is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimKind {
    Role,
    Scope,
    Subject,
    Tenant,
}

impl ClaimKind {
    const PREFIXES: [(&'static str, Self); 4] = [
        ("role", Self::Role),
        ("scope", Self::Scope),
        ("sub", Self::Subject),
        ("tenant", Self::Tenant),
    ];

    /// What a caller has of this kind.
    pub(crate) fn values(self, caller: &Caller) -> impl Iterator<Item = &str> {
        let (listed, single) = match self {
            Self::Role => (caller.roles.as_slice(), ""),
            Self::Scope => (caller.scopes.as_slice(), ""),
            Self::Subject => (Default::default(), caller.subject()),
            Self::Tenant => (Default::default(), caller.tenant()),
        };
        let single = Some(single).filter(|single| !single.is_empty());
        listed.iter().map(String::as_str).chain(single)
    }

    /// Whether a name that no token has keeps a file from being served. People and tenants come and
    /// go; what they may is for the operator to name.
    fn is_settled(self) -> bool {
        matches!(self, Self::Role | Self::Scope)
    }
}

impl fmt::Display for ClaimKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Role => "role",
            Self::Scope => "scope",
            Self::Subject => "subject",
            Self::Tenant => "tenant",
        })
    }
}

impl Claim {
    fn holds(&self, caller: &Caller) -> bool {
        self.kind.values(caller).any(|value| value == self.value)
    }
}

impl Allow {
    /// Whether a caller may use it.
    pub fn permits(&self, caller: &Caller) -> bool {
        let Some(conditions) = &self.conditions else {
            return !caller.is_guest();
        };
        !(self.needs_credential && caller.is_guest())
            && conditions.ways_for(caller).next().is_some()
    }

    /// The same, for callers with a credential where others need one. The definitions are judged again
    /// after a reload of the auth file, but where that fails the old ones meet new guests.
    #[must_use]
    pub(crate) fn with_credential(self) -> Self {
        Self {
            needs_credential: true,
            ..self
        }
    }

    /// Reports that callers without a credential may use what changes something. `subject` is what
    /// that is.
    pub(crate) fn check_guest(&self, subject: &Key, grants: &Grants, report: &mut Report) {
        let way = grants.guest().and_then(|guest| {
            let conditions = self.conditions.as_ref()?;
            conditions.ways_for(guest).next()
        });
        let Some(claim) = way.and_then(|claims| claims.first()) else {
            return;
        };
        let name = &subject.text;
        let message = format!(
            "everybody has the {} `{}` without a credential, and `{name}` is not `effect: read`",
            claim.kind, claim.value
        );
        let problem = Problem::error(Code::AnonymousChange, claim.place, message);
        let problem = problem.also(subject.span, "may change something");
        report.add(problem.help(
            "write `effect: read` if it changes nothing, or name a role that `anonymous` of the auth \
             file does not have",
        ));
    }

    /// What it is to a caller.
    pub fn access(&self, caller: &Caller) -> Access<'_> {
        if self.permits(caller) {
            return Access::Granted;
        }
        let scopes = self.step_up.then(|| self.scopes_for(caller)).flatten();
        scopes.map_or(Access::Hidden, Access::NeedsScopes)
    }

    /// The scopes of the way in that lacks the fewest, and of several the first; `None` where a caller
    /// lacks more than scopes, or has no credential that could have them.
    ///
    /// Also those that the caller has: a client may ask for no more than it is told (RFC 6750, section
    /// 3: the scope necessary to access the resource).
    fn scopes_for(&self, caller: &Caller) -> Option<Vec<&str>> {
        caller.principal.identity()?;
        let lacking = |claims: &&[Claim]| {
            let lacking = claims.iter().filter(|claim| !claim.holds(caller));
            lacking.count()
        };
        let way = self.within_reach(caller).min_by_key(lacking)?;
        Some(scopes(way).collect())
    }

    /// The ways in of which a caller lacks nothing but scopes.
    fn within_reach(&self, caller: &Caller) -> impl Iterator<Item = &[Claim]> {
        self.ways().filter(|claims| {
            let mut claims = claims.iter();
            claims.all(|claim| claim.kind == ClaimKind::Scope || claim.holds(caller))
        })
    }

    fn ways(&self) -> impl Iterator<Item = &[Claim]> {
        let conditions = self.conditions.iter();
        let ways = conditions.flat_map(|conditions| &conditions.ways);
        ways.map(Vec::as_slice)
    }

    /// Whether a caller that sees it can tell that it asks for a scope.
    pub(crate) fn shows_scope(&self, caller: &Caller, scope: &str) -> bool {
        let mut shown = self.within_reach(caller).flat_map(scopes);
        self.access(caller) != Access::Hidden && shown.any(|shown| shown == scope)
    }

    /// The same, where who lacks nothing but scopes is told so, or not.
    #[must_use]
    pub(crate) fn with_step_up(self, step_up: bool) -> Self {
        Self { step_up, ..self }
    }

    /// Whether it asks for a scope.
    pub(crate) fn names_scopes(&self) -> bool {
        self.scopes().next().is_some()
    }

    /// The scopes that it asks for, in one way or another.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = &str> {
        self.ways().flat_map(scopes)
    }

    /// Whether who lacks nothing but scopes is told so.
    pub(crate) fn steps_up(&self) -> bool {
        self.step_up
    }

    /// Reads a list whose items are claims, or lists of claims.
    pub(crate) fn read(entry: &Entry, report: &mut Report) -> Option<Self> {
        let errors = report.errors();
        let nodes = reader::list(entry, report)?;
        check_not_empty(nodes, entry.place(), report);
        let ways = nodes.iter().map(|node| match &node.content {
            Content::Sequence(items) => {
                check_not_empty(items, node.span, report);
                items
                    .iter()
                    .filter_map(|item| claim(item, report))
                    .collect()
            }
            _ => claim(node, report).into_iter().collect(),
        });
        let conditions = Conditions {
            ways: ways.collect(),
            place: entry.key.span,
        };
        (report.errors() == errors).then_some(Self {
            conditions: Some(conditions),
            step_up: false,
            needs_credential: false,
        })
    }

    /// Reports names that nobody has, and else that nobody has what it takes. `subject` is what
    /// nobody could use then.
    pub(crate) fn check(&self, subject: &str, grants: &Grants, report: &mut Report) {
        let Some(conditions) = &self.conditions else {
            return;
        };
        let mut are_known = true;
        for claim in conditions.ways.iter().flatten() {
            if let Some(known) = grants.known(claim.kind) {
                are_known &= check_known(claim, &known, report);
            }
        }
        if are_known && !grants.may_include(|caller| self.permits(caller)) {
            let message = format!("nobody could ever use {subject}");
            let help = match grants {
                Grants::Open => {
                    "without `--auth` every caller is anonymous, and has none of what `allow` asks for"
                }
                Grants::Static(_) | Grants::Any | Grants::AnyAnd(_) => {
                    "no token has what `allow` asks for"
                }
            };
            let problem = Problem::warning(Code::Unreachable, conditions.place, message);
            report.add(problem.help(help));
        }
    }
}

/// The scopes of a way in.
fn scopes(way: &[Claim]) -> impl Iterator<Item = &str> {
    let scopes = way.iter().filter(|claim| claim.kind == ClaimKind::Scope);
    scopes.map(|claim| claim.value.as_str())
}

fn check_not_empty(nodes: &[Node], place: Span, report: &mut Report) {
    if nodes.is_empty() {
        let message = "an empty list says neither who may nor who may not";
        let problem = Problem::error(Code::Value, place, message);
        report.add(
            problem.help("remove it to let in every caller, or add an entry such as `role:ops`"),
        );
    }
}

fn claim(node: &Node, report: &mut Report) -> Option<Claim> {
    let Some(scalar) = node.scalar().filter(|scalar| !scalar.is_null()) else {
        let message = format!(
            "an entry of `allow` must be a text such as `role:ops`, not {}",
            node.kind()
        );
        let help = match node.content {
            Content::Mapping(_) => "write no space after the colon",
            _ => FORM,
        };
        report.add(Problem::error(Code::Value, node.span, message).help(help));
        return None;
    };
    let text = scalar.text.as_str();
    let prefixes = ClaimKind::PREFIXES;
    let (prefix, value) = text.split_once(':').unwrap_or((text, ""));
    let kind = prefixes.iter().find(|(name, _)| *name == prefix);
    let Some((_, kind)) = kind.filter(|_| !value.is_empty()) else {
        let message = format!("`{text}` names nothing that a caller has");
        let names = prefixes.iter().map(|(name, _)| *name);
        let meant = nearest(prefix, names).filter(|_| !value.is_empty());
        let help = match meant {
            Some(name) => format!("did you mean `{name}:{value}`?"),
            None => FORM.to_owned(),
        };
        report.add(Problem::error(Code::Value, node.span, message).help(help));
        return None;
    };
    // A challenge names it in a header.
    if let (ClaimKind::Scope, Err(reason)) = (kind, check_scope(value)) {
        let message = format!("a scope {reason}");
        report.add(Problem::error(Code::Value, node.span, message));
        return None;
    }
    Some(Claim {
        kind: *kind,
        value: value.to_owned(),
        place: node.span,
    })
}

/// Reports a claim that no token can make; returns whether one can.
fn check_known(claim: &Claim, known: &BTreeSet<&str>, report: &mut Report) -> bool {
    let Claim { kind, value, place } = claim;
    if known.contains(value.as_str()) {
        return true;
    }
    let message = format!("unknown {kind} `{value}`: no token of the auth file has it");
    let problem = if kind.is_settled() {
        Problem::error(Code::UnknownName, *place, message)
    } else {
        Problem::warning(Code::UnknownName, *place, message)
    };
    report.add(problem.maybe_help(did_you_mean(value, known.iter().copied())));
    false
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::auth::{Caller, Issuer, Principal};
    use crate::catalog::{Catalog, Environment};

    use super::{Access, Allow};

    fn allow(text: &str) -> Allow {
        let file = format!(
            "tools: {{t: {{description: d, exec: /bin/true, effect: read, allow: {text}}}}}"
        );
        let loaded = Catalog::parse(&file, Path::new("tools.yaml"), &Environment::default());
        let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
        loaded.catalog.tool("t").unwrap().allow.clone()
    }

    fn caller(roles: &[&str], scopes: &[&str]) -> Caller {
        let tenant = Some("acme".to_owned());
        Caller {
            roles: roles.iter().copied().map(str::to_owned).collect(),
            scopes: scopes.iter().copied().map(str::to_owned).collect(),
            ..Caller::new(Principal::user(Issuer::AuthFile, "ann", tenant))
        }
    }

    #[test]
    fn one_entry_suffices_and_a_list_needs_all_its_items() {
        let ann = caller(&["dba", "ops"], &["issues:write"]);
        let cases = [
            ("[role:dba]", true),
            ("[role:db]", false),
            ("[role:DBA]", false),
            ("[scope:issues:write]", true),
            ("[scope:issues]", false),
            ("[sub:ann]", true),
            ("[sub:acme]", false),
            ("[tenant:acme]", true),
            ("[tenant:ann]", false),
            ("[role:boss, sub:ann]", true),
            ("[[role:dba, role:ops]]", true),
            ("[[role:dba, role:boss]]", false),
            ("[[role:dba, role:boss], tenant:acme]", true),
            ("[role:issues:write, scope:dba]", false),
        ];
        for (text, expected) in cases {
            assert_eq!(allow(text).permits(&ann), expected, "{text}");
        }
    }

    #[test]
    fn who_lacks_nothing_but_scopes_is_told_which() {
        let ann = caller(&["ops"], &["read"]);
        let needs = |scopes: &'static str| Some(scopes);
        let cases = [
            ("[scope:write]", needs("write")),
            ("[[scope:write, scope:read]]", needs("write read")),
            ("[[scope:write, scope:share]]", needs("write share")),
            ("[[scope:write, role:ops, tenant:acme]]", needs("write")),
            ("[[scope:write, role:dba]]", None),
            ("[[scope:write, tenant:globex]]", None),
            ("[[scope:write, sub:bob]]", None),
            ("[role:dba]", None),
            ("[role:dba, scope:write]", needs("write")),
            ("[[scope:a, scope:b], scope:c]", needs("c")),
            ("[scope:a, scope:b]", needs("a")),
            (
                "[[scope:a, scope:b], [scope:a, scope:read]]",
                needs("a read"),
            ),
        ];
        for (text, expected) in cases {
            let expected = match expected {
                Some(scopes) => Access::NeedsScopes(scopes.split(' ').collect()),
                None => Access::Hidden,
            };
            let without = allow(text);
            assert_eq!(without.access(&ann), Access::Hidden, "{text}");
            let stranger = Caller::new(Principal::Anonymous);
            let with = without.with_step_up(true);
            assert_eq!(with.access(&ann), expected, "{text}");
            assert_eq!(with.access(&stranger), Access::Hidden, "{text}");
        }
        let granted = allow("[scope:read]").with_step_up(true);
        assert_eq!(granted.access(&ann), Access::Granted);
    }

    #[test]
    fn a_scope_shows_only_in_what_a_caller_sees_and_can_come_up_to() {
        let ann = caller(&["ops"], &["read", "write", "admin"]);
        for (text, scope, step_up, expected) in [
            ("[scope:read]", "read", false, true),
            ("[scope:read]", "write", false, false),
            ("[[scope:read, scope:more]]", "read", false, false),
            ("[[scope:read, scope:more]]", "read", true, true),
            ("[[scope:read, scope:more, role:dba]]", "read", true, false),
            (
                "[scope:read, [scope:admin, role:dba]]",
                "admin",
                true,
                false,
            ),
            ("[role:ops, [scope:admin, role:ops]]", "admin", false, true),
        ] {
            let allow = allow(text).with_step_up(step_up);
            assert_eq!(allow.shows_scope(&ann, scope), expected, "{text} {scope}");
        }
    }

    #[test]
    fn a_guest_uses_what_is_granted_to_its_roles_and_nothing_else() {
        let guest = Caller {
            roles: vec!["guest".to_owned()],
            ..Caller::new(Principal::Anonymous)
        };
        assert!(!Allow::default().permits(&guest));
        for (text, expected) in [
            ("[role:guest]", true),
            ("[role:staff]", false),
            ("[[role:guest, scope:read]]", false),
        ] {
            assert_eq!(allow(text).permits(&guest), expected, "{text}");
        }
        let scopes = allow("[[role:guest, scope:read]]").with_step_up(true);
        assert_eq!(scopes.access(&guest), Access::Hidden);
        let changes = allow("[role:guest]").with_credential();
        assert!(!changes.permits(&guest));
    }

    #[test]
    fn the_scopes_that_are_asked_for_are_known() {
        let allow = allow("[scope:a, role:b, [scope:c:d, tenant:e]]");
        assert_eq!(allow.scopes().collect::<Vec<_>>(), ["a", "c:d"]);
        assert_eq!(Allow::default().scopes().count(), 0);
    }

    #[test]
    fn who_has_nothing_uses_only_what_everybody_may() {
        for caller in [caller(&[], &[]), Caller::new(Principal::Anonymous)] {
            assert!(Allow::default().permits(&caller));
            assert!(!allow("[role:dba, scope:x, sub:bob, tenant:x]").permits(&caller));
        }
    }
}
