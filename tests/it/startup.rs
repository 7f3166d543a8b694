//! Starting: what is refused and how that is said, and who is let in by a server that runs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mcp_serve::protocol::version::Era;
use serde_json::json;

use crate::support::{
    Client, ERAS, Http, Run, TOKEN, TestServer, command, eventually, initialize, run, write_token,
};

const TOOLS: &str = "
tools:
  echo:
    description: Says something.
    exec: echo {text}
    params: {text: string}
  env:
    description: Prints its environment.
    exec: env
  cmdline:
    description: Prints its command line.
    exec: cat /proc/self/cmdline
";

/// Names and values of variables or headers.
type Pairs<'a> = &'a [(&'a str, &'a str)];

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A folder with a `tools.yaml`, and the command that serves it.
fn serving(folder: &Path) -> Command {
    let tools = folder.join("tools.yaml");
    fs::write(&tools, TOOLS).unwrap();
    let mut command = command();
    command
        .arg("--tools")
        .arg(tools)
        .args(["--listen", "127.0.0.1:0"]);
    command
}

/// Runs what must fail to its end; a server that starts after all is stopped.
fn refused(command: &mut Command, case: &str) -> Run {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    if eventually(|| child.try_wait().unwrap()).is_none() {
        child.kill().unwrap();
        panic!("{case}: it does not end: {:?}", child.wait_with_output());
    }
    let output = child.wait_with_output().unwrap();
    let run = Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert_eq!(run.stdout, "", "{case}: standard output is not for errors");
    assert!(!run.stderr.contains("panicked"), "{case}: {}", run.stderr);
    run
}

/// Asserts that a command fails with a code and says something.
fn assert_refused(command: &mut Command, case: &str, code: i32, said: &[&str]) {
    let run = refused(command, case);
    assert_eq!(run.code, Some(code), "{case}: {}", run.stderr);
    for said in said {
        assert!(
            run.stderr.contains(said),
            "{case}: {said:?} is not in {}",
            run.stderr
        );
    }
}

#[test]
fn help_and_version_are_output() {
    for (flag, expected) in [
        ("--help", "Usage: mcp-serve [OPTIONS]"),
        ("-h", "Usage: mcp-serve [OPTIONS]"),
        (
            "--version",
            concat!("mcp-serve ", env!("CARGO_PKG_VERSION"), "\n"),
        ),
        ("-V", concat!("mcp-serve ", env!("CARGO_PKG_VERSION"), "\n")),
    ] {
        let run = run(command().arg(flag));
        assert_eq!(run.code, Some(0), "{flag}");
        assert!(run.stdout.contains(expected), "{flag}: {}", run.stdout);
        assert_eq!(run.stderr, "", "{flag}");
    }
    assert_refused(
        command().arg("--unknown"),
        "unknown flag",
        2,
        &["--unknown"],
    );
    assert_refused(
        command().arg("tools.yaml"),
        "stray argument",
        2,
        &["tools.yaml"],
    );
}

#[test]
fn broken_definitions_are_explained() {
    let cases = [
        (
            "unknown key",
            "tools:\n  x:\n    description: X.\n    exce: echo\n",
            "tools.yaml:4:5",
            "did you mean `exec`?",
        ),
        (
            "missing program",
            "tools:\n  x:\n    description: X.\n    exec: no-such-program-here\n",
            "tools.yaml:4:11",
            "is not found in PATH=/usr/bin:/bin",
        ),
        (
            "defined twice",
            "tools:\n  x: {description: X., exec: echo}\n  x: {description: X., exec: echo}\n",
            "tools.yaml:3:3",
            "tool `x` is defined twice",
        ),
        ("not YAML", "tools: [\n", "tools.yaml", "error"),
        ("empty", "", "tools.yaml", "error"),
    ];
    for (name, tools, place, said) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut command = serving(folder.path());
        fs::write(folder.path().join("tools.yaml"), tools).unwrap();
        assert_refused(&mut command, name, 2, &[place, said]);
    }
}

