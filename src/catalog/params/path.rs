//! `type: path`: a relative path that stays below a folder.
//!
//! The model writes a relative path, the program gets an absolute one without links in it. It is
//! looked up when a call runs. Between that and the moment when the program opens it, whoever may
//! write below the folder can put a link in its place: a program that must be safe from them opens
//! with `O_NOFOLLOW` or runs in a sandbox.

use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::{Content, Entry, Node};

/// The name of the type.
const TYPE: &str = "path";
/// The key that names the folder.
pub(super) const ROOT: &str = "root";
/// What clients are told of a path whose author says nothing.
const DESCRIPTION: &str = "A relative path without `..`.";

/// What is wrong with a path, for the model.
type Rule = &'static str;

/// Takes the words of a path out of a definition: what is left is the schema of a text, or of a
/// list of texts. `None` if there are errors.
pub(super) fn take(entry: &Entry, report: &mut Report) -> Option<(Entry, Option<PathBuf>)> {
    let errors = report.errors();
    let mut taken = entry.clone();
    let mut root = take_from(&mut taken.value, &entry.key.text, report);
    if let Content::Mapping(entries) = &mut taken.value.content
        && let Some(items) = entries.iter_mut().find(|entry| entry.key.text == "items")
    {
        root = root.or(take_from(&mut items.value, &entry.key.text, report));
    }
    (report.errors() == errors).then_some((taken, root))
}

fn take_from(node: &mut Node, name: &str, report: &mut Report) -> Option<PathBuf> {
    let Content::Mapping(entries) = &mut node.content else {
        return None;
    };
    let root = entries.iter().position(|entry| entry.key.text == ROOT);
    let kind = entries.iter_mut().find(|entry| entry.key.text == "type");
    let kind = kind.and_then(|entry| match &mut entry.value.content {
        Content::Scalar(scalar) if scalar.text == TYPE => Some((entry.key.span, scalar)),
        _ => None,
    });
    match (kind, root) {
        (None, None) => None,
        (None, Some(at)) => {
            let span = entries.get(at)?.key.span;
            let message = format!("only a path has a `{ROOT}`");
            report.add(Problem::error(Code::Schema, span, message).help("write `type: path`"));
            None
        }
        (Some((span, _)), None) => {
            let message = format!("`{name}` is a path without a `{ROOT}`");
            let problem = Problem::error(Code::Schema, span, message);
            let help = "name the folder that it must stay below, as in `root: /srv/data`";
            report.add(problem.help(help));
            None
        }
        (Some((_, scalar)), Some(at)) => {
            "string".clone_into(&mut scalar.text);
            let root = reader::text(&entries.remove(at), report)?;
            Some(PathBuf::from(root))
        }
    }
}

/// What to write for a path in the short form, which has no place for its folder.
pub(super) fn shorthand(text: &str) -> Option<String> {
    let mut words = text.split([' ', '.']);
    let help = "write `{type: path, root: /srv/data}`, with the folder that it must stay below";
    words.any(|word| word == TYPE).then(|| help.to_owned())
}

/// Says in the schema of a path, or of a list of paths, what clients should know.
pub(super) fn describe(schema: &mut Value) {
    let is_list = schema.get("items").is_some();
    let of_path = if is_list {
        schema.get_mut("items")
    } else {
        Some(schema)
    };
    let Some(of_path) = of_path.and_then(Value::as_object_mut) else {
        return;
    };
    of_path.entry("minLength").or_insert(json!(1));
    of_path.entry("description").or_insert(json!(DESCRIPTION));
}

/// The absolute paths of a value that is a path or a list of them; the index is that of the item
/// that breaks a rule.
pub(super) fn resolve(root: &Path, value: &Value) -> Result<Value, (Option<usize>, Rule)> {
    let one = |value: &Value| match value {
        Value::String(text) => resolve_one(root, text).map(Value::String),
        other => Ok(other.clone()),
    };
    let Value::Array(items) = value else {
        return one(value).map_err(|rule| (None, rule));
    };
    let items = items.iter().enumerate();
    let items = items.map(|(at, item)| one(item).map_err(|rule| (Some(at), rule)));
    items.collect::<Result<_, _>>().map(Value::Array)
}

