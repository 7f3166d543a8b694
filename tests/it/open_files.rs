//! Files that decide who may call, and that others can read, change or replace (case T06).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::issuer::{Key, key_set};
use crate::support::{Run, TestServer, command, run, write_token};

const TOOLS: &str = "tools: {t: {description: d, content: c}}\n";

const AUTH: &str = "
jwt:
  - {issuer: 'https://id.example', audience: mcp, jwks: ../named/keys.json}
introspection:
  - url: https://id.example/introspect
    client_id: mcp
    client_secret: ${file:../named/client.secret}
    audience: mcp
";

/// Writes an auth file and what it names, all closed to others, and then opens one of them.
fn write(folder: &Path, (opened, mode): (&str, u32)) {
    let keys = key_set(&[&Key::new("one")]).to_string();
    let files = [
        ("auth/auth.yaml", AUTH, 0o600),
        (
            "named/client.secret",
            "client-mfZ3b1mXk0Qy7h2Vn5cR8w",
            0o600,
        ),
        ("named/keys.json", &keys, 0o644),
    ];
    let set = |path: &str, mode| {
        fs::set_permissions(folder.join(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    for (path, text, mode) in files {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        set(path, mode);
    }
    for path in ["auth", "named"] {
        set(path, 0o755);
    }
    set(opened, mode);
}

fn add(command: &mut Command, folder: &Path) {
    command.arg("--auth").arg(folder.join("auth/auth.yaml"));
}

#[test]
fn what_others_can_read_change_or_replace_lets_nobody_in() {
    let cases = [
        ("auth/auth.yaml", 0o640, &[][..]),
        ("named/client.secret", 0o440, &[]),
        ("named/keys.json", 0o604, &[]),
        ("auth", 0o1777, &[]),
        ("named", 0o1777, &[]),
        ("named", 0o775, &[]),
        (
            "auth",
            0o777,
            &[
                "error: --auth FOLDER/auth/auth.yaml: it can be replaced by anybody: the mode of \
                 FOLDER/auth is 0777; run chmod o-w on it\n",
            ],
        ),
        (
            "named/client.secret",
            0o644,
            &[
                "error[E041]: `../named/client.secret` is not safe: its mode is 0644, but others must \
                 have no access and the group may not write; run chmod 0600 on it\n",
            ],
        ),
        (
            "named/client.secret",
            0o620,
            &["error[E041]: `../named/client.secret` is not safe: its mode is 0620, "],
        ),
        (
            "named/keys.json",
            0o664,
            &[
                "error[E045]: `FOLDER/auth/../named/keys.json` cannot be used: its mode is 0664, but \
                 only its owner may change it; run chmod go-w on it\n",
                " = help: it says who may call; --insecure-permissions accepts it as it is\n",
            ],
        ),
        (
            "named",
            0o777,
            &[
                "error[E041]: `../named/client.secret` is not safe: it can be replaced by anybody: \
                 the mode of FOLDER/auth/../named is 0777; run chmod o-w on it\n",
                "error[E045]: `FOLDER/auth/../named/keys.json` cannot be used: it can be replaced by \
                 anybody: the mode of FOLDER/auth/../named is 0777; run chmod o-w on it\n",
            ],
        ),
    ];
    for (path, mode, refused) in cases {
        let case = format!("{path} {mode:04o}");
        let insecure = ["--insecure-permissions"];
        let options = if refused.is_empty() {
            &[][..]
        } else {
            &insecure
        };
        TestServer::start_with(TOOLS, options, |prepare| {
            write(prepare.folder, (path, mode));
            add(prepare.command, prepare.folder);
        });
        if refused.is_empty() {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), (path, mode));
        fs::write(folder.path().join("tools.yaml"), TOOLS).unwrap();
        let mut command = command();
        command
            .current_dir(folder.path())
            .args(["--listen", "127.0.0.1:0"]);
        add(&mut command, folder.path());
        let Run { code, stderr, .. } = run(&mut command);
        assert_eq!(code, Some(2), "{case}: {stderr}");
        let stderr = stderr.replace(&folder.path().display().to_string(), "FOLDER");
        for said in refused {
            assert!(stderr.contains(said), "{case}: {stderr}");
        }
        assert!(!stderr.contains("client-mfZ3"), "{case}: {stderr}");
    }
}

#[test]
fn a_token_file_that_others_can_replace_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("tokens");
    fs::create_dir(&inside).unwrap();
    let file = write_token(&inside);
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o777)).unwrap();
    // It is really there, whatever leads to it.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    fs::write(folder.path().join("tools.yaml"), TOOLS).unwrap();
    for path in [&file, &link] {
        let mut command = command();
        command
            .current_dir(folder.path())
            .args(["--listen", "127.0.0.1:0"]);
        command.arg("--token-file").arg(path);
        let Run { code, stderr, .. } = run(&mut command);
        assert_eq!(code, Some(2), "{stderr}");
        let said = format!(
            "error: --token-file {}: it can be replaced by anybody: the mode of {} is 0777",
            path.display(),
            inside.display()
        );
        assert!(stderr.contains(&said), "{stderr}");
    }
}
