//! A call's way through a tool: arguments in, words out. The tables run whole definitions, since
//! what matters is what reaches a program.

mod arguments;
mod guard;
mod guests;
pub(in crate::catalog) mod hostile;
mod properties;
mod rules;
mod scopes;
mod words;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Annotations, Catalog, Command, Environment, LoadError, Tool};
use crate::auth::{Caller, Principal};

/// A tool that runs `/bin/cat` with these words and parameters.
fn tool(words: &str, params: &str) -> Arc<Tool> {
    let words = serde_json::to_string(&format!("/bin/cat {words}")).unwrap();
    let text =
        format!("tools:\n  t:\n    description: d\n    exec: {words}\n    params: {params}\n");
    parse(&text).unwrap().tool("t").map(Arc::clone).unwrap()
}

fn parse(text: &str) -> Result<Catalog, LoadError> {
    let environment = [("PATH", "/usr/bin"), ("TZ", "UTC"), ("TOKEN", "secret")];
    let environment: Environment = environment.into_iter().collect();
    Catalog::parse(text, Path::new("tools.yaml"), &environment).map(|loaded| loaded.catalog)
}

fn command(tool: &Tool, arguments: &Value) -> Result<Command, String> {
    let arguments = tool.arguments(arguments.as_object().cloned(), &anonymous());
    arguments
        .and_then(|arguments| tool.work(&arguments, &anonymous()))
        .map(|work| work.command().unwrap())
        .map_err(|error| error.to_string())
}

fn anonymous() -> Caller {
    Caller::new(Principal::Anonymous)
}

/// The words of a call, or the lines of its error after the first.
fn words(tool: &Tool, arguments: &Value) -> Result<Vec<String>, String> {
    command(tool, arguments)
        .map(|command| {
            let words = command.arguments.into_iter();
            words.map(|word| word.into_string().unwrap()).collect()
        })
        .map_err(|error| error.split_once("\n- ").unwrap().1.to_owned())
}

#[test]
fn a_child_gets_the_environment_that_is_written() {
    let text = "
defaults:
  env: {A: default, B: default}
tools:
  t:
    description: d
    exec: /bin/cat
    params: {x: optional string, y: string = 1}
    env: {A: 'x{x}', C: '{y}{y}', TZ: '-{y}'}
    inherit_env: [TOKEN, MISSING, PATH]
    workdir: sub/folder
";
    let catalog = parse(text).unwrap();
    let tool = catalog.tool("t").unwrap();
    let found = command(tool, &json!({})).unwrap();
    let environment: Vec<_> = found
        .environment
        .iter()
        .map(|(name, value)| format!("{}={}", name.display(), value.display()))
        .collect();
    assert_eq!(
        environment,
        [
            "PATH=/usr/bin",
            "TOKEN=secret",
            "B=default",
            "C=11",
            "TZ=-1"
        ]
    );
    assert!(found.workdir.as_ref().unwrap().is_absolute());
    assert!(found.workdir.as_ref().unwrap().ends_with("sub/folder"));
    let debug = format!("{found:?} {:?}", Environment::from_iter([("K", "secret")]));
    assert!(
        debug.contains("TOKEN") && !debug.contains("secret"),
        "{debug}"
    );

    let with_x = command(tool, &json!({"x": "\n"})).unwrap();
    assert!(with_x.environment.contains(&("A".into(), "x\n".into())));
}

#[test]
fn effects_become_annotations() {
    let cases = [
        ("", Some(false), Some(true), None),
        ("effect: read", Some(true), None, None),
        (
            "effect: write\n    idempotent: true",
            Some(false),
            Some(false),
            Some(true),
        ),
        ("effect: destructive", Some(false), Some(true), None),
    ];
    for (line, read_only, destructive, idempotent) in cases {
        let text = format!("tools:\n  t:\n    description: d\n    exec: /bin/cat\n    {line}\n");
        let catalog = parse(&text).unwrap();
        let expected = Annotations {
            read_only,
            destructive,
            idempotent,
            open_world: None,
        };
        assert_eq!(catalog.tool("t").unwrap().annotations, expected, "{line:?}");
    }
}