#[test]
fn a_broken_definition_is_named_from_the_current_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tools.yaml"), "tools: {}\nx: 1\n").unwrap();
    assert_refused(
        command().current_dir(folder.path()),
        "the default file",
        2,
        &["tools.yaml:2:1"],
    );
}

#[test]
fn no_invalid_file_is_served() {
    let mut seen = 0;
    for entry in fs::read_dir("tests/it/tools/invalid").unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let file = file.display().to_string();
        let mut command = command();
        command.args(["--listen", "127.0.0.1:0", "--tools", &file]);
        // Some are invalid because of who can call.
        command.args([
            "--auth",
            "tests/it/tools/auth.yaml",
            "--insecure-permissions",
        ]);
        assert_refused(&mut command, &file, 2, &["error", &file]);
        seen += 1;
    }
    assert!(seen > 60, "a corpus test checks that it found files");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.yaml");
    for (name, path) in [("missing", missing.as_path()), ("folder", folder.path())] {
        let mut command = command();
        command
            .args(["--listen", "127.0.0.1:0"])
            .arg("--tools")
            .arg(path);
        let path = path.display().to_string();
        assert_refused(&mut command, name, 2, &[&path, "cannot be read"]);
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let said = format!("cannot listen on {address}");
    // Beside an address that is free too: a server does not start by halves.
    let mut command = serving(folder.path());
    command.args(["--listen", &address]);
    assert_refused(&mut command, "port taken", 1, &[&said, "in use"]);
    let mut command = serving(folder.path());
    command.args([
        "--listen",
        "192.0.2.1:0",
        "--allow-unauthenticated",
        "--allow-root",
    ]);
    assert_refused(
        &mut command,
        "not ours",
        1,
        &["cannot listen on 192.0.2.1:0"],
    );
}

/// Serves on a Unix socket too.
fn start_with_socket(prepare: impl FnOnce(&Path)) -> (TestServer, PathBuf) {
    let mut socket = PathBuf::new();
    let server = TestServer::start_with(TOOLS, &[], |command| {
        socket = command.folder.join("socket");
        prepare(&socket);
        let address = format!("unix:{}", socket.display());
        command.command.args(["--listen", &address]);
    });
    server.wait_for_log(&format!("\"address\":\"unix:{}\"", socket.display()));
    (server, socket)
}

/// Posts a message over a Unix socket, and returns the whole response as it comes.
fn post_over(socket: &Path, message: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         Content-Length: {}\r\n\r\n{message}",
        message.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn a_unix_socket_is_served_to_its_owner_and_removed() {
    let (mut server, socket) = start_with_socket(|_| {});
    let metadata = fs::metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    let response = post_over(&socket, &initialize("2025-11-25").to_string());
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains("\"serverInfo\""), "{response}");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!socket.exists(), "the socket file is left");
}

#[test]
fn a_stale_socket_is_replaced_and_nothing_else() {
    let (_server, socket) = start_with_socket(|socket| {
        drop(UnixListener::bind(socket).unwrap());
        assert!(socket.exists(), "a socket that nobody listens on");
    });
    let response = post_over(&socket, &initialize("2025-11-25").to_string());
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("file"), "precious").unwrap();
    symlink(path("file"), path("link")).unwrap();
    symlink(path("nowhere"), path("dangling")).unwrap();
    fs::create_dir(path("folder")).unwrap();
    let cases = [
        ("a live socket", socket, "in use"),
        ("a file", path("file"), "in use"),
        ("a link to a file", path("link"), "in use"),
        ("a link to nothing", path("dangling"), "in use"),
        ("a folder", path("folder"), "in use"),
        ("no such folder", path("no/socket"), "No such file"),
    ];
    for (name, socket, said) in &cases {
        let mut command = serving(folder.path());
        let address = format!("unix:{}", socket.display());
        command.args(["--listen", &address]);
        let place = format!("cannot listen on {address}");
        assert_refused(&mut command, name, 1, &[&place, said]);
        assert_eq!(
            socket.symlink_metadata().is_ok(),
            *name != "no such folder",
            "{name}"
        );
    }
    assert_eq!(fs::read_to_string(path("file")).unwrap(), "precious");
    let (_, live, _) = &cases[0];
    let response = post_over(live, &initialize("2025-11-25").to_string());
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
}

