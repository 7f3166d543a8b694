//! One definition in several files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mcp_serve::auth::{Caller, Principal};
use mcp_serve::catalog::{Catalog, Command, Environment, Loaded, Tool};
use mcp_serve::document::{Diagnostic, LoadError};
use tempfile::TempDir;

/// A folder with these files, each with its text; what ends in `.sh` can be executed.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("it is below the folder"))
            .expect("folders can be made");
        fs::write(&path, text).expect("a file can be written");
        let is_program = path.extension().is_some_and(|extension| extension == "sh");
        let mode = if is_program { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("modes can be set");
    }
    folder
}

fn load(folder: &Path) -> Result<Loaded, LoadError> {
    Catalog::load(&folder.join("tools.yaml"), &Environment::default())
}

fn command(tool: &Tool) -> Command {
    let caller = Caller::new(Principal::Anonymous);
    let arguments = tool.arguments(None, &caller);
    let arguments = arguments.expect("there are no parameters");
    let work = tool.work(&arguments, &caller);
    let work = work.expect("there is nothing to refuse");
    work.command().expect("it runs a program")
}

#[test]
fn what_files_include_is_served_in_their_order() {
    let tool = |name: &str| format!("tools: {{{name}: {{description: d, content: c}}}}\n");
    let folder = folder(&[
        (
            "tools.yaml",
            "include: [z.yaml, 'tools.d/*.yaml', 'none.d/*.yaml']\ntools: {first: {description: d, content: c}}\n",
        ),
        ("z.yaml", &tool("z")),
        ("tools.d/b.yaml", &tool("b")),
        (
            "tools.d/a.yaml",
            &format!("include: [more/c.yaml]\n{}", tool("a")),
        ),
        ("tools.d/more/c.yaml", &tool("c")),
        ("tools.d/.hidden.yaml", "not: [read"),
        ("tools.d/notes.txt", "not: [read"),
    ]);
    let loaded = load(folder.path()).expect("it is valid");
    let tools = loaded.catalog.tools();
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["first", "z", "a", "c", "b"]);

    let warnings: Vec<_> = loaded.warnings.iter().map(Diagnostic::message).collect();
    assert_eq!(warnings, ["`none.d/*.yaml` matches no file"]);
    let at = |names: &[&str]| -> Vec<PathBuf> {
        names.iter().map(|name| folder.path().join(name)).collect()
    };
    let inputs = [
        "tools.d/a.yaml",
        "tools.d/b.yaml",
        "tools.d/more/c.yaml",
        "tools.yaml",
        "z.yaml",
        "none.d",
        "tools.d",
    ];
    assert_eq!(loaded.inputs.paths().collect::<Vec<_>>(), at(&inputs));
}

/// Logs, locks and what editors leave are no change of the definitions.
#[test]
fn what_a_pattern_does_not_mean_is_no_change() {
    let tool = |name: &str| format!("tools: {{{name}: {{description: d, content: c}}}}\n");
    let folder = folder(&[
        ("tools.yaml", "include: ['*.yml', 'none.d/*.yml']\n"),
        ("a.yml", &tool("a")),
    ]);
    let seen = load(folder.path()).expect("it is valid").inputs;
    let touch = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("it is below the folder")).expect("it can be made");
        fs::write(path, tool("b")).expect("a file can be written");
    };
    for other in ["x.log", ".b.yml", "none.d/x.log"] {
        touch(other);
        assert_eq!(seen.again(), seen, "{other}");
    }
    fs::remove_file(folder.path().join("x.log")).expect("it is there");
    assert_eq!(seen.again(), seen);
    let mut last = seen;
    for found in ["b.yml", "none.d/c.yml"] {
        touch(found);
        let now = last.again();
        assert_ne!(now, last, "{found}");
        last = now;
    }
    fs::remove_file(folder.path().join("b.yml")).expect("it is there");
    assert_ne!(last.again(), last);
}

