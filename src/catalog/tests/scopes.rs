//! Which scopes a file asks for, and which of them at first.

use super::parse;
use crate::auth::{Caller, Issuer, Principal};

#[test]
fn a_client_asks_first_for_what_nothing_asks_for_later() {
    let catalog = parse(
        "
tools:
  list: {description: d, exec: /bin/true, tags: [all], allow: ['scope:list', [role:ops, 'scope:read']]}
  write: {description: d, exec: /bin/true, allow: [['scope:read', 'scope:write']], step_up: true}
  plain: {description: d, exec: /bin/true}
prompts:
  greet: {description: d, text: Hello., allow: ['scope:greet']}
  grow: {description: d, text: Hello., allow: ['scope:grow'], step_up: true}
resources:
  one: {uri: 'x://one', description: d, text: One., allow: ['scope:one']}
toolsets:
  all: {match: tag:all, allow: ['scope:all']}
",
    )
    .unwrap();
    let first: Vec<_> = catalog.first_scopes().into_iter().collect();
    assert_eq!(first, ["all", "greet", "list", "one", "read"]);
    let ann = Principal::user(Issuer::AuthFile, "ann", None);
    let scopes = ["all", "list", "read", "write"].map(str::to_owned);
    let ann = Caller::new(ann).with_scopes(scopes.to_vec());
    for (scope, shown) in [
        ("all", true),
        ("list", true),
        ("write", true),
        // It is challenged for this, and sees nothing of the others.
        ("grow", true),
        ("greet", false),
        ("one", false),
        ("ops", false),
        ("lis", false),
        ("", false),
    ] {
        assert_eq!(catalog.shows_scope(&ann, scope), shown, "{scope}");
    }
}
