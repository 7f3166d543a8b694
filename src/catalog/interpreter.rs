//! Interpreters that would run a caller's text as a program.
//!
//! Passing values word by word is no protection where the word itself is code: after `sh -c`, in
//! an `awk` program, after `eval`. The list names what people reach for, not everything that can
//! execute; it guards against the slip, and a sandbox guards against the rest.

use super::template::{Declared, Slot, Template, Word};
use crate::document::diagnostic::{Code, Problem, Report};

/// Where an interpreter takes its code from.
#[derive(Clone, Copy)]
enum Takes {
    /// The word after one of these options, or the rest of the option's own word. A single
    /// letter may also end a cluster, as in `bash -lc`.
    After(&'static [&'static str]),
    /// The word after this option, which is `name=value` and stands before the first operand. Some names
    /// decide what is run. The list names options that take a word of their own.
    Setting(&'static str, &'static [&'static str]),
    /// The first operand, unless one of these options brings the code from a file. The second
    /// list names options that take a word of their own.
    FirstOperand {
        file: &'static [&'static str],
        code: &'static [&'static str],
        with_value: &'static [&'static str],
    },
    /// Every word that follows.
    Everything,
    /// Every word after the first operand. The list names options that take a word of their own.
    AfterFirstOperand(&'static [&'static str]),
}

/// Programs that run a script of the shell's language, or one like it.
const SHELLS: &[&str] = &[
    "ash", "bash", "csh", "dash", "fish", "ksh", "mksh", "sh", "tcsh", "zsh",
];

/// Other programs whose first operand is a script to run.
const LANGUAGES: &[&str] = &[
    "Rscript", "lua", "luajit", "node", "nodejs", "perl", "php", "pypy", "python", "ruby",
];

/// Programs that run another program named in their arguments.
const WRAPPERS: &[&str] = &[
    "busybox",
    "bwrap",
    "cargo",
    "chroot",
    "chrt",
    "doas",
    "docker",
    "env",
    "find",
    "flock",
    "ionice",
    "kubectl",
    "nerdctl",
    "nice",
    "nohup",
    "npm",
    "npx",
    "nsenter",
    "oc",
    "podman",
    "runuser",
    "setpriv",
    "setsid",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "systemd-run",
    "taskset",
    "time",
    "timeout",
    "unshare",
    "uv",
    "uvx",
    "xargs",
];

/// The options of `ssh` that take a word of their own.
const SSH_WITH_VALUE: &[&str] = &[
    "-B", "-b", "-c", "-D", "-E", "-e", "-F", "-I", "-i", "-J", "-L", "-l", "-m", "-O", "-o", "-P",
    "-p", "-R", "-S", "-W", "-w",
];

/// Wrappers that run another program by some of their subcommands only.
const WITH_SUBCOMMANDS: &[&str] = &[
    "cargo", "docker", "find", "kubectl", "nerdctl", "npm", "oc", "podman", "uv",
];

/// Those subcommands.
const RUNNING: &[&str] = &[
    "compose", "debug", "exec", "run", "x", "-exec", "-execdir", "-ok", "-okdir",
];

/// The most letters that are taken for a cluster of options.
const MAX_CLUSTER: usize = 5;

/// The name of a program without its folder and version: `python` for `/usr/bin/python3.12`.
fn family(program: &str) -> &str {
    base_name(program).trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-')
}

