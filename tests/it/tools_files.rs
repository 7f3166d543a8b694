//! The corpora of tools.yaml files: what is accepted, and the exact message for what is not.
//!
//! `UPDATE=1 cargo test` rewrites the messages beside the files in `tools/invalid`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mcp_serve::auth::{Authenticator, Surroundings};
use mcp_serve::catalog::{Catalog, Environment, Grants};
use mcp_serve::secret::Secret;

/// The programs that the files name; all but the last can be executed.
const PROGRAMS: &[&str] = &[
    "awk", "bash", "cat", "curl", "df", "docker", "echo", "env", "find", "git", "kubectl", "make",
    "mysql", "node", "npx", "perl", "psql", "python3", "sed", "sh", "sqlite3", "ssh", "sudo",
    "readme",
];
/// Stands for the folder of the programs, wherever this machine has it.
const BIN: &str = "/fake/bin";

#[test]
fn valid_files_load() {
    let files = files("valid");
    for file in &files {
        if let Err(error) = Catalog::load(file, &environment("valid")) {
            panic!("{}\n{error}", file.display());
        }
    }
    assert!(files.len() > 15, "a corpus test checks that it found files");
}

#[test]
fn invalid_files_are_explained() {
    let files = are_explained("invalid", &environment("invalid"));
    assert!(files > 60, "a corpus test checks that it found files");
}

/// The tests are not mcp-serve itself, and can make no sandbox.
#[test]
fn what_this_machine_cannot_do_is_explained() {
    let files = are_explained("unable", &environment("unable").trying_sandboxes());
    assert_eq!(files, 1, "a corpus test checks that it found files");
}

/// Compares what is said of each file of a folder with what stands beside it; returns how many there are.
fn are_explained(folder: &str, environment: &Environment) -> usize {
    let files = files(folder);
    let update = is_update();
    let mut failures = Vec::new();
    for file in &files {
        let found = match Catalog::load(file, environment) {
            Ok(_) => panic!("{} is accepted", file.display()),
            Err(error) => format!("{error}\n").replace(&bin(folder).display().to_string(), BIN),
        };
        let expected = file.with_extension("txt");
        if update {
            fs::write(&expected, &found).expect("the message can be written");
        } else if fs::read_to_string(&expected).ok() != Some(found.clone()) {
            failures.push(format!("{}\n{found}", expected.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    files.len()
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new("tests/it/tools").join(folder);
    let entries = fs::read_dir(folder).expect("the corpus exists");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("the corpus can be read").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    files
}

/// An environment in which nothing depends on this machine.
fn environment(test: &str) -> Environment {
    let bin = bin(test);
    fs::create_dir_all(&bin).expect("a folder can be made");
    for (at, program) in PROGRAMS.iter().enumerate() {
        let path = bin.join(program);
        let mode = if at + 1 < PROGRAMS.len() {
            0o755
        } else {
            0o644
        };
        fs::write(&path, "").expect("a program can be made");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("modes can be set");
    }
    let variables = [("PATH", bin)].into_iter();
    variables.collect::<Environment>().granting(grants())
}

/// Those whose tokens are in `tools/auth.yaml`.
fn grants() -> Grants {
    let path = Path::new("tests/it/tools/auth.yaml");
    let text = Secret::new(fs::read_to_string(path).expect("the auth file exists"));
    let loaded = Authenticator::auth_file(&text, path, &Surroundings::default(), SystemTime::now());
    Grants::of(&loaded.expect("the auth file is valid").0)
}

fn bin(test: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(test)
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by their environment"
)]
fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some()
}
