//! Files, sockets and processes that a tool in a sandbox can reach, and those that it cannot.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener};

use mcp_serve::protocol::version::Era;
use serde_json::json;

use super::{start, start_with};
use crate::support::{Prepare, TestServer, write_token};

/// Says what came of each attempt, on a line of its own: `ok`, or the name of the error.
const ATTEMPT: &str = r#"
import errno, os, socket, sys
def attempt(name, work):
    try:
        work()
        print(name, "ok")
    except OSError as error:
        print(name, errno.errorcode[error.errno])
"#;

/// A script of python that makes attempts, for the `run` of a definition.
fn attempts(lines: &str) -> String {
    let script = format!("{ATTEMPT}{lines}");
    let lines = script.lines().map(|line| format!("        {line}\n"));
    format!(
        "    script:\n      shell: python3\n      run: |\n{}",
        lines.collect::<String>()
    )
}

fn assert_lines(said: &str, expected: &[(&str, &str)]) {
    let said: Vec<_> = said.lines().collect();
    let expected: Vec<_> = (expected.iter())
        .map(|(name, outcome)| format!("{name} {outcome}"))
        .collect();
    assert_eq!(said, expected);
}

/// A folder with what may be read, what may be written, and what may not be reached.
fn fill(prepare: &mut Prepare<'_>) {
    for name in ["data", "data/below", "data-evil", "out", "outside"] {
        fs::create_dir_all(prepare.folder.join(name)).unwrap();
    }
    for name in [
        "data/a",
        "data/below/b",
        "data-evil/c",
        "out/d",
        "outside/e",
    ] {
        fs::write(prepare.folder.join(name), "held\n").unwrap();
    }
    symlink("../outside/e", prepare.folder.join("data/link")).unwrap();
    symlink("../outside", prepare.folder.join("out/link")).unwrap();
    let token = write_token(prepare.folder);
    prepare.command.arg("--token-file").arg(token);
    let audit = prepare.folder.join("audit.log");
    prepare.command.arg("--audit").arg(audit);
}

#[test]
fn files_are_reached_as_the_definition_says_and_no_further() {
    let script = attempts(
        r#"
here = os.environ["INPUT_HERE"]
def path(name): return os.path.join(here, name)
def read(name): return lambda: open(path(name)).read()
def write(name): return lambda: open(path(name), "a").write("x")
attempt("read", read("data/a"))
attempt("read below", read("data/below/b"))
attempt("list", lambda: os.listdir(path("data")))
attempt("append to what is read", write("data/a"))
attempt("cut what is read", lambda: os.truncate(path("data/a"), 0))
attempt("make beside what is read", write("data/new"))
attempt("remove what is read", lambda: os.remove(path("data/a")))
attempt("read a link that leads out", read("data/link"))
attempt("climb", read("data/../outside/e"))
attempt("twin prefix", read("data-evil/c"))
attempt("write", write("out/d"))
attempt("read what is written", read("out/d"))
attempt("make", write("out/new"))
attempt("cut", lambda: os.truncate(path("out/d"), 0))
attempt("remove", lambda: os.remove(path("out/new")))
attempt("write over a link that leads out", write("out/link/e"))
attempt("move in", lambda: os.rename(path("outside/e"), path("out/e")))
attempt("move out", lambda: os.rename(path("out/d"), path("outside/d")))
attempt("link in", lambda: os.link(path("outside/e"), path("out/e")))
attempt("definitions", read("tools.yaml"))
attempt("definitions to write", write("tools.yaml"))
attempt("token", read("token"))
attempt("audit log", read("audit.log"))
attempt("audit log to write", write("audit.log"))
attempt("audit log to cut", lambda: os.truncate(path("audit.log"), 0))
attempt("audit log to remove", lambda: os.remove(path("audit.log")))
attempt("list around", lambda: os.listdir(here))
attempt("/tmp", lambda: open("/tmp/sandbox-escape", "w"))
attempt("/etc/shadow", read("/etc/shadow"))
attempt("mode", lambda: os.chmod(path("out/d"), 0o755))
attempt("private folder", lambda: open("file", "w").write("x"))
import tempfile
attempt("temporary file", lambda: tempfile.TemporaryFile())
attempt("/dev/null", lambda: open("/dev/null", "w").write("x"))
attempt("/dev/urandom", lambda: open("/dev/urandom", "rb").read(1))
attempt("another program", lambda: os.stat("/bin/sh") and os.spawnv(os.P_WAIT, "/bin/sh", ["sh", "-c", "exit 0"]))
"#,
    );
    let tools = format!(
        "tools:\n  reach:\n    description: d\n    params: {{here: string}}\n{script}    \
         sandbox: {{fs: {{read: [data], write: [out]}}}}\n"
    );
    let Some(server) = start_files(&tools) else {
        return;
    };
    let client = server.client(Era::Modern).with_token(crate::support::TOKEN);
    let said = client.call_text("reach", &json!({"here": server.folder()}));
    assert_lines(
        &said,
        &[
            ("read", "ok"),
            ("read below", "ok"),
            ("list", "ok"),
            ("append to what is read", "EACCES"),
            ("cut what is read", "EACCES"),
            ("make beside what is read", "EACCES"),
            ("remove what is read", "EACCES"),
            ("read a link that leads out", "EACCES"),
            ("climb", "EACCES"),
            ("twin prefix", "EACCES"),
            ("write", "ok"),
            ("read what is written", "ok"),
            ("make", "ok"),
            ("cut", "ok"),
            ("remove", "ok"),
            ("write over a link that leads out", "EACCES"),
            ("move in", "EACCES"),
            ("move out", "EACCES"),
            ("link in", "EXDEV"),
            ("definitions", "EACCES"),
            ("definitions to write", "EACCES"),
            ("token", "EACCES"),
            ("audit log", "EACCES"),
            ("audit log to write", "EACCES"),
            ("audit log to cut", "EACCES"),
            ("audit log to remove", "EACCES"),
            ("list around", "EACCES"),
            ("/tmp", "EACCES"),
            ("/etc/shadow", "EACCES"),
            ("mode", "ok"),
            ("private folder", "ok"),
            ("temporary file", "ok"),
            ("/dev/null", "ok"),
            ("/dev/urandom", "ok"),
            ("another program", "ok"),
        ],
    );
}

