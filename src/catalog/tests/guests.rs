//! What whoever comes without a credential may reach, where others need one.

use std::path::Path;
use std::sync::Arc;

use crate::auth::{Caller, Principal};
use crate::catalog::{Catalog, Environment, Grants};

#[test]
fn a_guest_can_call_only_what_changes_nothing() {
    let guest = Caller {
        roles: vec!["guest".to_owned()],
        ..Caller::new(Principal::Anonymous)
    };
    let guest = Arc::new(guest);
    let cases = [
        ("exec: /bin/true, allow: [role:guest]", false),
        ("exec: /bin/true, allow: [role:guest], effect: write", false),
        ("exec: /bin/true, allow: [role:guest], effect: read", true),
        ("content: hello, allow: [role:guest]", true),
        ("exec: /bin/true, allow: [[role:guest, scope:x]]", true),
        ("exec: /bin/true", true),
    ];
    let issued = Grants::AnyAnd(Arc::clone(&guest));
    for grants in [issued, Grants::Static(vec![guest])] {
        let environment = Environment::default().granting(grants);
        for (keys, expected) in cases {
            let text = format!("tools: {{t: {{description: d, {keys}}}}}");
            let loaded = Catalog::parse(&text, Path::new("tools.yaml"), &environment);
            let refused = "and `t` is not `effect: read`";
            let said = loaded.map_or_else(|error| error.to_string(), |_| String::new());
            assert_eq!(said.contains(refused), !expected, "{keys}: {said}");
        }
    }
}
