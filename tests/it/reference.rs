//! `man/tools.yaml.5` names every key of the language and every code of its errors.
//!
//! The page is written by hand, since what a key means stands in no code. What can be forgotten is
//! compared here: the keys with the JSON Schema that the program prints, the codes with the source.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{command, run};

const PAGE: &str = "man/tools.yaml.5";
/// Where the language is explained.
const GUIDE: &str = "docs/tools-yaml.md";
/// The codes of auth files, which the guide leaves to the README.
const OF_AUTH_FILES: [&str; 2] = ["E043", "E044"];

/// The page without the marks of roff.
fn page() -> String {
    let text = fs::read_to_string(PAGE).unwrap();
    let marks = [
        ("\\-", "-"),
        ("\\(dq", "\""),
        ("\\(aq", "'"),
        ("\\fR", " "),
        ("\\fB", " "),
    ];
    let plain = |text: String, (mark, plain): &(&str, &str)| text.replace(mark, plain);
    marks.iter().fold(text, plain)
}

/// The words of a text in which keys are written.
fn words(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let words = text.split(|c| !is_part(c));
    words.map(|word| word.trim_matches('-')).collect()
}

/// The names of all properties, at any depth.
fn keys(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get("properties") {
                found.extend(properties.keys().cloned());
            }
            for member in members.values() {
                keys(member, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

/// The codes that a text names.
fn codes(text: &str) -> BTreeSet<String> {
    let is_code = |word: &&str| {
        word.len() == 4
            && word.starts_with('E')
            && word.bytes().skip(1).all(|byte| byte.is_ascii_digit())
    };
    words(text)
        .into_iter()
        .filter(is_code)
        .map(str::to_owned)
        .collect()
}

/// The codes that the source makes.
fn codes_of_the_source(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(codes_of_the_source(&path));
        } else {
            let source = fs::read_to_string(&path).unwrap();
            let arms = source.lines().filter(|line| line.contains("=> \"E"));
            found.extend(arms.flat_map(codes));
        }
    }
    found
}

/// Checks that a text names every key of a language, which has this many at least.
fn check_keys(language: &str, least: usize, text: &str) {
    let printed = run(command().args(["schema", language]));
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let mut expected = BTreeSet::new();
    keys(
        &serde_json::from_str(&printed.stdout).unwrap(),
        &mut expected,
    );
    assert!(expected.len() > least, "{expected:?}");
    let named = words(text);
    let missing: Vec<_> = (expected.iter())
        .filter(|key| !named.contains(key.as_str()))
        .collect();
    assert!(missing.is_empty(), "{language} has {missing:?} too");
}

#[test]
fn the_reference_names_every_key() {
    check_keys("tools", 60, &page());
    check_keys("auth", 20, &fs::read_to_string("docs/auth.md").unwrap());
}

#[test]
fn the_reference_and_the_guide_name_every_code() {
    let mut expected = codes_of_the_source(Path::new("src/document"));
    assert!(expected.len() > 20, "{expected:?}");
    assert_eq!(codes(&page()), expected, "{PAGE}");
    expected.retain(|code| !OF_AUTH_FILES.contains(&code.as_str()));
    let guide = fs::read_to_string(GUIDE).unwrap();
    let (_, table) = guide.split_once("## Codes of the errors").unwrap();
    assert_eq!(codes(table), expected, "{GUIDE}");
}
