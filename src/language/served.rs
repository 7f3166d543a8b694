//! Prompts, resources and templates of resources.

use super::Takes::{self, Anything, Either, Form, List, Mapping, Named, Object as Of, Text, Word};
use super::settings::SETTINGS;
use super::tools::{ABOUT, ACTION, NAME, PARAMETER, SOURCES};
use super::{Key, Object, key};

pub(super) const PROMPTS: Takes = Named(NAME, &Of(&PROMPT));
pub(super) const RESOURCES: Takes = Named("^.+$", &Of(&RESOURCE));
pub(super) const TEMPLATES: Takes = Named("^.+$", &Of(&TEMPLATE));

const PROMPT: Object = Object::new(
    "prompt",
    &[
        // First: `messages` means more here.
        SETTINGS,
        ABOUT,
        &[
            key("text", Text, "One message of the user's, with {x}."),
            key(
                "messages",
                Either(&[List(&Of(&MESSAGE)), Takes::Boolean]),
                "A list of messages; with a program, true lets it give them.",
            ),
        ],
        COMPLETE,
        SOURCES,
        ACTION,
    ],
)
.with_required(&["description"]);

const MESSAGE: Object = Object::new(
    "message",
    &[&[
        key("role", Word(&["user", "assistant"]), "Whose it is."),
        key("text", Text, "A text with {x}."),
        key("content", Mapping, "A piece in MCP's own shape."),
    ]],
)
.with_required(&["role"]);

const COMPLETE: &[Key] = &[key(
    "complete",
    Named(PARAMETER, &Either(&[List(&Text), Of(&CANDIDATES)])),
    "What may be proposed for each argument: a list, or a program that prints one candidate on each line.",
)];

const CANDIDATES: Object = Object::new("candidates", &[SOURCES, SETTINGS, ACTION]);

const RESOURCE: Object = Object::new("resource", &[ABOUT, PLACE, BODY, SOURCES, ACTION, SETTINGS])
    .with_required(&["uri", "description"]);

const TEMPLATE: Object = Object::new(
    "template",
    &[ABOUT, PLACE, COMPLETE, BODY, SOURCES, ACTION, SETTINGS],
)
.with_required(&["uri", "description"]);

const PLACE: &[Key] = &[
    key(
        "uri",
        Form("^[A-Za-z][A-Za-z0-9+.-]*:"),
        "An absolute URI. In a template, {name} is a variable.",
    ),
    key(
        "mime_type",
        Text,
        "What the bytes are, such as text/markdown.",
    ),
    key(
        "annotations",
        Of(&ANNOTATIONS),
        "Whom it is for, and how much it matters.",
    ),
];

const BODY: &[Key] = &[
    key("text", Text, "The content itself."),
    key("base64", Text, "The content itself, as Base64."),
    key(
        "file",
        Text,
        "A file that is read each time; starts at the folder of this file.",
    ),
];

const ANNOTATIONS: Object = Object::new(
    "annotations",
    &[&[
        key(
            "audience",
            List(&Word(&["user", "assistant"])),
            "Whom it is for.",
        ),
        key("priority", Anything, "How much it matters, from 0 to 1."),
        key(
            "last_modified",
            Text,
            "When it changed, such as 2026-01-31T00:00:00Z.",
        ),
    ]],
);