#[test]
fn paths_start_at_the_folder_of_the_file_that_names_them() {
    let folder = folder(&[
        (
            "tools.yaml",
            "include: [sub/git.yaml, sub/plain.yaml]\ndefaults: {workdir: data}\n",
        ),
        (
            "sub/git.yaml",
            "defaults: {workdir: own}\ntools: {git: {description: d, exec: ./run.sh}}\n\
             resources: {readme: {description: d, uri: 'docs://readme', file: readme.md}}\n",
        ),
        (
            "sub/plain.yaml",
            "tools: {plain: {description: d, exec: ../run.sh}}\n",
        ),
        ("sub/run.sh", ""),
        ("sub/readme.md", "text"),
        ("run.sh", ""),
    ]);
    let catalog = load(folder.path()).expect("it is valid").catalog;
    let cases = [
        ("git", "sub/run.sh", "sub/own"),
        ("plain", "run.sh", "data"),
    ];
    for (name, program, workdir) in cases {
        let command = command(catalog.tool(name).expect("it is served"));
        let found = fs::canonicalize(command.program).expect("it exists");
        let expected = folder.path().canonicalize().expect("it exists");
        assert_eq!(found, expected.join(program), "{name}");
        assert_eq!(command.workdir, Some(folder.path().join(workdir)), "{name}");
    }
}

#[test]
fn defaults_of_a_file_come_before_those_of_the_first() {
    let folder = folder(&[
        (
            "tools.yaml",
            "include: [middle.yaml]\ndefaults: {timeout: 1s, env: {A: first, B: first}}\n\
             tools: {t: {description: d, exec: ./run.sh}}\n",
        ),
        (
            "middle.yaml",
            "include: [last.yaml]\ndefaults: {timeout: 2s, env: {A: middle}}\n\
             tools: {m: {description: d, exec: ./run.sh}, own: {description: d, exec: ./run.sh, timeout: 3s}}\n",
        ),
        (
            "last.yaml",
            "tools: {l: {description: d, exec: ./run.sh}}\n",
        ),
        ("run.sh", ""),
    ]);
    let catalog = load(folder.path()).expect("it is valid").catalog;
    let cases = [
        ("t", 1, "A=first B=first"),
        ("m", 2, "A=middle B=first"),
        ("own", 3, "A=middle B=first"),
        ("l", 1, "A=first B=first"),
    ];
    for (name, seconds, variables) in cases {
        let tool = catalog.tool(name).expect("it is served");
        assert_eq!(tool.timeout, Some(Duration::from_secs(seconds)), "{name}");
        let mut found: Vec<_> = (command(tool).environment.iter())
            .map(|(name, value)| format!("{}={}", name.display(), value.display()))
            .collect();
        found.sort();
        assert_eq!(found.join(" "), variables, "{name}");
    }
}

#[test]
fn all_files_share_the_bounds_of_one() {
    let large = format!("# {}\ntools: {{}}\n", "x".repeat(3 * 1024 * 1024));
    let values = format!("instructions: [{}]\n", "[],".repeat(60_000));
    let many: Vec<_> = (0..300).map(|n| format!("many/{n:03}.yaml")).collect();
    let mut files: Vec<(&str, &str)> = many
        .iter()
        .map(|name| (name.as_str(), "tools: {}"))
        .collect();
    files.extend([
        ("tools.yaml", ""),
        ("bytes/1.yaml", &large),
        ("bytes/2.yaml", &large),
        ("values/1.yaml", &values),
        ("values/2.yaml", &values),
    ]);
    let folder = folder(&files);
    let cases = [
        (
            "bytes/*.yaml",
            "the files of this definition are larger than 4 MiB",
        ),
        ("values/*.yaml", "more than 100000 values"),
        (
            "many/*.yaml",
            "more than 256 files belong to this definition",
        ),
    ];
    for (pattern, expected) in cases {
        let text = format!("include: ['{pattern}']\n");
        fs::write(folder.path().join("tools.yaml"), text).expect("a file can be written");
        let error = load(folder.path()).expect_err("it is too much").to_string();
        assert!(error.contains(expected), "{pattern}: {error}");
    }
}