/// What a call may write it may swap for a link; the next call must not be given what that leads to,
/// by whatever name its folder is known.
#[test]
fn a_link_that_a_call_left_opens_nothing_to_the_next() {
    let script = attempts(
        r#"
here = os.environ["INPUT_HERE"]
sub = os.path.join(here, "out/sub")
os.rename(sub, sub + ".old")
os.symlink("../outside", sub)
print("swapped")
"#,
    );
    for writable in ["out", "alias", "long/../alias/."] {
        let tools = format!(
            "tools:
  swap:
    description: d
    params: {{here: string}}
{script}    \
             sandbox: {{fs: {{read: [alias/sub, out/sub], write: [{writable}]}}}}
"
        );
        let server = start_with(&tools, &[], |prepare| {
            fill(prepare);
            for name in ["out/sub", "long"] {
                fs::create_dir_all(prepare.folder.join(name)).unwrap();
            }
            symlink("out", prepare.folder.join("alias")).unwrap();
        });
        let Some(server) = server else { return };
        let client = server.client(Era::Modern).with_token(crate::support::TOKEN);
        let arguments = json!({"here": server.folder()});
        assert_eq!(client.call_text("swap", &arguments), "swapped\n");
        let told = client.call_error("swap", &arguments);
        let expected = "its sandbox could not be made";
        assert!(told.contains(expected), "{writable}: {told}");
    }
}

/// Case P08: what a parameter names is judged before the program opens it. What was swapped in between
/// is out of reach all the same.
#[test]
fn a_path_that_is_swapped_for_a_link_leads_nowhere() {
    let tools = "
tools:
  late:
    description: d
    exec:
      - sh
      - -c
      - 'touch \"$1/started\"; until [ -e \"$1/go\" ] || [ ! -e \"$1/started\" ]; do sleep 0.02; done; cat \"$2\"'
      - sh
      - '{here}'
      - '{file}'
    params: {here: string, file: {type: path, root: data}}
    sandbox: {fs: {write: [out]}}
";
    let Some(server) = start_files(tools) else {
        return;
    };
    let client = server.client(Era::Modern).with_token(crate::support::TOKEN);
    let (file, out) = (server.folder().join("data/a"), server.folder().join("out"));
    let late = || client.start_call(1, "late", &json!({"here": out, "file": "a"}));
    fs::write(out.join("go"), "").unwrap();
    let told = late().read().json()["result"]["content"][0]["text"].clone();
    assert_eq!(told, "held\n");
    for name in ["go", "started"] {
        fs::remove_file(out.join(name)).unwrap();
    }
    let mut call = late();
    let runs = crate::support::eventually(|| out.join("started").exists().then_some(()));
    assert!(runs.is_some(), "it does not start");
    fs::remove_file(&file).unwrap();
    symlink("../outside/e", &file).unwrap();
    fs::write(out.join("go"), "").unwrap();
    let told = call.read().json()["result"]["content"][0]["text"].clone();
    let told = told.as_str().unwrap();
    assert!(told.contains("Permission denied"), "{told}");
}

