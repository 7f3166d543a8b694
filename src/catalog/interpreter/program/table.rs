//! What is known of programs by their names.

use super::{Means, Operands, Program, Subcommands};

/// Programs that run a script of the shell's language, or one like it.
const SHELLS: &[&str] = &[
    "ash", "bash", "csh", "dash", "fish", "ksh", "mksh", "sh", "tcsh", "zsh",
];

/// What docker, podman and nerdctl run programs by.
const CONTAINERS: Program = Program {
    options: &[(
        Means::Flag,
        &[
            "-D",
            "-P",
            "-T",
            "-d",
            "-i",
            "-q",
            "-t",
            "--build",
            "--debug",
            "--detach",
            "--env-host",
            "--init",
            "--interactive",
            "--no-TTY",
            "--no-deps",
            "--no-healthcheck",
            "--no-hosts",
            "--oom-kill-disable",
            "--privileged",
            "--publish-all",
            "--quiet",
            "--quiet-pull",
            "--read-only",
            "--remote",
            "--remove-orphans",
            "--replace",
            "--rm",
            "--rmi",
            "--service-ports",
            "--tls",
            "--tlsverify",
            "--tty",
            "--use-aliases",
        ],
    )],
    others: Means::Value,
    operands: Operands::Subcommand(Subcommands {
        groups: &["compose", "container"],
        runs: &["exec"],
        images: &["run"],
        own: &[],
        before: 1,
    }),
};

/// What kubectl and oc run programs by.
const CLUSTERS: Program = Program {
    options: &[(
        Means::Flag,
        &[
            "-i",
            "-q",
            "-t",
            "--attach",
            "--command",
            "--expose",
            "--insecure-skip-tls-verify",
            "--leave-stdin-open",
            "--privileged",
            "--quiet",
            "--rm",
            "--share-processes",
            "--stdin",
            "--tty",
        ],
    )],
    others: Means::Value,
    operands: Operands::Subcommand(Subcommands {
        groups: &[],
        runs: &["exec"],
        images: &["debug", "run"],
        own: &[],
        before: 1,
    }),
};

