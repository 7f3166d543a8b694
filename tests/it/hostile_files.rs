//! Definitions that were written, or can be changed, by somebody who means harm.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Run, TestServer, command, run};

/// What a refusal may take: 64 MiB. The code alone of a program that is not optimized takes 32 MiB.
const MOST_MEMORY_KIB: u64 = if cfg!(debug_assertions) {
    96 * 1024
} else {
    64 * 1024
};
/// The same in clock ticks of a hundredth of a second: one second, and ten for a program that is not
/// optimized.
const MOST_TIME_TICKS: u64 = if cfg!(debug_assertions) { 1000 } else { 100 };

fn serve(file: &Path) -> Command {
    let mut command = command();
    command
        .args(["--listen", "127.0.0.1:0"])
        .arg("--tools")
        .arg(file);
    command
}

/// What a run has used when it was last looked at.
#[derive(Debug, Default)]
struct Usage {
    memory_kib: u64,
    ticks: u64,
}

impl Usage {
    /// Looks at a process; what is gone uses nothing more.
    fn look(&mut self, process: u32) {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.trim().parse().ok());
        self.memory_kib = self.memory_kib.max(peak.unwrap_or(0));
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        // User and system time are the fields 14 and 15, and the first of these is the third.
        let times = fields.split(' ').skip(11).take(2);
        let ticks = times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        self.ticks = self.ticks.max(ticks);
    }
}

/// Runs until the end, and looks at the process all the time.
fn measure(command: &mut Command) -> (Option<i32>, String, Usage) {
    let said = tempfile::NamedTempFile::new().unwrap();
    let stderr = said.reopen().unwrap();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let mut usage = Usage::default();
    let status = loop {
        usage.look(child.id());
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
    };
    (
        status.code(),
        fs::read_to_string(said.path()).unwrap(),
        usage,
    )
}

#[test]
fn bombs_are_refused_soon_and_cheaply() {
    let folder = tempfile::tempdir().unwrap();
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..20 {
        let items = vec![format!("*a{}", n - 1); 9].join(", ");
        writeln!(aliases, "a{n}: &a{n} [{items}]").unwrap();
    }
    let keys = |count: usize| {
        let mut text = String::from("tools:\n");
        for n in 0..count {
            writeln!(text, " {n:x}:").unwrap();
        }
        text
    };
    let cases = [
        ("aliases", aliases, "more than 100000 values"),
        (
            "cycle",
            "tools: &a {t: *a}\n".to_owned(),
            "inside the value that it repeats",
        ),
        (
            "brackets",
            format!("tools: {}", "[".repeat(100_000)),
            "nest deeper than 64",
        ),
        (
            "braces",
            format!("tools: {}", "{a: ".repeat(100_000)),
            "nest deeper than 64",
        ),
        (
            "dashes",
            format!("tools:\n  {}x\n", "- ".repeat(100_000)),
            "nest deeper than 64",
        ),
        ("more keys than bytes", keys(1_000_000), "larger than 4 MiB"),
        (
            "a million keys",
            keys(1_000_000)[..4 << 20].to_owned(),
            "more than 100000 values",
        ),
        (
            "one line",
            format!("tools: [{}", "x, ".repeat(1_300_000)),
            "more than 100000 values",
        ),
        (
            "one word",
            format!("tools: {}", "x".repeat(4_000_000)),
            "must be a mapping",
        ),
        (
            "quotes",
            format!("tools: \"{}", "\\\"".repeat(2_000_000)),
            "E000",
        ),
    ];
    for (name, text, expected) in cases {
        let file = folder.path().join("tools.yaml");
        fs::write(&file, text).unwrap();
        assert_refused(name, &file, expected);
    }
    let huge = folder.path().join("huge.yaml");
    File::create(&huge).unwrap().set_len(1 << 30).unwrap();
    assert_refused("a gigabyte", &huge, "larger than 4 MiB");
    let including = folder.path().join("including.yaml");
    fs::write(&including, "include: [huge.yaml]\n").unwrap();
    assert_refused(
        "a gigabyte that is included",
        &including,
        "larger than 4 MiB",
    );
}

