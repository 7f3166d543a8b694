//! The corpora of auth files: what is accepted, and the exact message for what is not.
//!
//! `UPDATE=1 cargo test` rewrites the messages beside the files in `auth/invalid`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mcp_serve::auth::{Authenticator, Surroundings};
use mcp_serve::document::{Diagnostic, LoadError};
use mcp_serve::secret::Secret;

const DIGEST: &str = "7c61d3fbfae1a1bbb6f22ec8ccb5fb3ffd6bb6bcd3be4ff85c1c4d0e0aa1d4d4";

/// The time at which the files are read: the first of January 2026.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(490_896)
}

/// What the files of the corpora name.
fn around() -> Surroundings {
    let variables = [
        ("DIGEST", DIGEST),
        ("INTROSPECTION_SECRET", "correct-horse-battery"),
    ];
    Surroundings {
        variables: variables.into_iter().collect(),
        ..Surroundings::default()
    }
}

fn load(file: &Path) -> Result<(Authenticator, Vec<Diagnostic>), LoadError> {
    let text = fs::read_to_string(file).unwrap();
    Authenticator::auth_file(&Secret::new(text), file, &around(), now())
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new("tests/it/auth").join(folder)).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    files
}

#[test]
fn valid_files_load() {
    let files = files("valid");
    for file in &files {
        match load(file) {
            Ok((_, warnings)) => assert!(warnings.is_empty(), "{warnings:?}"),
            Err(error) => panic!("{}\n{error}", file.display()),
        }
    }
    assert_eq!(files.len(), 8, "a corpus test checks that it found files");
}

#[test]
fn invalid_files_are_explained() {
    let files = files("invalid");
    let mut failures = Vec::new();
    for file in &files {
        let found = match load(file) {
            Ok(_) => panic!("{} is accepted", file.display()),
            Err(error) => format!("{error}\n"),
        };
        // What could be a token is never drawn.
        for secret in [
            "mfZ3b1mXk0Qy7h2Vn5cR8w",
            "hunter2",
            "short-pass",
            "correct-horse",
        ] {
            assert!(!found.contains(secret), "{}\n{found}", file.display());
        }
        let expected = file.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&expected, &found).unwrap();
        } else if fs::read_to_string(&expected).ok() != Some(found.clone()) {
            failures.push(format!("{}\n{found}", expected.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(files.len(), 31, "a corpus test checks that it found files");
}

#[test]
fn a_token_that_has_expired_is_worth_a_warning() {
    let cases = [
        ("2025-12-31T23:59:59Z", 1),
        ("2026-01-01T00:00:00Z", 1),
        ("2026-01-01T00:00:01Z", 0),
    ];
    for (expires, expected) in cases {
        let text =
            format!("tokens:\n  - {{sha256: {DIGEST}, subject: alice, expires: {expires}}}\n");
        let path = Path::new("auth.yaml");
        let loaded =
            Authenticator::auth_file(&Secret::new(text), path, &Surroundings::default(), now());
        let (_, warnings) = loaded.unwrap();
        assert_eq!(warnings.len(), expected, "{expires}: {warnings:?}");
        for warning in warnings {
            assert_eq!(warning.code().as_str(), "E044");
            assert_eq!(
                warning.message(),
                "this token has expired, and lets nobody in"
            );
        }
    }
}

#[test]
fn the_url_of_the_endpoint_is_worth_a_warning_if_it_counts_as_a_toolset() {
    let (root, mcp) = ("https://mcp.example.com", "https://mcp.example.com/mcp");
    let cases = [
        (root, "/mcp", mcp, 1),
        (root, "/mcp", "HTTPS://MCP.example.com:443/mcp", 1),
        (
            root,
            "/mcp",
            "[api://mcp, 'https://mcp.example.com/mcp']",
            1,
        ),
        (root, "/mcp", root, 0),
        (root, "/mcp", "https://mcp.example.com/ops", 0),
        (root, "/a/b", "https://mcp.example.com/a/b", 0),
        (mcp, "/mcp", mcp, 0),
        (mcp, "/mcp", "https://mcp.example.com/mcp/ops", 0),
    ];
    for (public_url, endpoint, audience, expected) in cases {
        let text = format!("jwt: [{{issuer: 'https://id.example', audience: {audience}}}]");
        let around = Surroundings {
            public_url: Some(public_url.parse().unwrap()),
            path: endpoint.to_owned(),
            ..Surroundings::default()
        };
        let path = Path::new("auth.yaml");
        let (_, warnings) =
            Authenticator::auth_file(&Secret::new(text), path, &around, now()).unwrap();
        let said: Vec<_> = warnings.iter().map(Diagnostic::message).collect();
        let warning = "tokens for `https://mcp.example.com/mcp` are for a toolset, and not good at \
                       the whole server";
        assert_eq!(
            said,
            vec![warning; expected],
            "{public_url} {endpoint} {audience}"
        );
    }
}

#[test]
fn thousands_of_tokens_load() {
    use std::fmt::Write as _;
    let mut text = "tokens:\n".to_owned();
    for number in 0..10_000 {
        writeln!(
            text,
            "  - sha256: {number:064x}\n    subject: user-{number}"
        )
        .unwrap();
    }
    let path = Path::new("auth.yaml");
    let loaded =
        Authenticator::auth_file(&Secret::new(text), path, &Surroundings::default(), now());
    assert!(loaded.unwrap().1.is_empty());
}
