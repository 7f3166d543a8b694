//! Dependencies between the modules point one way: the table in ARCHITECTURE.md is the law.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type Table = BTreeMap<String, BTreeSet<String>>;

/// The table of ARCHITECTURE.md: which modules each may use.
fn allowed() -> Table {
    let text = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let table = text.split("<!-- layers -->").nth(1).unwrap();
    let table = table.split("<!-- /layers -->").next().unwrap();
    let mut allowed = Table::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = row.split(" | ").map(names);
        let (users, used) = (cells.next().unwrap(), cells.next().unwrap());
        for user in users {
            allowed.insert(user, used.clone());
        }
    }
    allowed
}

/// The names in backticks.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The top-level modules that a file uses: each `crate::NAME`, outside its tests.
fn used(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]").next().unwrap();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let mut found = BTreeSet::new();
    for line in lines {
        for rest in line.split("crate::").skip(1) {
            if let Some(group) = rest.strip_prefix('{') {
                let parts = group.split(['}', ',']).map(str::trim);
                found.extend(parts.filter_map(first_word));
            } else {
                found.extend(first_word(rest));
            }
        }
    }
    found
}

fn first_word(text: &str) -> Option<String> {
    let word: String = text
        .chars()
        .take_while(|c| c.is_ascii_lowercase() || *c == '_')
        .collect();
    (!word.is_empty()).then_some(word)
}

/// Tests keep keys and the like beside their code.
fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

fn visit(folder: &Path, found: &mut Table) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, found);
        } else if is_source(&path) && path.file_stem().is_some_and(|name| name != "tests") {
            let inside = path.strip_prefix("src").unwrap().with_extension("");
            let module = inside.iter().next().unwrap().to_str().unwrap().to_owned();
            let uses = used(&fs::read_to_string(&path).unwrap());
            found.entry(module).or_default().extend(uses);
        }
    }
}

#[test]
fn modules_use_only_what_the_table_says() {
    let allowed = allowed();
    let mut found = Table::new();
    visit(Path::new("src"), &mut found);
    assert!(found.len() >= 14, "{found:?}");
    for (module, uses) in found
        .iter()
        .filter(|(module, _)| !["main", "lib"].contains(&module.as_str()))
    {
        let allowed = allowed
            .get(module)
            .unwrap_or_else(|| panic!("{module} is not in the table"));
        for used in uses.iter().filter(|used| *used != module) {
            assert!(
                allowed.contains(used),
                "{module} uses {used}, which ARCHITECTURE.md does not allow"
            );
        }
    }
}

#[test]
fn outside_libraries_stay_in_their_place() {
    let places = [
        ("axum::", &["http", "server"][..]),
        ("clap::", &["cli"]),
        ("jsonschema::", &["catalog", "language"]),
        ("granit_parser::", &["document"]),
        ("prometheus_client::", &["metrics", "server", "session"]),
    ];
    let mut seen = 0;
    let mut stack = vec![Path::new("src").to_owned()];
    while let Some(path) = stack.pop() {
        if path.is_dir() {
            stack.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        if !is_source(&path) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let inside = path.strip_prefix("src").unwrap().with_extension("");
        let module = inside.iter().next().unwrap().to_str().unwrap();
        for (library, modules) in places {
            if text.contains(library) {
                seen += 1;
                assert!(
                    modules.contains(&module),
                    "{} uses {library}",
                    path.display()
                );
            }
        }
    }
    assert!(seen >= 4, "the libraries were found {seen} times");
}