#[test]
fn nothing_is_open_to_the_network_by_accident() {
    let folder = tempfile::tempdir().unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let mut command = serving(folder.path());
        command.args(["--listen", address]);
        let said = [address, "--token-file", "--allow-unauthenticated"];
        assert_refused(&mut command, address, 2, &said);
        // A server that runs its tools as root has one more thing to say.
        if is_root() {
            command.arg("--allow-unauthenticated");
            let said = [address, "--allow-root"];
            assert_refused(&mut command, address, 2, &said);
        }
    }
    let open = TestServer::start_with(TOOLS, &["--allow-unauthenticated"], |prepare| {
        // The options come behind an address of the loopback interface.
        prepare
            .command
            .args(["--listen", "0.0.0.0:0", "--allow-root"]);
    });
    open.wait_for_log("\"address\":\"0.0.0.0:");
    open.wait_for_log("may call every tool, without a token");
    open.wait_for_log("is served without TLS");
    assert_eq!(
        open.client(Era::Legacy)
            .call_text("echo", &json!({"text": "x"})),
        "x\n"
    );

    let closed = TestServer::with_token(TOOLS, &["--listen", "0.0.0.0:0", "--allow-root"]);
    let listening = closed.wait_for_log("\"address\":\"0.0.0.0:");
    assert!(!listening.contains("without a token"));
    let log = closed.log().join("\n");
    assert!(!log.contains("without a token"), "{log}");
    let mut http = Http::connect(closed.address());
    assert_eq!(http.request("POST", "/mcp", &[], "{}").status, 401);
}