fn takes(program: &str) -> &'static [Takes] {
    match family(program) {
        "sh" | "ash" | "bash" | "csh" | "dash" | "fish" | "ksh" | "mksh" | "tcsh" | "zsh"
        | "su" | "runuser" | "flock" | "script" | "psql" => &[Takes::After(&["-c", "--command"])],
        "pwsh" | "powershell" => &[Takes::After(&[
            "-c",
            "-Command",
            "-command",
            "-e",
            "-EncodedCommand",
        ])],
        "env" => &[Takes::After(&["-S", "--split-string"])],
        "python" | "pypy" | "ipython" | "expect" => &[Takes::After(&["-c"])],
        "perl" => &[Takes::After(&["-e", "-E"])],
        "ruby" | "lua" | "luajit" | "Rscript" | "osascript" | "groovy" | "dc" => {
            &[Takes::After(&["-e"])]
        }
        "julia" | "elixir" => &[Takes::After(&["-e", "-E", "--eval", "--print"])],
        "node" | "nodejs" | "bun" => &[Takes::After(&["-e", "--eval", "-p", "--print"])],
        "deno" => &[Takes::After(&["eval"])],
        "php" => &[Takes::After(&["-r", "-B", "-R", "-E"])],
        "nix-shell" => &[Takes::After(&["--run", "--command"])],
        "vi" | "vim" | "nvim" | "ex" => &[Takes::After(&["-c", "--cmd"])],
        "gdb" => &[Takes::After(&[
            "-ex",
            "-iex",
            "--eval-command",
            "--init-eval-command",
        ])],
        // A client of a database runs programs too: `\!`, `.shell`, `COPY … TO PROGRAM`.
        "mysql" | "mariadb" => &[Takes::After(&["-e", "--execute"])],
        "mongo" | "mongosh" => &[Takes::After(&["--eval"])],
        "sqlite" => &[
            Takes::After(&["-cmd"]),
            Takes::AfterFirstOperand(&["-cmd", "-init", "-newline", "-nullvalue", "-separator"]),
        ],
        "awk" | "gawk" | "mawk" | "nawk" => &[Takes::FirstOperand {
            file: &["-f", "--file"],
            code: &["-e", "--source"],
            with_value: &["-v", "-F", "--assign", "--field-separator"],
        }],
        "sed" | "gsed" => &[Takes::FirstOperand {
            file: &["-f", "--file"],
            code: &["-e", "--expression"],
            with_value: &["-l", "--line-length"],
        }],
        "find" => &[Takes::After(&["-exec", "-execdir", "-ok", "-okdir"])],
        "git" => &[Takes::Setting(
            "-c",
            &["-c", "-C", "--git-dir", "--namespace", "--work-tree"],
        )],
        // A variable of `make` is expanded, and `$(shell …)` in it is run.
        "eval" | "watch" | "parallel" | "make" | "gmake" => &[Takes::Everything],
        // A shell at the other end reads the words again.
        "ssh" => &[
            Takes::Setting("-o", SSH_WITH_VALUE),
            Takes::AfterFirstOperand(SSH_WITH_VALUE),
        ],
        _ => &[],
    }
}

/// True for a program that runs another one named in its arguments.
fn is_wrapper(program: &str) -> bool {
    WRAPPERS.contains(&base_name(program))
}

/// Whether a command runs a shell.
pub(crate) fn is_shell(template: &Template) -> bool {
    let mut programs = template.words().filter_map(Word::literal);
    programs.any(|program| SHELLS.contains(&base_name(program)))
}

fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// How many `--` must stand in a command before what follows cannot be an option: one, and one for
/// each wrapper, since `sudo -- tool {x}` ends the options of `sudo` and not those of the tool.
/// Words that only look like a wrapper are counted too, which errs on the safe side.
pub(crate) fn separators(template: &Template) -> usize {
    let literals = || template.words().filter_map(Word::literal);
    let runs = literals().any(|word| RUNNING.contains(&word));
    let wraps = |word: &&str| {
        let name = base_name(word);
        WRAPPERS.contains(&name) && (runs || !WITH_SUBCOMMANDS.contains(&name))
    };
    1 + literals().filter(wraps).count()
}

/// Reports each placeholder that an interpreter would run.
pub(crate) fn check(template: &Template, declared: Declared<'_>, report: &mut Report) {
    let words: Vec<&Word> = template.words().collect();
    let Some((first, rest)) = words.split_first() else {
        return;
    };
    let Some(program) = first.literal() else {
        return;
    };
    let mut check = Check { declared, report };
    check.interpreter(program, rest);
    if is_wrapper(program) {
        check.wrapped(program, rest);
        check.behind_wrapper(rest);
    }
}

