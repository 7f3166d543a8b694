//! The documents say what the program does: they are made from the code, or run against it.
//!
//! `UPDATE=1 cargo test` rewrites what is made from the code.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Arg, CommandFactory as _};
use mcp_serve::auth::{Authenticator, Surroundings};
use mcp_serve::catalog::{Catalog, Environment};
use mcp_serve::cli::Cli;
use mcp_serve::secret::Secret;

/// Compares a file, or the part between `<!-- NAME -->` and `<!-- /NAME -->` of it, with what it
/// should be.
fn check(file: &str, part: Option<&str>, expected: &str) {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = match part {
        None => expected.to_owned(),
        Some(name) => {
            let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
            let (before, rest) = text.split_once(&start).expect("the start of the part");
            let (_, after) = rest.split_once(&end).expect("the end of the part");
            format!("{before}{start}{expected}{end}{after}")
        }
    };
    if std::env::var_os("UPDATE").is_some() {
        fs::write(file, whole).unwrap();
    } else {
        assert!(
            text == whole,
            "{file} is out of date: run UPDATE=1 cargo test"
        );
    }
}

#[test]
fn the_man_page_is_made_from_the_options() {
    let page = String::from_utf8(mcp_serve::cli::manual().unwrap()).unwrap();
    for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "SIGNALS", "EXIT STATUS"] {
        assert!(
            page.contains(section),
            "the man page has no section {section}"
        );
    }
    assert!(
        page.contains("MCP_SERVE_TOOLS"),
        "the man page names the variables"
    );
    check("man/mcp-serve.1", None, &page);
}

#[test]
fn the_table_of_options_is_made_from_the_options() {
    let mut table = String::new();
    let mut heading = "";
    let command = Cli::command();
    let options = command
        .get_arguments()
        .filter(|argument| argument.get_env().is_some());
    for argument in options {
        let group = argument.get_help_heading().unwrap();
        if group != heading {
            heading = group;
            writeln!(
                table,
                "\n### {group}\n\n| Option | Default | Meaning |\n|---|---|---|"
            )
            .unwrap();
        }
        writeln!(table, "{}", row(argument)).unwrap();
    }
    check(
        "README.md",
        Some("options"),
        &format!("{}\n", table.trim_start()),
    );
}

fn row(argument: &Arg) -> String {
    let value = argument.get_value_names().unwrap_or_default().join(" ");
    let value = if value == "BOOL" {
        String::new()
    } else {
        format!(" {value}")
    };
    let defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|default| format!("`{}`", default.to_string_lossy()))
        .collect();
    let mut help = argument.get_help().unwrap().to_string();
    let values = argument.get_possible_values();
    if value.ends_with("FORMAT") || value.ends_with("LEVEL") {
        let values: Vec<_> = values
            .iter()
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        help = format!("{help}: {}", values.join(", "));
    }
    format!(
        "| `--{}{}`<br>`{}` | {} | {} |",
        argument.get_long().unwrap(),
        value.replace('|', "\\|"),
        argument.get_env().unwrap().to_string_lossy(),
        if defaults.is_empty() {
            "–".to_owned()
        } else {
            defaults.join(", ")
        },
        help.replace('|', "\\|"),
    )
}

/// The files with this ending in a folder.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == ending)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_default_file_and_the_examples_load_anywhere() {
    let mut names = files("examples", "yaml");
    names.retain(|name| !name.ends_with("auth.yaml"));
    assert_eq!(names.len(), 9, "{names:?}");
    names.push("tools.yaml".into());
    // A machine that has none of their programs still loads them.
    let bare: Environment = [("PATH", "/does/not/exist")].into_iter().collect();
    for name in names {
        // The minimal example has no key but the ones that are needed.
        let minimal = name.ends_with("minimal.yaml");
        let machines = [
            Some(Environment::from_process()),
            (!minimal).then(|| bare.clone()),
        ];
        for machine in machines.into_iter().flatten() {
            if let Err(error) = Catalog::load(&name, &machine) {
                panic!("{error}");
            }
        }
    }
}

