//! tools.yaml: its top level, and tools.

use super::Takes::{
    Anything, Boolean, Either, Form, List, Mapping, Named, Number, Object as Of, Text, Word,
};
use super::outbound::{APIS, HTTP};
use super::served::{PROMPTS, RESOURCES, TEMPLATES};
use super::settings::{ALLOW, SETTINGS};
use super::{Key, Object, key};

/// The name of a tool.
pub(super) const NAME: &str = "^[A-Za-z0-9_.-]{1,128}$";
pub(super) const PARAMETER: &str = "^[A-Za-z_][A-Za-z0-9_-]*$";
const SHORTHAND: &str = r"^\s*(optional\s+)?(string|integer|number|boolean)(\.\.\.)?\s*(=.*)?$";

pub(super) const FILE: Object = Object::new(
    "file",
    &[&[
        key("version", Number(1), "The version of this language: 1."),
        key(
            "include",
            List(&Text),
            "More files, such as tools.d/*.yaml; the first file names them.",
        ),
        key(
            "name",
            Text,
            "What the server calls itself; default mcp-serve.",
        ),
        key("title", Text, "The name for people."),
        key(
            "instructions",
            Text,
            "How a model should use the server as a whole.",
        ),
        key("icons", List(&Of(&ICON)), "Pictures for people."),
        key(
            "defaults",
            Of(&DEFAULTS),
            "What holds for every tool that does not say otherwise.",
        ),
        key(
            "secrets",
            Named("^.+$", &Text),
            "Values that are taken out of all output, as ${secret:NAME}: each is ${env:X} or ${file:/path}.",
        ),
        key("apis", APIS, "HTTP APIs that tools send requests to."),
        key("tools", Named(NAME, &Of(&TOOL)), "What models can call."),
        key(
            "prompts",
            PROMPTS,
            "What users can choose: messages for a model, with gaps.",
        ),
        key("resources", RESOURCES, "What clients can read by a URI."),
        key(
            "resource_templates",
            TEMPLATES,
            "What clients can read by URIs with variables.",
        ),
        key(
            "toolsets",
            Named(NAME, &Of(&TOOLSET)),
            "Parts of what is served, each at an endpoint of its own.",
        ),
        key(
            "tests",
            List(&Of(&TEST)),
            "Calls with what is expected of them, for `mcp-serve test`.",
        ),
    ]],
);

const DEFAULTS: Object = Object::new("defaults", &[SETTINGS]);

pub(super) const ABOUT: &[Key] = &[
    key("title", Text, "The name for people."),
    key("description", Text, "What it is and when to use it."),
    key("icons", List(&Of(&ICON)), "Pictures for people."),
];

const ICON: Object = Object::new(
    "icon",
    &[&[
        key(
            "src",
            Form("^(https?|data):"),
            "A URL, or data:image/png;base64,…",
        ),
        key("mime_type", Text, "What the picture is, such as image/png."),
        key(
            "sizes",
            List(&Form("^([0-9]+x[0-9]+|any)$")),
            "Such as 48x48, or any.",
        ),
        key(
            "theme",
            Word(&["light", "dark"]),
            "The background that it is made for.",
        ),
    ]],
)
.with_required(&["src"]);

const TOOL: Object = Object::new(
    "tool",
    &[
        &[key(
            "description",
            Text,
            "What the tool does and when to use it: all that the model sees.",
        )],
        &[
            key("title", Text, "The name for people."),
            key("icons", List(&Of(&ICON)), "Pictures for people."),
            key(
                "content",
                CONTENT,
                "A fixed answer: a text, or a list of texts and pieces in MCP's own shape.",
            ),
            key(
                "task",
                Word(&["optional", "required"]),
                "Whether a call can be a task, which its client comes back for.",
            ),
        ],
        SOURCES,
        ACTION,
        SETTINGS,
    ],
)
.with_required(&["description"])
.with_one_of(&["exec", "script", "http", "content"]);

const CONTENT: super::Takes = Either(&[Text, List(&Either(&[Text, Mapping])), Mapping]);

/// What runs.
pub(super) const SOURCES: &[Key] = &[
    key(
        "exec",
        EXEC,
        "The command line, as a manual writes its synopsis: {x} one value, {xs...} words of an array, [ … ] what may be left out. No shell.",
    ),
    key(
        "script",
        Of(&SCRIPT),
        "A text for an interpreter. Arguments arrive as variables INPUT_NAME and as JSON on standard input.",
    ),
    key("http", Of(&HTTP), "A request to one of the `apis`."),
];
pub(super) const EXEC: super::Takes = Either(&[Text, List(&Anything)]);