/// The options of a wrapper that take a word of their own, and how many operands stand before the
/// program; `None` for a wrapper that names it in other ways.
fn before_program(wrapper: &str) -> Option<(&'static [&'static str], usize)> {
    Some(match base_name(wrapper) {
        "chroot" | "taskset" => (&[], 1),
        "chrt" => (&["-T", "-P", "-D"], 1),
        "doas" => (&["-C", "-u"], 0),
        "env" => (
            &["-C", "-S", "-u", "--chdir", "--split-string", "--unset"],
            0,
        ),
        "flock" => (&["-w", "-E", "--timeout", "--conflict-exit-code"], 1),
        "ionice" => (&["-c", "-n", "-t", "--class", "--classdata"], 0),
        "nice" => (&["-n", "--adjustment"], 0),
        "nohup" | "setsid" | "time" => (&[], 0),
        "npx" => (&["-p", "--package"], 0),
        "stdbuf" => (&["-i", "-o", "-e", "--input", "--output", "--error"], 0),
        "sudo" => (
            &[
                "-C", "-D", "-g", "-h", "-p", "-R", "-r", "-T", "-t", "-U", "-u", "--user",
                "--group",
            ],
            0,
        ),
        "timeout" => (&["-k", "-s", "--kill-after", "--signal"], 1),
        "uvx" => (&["-p", "--from", "--python", "--with"], 0),
        "xargs" => (&["-a", "-d", "-E", "-I", "-L", "-n", "-P", "-s"], 0),
        _ => return None,
    })
}

/// What is checked, and where it is reported.
struct Check<'a> {
    declared: Declared<'a>,
    report: &'a mut Report,
}

impl Check<'_> {
    /// Reports code that an interpreter would run, or else a script.
    fn interpreter(&mut self, program: &str, words: &[&Word]) {
        let errors = self.report.errors();
        for takes in takes(program) {
            self.code(program, *takes, words);
        }
        if self.report.errors() == errors {
            self.script(program, words);
        }
    }

    /// Reports what interpreters would run that a wrapper starts, wherever it names them.
    fn behind_wrapper(&mut self, words: &[&Word]) {
        let errors = self.report.errors();
        let mut rest = words;
        while let Some((word, after)) = rest.split_first() {
            if let Some(inner) = word.literal().filter(|text| !takes(text).is_empty()) {
                self.interpreter(inner, after);
            }
            if self.report.errors() > errors {
                return;
            }
            rest = after;
        }
    }

    /// Reports a program that the caller chooses for a wrapper to run.
    fn wrapped(&mut self, wrapper: &str, words: &[&Word]) {
        let Some((with_value, mut operands)) = before_program(wrapper) else {
            return;
        };
        let mut rest = words;
        while let Some((word, after)) = rest.split_first() {
            rest = match word.literal() {
                Some(text) if with_value.contains(&text) => after.get(1..).unwrap_or_default(),
                _ if word.prefix().starts_with('-') || word.prefix().contains('=') => after,
                _ if operands > 0 => {
                    operands -= 1;
                    after
                }
                Some(inner) => return self.wrapped(inner, after),
                None => {
                    let by_caller = |slot: &&Slot| !self.declared.is_chosen_by_author(slot);
                    if let Some(slot) = word.slots().find(by_caller) {
                        self.report.add(chosen_by_caller(wrapper, slot));
                    }
                    return;
                }
            };
        }
    }

    /// Reports a script that the caller names, or that holds what the caller says.
    fn script(&mut self, program: &str, words: &[&Word]) {
        let family = family(program);
        if !SHELLS.contains(&family) && !LANGUAGES.contains(&family) {
            return;
        }
        let Some((word, _)) = first_operand(words, &[]) else {
            return;
        };
        for slot in word.slots() {
            let of_file = slot.file().and_then(|name| self.declared.files.get(name));
            let says = match (slot.file(), of_file) {
                (Some(_), None) => continue,
                (Some(_), Some(file)) if file.text.slots().next().is_none() => continue,
                (Some(_), Some(_)) => "what the caller wrote into",
                (None, _) if self.declared.is_chosen_by_author(slot) => continue,
                (None, _) => "the script that the caller names in",
            };
            let message = format!("`{program}` would run {says} `{}`", slot.name);
            let help = "write the script first and pass the value after it, or list the scripts in \
                        an `enum`; `unsafe_code: true` to insist";
            self.report
                .add(Problem::error(Code::InterpreterCode, slot.span, message).help(help));
        }
    }

    fn code(&mut self, program: &str, takes: Takes, words: &[&Word]) {
        match takes {
            Takes::After(options) => self.after_option(program, options, words),
            Takes::Setting(option, with_value) => self.setting(program, option, with_value, words),
            Takes::Everything => words.iter().for_each(|word| self.refuse(word, program)),
            Takes::FirstOperand {
                file,
                code,
                with_value,
            } => {
                self.after_option(program, code, words);
                let named = |options: &[&str], word: &Word| {
                    let prefix = word.prefix();
                    options.iter().any(|option| prefix.starts_with(option))
                };
                if words
                    .iter()
                    .any(|word| named(file, word) || named(code, word))
                {
                    return;
                }
                if let Some((word, _)) = first_operand(words, with_value) {
                    self.refuse(word, program);
                }
            }
            Takes::AfterFirstOperand(with_value) => {
                if let Some((_, rest)) = first_operand(words, with_value) {
                    for word in rest {
                        self.refuse(word, program);
                    }
                }
            }
        }
    }

    fn after_option(&mut self, program: &str, options: &[&str], words: &[&Word]) {
        let mut waiting = None;
        for word in words {
            if let Some(option) = waiting {
                // More options may stand between `-c` and its code.
                if word.literal().is_some_and(|text| text.starts_with('-')) {
                    continue;
                }
                return self.refuse(word, &format!("{program} {option}"));
            }
            let option = options.iter().find(|option| is_option(word, option));
            let Some(option) = option else { continue };
            if word.slots().next().is_some() {
                return self.refuse(word, &format!("{program} {option}"));
            }
            if !word.prefix().contains('=') {
                waiting = Some(*option);
            }
        }
    }

    /// Reports settings whose name is the caller's.
    fn setting(&mut self, program: &str, option: &str, with_value: &[&str], words: &[&Word]) {
        let after = first_operand(words, with_value).map_or(0, |(_, after)| after.len() + 1);
        let options = words.get(..words.len() - after).unwrap_or_default();
        for pair in options.windows(2) {
            if let [name, value] = pair
                && name.literal() == Some(option)
                && !value.prefix().contains('=')
            {
                self.refuse(value, &format!("{program} {option}"));
            }
        }
    }

    fn refuse(&mut self, word: &Word, where_from: &str) {
        for slot in word.slots().filter(|slot| self.declared.may_be_code(slot)) {
            let message = format!(
                "`{where_from}` would run the caller's text in `{}` as code",
                slot.name
            );
            let help = "pass the value as data, as an argument of a script or through `env`, or list \
                        the values in an `enum`; `unsafe_code: true` to insist";
            self.report
                .add(Problem::error(Code::InterpreterCode, slot.span, message).help(help));
        }
    }
}