impl Program {
    /// What is known of a program; nothing of most.
    #[expect(clippy::too_many_lines, reason = "one table")]
    pub(in crate::catalog::interpreter) fn named(name: &str) -> Option<Self> {
        use Means::{Attached, Code, Command, File, Prelude, Rest, Script, Setting, Stdin, Value};
        use Operands::{Data, Expanded, Other, ShellWords, Somewhere, Statements, Subcommand};
        let (options, operands): (&[(Means, &[&str])], Operands) = match family(name) {
            name if SHELLS.contains(&name) => (
                &[
                    (Command, &["-c", "--command"]),
                    (Stdin, &["-s"]),
                    (Value, &["-O", "-o", "+O", "+o", "--init-file", "--rcfile"]),
                ],
                Operands::Script,
            ),
            "pwsh" | "powershell" => (
                &[
                    (Rest, &["-c", "-Command", "-command"]),
                    (Code, &["-e", "-EncodedCommand"]),
                    (Script, &["-File", "-f"]),
                    (Value, &["-ExecutionPolicy", "-WorkingDirectory"]),
                ],
                Operands::Script,
            ),
            "python" | "pypy" | "ipython" => (
                &[
                    (Command, &["-c"]),
                    (Script, &["-m"]),
                    (Value, &["-Q", "-W", "-X"]),
                ],
                Operands::Script,
            ),
            "perl" => (
                &[
                    (Code, &["-e", "-E"]),
                    (Prelude, &["-M", "-m"]),
                    (Attached, &["-F", "-I", "-i"]),
                ],
                Operands::Script,
            ),
            "ruby" => (
                &[
                    (Code, &["-e"]),
                    (Prelude, &["-r"]),
                    (Value, &["-C", "-E", "-F", "-I"]),
                ],
                Operands::Script,
            ),
            "node" | "nodejs" | "bun" => (
                &[
                    (Code, &["-e", "--eval", "-p", "-pe", "--print"]),
                    (Prelude, &["-r", "--import", "--loader", "--require"]),
                    (Value, &["-C", "--conditions", "--env-file", "--title"]),
                ],
                Operands::Script,
            ),
            "php" => (
                &[
                    (Code, &["-B", "-E", "-R", "-r"]),
                    (Script, &["-f"]),
                    (Value, &["-S", "-c", "-d", "-t", "-z"]),
                ],
                Operands::Script,
            ),
            "julia" | "elixir" => (
                &[(Code, &["-E", "-e", "--eval", "--print"])],
                Operands::Script,
            ),
            "Rscript" | "groovy" | "osascript" => (&[(Code, &["-e"])], Operands::Script),
            "lua" | "luajit" => (&[(Prelude, &["-e", "-l"])], Operands::Script),
            "expect" => (&[(Prelude, &["-c"])], Operands::Script),
            "deno" => (&[(Code, &["eval"])], Data),
            "dc" => (&[(Code, &["-e"]), (Value, &["-f"])], Data),
            "nix-shell" => (&[(Code, &["--command", "--run"])], Data),
            "script" => (&[(Code, &["-c", "--command"])], Data),
            "vi" | "vim" | "nvim" | "ex" => (&[(Code, &["-c", "--cmd"])], Data),
            "gdb" => (
                &[(
                    Code,
                    &["-ex", "-iex", "--eval-command", "--init-eval-command"],
                )],
                Data,
            ),
            // A client of a database runs programs too: `\!`, `.shell`, `COPY … TO PROGRAM`.
            "psql" => (
                &[
                    (Code, &["-c", "--command"]),
                    (
                        Value,
                        &[
                            "-F", "-L", "-P", "-R", "-T", "-U", "-d", "-f", "-h", "-o", "-p", "-v",
                        ],
                    ),
                ],
                Data,
            ),
            "mysql" | "mariadb" => (
                &[
                    (Code, &["-e", "--execute"]),
                    (Value, &["-D", "-P", "-S", "-h", "-u"]),
                    (Attached, &["-p"]),
                ],
                Data,
            ),
            "mongo" | "mongosh" => (&[(Code, &["--eval"])], Data),
            "sqlite" => (
                &[
                    (Code, &["-cmd"]),
                    (Value, &["-init", "-newline", "-nullvalue", "-separator"]),
                ],
                Statements(1),
            ),
            "awk" | "gawk" | "mawk" | "nawk" => (
                &[
                    (Code, &["-e", "--source"]),
                    (File, &["-f", "--file"]),
                    (Value, &["-F", "-v", "--assign", "--field-separator"]),
                ],
                Operands::Code,
            ),
            "sed" | "gsed" => (
                &[
                    (Code, &["-e", "--expression"]),
                    (File, &["-f", "--file"]),
                    (Value, &["-l", "--line-length"]),
                    (Attached, &["-i"]),
                ],
                Operands::Code,
            ),
            "git" => (
                &[
                    (Setting, &["-c"]),
                    (Value, &["-C", "--git-dir", "--namespace", "--work-tree"]),
                ],
                Other,
            ),
            // A shell at the other end reads the words again.
            "ssh" => (
                &[
                    (Setting, &["-o"]),
                    (
                        Value,
                        &[
                            "-B", "-D", "-E", "-F", "-I", "-J", "-L", "-O", "-P", "-R", "-S", "-W",
                            "-b", "-c", "-e", "-i", "-l", "-m", "-p", "-w",
                        ],
                    ),
                ],
                ShellWords(1),
            ),
            "eval" => (&[], ShellWords(0)),
            "watch" => (
                &[(Value, &["-n", "-q", "--interval", "--equexit"])],
                ShellWords(0),
            ),
            "parallel" => (
                &[(Value, &["-N", "-a", "-j", "-n", "--jobs"])],
                ShellWords(0),
            ),
            // A variable of `make` is expanded, and `$(shell …)` in it is run.
            "make" | "gmake" => (&[], Expanded),
            "find" => (
                &[(Means::Program, &["-exec", "-execdir", "-ok", "-okdir"])],
                Data,
            ),
            "busybox" | "nohup" | "setsid" | "time" => (&[], Operands::Program(0)),
            "chroot" | "taskset" => (&[], Operands::Program(1)),
            "chrt" => (&[(Value, &["-D", "-P", "-T"])], Operands::Program(1)),
            "doas" => (&[(Value, &["-C", "-u"])], Operands::Program(0)),
            "env" => (
                &[
                    (Prelude, &["-S", "--split-string"]),
                    (Value, &["-C", "-u", "--chdir", "--unset"]),
                ],
                Operands::Program(0),
            ),
            "flock" => (
                &[
                    (Code, &["-c", "--command"]),
                    (Value, &["-E", "-w", "--conflict-exit-code", "--timeout"]),
                ],
                Operands::Program(1),
            ),
            "ionice" => (
                &[(Value, &["-c", "-n", "-t", "--class", "--classdata"])],
                Operands::Program(0),
            ),
            "nice" => (&[(Value, &["-n", "--adjustment"])], Operands::Program(0)),
            "npx" => (
                &[(Code, &["-c", "--call"]), (Value, &["-p", "--package"])],
                Operands::Program(0),
            ),
            "stdbuf" => (
                &[(Value, &["-e", "-i", "-o", "--error", "--input", "--output"])],
                Operands::Program(0),
            ),
            "sudo" => (
                &[(
                    Value,
                    &[
                        "-C", "-D", "-R", "-T", "-U", "-g", "-h", "-p", "-r", "-t", "-u",
                        "--group", "--user",
                    ],
                )],
                Operands::Program(0),
            ),
            "timeout" => (
                &[(Value, &["-k", "-s", "--kill-after", "--signal"])],
                Operands::Program(1),
            ),
            "uvx" => (
                &[(Value, &["-p", "--from", "--python", "--with"])],
                Operands::Program(0),
            ),
            "xargs" => (
                &[(Value, &["-E", "-I", "-L", "-P", "-a", "-d", "-n", "-s"])],
                Operands::Program(0),
            ),
            "runuser" | "su" => (
                &[(Code, &["-c", "--command"]), (Value, &["-g", "-s", "-u"])],
                Somewhere,
            ),
            "bwrap" | "nsenter" | "setpriv" | "strace" | "systemd-run" | "unshare" => {
                (&[], Somewhere)
            }
            "cargo" => (&[], Subcommand(Subcommands::of(&[], &["run"]))),
            "npm" => (
                &[
                    (Code, &["-c", "--call"]),
                    (Value, &["--package", "--prefix"]),
                ],
                Subcommand(Subcommands::of(&["exec", "x"], &["run"])),
            ),
            "uv" => (
                &[
                    (Script, &["-m", "--module"]),
                    (
                        Value,
                        &[
                            "-p",
                            "--directory",
                            "--extra",
                            "--group",
                            "--project",
                            "--python",
                            "--with",
                        ],
                    ),
                ],
                Subcommand(Subcommands::of(&["run"], &[])),
            ),
            "docker" | "nerdctl" | "podman" => return Some(CONTAINERS),
            "kubectl" | "oc" => return Some(CLUSTERS),
            _ => return None,
        };
        Some(Self {
            options,
            others: Means::Flag,
            operands,
        })
    }
}

impl Subcommands {
    const fn of(runs: &'static [&'static str], own: &'static [&'static str]) -> Self {
        Self {
            groups: &[],
            runs,
            images: &[],
            own,
            before: 0,
        }
    }
}

/// Whether a program is a shell.
pub(in crate::catalog::interpreter) fn is_shell(program: &str) -> bool {
    SHELLS.contains(&base_name(program))
}

/// Whether a shell reads words of this program once more, and expands what they hold.
pub(in crate::catalog::interpreter) fn runs_a_shell(program: &str) -> bool {
    const READERS: &[&str] = &["parallel", "runuser", "ssh", "su", "watch"];
    is_shell(program) || READERS.contains(&base_name(program))
}

/// The name of a program without its folder and version: `python` for `/usr/bin/python3.12`.
fn family(program: &str) -> &str {
    base_name(program).trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-')
}

fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}
