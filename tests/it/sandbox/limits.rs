//! What a tool in a sandbox can use, and how it ends when it wants more.

use mcp_serve::protocol::version::Era;
use serde_json::json;

use super::start;
use crate::support::{command, run};

#[test]
fn a_tool_that_wants_too_much_is_stopped_by_its_limit() {
    let tools = r"
tools:
  spin:
    description: d
    exec: sh -c 'while :; do :; done'
    sandbox: {limits: {cpu: 1s}}
  deaf_to_xcpu:
    description: d
    exec: sh -c 'trap true XCPU; while :; do :; done'
    sandbox: {limits: {cpu: 1s}}
  memory:
    description: d
    script: {shell: python3, run: 'bytes(10 << 30)'}
    sandbox: {limits: {memory: 256MiB}}
  file:
    description: d
    exec: sh -c 'exec head -c 10000000000 /dev/zero > big'
    sandbox: {limits: {fsize: 1MiB}}
  default_file:
    description: d
    script: {shell: python3, run: 'open(''big'', ''w'').truncate(10 << 30)'}
    sandbox: true
  descriptors:
    description: d
    script: {shell: python3, run: 'files = [open(''/dev/null'') for at in range(100000)]'}
    sandbox: true
";
    let Some(server) = start(tools) else { return };
    let client = server.client(Era::Modern);
    let cases = [
        ("spin", "the tool used more processor time than it may"),
        ("deaf_to_xcpu", "the tool was terminated by signal 9"),
        ("memory", "MemoryError"),
        ("file", "the tool wrote a larger file than it may"),
        ("default_file", "File too large"),
        ("descriptors", "Too many open files"),
    ];
    for (tool, expected) in cases {
        let told = client.call_error(tool, &json!({}));
        assert!(told.contains(expected), "{tool}: {told}");
    }
    assert!(server.descendants().is_empty());
}

/// It holds for everybody but root, and for root the definition is refused.
#[test]
fn a_tool_starts_so_many_processes_and_no_more() {
    const TOOLS: &str = "
tools:
  bomb:
    description: Starts processes that wait, and says how many there are.
    script:
      shell: python3
      run: |
        import os, time
        started = 0
        try:
            while started < 100:
                if os.fork() == 0:
                    time.sleep(60)
                    os._exit(0)
                started += 1
        except OSError as error:
            print(error.strerror)
        print(started)
        os.killpg(0, 9) if started == 100 else None
    sandbox: {limits: {processes: 8}}
";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tools.yaml");
    std::fs::write(&file, TOOLS).unwrap();
    let checked = run(command().arg("check").arg("--tools").arg(&file));
    let Some(server) = start(TOOLS) else {
        let why = "the kernel does not count the processes of root";
        let is_root = rustix::process::getuid().is_root();
        assert_eq!(checked.stderr.contains(why), is_root, "{checked:?}");
        return;
    };
    let told = server.client(Era::Modern).call_text("bomb", &json!({}));
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(
        lines.first(),
        Some(&"Resource temporarily unavailable"),
        "{told}"
    );
}