fn write_with_mode(file: &Path, content: &[u8], mode: u32) {
    fs::write(file, content).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_token_file_is_judged() {
    let token = format!("{TOKEN}\n");
    let token = token.as_bytes();
    let huge = vec![b'x'; 64 * 1024 + 1];
    let two_lines = format!("{TOKEN}\n{TOKEN}\n");
    let cases: &[(&str, &[u8], u32, &str)] = &[
        ("open to others", token, 0o644, "its mode is 0644"),
        ("readable for others", token, 0o604, "its mode is 0604"),
        ("writable for others", token, 0o602, "its mode is 0602"),
        ("writable for its group", token, 0o620, "its mode is 0620"),
        ("open to all", token, 0o666, "run chmod 0600"),
        ("empty", b"", 0o600, "the token has 0 characters"),
        ("blank", b" \n\n", 0o600, "the token has 0 characters"),
        ("short", b"changeme\n", 0o600, "the token has 8 characters"),
        (
            "21 characters",
            b"123456789012345678901",
            0o600,
            "at least 22",
        ),
        ("two lines", two_lines.as_bytes(), 0o600, "on one line"),
        (
            "a password",
            b"correct horse battery staple",
            0o600,
            "may hold only",
        ),
        (
            "garbage",
            b"\xff\xfe\0\x01garbage-garbage-garbage",
            0o600,
            "not UTF-8",
        ),
        ("huge", &huge, 0o600, "larger than 64 KiB"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token-file");
    let link = folder.path().join("link");
    symlink(&file, &link).unwrap();
    for (name, content, mode, said) in cases {
        write_with_mode(&file, content, *mode);
        for path in [&file, &link] {
            let case = format!("{name}, {}", path.display());
            let mut command = serving(folder.path());
            command.arg("--token-file").arg(path);
            let run = refused(&mut command, &case);
            assert_eq!(run.code, Some(2), "{case}: {}", run.stderr);
            let place = format!("--token-file {}: ", path.display());
            assert!(run.stderr.contains(&place), "{case}: {}", run.stderr);
            assert!(run.stderr.contains(said), "{case}: {}", run.stderr);
            for secret in [TOKEN, "changeme", "correct", "garbage-"] {
                assert!(!run.stderr.contains(secret), "{case}: {}", run.stderr);
            }
            // The permissions can be waived, the token cannot.
            if *mode == 0o600 {
                command.arg("--insecure-permissions");
                assert_refused(&mut command, &case, 2, &[&place, said]);
            }
        }
        fs::remove_file(&file).unwrap();
    }
    let others: [(&str, &Path, &str); 4] = [
        ("missing", &file, "No such file"),
        ("dangling", &link, "No such file"),
        ("folder", folder.path(), "not a regular file"),
        ("device", Path::new("/dev/null"), "not a regular file"),
    ];
    for (name, path, said) in others {
        let mut command = serving(folder.path());
        command.arg("--token-file").arg(path);
        let place = format!("--token-file {}: ", path.display());
        assert_refused(&mut command, name, 2, &[&place, said]);
    }
}

#[test]
fn a_token_file_of_somebody_else_is_refused() {
    // Only root can give files away; another user is refused the file of root by its mode.
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = write_token(folder.path());
    std::os::unix::fs::chown(&file, Some(12345), None).unwrap();
    let mut command = serving(folder.path());
    command.arg("--token-file").arg(&file);
    assert_refused(
        &mut command,
        "foreign owner",
        2,
        &["it belongs to user 12345"],
    );
}

#[test]
fn a_good_token_file_opens_the_server() {
    let cases: [(&str, String, u32, bool, bool); 6] = [
        ("its owner only", format!("{TOKEN}\n"), 0o600, false, false),
        ("read-only", TOKEN.to_owned(), 0o400, false, false),
        (
            "readable for its group",
            format!("  {TOKEN}\r\n\n"),
            0o640,
            false,
            false,
        ),
        ("a link", format!("{TOKEN}\n"), 0o600, true, false),
        ("waived", format!("{TOKEN}\n"), 0o666, false, true),
        ("a link, waived", format!("{TOKEN}\n"), 0o644, true, true),
    ];
    for (name, content, mode, is_link, is_waived) in cases {
        let server = TestServer::start_with(TOOLS, &[], |prepare| {
            let mut file = prepare.folder.join("token");
            write_with_mode(&file, content.as_bytes(), mode);
            if is_link {
                let link = prepare.folder.join("link");
                symlink(&file, &link).unwrap();
                file = link;
            }
            prepare.command.arg("--token-file").arg(file);
            if is_waived {
                prepare.command.arg("--insecure-permissions");
            }
        });
        for era in ERAS {
            let client = Client::new(&server, era, Some(TOKEN));
            assert_eq!(
                client.call_text("echo", &json!({"text": "x"})),
                "x\n",
                "{name}"
            );
        }
        let mut http = Http::connect(server.address());
        assert_eq!(
            http.request("POST", "/mcp", &[], "{}").status,
            401,
            "{name}"
        );
    }
}

/// An auth file with one token, which nobody has.
fn auth_file() -> String {
    let digest = "9f7ad3ab01d26f8e6fe2de7da2dc0e3ab0f08f5f8b1d1d3d9e3bd2b2ab0a5a5a";
    format!("tokens:\n  - sha256: {digest}\n    subject: alice\n")
}

#[test]
fn an_auth_file_is_judged() {
    let good = auth_file();
    let huge = format!("{good}#{}\n", "x".repeat(4 * 1024 * 1024));
    let cases: &[(&str, &[u8], u32, &str)] = &[
        ("open to others", good.as_bytes(), 0o644, "its mode is 0644"),
        (
            "group can write",
            good.as_bytes(),
            0o620,
            "its mode is 0620",
        ),
        ("not UTF-8", b"tokens: \xff", 0o600, "not UTF-8"),
        ("huge", huge.as_bytes(), 0o600, "larger than 4096 KiB"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth.yaml");
    for (name, content, mode, said) in cases {
        write_with_mode(&file, content, *mode);
        let mut command = serving(folder.path());
        command.arg("--auth").arg(&file);
        let place = format!("error: --auth {}: ", file.display());
        assert_refused(&mut command, name, 2, &[&place, said]);
        fs::remove_file(&file).unwrap();
    }
    let mut command = serving(folder.path());
    command.arg("--auth").arg(&file);
    assert_refused(&mut command, "missing", 2, &["--auth", "No such file"]);

    // The permissions can be waived.
    let server = TestServer::start_with(TOOLS, &["--insecure-permissions"], |prepare| {
        let file = prepare.folder.join("auth.yaml");
        write_with_mode(&file, good.as_bytes(), 0o644);
        prepare.command.arg("--auth").arg(file);
    });
    let mut http = Http::connect(server.address());
    assert_eq!(http.request("POST", "/mcp", &[], "{}").status, 401);

    // What is wrong inside is shown with its place, each mistake.
    let broken = format!("{good}    tenent: acme\n  - sha256: {TOKEN}\n");
    write_with_mode(&file, broken.as_bytes(), 0o600);
    let run = refused(&mut command, "broken");
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    for said in [
        "auth.yaml:4:5",
        "did you mean `tenant`?",
        "auth.yaml:5:13",
        "must be 64 hexadecimal digits",
        "has no `subject`",
        "auth.yaml: 3 errors",
    ] {
        assert!(
            run.stderr.contains(said),
            "{said:?} is not in {}",
            run.stderr
        );
    }
    assert!(!run.stderr.contains(TOKEN), "{}", run.stderr);
}

#[test]
fn one_file_says_who_may_call() {
    let folder = tempfile::tempdir().unwrap();
    let auth = folder.path().join("auth.yaml");
    write_with_mode(&auth, auth_file().as_bytes(), 0o600);
    let token = write_token(folder.path());
    let said = ["--auth", "--token-file", "only one of them"];
    let mut command = serving(folder.path());
    command
        .arg("--auth")
        .arg(&auth)
        .arg("--token-file")
        .arg(&token);
    assert_refused(&mut command, "two options", 2, &said);
    let mut command = serving(folder.path());
    command
        .arg("--auth")
        .arg(&auth)
        .env("MCP_SERVE_TOKEN_FILE", &token);
    assert_refused(&mut command, "an option and a variable", 2, &said);
}

#[test]
fn a_wrong_variable_is_named() {
    let cases = [
        (
            "MCP_SERVE_SESSION_IDLE_TIMEOUT",
            "0",
            "try 30s, 5m or 1h, or none",
        ),
        ("MCP_SERVE_CALL_TIMEOUT", "none", "try 30s, 5m or 1h"),
        ("MCP_SERVE_DRAIN_TIMEOUT", "-1s", "try 30s, 5m or 1h"),
        ("MCP_SERVE_HEARTBEAT", "soon", "try 30s, 5m or 1h"),
        ("MCP_SERVE_MAX_BODY", "4MB", "try 65536, 64KiB or 4MiB"),
        ("MCP_SERVE_MAX_CALLS", "0", "zero"),
        ("MCP_SERVE_MAX_SESSIONS", "many", "invalid digit"),
        ("MCP_SERVE_MAX_CONNECTIONS", "-1", "invalid digit"),
        ("MCP_SERVE_LISTEN", "localhost:80", "try 127.0.0.1:8080"),
        ("MCP_SERVE_LISTEN", "", "try 127.0.0.1:8080"),
        ("MCP_SERVE_PATH", "mcp", "try /mcp"),
        ("MCP_SERVE_PATH", "", "try /mcp"),
        ("MCP_SERVE_TOOLS", "", "--tools"),
        ("MCP_SERVE_TOKEN_FILE", "", "--token-file"),
        ("MCP_SERVE_AUTH", "", "--auth"),
        ("MCP_SERVE_CREDENTIAL_HEADER", "x y", "try X-Api-Key"),
        ("MCP_SERVE_ALLOWED_HOST", "a:80", "try mcp.example.com"),
        (
            "MCP_SERVE_ALLOWED_ORIGIN",
            "a",
            "try https://app.example.com",
        ),
        ("MCP_SERVE_TRUSTED_PROXY", "proxy", "try 127.0.0.1"),
        ("MCP_SERVE_TLS_CERT", "", "--tls-cert"),
        ("MCP_SERVE_TLS_KEY", "", "--tls-key"),
        (
            "MCP_SERVE_PUBLIC_URL",
            "mcp.example.com",
            "try https://mcp.example.com/mcp",
        ),
        ("MCP_SERVE_STATELESS", "maybe", "--stateless"),
        ("MCP_SERVE_JSON_RESPONSE", "", "--json-response"),
        ("MCP_SERVE_ALLOW_ROOT", "2", "--allow-root"),
        (
            "MCP_SERVE_ALLOW_UNAUTHENTICATED",
            "sure",
            "--allow-unauthenticated",
        ),
        (
            "MCP_SERVE_INSECURE_PERMISSIONS",
            "sure",
            "--insecure-permissions",
        ),
        ("MCP_SERVE_LOG_LEVEL", "loud", "trace"),
        ("MCP_SERVE_LOG_FORMAT", "xml", "json"),
    ];
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tools.yaml"), TOOLS).unwrap();
    for (variable, value, said) in cases {
        let case = format!("{variable}={value}");
        let mut command = command();
        command.current_dir(folder.path()).env(variable, value);
        assert_refused(&mut command, &case, 2, &[variable, said]);
    }
}

/// Whether a server serves MCP at a path.
fn is_endpoint(server: &TestServer, path: &str) -> bool {
    let headers = [("Content-Type", "application/json")];
    let body = initialize("2025-11-25").to_string();
    let response = Http::connect(server.address()).request("POST", path, &headers, &body);
    match response.status {
        200 => true,
        404 => false,
        _ => panic!("{path}: {response:?}"),
    }
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_default() {
    let cases = [
        ("default", None, None, "/mcp"),
        ("variable", Some("/variable"), None, "/variable"),
        ("flag", None, Some("/flag"), "/flag"),
        ("both", Some("/variable"), Some("/flag"), "/flag"),
    ];
    for (name, variable, flag, expected) in cases {
        let server = TestServer::start_with(TOOLS, &[], |prepare| {
            if let Some(path) = variable {
                prepare.command.env("MCP_SERVE_PATH", path);
            }
            if let Some(path) = flag {
                prepare.command.args(["--path", path]);
            }
        });
        for path in ["/mcp", "/variable", "/flag"] {
            assert_eq!(
                is_endpoint(&server, path),
                path == expected,
                "{name}: {path}"
            );
        }
    }
    // A list is replaced, not joined: the address of the variable could not be bound.
    let server = TestServer::start_with(TOOLS, &[], |prepare| {
        prepare.command.env("MCP_SERVE_LISTEN", "192.0.2.1:80");
    });
    assert!(is_endpoint(&server, "/mcp"));
    // A flag can take back what a variable says.
    let server = TestServer::start_with(TOOLS, &["--stateless=false"], |prepare| {
        prepare.command.env("MCP_SERVE_STATELESS", "true");
    });
    assert!(!server.client(Era::Legacy).session().is_empty());
}

#[test]
fn everything_can_be_said_by_variables() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start_with(TOOLS, &[], |prepare| {
        let token = write_token(prepare.folder);
        let tools = prepare.folder.join("tools.yaml");
        let mut alone = command();
        alone
            .env("MCP_SERVE_TOOLS", tools)
            .env("MCP_SERVE_LISTEN", "127.0.0.1:0")
            .env("MCP_SERVE_TOKEN_FILE", token)
            .env("MCP_SERVE_LOG_FORMAT", "json")
            .env("MCP_SERVE_STATELESS", "yes")
            .env("MCP_SERVE_MAX_BODY", "2KiB")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        *prepare.command = alone;
    });
    let client = Client::new(&server, Era::Legacy, Some(TOKEN));
    assert_eq!(client.call_text("echo", &json!({"text": "x"})), "x\n");
    let large = client
        .start_call(1, "echo", &json!({"text": "x".repeat(2048)}))
        .read();
    assert_eq!(large.status, 413, "{large:?}");
}

#[test]
fn an_idle_timeout_without_sessions_is_worth_a_warning() {
    let warning = "--session-idle-timeout is ignored";
    let cases: [(&str, &[&str], Pairs<'_>, bool); 5] = [
        ("stateless", &["--stateless"], &[], false),
        (
            "flag",
            &["--stateless", "--session-idle-timeout=30m"],
            &[],
            true,
        ),
        (
            "variable",
            &["--stateless"],
            &[("MCP_SERVE_SESSION_IDLE_TIMEOUT", "5m")],
            true,
        ),
        ("not stateless", &["--session-idle-timeout=30m"], &[], false),
        (
            "both by variable",
            &[],
            &[
                ("MCP_SERVE_STATELESS", "1"),
                ("MCP_SERVE_SESSION_IDLE_TIMEOUT", "none"),
            ],
            true,
        ),
    ];
    for (name, options, variables, expected) in cases {
        let server = TestServer::start_with(TOOLS, options, |prepare| {
            prepare.command.envs(variables.iter().copied());
        });
        // Warnings come before the address, which is in the log by now.
        let log = server.log();
        let warned = log.iter().filter(|line| line.contains(warning)).count();
        assert_eq!(warned, usize::from(expected), "{name}: {log:#?}");
    }
}

#[test]
fn a_token_counts_in_one_place_only() {
    let server = TestServer::with_token(TOOLS, &[]);
    let bearer = format!("Bearer {TOKEN}");
    let wrong = format!("Bearer {}x", &TOKEN[..TOKEN.len() - 1]);
    let authorization = |value: &str| vec![("Authorization", value.to_owned())];
    let cases = [
        ("right", authorization(&bearer), 200),
        ("lower case", authorization(&format!("bearer {TOKEN}")), 200),
        ("upper case", authorization(&format!("BEARER {TOKEN}")), 200),
        ("wrong", authorization(&wrong), 401),
        (
            "a beginning",
            authorization(&bearer[..bearer.len() - 1]),
            401,
        ),
        ("longer", authorization(&format!("{bearer}x")), 401),
        (
            "another case",
            authorization(&format!("Bearer {}", TOKEN.to_uppercase())),
            401,
        ),
        (
            "another scheme",
            authorization(&format!("Basic {TOKEN}")),
            401,
        ),
        ("no scheme", authorization(TOKEN), 401),
        ("scheme alone", authorization("Bearer"), 400),
        (
            "two spaces",
            authorization(&format!("Bearer  {TOKEN}")),
            400,
        ),
        (
            "two tokens",
            authorization(&format!("{bearer} {TOKEN}")),
            400,
        ),
        ("quoted", authorization(&format!("Bearer \"{TOKEN}\"")), 400),
        (
            "not ASCII",
            authorization("Bearer tökentökentökentökentöken"),
            400,
        ),
        ("tab", authorization(&format!("Bearer\t{TOKEN}")), 401),
        (
            "twice",
            vec![
                ("Authorization", bearer.clone()),
                ("Authorization", bearer.clone()),
            ],
            400,
        ),
        (
            "right and wrong",
            vec![
                ("Authorization", bearer.clone()),
                ("Authorization", wrong.clone()),
            ],
            400,
        ),
        (
            "cookie",
            vec![("Cookie", format!("access_token={TOKEN}"))],
            401,
        ),
        ("another header", vec![("X-Api-Key", TOKEN.to_owned())], 401),
        ("proxy", vec![("Proxy-Authorization", bearer.clone())], 401),
        ("session", vec![("Mcp-Session-Id", TOKEN.to_owned())], 401),
    ];
    let body = initialize("2025-11-25").to_string();
    for (name, credential, expected) in cases {
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(
            credential
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        );
        let mut http = Http::connect(server.address());
        let response = http.request("POST", "/mcp", &headers, &body);
        assert_eq!(response.status, expected, "{name}: {response:?}");
        let challenge = response.header("www-authenticate");
        match expected {
            200 => assert_eq!(challenge, None, "{name}"),
            _ => assert!(
                challenge.is_some_and(|c| c.starts_with("Bearer ")),
                "{name}"
            ),
        }
    }
    let form = format!("access_token={TOKEN}");
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let mut http = Http::connect(server.address());
    assert_eq!(
        http.request("POST", "/mcp", &headers, &form).status,
        401,
        "form"
    );
}

#[test]
fn the_token_is_seen_nowhere() {
    let mut server = TestServer::with_token(TOOLS, &["--log-level", "trace"]);
    let mut seen = Vec::new();
    for era in ERAS {
        let client = Client::new(&server, era, Some(TOKEN));
        seen.push(("environment", client.call_text("env", &json!({}))));
        seen.push((
            "command line of a tool",
            client.call_text("cmdline", &json!({})),
        ));
        seen.push(("wrong arguments", client.call_error("echo", &json!({}))));
        let unknown = client.start_call(1, "unknown", &json!({})).read();
        seen.push(("unknown tool", format!("{unknown:?}")));
        let unknown = client.request("unknown/method", &json!({}));
        seen.push(("unknown method", format!("{unknown:?}")));
    }
    let bearer = format!("Bearer {TOKEN}");
    let basic = format!("Basic {TOKEN}");
    let twice = format!("{bearer} {TOKEN}");
    let cookie = format!("token={TOKEN}");
    let path = format!("/mcp?access_token={TOKEN}");
    let requests: [(&str, &str, Pairs<'_>); 9] = [
        ("no content type", "/mcp", &[("Authorization", &bearer)]),
        ("another path", "/x", &[("Authorization", &bearer)]),
        ("basic", "/mcp", &[("Authorization", &basic)]),
        ("malformed", "/mcp", &[("Authorization", &twice)]),
        (
            "twice",
            "/mcp",
            &[("Authorization", &bearer), ("Authorization", &bearer)],
        ),
        ("query", &path, &[]),
        ("cookie", "/mcp", &[("Cookie", &cookie)]),
        (
            "session",
            "/mcp",
            &[("Mcp-Session-Id", TOKEN), ("Authorization", &bearer)],
        ),
        (
            "another origin",
            "/mcp",
            &[
                ("Origin", "https://evil.example"),
                ("Authorization", &bearer),
            ],
        ),
    ];
    for method in ["GET", "POST", "DELETE", "PUT"] {
        for (name, path, headers) in requests {
            let mut http = Http::connect(server.address());
            let response = http.request(method, path, headers, "{}");
            assert_ne!(response.status, 200, "{method} {name}: {response:?}");
            seen.push((name, format!("{response:?}")));
        }
    }
    // Written to the log only below its usual level.
    let cancelled = json!({
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": TOKEN, "reason": TOKEN}
    });
    let client = Client::new(&server, Era::Legacy, Some(TOKEN));
    assert_eq!(client.post_message(&cancelled).status, 202);
    for file in ["cmdline", "environ"] {
        let content = fs::read(format!("/proc/{}/{file}", server.pid())).unwrap();
        assert!(!content.is_empty(), "{file}");
        seen.push((file, String::from_utf8(content).unwrap()));
    }
    server.signal("USR1");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    server.wait_for_log("shutdown complete");
    let log = server.log();
    assert!(
        log.iter().any(|line| line.contains("\"level\":\"DEBUG\"")),
        "{log:#?}"
    );
    seen.push(("log", log.join("\n")));
    for (name, text) in seen {
        assert!(!text.contains(TOKEN), "{name}: {text}");
    }
}
