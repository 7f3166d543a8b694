//! HTTP APIs, and the requests that tools send to them.

use super::Takes::{self, Anything, Boolean, Form, List, Named, Object as Of, Text, Word};
use super::settings::DURATION;
use super::{Object, key};

/// A word of a header (RFC 9110, section 5.6.2).
const TOKEN: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const PATH: &str = "The path below base_url, or a whole URL without an api; {x} is one segment.";

pub(super) const APIS: Takes = Named("^.+$", &Of(&API));

const API: Object = Object::new(
    "api",
    &[&[
        key(
            "base_url",
            Text,
            "Where it is, such as https://tracker.example.com/api.",
        ),
        key("headers", Named(TOKEN, &Text), "Headers of every request."),
        key("auth", Of(&AUTH), "How the server proves who it is."),
        key("timeout", Form(DURATION), "How long one request may take."),
        key("tls", Of(&TLS), "Certificates."),
        key(
            "redirects",
            Word(&["never", "same_origin"]),
            "Which redirects are followed; default never.",
        ),
        key(
            "allow_private",
            Boolean,
            "true: its name may stand for a private address.",
        ),
    ]],
)
.with_required(&["base_url"]);

const AUTH: Object = Object::new(
    "auth",
    &[&[
        key(
            "bearer",
            Text,
            "A token, such as ${file:/run/secrets/token}.",
        ),
        key("basic", Of(&BASIC), "A user with a password."),
        key("header", Of(&HEADER), "A header that holds a key."),
        key("oauth2", Of(&OAUTH2), "Client credentials of OAuth 2."),
    ]],
)
.with_one_of(&["bearer", "basic", "header", "oauth2"]);

const BASIC: Object = Object::new(
    "basic",
    &[&[
        key("username", Text, "The user."),
        key("password", Text, "The password, as a reference."),
    ]],
)
.with_required(&["username", "password"]);

const HEADER: Object = Object::new(
    "header",
    &[&[
        key("name", Text, "The name of the header."),
        key("value", Text, "Its value, as a reference."),
    ]],
)
.with_required(&["name", "value"]);

const OAUTH2: Object = Object::new(
    "oauth2",
    &[&[
        key("token_url", Text, "Where tokens are issued."),
        key("client_id", Text, "Who the server is there."),
        key("client_secret", Text, "Its secret, as a reference."),
        key("scopes", List(&Text), "What the token is asked for."),
        key("audience", Text, "Whom the token is for."),
    ]],
)
.with_required(&["token_url", "client_id", "client_secret"]);

const TLS: Object = Object::new(
    "tls",
    &[&[
        key(
            "ca",
            Text,
            "A file with the certificates of those who vouch for the API.",
        ),
        key("cert", Text, "A file with the certificate of the server."),
        key("key", Text, "A file with its key."),
    ]],
);

pub(super) const HTTP: Object = Object::new(
    "http",
    &[&[
        key("api", Text, "One of `apis`."),
        key("GET", Text, PATH),
        key("HEAD", Text, PATH),
        key("POST", Text, PATH),
        key("PUT", Text, PATH),
        key("PATCH", Text, PATH),
        key("DELETE", Text, PATH),
        key("OPTIONS", Text, PATH),
        key(
            "query",
            Named("^.+$", &Text),
            "Parameters of the query. One whose value is absent is left out.",
        ),
        key("headers", Named(TOKEN, &Text), "Headers of this request."),
        key(
            "json",
            Anything,
            "A JSON body. A value that is exactly \"{x}\" keeps its type.",
        ),
        key("form", Named("^.+$", &Text), "The fields of a form."),
        key("body", Text, "A text."),
    ]],
)
.with_one_of(METHODS);