/// A server behind a token, in the folder that [`fill`] makes.
fn start_files(tools: &str) -> Option<TestServer> {
    start_with(tools, &[], fill)
}

#[test]
fn what_a_definition_names_can_be_read_without_a_word() {
    let tools = "
tools:
  workdir:
    description: d
    exec: cat a below/b
    workdir: data
    sandbox: true
  root:
    description: d
    exec: cat {file}
    params: {file: {type: path, root: data}}
    sandbox: true
  program:
    description: d
    exec: ./outside/run.sh
    sandbox: true
  elsewhere:
    description: d
    exec: cat ../outside/e
    workdir: data
    sandbox: true
";
    let server = start_with(tools, &[], |prepare| {
        fill(prepare);
        crate::support::write_script(&prepare.folder.join("outside"), "run.sh", "echo ran");
    });
    let Some(server) = server else { return };
    let client = server.client(Era::Modern).with_token(crate::support::TOKEN);
    assert_eq!(client.call_text("workdir", &json!({})), "held\nheld\n");
    assert_eq!(client.call_text("root", &json!({"file": "a"})), "held\n");
    assert_eq!(client.call_text("program", &json!({})), "ran\n");
    let told = client.call_error("elsewhere", &json!({}));
    assert!(told.contains("Permission denied"), "{told}");
}

#[test]
fn sockets_are_made_as_the_definition_says() {
    let script = attempts(
        r#"
kinds = {"tcp": (socket.AF_INET, socket.SOCK_STREAM), "udp": (socket.AF_INET, socket.SOCK_DGRAM),
    "tcp6": (socket.AF_INET6, socket.SOCK_STREAM), "udp6": (socket.AF_INET6, socket.SOCK_DGRAM),
    "netlink": (socket.AF_NETLINK, socket.SOCK_RAW), "unix": (socket.AF_UNIX, socket.SOCK_STREAM)}
for name, (family, kind) in kinds.items():
    attempt(name, lambda: socket.socket(family, kind))
attempt("pair", lambda: socket.socketpair())
port = int(os.environ["INPUT_PORT"])
attempt("tcp connection", lambda: socket.create_connection(("127.0.0.1", port)))
def send(kind, address):
    socket.socket(kind, socket.SOCK_DGRAM).sendto(b"READY=1", address)
attempt("udp message", lambda: send(socket.AF_INET, ("127.0.0.1", int(os.environ["INPUT_UDP"]))))
attempt("unix message", lambda: send(socket.AF_UNIX, os.environ["INPUT_NOTIFY"]))
def pair(): socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"READY=1", os.environ["INPUT_NOTIFY"])
attempt("message of a pair", pair)
def connect(): socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect("\0" + os.environ["INPUT_ABSTRACT"])
attempt("abstract", connect)
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def ring():
    if libc.syscall(425, 0, 0) < 0: raise OSError(ctypes.get_errno(), "io_uring_setup")
attempt("ring", ring)
def shared(name, *arguments):
    def work():
        if getattr(libc, name)(*arguments) < 0: raise OSError(ctypes.get_errno(), name)
    attempt(name, work)
PRIVATE = 0
shared("shmget", PRIVATE, 4096, 0o600)
shared("msgget", PRIVATE, 0o600)
shared("semget", PRIVATE, 1, 0o600)
"#,
    );
    let tool = |net: &str| {
        format!(
            "  {net}:\n    description: d\n    params: {{port: integer, udp: integer, notify: string, abstract: string}}\n{script}    \
             sandbox: {{net: {net}}}\n"
        )
    };
    let tools = ["none", "unix", "allowed"].map(tool).concat();
    let Some(server) = start(&format!("tools:\n{tools}")) else {
        return;
    };
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let notify = server.folder().join("notify");
    let socket = UnixDatagram::bind(&notify).unwrap();
    socket.set_nonblocking(true).unwrap();
    let name = format!("mcp-serve-test-{}", server.pid());
    let address =
        <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(
            &name,
        );
    let abstract_socket = UnixListener::bind_addr(&address.unwrap()).unwrap();
    let client = server.client(Era::Modern);
    let arguments = json!({
        "port": tcp.local_addr().unwrap().port(),
        "udp": udp.local_addr().unwrap().port(),
        "notify": notify,
        "abstract": name,
    });
    let denied = "EACCES";
    for (net, internet, unix) in [
        ("none", denied, denied),
        ("unix", denied, "ok"),
        ("allowed", "ok", "ok"),
    ] {
        let said = client.call_text(net, &arguments);
        let said: Vec<_> = said.lines().collect();
        let outcome = |name: &str| {
            let line = said
                .iter()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{net}: {name}: {said:?}"))
        };
        for name in ["tcp", "udp", "udp message", "tcp connection", "netlink"] {
            assert_eq!(outcome(name), internet, "{net} {name}");
        }
        for name in ["tcp6", "udp6"] {
            let is_denied = outcome(name) == denied;
            // A machine may have no such addresses.
            assert_eq!(is_denied, internet == denied, "{net} {name}");
        }
        for name in ["unix", "unix message", "message of a pair"] {
            assert_eq!(outcome(name), unix, "{net} {name}");
        }
        assert_eq!(outcome("pair"), "ok", "{net}");
        assert_eq!(outcome("ring") == denied, net != "allowed", "{net}");
        for name in ["shmget", "msgget", "semget"] {
            assert_eq!(outcome(name) == denied, net == "none", "{net} {name}");
        }
        let expected = if net == "none" { denied } else { "EPERM" };
        assert_eq!(outcome("abstract"), expected, "{net}");
        let mut message = [0; 16];
        assert_eq!(socket.recv(&mut message).is_ok(), unix == "ok", "{net}");
    }
    drop(abstract_socket);
}