const SCRIPT: Object = Object::new(
    "script",
    &[&[
        key(
            "shell",
            EXEC,
            "The interpreter with its options, such as bash -eu; default sh.",
        ),
        key("run", Text, "The script. Nothing is ever filled into it."),
    ]],
)
.with_required(&["run"]);

/// The keys of what runs, besides those that `defaults` takes too.
pub(super) const ACTION: &[Key] = &[
    key(
        "params",
        Named(PARAMETER, &Either(&[Form(SHORTHAND), Of(&PARAM)])),
        "The parameters: a type in one word, or a JSON Schema.",
    ),
    key(
        "input_schema",
        Mapping,
        "The whole JSON Schema of the arguments, in place of params.",
    ),
    key(
        "exclusive",
        Either(&[List(&Text), List(&List(&Text))]),
        "Parameters of which a call may bring only one.",
    ),
    key(
        "requires",
        Named(PARAMETER, &Either(&[Text, List(&Text)])),
        "Parameters that need others: a: [b].",
    ),
    key(
        "files",
        Named("^.+$", &Text),
        "Files that are written for a call: name: text with {x}. {file:name} is the path.",
    ),
    key(
        "unsafe_code",
        Boolean,
        "true accepts a placeholder in code.",
    ),
    key(
        "confirm",
        Text,
        "What the user is asked to allow before anything runs.",
    ),
    key(
        "ask",
        Named(PARAMETER, &Of(&ASK)),
        "Values that the user is asked for, and the model can neither see nor set.",
    ),
];

const PARAM: Object = Object::new(
    "parameter",
    &[&[
        key("type", Anything, "string, integer, number, boolean, array, object, or path."),
        key("description", Text, "What the value is, for the model."),
        key("enum", List(&Anything), "All values that there are."),
        key("default", Anything, "The value that stands in when a call brings none."),
        key("optional", Boolean, "true: a call may leave it out."),
        key("allow_dash", Boolean, "true: a word may begin with a value that begins with a dash."),
        key("root", Text, "With type: path, the folder that the value stays below."),
        key("from", Text, "Binds the value to the caller: claims.sub, caller.tenant. The model neither sees nor sets it."),
        key("pattern", Text, "A regular expression for a string."),
        key("minLength", Anything, "The fewest characters."),
        key("maxLength", Anything, "The most characters."),
        key("minimum", Anything, "The smallest number."),
        key("maximum", Anything, "The largest number."),
        key("items", Anything, "The schema of the items of an array."),
        key("minItems", Anything, "The fewest items."),
        key("maxItems", Anything, "The most items."),
        key("properties", Mapping, "The schemas of the members of an object."),
        key("required", List(&Text), "The members that an object must have."),
    ]],
)
.open();

const ASK: Object = Object::new(
    "question",
    &[&[
        key("message", Text, "What the user is asked, with {x}."),
        key("schema", Mapping, "What the value must be; default a text."),
    ]],
)
.with_required(&["message"]);

const TOOLSET: Object = Object::new(
    "toolset",
    &[&[
        key(
            "match",
            Either(&[Text, List(&Text)]),
            "What is in it: a name, a glob of names, or tag:x, or a list of them.",
        ),
        key("allow", ALLOW, "Who may use the endpoint."),
        key("title", Text, "What the server says of itself there."),
        key("instructions", Text, "How a model should use it."),
    ]],
)
.with_required(&["match"]);

const TEST: Object = Object::new(
    "test",
    &[&[
        key("name", Text, "What is tested, for people."),
        key("call", Text, "The tool to call."),
        key(
            "arguments",
            Mapping,
            "The arguments, as a client would send them.",
        ),
        key("as", Of(&TEST_CALLER), "Who calls."),
        key(
            "expect",
            Of(&EXPECTATION),
            "What is expected; default a result without an error.",
        ),
    ]],
)
.with_required(&["call"]);

const TEST_CALLER: Object = Object::new(
    "caller",
    &[&[
        key("subject", Text, "Who it is; default test."),
        key("tenant", Text, "Its tenant."),
        key("scopes", List(&Text), "What its token was issued for."),
        key("roles", List(&Text), "What it is to the operator."),
    ]],
);

const EXPECTATION: Object = Object::new(
    "expectation",
    &[&[
        key(
            "allowed",
            Boolean,
            "Whether the caller may call the tool; default true.",
        ),
        key(
            "is_error",
            Boolean,
            "Whether the result is an error; default false.",
        ),
        key(
            "text",
            Either(&[Text, Of(&TEXT)]),
            "The text of the result, or what it holds. Line breaks at its end do not count.",
        ),
        key("structured", Anything, "The structured content."),
    ]],
);

const TEXT: Object = Object::new(
    "text",
    &[&[
        key("contains", Text, "What stands in it."),
        key(
            "matches",
            Text,
            "A regular expression that matches somewhere in it.",
        ),
    ]],
);