fn assert_refused(name: &str, file: &Path, expected: &str) {
    let (code, said, usage) = measure(&mut serve(file));
    let start: String = said.chars().take(2000).collect();
    assert_eq!(code, Some(2), "{name}: {start}");
    assert!(said.contains(expected), "{name}: {start}");
    assert!(
        said.len() < 64 * 1024,
        "{name} says {} bytes: {start}",
        said.len()
    );
    assert!(usage.memory_kib > 0, "{name} was looked at");
    assert!(usage.memory_kib <= MOST_MEMORY_KIB, "{name}: {usage:?}");
    assert!(usage.ticks <= MOST_TIME_TICKS, "{name}: {usage:?}");
}

/// The modes of a folder, of a file in it, and of a file that this one includes.
type Modes = (u32, u32, u32);

fn write(folder: &Path, modes: Modes) {
    let file = folder.join("tools.yaml");
    let included = folder.join("parts/a.yaml");
    fs::create_dir(folder.join("parts")).unwrap();
    fs::write(&file, "include: [parts/a.yaml]\n").unwrap();
    fs::write(&included, "tools: {t: {description: d, content: c}}\n").unwrap();
    let (folder_mode, mode, included_mode) = modes;
    for (path, mode) in [
        (folder, folder_mode),
        (&file, mode),
        (&included, included_mode),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn what_others_can_change_is_not_served() {
    let cases = [
        ((0o755, 0o644, 0o644), None),
        ((0o775, 0o664, 0o660), None),
        ((0o1777, 0o644, 0o644), None),
        (
            (0o755, 0o646, 0o644),
            Some(
                "error[E045]: FOLDER/tools.yaml: can be changed by anybody: its mode is 0646; \
                 run chmod o-w on it\n |\n",
            ),
        ),
        (
            (0o755, 0o644, 0o666),
            Some(
                "error[E045]: `FOLDER/parts/a.yaml`: can be changed by anybody: its mode is \
                 0666; run chmod o-w on it\n --> FOLDER/tools.yaml:1:11\n  |\n\
                 1 | include: [parts/a.yaml]\n  |           ^^^^^^^^^^^^\n  |\n ",
            ),
        ),
        (
            (0o777, 0o644, 0o644),
            Some(
                "error[E045]: FOLDER/tools.yaml: can be replaced by anybody: the mode of FOLDER \
                 is 0777; run chmod o-w on it\n |\n",
            ),
        ),
    ];
    for (modes, refused) in cases {
        let Some(problem) = refused else {
            TestServer::start_with("", &[], |prepare| write(prepare.folder, modes));
            continue;
        };
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), modes);
        let run = run(&mut serve(&folder.path().join("tools.yaml")));
        let Run { code, stderr, .. } = run;
        assert_eq!(code, Some(2), "{modes:?}: {stderr}");
        let stderr = stderr.replace(&folder.path().display().to_string(), "FOLDER");
        let help = " = help: it says what runs here; --insecure-permissions accepts it as it is\n";
        let expected = format!("{problem}{help}");
        assert!(stderr.contains(&expected), "{modes:?}: {stderr}");
        // It is a matter of permissions and nothing else.
        let options = ["--insecure-permissions"];
        TestServer::start_with("", &options, |prepare| write(prepare.folder, modes));
    }
}

#[test]
fn what_belongs_to_others_is_not_served() {
    if !rustix::process::geteuid().is_root() {
        // Only root can give a file away.
        return;
    }
    let modes = (0o755, 0o644, 0o644);
    let give_away = |folder: &Path| {
        write(folder, modes);
        std::os::unix::fs::chown(folder.join("tools.yaml"), Some(12_345), None).unwrap();
    };
    let folder = tempfile::tempdir().unwrap();
    give_away(folder.path());
    let Run { code, stderr, .. } = run(&mut serve(&folder.path().join("tools.yaml")));
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("belongs to user 12345"), "{stderr}");
    let options = ["--insecure-permissions"];
    TestServer::start_with("", &options, |prepare| give_away(prepare.folder));
}