/// The shared user is what makes it possible without a sandbox.
#[test]
fn the_server_is_out_of_reach() {
    let script = attempts(
        r#"
import ctypes, signal, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    def work():
        if getattr(libc, name)(*arguments) < 0: raise OSError(ctypes.get_errno(), name)
    return work
server = int(os.environ["INPUT_SERVER"])
other = int(os.environ["INPUT_OTHER"])
for name, pid in {"server": server, "parent": os.getppid(), "other": other}.items():
    attempt(name + " kill", lambda: os.kill(pid, signal.SIGTERM))
    attempt(name + " stop", lambda: os.kill(pid, signal.SIGSTOP))
    for file in ["environ", "mem", "maps"]:
        attempt(name + " " + file, lambda: open(f"/proc/{pid}/{file}", "rb").read(1))
    attempt(name + " descriptor", lambda: os.readlink(f"/proc/{pid}/fd/1"))
    attempt(name + " its file", lambda: open(f"/proc/{pid}/fd/1"))
    attempt(name + " root", lambda: os.readlink(f"/proc/{pid}/root"))
    attempt(name + " ptrace", call("ptrace", 16, pid, 0, 0))
    attempt(name + " limits", call("prlimit", pid, 7, bytes(16), None))
    attempt(name + " nice", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
    attempt(name + " idle", lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)))
    attempt(name + " processors", lambda: os.sched_setaffinity(pid, [0]))
attempt("nice of all", lambda: os.setpriority(os.PRIO_USER, 0, 19))
attempt("keys", lambda: call("syscall", {"x86_64": 250, "aarch64": 219}[os.uname().machine], 0, -3, 1)())
attempt("group", lambda: os.killpg(os.getpgid(server), 0))
attempt("own child", lambda: subprocess.Popen(["sleep", "60"]).kill())
attempt("own limits", call("prlimit", 0, 7, None, bytes(16)))
attempt("own nice", lambda: os.nice(1))
"#,
    );
    let tools = format!(
        "tools:\n  attack:\n    description: d\n    params: {{server: integer, other: integer}}\n{script}    \
         sandbox: {{net: allowed}}\n  other: {{description: d, exec: sleep 60}}\n"
    );
    let Some(server) = start(&tools) else { return };
    let client = server.client(Era::Modern);
    let waiting = client.start_call(2, "other", &json!({}));
    let other = crate::support::eventually(|| server.descendants().first().copied()).unwrap();
    let arguments = json!({"server": server.pid(), "other": other});
    let said = client.call_text("attack", &arguments);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 3 * 13 + 6, "{said}");
    let (allowed, denied): (Vec<&str>, Vec<&str>) =
        lines.iter().partition(|line| line.ends_with(" ok"));
    assert_eq!(
        allowed,
        ["own child ok", "own limits ok", "own nice ok"],
        "{said}"
    );
    for line in denied {
        let is_refused = line.ends_with(" EPERM") || line.ends_with(" EACCES");
        assert!(is_refused, "{line}");
    }
    drop(waiting);
    // It lives, and answers.
    let again = client.call_text("attack", &arguments);
    assert!(again.ends_with("own nice ok\n"), "{again}");
}
