//! The keys that a tool shares with everything else that runs, and that `defaults` takes.

use super::Takes::{Boolean, Either, Form, List, Named, Object as Of, Text, Whole, Word};
use super::{Key, Object, key};

pub(super) const DURATION: &str = "^([0-9]+(ms|s|m|h|d))+$";
pub(super) const SIZE: &str = "^[0-9]+(KiB|MiB|GiB)?$";
const RATE: &str = "^[0-9]+/(s|min|h)$";
/// A name of a variable of the environment.
const VARIABLE: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
const SIGNALS: &[&str] = &["TERM", "INT", "HUP", "QUIT", "KILL", "USR1", "USR2"];
const CAPABILITIES: &[&str] = &[
    "sampling",
    "sampling.tools",
    "elicitation",
    "elicitation.url",
    "roots",
    "extensions.io.modelcontextprotocol/tasks",
];

const CANCEL: Object = Object::new(
    "cancel",
    &[&[
        key(
            "signal",
            Word(SIGNALS),
            "The signal that asks the program to end; default TERM.",
        ),
        key(
            "grace",
            Form(DURATION),
            "How long it may take before it is killed; default 5s.",
        ),
    ]],
);

const SANDBOX: Object = Object::new(
    "sandbox",
    &[&[
        key(
            "fs",
            Of(&SANDBOX_FS),
            "What it can reach besides its own folder, workdir and what programs need.",
        ),
        key(
            "net",
            Word(&["none", "unix", "allowed"]),
            "Which sockets it can make: none, the default; unix, those with a path; or all.",
        ),
        key(
            "limits",
            Of(&SANDBOX_LIMITS),
            "What each of its processes can use.",
        ),
    ]],
);

const SANDBOX_FS: Object = Object::new(
    "sandbox_fs",
    &[&[
        key(
            "read",
            List(&Text),
            "Files and folders that it can read, with what is below them.",
        ),
        key(
            "write",
            List(&Text),
            "Files and folders that it can read and change, with what is below them.",
        ),
    ]],
);

const SANDBOX_LIMITS: Object = Object::new(
    "sandbox_limits",
    &[&[
        key(
            "cpu",
            Form(DURATION),
            "Processor time in whole seconds; default without a bound.",
        ),
        key(
            "memory",
            Form(SIZE),
            "Address space; default without a bound.",
        ),
        key(
            "processes",
            Whole,
            "Processes and threads, besides those that the user has already; default without a bound.",
        ),
        key(
            "fsize",
            Form(SIZE),
            "The size of a file that is written; default 1GiB.",
        ),
        key("files", Whole, "Open descriptors; default 256."),
    ]],
);

const CONCURRENCY: Object = Object::new(
    "concurrency",
    &[&[
        key("max", Whole, "The most calls at once; default 64."),
        key("queue", Whole, "How many more may wait; default 64."),
        key(
            "key",
            Text,
            "What is counted by itself, such as \"{db}\"; default the whole tool.",
        ),
    ]],
);

const OUTPUT: Object = Object::new(
    "output",
    &[&[
        key(
            "type",
            Text,
            "text, json, lines, auto or a media type such as image/png.",
        ),
        key(
            "schema",
            super::Takes::Mapping,
            "JSON Schema of the structured content. Clients see it, and what does not match it is an error.",
        ),
        key(
            "select",
            Text,
            "A jq filter that makes the structured content of JSON output.",
        ),
        key(
            "stderr",
            Word(&["on_error", "always", "never", "merge"]),
            "When standard error is part of the result; default on_error.",
        ),
        key(
            "on_overflow",
            Word(&["truncate", "resource", "error"]),
            "What becomes of output beyond max_output.",
        ),
        key(
            "uri",
            Text,
            "The output becomes an embedded resource with this URI.",
        ),
    ]],
);

const PROGRESS: Object = Object::new(
    "progress",
    &[&[
        key(
            "from",
            Word(&["stderr", "stdout"]),
            "Where the lines stand.",
        ),
        key(
            "match",
            Text,
            "A regular expression with the groups `done`, `total` and `message`.",
        ),
    ]],
)
.with_required(&["match"]);

/// One entry of `allow`, or a list of which a caller needs all.
const CLAIM: super::Takes = Form("^(role|scope|sub|tenant):.");
pub(super) const ALLOW: super::Takes = List(&Either(&[CLAIM, List(&CLAIM)]));

pub(super) const SETTINGS: &[Key] = &[
    key(
        "timeout",
        Form(DURATION),
        "How long a call may take, such as 30s or 1h30m; default --call-timeout.",
    ),
    key(
        "max_output",
        Either(&[Whole, Form(SIZE)]),
        "How much of the output is kept, such as 256KiB, the default.",
    ),
    key(
        "concurrency",
        Either(&[Whole, Of(&CONCURRENCY)]),
        "How many calls of it may run at once.",
    ),
    key(
        "rate",
        Form(RATE),
        "How often it may be called, such as 30/min; default without a bound.",
    ),
    key(
        "output",
        Either(&[Text, Of(&OUTPUT)]),
        "What it prints: text, json, lines, auto, a media type, or a mapping.",
    ),
    key(
        "stdin",
        Word(&["json"]),
        "json: the first line of standard input is an object with all arguments.",
    ),
    key(
        "env",
        Named(VARIABLE, &Text),
        "Variables of the program: NAME: text with {x}.",
    ),
    key(
        "inherit_env",
        List(&Form(VARIABLE)),
        "Names of variables that the program gets from the server.",
    ),
    key(
        "workdir",
        Text,
        "Where the program runs; starts at the folder of the file. Without it, a private empty folder.",
    ),
    key(
        "sandbox",
        Either(&[Boolean, Of(&SANDBOX)]),
        "What the program is confined to: true, or more precisely.",
    ),
    key(
        "effect",
        Word(&["read", "write", "destructive"]),
        "What clients are told about it.",
    ),
    key(
        "idempotent",
        Boolean,
        "Whether a second call with the same arguments changes nothing more.",
    ),
    key(
        "open_world",
        Boolean,
        "Whether it reaches things outside your own.",
    ),
    key(
        "if_missing",
        Word(&["hide"]),
        "hide: leave it out, with a warning, when its program is not installed or its sandbox cannot be made.",
    ),
    key(
        "allow",
        ALLOW,
        "Who may use it: role:x, scope:x, sub:x, tenant:x. One entry suffices; a list needs all of its items.",
    ),
    key(
        "step_up",
        Boolean,
        "true: who lacks nothing but scopes sees it, and a call is answered with 403 insufficient_scope.",
    ),
    key(
        "tags",
        List(&Text),
        "Names to choose it by in toolsets, such as ops.",
    ),
    key(
        "messages",
        Boolean,
        "true: a line of the output that is a JSON object with the key mcp is a message to the server.",
    ),
    key(
        "needs",
        List(&Word(CAPABILITIES)),
        "What a client must be able to do.",
    ),
    key(
        "progress",
        Of(&PROGRESS),
        "Lines of any program that tell how far it has come.",
    ),
    key("cancel", Of(&CANCEL), "How a call is ended early."),
    key(
        "exit",
        Named("^[0-9]+$", &Text),
        "What exit codes mean: `1: ok` is a success, and any other text an error for the model.",
    ),
    key(
        "confirm_fallback",
        Word(&["deny", "allow"]),
        "What happens when the client cannot ask its user; default deny.",
    ),
];