#[test]
fn the_default_tools_are_there_on_a_common_machine() {
    let loaded = Catalog::load(Path::new("tools.yaml"), &Environment::from_process()).unwrap();
    for name in ["disk_usage", "find_files", "search_text"] {
        assert!(loaded.catalog.tool(name).is_some(), "{name}");
    }
}

/// The fenced blocks of a language in a Markdown file.
pub(crate) fn blocks(file: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let fence = format!("```{language}\n");
    let parts = text.split(&fence).skip(1);
    parts
        .map(|part| part.split("\n```").next().unwrap().to_owned())
        .collect()
}

/// Whether a YAML block says who may call, and not what is served.
fn is_auth_file(block: &str) -> bool {
    let sections = ["tokens:", "jwt:", "introspection:", "anonymous:"];
    sections.iter().any(|section| block.starts_with(section))
}

#[test]
fn the_definitions_in_the_documents_load() {
    let mut seen = 0;
    for file in ["README.md", "docs/tools-yaml.md"] {
        let blocks = blocks(file, "yaml");
        for block in blocks.iter().filter(|block| !is_auth_file(block)) {
            if let Err(error) = Catalog::parse(block, Path::new(file), &Environment::from_process())
            {
                panic!("{file}: {error}\n{block}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen} blocks");
}

#[test]
fn the_auth_files_in_the_documents_load() {
    let mut files = vec![fs::read_to_string("examples/auth.yaml").unwrap()];
    files.extend(blocks("README.md", "yaml"));
    files.extend(blocks("docs/auth.md", "yaml"));
    files.retain(|file| file.contains("\ntokens:") || is_auth_file(file));
    assert_eq!(files.len(), 3, "{files:?}");
    for file in files {
        // Before any of its tokens expires.
        let now = SystemTime::UNIX_EPOCH;
        let loaded = Authenticator::auth_file(
            &Secret::new(file),
            Path::new("auth.yaml"),
            &Surroundings::default(),
            now,
        );
        match loaded {
            Ok((_, warnings)) => assert!(warnings.is_empty(), "{warnings:?}"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn the_error_in_the_readme_is_what_the_program_says() {
    let readme = blocks("README.md", "text");
    let example = blocks("README.md", "yaml")[1].replace("timeout: 20s", "timeout: 20sec");
    let error = Catalog::parse(
        &example,
        Path::new("my-tools.yaml"),
        &Environment::from_process(),
    );
    let said = error.unwrap_err().to_string();
    assert_eq!(
        readme[0],
        said.trim_end(),
        "the README shows another message"
    );
}

#[test]
fn the_environment_file_names_every_variable_with_its_default() {
    let text = fs::read_to_string("examples/mcp-serve.env").unwrap();
    for argument in Cli::command().get_arguments() {
        let Some(variable) = argument.get_env() else {
            continue;
        };
        let variable = variable.to_string_lossy();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("#{variable}=")));
        let line = line.unwrap_or_else(|| panic!("{variable} is not in examples/mcp-serve.env"));
        if let [default] = argument.get_default_values() {
            assert_eq!(line, format!("#{variable}={}", default.to_string_lossy()));
        }
    }
}

#[test]
fn the_changelog_knows_this_version() {
    let changelog = fs::read_to_string("CHANGELOG.md").unwrap();
    let heading = format!("\n## {} ", env!("CARGO_PKG_VERSION"));
    assert!(
        changelog.contains(&heading),
        "CHANGELOG.md has no heading{heading}"
    );
}

#[test]
fn links_inside_the_documents_lead_somewhere() {
    let mut seen = 0;
    for file in [
        "README.md",
        "ARCHITECTURE.md",
        "docs/audit.md",
        "docs/clients.md",
        "docs/commands.md",
        "docs/cookbook.md",
        "docs/network.md",
        "docs/tools-yaml.md",
        "examples/README.md",
    ] {
        let text = fs::read_to_string(file).unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let path = link.split('#').next().unwrap();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let target = Path::new(file).parent().unwrap().join(path);
            assert!(target.exists(), "{file} links to {link}");
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen} links");
}
