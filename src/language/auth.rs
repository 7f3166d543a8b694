//! The auth file.

use super::Takes::{Either, Form, List, Mapping, Object as Of, Text, Word};
use super::settings::DURATION;
use super::{Key, Object, key};

pub(super) const FILE: Object = Object::new(
    "auth file",
    &[&[
        key(
            "tokens",
            List(&Of(&TOKEN)),
            "The bearer tokens that are let in, known by their digests.",
        ),
        key(
            "jwt",
            List(&Of(&ISSUER)),
            "Authorization servers whose tokens are JWTs, which are checked here.",
        ),
        key(
            "introspection",
            List(&Of(&INTROSPECTION)),
            "Authorization servers that are asked about each token (RFC 7662).",
        ),
        key(
            "anonymous",
            Of(&ANONYMOUS),
            "Who comes without a credential. Left out: nobody.",
        ),
    ]],
);

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
        key(
            "metadata",
            Mapping,
            "What else is known of the subject: claims, for `from: claims.NAME`.",
        ),
    ]],
)
.with_required(&["sha256", "subject"]);

const ISSUER: Object = Object::new(
    "issuer",
    &[&[
        key("issuer", Text, "What `iss` says, letter by letter."),
        AUDIENCE,
        key(
            "jwks",
            Text,
            "Where the keys are: a URL, or a file. Left out: where the metadata of the issuer says.",
        ),
        key(
            "algorithms",
            List(&Word(&[
                "ES256", "ES384", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512",
            ])),
            "How tokens are signed. Left out: in any of these ways.",
        ),
        CLAIMS,
        key(
            "require_typ",
            Text,
            "What `typ` in the header of a token must say, such as at+jwt.",
        ),
        key(
            "require_claims",
            Mapping,
            "Claims with the one value that each must have.",
        ),
        key(
            "leeway",
            Form(DURATION),
            "By how much clocks may differ, 30s unless said; at most 5m.",
        ),
        key(
            "max_lifetime",
            Form(DURATION),
            "The longest that a token may last, 24h unless said.",
        ),
    ]],
)
.with_required(&["issuer"]);

const INTROSPECTION: Object = Object::new(
    "introspection",
    &[&[
        key("url", Text, "Where the server answers."),
        key("client_id", Text, "As whom this server asks."),
        key(
            "client_secret",
            Text,
            "The secret of that client, such as ${file:/etc/mcp-serve/introspection.secret}.",
        ),
        key(
            "issuer",
            Text,
            "What the server calls itself, so that clients are told where to get a token.",
        ),
        AUDIENCE,
        CLAIMS,
    ]],
)
.with_required(&["url", "client_id", "client_secret"]);

const AUDIENCE: Key = key(
    "audience",
    Either(&[Text, List(&Text)]),
    "For whom tokens must be: `aud` names one of these. Left out: the URL of --public-url.",
);

const CLAIMS: Key = key(
    "claims",
    Of(&CLAIM_NAMES),
    "Which claims say who somebody is: names, or JSON Pointers such as /realm_access/roles.",
);

const CLAIM_NAMES: Object = Object::new(
    "claims",
    &[&[
        key("subject", Text, "The subject; sub unless said."),
        key("tenant", Text, "The tenant; none unless said."),
        key("scopes", Text, "The scopes; scope unless said."),
        key("roles", Text, "The roles; roles unless said."),
    ]],
);

const ANONYMOUS: Object = Object::new(
    "anonymous",
    &[&[key(
        "roles",
        List(&Text),
        "What everybody is; `allow` names these roles.",
    )]],
)
.with_required(&["roles"]);
