//! What `docs/clients.md` says with curl is what happens.

use std::process::{Command, Stdio};

use crate::documents::blocks;
use crate::support::TestServer;

const FILE: &str = "docs/clients.md";
/// Ends what one command prints.
const SEPARATOR: &str = "\u{1e}";

#[test]
fn a_client_of_2026_07_28_is_a_shell_and_curl() {
    let definitions = blocks(FILE, "yaml").concat();
    let server = TestServer::start(&definitions, &[]);
    let mut function = blocks(FILE, "sh");
    function.retain(|block| block.contains("say()"));
    let (commands, expected): (Vec<_>, Vec<_>) = (blocks(FILE, "console").iter())
        .flat_map(|block| commands(block))
        .unzip();
    assert!(commands.len() > 5, "{commands:?}");
    let mut script = format!("{}\nURL={}\n", function.concat(), server.url());
    for command in &commands {
        script.extend([command.as_str(), "\nprintf '\\036'\n"]);
    }
    let output = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    for ((printed, expected), command) in printed.split(SEPARATOR).zip(expected).zip(commands) {
        assert!(
            is_as_shown(printed.trim(), &expected),
            "{command}\nprints {printed}\nnot    {expected}"
        );
    }
}

/// The commands of a block, each with what it prints.
fn commands(block: &str) -> Vec<(String, String)> {
    let commands = block.split("\n$ ").map(|command| {
        let command = command.trim_start_matches("$ ");
        let (command, printed) = command.split_once('\n').unwrap_or((command, ""));
        (command.to_owned(), printed.to_owned())
    });
    commands.collect()
}

/// Whether a text is as the document shows it, where `…` stands for anything.
fn is_as_shown(printed: &str, shown: &str) -> bool {
    let mut rest = printed;
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(after) = rest.strip_prefix(first) else {
        return false;
    };
    rest = after;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || shown.ends_with('…')
}
