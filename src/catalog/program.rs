//! Finding the program of a tool, once, when the file is loaded.
//!
//! A name that was looked up again at every call could be another program each time.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::environment::Environment;

/// Why a program cannot run: what is wrong, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) message: String,
    pub(crate) help: String,
}

/// Resolves a program to an absolute path: with a slash against `folder`, else in PATH.
pub(crate) fn resolve(
    program: &str,
    folder: &Path,
    environment: &Environment,
) -> Result<PathBuf, Missing> {
    if program.contains('/') {
        return at_path(program, folder);
    }
    let path = environment.get("PATH").unwrap_or(OsStr::new(""));
    // A relative folder in PATH would mean another program in each working directory.
    let candidates = std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program));
    let mut found_unusable = None;
    for candidate in candidates {
        if is_executable(&candidate) {
            return Ok(candidate);
        }
        if candidate.is_file() {
            found_unusable.get_or_insert(candidate);
        }
    }
    Err(match found_unusable {
        Some(found) => not_executable(program, &found),
        None => Missing {
            message: format!("`{program}` is not found in PATH={}", path.display()),
            help: "install it, write its path, or let `if_missing: hide` leave the tool out"
                .to_owned(),
        },
    })
}

fn at_path(program: &str, folder: &Path) -> Result<PathBuf, Missing> {
    let joined = folder.join(program);
    let path = std::path::absolute(&joined).unwrap_or(joined);
    if is_executable(&path) {
        return Ok(path);
    }
    if path.is_dir() {
        return Err(Missing {
            message: format!("`{program}` is a folder, not a program"),
            help: "write the path of a file".to_owned(),
        });
    }
    if path.exists() {
        return Err(not_executable(program, Path::new(program)));
    }
    Err(Missing {
        message: format!("`{program}` does not exist"),
        help: "a path is looked up from the folder of this file; `if_missing: hide` leaves the \
               tool out"
            .to_owned(),
    })
}

fn not_executable(program: &str, path: &Path) -> Missing {
    Missing {
        message: format!("`{program}` cannot be executed"),
        help: format!("allow it with `chmod +x {}`", path.display()),
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