#[test]
fn what_a_file_leaves_open_has_defaults() {
    let catalog = parse("tools: {t: {description: d, exec: /bin/cat}}").unwrap();
    let tool = catalog.tool("t").unwrap();
    assert_eq!(catalog.server().name, "mcp-serve");
    assert_eq!(tool.timeout, None);
    assert_eq!(tool.max_output, 262_144);
    assert_eq!(tool.cancel.grace, std::time::Duration::from_secs(5));
    assert_eq!(tool.cancel.signal, super::Signal::Term);
    assert!(!tool.messages);
    assert!(catalog.tool("T").is_none());
}

#[test]
fn defaults_let_every_tool_speak_and_a_tool_can_stay_silent() {
    let text = "
defaults: {messages: true}
tools:
  speaks: {description: d, exec: /bin/cat}
  silent: {description: d, exec: /bin/cat, messages: false}
";
    let catalog = parse(text).unwrap();
    assert!(catalog.tool("speaks").unwrap().messages);
    assert!(!catalog.tool("silent").unwrap().messages);
}

#[test]
fn tools_keep_the_order_of_the_file() {
    let text = "tools:\n  z: &t {description: d, exec: /bin/cat}\n  a: *t\n  m: *t\n";
    let catalog = parse(text).unwrap();
    let names: Vec<_> = catalog
        .tools()
        .iter()
        .map(|tool| tool.name.as_str())
        .collect();
    assert_eq!(names, ["z", "a", "m"]);
}

#[test]
fn a_missing_program_can_hide_its_tool() {
    let text = "
defaults: {if_missing: hide}
tools:
  gone: {description: d, exec: not-installed}
  here: {description: d, exec: /bin/cat}
";
    let environment = [("PATH", "relative:/nowhere")].into_iter().collect();
    let loaded = Catalog::parse(text, Path::new("tools.yaml"), &environment).unwrap();
    assert!(loaded.catalog.tool("gone").is_none());
    assert!(loaded.catalog.tool("here").is_some());
    let warnings: Vec<_> = loaded
        .warnings
        .iter()
        .map(super::Diagnostic::message)
        .collect();
    assert_eq!(
        warnings,
        ["`gone` is left out: `not-installed` is not found in PATH=relative:/nowhere"]
    );
}

#[test]
fn a_large_file_is_refused_unread() {
    let path = std::env::temp_dir().join(format!("mcp-serve-large-{}.yaml", std::process::id()));
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(1 << 30).unwrap();
    let error = Catalog::load(&path, &Environment::default()).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    assert!(error.to_string().contains("larger than 4 MiB"), "{error}");

    // A device has no length and no end.
    let error = Catalog::load(Path::new("/dev/zero"), &Environment::default()).unwrap_err();
    assert!(error.to_string().contains("larger than 4 MiB"), "{error}");

    let error = Catalog::load(Path::new("/nowhere/tools.yaml"), &Environment::default());
    assert!(error.unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn large_and_broken_files_end_soon() {
    let repeated = |count: usize, line: fn(usize) -> String| -> String {
        (0..count).map(line).collect::<Vec<_>>().concat()
    };
    let keys = repeated(400_000, |n| format!("k{n}: 1\n"));
    let tools = repeated(2_000, |n| format!("  t{n}: {{ex: 1}}\n"));
    let same: String = "  a: 1\n".repeat(40_000);
    let text = "x".repeat(1024 * 1024);
    let copies = "*a, ".repeat(20);
    let cases = [
        ("a million keys", keys),
        ("broken tools", format!("tools:\n{tools}")),
        ("one key again and again", format!("tools:\n{same}")),
        (
            "copies of a long text",
            format!("a: &a {text}\nb: [{copies}]\n"),
        ),
    ];
    for (name, text) in cases {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.len() < 1_000_000, "{name}");
    }
}

#[test]
fn color_is_a_choice() {
    let error = parse("tools: 1\n").unwrap_err();
    assert!(!error.render(false).contains('\u{1b}'));
    assert!(error.render(true).contains('\u{1b}'));
    let diagnostic = error.diagnostics().first().unwrap();
    assert_eq!(diagnostic.position(), Some((1, 8)));
    assert_eq!(diagnostic.code().to_string(), "E006");
}