fn chosen_by_caller(wrapper: &str, slot: &Slot) -> Problem {
    let message = format!(
        "`{wrapper}` would run the program that the caller names in `{}`",
        slot.name
    );
    let help =
        "write the program, or list the programs in an `enum`; `unsafe_code: true` to insist";
    Problem::error(Code::ProgramPlaceholder, slot.span, message).help(help)
}

/// Skips options, and the words that belong to them; also returns what follows the operand.
fn first_operand<'a>(
    words: &'a [&'a Word],
    with_value: &[&str],
) -> Option<(&'a Word, &'a [&'a Word])> {
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        rest = match word.literal() {
            Some("--") => return after.split_first().map(|(word, after)| (*word, after)),
            Some(text) if with_value.contains(&text) => after.get(1..).unwrap_or_default(),
            _ if word.prefix().starts_with('-') => after,
            _ => return Some((word, after)),
        };
    }
    None
}

/// Whether a word starts as this option: itself, `--option=…`, `-c…`, or a cluster such as `-lc`.
fn is_option(word: &Word, option: &str) -> bool {
    let prefix = word.prefix();
    if prefix == option {
        return true;
    }
    if option.starts_with("--") {
        return prefix
            .strip_prefix(option)
            .is_some_and(|rest| rest.starts_with('='));
    }
    let Some(letter) = option.strip_prefix('-').filter(|rest| rest.len() == 1) else {
        return false;
    };
    let cluster = prefix.strip_prefix('-').unwrap_or_default();
    // `-hlocalhost` is an option with its value.
    let is_cluster = word.literal().is_none_or(|_| cluster.len() <= MAX_CLUSTER);
    let mut letters = cluster.chars().take_while(char::is_ascii_alphabetic);
    is_cluster && !cluster.starts_with('-') && letters.any(|c| c.to_string() == letter)
}
