//! The auth file.

use super::Takes::{Form, List, Object as Of, Text};
use super::{Object, key};

pub(super) const FILE: Object = Object::new(
    "auth file",
    &[&[key(
        "tokens",
        List(&Of(&TOKEN)),
        "The bearer tokens that are let in, known by their digests.",
    )]],
)
.with_required(&["tokens"]);

const TOKEN: Object = Object::new(
    "token",
    &[&[
        key(
            "sha256",
            Form("^[0-9A-Fa-f]{64}$"),
            "The digest of the token, as `mcp-serve token hash` prints it.",
        ),
        key("subject", Text, "Whom the token stands for."),
        key("tenant", Text, "The tenant of the subject."),
        key("scopes", List(&Text), "What the token is issued for."),
        key(
            "roles",
            List(&Text),
            "What the subject is to you; `allow` names roles.",
        ),
        key(
            "expires",
            Text,
            "When the token ends, in UTC, such as 2027-01-01T00:00:00Z.",
        ),
    ]],
)
.with_required(&["sha256", "subject"]);