fn resolve_one(root: &Path, text: &str) -> Result<String, Rule> {
    if text.contains('\0') {
        return Err("must not contain NUL, which no path has");
    }
    let relative = Path::new(text);
    for component in relative.components() {
        match component {
            Component::Normal(_) | Component::CurDir => {}
            Component::ParentDir => return Err("must not contain `..`"),
            Component::RootDir | Component::Prefix(_) => return Err("must be a relative path"),
        }
    }
    let root = (root.canonicalize())
        .map_err(|_| "is below a folder of the server that cannot be entered now")?;
    let path = look_up(&root, relative)?;
    path.into_os_string()
        .into_string()
        .map_err(|_| "leads to a name that is not UTF-8")
}

/// Follows the links of a path as far as it exists; what does not exist yet can have none.
fn look_up(root: &Path, relative: &Path) -> Result<PathBuf, Rule> {
    let mut path = root.to_owned();
    let mut components = relative.components();
    for component in components.by_ref() {
        let next = path.join(component);
        match next.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(next.join(components.as_path()));
            }
            found => found.map(drop).map_err(|error| unusable(&error))?,
        }
        // A link that leads to nothing could be made to lead anywhere.
        path = next.canonicalize().map_err(|error| unusable(&error))?;
        if !path.starts_with(root) {
            return Err("leads outside the folder that it must stay below");
        }
    }
    Ok(path)
}

fn unusable(error: &io::Error) -> Rule {
    match error.kind() {
        ErrorKind::NotFound => "leads over a link to nothing",
        ErrorKind::NotADirectory => "leads over something that is no folder",
        ErrorKind::PermissionDenied => "leads where the server may not go",
        ErrorKind::InvalidFilename => "has a name that is too long",
        _ => "cannot be looked up",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_stays_below_its_root() {
        let whole = tempfile::tempdir().unwrap();
        let whole = whole.path().canonicalize().unwrap();
        let root = whole.join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(whole.join("rooted")).unwrap();
        fs::write(root.join("a/file"), "").unwrap();
        fs::write(whole.join("secret"), "").unwrap();
        let links = [
            ("inside", "a/b"),
            ("outside", ".."),
            ("absolute", "/etc"),
            ("sibling", "../rooted"),
            ("dangling", "a/nothing"),
            ("far", "../nothing"),
            ("circle", "circle"),
        ];
        for (link, target) in links {
            symlink(target, root.join(link)).unwrap();
        }
        let outside = Err("leads outside the folder that it must stay below");
        let over_nothing = Err("leads over a link to nothing");
        let cases: &[(&str, Result<&str, &str>)] = &[
            (".", Ok("")),
            ("a", Ok("/a")),
            ("a/./b//", Ok("/a/b")),
            ("-rf", Ok("/-rf")),
            ("a/new/file", Ok("/a/new/file")),
            ("inside/new", Ok("/a/b/new")),
            ("new\nline", Ok("/new\nline")),
            ("", Ok("")),
            ("/etc/passwd", Err("must be a relative path")),
            ("..", Err("must not contain `..`")),
            ("a/../../secret", Err("must not contain `..`")),
            ("new/../..", Err("must not contain `..`")),
            ("a\0b", Err("must not contain NUL, which no path has")),
            ("outside/secret", outside),
            ("outside/new", outside),
            ("absolute", outside),
            ("sibling/x", outside),
            ("dangling", over_nothing),
            ("far", over_nothing),
            ("circle/x", Err("cannot be looked up")),
            ("a/file/x", Err("leads over something that is no folder")),
        ];
        for (text, expected) in cases {
            let found = resolve_one(&root, text);
            let expected = expected.map(|path| format!("{}{path}", root.display()));
            let found = found.map(|path| path.trim_end_matches('/').to_owned());
            assert_eq!(found, expected, "{text:?}");
        }
        let long = "x".repeat(300);
        assert_eq!(
            resolve_one(&root, &long),
            Err("has a name that is too long")
        );
        assert!(resolve_one(&whole.join("gone"), "a").is_err());
        // The root itself may be a link: a release, say.
        symlink(&root, whole.join("current")).unwrap();
        let found = resolve_one(&whole.join("current"), "a");
        assert_eq!(found, Ok(root.join("a").display().to_string()));
    }
}
